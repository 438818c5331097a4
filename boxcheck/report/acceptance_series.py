"""Courses over a whole run, read from its store by columns: what each GPU's instruments told, how fast its work went,
what held its clock down, what it used. A day has a million readings; nothing of them is kept but what is drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.report.acceptance_rates import rates_in
from boxcheck.report.acceptance_thin import Segments, Thinned, numbers_in
from boxcheck.store.reader import RunReader
from boxcheck.store.rebuild import Rows, columns_of
from boxcheck.telemetry.readings import BoxReading, GpuReading, HostReading

GPU_FIELDS = ("power_watts", "power_instant_watts", "temperatures_celsius", "clocks_mhz", "throttle", "energy_joules",
              "power_limit_watts", "fan_percent", "busy_percent")
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


def series_of(reader: RunReader, begin: float, end: float, keys: Mapping[str, str]) -> Series:
    """All courses between two moments. `keys`: device key -> address, for rates; a device without one is by its key."""
    found: dict[str, _Gpu] = {}
    host: dict[str, Thinned] = {}
    records: Counter[str] = Counter()
    mains, of = 0.0, ""
    for minute in reader.database.records(("gpu", "host", "box", "silent", "links")):
        for rows in minute:
            kind = rows.stream.kind
            records[kind] += len(rows.numbers)
            if kind == "gpu":
                with reader.guarded("readings"):
                    gpu = found.setdefault(rows.stream.subject, _Gpu(begin, end))
                    _gpu_rows(gpu, rows)
            elif kind in ("host", "box"):
                with reader.guarded("readings"):
                    joules, name = _host_rows(host, rows, begin, end)
                mains, of = mains + joules, name or of
    rates, records["sample"] = rates_in(reader, begin, end)
    for key, line in rates.items():
        found.setdefault(keys.get(key, key), _Gpu(begin, end)).thinned["rate"] = line
    return Series(
        begin=begin, end=end, gpus={bdf: _course(gpu) for bdf, gpu in found.items()}, records=dict(records),
        host={name: line.segments(30.0) for name, line in host.items()},
        host_highest={name: line.highest for name, line in host.items()},
        host_lowest={name: line.lowest for name, line in host.items()},
        mains_joules=mains if of else None, mains_of=of)


def _course(gpu: _Gpu) -> Course:
    drawn = {name: line for name, line in gpu.thinned.items() if line.count}
    whole = gpu.counted and not gpu.fell
    return Course(
        lines={name: line.segments() for name, line in drawn.items()}, readings=gpu.readings,
        lowest={name: line.lowest for name, line in drawn.items()},
        highest={name: line.highest for name, line in drawn.items()},
        highest_at={name: line.highest_at for name, line in drawn.items()},
        energy_joules=gpu.joules if whole else gpu.summed if "power" in drawn else None,
        energy_how="the card's own counter" if whole else "summed up from its power" if "power" in drawn else "",
        limit_watts=tuple(sorted(gpu.limits)), held=_spans(gpu))


def _gpu_rows(gpu: _Gpu, rows: Rows) -> None:
    columns = columns_of(rows, GpuReading, GPU_FIELDS)
    if columns is None:  # a list that could not be read stands as text; the rest of the reading is asked for alone
        columns = {}
        for field in GPU_FIELDS:
            columns |= columns_of(rows, GpuReading, (field,)) or {}
    times = [at / 1000 for at in rows.ats_ms]
    gpu.readings += len(times)

    def put(name: str, field: str, item: str = "") -> bool:
        column = columns.get(field, {}).get(item)
        if column is None:
            return False
        at, values = numbers_in(times, column)
        if values:
            gpu.line(name).add(at, values)
        return bool(values)

    power = "power_instant_watts" if put("power", "power_instant_watts") else "power_watts"
    if power == "power_watts":
        put("power", "power_watts")
    _energy(gpu, times, columns.get(power, {}).get(""), columns.get("energy_joules", {}).get(""))
    told = columns.get("temperatures_celsius", {})
    for name in [one for one in HEAT_FIRST if one in told][:3]:
        put(f"heat {name}", "temperatures_celsius", name)
    for name in CLOCKS:
        if put("clock", "clocks_mhz", name):
            break
    for limit in set(columns.get("power_limit_watts", {}).get("", ())):
        if type(limit) in (int, float):
            gpu.limits[float(limit)] = None
    if (held := columns.get("throttle", {}).get("")) is not None:
        _held(gpu, times, held)


def _energy(gpu: _Gpu, times: Sequence[float], watts: Sequence[Any] | None, joules: Sequence[Any] | None) -> None:
    if joules is not None:
        _, read = numbers_in(times, joules)
        for value in (read[0], read[-1]) if read else ():
            if gpu.counter is not None and value < gpu.counter:
                gpu.fell = True
            elif gpu.counter is not None:
                gpu.joules += value - gpu.counter
            gpu.counter, gpu.counted = float(value), True
    if watts is not None:
        at, read = numbers_in(times, watts)
        if len(read) > 1:
            gpu.summed += sum(read) * (at[-1] - at[0]) / (len(read) - 1)
        elif read:
            gpu.summed += read[0]


HELD_SPANS = 200


def _held(gpu: _Gpu, times: Sequence[float], column: Sequence[Any]) -> None:
    begin, end = gpu.span
    wide = max(end - begin, 1e-9) / HELD_SPANS
    at = 0
    while at < len(times):
        number = int((times[at] - begin) / wide)
        stop = max(at + 1, bisect_right(times, begin + (number + 1) * wide, at))
        counted = Counter(one for one in column[at:stop] if isinstance(one, tuple))
        gpu.told[number] = gpu.told.get(number, 0) + sum(counted.values())
        for reasons, seen in counted.items():
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
    struct = HostReading if rows.stream.kind == "host" else BoxReading
    wanted = ("cpu_temperatures_celsius", "cpu_power_watts", "cpu_busy_percent") if struct is HostReading else (
        "drives_celsius", "supply_watts", "fans_rpm")
    times = [at / 1000 for at in rows.ats_ms]
    joules, of = 0.0, ""
    for field in wanted:
        for name, column in (columns_of(rows, struct, (field,)) or {}).get(field, {}).items():
            at, values = numbers_in(times, column)
            if values:
                host.setdefault(f"{field}/{name}", Thinned(begin, end)).add(at, values)
            if field == "supply_watts" and values:
                of = name if not of or of == name else f"{of}, {name}"
                # One reading stands for five seconds.
                joules += sum(values) * ((at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else 5.0)
    return joules, of
