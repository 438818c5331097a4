"""The output of gpu_burn (wilicc/gpu-burn, gpu_burn-drv.cpp).

One progress line overwrites the last with carriage returns; in a file they stand in one line, or one after the other.
Each names for all GPUs in turn the products computed, the rate, the errors since the last summary, and temperatures.
`errors` is an int that overflows into negative numbers; of a worker that died (`DIED!`, products -1) it is garbage.
A GPU that computed nothing ends as `OK`. The exit status is 0 whatever was found (issue 12). A worker that ends says
why on standard error, without its number.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import median

import msgspec

from boxcheck.decode.text import clean_text

LISTED = re.compile(r"GPU ([0-9]{1,3}): ([^:]{1,80}?) \(UUID: (GPU-[0-9a-f-]{8,40})\)")
_UUID = re.compile(r"GPU-[0-9a-f-]{8,40}")
PROGRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9])?%\s{1,8}proc'd:")
VERDICT = re.compile(r"GPU ([0-9]{1,3}): (OK|FAULTY)\b")
TESTED = re.compile(r"Tested ([0-9]{1,3}) GPUs:")
SECONDS = re.compile(r"Burning for ([0-9]{1,8}) sec")
PROBLEM = re.compile(r"(Couldn't init (?:a GPU test|CUDA)|Failure during compute|No clients are alive|No CUDA devices|"
                     r"Error in \"|read\[[0-9]{1,3}\] error|Low mem for result)")
WORKER = re.compile(r"(?:Couldn't init a GPU test|Failure during compute): ?(.*)")
_SOURCE = re.compile(r" ?\(?gpu_burn-drv\.cpp:[0-9]{1,5}\):? ?")
BLAMELESS = (
    "out of memory", "the resource allocation failed", "no CUDA-capable device is detected", "invalid device ordinal",
    "file not found", "device kernel image is invalid", "no kernel image is available for execution on the device",
    "the provided PTX was compiled with an unsupported toolchain", "PTX JIT compiler library not found",
    "a PTX JIT compilation failed", "named symbol not found", "all CUDA-capable devices are busy or unavailable",
    "CUDA driver version is insufficient for CUDA runtime version",
    "system has unsupported display driver / cuda driver combination",
    "forward compatibility was attempted on non supported HW", "Not enough devices for USEDEV",
    "Low mem for result. aborting", "MPS server is not ready to accept new MPS client requests",
    "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA_ERROR_NO_DEVICE", "CUDA_ERROR_INVALID_DEVICE",
    "CUDA_ERROR_FILE_NOT_FOUND", "CUDA_ERROR_INVALID_IMAGE", "CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_NOT_FOUND",
)
"""Reasons of the CUDA driver and of cuBLAS (older gpu_burn prints their names) by which a worker ends without
any fault of the card: nothing is free, or program, driver and card do not fit together."""
_FAULTS = (
    "unspecified launch failure", "the launch timed out and was terminated", "an illegal memory access was encountered",
    "uncorrectable ECC error encountered", "unknown error", "an illegal instruction was encountered",
    "misaligned address", "hardware stack error", "Invalid access of peer GPU memory over nvlink or a hardware error",
    "the function failed to launch on the GPU", "an internal operation failed", "initialization error",
)
_MARK = re.compile(
    r"[0-9]{1,3}(?:\.[0-9])?%\s{1,8}proc'd:|Summary at:|Killing processes|Tested [0-9]{1,3} GPUs|No clients are alive|"
    r"Couldn't init|Failure during compute|Freed memory|Initialized device|Results are ")
_DONE = re.compile(r"(-?[0-9]{1,20})\s{1,4}\((-?[0-9]{1,12}|-?nan|-?inf)\s{1,4}Gflop/s\)")
_ERRORS = re.compile(r"(-?[0-9]{1,20})(?:\s{1,4}\((WARNING!|DIED!)\))?")
_TEMPERATURE = re.compile(r"([0-9]{1,4}|--)(?=\s|$)")
MAX_GPUS = 256
_MAX_SEGMENT = 1 << 16
_MAX_RATES = 4096


class Burned(msgspec.Struct, kw_only=True):
    """One GPU over the whole run."""

    index: int
    line: int = 0
    """Of the last progress that shows it."""
    products: int | None = None
    """Highest count that was printed; None where no progress shows it."""
    errors: int = 0
    """Highest count since a summary, a lower bound of all."""
    overflowed: bool = False
    """A count was negative: more errors than an int holds."""
    error_line: int | None = None
    died: bool = False
    died_line: int | None = None
    faulty: bool | None = None
    """What the end said; None where the end is missing."""
    faulty_line: int | None = None
    rates: list[float] = []
    """Gflop/s, of the lines in which it worked; of a long run of every second line, every fourth ..."""
    worked: int = 0
    """How many such lines there are."""
    every: int = 1
    hottest_celsius: int | None = None

    @property
    def rate(self) -> float | None:
        """Median Gflop/s of the second half of the run, after the clocks have settled."""
        return median(self.rates[len(self.rates) // 2:]) if self.rates else None


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    names: dict[int, tuple[str, str]]
    """nvidia-smi's index -> (name, UUID): gpu_burn runs `nvidia-smi -L` at its start, which knows nothing of
    CUDA_VISIBLE_DEVICES and of -i."""
    name_lines: dict[str, int]
    """UUID -> line."""
    gpus: dict[int, Burned]
    """By CUDA's number."""
    seconds: int | None
    tested: int | None
    problems: tuple[tuple[int, str], ...]
    """(line, text): init failed, a CUDA call failed."""

    @property
    def numbered(self) -> int | None:
        """How many GPUs it ran on, None where the text does not tell."""
        return self.tested if self.tested is not None else len(self.gpus) or None

    @property
    def one_order(self) -> bool:
        """Whether GPU 0 of gpu_burn is the first of the list: none was chosen, and CUDA, which counts the fastest card
        first, has no faster one (issue 1: nvidia-smi's K40m, M4000 are 1 and 0 there)."""
        models = {name for name, _ in self.names.values()}
        return len(models) == 1 and self.numbered in (None, len(self.names))


