"""What crossed each link of a run and what was counted there, by direction: what error rates are made of.

Bits are those of verified payloads alone: headers, acknowledgements and idle symbols come on top, so a bound over
them is on the safe side. Errors are the growth of the kernel's counters while the instruments watched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from boxcheck.model import Bdf, Unread
from boxcheck.poisson import link_bits
from boxcheck.stress import StressResults
from boxcheck.stress.link_routes import WAYS, Hop, LinkMap, Toward, crossed
from boxcheck.stress.tally import Watching

RECEIVED = ("RxErr", "BadTLP", "BadDLLP")
UNANSWERED = ("Rollover", "Timeout")
BURST = 3
"""Errors of a class between two readings, a second apart, from which the count is a lower bound: a status bit is
sticky, and the kernel counts the interrupts that it handles (docs/explanation/kernel-facts.md: 178 of 200 in a burst,
and all of 200 that came 20 ms apart)."""
OFTEN_A_SECOND = 0.5
"""The same for the mean: near one a second."""
CUT = "errors were counted in a phase that was cut off, and what came after its last reading is not known"


class Direction(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of one link over a run or a part of it."""

    hop: Hop
    toward: Toward
    payload_bits: int = 0
    """Known to have crossed it."""
    most_bits: float | None = None
    """The most that can have crossed it: an active link always transmits. None where speed or width was not read."""
    seconds: float = 0.0
    """For which it was watched."""
    received: Mapping[str, int] = {}
    """Errors that its receiver counted, zeros left out."""
    unanswered: Mapping[str, int] = {}
    """What its sender counted as not acknowledged: this direction was damaged, or the acknowledgements of the other."""
    at_least: tuple[str, ...] = ()
    """Why there may have been more errors than were counted."""
    unread: str | None = None
    """Why its errors are not known at all: nobody read them, or its receiver reports none."""
    needs_root: bool = False

    @property
    def errors(self) -> int:
        """All that was counted against it: what a bound from above must allow for."""
        return sum(self.received.values()) + sum(self.unanswered.values())

    @property
    def proven_errors(self) -> int:
        """Errors that were surely apart from each other: one damaged packet may be counted under several names."""
        return max(self.received.values(), default=0)


class _Side:
    """What is summed up of a direction."""

    def __init__(self) -> None:
        self.payload_bits, self.seconds = 0, 0.0
        self.most_bits: float | None = 0.0
        self.received: dict[str, int] = {}
        self.unanswered: dict[str, int] = {}
        self.at_least: dict[str, None] = {}
        self.unread: str | None = None


