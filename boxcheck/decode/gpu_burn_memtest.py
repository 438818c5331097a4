"""The output of memtest_vulkan (GpuZelenograd/memtest_vulkan, main.rs, 0.5) and cuda_memtest (1.2.3, tests.cpp).

Both write patterns over VRAM and compare. memtest_vulkan reads a part a second time one pass later (NEXT_RE_READ), so a
fault in keeping data is told from one in writing or reading it; zero errors in an `Error found` is a shader that was
aborted. cuda_memtest reads a wrong word once more: right the second time is a fault of reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

LISTED = re.compile(r"([0-9]{1,3}): Bus=0x([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2}) DevId=0x([0-9A-Fa-f]{4})\s{1,8}(.{1,120})")
SELECTED = re.compile(r"Standard 5-minute test of ([0-9]{1,3}): ")
_SIZE = re.compile(r"(?:API \S{1,40}\s{1,4}\S{1,20}\s{1,8})?([0-9]{1,6})GB (.{1,80})")
FOUND = re.compile(r"Error found\. Mode (\w{1,20}), total errors 0x([0-9A-Fa-f]{1,16}) out of 0x([0-9A-Fa-f]{1,16})")
_GOOD = re.compile(r"Standard 5-minute test PASSed|memtest_vulkan: no any errors, testing PASSed")
_BAD = re.compile(r"Standard 5-minute test fail - ERRORS FOUND|memtest_vulkan: memory/gpu ERRORS FOUND")
_ABORT = re.compile(r"memtest_vulkan: (?:INIT OR FIRST testing failed|First test passed, but THEN runtime error)|"
                    r"memtest_vulkan early exit during init|Runtime error: ")
CUDA = re.compile(r"\[[0-9/]{8,10} [0-9:]{8}\]\[[^\]\s]{1,80}\]\[([0-9]{1,3})\](?:\[-?[0-9]{1,3} C\])?:(.{0,400})")
_CUDA_DEVICE = re.compile(r"Device name=(.{1,80}?), global memory size=([0-9]{1,15}), serial=(.{1,60})")
_CUDA_WRONG = re.compile(r"ERROR: \((.{1,80}?)\) ([0-9]{1,10}) errors found in block")
_CUDA_ONCE = re.compile(r"ERROR: [0-9]{1,4}th error, .{0,160}diff with expected value=0x([0-9a-f]{1,16})\)")
_CUDA_CALL = re.compile(r"ERROR: CUDA error: .{1,120}|ERROR: data not match")
_CUDA_DONE = re.compile(r"Test([0-9]{1,2}) finished in")
MAX_DEVICES = 256


class Tested(msgspec.Struct, kw_only=True):
    """One GPU under one of the two tools."""

    index: int
    name: str
    line: int
    bdf: Bdf | None = None
    device: int | None = None
    vram_bytes: int | None = None
    serial: str | None = None
    errors: int = 0
    """Wrong words (memtest_vulkan: elements), as far as printed."""
    reports: int = 0
    """How often errors were reported; with `errors` 0 the shader was aborted."""
    first_line: int | None = None
    reread_reports: int = 0
    """memtest_vulkan: reports of the part that was written one pass before."""
    second_read_right: int = 0
    second_read_wrong: int = 0
    """cuda_memtest: words that were right, or wrong again, when read a second time."""
    finished: int = 0
    """cuda_memtest: tests that ended."""
    text: str = ""


class Memtest(msgspec.Struct, frozen=True, kw_only=True):
    tool: Literal["memtest_vulkan", "cuda_memtest"]
    tested: tuple[Tested, ...]
    listed: tuple[Tested, ...]
    """memtest_vulkan: all devices that it offered."""
    verdict: Literal["passed", "errors", "aborted"] | None
    """The gravest that it said; None where the end is missing."""
    verdict_line: int
    verdict_text: str


def parse_vulkan(lines: Sequence[str]) -> Memtest:
    """Facts of memtest_vulkan's text. Never raises."""
    listed: dict[int, Tested] = {}
    selected: int | None = None
    errors = Tested(index=-1, name="", line=0)
    verdict: Literal["passed", "errors", "aborted"] | None = None
    verdict_line, verdict_text = 0, ""
    for here, raw in enumerate(lines):
        line = raw.strip()[:512]
        said: Literal["passed", "errors", "aborted"] | None = None
        if (found := LISTED.match(line)) and len(listed) < MAX_DEVICES:
            listed.setdefault(int(found[1]), _listed(found, here))
        elif found := SELECTED.match(line):
            selected = int(found[1])
            if again := LISTED.match(line[found.start(1):]):
                listed.setdefault(selected, _listed(again, here))
        elif found := FOUND.match(line):
            errors.reports += 1
            errors.errors += int(found[2], 16)
            errors.reread_reports += found[1] == "NEXT_RE_READ"
            if errors.first_line is None:
                errors.first_line, errors.text = here, clean_text(line)
        elif _BAD.match(line):
            said = "errors"
        elif _ABORT.match(line):
            said = "aborted"
        elif _GOOD.match(line):
            said = "passed"
        if said is not None and (verdict is None or _RANK[said] > _RANK[verdict]):
            verdict, verdict_line, verdict_text = said, here, clean_text(line)
    if selected is None and len(listed) == 1:
        selected = next(iter(listed))
    one = listed.get(selected) if selected is not None else None
    if one is None:
        one = Tested(index=selected if selected is not None else -1, name="", line=0)
    for field in ("errors", "reports", "first_line", "reread_reports", "text"):
        setattr(one, field, getattr(errors, field))
    return Memtest(tool="memtest_vulkan", tested=(one,), listed=tuple(listed.values()), verdict=verdict,
                   verdict_line=verdict_line, verdict_text=verdict_text)


