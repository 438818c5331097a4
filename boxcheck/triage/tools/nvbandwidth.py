"""nvbandwidth: bandwidths between the host and GPUs and between GPUs, waived tests, payloads that arrived wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from boxcheck.decode.klog.events import Event
from boxcheck.decode.matrix import heading, is_row
from boxcheck.decode.nvbandwidth import DESCRIPTION, MAX_TESTS, NAME, Bandwidths, Test, parse, parse_json
from boxcheck.triage.evidence import Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_cards import is_card_name
from boxcheck.triage.tools.matrix_judge import (
    WRONG_COPY,
    Gpu,
    Gpus,
    HostCopies,
    Measured,
    judge_access,
    judge_host,
    judge_latency,
    judge_pairs,
    make,
    uncompared,
)
from boxcheck.triage.tools.runtime_device import runtime_device
from boxcheck.triage.tools.steps import NVIDIA_LOG, P2P_REASON

_BEGINS = re.compile(
    rf"nvbandwidth Version: |(?:Running|Waiving) {NAME}\.|SUM {NAME} [0-9]|memcpy (?:CE|SM|local) .{{0,90}}\(GB/s\)$"
    r"|memory latency SM .{0,60}\(ns\)$|Device 0: (?:NVIDIA|Tesla|GeForce|Quadro|Graphics) ")
_BELONGS = re.compile(
    rf"nvbandwidth Version: |Built from Git version: |MPI version: |CUDA (?:Runtime|Driver) Version: |Driver Version: "
    rf"|Device [0-9]{{1,3}}: |Process [0-9]{{1,4}} \(|Running {NAME}\.?$|(?i:waiv(?:ing|ed))\b|Passed"
    rf"|Not Found|(?:SUM|MIN|MAX|AVG|&&&& PERF) {NAME} |Sample [0-9]{{1,3}}: |NOTE: Th(?:is tool|e reported)"
    r"|Invalid value when checking|Current offset|ASSERT in expression|(?:ERROR|Error): |\[CUDA_ERROR_|NVML_ERROR: "
    r"|\([0-9a-f]{8}:[0-9a-f]{2}:[0-9a-f]{2}\)$|Aborted \(core dumped\)|double free")
_HOSTNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PROSE = ("NOTE: This tool reports current measured bandwidth on your system. Additional system-specific tuning may "
          "be required to achieve maximal peak bandwidth. NOTE: The reported results may not reflect the full "
          "capabilities of the platform. Performance can vary with software drivers, hardware clocks, and system "
          "topology.")

_PAIRS = re.compile(r"device_to_device_(?:bidirectional_)?memcpy_(?:read|write)_(?:ce|sm)|")
_HOST = {"host_to_device_memcpy_ce": "host to device", "device_to_host_memcpy_ce": "device to host"}
_UNVERIFIED = "whether the payload was compared: it is after each test, unless -s (--skipVerification) was given"


def begins(line: str) -> str | None:
    return "nvbandwidth" if _BEGINS.match(line.strip()) else None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    return bool(_BELONGS.match(line) or DESCRIPTION.match(line) or is_row(line) or heading(line)
                or _HOSTNAME.fullmatch(line) or is_card_name(line)
                or (len(line) > 8 and " ".join(line.split()) in _PROSE))


def read(section: Section) -> Evidence:
    return _evidence(parse(section.lines), lambda offset: at_line(section, offset))


def read_json(value: object) -> Evidence | None:
    """The document of `nvbandwidth -j`; None for another one."""
    found = parse_json(value)
    return _evidence(found, lambda _: 1) if found is not None else None


def _evidence(found: Bandwidths, line: Callable[[int], int]) -> Evidence:
    gpus = {device.index: Gpu(index=device.index, name=device.name, bdf=device.bdf) for device in found.devices}
    devices = tuple(runtime_device(line=line(device.line), bdf=device.bdf, name=device.name, index=device.index)
                    for device in found.devices)
    events = [*_failures(found, line), *_copies(found, gpus, line)]
    if found.waived:
        named = [test.name for test in found.tests if test.status == "waived" and test.name]
        which = f": {', '.join(named[:3])}{' ...' if len(named) > 3 else ''}" if named else ""
        events.append(make(
            "tool-waived", "info", f"tests were waived{which}; waived is not passed",
            line(found.waived_line or 0), labels=("nvbandwidth",), count=found.waived,
            help=("tests between GPUs are waived where no pair has peer access", P2P_REASON)))
    tool = "nvbandwidth" + (f" {found.version}" if found.version else "") + (
        f", driver {found.driver}" if found.driver else "")
    measured = any(test.cells for test in found.tests)
    notes = ((_UNVERIFIED, *uncompared(gpus)) if measured else ("any bandwidth: no test has a result here",))
    if any(test.cut for test in found.tests):
        notes = (*notes, "all pairs: a matrix is cut off here")
    if measured and (open_ := sum(test.status == "running" for test in found.tests)):
        notes = (*notes, f"{open_} of the tests: they have no result here")
    if found.left_out:
        notes = (*notes, f"tests after the first {MAX_TESTS}, but for payloads that arrived wrong")
    box = {"driver": found.driver} if found.driver else {}
    return Evidence(tool=tool, devices=devices, events=tuple(events), notes=notes,
                    readings=listing(devices) | _readings(found), box=box)


def _readings(found: Bandwidths) -> dict[str, Any]:
    """Matrices by test, rows and columns as the tool's own description says (`GPU(row) -> GPU(column)`)."""
    shown: dict[str, Any] = {}
    for at, test in enumerate(found.tests):
        if test.cells:
            unit = "nanoseconds" if "(ns)" in test.description else "gigabytes_per_second"
            name = f"{test.name or f'test_{at}'}_{unit}"
            while name in shown:
                name += "_again"
            shown[name] = {"is": test.description, "rows": [list(row) for row in test.cells]}
    return shown


