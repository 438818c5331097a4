"""p2pBandwidthLatencyTest: peer access, bandwidths and latencies between GPUs, with and without peer copies."""

from __future__ import annotations

import re
from typing import Any

from boxcheck.decode.klog.events import Event
from boxcheck.decode.matrix import heading, is_row
from boxcheck.decode.p2p_test import ACCESS, CONNECTIVITY, DEVICE, FAILURE, TITLE, TITLE_REST, Matrix, P2pTest, parse
from boxcheck.triage.evidence import Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_judge import (
    Gpu,
    Gpus,
    Measured,
    judge_access,
    judge_latency,
    judge_p2p_gain,
    judge_pairs,
    make,
    uncompared,
)
from boxcheck.triage.tools.runtime_device import runtime_device
from boxcheck.triage.tools.steps import CUDA_LOG

_HEAD = "[P2P (Peer-to-Peer) GPU Bandwidth Latency Test]"
_PROSE = ("***NOTE: In case a device doesn't have P2P access to other one, it falls back to normal memcopy procedure. "
          "So you can see lesser Bandwidth (GB/s) and unstable Latency (us) in those cases. NOTE: The CUDA Samples are "
          "not meant for performance measurements. Results may vary when GPU Boost is enabled.")
_WRAPPED = re.compile(r"Device: [0-9]{1,3}, .{1,100}|(?:pciBusID|pciDeviceID|pciDomainID): ?[0-9a-f]{1,8}")
_UNVERIFIED = "whether the data arrived: this test copies zeros and compares nothing; simpleP2P does"
_STAGED = "P2P: pairs without peer access are copied through the host in the P2P=Enabled matrices too"


def begins(line: str) -> str | None:
    line = line.strip()
    if line.startswith((_HEAD, CONNECTIVITY)) or TITLE.match(line) or DEVICE.match(line) or ACCESS.match(line):
        return "p2pBandwidthLatencyTest"
    return None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    return bool(begins(line) or is_row(line) or heading(line) or FAILURE.match(line)
                or (len(line) > 4 and " ".join(line.split()) in _PROSE)
                or TITLE_REST.fullmatch(line) or _WRAPPED.match(line))


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    gpus = {one.index: Gpu(index=one.index, name=one.name, bdf=one.bdf) for one in found.devices}
    devices = tuple(runtime_device(line=at_line(section, one.line), bdf=one.bdf, name=one.name, index=one.index)
                    for one in found.devices)
    notes = [_UNVERIFIED, *uncompared(gpus)]
    if any(not can for _, _, can in found.access):
        notes.append(_STAGED)
    if found.cut:
        notes.append("all pairs: a matrix is cut off here")
    return Evidence(tool="p2pBandwidthLatencyTest", devices=devices, events=tuple(_events(found, gpus, section)),
                    notes=tuple(notes), readings=listing(devices) | _readings(found))


def _words(matrix: Matrix) -> str:
    way = "both ways" if matrix.both_ways else "one way"
    return f"{way}, P2P {'enabled' if matrix.enabled else 'disabled'}{', reads' if matrix.reads else ''}"


def _events(found: P2pTest, gpus: Gpus, section: Section) -> list[Event]:
    pairs = judge_pairs([
        Measured(cells=one.cells, words=_words(one), line=at_line(section, one.line), both_ways=one.both_ways)
        for one in found.matrices if one.quantity == "bandwidth"], gpus)
    able = {(row, column) for row, column, can in found.access if can} if found.access else None
    worse: list[Event] = []
    for both_ways in (False, True):
        off, on = (found.matrix("bandwidth", both_ways, enabled) for enabled in (False, True))
        if off is not None and on is not None and not worse:
            worse = judge_p2p_gain(off.cells, on.cells, able, at_line(section, on.line))
    if worse and "some" in worse[0].labels and pairs:
        worse = []  # a slow pair or group is that already
    elif worse:
        pairs = [event for event in pairs if event.labels != ("all",)]
    events = pairs + worse
    latency = found.matrix("gpu-latency", False, True)
    if latency is not None:
        events += judge_latency(latency.cells, "P2P enabled", at_line(section, latency.line))
    without = [(row, column) for row, column, can in found.access if not can]
    events += judge_access(without, len(found.access), gpus, at_line(section, found.access_line))
    if found.failure is not None:
        events.append(make(
            "tool-error", "warn", "the test stopped with a CUDA error, so it says nothing of the pairs after it",
            at_line(section, found.failure_line), labels=("p2pBandwidthLatencyTest",), text=found.failure,
            help=(CUDA_LOG,)))
    return events


def _readings(found: P2pTest) -> dict[str, Any]:
    """Matrices as lists; the row writes to the column, in `reads` it reads from it."""
    shown: dict[str, Any] = {}
    for one in found.matrices:
        what = ("gigabytes_per_second" if one.quantity == "bandwidth"
                else f"{one.quantity.replace('-', '_')}_microseconds")
        way = "bidirectional" if one.both_ways else "unidirectional"
        name = "_".join((*((way,) if one.quantity == "bandwidth" else ()), "p2p", "on" if one.enabled else "off",
                         *(("row_reads_from_column",) if one.reads else ()), what))
        shown.setdefault(name, [list(row) for row in one.cells])
    if found.access:
        shown["peer_access"] = [[row, column, can] for row, column, can in found.access]
    return shown
