"""ROCm Validation Suite: verdicts of its modules, bandwidths, products that differ."""

from __future__ import annotations

import re
from math import isfinite
from statistics import median
from typing import Any

from boxcheck.decode.klog.events import Event
from boxcheck.decode.matrix import Cells
from boxcheck.decode.rvs import ERROR, RECORD, SUMMARY, Copy, Rvs, parse
from boxcheck.triage.evidence import Device, Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_cards import AMD, CLASS
from boxcheck.triage.tools.matrix_judge import (
    Gpu,
    HostCopies,
    Measured,
    judge_access,
    judge_host,
    judge_pairs,
    make,
)

CHECK_FAIL = 1e-3
"""Relative difference of products; below it the order of additions can be the reason."""
MAX_SIDE = 256

_REST = re.compile(
    r"(?:\[[GC]PU::|bidirectional:|h2d::?|d2h::?|GFLOPS|Target|met:|TRUE|FALSE|true|false|"
    r"[0-9.]{1,20},? (?:Target|met)\b|Gflops [0-9.]|(?:stress )?: ?[0-9.]{1,20}(?:,? met\b|$)|met :|:(?:TRUE|FALSE)$|"
    r"GPU Id|Module name|[0-9]{1,9}\.(?:[0-9]{6}|[0-9]{10})$|peers:|distance:|duration:|pass:|"
    r"[0-9.]{1,12}\s{1,4}(?:GBps|secs?|-)|secs?$|GBps|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\]|-\s{1,4}[0-9])")
_NOTES = {
    "targets": "that a card is as fast as it should be: RVS's targets are set by hand, about half of a sound Radeon's",
    "unchecked": "whether products are right: self_check and accuracy_check are off by default",
    "copies": "whether the data arrived: pebb and pbqt report bandwidth",
}
_HELP = {
    "peqt": ("a PCIe property differs from what the configuration wants: `sudo lspci -vv` of the card and its port",),
    "iet": ("the power that the configuration asks for was not reached or held: `rocm-smi --showpower --showmaxpower`; "
            "the targets of many configurations are another card's",),
    "tst": ("`rocm-smi --showtemp --showfan` during the run",),
    "smqt": ("`sudo lspci -vv` shows the BARs; Above 4G Decoding and Resizable BAR are in the BIOS",),
}


def begins(line: str) -> str | None:
    line = line.strip()
    return "rvs" if RECORD.match(line[:1024]) or ERROR.match(line) or SUMMARY.match(line[:200]) else None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    return begins(line) is not None or _REST.match(line) is not None or (
        line.startswith(("| ", "+=", "+-")) and "-SMI " not in line[:16])


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    devices = tuple(Device(line=at_line(section, gpu.line), bdf=gpu.bdf, vendor=AMD, class_code=CLASS,
                           more={"kfd_gpu_id": gpu.id})
                    for gpu in found.gpus if gpu.bdf is not None)
    notes = []
    if any(verdict.module == "gst" for verdict in found.verdicts):
        notes += [_NOTES["targets"], *([] if found.checked else [_NOTES["unchecked"]])]
    if found.pairs or found.hosts:
        notes.append(_NOTES["copies"])
    unmeasured = sum(copy.gigabytes_per_second is None for copy in (*found.pairs, *found.hosts))
    if unmeasured:
        notes.append(f"{unmeasured} of the copies: they were not measured")
    return Evidence(tool="rvs", devices=devices, events=tuple(_events(found, section)), notes=tuple(notes),
                    readings=listing(found.gpus) | _readings(found))


def _readings(found: Rvs) -> dict[str, Any]:
    """GPUs by KFD's gpu_id; `from`, `to`, GB/s."""
    shown: dict[str, Any] = {}
    for copy in found.pairs:
        name = f"{'bi' if copy.both_ways else 'uni'}directional_gigabytes_per_second"
        shown.setdefault(name, []).append([copy.source, copy.target, copy.gigabytes_per_second])
    for copy in found.hosts:
        way = "host_bidirectional" if copy.both_ways else "device_to_host" if copy.to_host else "host_to_device"
        rates = shown.setdefault(f"{way}_gigabytes_per_second", [])
        rates.append([copy.source, copy.target, copy.gigabytes_per_second])
    for verdict in found.verdicts:
        shown.setdefault("verdicts", []).append([verdict.module, verdict.action, verdict.gpu, verdict.passed])
    return shown


def _events(found: Rvs, section: Section) -> list[Event]:
    where = {gpu.id: Gpu(index=gpu.id, bdf=gpu.bdf) for gpu in found.gpus}
    events = [*_wrong(found, where, section), *_failed(found, where, section)]
    # Without cards of known links only the pairs and GPUs are compared with one another.
    ids = sorted(where)[:MAX_SIDE]
    for both_ways in (False, True):
        copies = [copy for copy in found.pairs if copy.both_ways == both_ways]
        if copies:
            measured = Measured(cells=_cells(copies, ids), words="both ways" if both_ways else "one way",
                                line=at_line(section, copies[0].line), both_ways=both_ways)
            events += [_renamed(event, ids, where) for event in judge_pairs([measured], {})]
    hosts = []
    for to_host, words in ((False, "host to device"), (True, "device to host")):
        rates: dict[int, float] = {}
        for copy in found.hosts:
            if copy.to_host == to_host and not copy.both_ways and copy.gigabytes_per_second is not None:
                rates[copy.target] = max(rates.get(copy.target, 0.0), copy.gigabytes_per_second)
        if rates:
            hosts.append(HostCopies(rates=rates, words=words, line=at_line(section, found.hosts[0].line)))
    events += judge_host(hosts, where)
    without = [(one, other) for one, other, can in found.peers if not can]
    cards = {index: Gpu(index=index, name="AMD", bdf=gpu.bdf) for index, gpu in where.items()}
    return events + judge_access(without, len(found.peers), cards, at_line(section, found.peers_line))


