"""What the instruments showed during a run, summed up as it comes: the fact that `watched`, `watched_links` and
`watched_memory` judge. A store sums up what it holds by the same code, where readings of one kind come after those of
another and a link that shows what it showed before is left out: nothing here counts on the order between kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Unread
from boxcheck.stress.course import Course, Readings
from boxcheck.stress.growth import Fall, Growth, Level, Told
from boxcheck.telemetry.readings import GpuReading, GpuSilent, LinkReading, Reading, Values


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """All readings of one run, summed up: a fact that the checks below judge."""

    seconds: float
    hottest_celsius: Mapping[str, Mapping[str, float]]
    """By device key, then sensor."""
    most_watts: Mapping[str, float]
    throttled: Mapping[str, Mapping[str, tuple[str, int]]]
    """By device key, then reason: its kind, and in how many readings it was there."""
    readings: Mapping[str, int]
    """How many readings told what holds a device's clock down, if anything does."""
    silent: Mapping[str, str]
    """Why a device told nothing."""
    link_errors: Mapping[Bdf, Mapping[str, int]]
    """Growth of AER counters of each function on the way to a GPU, where it grew: `BadTLP`, `fatal DLP` ..."""
    links: tuple[Bdf, ...]
    """Functions whose counters were read at least twice."""
    reset_links: tuple[Bdf, ...] = ()
    """Those of them whose counters fell: they began anew, so that growth is at least what is told."""
    untold_seconds: Mapping[str, Mapping[str, float]] = {}
    """By device key, then `temperature`, `throttled` or `memory errors`: the longest time in which it was asked and
    told nothing, after it had told; left out where there was none."""
    link_steps: Mapping[Bdf, Mapping[str, int]] = {}
    """The largest growth of each of `link_errors` between two readings."""
    unread_links: Mapping[Bdf, str] = {}
    """Functions whose counters were not read at some time, though they have some, and why."""
    link_speeds_gts: Mapping[Bdf, Fall] = {}
    link_widths: Mapping[Bdf, Fall] = {}
    """Of each function whose link was read at least twice."""
    memory_errors: Mapping[str, Mapping[str, int]] = {}
    """Growth of counters of memory errors by device key, of those read at least twice."""
    reset_memory: tuple[str, ...] = ()
    """Devices whose counters fell."""
    unread_memory: Mapping[str, str] = {}
    """Why counters of a device were not read twice, where its driver does not tell that there are none."""
    courses: Mapping[str, Course] = {}
    """By device key: for how long what held its clock down, and whether it was still becoming hotter at the end."""


