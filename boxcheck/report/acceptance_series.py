"""Courses over a whole run, read from its store by columns: what each GPU's instruments told, how fast its work went,
what held its clock down, what it used. A day has a million readings; nothing of them is kept but what is drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from boxcheck.model import Unread
from boxcheck.report.acceptance_rates import Rates
from boxcheck.report.acceptance_thin import Segments, Thinned, numbers_in
from boxcheck.store.blocks import column_of
from boxcheck.store.reader import RunReader
from boxcheck.store.rebuild import Rows, value_of
from boxcheck.telemetry.throttle import Throttle

HOST_FIELDS = frozenset((
    "cpu_temperatures_celsius", "cpu_power_watts", "cpu_busy_percent", "drives_celsius", "supply_watts", "fans_rpm"))
HELD: Any = tuple[Throttle, ...] | Unread | None
"""Type of a reading's throttle."""
HEAT_FIRST = ("core", "edge", "junction", "hotspot", "mem")
"""Sensors that are drawn, the first three that there are."""
CLOCKS = ("gfx", "sm")


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU over the run. A quantity that nobody read has no entry."""

    lines: Mapping[str, Segments]
    """`rate`: percent of what is usual for the kind of work; `heat NAME`, `power`, `clock`."""
    lowest: Mapping[str, float]
    highest: Mapping[str, float]
    highest_at: Mapping[str, float]
    readings: int
    energy_joules: float | None = None
    """By the card's own counter, else summed up from power."""
    energy_how: str = ""
    limit_watts: tuple[float, ...] = ()
    """Power limits in force."""
    held: Mapping[str, tuple[tuple[float, float, float], ...]] = {}
    """By reason: spans of time (from, to) and the part of it (0 to 1) in which it held the clock down."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    begin: float
    end: float
    """Seconds since the run began."""
    gpus: Mapping[str, Course]
    """By address, else by key of the device."""
    host: Mapping[str, Segments] = {}
    host_highest: Mapping[str, float] = {}
    host_lowest: Mapping[str, float] = {}
    mains_joules: float | None = None
    mains_of: str = ""
    records: Mapping[str, int] = {}
    """Readings and samples by kind."""


class _Gpu:
    def __init__(self, begin: float, end: float) -> None:
        self.span = (begin, end)
        self.thinned: dict[str, Thinned] = {}
        self.readings, self.joules, self.summed = 0, 0.0, 0.0
        self.counter: float | None = None
        self.counted = False
        self.fell = False
        self.limits: dict[float, None] = {}
        self.told: dict[int, int] = {}
        """Readings that told what holds the clock down, by span of time."""
        self.held: dict[str, dict[int, int]] = {}

    def line(self, name: str) -> Thinned:
        if name not in self.thinned:
            self.thinned[name] = Thinned(*self.span)
        return self.thinned[name]


class Courses:
    """Takes the records of a run as they are read, in their order: `see` is a `boxcheck.store.results.Seen`."""

    def __init__(
        self, reader: RunReader, begin: float, end: float, without_rates: Collection[int] = ()
    ) -> None:
        """`without_rates`: numbers of phases whose rates say nothing, since their sizes are small."""
        self._without_rates = without_rates
        self._reader, self._begin, self._end = reader, begin, end
        self._gpus: dict[str, _Gpu] = {}
        self._host: dict[str, Thinned] = {}
        self._rates = Rates(begin, end)
        self._records: Counter[str] = Counter()
        self._mains, self._mains_of = 0.0, ""
        self.links: dict[tuple[int, int], tuple[Rows, Rows]] = {}
        """By phase and stream: the first and the last records of links."""

    def see(self, rows: Rows) -> None:
        kind = rows.stream.kind
        self._records[kind] += len(rows.numbers)
        with self._reader.guarded("records"):
            if kind == "gpu":
                _gpu_rows(self._gpus.setdefault(rows.stream.subject, _Gpu(self._begin, self._end)), rows)
            elif kind in ("host", "box"):
                joules, name = _host_rows(self._host, rows, self._begin, self._end)
                self._mains, self._mains_of = self._mains + joules, name or self._mains_of
            elif kind == "links":
                place = (rows.phase, rows.stream.number)
                self.links[place] = (self.links.get(place, (rows, rows))[0], rows)
            elif kind == "sample" and rows.phase not in self._without_rates:
                self._rates.see(rows)

    def result(self, keys: Mapping[str, str]) -> Series:
        """`keys`: device key -> address, for rates; a device without one is by its key."""
        found = dict(self._gpus)
        for key, line in self._rates.result().items():
            found.setdefault(keys.get(key, key), _Gpu(self._begin, self._end)).thinned["rate"] = line
        host = self._host
        return Series(
            begin=self._begin, end=self._end, gpus={bdf: _course(gpu) for bdf, gpu in found.items()},
            records=dict(self._records), host={name: line.segments(30.0) for name, line in host.items()},
            host_highest={name: line.highest for name, line in host.items()},
            host_lowest={name: line.lowest for name, line in host.items()},
            mains_joules=self._mains if self._mains_of else None, mains_of=self._mains_of)


def _course(gpu: _Gpu) -> Course:
    drawn = {name: line for name, line in gpu.thinned.items() if line.count}
    whole = gpu.counted and not gpu.fell
    return Course(
        lines={name: line.segments() for name, line in drawn.items()}, readings=gpu.readings,
        lowest={name: line.lowest for name, line in drawn.items()},
        highest={name: line.highest for name, line in drawn.items()},
        highest_at={name: line.highest_at for name, line in drawn.items()},
        energy_joules=gpu.joules if whole else gpu.summed if "power" in drawn else None,
        energy_how="by the card's own counter" if whole else "summed up from its power" if "power" in drawn else "",
        limit_watts=tuple(sorted(gpu.limits)), held=_spans(gpu))


@lru_cache(maxsize=1024)
def _places(columns: tuple[str, ...]) -> Mapping[str, int]:
    return {name: place for place, name in enumerate(columns)}


def _column(rows: Rows, name: str) -> list[Any] | None:
    """Cells of a column, words as their JSON; None where the stream has none of that name. Only what is drawn is
    unpacked: a reading of a GPU has forty columns."""
    place = _places(rows.stream.columns).get(name)
    return None if place is None else column_of(rows.column(place), len(rows.numbers))


def _gpu_rows(gpu: _Gpu, rows: Rows) -> None:
    times = [at / 1000 for at in rows.ats_ms]
    gpu.readings += len(times)

    def put(line: str, name: str) -> tuple[Sequence[float], Sequence[float]]:
        column = _column(rows, name)
        at, values = numbers_in(times, column) if column is not None else ((), ())
        if values:
            gpu.line(line).add(at, values)
        return at, values

    power = put("power", "power_instant_watts")
    if not power[1]:
        power = put("power", "power_watts")
    _energy(gpu, times, *power, _column(rows, "energy_joules"))
    known = _places(rows.stream.columns)
    for name in [one for one in HEAT_FIRST if f"temperatures_celsius/{one}" in known][:3]:
        put(f"heat {name}", f"temperatures_celsius/{name}")
    for name in CLOCKS:
        if put("clock", f"clocks_mhz/{name}")[1]:
            break
    for limit in set(_column(rows, "power_limit_watts") or ()):
        if type(limit) in (int, float):
            gpu.limits[float(limit)] = None
    if (held := _column(rows, "throttle")) is not None:
        _held(gpu, times, held)


def _energy(
    gpu: _Gpu, times: Sequence[float], at: Sequence[float], watts: Sequence[float], joules: Sequence[Any] | None
) -> None:
    _, read = numbers_in(times, joules) if joules is not None else ((), ())
    for value in (read[0], read[-1]) if read else ():
        if gpu.counter is not None and value < gpu.counter:
            gpu.fell = True
        elif gpu.counter is not None:
            gpu.joules += value - gpu.counter
        gpu.counter, gpu.counted = float(value), True
    if len(watts) > 1:
        gpu.summed += sum(watts) * (at[-1] - at[0]) / (len(watts) - 1)
    elif watts:
        gpu.summed += watts[0]


HELD_SPANS = 200


def _held(gpu: _Gpu, times: Sequence[float], column: Sequence[Any]) -> None:
    begin, end = gpu.span
    wide = max(end - begin, 1e-9) / HELD_SPANS
    at = 0
    while at < len(times):
        number = int((times[at] - begin) / wide)
        stop = max(at + 1, bisect_right(times, begin + (number + 1) * wide, at))
        for word, seen in Counter(column[at:stop]).items():
            reasons = value_of(word, HELD) if isinstance(word, str) else None
            if not isinstance(reasons, tuple):  # unread, or a driver that tells none
                continue
            gpu.told[number] = gpu.told.get(number, 0) + seen
            for reason in reasons:
                if reason.kind != "idle":
                    spans = gpu.held.setdefault(reason.says, {})
                    spans[number] = spans.get(number, 0) + seen
        at = stop


def _spans(gpu: _Gpu) -> dict[str, tuple[tuple[float, float, float], ...]]:
    begin, end = gpu.span
    wide = max(end - begin, 1e-9) / HELD_SPANS
    return {
        says: tuple((begin + number * wide, begin + (number + 1) * wide, seen / max(gpu.told[number], 1))
                    for number, seen in sorted(spans.items()))
        for says, spans in gpu.held.items()}


def _host_rows(host: dict[str, Thinned], rows: Rows, begin: float, end: float) -> tuple[float, str]:
    """Puts what the host told where it belongs; gives the energy from the mains, and what measured it."""
    times = [at / 1000 for at in rows.ats_ms]
    joules, of = 0.0, ""
    for place in rows.stream.columns:
        field, _, name = place.partition("/")
        if field not in HOST_FIELDS:
            continue
        at, values = numbers_in(times, _column(rows, place) or ())
        if values:
            host.setdefault(f"{field}/{name}", Thinned(begin, end)).add(at, values)
        if field == "supply_watts" and values:
            of = name if not of or of == name else f"{of}, {name}"
            # One reading stands for five seconds.
            joules += sum(values) * ((at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else 5.0)
    return joules, of
