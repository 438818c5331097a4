"""One link while it is watched: readings of both its ends many times a second, cut where speed or width changed. Pure.

An error counted between the last reading at one speed and the first at another is of neither: it may have made the
change or come of it. Counters that fall began anew, with a device that was enumerated again; that is no improvement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from boxcheck.decode.pci_aer import AER_CORRECTABLE_BIT
from boxcheck.model import Bdf, Unread
from boxcheck.riser.measuring.registers import Marks
from boxcheck.telemetry.links import SLEEPING
from boxcheck.telemetry.readings import Counts, LinkReading

Phase = int
"""Number of the part of a watch that a segment lies in: before the load, under it, after it."""
DOWN, ASLEEP = "down", "asleep"


class State(msgspec.Struct, frozen=True):
    """What a link is at a moment, as its ends show it."""

    speed_gts: float | None
    width: int | None
    word: str = ""
    """`down`: no link, or an end answers all ones; `asleep`; empty while it is up or nobody can tell."""


class Grown:
    """Growth of one counter. Of one that began anew: what it has counted since."""

    __slots__ = ("grown", "most_step")

    def __init__(self) -> None:
        self.grown = self.most_step = 0

    def add(self, step: int) -> None:
        self.grown += step
        self.most_step = max(self.most_step, step)


class Segment:
    """A stretch of the watch over which speed and width stayed as they were."""

    def __init__(self, phase: Phase, state: State, began: float) -> None:
        self.phase, self.state, self.began, self.ended = phase, state, began, began
        self.readings = 0
        self.longest_gap = 0.0
        """Between two readings: events nearer than that to each other are counted as one step."""
        self.growths: dict[tuple[Bdf, str], Grown] = {}
        self.between: dict[tuple[Bdf, str], int] = {}
        """Counted while the link changed from the state before to this one."""
        self.reset: set[Bdf] = set()
        """Ends whose counters began anew."""
        self.seen: dict[Bdf, int] = {}
        """How often the counters of an end were read."""
        self.unread: dict[Bdf, str] = {}
        """Why they were not, at some time or at all."""
        self.drops = 0
        self.marks: dict[Bdf, Marks] = {}
        """What the registers of an end noted newly meanwhile."""
        self._more_seconds = 0.0

    @property
    def seconds(self) -> float:
        return self.ended - self.began + self._more_seconds

    def take(self, other: Segment) -> None:
        """Adds another one's counts and time, of the same state or of none."""
        if other.state == self.state:
            self._more_seconds += other.seconds
            self.readings += other.readings
        self.longest_gap = max(self.longest_gap, other.longest_gap)
        for place, grown in other.growths.items():
            mine = self.growths.setdefault(place, Grown())
            mine.grown, mine.most_step = mine.grown + grown.grown, max(mine.most_step, grown.most_step)
        for place, count in other.between.items():
            self.between[place] = self.between.get(place, 0) + count
        for end, count in other.seen.items():
            self.seen[end] = self.seen.get(end, 0) + count
        for end, why in other.unread.items():
            self.unread.setdefault(end, why)
        for end, marks in other.marks.items():
            self.marks[end] = self.marks[end].joined(marks) if end in self.marks else marks
        self.reset |= other.reset
        self.drops += other.drops

    def grown(self, end: Bdf) -> Mapping[str, int]:
        """Growth of correctable errors by name, zeros left out."""
        return {name: growth.grown for (of, name), growth in self.growths.items()
                if of == end and growth.grown and " " not in name}

    def uncorrectable(self, end: Bdf) -> Mapping[str, int]:
        """The same of non-fatal and fatal ones: `fatal SDES`. What was counted at the change before it is in it."""
        found = {name: growth.grown for (of, name), growth in self.growths.items() if of == end and " " in name}
        for (of, name), count in self.between.items():
            if of == end and " " in name:
                found[name] = found.get(name, 0) + count
        return {name: count for name, count in found.items() if count and not name.endswith(" TOTAL")}

    def most_step(self, end: Bdf, name: str) -> int:
        growth = self.growths.get((end, name))
        return growth.most_step if growth is not None else 0

    def unnamed(self, end: Bdf) -> int:
        """Correctable errors in the total that no counter with a known name accounts for."""
        grown = self.grown(end)
        known = sum(count for name, count in grown.items() if name in AER_CORRECTABLE_BIT)
        return max(0, grown.get("TOTAL", 0) - known)

    @property
    def said_something(self) -> bool:
        """Whether anything was counted, or it went down."""
        return bool(self.drops or any(self.between.values()) or any(one.grown for one in self.growths.values())
                    or any(mark for mark in self.marks.values()))


