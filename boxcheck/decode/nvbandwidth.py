"""The output of nvbandwidth, text and JSON (NVIDIA/nvbandwidth, output.cpp and json_output.cpp, v0.2 to v0.8).

A test prints `Running NAME.`, a description, a matrix and `SUM NAME total`; one that cannot run here prints
`Waiving NAME.` (v0.2) or `Waived: ` without a name. Pairs without peer access are `N/A`, in old versions 0.00.
Data is compared once after each timed loop, unless `-s` was given; the output does not say whether it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.decode.matrix import MAX_SIDE, Cells, number, read_table
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

MAX_TESTS = 512

NAME = r"(?:host|device|all|one|multinode)_[a-z0-9_]{2,80}"
DESCRIPTION = re.compile(
    r"(?:memcpy|memory latency|multicast|Device to Device Latency|Bisect)\b.{0,120}\((?:GB/s|ns)\)")
DEVICE = re.compile(r"Device ([0-9]{1,3}): ([^(\n\"]{1,80}?)(?:\s*\(([0-9a-f]{8}):([0-9a-f]{2}):([0-9a-f]{2})\))?\s*")
_DEVICE_JSON = re.compile(r"([0-9]{1,3}): ([^(\n]{1,80}?)\s*\(([0-9a-f]{8}):([0-9a-f]{2}):([0-9a-f]{2})\).{0,80}")
_RUNNING = re.compile(rf"Running ({NAME})\.?")
_WAIVING = re.compile(rf"(?i:waiv(?:ing|ed)):? ?({NAME})?\.?")
_SUM = re.compile(rf"(?:SUM|&&&& PERF) ({NAME}) \S{{1,24}}")
_FACT = re.compile(r"(nvbandwidth Version|CUDA Runtime Version|CUDA Driver Version|Driver Version): ?(\S{1,32})")
_WRONG = re.compile(r"Invalid value when checking the pattern|ASSERT in expression h_errorFlag == 0")
_ERROR = re.compile(r"(?:ERROR|Error): ?\S|\[CUDA_ERROR_[A-Z_]{2,60}\]|NVML_ERROR: |ASSERT in expression ")


class Device(msgspec.Struct, frozen=True):
    index: int
    name: str
    bdf: Bdf | None
    line: int


class Test(msgspec.Struct, kw_only=True):
    """One test. `status`: passed, waived, error, wrong (the payload was not what was sent), running (no result)."""

    name: str
    status: str = "running"
    description: str = ""
    cells: Cells = ()
    square: bool = False
    cut: bool = False
    line: int = 0
    text: str = ""


class Bandwidths(msgspec.Struct, frozen=True, kw_only=True):
    version: str | None
    driver: str | None
    devices: tuple[Device, ...]
    tests: tuple[Test, ...]
    waived: int
    """Waived tests, with and without a name."""
    waived_line: int | None
    error: str | None
    """What it stopped with, where no test is named."""
    error_line: int = 0
    left_out: bool = False
    """There were more than `MAX_TESTS` tests; of those after them only a wrong payload is told."""


def address(domain: str, bus: str, device: str) -> Bdf:
    """The kernel's spelling of `(00000000:41:00)`, which has no function."""
    return Bdf(f"{int(domain, 16):04x}:{int(bus, 16):02x}:{int(device, 16):02x}.0")


