"""Which GPUs of a watch told something, and for how long one did not: a process that sends readings once a second may
send nothing but why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Subject, Unread
from boxcheck.telemetry.readings import GpuReading, GpuSilent, Pcie, Reading

QUIET_SECONDS = 5.0
"""Without a word of a GPU, from which the time counts as not watched: a reading that came late is no gap."""
APART = ("bdf", "monotonic_seconds", "unread", "power_of")
"""Fields of a reading that tell nothing of the GPU. Its link is not asked for either: a kernel tells it of any card."""
MOST_NAMED = 8


class _Gpu(msgspec.Struct):
    name: str
    told: float | None = None
    """When it told something last."""
    asked: float | None = None
    """When it was asked first."""
    quiet_seconds: float = 0.0
    """The longest time between two words, the one that goes on included."""
    why: str = "nobody asked it"


class Heard:
    """Fed with readings; times are their own monotonic seconds."""

    def __init__(self, gpus: Sequence[GpuInfo], slots: Mapping[str, str]) -> None:
        self._gpus: dict[Bdf, _Gpu] = {
            info.bdf: _Gpu(str(Subject("gpu", f"{info.name} ({info.key})", slot=slots.get(info.key), bdf=info.bdf)))
            for info in gpus if info.bdf is not None}

    def add(self, readings: Iterable[Reading]) -> None:
        for one in readings:
            if not isinstance(one, (GpuReading, GpuSilent)) or one.bdf not in self._gpus:
                continue
            gpu = self._gpus[one.bdf]
            if gpu.asked is None:
                gpu.asked = one.monotonic_seconds
            since = gpu.asked if gpu.told is None else gpu.told
            gpu.quiet_seconds = max(gpu.quiet_seconds, one.monotonic_seconds - since)
            why = _why_nothing(one)
            if why is None:
                gpu.told = one.monotonic_seconds
            else:
                gpu.why = why

    def gap(self) -> str | None:
        """What was not watched, in words; None where every GPU told something, or slept, all the time."""
        found = []
        for gpu in self._gpus.values():
            if gpu.told is None:
                found.append(f"{gpu.name} told nothing ({gpu.why})")
            elif gpu.quiet_seconds >= QUIET_SECONDS:
                found.append(f"{gpu.name} told nothing for {gpu.quiet_seconds:.0f} s ({gpu.why})")
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        return f"{len(found)} of {len(self._gpus)} GPUs were not watched all the time: " + (
            "; ".join(found[:MOST_NAMED])) + more if found else None


def _why_nothing(one: GpuReading | GpuSilent) -> str | None:
    """None where it told something. One that sleeps is told by the kernel to do nothing, and is left to it."""
    if isinstance(one, GpuSilent):
        return None if one.state == "asleep" else one.why.why
    unread: list[Unread] = list(one.unread)
    for name in GpuReading.__struct_fields__:
        if name in APART:
            continue
        value = getattr(one, name)
        if isinstance(value, Pcie):
            continue
        if isinstance(value, tuple):
            parts = [getattr(part, "value", getattr(part, "count", part)) for part in value]
        else:
            parts = [] if value is None else [value]
        if any(not isinstance(part, Unread) for part in parts):
            return None
        unread += [part for part in parts if isinstance(part, Unread)]
    return unread[0].why if unread else "a reading without a single value"