_RANK = {"passed": 0, "aborted": 1, "errors": 2}


def _listed(found: re.Match[str], line: int) -> Tested:
    """`1: Bus=0x28:00 DevId=0x73DF   12GB AMD Radeon RX 6700 XT`. The domain is not printed, and taken for 0."""
    size = _SIZE.match(found[5])
    bus, device = int(found[2], 16), int(found[3], 16)
    real = int(found[4], 16) != 0 and device < 32
    return Tested(index=int(found[1]), name=clean_text(size[2] if size else found[5]), line=line,
                  bdf=Bdf(f"0000:{bus:02x}:{device:02x}.0") if real else None,
                  device=int(found[4], 16) if real else None)


def _records(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(line, text) of each line with cuda_memtest's prefix, joined with what a mailer wrapped off it."""
    record, start = "", 0
    for here, raw in enumerate(lines):
        line = raw.strip()[:512]
        if CUDA.match(line):
            if record:
                yield start, record
            record, start = line, here
        elif record and line and len(record) < 512:
            record = f"{record} {line}"
    if record:
        yield start, record


def parse_cuda(lines: Sequence[str]) -> Memtest:
    """Facts of cuda_memtest's text. Never raises."""
    tested: dict[int, Tested] = {}
    text, at = "", 0
    for here, line in _records(lines):
        found = CUDA.match(line)
        if found is None or (int(found[1]) not in tested and len(tested) >= MAX_DEVICES):
            continue
        index, says = int(found[1]), found[2]
        if device := _CUDA_DEVICE.match(says):
            serial = None if device[3].startswith("unknown") else clean_text(device[3])
            tested[index] = Tested(index=index, name=clean_text(device[1]), line=here, vram_bytes=int(device[2]),
                                   serial=serial)
            continue
        wrong, once, done = _CUDA_WRONG.match(says), _CUDA_ONCE.match(says), _CUDA_DONE.match(says)
        if wrong or once or done:
            one = tested.setdefault(index, Tested(index=index, name="", line=here))
            one.finished += done is not None
            if wrong:
                one.errors, one.reports = one.errors + int(wrong[2]), one.reports + 1
                if one.first_line is None:
                    one.first_line, one.text = here, clean_text(says)
            if once:
                one.second_read_right += int(once[1], 16) == 0
                one.second_read_wrong += int(once[1], 16) != 0
        elif not text and _CUDA_CALL.match(says):
            text, at = clean_text(says), here
    return Memtest(tool="cuda_memtest", tested=tuple(tested.values()), listed=(),
                   verdict="aborted" if text else None, verdict_line=at, verdict_text=text)
