"""rocm_bandwidth_test: access, distances, bandwidths between host and GPUs, and its validation run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from boxcheck.decode.klog.events import Event
from boxcheck.decode.matrix import Cells, heading, is_row
from boxcheck.decode.rocm_bandwidth import ACCESS, BANNER, DEVICE, DISTANCE, RATE, VALIDATION, VERSION, Run, parse
from boxcheck.triage.evidence import Device, Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_cards import AMD, CLASS
from boxcheck.triage.tools.matrix_judge import (
    WRONG_COPY,
    Gpu,
    Gpus,
    HostCopies,
    Measured,
    judge_access,
    judge_host,
    judge_pairs,
    known,
    make,
)

_BELONGS = re.compile(
    r"Launch Command is: |Device (?:Index|Type|Name|UUID)|Device\s+BDF:|Allocatable Memory Size|Data Size\s|"
    r"[0-9]{1,8} (?:Bytes|KB|MB)\s+[0-9.]|(?:\([^)]{1,60}\)|-[aAv]\)?)$|"
    r"\(?rocm_bandwidth\b|\+ rocm|GPU-(?:XX|[0-9a-f]{16}),|[0-9a-f]{2}:[0-9a-f]{1,2}\.[0-7]$|\.{3,}$")


def begins(line: str) -> str | None:
    line = line.strip()
    if VERSION.match(line) or line.startswith("Inter-Device ") or (RATE.match(line) or VALIDATION.match(line)):
        return "rocm_bandwidth_test"
    return None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    return bool(begins(line) or DEVICE.match(line) or ACCESS.match(line) or DISTANCE.match(line) or is_row(line)
                or heading(line) or BANNER.match(line) or _BELONGS.match(line) or re.fullmatch(r"[0-9PXNA/ \t]+", line))


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    gpus = {one.index: Gpu(index=one.index, name=one.name, bdf=one.bdf) for one in found.devices if one.gpu}
    # Its numbers count the processors too, so they are none of another tool's.
    devices = tuple(Device(line=at_line(section, one.line), bdf=one.bdf, name=one.name, uuid=one.uuid,
                           vendor=AMD, class_code=CLASS,
                           more={"rocm_bandwidth_test_number": one.index})
                    for one in found.devices if one.gpu)
    processors = {one.name for one in found.devices if not one.gpu}
    notes = []
    if found.rates:
        notes.append("whether the data arrived: a bandwidth run compares nothing; rocm_bandwidth_test -v does")
    if (found.rates or found.access) and not gpus:
        notes.append("which of its numbers are GPUs: the list of devices is missing, so nothing is compared")
    if found.validation and any("N/A" in cell for row in found.validation for cell in row):
        notes.append("the cells N/A of the validation: nothing was copied there")
    if found.cut:
        notes.append("all pairs: a matrix is cut off here")
    return Evidence(
        tool="rocm_bandwidth_test" + (f" {found.version}" if found.version else ""), devices=devices,
        events=tuple(_events(found, gpus, section)), notes=tuple(notes),
        readings=listing(devices) | _readings(found),
        box={"cpu": processors.pop()} if len(processors) == 1 else {})


def _events(found: Run, gpus: Gpus, section: Section) -> list[Event]:
    events = _validation(found, gpus, at_line(section, found.validation_line))
    hosts = {one.index for one in found.devices if not one.gpu}
    pairs, copies = [], []
    for rates in found.rates:
        line = at_line(section, rates.line)
        way = "both ways" if rates.both_ways else "one way"
        pairs.append(Measured(cells=_only(rates.cells, gpus), words=way, line=line, both_ways=rates.both_ways))
        if not rates.both_ways and gpus:
            copies += _host(rates.cells, gpus, hosts, line)
    events += judge_pairs(pairs, gpus) + judge_host(copies, gpus)
    return events + _access(found, gpus, hosts, at_line(section, found.access_line))


def _only(cells: Cells, gpus: Gpus) -> Cells:
    """The cells between GPUs, the others None. Nothing where no devices are listed: which are GPUs is not known then.
    """
    if not gpus:
        return ()
    return tuple(tuple(value if row in gpus and column in gpus else None for column, value in enumerate(line))
                 for row, line in enumerate(cells))


def _host(cells: Cells, gpus: Gpus, hosts: set[int], line: int) -> list[HostCopies]:
    """Best rate between each GPU and any socket. A GPU whose cells are all N/A has none."""
    def best(pairs: Iterable[tuple[int, int]]) -> float | None:
        return max((rate for row, column in pairs if row < len(cells) and column < len(cells[row])
                    and (rate := cells[row][column]) is not None), default=None)

    there = {index: rate for index in gpus if (rate := best((host, index) for host in hosts)) is not None}
    back = {index: rate for index in gpus if (rate := best((index, host) for host in hosts)) is not None}
    return [HostCopies(rates=rates, words=words, line=line)
            for rates, words in ((there, "host to device"), (back, "device to host")) if rates]


def _validation(found: Run, gpus: Gpus, line: int) -> list[Event]:
    wrong = [(row, column) for row, cells in enumerate(found.validation) for column, cell in enumerate(cells)
             if cell.upper() == "FAIL"]
    events = []
    within = [row for row, column in wrong if row == column]
    for index in within[:16]:
        events.append(make("wrong-results", "fail", f"GPU {index} failed a copy within its own memory", line,
                           gpu=known(gpus, index), labels=(f"gpu{index}",),
                           help=("no link is part of it: memory, clocks or power of that card; memtest_vulkan on it",)))
    between = [pair for pair in wrong if pair[0] != pair[1]]
    if between:
        shown = ", ".join(f"{row} to {column}" for row, column in between[:6]) + (" ..." if len(between) > 6 else "")
        common = set.intersection(*({row, column} & (set(gpus) or {row, column}) for row, column in between))
        one = next(iter(common)) if len(common) == 1 else None
        says = f"validation failed for {len(between)} of the copies between devices ({shown})"
        events.append(make(
            "validation-failed", "fail", says + (f", all of them with GPU {one}" if one is not None else ""), line,
            gpu=known(gpus, one) if one is not None else None, count=len(between),
            labels=(f"gpu{one}",) if one is not None else ("copies",),
            help=WRONG_COPY if one is None else (
                f"the link of GPU {one}: riser, slot, power; run again at a lower link speed set in the BIOS, and with "
                "the card in another slot", "`dmesg | grep -iE 'aer|amdgpu|io_page_fault'`")))
    return events


def _access(found: Run, gpus: Gpus, hosts: set[int], line: int) -> list[Event]:
    cells = {(row, column): word for row, words in enumerate(found.access) for column, word in enumerate(words)}
    between = {pair: word for pair, word in cells.items() if pair[0] != pair[1] and set(pair) <= set(gpus)}
    events = judge_access(sorted(pair for pair, word in between.items() if word == "0"), len(between), gpus, line)
    for (row, column), word in sorted(cells.items()):
        if row in hosts and column in gpus and word == "0":
            events.append(make(
                "bar-small", "info", f"the processor cannot reach the memory of GPU {column}, as without a large BAR",
                line, cause="config", gpu=known(gpus, column), labels=(f"gpu{column}",),
                help=("`sudo lspci -vv` shows the size of Region 0; the BIOS has Above 4G Decoding, Resizable BAR",)))
    return events[:64]


def _readings(found: Run) -> dict[str, Any]:
    """Rows are sources, columns destinations, by the tool's own numbers (processors first)."""
    shown: dict[str, Any] = {}
    for rates in found.rates:
        name = f"{'bi' if rates.both_ways else 'uni'}directional_gigabytes_per_second"
        shown.setdefault(name, [list(row) for row in rates.cells])
    if found.access:
        shown["access"] = [list(row) for row in found.access]
    if found.validation:
        shown["validation"] = [list(row) for row in found.validation]
    return shown
