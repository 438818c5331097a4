"""The output of gpu_burn (wilicc/gpu-burn, gpu_burn-drv.cpp).

One progress line overwrites the last with carriage returns; in a file they stand in one line, or one after the other.
Each names for all GPUs in turn the products computed, the rate, the errors since the last summary, and temperatures.
`errors` is an int that overflows into negative numbers; of a worker that died (`DIED!`, products -1) it is garbage.
A GPU that computed nothing ends as `OK`. The exit status is 0 whatever was found (issue 12).
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
PROGRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9])?%\s{1,8}proc'd:")
VERDICT = re.compile(r"GPU ([0-9]{1,3}): (OK|FAULTY)\b")
TESTED = re.compile(r"Tested ([0-9]{1,3}) GPUs:")
SECONDS = re.compile(r"Burning for ([0-9]{1,8}) sec")
PROBLEM = re.compile(r"(Couldn't init (?:a GPU test|CUDA)|Failure during compute|No clients are alive|No CUDA devices|"
                     r"Error in \"|read\[[0-9]{1,3}\] error|Low mem for result)")
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
    """Gflop/s, of the lines in which it worked."""
    hottest_celsius: int | None = None

    @property
    def rate(self) -> float | None:
        """Median Gflop/s of the second half of the run, after the clocks have settled."""
        return median(self.rates[len(self.rates) // 2:]) if self.rates else None


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    names: dict[int, tuple[str, str]]
    """index -> (name, UUID), as `nvidia-smi -L` lists them at the start."""
    gpus: dict[int, Burned]
    seconds: int | None
    tested: int | None
    problems: tuple[tuple[int, str], ...]
    """(line, text): init failed, a CUDA call failed."""


_Gpus = Callable[[int], Burned | None]


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
    for found in LISTED.finditer(" ".join(text[:_MAX_SEGMENT].split())):
        names.setdefault(int(found[1]), (clean_text(found[2]), found[3]))
    marks = list(_MARK.finditer(text))
    for at, mark in enumerate(marks):
        if mark[0].endswith("proc'd:"):
            end = marks[at + 1].start() if at + 1 < len(marks) else len(text)
            segment = text[mark.end():min(end, mark.end() + _MAX_SEGMENT)]
            _progress(segment, line_of(mark.start()), gpu)
    return Burn(names=names, gpus=dict(sorted(gpus.items())), seconds=seconds, tested=tested, problems=tuple(problems))


def _progress(segment: str, line: int, gpu: _Gpus) -> None:
    done, _, rest = segment.partition("errors:")
    wrong, has_temperatures, hot = rest.partition("temps:")
    for index, found in enumerate(_DONE.finditer(done)):
        one = gpu(index)
        if one is None:
            return
        one.line, products = line, int(found[1])
        one.products = max(one.products or 0, products)
        if found[2].isdigit() and int(found[2]) > 0 and len(one.rates) < _MAX_RATES:
            one.rates.append(float(found[2]))
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
