"""Quantities of one GPU over a run, read from its store: what the GPU screen plots. It reads for as long as it must, so
it is called in a thread."""

from __future__ import annotations

import msgspec

from boxcheck.store.reader import RunReader
from boxcheck.store.series import Series, Stretch, rates_of, series_of, stretches
from boxcheck.telemetry.throttle import amdgpu_reasons, nvml_reasons
from boxcheck.tui.frame import GRAVE_HOLDS, GpuRow
from boxcheck.tui.look import plain

MOST = 2000
"""Stretches that are kept of each; a screen has fewer columns."""


HELD = "held by "
"""What the names of those begin with that say why clocks were held down."""


class Curve(msgspec.Struct, frozen=True):
    name: str
    unit: str
    series: Series
    grave: bool = False
    """Of a reason: whether it is an emergency. The limit of power is none."""

    def over(self, begin: float, end: float, number: int) -> list[Stretch]:
        return stretches(self.series, number, begin, end)


FIELDS = (
    ("temperature core", "°C", ("temperatures_celsius/core", "temperatures_celsius/edge")),
    ("temperature memory", "°C", ("temperatures_celsius/mem",)),
    ("power", "W", ("power_instant_watts", "power_watts")),
    ("clock", "MHz", ("clocks_mhz/gfx",)),
)


def held_of(reader: RunReader, row: GpuRow) -> list[Curve]:
    """Why clocks were held down, each reason by itself: 1 where it was so, 0 where it was read and was not."""
    series = series_of(reader, row.bdf or "", "throttle_bits")
    reasons = nvml_reasons if row.key.startswith("cuda") else amdgpu_reasons
    told: list[tuple[float, frozenset[str] | None]] = [
        (at, frozenset(one.says for one in reasons(int(value))) if isinstance(value, float) else None)
        for at, value in zip(series.seconds, series.values, strict=True)]
    names = sorted({name for _, some in told if some for name in some})
    grave = {
        one.says for value in {value for value in series.values if isinstance(value, float)}
        for one in reasons(int(value)) if one.kind in GRAVE_HOLDS}
    return [
        Curve(plain(f"{HELD}{name}"), "", Series(
            [at for at, some in told if some is not None],
            [float(name in some) for _, some in told if some is not None]), name in grave)
        for name in names]


def curves_of(path: str, row: GpuRow, sample: str) -> tuple[Curve, ...]:
    """The rate, temperatures, power and clock of a device; those of which there is anything. `sample`: full name of the
    samples whose rate is wanted."""
    found = []
    with RunReader(path) as reader:
        rates = rates_of(reader, sample, row.key) if sample else Series([], [])
        if rates.seconds:
            found.append(Curve(plain(f"rate {sample}"), plain(row.unit), rates))
        for name, unit, fields in FIELDS if row.bdf else ():
            for field in fields:
                series = series_of(reader, row.bdf or "", field)
                if any(isinstance(value, float) for value in series.values):
                    found.append(Curve(name, unit, series))
                    break
        if row.bdf and row.key.startswith(("cuda", "hip")):
            found += held_of(reader, row)
    return tuple(found)
