"""nccl-tests and rccl-tests: collectives whose elements are checked."""

from __future__ import annotations

import re

from boxcheck.decode.klog.events import Event
from boxcheck.decode.matrix import number
from boxcheck.decode.nccl import AVERAGE, BOUNDS, FAILURE, HEAD, RANK, ROW, Collective, count, parse
from boxcheck.triage.evidence import Device, Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_cards import is_card_name
from boxcheck.triage.tools.matrix_judge import WRONG_COPY, make
from boxcheck.triage.tools.runtime_device import runtime_device

_BELONGS = re.compile(
    r"#$|# Using devices|#\s+(?:size|\(B\)|out-of-place)|# Collective test concluded|"
    r"# (?:GPU memory usage|error|Blocking|Parallel Init|Per-Iteration|Reducing maxBytes)|"
    r"#wrong|\(us\)|\(GB/s\)|(?:time|algbw|busbw)\s|out-of-place|in-place|"
    r"\.\. \S{1,80} pid [0-9]{1,9}: Test failure|rccl-tests: Version|NCCL version|RCCL version|"
    r"[0-9]{1,12} (?:iters|agg iters|maxBytes|step|warmup|validation|graph)\b|error\s|"
    r"(?:minBytes|maxBytes|step:|warmup|iters:|agg iters|graph:|validation:)")
_RANK_REST = re.compile(r"(?:#?\s*Rank\s{1,4}[0-9]{1,5} |(?:on\s{1,12}\S{1,80} )?device\s{1,4}[0-9]{1,3} \[|"
                        r"\[(?:0x)?[0-9a-f]{2,4}[0-9a-f:.]{0,12}\] |failure common\.cu|'unhandled|NCCL_DEBUG=INFO)")


def begins(line: str) -> str | None:
    line = line.strip()
    if HEAD.match(line) or line.startswith("# Using devices") or RANK.match(line) or BOUNDS.match(line):
        return "nccl-tests"
    return None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    if begins(line) or is_card_name(line) or any(
            one.match(line) for one in (_RANK_REST, ROW, AVERAGE, FAILURE, _BELONGS)):
        return True
    words = line.split() if len(line) < 200 else []
    return bool(words) and all(
        word in ("N/A", "none", "sum", "-1") or number(word) is not None or count(word) is not None for word in words)


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    devices: dict[tuple[str, int], Device] = {}
    for rank in found.ranks:
        devices.setdefault((rank.host, rank.device), runtime_device(
            line=at_line(section, rank.line), bdf=rank.bdf, name=rank.name, index=rank.device))
    hosts = {rank.host for rank in found.ranks}
    notes = []
    if found.old:
        notes.append("single elements: this version prints a rounding difference in place of #wrong")
    elif found.rows and found.unchecked == found.rows:
        notes.append("whether the data arrived: #wrong is N/A in every row, so nothing was checked (-c 1 checks)")
    if found.cut:
        notes.append("the outcome: the closing lines are missing")
    if len(found.ranks) == 1:
        notes.append("any link: one rank moves nothing to another GPU")
    if len(hosts) > 1:
        notes.append("one machine: the ranks are on several hosts")
    readings = {name: value for name, value in (
        ("average_bus_gigabytes_per_second", found.average_bus_gbs),
        ("best_bus_gigabytes_per_second", found.best_bus_gbs), ("rows", found.rows), ("wrong_elements", found.wrong),
        ("out_of_bounds", found.out_of_bounds)) if value is not None}
    listed = tuple(devices.values()) if len(hosts) < 2 else ()
    return Evidence(tool="nccl-tests" + (f", {found.test}" if found.test else ""),
                    devices=listed, events=tuple(_events(found, section)), notes=tuple(notes),
                    readings=listing(listed) | readings)


def _events(found: Collective, section: Section) -> list[Event]:
    events = []
    if found.wrong or found.bounds_failed or found.out_of_bounds:
        where = f"{found.wrong} elements in {found.wrong_rows} of {found.rows} rows" if found.wrong else (
            f"{found.out_of_bounds} values out of bounds")
        size = f", from {found.wrong_sizes[0]} bytes on" if found.wrong_sizes else ""
        events.append(make(
            "wrong-results", "fail", f"the collective gave wrong results ({where}{size})",
            at_line(section, found.wrong_line if found.wrong else found.bounds_line), labels=("collective",),
            help=("`NCCL_P2P_DISABLE=1` for another run: right then means that peer copies are wrong", *WRONG_COPY[:1],
                  "run it on pairs (`-g 2` with CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES) to find the GPU that is "
                  "in every wrong one",
                  "right pairs and a wrong whole: memory or power under load; gpu_burn on all at once")))
    if found.average_failed:
        rate = f" of {found.average_bus_gbs:.2f} GB/s" if found.average_bus_gbs is not None else ""
        events.append(make(
            "slow", "warn", f"the average bus bandwidth{rate} is below the floor given to the run",
            at_line(section, found.average_line), labels=("collective",),
            help=("NCCL_TESTS_MIN_BW sets the floor; `NCCL_DEBUG=INFO` shows the way it takes, `nvidia-smi topo -m` "
                  "the links",)))
    if found.failure is not None:
        events.append(make(
            "tool-error", "warn", "the collective stopped with an error, so it says nothing of the links",
            at_line(section, found.failure_line), labels=("collective",), text=found.failure,
            help=("`dmesg | grep -iE 'xid|nvrm|amdgpu|io_page_fault'`, and `NCCL_DEBUG=INFO` for the next run",)))
    return events
