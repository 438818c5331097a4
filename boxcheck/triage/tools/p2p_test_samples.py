"""simpleP2P and bandwidthTest of NVIDIA's CUDA samples (simpleP2P's HIP port prints the same)."""

from __future__ import annotations

import re
from typing import Any

from boxcheck.decode.klog.events import Event
from boxcheck.decode.p2p_test_samples import DIRECTION, MEMORY, PEER, SHMOO, WAIVED, WRONG, Sample, parse
from boxcheck.triage.evidence import Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_judge import WRONG_COPY, Gpu, HostCopies, judge_access, judge_host, make
from boxcheck.triage.tools.runtime_device import runtime_device
from boxcheck.triage.tools.steps import CUDA_LOG, NVIDIA_LOG, P2P_REASON

_SIMPLE = re.compile(r"\[\S{0,200}simpleP2P\] - Starting|Checking GPU\(s\) for support of peer to peer|"
                     r"(?:> ?)?Peer access from .{1,80}\(GPU[0-9]|(?:cuda|hip)MemcpyPeer / |"
                     r"Verification error @ element ")
_BANDWIDTH = re.compile(r"\[CUDA Bandwidth Test\] - Starting|bandwidthTest-(?:H2D|D2H|D2D)")
_BELONGS = re.compile(
    r"Checking for multiple GPUs|(?:CUDA|HIP)-capable device count: |(?:> ?)?GPU[0-9]{1,3} = |Enabling peer access|"
    r"Allocating buffers|Creating event handles|Preparing host buffer|Run kernel on GPU|"
    r"writing to GPU[0-9]{1,3}\.\.\.|Copy data back to host|Disabling peer access|"
    r"Shutting down|Test (?:passed|failed)|Result = (?:PASS|FAIL)|Running on\.\.\.|"
    r"Device [0-9]{1,3}: |(?:Quick|Range|Shmoo) Mode|Transfer Size \(Bytes\)|[0-9]{1,12}\s+[0-9.]{1,12}$|\.{3,}$|"
    r".{0,60}\(GPU[0-9]{1,3}\)(?: -> .{0,60})? : (?:Yes|No)$|(?:> ?)?Peer access from |"
    r"NOTE: The CUDA Samples|CUDA error at |Peer to Peer access is not available")
_PROSE = ("NOTE: The CUDA Samples are not meant for performance measurements. "
          "Results may vary when GPU Boost is enabled.")
GIB = 1.073741824
_UNVERIFIED = "whether the data arrived: bandwidthTest compares nothing, its PASS says that it ran"


def begins(line: str) -> str | None:
    line = line.strip()
    if _SIMPLE.match(line):
        return "simpleP2P"
    return "bandwidthTest" if _BANDWIDTH.match(line) else None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    other = begins(line)
    if other is not None and "Starting" in line:
        return False  # the next output
    return bool((other == variant) or _BELONGS.match(line) or PEER.match(line) or WRONG.match(line)
                or DIRECTION.match(line) or MEMORY.match(line) or SHMOO.match(line) or WAIVED.match(line)
                or (len(line) > 8 and " ".join(line.split()) in _PROSE))


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    gpus = {index: Gpu(index=index, name=name) for index, name in found.names.items()}
    devices = tuple(runtime_device(line=at_line(section, 0), name=name, index=index)
                    for index, name in sorted(found.names.items()))
    events = [*_failures(found, section),
              *judge_access([(row, column) for row, column, can in found.access if not can], len(found.access), gpus,
                            at_line(section, found.access_line))]
    if not found.pageable:
        ways = {"H2D": "host to device", "D2H": "device to host"}
        index = min(found.names, default=0)
        events += judge_host([HostCopies(rates={index: found.copies[way]}, words=words,
                                         line=at_line(section, found.copies_line))
                              for way, words in ways.items() if way in found.copies], gpus)
    notes = []
    if section.variant == "bandwidthTest":
        notes.append(_UNVERIFIED)
    elif found.pair is not None:
        notes.append(f"other pairs: simpleP2P tests GPU {found.pair[0]} and {found.pair[1]} alone")
    if found.passed is None and found.waived_line is None:
        notes.append("the outcome: its last lines are missing")
    return Evidence(tool=section.variant, devices=devices, events=tuple(events), notes=tuple(notes),
                    readings=listing(devices) | _readings(found))


def _readings(found: Sample) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if found.pair is not None and found.pair_gibs is not None:
        shown["pair"] = list(found.pair)
        shown["pair_gigabytes_per_second"] = round(found.pair_gibs * GIB, 2)
    shown |= {f"{way.lower()}_highest_gigabytes_per_second": rate for way, rate in found.copies.items()}
    if found.access:
        shown["peer_access"] = [[row, column, can] for row, column, can in found.access]
    if found.passed is not None:
        shown["passed"] = found.passed
    return shown


def _failures(found: Sample, section: Section) -> list[Event]:
    events = []
    if found.wrong or (found.passed is False and section.variant == "simpleP2P"):
        pair = f" between GPU {found.pair[0]} and GPU {found.pair[1]}" if found.pair else ""
        what = ", some of it no number" if found.nan else ""
        events.append(make(
            "validation-failed", "fail", f"data copied directly{pair} arrived wrong{what}",
            at_line(section, found.wrong_line if found.wrong else found.verdict_line), count=max(found.wrong, 1),
            labels=("simpleP2P",), text=found.wrong_text,
            help=(*WRONG_COPY, "its bandwidth proves nothing: it was normal where all of the data was wrong")))
    elif found.passed is False:
        events.append(make("tool-error", "warn", "bandwidthTest ended with FAIL", at_line(section, found.verdict_line),
                           labels=(section.variant,), help=(NVIDIA_LOG,)))
    if found.waived_line is not None:
        says = f"{section.variant} was waived: no pair of GPUs has peer access; waived is not passed"
        events.append(make("tool-waived", "info", says, at_line(section, found.waived_line), labels=(section.variant,),
                           help=(P2P_REASON,)))
    if found.error is not None:
        events.append(make("tool-error", "warn", f"{section.variant} stopped with a CUDA error",
                           at_line(section, found.error_line), labels=(section.variant, "cuda"), text=found.error,
                           help=(CUDA_LOG,)))
    return events
