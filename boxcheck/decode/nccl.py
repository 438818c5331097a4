"""The output of nccl-tests and rccl-tests (NVIDIA/nccl-tests, common.cu and util.cu; ROCm/rccl-tests prints the same).

A row has size, elements, type, operation and root, then time, algbw, busbw and #wrong, out of place and in place.
`#wrong` counts elements that are not what they must be; N/A where nothing was checked (`-c 0`, in-place alltoall). With
`-I 1` four columns of timings follow each of them. Old versions have `error`, a rounding difference, in its place:
there only `Out of bounds values` tells.
`Avg bus bandwidth` says FAILED where NCCL_TESTS_MIN_BW asked for more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from boxcheck.decode.matrix import number
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

HEAD = re.compile(
    r"# ?nThread [0-9]{1,4} nGpus [0-9]{1,4} |# (?:nccl|rccl)-tests version |# Collective test starting: ")
RANK = re.compile(
    r"#?\s{0,3}Rank\s{1,4}([0-9]{1,5})(?: Group\s{1,4}[0-9]{1,4})? Pid\s{1,8}[0-9]{1,9} on\s{1,12}(\S{1,80}) "
    r"device\s{1,4}([0-9]{1,3}) \[(?:0x)?([0-9a-f]{2,4}(?::[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-7])?)?)\] (.{1,80})")
BOUNDS = re.compile(r"# ?Out of bounds values\s{0,12}: ([0-9]{1,12}) (OK|FAILED)")
AVERAGE = re.compile(r"# ?Avg bus bandwidth\s{0,12}: (\S{1,20})\s{0,4}(OK|FAILED)?")
ROW = re.compile(r"[0-9]{1,16}\s{1,16}[0-9]{1,16}\s{1,16}"
                 r"(?:u?int[0-9]{0,2}|u?char|half|float|double|bfloat16|f8e[45]m[23]|fp8_e[45]m[23]|all)\s")
FAILURE = re.compile(
    r"\S{1,80}: Test (?:NCCL failure|CUDA failure|failure|timeout)\b.{0,120}|.{0,80}unhandled (?:cuda|system) error")
TEST = re.compile(r"# Collective test starting: (\S{1,80})")
MAX_RANKS = 4096
_RANK_HEAD = re.compile(r"#?\s{0,3}Rank\s{1,4}[0-9]{1,5} ")
_ROOT = re.compile(r"-?[0-9]{1,6}")
_COUNT = re.compile(r"[0-9]{1,12}|[0-9](?:\.[0-9]{1,5})?e\+(?:0[0-9]|1[01])")
"""As `%5g` prints #wrong: from a million elements on with an exponent. No GPU holds 10^12."""


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    rank: int
    host: str
    device: int
    bdf: Bdf | None
    """From `[0000:41:00]`; of the old `[0x41]` with domain and device 0."""
    name: str
    line: int


class Collective(msgspec.Struct, frozen=True, kw_only=True):
    test: str | None
    ranks: tuple[Rank, ...]
    rows: int
    wrong: int
    """Sum of #wrong over all rows."""
    wrong_rows: int
    wrong_line: int
    wrong_sizes: tuple[int, ...]
    unchecked: int
    """Rows in which nothing was checked, neither out of place nor in place."""
    old: bool
    """The version has no #wrong: a rounding difference stands in its place."""
    best_bus_gbs: float | None
    average_bus_gbs: float | None
    average_failed: bool
    average_line: int
    out_of_bounds: int | None
    bounds_failed: bool
    bounds_line: int
    failure: str | None
    failure_line: int
    cut: bool
    """The closing lines are missing, of several runs those of the last."""


def _bdf(text: str) -> Bdf | None:
    parts = text.split(":")
    if len(parts) == 3:
        device = parts[2].split(".")[0]
        return Bdf(f"{int(parts[0], 16):04x}:{int(parts[1], 16):02x}:{int(device, 16):02x}.0")
    return Bdf(f"0000:{int(text, 16):02x}:00.0") if len(text) == 2 else None