def _cells(copies: list[Copy], ids: list[int]) -> Cells:
    place = {identity: at for at, identity in enumerate(ids)}
    cells: list[list[float | None]] = [[None] * len(ids) for _ in ids]
    for copy in copies:
        if copy.source in place and copy.target in place:
            cells[place[copy.source]][place[copy.target]] = copy.gigabytes_per_second
    return tuple(tuple(row) for row in cells)


_NUMBERED = re.compile(r"\bGPU ([0-9]{1,3})\b")
_GROUP = re.compile(r"\{[0-9]{1,3}(?:, [0-9]{1,3}){0,15}\}")
_LABEL = re.compile(r"gpu([0-9]{1,3})")


def _renamed(event: Event, ids: list[int], where: dict[int, Gpu]) -> Event:
    """The matrix counts GPUs from 0; here they are called by their gpu_id."""
    from msgspec.structs import replace

    def name(found: re.Match[str]) -> str:
        return f"GPU {ids[int(found[1])]}" if int(found[1]) < len(ids) else found[0]

    def group(found: re.Match[str]) -> str:
        places = [int(place) for place in found[0][1:-1].split(",")]
        return "{" + ", ".join(str(ids[place]) for place in places if place < len(ids)) + "}"

    labels = tuple(_LABEL.sub(lambda found: f"gpu{ids[int(found[1])]}", label) for label in event.labels)
    single = _LABEL.fullmatch(event.labels[0]) if len(event.labels) == 1 else None
    bdf = where[ids[int(single[1])]].bdf if single else None
    return replace(event, says=_GROUP.sub(group, _NUMBERED.sub(name, event.says)), labels=labels, bdf=bdf)


def _wrong(found: Rvs, where: dict[int, Gpu], section: Section) -> list[Event]:
    events = []
    worst: dict[tuple[int, str], tuple[float, int, int]] = {}
    for gpu, check, error, line in found.checks:
        before = worst.get((gpu, check), (0.0, line, 0))
        worst[gpu, check] = (max(before[0], error), before[1], before[2] + 1)
    for (gpu, check), (error, line, count) in worst.items():
        large = error >= CHECK_FAIL
        by = f"by {error:.2g}" if isfinite(error) else "beyond any measure"
        events.append(make(
            "wrong-results", "fail" if large else "warn",
            f"GPU {gpu} computed products that differ {by} ({check})"
            + ("" if large else ", which the order of additions can be the reason of"), at_line(section, line),
            gpu=where.get(gpu), labels=(f"gpu{gpu}", check), count=count,
            help=("run it on this GPU alone: when it stays, memory or core of the card; when it goes, power or heat "
                  "under the load of all",)))
    if found.memory_errors:
        events.append(make(
            "wrong-results", "fail", f"the memory test counted {found.memory_errors} wrong words",
            at_line(section, found.memory_line), labels=("mem",),
            help=("run it on each GPU alone; what stays at stock clocks is a case for the warranty",)))
    return events


def _failed(found: Rvs, where: dict[int, Gpu], section: Section) -> list[Event]:
    events = []
    for verdict in found.verdicts:
        if verdict.passed:
            continue
        name = f"GPU {verdict.gpu}" if verdict.gpu is not None else "a GPU"
        line = at_line(section, verdict.line)
        labels = (verdict.module, *((f"gpu{verdict.gpu}",) if verdict.gpu is not None else ()), verdict.action)
        gpu = where.get(verdict.gpu) if verdict.gpu is not None else None
        if verdict.reached is not None and verdict.target:
            share = verdict.reached / verdict.target
            others = [other.reached for other in found.verdicts if other.reached and other.action == verdict.action]
            beside = f"; the median GPU reached {median(others):.0f}" if len(others) > 1 else ""
            events.append(make(
                "slow", "warn", f"{name} reached {verdict.reached:.0f} of the {verdict.target:.0f} Gflop/s that "
                f"{verdict.action} asks for ({share:.0%}){beside}", line, gpu=gpu, labels=labels, text=verdict.text,
                help=("clocks, power and temperature during the run: `rocm-smi`, or `amd-smi metric`",
                      "all GPUs alike: the target is another card's, or the library has no kernel for this one")))
        else:
            events.append(make(
                "test-failed", "warn", f"the action {verdict.action} failed on {name}", line, gpu=gpu, labels=labels,
                text=verdict.text, help=_HELP.get(verdict.module) or _HELP.get(verdict.action[:3].lower()) or (
                    "run that action alone with `rvs -c CONF -d 3`",)))
    if found.errors:
        line, text = found.errors[0]
        events.append(make("tool-error", "warn", "rvs reported errors of its own, so tests may not have run",
                           at_line(section, line), labels=("rvs",), count=len(found.errors), text=text,
                           help=("`dmesg | grep -iE 'amdgpu|kfd'`; -m knows Instinct cards alone, others need -c",)))
    return events
