"""Two logs of Microsoft's SuperBench: gpu_copy (`gpu0_to_gpu1_write_by_dma 279.287`, GB/s) and gpu_stream.

gpu_copy names the executor (sm: a kernel, dma: the copy engine) and the processor's NUMA node; `and` is both ways at
once. gpu_stream says itself whether it compared data (`Check data: No`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from boxcheck.decode.matrix import number
from boxcheck.decode.text import clean_text

COPY = re.compile(
    r"(cpu|gpu[0-9]{1,3}|gpu_all)_(to|and)_(cpu|gpu[0-9]{1,3}|gpu_all)(?:_(write|read))?_by_(sm|dma)"
    r"(?:_under_numa([0-9]{1,3}))?\s{1,8}(\S{1,20})")
STREAM = re.compile(
    r"STREAM_([A-Z]{3,6})_(float|double)_gpu_([0-9]{1,3})_buffer_[0-9]{1,16}_block_[0-9]{1,5}\s{1,8}(\S{1,16})"
    r"\s{1,8}(\S{1,12})")
STREAM_DEVICE = re.compile(r"Device ([0-9]{1,3}): \"(.{1,80}?)\".{0,160}= ([0-9.]{1,12}) GB/s PEAK")
_WRAPPED = re.compile(r"STREAM_[A-Z]{3,6}_|Device [0-9]{1,3}: \"")
CHECKED = re.compile(r"Check data: (Yes|No)")
WRONG = re.compile(r"CheckBuf::? ?Memory check failed")
MAX_GPUS = 256


class SuperBench(msgspec.Struct, frozen=True, kw_only=True):
    pairs: dict[tuple[int, int], float]
    """(source, target) -> best one-way GB/s of the copy engine between two GPUs."""
    to_gpu: dict[int, float]
    to_host: dict[int, float]
    copy_line: int
    stream: dict[int, tuple[float, float]]
    """GPU -> (highest GB/s, that as a share of its peak in percent)."""
    names: dict[int, str]
    stream_line: int
    checked: bool | None
    wrong: tuple[int, str] | None


def parse(lines: Sequence[str]) -> SuperBench:
    """Facts of a text. Never raises."""
    pairs: dict[tuple[int, int], float] = {}
    to_gpu: dict[int, float] = {}
    to_host: dict[int, float] = {}
    stream: dict[int, tuple[float, float]] = {}
    names: dict[int, str] = {}
    copy_line, stream_line, checked, wrong = -1, -1, None, None
    for here, raw in enumerate(lines):
        line = raw.strip()[:512]
        if here + 1 < len(lines) and _WRAPPED.match(line) and not STREAM.match(line) and not STREAM_DEVICE.match(line):
            line = f"{line} {lines[here + 1].strip()[:200]}"
        if (found := COPY.match(line)) and (rate := number(found[7])) is not None:
            copy_line = here if copy_line < 0 else copy_line
            source, target = (int(name[3:]) if name[3:].isdigit() else None for name in (found[1], found[3]))
            if found[2] == "and" or found[5] == "sm" or "gpu_all" in (found[1], found[3]):
                continue
            if source is not None and target is not None and source != target and max(source, target) < MAX_GPUS:
                # Written by its source or read by its target: the data moves the same way.
                way = (source, target) if found[4] != "read" else (target, source)
                pairs[way] = max(pairs.get(way, 0.0), rate)
            elif target is not None and source is None:
                to_gpu[target] = max(to_gpu.get(target, 0.0), rate)
            elif source is not None and target is None:
                to_host[source] = max(to_host.get(source, 0.0), rate)
        elif (found := STREAM.match(line)) and (rate := number(found[4])) is not None:
            stream_line = here if stream_line < 0 else stream_line
            index = int(found[3])
            if rate > stream.get(index, (0.0, 0.0))[0]:
                stream[index] = (rate, number(found[5]) or 0.0)
        elif found := STREAM_DEVICE.match(line):
            names.setdefault(int(found[1]), clean_text(found[2]))
        elif found := CHECKED.match(line):
            checked = found[1] == "Yes"
        elif wrong is None and WRONG.match(line):
            wrong = (here, clean_text(line))
    return SuperBench(pairs=pairs, to_gpu=to_gpu, to_host=to_host, copy_line=max(copy_line, 0), stream=stream,
                      names=names, stream_line=max(stream_line, 0), checked=checked, wrong=wrong)
