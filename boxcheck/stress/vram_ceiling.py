"""What no memory can do: passes and copies that took less time than they need did not touch every word."""

from __future__ import annotations

from boxcheck.gpu import GpuInfo
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.ceilings import memory_gbs
from boxcheck.stress.judging import middle

COPIES = ("vram.copy", "vram.copy.engine")
LEAST_BYTES = 2 << 30
"""Of less memory, a pass may come from the GPU's caches: the largest hold 256 MB (MI300X)."""
OF_COPY = 3.0
"""A pass is no more than so many times as fast as a copy that reads and writes the same memory: one that only reads has
no turn-arounds of the bus, and the copy may have come while clocks still rose."""
_LEFT_OUT = "words were left out, or the clock that timed them is wrong"


def too_fast(results: StressResults, info: GpuInfo, samples: tuple[Sample, ...]) -> str | None:
    """Which work on memory took less time than the GPU can do it in, in words; None where none did, and where nothing
    is known of it. Kinds count by their medians."""
    if not info.is_gpu or not results.full_size:
        return None
    kinds: dict[tuple[str, object], list[float]] = {}
    for one in samples:
        if one.value is not None and one.unit == "GB/s" and not one.wrong and (
                one.what in COPIES or int(one.notes.get("held_bytes", 0)) >= LEAST_BYTES):
            kinds.setdefault((one.what, one.notes.get("accounting")), []).append(one.value)
    bound = memory_gbs(info)
    copied = max((middle(some) for (what, _), some in kinds.items() if what in COPIES), default=0.0)
    for (what, accounting), some in kinds.items():
        value = middle(some)
        says = f"{what} ({accounting}): {value:.4g} GB/s are more than"
        if bound is not None and value > bound[1]:
            return f"{says} any {bound[0].name} can reach ({bound[1]:.4g}): {_LEFT_OUT}"
        if what not in COPIES and copied and value > OF_COPY * copied:
            return f"{says} {OF_COPY:g} times its own copies ({copied:.4g}): {_LEFT_OUT}"
    return None