_Gpus = Callable[[int], Burned | None]


def reason(problem: str) -> str | None:
    """Why a worker ended, without the place in gpu_burn's source; None for a problem of another sort."""
    found = WORKER.match(problem)
    return _SOURCE.sub(": ", found[1]).strip() if found is not None else None


def blameless(problem: str) -> bool:
    """Whether a worker's last words say that no fault of a card ended it. Without a word of why, only a kernel file
    that could not be loaded does: it lies beside the program, or does not."""
    said = (reason(problem) or "").lower().rstrip(" .:\"")
    if any(said.endswith(words.lower()) for words in BLAMELESS):
        return True
    return said.endswith("load module")


def is_reason_tail(line: str) -> bool:
    """Whether the line is the end of a reason that a mailer broke off."""
    text = line.strip()[:200]
    if _SOURCE.match(text):
        return True
    return len(text) > 3 and any(words.endswith(text.rstrip(".")) for words in (*BLAMELESS, *_FAULTS))


def parse(lines: Sequence[str]) -> Burn:
    """Facts of a text. Never raises. Lines that a mailer wrapped are joined again: everything is read as one stream."""
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    text = "\n".join(lines).replace("\r", " ")

    def line_of(offset: int) -> int:
        return max(bisect_right(starts, offset) - 1, 0)

    names: dict[int, tuple[str, str]] = {}
    gpus: dict[int, Burned] = {}

    def gpu(index: int) -> Burned | None:
        if index not in gpus and index < MAX_GPUS:
            gpus[index] = Burned(index=index, rates=[])
        return gpus.get(index)

    problems: list[tuple[int, str]] = []
    tested = seconds = None
    for here, raw in enumerate(lines):
        line = raw.strip()[:512]
        if found := VERDICT.match(line):
            one = gpu(int(found[1]))
            if one is not None:
                one.faulty = one.faulty or found[2] == "FAULTY"
                if found[2] == "FAULTY" and one.faulty_line is None:
                    one.faulty_line = here
        elif found := TESTED.match(line):
            tested = int(found[1])
        elif found := SECONDS.search(line):
            seconds = int(found[1])
        elif len(problems) < 64 and (found := PROBLEM.search(line)):
            problems.append((here, clean_text(line[found.start():])))
        elif problems and here - problems[-1][0] <= 2 and len(problems[-1][1]) < 400 and is_reason_tail(line):
            problems[-1] = (problems[-1][0], f"{problems[-1][1]} {clean_text(line)}")
    name_lines: dict[str, int] = {}
    for found in _UUID.finditer(text[:_MAX_SEGMENT]):
        name_lines.setdefault(found[0], line_of(found.start()))
    for found in LISTED.finditer(" ".join(text[:_MAX_SEGMENT].split())):
        names.setdefault(int(found[1]), (clean_text(found[2]), found[3]))
    marks = list(_MARK.finditer(text))
    for at, mark in enumerate(marks):
        if mark[0].endswith("proc'd:"):
            end = marks[at + 1].start() if at + 1 < len(marks) else len(text)
            segment = text[mark.end():min(end, mark.end() + _MAX_SEGMENT)]
            _progress(segment, line_of(mark.start()), gpu)
    return Burn(names=names, name_lines=name_lines, gpus=dict(sorted(gpus.items())), seconds=seconds, tested=tested,
                problems=tuple(problems))


def _progress(segment: str, line: int, gpu: _Gpus) -> None:
    done, _, rest = segment.partition("errors:")
    wrong, has_temperatures, hot = rest.partition("temps:")
    for index, found in enumerate(_DONE.finditer(done)):
        one = gpu(index)
        if one is None:
            return
        one.line, products = line, int(found[1])
        one.products = max(one.products or 0, products)
        if found[2].isdigit() and int(found[2]) > 0:
            if one.worked % one.every == 0:
                one.rates.append(float(found[2]))
            one.worked += 1
            if len(one.rates) >= _MAX_RATES:
                one.rates, one.every = one.rates[::2], 2 * one.every
    if not has_temperatures:
        return  # cut off: whose error it is may be missing
    errors = list(_ERRORS.finditer(wrong))
    for index, found in enumerate(errors):
        one = gpu(index)
        if one is None:
            return
        if found[2] == "DIED!":
            one.died, one.died_line = True, line if one.died_line is None else one.died_line
        elif (count := int(found[1])) != 0:
            one.errors, one.overflowed = max(one.errors, count), one.overflowed or count < 0
            one.error_line = line if one.error_line is None else one.error_line
    for index, found in enumerate(_TEMPERATURE.finditer(hot.split("\n\n")[0])):
        one = gpu(index) if index < len(errors) else None
        if one is not None and found[1].isdigit() and int(found[1]) < 200:
            one.hottest_celsius = max(one.hottest_celsius or 0, int(found[1]))