class Ledger:
    """Adds up phases. Of phases that ran side by side only one may have GPUs, or their links are counted twice."""

    def __init__(self, where: LinkMap) -> None:
        self.where = where
        self._sides: dict[tuple[Bdf, Toward], _Side] = {
            (port, toward): _Side() for port in where.hops for toward in WAYS}
        self._lost: dict[str, int] = {}
        self._phases = 0

    def add(self, results: StressResults, watching: Watching) -> None:
        """A phase. One of the host, whose devices are on no link, adds nothing."""
        seen = {port for info in results.gpus for port in self.where.ways.get(info.key, ())}
        if not seen:
            return
        self._phases += 1
        for sample in results.samples:
            for way, size in sample.moved.items():
                self._moved(way, size)
        for port in sorted(seen):
            for toward in WAYS:
                self._errors(self.where.hops[port], toward, watching)

    def add_cut(self, results: StressResults, watching: Watching) -> None:
        """A phase that was cut off. Errors were errors, and there may have been more after its last reading; its bits
        are no proof, since nothing says what was counted while they crossed. What counted nothing is left out whole."""
        seen = {port for info in results.gpus for port in self.where.ways.get(info.key, ())}
        for port in sorted(seen):
            hop = self.where.hops[port]
            for toward in WAYS:
                ends = ((hop.receiver(toward), RECEIVED), (hop.sender(toward), UNANSWERED))
                if any(end is not None and watching.link_errors.get(end, {}).get(name) for end, names in ends
                       for name in names):
                    self._errors(hop, toward, watching)
                    self._sides[port, toward].at_least[CUT] = None

    def _moved(self, way: str, size_bytes: int) -> None:
        crossing = crossed(way, self.where)
        for place in crossing.hops:
            self._sides[place].payload_bits += 8 * size_bytes
        if crossing.unknown is not None:
            self._lost[crossing.unknown] = self._lost.get(crossing.unknown, 0) + size_bytes

    def _errors(self, hop: Hop, toward: Toward, watching: Watching) -> None:
        side, receiver, sender = self._sides[hop.port, toward], hop.receiver(toward), hop.sender(toward)
        side.seconds += watching.seconds
        most = _most_bits(hop, watching)
        side.most_bits = None if most is None or side.most_bits is None else side.most_bits + most
        for end, names, into in ((receiver, RECEIVED, side.received), (sender, UNANSWERED, side.unanswered)):
            if end is None:
                continue
            for name in names:
                if grown := watching.link_errors.get(end, {}).get(name, 0):
                    into[name] = into.get(name, 0) + grown
            if end == receiver or into:  # a sender that counted nothing says nothing of what arrived
                side.at_least |= dict.fromkeys(_at_least(end, names, watching))
        if receiver is None:
            side.unread = "nothing was read of what hangs below the port"
        elif receiver not in watching.links:
            side.unread = side.unread or f"the counters of {receiver} were not read twice"

    def directions(self) -> Iterator[Direction]:
        """Both directions of every hop that was worked on, in order of the ports."""
        for (port, toward), side in sorted(self._sides.items()):
            if not side.seconds and not side.payload_bits and side.unread is None:
                continue
            hop = self.where.hops[port]
            receiver = hop.receiver(toward)
            silent = hop.silent.get(receiver) if receiver is not None else None
            unread, root = side.unread, False
            if isinstance(silent, Unread):
                unread = unread or f"whether {receiver} reports errors was not read: {silent.why}"
                root = silent.kind == "permission"
            elif silent is not None:
                unread = f"{receiver} counts no errors: {silent}"
            most = side.most_bits
            yield Direction(
                hop=hop, toward=toward, payload_bits=side.payload_bits, seconds=side.seconds,
                most_bits=None if most is None else max(most, float(side.payload_bits)), received=dict(side.received),
                unanswered=dict(side.unanswered), at_least=tuple(side.at_least), unread=unread, needs_root=root)

    @property
    def unattributed(self) -> Mapping[str, int]:
        """Bytes whose way is not known, or not all of it, by the reason."""
        return dict(self._lost)


def _at_least(end: Bdf, names: tuple[str, ...], watching: Watching) -> Iterator[str]:
    grown, steps = watching.link_errors.get(end, {}), watching.link_steps.get(end, {})
    if end in watching.reset_links:
        yield f"the counters of {end} began anew"
    if end in watching.unread_links:
        yield f"the counters of {end} were not read at some time"
    for name in names:
        often = grown.get(name, 0) > 1 and grown[name] >= OFTEN_A_SECOND * watching.seconds
        if steps.get(name, 0) >= BURST or often:
            yield f"{name} of {end} came in bursts, of which the kernel counts a part"


def _most_bits(hop: Hop, watching: Watching) -> float | None:
    """What a link can have moved one way: by the best that was seen of either end, else by what both can do."""
    ends = [end for end in (hop.port, hop.card) if end is not None]
    speeds = [watching.link_speeds_gts[end].best for end in ends if end in watching.link_speeds_gts]
    widths = [watching.link_widths[end].best for end in ends if end in watching.link_widths]
    speed, width = max(speeds, default=hop.gigatransfers), max(widths, default=hop.lanes)
    return None if speed is None or width is None else link_bits(speed, int(width), watching.seconds)