class Course:
    """Takes readings of both ends of one link as they come, and gives its segments."""

    def __init__(self, port: Bdf, card: Bdf | None) -> None:
        self.port, self.card = port, card
        self._segments: list[Segment] = []
        self._last: dict[tuple[Bdf, str], int] = {}
        self._phase: Phase = 0
        self._state: State | None = None
        self._was_up = False

    def split(self) -> None:
        """What is read from now on is a segment of its own, also where nothing has changed."""
        self._phase += 1

    def add(self, now: float, readings: Mapping[Bdf, LinkReading], dll_active: bool | None = None) -> None:
        """One reading of both ends, made at this moment. `dll_active`: what LnkSta of the port says, where it can."""
        state = self._state = self._state_of(readings, dll_active)
        before = self._segments[-1] if self._segments else None
        fresh = before is None or state != before.state or before.phase != self._phase
        if fresh:
            at = before.ended if before is not None and before.state == state else now
            self._segments.append(Segment(self._phase, state, at))
        segment = self._segments[-1]
        dropped = state.word == DOWN and self._was_up
        segment.drops += dropped
        self._was_up = state.word != DOWN and (self._was_up or bool(state.width))
        changed = fresh and before is not None and before.state != state
        segment.longest_gap = max(segment.longest_gap, 0.0 if not segment.readings else now - segment.ended)
        segment.ended, segment.readings = now, segment.readings + 1
        for end in (self.port, self.card):
            if end is not None:
                self._count(segment, end, now, readings.get(end), changed)

    def mark(self, end: Bdf, marks: Marks) -> None:
        """What the registers of an end noted newly since it was asked before."""
        if self._segments:
            known = self._segments[-1].marks.get(end)
            self._segments[-1].marks[end] = marks if known is None else known.joined(marks)

    @property
    def speed_gts(self) -> float | None:
        """As it was read last."""
        return self._state.speed_gts if self._state is not None else None

    def segments(self) -> Iterator[Segment]:
        yield from self._segments

    def _state_of(self, readings: Mapping[Bdf, LinkReading], dll_active: bool | None) -> State:
        port = readings.get(self.port)
        card = readings.get(self.card) if self.card is not None else None
        if port is None:
            return State(None, None)
        if port.gone or port.width == 0 or dll_active is False or (card is not None and card.gone):
            return State(None, None, DOWN)
        for end in (port, card):
            if end is not None and isinstance(end.speed_gts, float) and isinstance(end.width, int):
                return State(end.speed_gts, end.width)
        if port.speed_gts == SLEEPING:
            return State(None, None, ASLEEP)
        width = port.width if isinstance(port.width, int) else None
        return State(None, width)

    def _count(
        self, segment: Segment, end: Bdf, now: float, reading: LinkReading | None, changed: bool
    ) -> None:
        if reading is None or reading.correctable is None:
            segment.unread.setdefault(end, "it has no AER counters")
            return
        if isinstance(reading.correctable, Unread):
            segment.unread.setdefault(end, reading.correctable.why)
            return
        segment.seen[end] = segment.seen.get(end, 0) + 1
        for name, count in _named(reading):
            place = (end, name)
            last = self._last.get(place)
            self._last[place] = count
            if last is None:
                continue
            if count < last:
                segment.reset.add(end)
            step = count - last if count >= last else count
            if changed:
                segment.between[place] = segment.between.get(place, 0) + step
            else:
                segment.growths.setdefault(place, Grown()).add(step)


def _named(reading: LinkReading) -> Iterator[tuple[str, int]]:
    kinds: tuple[tuple[str, Counts | None], ...] = (
        ("", reading.correctable), ("nonfatal ", reading.nonfatal), ("fatal ", reading.fatal))
    for word, counts in kinds:
        for count in counts if isinstance(counts, tuple) else ():
            if isinstance(count.count, int):
                yield f"{word}{count.name}", count.count