def _failures(found: Bandwidths, line: Callable[[int], int]) -> list[Event]:
    events = []
    for test in found.tests:
        if test.status == "wrong":
            events.append(make(
                "validation-failed", "fail", f"{test.name or 'a test'} found data at the receiver that was not sent",
                line(test.line), labels=(test.name or "nvbandwidth",), help=WRONG_COPY, text=test.text))
        elif test.status == "error":
            events.append(make(
                "tool-error", "warn", f"{test.name or 'a test'} ended with an error, so it says nothing of the link",
                line(test.line), labels=(test.name or "nvbandwidth",), text=test.text,
                help=(NVIDIA_LOG, "then that test alone: `nvbandwidth -t NAME`",)))
    if found.error and not any(test.status in ("wrong", "error") for test in found.tests):
        events.append(make("tool-error", "warn", "nvbandwidth stopped with an error, so tests after it did not run",
                           line(found.error_line), labels=("nvbandwidth",), text=found.error,
                           help=(NVIDIA_LOG, "then that test alone: `nvbandwidth -t NAME`")))
    return events


def _copies(found: Bandwidths, gpus: Gpus, line: Callable[[int], int]) -> list[Event]:
    pairs, host, events = [], [], []
    lacking: dict[tuple[int, int], bool] = {}
    total = 0
    access_line = 0
    for test in found.tests:
        if test.status != "passed" or not test.cells:
            continue
        if test.square and "latency" in test.name:
            events += judge_latency(_microseconds(test), "between GPUs", line(test.line))
        elif test.square and "total bandwidth" not in test.description and _PAIRS.fullmatch(test.name):
            both = "Total" in test.description
            pairs.append(Measured(
                cells=test.cells, words=test.name or "GPU to GPU", line=line(test.line), both_ways=both))
            access_line = access_line or test.line
            total = max(total, len(test.cells) * (len(test.cells[0]) - 1))
            for row, cells in enumerate(test.cells):
                for column, value in enumerate(cells):
                    if row != column:
                        lacking[row, column] = lacking.get((row, column), True) and not value
        elif test.name in _HOST:
            rates = {at: max(read) for at in range(len(test.cells[0]))
                     if (read := [rate for row in test.cells if (rate := row[at]) is not None])}
            host.append(HostCopies(rates=rates, words=_HOST[test.name], line=line(test.line)))
    without = sorted(pair for pair, lacks in lacking.items() if lacks)
    return [*judge_pairs(pairs, gpus), *judge_host(host, gpus),
            *judge_access(without, total, gpus, line(access_line)), *events]


def _microseconds(test: Test) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(None if value is None else value / 1000 for value in row) for row in test.cells)