class Tally:
    """Sums up readings as they come; several workers read the same links, which count once."""

    def __init__(self, gpus: Sequence[GpuInfo]) -> None:
        self._keys = {info.bdf or info.key: info.key for info in gpus}
        self._hot: dict[str, dict[str, float]] = {}
        self._watts: dict[str, float] = {}
        self._throttled: dict[str, dict[str, tuple[str, int]]] = {}
        self._courses: dict[str, Readings] = {}
        self._count: dict[str, int] = {}
        self._silent: dict[str, str] = {}
        self._errors: dict[tuple[Bdf, str], Growth] = {}
        self._memory: dict[tuple[str, str], Growth] = {}
        self._memory_seen: dict[tuple[str, str], int] = {}
        self._memory_unread: dict[tuple[str, str], str] = {}
        """By device key and counter (empty: all of them), why."""
        self._uncounted: set[str] = set()
        """Devices whose driver counts none."""
        self._told: dict[tuple[str, str], Told] = {}
        self._speeds: dict[Bdf, Level] = {}
        self._widths: dict[Bdf, Level] = {}
        self._began: float | None = None
        self._ended = 0.0
        self._seen: dict[Bdf, int] = {}
        self._still: dict[Bdf, LinkReading] = {}
        """The last reading of a function, where all its counters were taken. One with the same counters is not looked
        at: nearly all are the same, and a function has fifty of them."""
        self._unread: dict[Bdf, str] = {}

    def add(self, readings: Sequence[Reading]) -> None:
        for one in readings:
            self._began = one.monotonic_seconds if self._began is None else self._began
            self._ended = max(self._ended, one.monotonic_seconds)
            if isinstance(one, GpuReading):
                self._gpu(one)
            elif isinstance(one, LinkReading):
                self._link(one)
            elif isinstance(one, GpuSilent):
                key = self._keys.get(one.bdf, one.bdf)
                self._silent[key] = one.why.why
                for what in ("temperature", "throttled", "memory errors"):
                    self._tell(key, what, one.monotonic_seconds, False)

    def _tell(self, key: str, what: str, seconds: float, told: bool) -> None:
        self._told_of(key, what).add(seconds, told)

    def _told_of(self, key: str, what: str) -> Told:
        known = self._told.get((key, what))
        if known is None:
            known = self._told[key, what] = Told()
        return known

    def _gpu(self, one: GpuReading) -> None:
        key = self._keys.get(one.bdf)
        if key is None:
            return
        now = one.monotonic_seconds
        course = self._courses.get(key)
        if course is None:
            course = self._courses[key] = Readings()
        course.add(one)
        heat = list(_read(one.temperatures_celsius))
        self._tell(key, "throttled", now, isinstance(one.throttle, tuple))
        self._tell(key, "temperature", now, any([name in ("core", "edge") for name, _ in heat]))
        counts = one.memory_errors
        if isinstance(counts, Unread):
            self._memory_unread[key, ""] = counts.why
            self._tell(key, "memory errors", now, False)
        elif not counts:
            self._uncounted.add(key)
        else:
            self._tell(key, "memory errors", now, any([isinstance(count.count, int) for count in counts]))
            for count in counts:
                place = (key, count.name)
                if isinstance(count.count, Unread):
                    self._memory_unread[place] = count.count.why
                else:
                    growth = self._memory.get(place)
                    if growth is None:
                        growth = self._memory[place] = Growth()
                    growth.add(now, count.count)
                    self._memory_seen[place] = self._memory_seen.get(place, 0) + 1
        if heat:
            hot = self._hot.setdefault(key, {})
            for name, value in heat:
                if value > hot.get(name, value) or name not in hot:
                    hot[name] = value
        power = one.power_instant_watts if isinstance(one.power_instant_watts, float) else one.power_watts
        if isinstance(power, (int, float)):
            self._watts[key] = max(self._watts.get(key, 0.0), power)
        if isinstance(one.throttle, tuple):
            self._count[key] = self._count.get(key, 0) + 1
            held = self._throttled.setdefault(key, {}) if one.throttle else {}
            for reason in one.throttle:
                held[reason.says] = (reason.kind, held.get(reason.says, ("", 0))[1] + 1)

    def _link(self, one: LinkReading) -> None:
        self._seen[one.bdf] = self._seen.get(one.bdf, 0) + 1
        for counts in (one.correctable, one.nonfatal, one.fatal):
            if isinstance(counts, Unread):
                self._unread.setdefault(one.bdf, counts.why)
        before = self._still.get(one.bdf)
        if before is not None and not same_counts(before, one):
            self._count_errors(before)  # once more: it may have come later than the one that was looked at
            before = None
        if before is not None or self._count_errors(one):
            self._still[one.bdf] = one
        else:
            self._still.pop(one.bdf, None)
        for levels, value in ((self._speeds, one.speed_gts), (self._widths, one.width)):
            if isinstance(value, (int, float)) and value > 0:
                levels.setdefault(one.bdf, Level()).add(one.monotonic_seconds, float(value))

    def _count_errors(self, one: LinkReading) -> bool:
        """Whether all of them were taken."""
        taken = True
        for word, counts in (("", one.correctable), ("nonfatal ", one.nonfatal), ("fatal ", one.fatal)):
            for count in counts if isinstance(counts, tuple) else ():
                if isinstance(count.count, int) and not count.name.startswith("TOTAL"):
                    place = (one.bdf, f"{word}{count.name}")
                    if place not in self._errors:
                        self._errors[place] = Growth()
                    taken &= self._errors[place].add(one.monotonic_seconds, count.count)
        return taken

    def result(self) -> Watching:
        errors: dict[Bdf, dict[str, int]] = {}
        steps: dict[Bdf, dict[str, int]] = {}
        for (bdf, name), growth in self._errors.items():
            if growth.grown:
                errors.setdefault(bdf, {})[name] = growth.grown
                steps.setdefault(bdf, {})[name] = growth.most_step
        memory: dict[str, dict[str, int]] = {}
        for (key, name), growth in self._memory.items():
            if self._memory_seen[key, name] >= 2:
                memory.setdefault(key, {})[name] = growth.grown
        untold: dict[str, dict[str, float]] = {}
        for (key, what), told in self._told.items():
            if gap := told.longest_gap():
                untold.setdefault(key, {})[what] = gap
        unread: dict[str, str] = {}
        for key in self._keys.values():
            missing = next((why for (of, name), why in self._memory_unread.items() if of == key and (
                self._memory_seen.get((key, name), 0) < 2 if name else key not in memory)), None)
            if missing is not None or (key not in memory and key not in self._uncounted):
                unread[key] = missing or self._silent.get(key, "no two readings were taken")
        counted = {bdf for bdf, _ in self._errors}
        return Watching(
            seconds=self._ended - self._began if self._began is not None else 0.0, hottest_celsius=self._hot,
            most_watts=self._watts, throttled=self._throttled, readings=self._count, silent=self._silent,
            link_errors=errors, links=tuple(sorted(bdf for bdf in counted if self._seen[bdf] >= 2)),
            reset_links=tuple(sorted({bdf for (bdf, _), growth in self._errors.items() if growth.resets})),
            link_steps=steps, unread_links=dict(sorted(self._unread.items())),
            untold_seconds=untold, link_speeds_gts=_falls(self._speeds), link_widths=_falls(self._widths),
            memory_errors=memory, unread_memory=unread,
            courses={key: course.result() for key, course in self._courses.items()},
            reset_memory=tuple(sorted({key for (key, _), growth in self._memory.items() if growth.resets})))


def same_counts(one: LinkReading, other: LinkReading) -> bool:
    return one.correctable == other.correctable and one.nonfatal == other.nonfatal and one.fatal == other.fatal


def _falls(levels: Mapping[Bdf, Level]) -> dict[Bdf, Fall]:
    found = {bdf: level.result() for bdf, level in sorted(levels.items())}
    return {bdf: fall for bdf, fall in found.items() if fall.seconds > 0}


def _read(values: Values) -> Iterator[tuple[str, float]]:
    if not isinstance(values, Unread):
        for one in values:
            if not isinstance(one.value, Unread):
                yield one.name, one.value