def parse(lines: Sequence[str]) -> Collective:
    """Facts of a text. Never raises. A row that a mailer wrapped is joined with what follows it."""
    test, failure, failure_line = None, None, 0
    ranks: list[Rank] = []
    rows = wrong = wrong_rows = wrong_line = unchecked = 0
    sizes: list[int] = []
    best: float | None = None
    average: float | None = None
    average_failed, average_line = False, 0
    bounds: int | None = None
    bounds_failed, bounds_line = False, 0
    columns: tuple[int, ...] = (8, 12)
    old, closed = False, False
    for here, raw in enumerate(lines):
        line = raw.strip()[:512]
        if "busbw" in line and line.startswith("#"):
            columns = (8, 16) if "i_min" in line else () if "error" in line else (8, 12)
            old = old or not columns
        elif ROW.match(line):
            words = line.split()
            follow = here + 1
            while len(words) <= max(columns, default=0) and follow < min(len(lines), here + 4) and _rest(lines[follow]):
                words += lines[follow].split()[:16]
                follow += 1
            rows, closed = rows + 1, False
            # The root is a number; without it the columns are not those that are known.
            known = columns if len(words) > 4 and _ROOT.fullmatch(words[4]) else ()
            counts = [wrongs for at in known if at < len(words) and (wrongs := count(words[at])) is not None]
            unchecked += not counts
            if any(counts):
                wrong, wrong_rows = wrong + sum(counts), wrong_rows + 1
                wrong_line = wrong_line if wrong_rows > 1 else here
                if len(sizes) < 8:
                    sizes.append(int(words[0]))
            for at in [column - 1 for column in known]:
                rate = number(words[at]) if at < len(words) else None
                if rate is not None and (best is None or rate > best):
                    best = rate
        elif (found := RANK.match(line) or _wrapped_rank(lines, here, line)) and len(ranks) < MAX_RANKS:
            ranks.append(Rank(rank=int(found[1]), host=clean_text(found[2]), device=int(found[3]), bdf=_bdf(found[4]),
                              name=clean_text(found[5].strip()), line=here))
        elif found := BOUNDS.match(line):
            closed = True
            if not bounds_failed:  # of several runs in one text the one that failed is told
                bounds, bounds_failed, bounds_line = int(found[1]), found[2] == "FAILED" or found[1] != "0", here
        elif found := AVERAGE.match(line):
            if not average_failed:
                average, average_failed, average_line = number(found[1]), found[2] == "FAILED", here
        elif found := TEST.match(line):
            test = clean_text(found[1])
        elif failure is None and (found := FAILURE.match(line)):
            failure, failure_line = clean_text(line), here
    return Collective(
        test=test, ranks=tuple(ranks), rows=rows, wrong=wrong, wrong_rows=wrong_rows, wrong_line=wrong_line,
        wrong_sizes=tuple(sizes), unchecked=unchecked, old=old,
        best_bus_gbs=best, average_bus_gbs=average,
        average_failed=average_failed, average_line=average_line, out_of_bounds=bounds, bounds_failed=bounds_failed,
        bounds_line=bounds_line, failure=failure, failure_line=failure_line, cut=not closed)


def _wrapped_rank(lines: Sequence[str], here: int, line: str) -> re.Match[str] | None:
    """A rank whose line was wrapped before or within the card's name."""
    if _RANK_HEAD.match(line) is None or here + 1 >= len(lines):
        return None
    return RANK.match(f"{line} {lines[here + 1].strip()[:100]}")


def _rest(line: str) -> bool:
    words = line.split() if len(line) < 200 else []
    return bool(words) and ROW.match(line.strip()) is None and all(
        word == "N/A" or number(word) is not None or count(word) is not None for word in words)


def count(word: str) -> int | None:
    """The elements that a cell of #wrong counts, which may be more than `number` takes for a figure; None for `N/A`."""
    return int(float(word)) if _COUNT.fullmatch(word) else None
