"""What the rules see: every event at its device, link and time, and the machine that the evidence is about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from boxcheck.decode.klog.events import Cause, Event, KernelLog, Severity
from boxcheck.model import Bdf
from boxcheck.triage.evidence import Device
from boxcheck.triage.machine import Machine

Sure = Literal["certain", "likely", "possible"]
"""certain: the evidence itself says it. likely: the usual reading of this pattern. possible: one of several."""

GRAVITY: tuple[Severity, ...] = ("fail", "warn", "info", "benign")


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One event of one source."""

    index: int
    """In `Triage.events`."""
    event: Event
    source: int
    machine: int = 0
    file: str = ""
    """Name of the source."""
    log: bool = True
    """From a kernel log, with a time that compares with others of it; False for what a tool's output shows."""
    first: float | None = None
    last: float | None = None
    """On the scale of its log; see `boxcheck.triage.times`."""
    card: Device | None = None
    """What the same output says of the card that it numbers, where the event itself has no address."""
    assumed: bool = False
    """Its text names no device, and `event.bdf` is the only one that it can be about."""
    whole_log: int | None = None
    """The source in which its log begins, where that is another one: a log cut in two."""
    part: int = 0
    """Which part of that log the source is."""
    boots_before: int = 0
    """Boots of that log that ended before this source's first line."""
    link: Bdf | None = None
    """Its link, named by the port above it; the device's own address where no evidence names a port."""

    @property
    def kind(self) -> str:
        return self.event.kind

    @property
    def labels(self) -> tuple[str, ...]:
        return self.event.labels

    @property
    def bdf(self) -> Bdf | None:
        return self.event.bdf

    @property
    def stretch(self) -> tuple[int, int]:
        """Log and boot: within one, times compare."""
        return (self.source if self.whole_log is None else self.whole_log), self.boots_before + self.event.boot

    @property
    def bad(self) -> bool:
        return self.event.severity in ("fail", "warn")


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """One cause that explains one or more events."""

    rule: str
    """Id of the rule, `alone` where no rule across events applies."""
    key: str
    """`kind:identity`, one a cause: `link:0000:40:01.1`."""
    title: str
    where: str
    cause: Cause | None
    sure: Sure
    because: tuple[str, ...]
    """What in the evidence says so, one clause each."""
    events: tuple[int, ...]
    """Indices of sightings."""
    severity: Severity
    help: tuple[str, ...]
    not_: tuple[str, ...] = ()
    part: str = ""
    """What to look at, where the cause's usual words would name the wrong part."""


class Scene:
    """The sightings that no rule has explained yet, and all of them, with what rules ask of them."""

    def __init__(
        self, sightings: Sequence[Sighting], machine: Machine, logs: Mapping[int, KernelLog] | None = None
    ) -> None:
        self.all = tuple(sightings)
        self.machine = machine
        self.logs = logs or {}
        """The machine's kernel logs, by source."""
        self._claimed: set[int] = set()

    @property
    def free(self) -> tuple[Sighting, ...]:
        """Those that no diagnosis has claimed."""
        return tuple(sighting for sighting in self.all if sighting.index not in self._claimed)

    def claim(self, diagnosis: Diagnosis) -> None:
        self._claimed.update(diagnosis.events)

    def of(
        self, *kinds: str, labels: Collection[str] | None = None, free: bool = True, bad: bool = False,
        where: Callable[[Sighting], bool] | None = None,
    ) -> tuple[Sighting, ...]:
        """Sightings of some kinds, optionally with one of some labels."""
        pool = self.free if free else self.all
        return tuple(
            sighting for sighting in pool
            if sighting.kind in kinds and (labels is None or set(labels) & set(sighting.labels))
            and (not bad or sighting.bad) and (where is None or where(sighting)))

    def by_index(self, index: int) -> Sighting:
        """The sighting of an index."""
        return next(sighting for sighting in self.all if sighting.index == index)

    def on_link(self, sighting: Sighting, link: Bdf) -> bool:
        """Whether an event is about a link, or about what hangs directly on it."""
        return sighting.link == link or sighting.bdf == link


def same_log(one: Sighting, two: Sighting) -> bool:
    """Whether the times of two sightings compare: one log, one boot, one kind of stamp."""
    return (
        one.log and two.log and one.stretch == two.stretch
        and isinstance(one.event.first, float) == isinstance(two.event.first, float)
    )


def apart_seconds(one: Sighting, two: Sighting) -> float | None:
    """Seconds between the first of one and the first of the other, None where they do not compare."""
    if not same_log(one, two) or one.first is None or two.first is None:
        return None
    return abs(one.first - two.first)


def not_after(one: Sighting, two: Sighting) -> bool:
    """Whether `one` began no later than `two`: by time where it is known, else by line. False for two sources."""
    if not same_log(one, two):
        return False
    if one.first is not None and two.first is not None and one.first != two.first:
        return one.first < two.first
    return (one.part, one.event.line) <= (two.part, two.event.line)


def gravest(sightings: Iterable[Sighting]) -> Severity:
    """The gravest severity among them."""
    return min((sighting.event.severity for sighting in sightings), key=GRAVITY.index, default="info")


def helps(sightings: Iterable[Sighting]) -> tuple[str, ...]:
    """What their events say to do, gravest first, each once."""
    order = sorted(sightings, key=lambda sighting: (GRAVITY.index(sighting.event.severity), sighting.index))
    return tuple(dict.fromkeys(step for sighting in order for step in sighting.event.help))


def span_text(seconds: float) -> str:
    """`0.3 s`, `45 s`, `12 min`, `3 h 05 min` for a sentence."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"

