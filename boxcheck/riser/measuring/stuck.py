"""Counters that do not move though errors come: what makes the zero of an end no zero. Pure.

The kernel counts a correctable error, and clears its status bit, in one and the same handler (drivers/pci/pcie/aer.c,
handle_error_source). It cleared them all when the device was found (pci_aer_init). So a bit that stands for seconds
while its counter stays as it is tells of an error that nobody counted: the interrupt never came (masked, routed
elsewhere, a root port that reports nothing), or the handler does not end. What comes after it is not counted either.

Replays are another witness, by the driver of the card: a packet is sent again because it was damaged, or not
acknowledged, and either is a correctable error of an end. NVML counts those that the GPU sent again, so bits toward the
host; amdgpu the sum of both ways. Of the training bits (LBMS) nothing follows: a driver that changes speed sets them
too, and what damages framing alone need move no counter (RxErr is optional).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.riser.evidence import Look, Way
from boxcheck.riser.measuring.bounds import TOWARD
from boxcheck.stress.link_routes import WAYS, Toward

STANDING_SECONDS = 2.0
"""The kernel handles an error in milliseconds; a busy machine may take longer."""
LEAST_READINGS = 3
REPLAYS_AN_ERROR = 32
"""One damaged packet makes its sender send again all that it has not yet seen acknowledged, some dozen packets."""
AMD = "1002"


class Standing:
    """Status bits of one end, reading by reading, beside its counters. Lives as long as the end is looked at; each look
    begins with `begin`."""

    def __init__(self) -> None:
        self._before: dict[str, int | None] = {}
        """Name -> its counter, of those that were stuck when the look before ended."""
        self._counts: Mapping[str, int] = {}
        self._since: dict[str, tuple[float, int, int | None]] = {}
        """Name -> when it was seen to stand first, readings since, its counter then."""
        self._clear: set[str] = set()
        """Names that were seen clear before, so that what stands came while it was watched."""
        self.stuck: dict[str, bool] = {}
        """Name -> whether it came while it was watched."""

    def add(self, now: float, bits: Sequence[str] | None, counts: Mapping[str, int]) -> tuple[str, ...]:
        """One reading. `bits`: names that stand; None where they were not read. Gives those that are found to be stuck
        by this reading and came while it was watched: errors that nobody counted."""
        if bits is None:
            self._since.clear()
            return ()
        self._counts = dict(counts)
        # What still stands, and was not counted since, is stuck from the first reading on: nobody waits to learn that.
        self.stuck |= {name: False for name in bits if name in self._before and counts.get(name) == self._before[name]}
        self._before.clear()
        new: list[str] = []
        for name in bits:
            began, readings, count = self._since.get(name, (now, 0, counts.get(name)))
            if counts.get(name) != count:  # it moves: another error since, or a handler that is late
                began, readings, count = now, 0, counts.get(name)
            self._since[name] = began, readings + 1, count
            if readings + 1 >= LEAST_READINGS and now - began >= STANDING_SECONDS and name not in self.stuck:
                self.stuck[name] = name in self._clear
                new += [name] if name in self._clear else []
        for name in [name for name in self._since if name not in bits]:
            del self._since[name]
        self._clear |= {name for name in counts if name not in bits}
        return tuple(new)

    def begin(self) -> None:
        """For another look. What happened since the one before was not watched: what came then belongs to no look."""
        self._before = {name: self._counts.get(name) for name in self.stuck}
        self.stuck, self._since, self._clear = {}, {}, set()

    @property
    def is_open(self) -> bool:
        """Whether a bit stands of which nobody can say yet whether it is stuck."""
        return any(name not in self.stuck for name in self._since)


def doubted(looks: Sequence[Look], replays: int | None, vendor: str) -> tuple[Look, ...]:
    """Looks at a link whose card had to send packets again under load more often than the counted errors of that
    direction explain. Where none was counted the direction is unread, since its zero is none; where some were, there
    were more. `vendor`: PCI id of the card's."""
    if not replays:
        return tuple(looks)
    blamed: tuple[Toward, ...] = tuple(WAYS) if vendor.lower().removeprefix("0x") == AMD else ("host",)
    ways = [way for look in looks for way in look.ways if way.toward in blamed]
    if any(way.at_least for way in ways) or replays <= REPLAYS_AN_ERROR * sum(way.errors for way in ways):
        return tuple(looks)
    silent = [toward for toward in blamed if not any(way.errors for way in ways if way.toward == toward)]
    counted = "no AER counter of that direction moved" if silent == list(blamed) else (
        f"AER counted {sum(way.errors for way in ways)}")
    why = (f"the card's driver counted {replays} packet{'' if replays == 1 else 's'} that had to be sent again, and "
           f"{counted}: they do not count what comes")
    told = f"{' and '.join(TOWARD[toward] for toward in blamed)}: {why}"

    def doubt(way: Way) -> Way:
        if way.toward not in blamed or way.unread is not None:
            return way
        if way.toward in silent:
            return msgspec.structs.replace(way, unread=why)
        return msgspec.structs.replace(way, at_least=(*way.at_least, why))

    return tuple(
        msgspec.structs.replace(look, notes=(*look.notes, told), ways=tuple(doubt(way) for way in look.ways))
        for look in looks)