def parse(lines: Sequence[str]) -> Bandwidths:
    """Facts of a text. Never raises; what is cut off is left out or marked."""
    facts: dict[str, str] = {}
    devices: dict[int, Device] = {}
    tests: list[Test] = []
    waived, waived_line, error, error_line = 0, None, None, 0
    open_test: Test | None = None
    left_out = False
    at = 0
    while at < len(lines):
        line = lines[at].strip()[:512]
        here, at = at, at + 1
        if not line:
            continue
        if len(tests) >= MAX_TESTS:
            if _RUNNING.match(line) or DESCRIPTION.match(line):
                left_out = True
            elif _WRONG.search(line) and tests[-1].status != "wrong":
                tests.append(Test(name="", status="wrong", line=here, text=clean_text(line)))
            continue
        if found := _FACT.match(line):
            facts.setdefault(found[1], clean_text(found[2]))
        elif found := DEVICE.fullmatch(line):
            bdf = address(found[3], found[4], found[5]) if found[3] else None
            devices.setdefault(int(found[1]), Device(int(found[1]), clean_text(found[2]), bdf, here))
        elif found := _RUNNING.match(line):
            open_test = Test(name=found[1], line=here)
            tests.append(open_test)
        elif found := _WAIVING.match(line):
            waived += 1
            waived_line = here if waived_line is None else waived_line
            if found[1]:
                tests.append(Test(name=found[1], status="waived", line=here))
        elif DESCRIPTION.match(line):
            square = "GPU(row)" in line
            table = read_table(lines, at, square)
            if table is None:
                continue
            if open_test is None or open_test.cells:
                open_test = Test(name=open_test.name if open_test else "", line=here)
                tests.append(open_test)
            open_test.status, open_test.description = "passed", line
            open_test.cells, open_test.square, open_test.cut = table.cells, square, table.cut
            at = table.end
        elif found := _SUM.match(line):
            if open_test is not None and not open_test.name:
                open_test.name = found[1]
        elif _WRONG.search(line) or _ERROR.match(line):
            status = "wrong" if _WRONG.search(line) else "error"
            if open_test is None or open_test.status == "passed":
                error, error_line = error or clean_text(line), error_line or here
            elif open_test.status != "wrong":
                open_test.status, open_test.text, open_test.line = status, clean_text(line), here
            if status == "wrong" and (open_test is None or open_test.status == "passed"):
                tests.append(Test(name="", status="wrong", line=here, text=clean_text(line)))
    return Bandwidths(version=facts.get("nvbandwidth Version"), driver=facts.get("Driver Version"),
                      devices=tuple(devices.values()), tests=tuple(tests), waived=waived, waived_line=waived_line,
                      error=error, error_line=error_line, left_out=left_out)


def parse_json(value: object) -> Bandwidths | None:
    """Facts of a JSON document; None for one that is not nvbandwidth's."""
    root = value.get("nvbandwidth") if isinstance(value, Mapping) else None
    if not isinstance(root, Mapping):
        return None
    devices = {}
    listed = root.get("GPU Device list") or root.get("GPU Device info")
    for text in listed[:MAX_SIDE] if isinstance(listed, list) else ():
        if isinstance(text, str) and (found := _DEVICE_JSON.fullmatch(text[:256])):
            devices[int(found[1])] = Device(
                int(found[1]), clean_text(found[2]), address(found[3], found[4], found[5]), 0)
    tests = []
    cases = root.get("testcases")
    cases = cases if isinstance(cases, list) else []
    for case in cases[:MAX_TESTS]:
        if isinstance(case, Mapping):
            tests.append(_test(case))
    waived = sum(test.status == "waived" for test in tests)
    error = root.get("error")
    words = {name: clean_text(root[key]) for name, key in (("version", "version"), ("driver", "Driver Version"))
             if isinstance(root.get(key), str)}
    return Bandwidths(version=words.get("version"), driver=words.get("driver"), devices=tuple(devices.values()),
                      tests=tuple(tests), waived=waived, waived_line=0 if waived else None,
                      error=clean_text(error) if isinstance(error, str) and error else None,
                      left_out=len(cases) > MAX_TESTS)


_STATUS = {"passed": "passed", "waived": "waived", "running": "running"}


def _test(case: Mapping[str, object]) -> Test:
    name, status, text = (clean_text(found) if isinstance(found := case.get(key), str) else ""
                          for key in ("name", "status", "error"))
    description = case.get("bandwidth_description")
    matrix = case.get("bandwidth_matrix")
    rows = tuple(
        tuple(_cell(cell) for cell in row[:MAX_SIDE])
        for row in (matrix[:MAX_SIDE] if isinstance(matrix, list) else ()) if isinstance(row, list))
    words = clean_text(description) if isinstance(description, str) else ""
    outcome = "wrong" if _WRONG.search(text) else _STATUS.get(status.lower(), "error")
    return Test(name=name, status=outcome, description=words, cells=rows, square="GPU(row)" in words,
                text=text or status)


def _cell(cell: object) -> float | None:
    """Cells are strings there; a plain number is taken too."""
    if isinstance(cell, int | float) and abs(cell) < 1e9:
        cell = repr(float(cell))
    return number(cell) if isinstance(cell, str) else None
