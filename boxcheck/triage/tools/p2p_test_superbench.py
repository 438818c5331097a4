"""SuperBench's gpu_copy and gpu_stream logs: copies by the copy engine, bandwidth of VRAM."""

from __future__ import annotations

import re
from statistics import median
from typing import Any

from boxcheck.decode.klog.events import Event
from boxcheck.decode.p2p_test_superbench import CHECKED, COPY, STREAM, STREAM_DEVICE, WRONG, SuperBench, parse
from boxcheck.triage.evidence import Evidence, Section, at_line
from boxcheck.triage.tools.listing import listing
from boxcheck.triage.tools.matrix_judge import WRONG_COPY, Gpu, HostCopies, Measured, judge_host, judge_pairs, make
from boxcheck.triage.tools.runtime_device import runtime_device

SLOW_SHARE = 0.9
"""Of the median GPU's VRAM bandwidth."""
_STREAM_HEAD = re.compile(r"STREAM_|Device [0-9]{1,3}: \"|.{0,60}GB/s PEAK\b|[0-9. ]{1,30}$|STREAM Benchmark$|"
                          r"Buffer size\(bytes\): |Number of (?:warm up runs|loops): ")
_UNVERIFIED = "whether the data arrived: gpu_copy compares it only with --check_data, which the log does not show"


def begins(line: str) -> str | None:
    line = line.strip()
    if COPY.match(line):
        return "superbench gpu_copy"
    if STREAM.match(line) or STREAM_DEVICE.match(line) or line == "STREAM Benchmark":
        return "superbench gpu_stream"
    return None


def belongs(variant: str, line: str) -> bool:
    line = line.strip()
    return bool(begins(line) == variant or _STREAM_HEAD.match(line) or CHECKED.match(line) or WRONG.match(line))


def read(section: Section) -> Evidence:
    found = parse(section.lines)
    gpus = {index: Gpu(index=index, name=name) for index, name in found.names.items()}
    devices = tuple(runtime_device(line=at_line(section, found.stream_line), name=name, index=index)
                    for index, name in sorted(found.names.items()))
    notes = []
    if found.pairs or found.to_gpu or found.to_host:
        notes.append(_UNVERIFIED)
    if found.checked is False:
        notes.append("whether the data is right: the run says `Check data: No`")
    return Evidence(tool=section.variant, devices=devices, events=tuple(_events(found, gpus, section)),
                    notes=tuple(notes), readings=listing(devices) | _readings(found))


def _readings(found: SuperBench) -> dict[str, Any]:
    """One way, by the copy engine; `from`, `to`, GB/s."""
    shown: dict[str, Any] = {}
    if found.pairs:
        shown["unidirectional_gigabytes_per_second"] = [[*pair, rate] for pair, rate in sorted(found.pairs.items())]
    for name, rates in (("host_to_device", found.to_gpu), ("device_to_host", found.to_host)):
        if rates:
            shown[f"{name}_gigabytes_per_second"] = [[index, rate] for index, rate in sorted(rates.items())]
    if found.stream:
        shown["vram_gigabytes_per_second"] = [[index, rate] for index, (rate, _) in sorted(found.stream.items())]
    return shown


def _events(found: SuperBench, gpus: dict[int, Gpu], section: Section) -> list[Event]:
    events = []
    if found.wrong is not None:
        events.append(make("validation-failed", "fail", "a copy arrived wrong", at_line(section, found.wrong[0]),
                           labels=("superbench",), text=found.wrong[1], help=WRONG_COPY))
    line = at_line(section, found.copy_line)
    if found.pairs:
        side = 1 + max(index for pair in found.pairs for index in pair)
        cells = tuple(tuple(found.pairs.get((row, column)) for column in range(side)) for row in range(side))
        events += judge_pairs([Measured(cells=cells, words="one way, copy engine", line=line)], gpus)
    copies = [HostCopies(rates=rates, words=words, line=line) for rates, words in (
        (found.to_gpu, "host to device"), (found.to_host, "device to host")) if rates]
    events += judge_host(copies, gpus)
    if len(found.stream) >= 3:
        centre = median(rate for rate, _ in found.stream.values())
        for index, (rate, _) in sorted(found.stream.items()):
            if rate < SLOW_SHARE * centre:
                events.append(make(
                    "slow", "warn", f"the memory of GPU {index} moves {rate:.0f} GB/s, the median GPU's {centre:.0f} "
                    f"({rate / centre:.0%})", at_line(section, found.stream_line), labels=(f"gpu{index}", "vram"),
                    help=("`nvidia-smi -q -d CLOCK,PERFORMANCE,ECC`: memory clock, throttling, errors that "
                          "are corrected",)))
    return events[:64]
