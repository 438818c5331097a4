"""What the drivers of cards tell while their links are measured: replays and temperatures.

Reads   boxcheck.telemetry, once a second, in a process of its own                          (any user)
By hand nvidia-smi --query-gpu=pci.bus_id,pcie.link.gen.current,temperature.gpu --format=csv
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import msgspec

from boxcheck.engine.instruments_child import Asked, InstrumentsChild
from boxcheck.model import Bdf
from boxcheck.telemetry.readings import GpuReading, Reading

HEAT = ("junction", "core", "edge")
"""Sensors of a card's temperature, the first that there is."""
FIRST_SECONDS = 10.0
"""For the first reading: a driver without persistence mode starts the GPU first."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver of a card told while it was measured."""

    replays: int | None = None
    """Growth; None where the driver counts none or it was not read twice."""
    celsius: float | None = None
    """The hottest that was read."""
    first_celsius: float | None = None


class Cards:
    """Readings, from a process of its own: a driver that hangs costs these alone. To be closed."""

    def __init__(self, gpus: Sequence[tuple[Bdf, str]], root: str) -> None:
        self._child = InstrumentsChild(Asked(tuple(gpus), root)) if gpus else None
        self._replays: dict[Bdf, list[tuple[float, int]]] = {}
        self._heat: dict[Bdf, list[tuple[float, float]]] = {}

    def read(self) -> None:
        for readings in self._child.read() if self._child is not None else ():
            for one in readings:
                self._take(one)

    def _take(self, one: Reading) -> None:
        if not isinstance(one, GpuReading):
            return
        if isinstance(one.pcie.replays, int):
            self._replays.setdefault(one.bdf, []).append((one.monotonic_seconds, one.pcie.replays))
        heat = {named.name: named.value for named in one.temperatures_celsius} if isinstance(
            one.temperatures_celsius, tuple) else {}
        value = next((heat[name] for name in HEAT if isinstance(heat.get(name), float)), None)
        if isinstance(value, float):
            self._heat.setdefault(one.bdf, []).append((one.monotonic_seconds, value))

    def told(self, bdfs: Sequence[Bdf]) -> Card:
        """Of the cards on one link."""
        growth = self._growth(bdfs, 0.0)
        heat = [rows for bdf in bdfs if (rows := self.heat(bdf))]
        return Card(
            replays=growth,
            celsius=max(value for rows in heat for _, value in rows) if heat else None,
            first_celsius=max(rows[0][1] for rows in heat) if heat else None)

    def _growth(self, bdfs: Sequence[Bdf], since: float) -> int | None:
        every = [[count for at, count in self._replays.get(bdf, ()) if at >= since] for bdf in bdfs]
        grown = [sum(steps(counts)) for counts in every if len(counts) > 1]
        return sum(grown) if grown else None

    def replays_since(self, bdfs: Sequence[Bdf], since: float) -> int | None:
        """Growth between the first and the last reading after a moment (CLOCK_MONOTONIC): a card that wakes up for a
        load trains its link, and sends again what was under way."""
        return self._growth(bdfs, since)

    def heat(self, bdf: Bdf) -> Sequence[tuple[float, float]]:
        """Temperatures that were read of a card, with the moment of each (CLOCK_MONOTONIC)."""
        return tuple(self._heat.get(bdf, ()))

    def await_heat(self, bdfs: Sequence[Bdf], stopping: Callable[[], bool] = lambda: False) -> None:
        """Until each of these has told a temperature, or will not soon."""
        until = time.monotonic() + FIRST_SECONDS
        while self._child is not None and self._child.alive and time.monotonic() < until and not stopping():
            self.read()
            if all(self._heat.get(bdf) for bdf in bdfs):
                return
            time.sleep(0.05)

    def close(self) -> None:
        if self._child is not None:
            self._child.close()


def steps(counts: Sequence[int]) -> Iterator[int]:
    """Of a counter that begins anew with its driver."""
    for before, after in pairwise(counts):
        yield after - before if after >= before else after
