"""Quantities of one GPU over a run, read from its store: what the GPU screen plots. It reads for as long as it must, so
it is called in a thread."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cache
from typing import Literal

import msgspec

from boxcheck.store.reader import RunReader
from boxcheck.store.series import Series, Stretch, rates_by_kind, several_of, stretches
from boxcheck.telemetry.throttle import Throttle, amdgpu_reasons, nvml_reasons
from boxcheck.tui.frame import GRAVE_HOLDS, GpuRow
from boxcheck.tui.look import plain

MOST = 4000
"""Stretches that the whole of a curve is summed up in beforehand: a day has 86 400 readings, a screen 600 dots."""


class Curve(msgspec.Struct, frozen=True):
    name: str
    unit: str
    series: Series
    grave: bool = False
    """Of a reason: whether it is an emergency. The limit of power is none."""
    of: Literal["rate", "reading", "held"] = "reading"
    coarse: tuple[Stretch, ...] = ()
    """The whole in MOST stretches, where it has more points than that."""

    def over(self, begin: float, end: float, number: int) -> list[Stretch]:
        """So many stretches between two moments. No peak is lost; where a stretch has many points, it may begin and end
        by a fraction of its length earlier or later."""
        step = (end - begin) / number
        if self.coarse and step >= 2 * (self.coarse[0].end - self.coarse[0].begin):
            return _merged(self.coarse, begin, step, number)
        low, high = bisect_left(self.series.seconds, begin), bisect_right(self.series.seconds, end)
        return stretches(
            Series(self.series.seconds[low:high], self.series.values[low:high]), number, begin, end)


def _merged(coarse: tuple[Stretch, ...], begin: float, step: float, number: int) -> list[Stretch]:
    parts: list[list[Stretch]] = [[] for _ in range(number)]
    for one in coarse:
        place = int(((one.begin + one.end) / 2 - begin) // step)
        if 0 <= place < number:
            parts[place].append(one)
    return [
        Stretch(
            begin=begin + at * step, end=begin + (at + 1) * step,
            low=min((one.low for one in part if one.low is not None), default=None),
            high=max((one.high for one in part if one.high is not None), default=None),
            read=sum(one.read for one in part), unread=sum(one.unread for one in part))
        for at, part in enumerate(parts)]


def made(name: str, unit: str, series: Series, *, grave: bool = False,
         of: Literal["rate", "reading", "held"] = "reading") -> Curve:
    coarse = tuple(stretches(series, MOST)) if len(series.seconds) > 2 * MOST else ()
    return Curve(plain(name), plain(unit), series, grave, of, coarse)


FIELDS = (
    ("temperature core", "°C", ("temperatures_celsius/core", "temperatures_celsius/edge")),
    ("temperature junction", "°C", ("temperatures_celsius/junction",)),
    ("temperature memory", "°C", ("temperatures_celsius/mem",)),
    ("power", "W", ("power_instant_watts", "power_watts")),
    ("clock", "MHz", ("clocks_mhz/gfx",)),
)
BITS = "throttle_bits"


def curves_of(path: str, row: GpuRow) -> tuple[Curve, ...]:
    """The rate of each kind of work that a device did, its temperatures, power, clock and what held that down; those of
    which there is anything. StoreError where it cannot be read."""
    with RunReader(path) as reader:
        found = [
            made(kind_name(kind.what, kind.together), kind.unit, series, of="rate")
            for kind, series in rates_by_kind(reader, row.key).items()]
        if row.bdf:
            told = several_of(reader, row.bdf, [BITS, *(field for _, _, fields in FIELDS for field in fields)])
            for name, unit, fields in FIELDS:
                some = (told[field] for field in fields if field in told)
                first = next((one for one in some if any(isinstance(value, float) for value in one.values)), None)
                if first is not None:
                    found.append(made(name, unit, first))
            if BITS in told and row.key.startswith(("cuda", "hip")):
                found += held_of(told[BITS], nvml_reasons if row.key.startswith("cuda") else amdgpu_reasons)
    return tuple(found)


def kind_name(what: str, together: bool) -> str:
    """As the table of GPUs calls it, with its module."""
    return f"{what}, all at once" if together else what


def held_of(series: Series, reasons_of: Callable[[int], tuple[Throttle, ...]]) -> list[Curve]:
    """Why clocks were held down, each reason by itself: 1 where it was so, 0 where it was read and was not, Unread
    where it was not read."""
    reasons = cache(reasons_of)
    values = {int(value) for value in series.values if isinstance(value, float)}
    grave = {one.says: one.kind in GRAVE_HOLDS for value in values for one in reasons(value)}
    by_name = {name: {value for value in values if any(one.says == name for one in reasons(value))} for name in grave}
    return [
        made(f"held by {name}", "", Series(series.seconds, [
            float(int(value) in bits) if isinstance(value, float) else value for value in series.values]),
            grave=grave[name], of="held")
        for name, bits in sorted(by_name.items())]
