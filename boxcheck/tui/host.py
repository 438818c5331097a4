"""The host and what stands around it, as the screen's line has it: from the newest readings, without what is old."""

from __future__ import annotations

from boxcheck.model import Unread
from boxcheck.telemetry.readings import BoxReading, HostReading, Values
from boxcheck.tui.frame import Drives, Fans, HostRow

Rates = tuple[tuple[str, float, str, float], ...]


class HostState:
    """Takes readings of the host and of the box."""

    def __init__(self) -> None:
        self._host: tuple[float, HostReading] | None = None
        self._box: tuple[float, BoxReading] | None = None
        self._turned: set[str] = set()
        """Fans that turned in this run: one that shows 0 and never did may be a plug without a fan."""

    def take(self, one: HostReading | BoxReading, at: float) -> None:
        if isinstance(one, HostReading):
            self._host = (at, one)
            return
        self._box = (at, one)
        self._turned |= {name for name, value in numbers(one.fans_rpm) if value}

    def row(self, now: float, rates: Rates) -> HostRow | None:
        """None where nothing is known of it. `now`: the moment that readings are as old at as is shown."""
        if self._host is None and self._box is None and not rates:
            return None
        at, one = self._host or (None, None)
        box_at, box = self._box or (None, None)
        heat = max(numbers(one.cpu_temperatures_celsius) if one else [], key=lambda pair: pair[1], default=("", None))
        power = [value for name, value in numbers(one.cpu_power_watts) if name.startswith("package")] if one else []
        total, free = (one.memory_total_bytes, one.memory_available_bytes) if one else (None, None)
        busy, clocks = (one.cpu_busy_percent, one.cpu_clocks) if one else (None, None)
        return HostRow(
            busy_percent=busy if isinstance(busy, (int, float)) else None, celsius=heat[1], sensor=heat[0],
            watts=sum(power) if power else None,
            clock_mhz=clocks.median_mhz if clocks and not isinstance(clocks, Unread) else None,
            memory_used_bytes=total - free if isinstance(total, int) and isinstance(free, int) else None,
            memory_total_bytes=total if isinstance(total, int) else None,
            told_seconds=None if at is None else max(0.0, now - at),
            box_seconds=None if box_at is None else max(0.0, now - box_at),
            drives=_drives(box) if box else None, mains_watts=_mains(box.supply_watts) if box else None,
            fans=self._fans(box) if box else None, rates=rates)

    def _fans(self, box: BoxReading) -> Fans | None:
        told = dict(numbers(box.fans_rpm))
        turning = [value for value in told.values() if value]
        standing = tuple(name for name, value in told.items() if not value and name in self._turned)
        if not turning and not standing:
            return None
        return Fans(
            least_rpm=min(turning, default=None), most_rpm=max(turning, default=None), standing=standing,
            unread=_unread(box.fans_rpm))


def _drives(box: BoxReading) -> Drives | None:
    heat, busy = (
        max((value for _, value in numbers(values)), default=None)
        for values in (box.drives_celsius, box.drives_busy_percent))
    if heat is None and busy is None:
        return None
    return Drives(celsius=heat, busy_percent=busy, unread=_unread(box.drives_celsius))


def _mains(values: Values) -> float | None:
    """Of all supplies together; None where one of several was not read, since the rest is not what the box takes."""
    told = numbers(values)
    return sum(value for _, value in told) if told and not _unread(values) else None


def _unread(values: Values) -> int:
    return 1 if isinstance(values, Unread) else sum(isinstance(one.value, Unread) for one in values)


def numbers(values: Values) -> list[tuple[str, float]]:
    """Those that were read, with their names."""
    if isinstance(values, Unread):
        return []
    return [(one.name, one.value) for one in values if not isinstance(one.value, Unread)]
