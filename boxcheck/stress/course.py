"""How a GPU's readings went over a run: what held its clock down for how long, and whether it was still becoming hotter
at the end. Order of coming does not matter: a store gives readings of a minute stream by stream.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from operator import lt
from statistics import median
from typing import TypeAlias

import msgspec

from boxcheck.model import Unread
from boxcheck.telemetry.readings import GpuReading
from boxcheck.telemetry.throttle import Throttle

Groups: TypeAlias = "list[tuple[tuple[Throttle, ...], Sequence[int]]]"
"""What held a clock down, and at which places of a column."""
LONGEST_SECONDS = 2.0
"""For how long a reading stands at most. They are taken once a second; what was between two that lie further apart,
while another GPU ran alone, nobody knows."""
LAST_SECONDS = 1.0
"""For how long the last one stands."""
LEAST_READINGS = 30
"""Of the last third: fewer give no slope. Over 30 s a sensor of whole degrees tells 0.4 °C/min (the standard deviation
of a slope: 0.29 °C x sqrt(12 / 30) / 30 s)."""


class Climb(msgspec.Struct, frozen=True, kw_only=True):
    """The last third of a run."""

    sensor: str
    """`core` (NVIDIA) or `edge` (AMD)."""
    celsius_per_minute: float
    """By least squares."""
    seconds: float
    """How long the third is."""
    celsius: float
    """The last reading."""
    watts: tuple[float, float] | None
    """Median power of its first and its second half; None where power was not read in both."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one GPU over a run."""

    seconds: float
    """From its first temperature to its last."""
    throttle_seconds: Mapping[str, float]
    """By reason, as it is told (`power cap`): for how long it held the clock down."""
    climb: Climb | None = None
    """None where too few temperatures were read."""


class Readings:
    """Takes the readings of one GPU."""

    def __init__(self) -> None:
        self._told = array("d")
        self._reasons: dict[str, array[float]] = {}
        self._heat: dict[str, tuple[array[float], array[float]]] = {}
        self._power = (array("d"), array("d"))

    def add(self, one: GpuReading) -> None:
        now = round(one.monotonic_seconds, 3)  # as a store gives it back
        if isinstance(one.throttle, tuple):
            self._told.append(now)
            for says in dict.fromkeys(reason.says for reason in one.throttle):
                if says not in self._reasons:
                    self._reasons[says] = array("d")
                self._reasons[says].append(now)
        if not isinstance(one.temperatures_celsius, Unread):
            for sensor in one.temperatures_celsius:
                if sensor.name in ("core", "edge") and not isinstance(sensor.value, Unread):
                    if sensor.name not in self._heat:
                        self._heat[sensor.name] = (array("d"), array("d"))
                    times, values = self._heat[sensor.name]
                    times.append(now)
                    values.append(sensor.value)
        watts = one.power_watts if isinstance(one.power_watts, (int, float)) else one.power_instant_watts
        if isinstance(watts, (int, float)):
            self._power[0].append(now)
            self._power[1].append(watts)

    def add_columns(
        self, seconds: array[float], heat: Mapping[str, Sequence[float]], watts: Sequence[float],
        held: Groups | None,
    ) -> None:
        """Readings that told the same things each time: temperatures by sensor, power, and what held the clock down.
        Times are whole thousandths."""
        if held is not None:
            self._told.extend(seconds)
            for reasons, places in held:
                times = seconds if len(places) == len(seconds) else [seconds[place] for place in places]
                for says in dict.fromkeys(reason.says for reason in reasons):
                    if says not in self._reasons:
                        self._reasons[says] = array("d")
                    self._reasons[says].extend(times)
        for name in ("core", "edge"):
            if name in heat:
                if name not in self._heat:
                    self._heat[name] = (array("d"), array("d"))
                self._heat[name][0].extend(seconds)
                self._heat[name][1].extend(heat[name])
        if watts:
            self._power[0].extend(seconds)
            self._power[1].extend(watts)

    def result(self) -> Course:
        told = sorted(self._told)
        held = {says: round(_held(sorted(times), told), 1) for says, times in self._reasons.items()}
        sensor = "core" if "core" in self._heat else "edge"
        times, values = _in_order(*self._heat.get(sensor, (array("d"), array("d"))))
        return Course(
            seconds=round(times[-1] - times[0], 3) if times else 0.0, throttle_seconds=held,
            climb=_climb(sensor, times, values, *_in_order(*self._power)))


def _in_order(times: array[float], values: array[float]) -> tuple[Sequence[float], Sequence[float]]:
    """Both by time, then by value."""
    if all(map(lt, times, islice(times, 1, None))):
        return times, values
    pairs = sorted(zip(times, values, strict=True))
    return [time for time, _ in pairs], [value for _, value in pairs]


def grouped(column: Sequence[tuple[Throttle, ...]]) -> Groups:
    """The objects of a column in the order in which they first came, each with its places. Those that are equal and not
    the same stay apart: to compare them takes longer."""
    if column.count(column[0]) == len(column):
        return [(column[0], range(len(column)))]
    found: dict[int, tuple[tuple[Throttle, ...], list[int]]] = {}
    for place, one in enumerate(column):
        known = found.get(id(one))
        if known is None:
            found[id(one)] = (one, [place])
        else:
            known[1].append(place)
    return list(found.values())


def _held(times: Sequence[float], told: Sequence[float]) -> float:
    """Seconds that readings at `times` stand for, each until the next that was `told`. Both in order."""
    import numpy as np

    every, mine = np.asarray(told, dtype=float), np.asarray(times, dtype=float)
    after = np.searchsorted(every, mine, side="right")
    ends = np.append(every, np.inf)[after]
    stands = np.where(np.isinf(ends), LAST_SECONDS, np.minimum(LONGEST_SECONDS, ends - mine))
    return float(sum(stands.tolist()))


def _climb(
    sensor: str, times: Sequence[float], values: Sequence[float], moments: Sequence[float], power: Sequence[float]
) -> Climb | None:
    """`moments`: those of power."""
    if not times:
        return None
    begin, end = times[0], times[-1]
    since = end - (end - begin) / 3
    first = bisect_left(times, since)
    slope = slope_of(list(zip(times[first:], values[first:], strict=True)))
    if slope is None:
        return None
    halfway = (since + end) / 2
    places = bisect_left(moments, since), bisect_left(moments, halfway), bisect_right(moments, end)
    halves = power[places[0]:places[1]], power[places[1]:places[2]]
    return Climb(
        sensor=sensor, celsius_per_minute=round(60 * slope, 3), seconds=round(end - since, 3), celsius=values[-1],
        watts=(median(halves[0]), median(halves[1])) if all(halves) else None)


def slope_of(points: Sequence[tuple[float, float]]) -> float | None:
    """Units a second by least squares; None for too few points, or all of one moment."""
    if len(points) < LEAST_READINGS:
        return None
    middle = sum([time for time, _ in points]) / len(points)
    mean = sum([value for _, value in points]) / len(points)
    spread = sum([(time - middle) ** 2 for time, _ in points])
    if not spread:
        return None
    return sum([(time - middle) * (value - mean) for time, value in points]) / spread
