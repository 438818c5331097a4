"""What was read once and is read no more: sensors that fall silent beside others that tell, and the heat of GPUs. Pure.

A limit holds nothing while its sensor tells nothing. Two things follow. A sensor that is silent for some seconds makes
what it would have shown unknown. And where no temperature of a GPU comes for half a minute, load ends: a driver that no
longer answers, or a card that has left the bus, may well be at full power, with fans that nobody drives any more.

A card that sleeps is not asked and is not silent. One that is lost has told so, its worker ends, and stress.completed
says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from boxcheck.stress.safety import Blind, Safety
from boxcheck.telemetry.readings import BoxReading, GpuReading, GpuSilent, HostReading, Reading
from boxcheck.telemetry.supply import SupplyReading

SENSOR_SECONDS = 5.0
SENSOR_LOOKS = 3
"""Without a value, as long and as often as that, a sensor is silent: one look that comes late is no silence."""
HEAT_SECONDS = 30.0
"""Without any temperature of a GPU that told one before, load ends. NVML and amdgpu answer in milliseconds, and within
a few seconds while a driver resets another card (from memory); a cooler without its fan gains some degrees a second, so
it is not waited for as long as for a worker (45 s)."""
STEP_SECONDS = 1.0
"""The most that one look of the engine adds to a silence: one that was held up itself has heard nobody."""

Sensor = tuple[str, str, str]
"""Limit, subject and name of a sensor."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard's process tells at each of its looks."""

    safety: Safety
    heat: Mapping[str, float] = {}
    """GPUs that told a temperature, with the moment (CLOCK_MONOTONIC) of the last one."""
    asked: frozenset[str] = frozenset()
    """Of all subjects those that were asked at this look."""
    box: BoxReading | None = None
    """What was read of drives, supplies and fans, where it was time to. No limit is held against it here."""


def present(readings: Sequence[Reading], supply: SupplyReading | None) -> frozenset[str]:
    """Subjects that were asked: all but GPUs that sleep, and those that are known to be lost."""
    found = {one.bdf for one in readings if isinstance(one, GpuReading) or (
        isinstance(one, GpuSilent) and one.state == "unread")}
    more = {"all GPUs"} if found else set()
    more |= {"processor"} if any(isinstance(one, HostReading) for one in readings) else set()
    return frozenset((*found, *more, *(("supply",) if supply is not None else ())))


class Attention:
    """The looks of one reader, one after the other."""

    def __init__(self) -> None:
        self._last: dict[Sensor, float] = {}
        self._missed: dict[Sensor, int] = {}
        self._longest: dict[Sensor, float] = {}
        self.heat: dict[str, float] = {}
        self.asked: frozenset[str] = frozenset()

    def see(self, told: Iterable[Sensor], hot: Iterable[str], asked: frozenset[str], now: float) -> None:
        """`told`: sensors that gave a value; `hot`: GPUs that gave a temperature; `now` by CLOCK_MONOTONIC."""
        seen, self.asked = frozenset(told), asked
        for sensor in [one for one in self._last if one not in seen]:
            if sensor[1] not in asked:
                del self._last[sensor]
                self._missed.pop(sensor, None)
                continue
            self._missed[sensor] = self._missed.get(sensor, 0) + 1
            silent = now - self._last[sensor]
            if self._missed[sensor] >= SENSOR_LOOKS and silent > SENSOR_SECONDS:
                self._longest[sensor] = max(self._longest.get(sensor, 0.0), silent)
        for sensor in seen:
            self._last[sensor] = now
            self._missed.pop(sensor, None)
        self.heat = {one: at for one, at in self.heat.items() if one in asked} | dict.fromkeys(hot, now)

    def blind(self) -> tuple[Blind, ...]:
        """The longest silence of each sensor that was silent."""
        return tuple(
            Blind(limit=limit, subject=subject, sensor=sensor, silent_seconds=round(seconds, 1))
            for (limit, subject, sensor), seconds in sorted(self._longest.items()))


class HeatWatch:
    """The engine's side: how long no temperature of a GPU has come, by its own steady looks."""

    def __init__(self) -> None:
        self._heat: dict[str, float] = {}
        self._dark: dict[str, float] = {}
        """Seconds without a temperature, of those that are watched."""
        self._lost: set[str] = set()
        self._looked: float | None = None

    def told(self, account: Account) -> None:
        """By the guard's process, which alone looks at all GPUs, at work or not."""
        for gpu in [one for one in self._dark if one not in account.asked]:
            del self._dark[gpu]
        for gpu, at in account.heat.items():
            if gpu in account.asked and gpu not in self._lost and at > self._heat.get(gpu, 0.0):
                self._heat[gpu], self._dark[gpu] = at, 0.0

    def read(self, gpu: str, at: float) -> None:
        """A worker read a temperature. A GPU that the guard never read is not watched."""
        if gpu in self._dark and at > self._heat[gpu]:
            self._heat[gpu], self._dark[gpu] = at, 0.0

    def lost(self, gpu: str) -> None:
        """A worker has found that it is gone, and ends."""
        self._lost.add(gpu)
        self._dark.pop(gpu, None)

    def silent(self, now: float) -> tuple[str, float] | None:
        """The GPU that has been silent for too long, and for how long. To be asked steadily."""
        step = 0.0 if self._looked is None else min(max(0.0, now - self._looked), STEP_SECONDS)
        self._looked = now
        for gpu in self._dark:
            self._dark[gpu] += step
        worst = max(self._dark, key=lambda one: self._dark[one], default=None)
        return (worst, self._dark[worst]) if worst is not None and self._dark[worst] > HEAT_SECONDS else None
