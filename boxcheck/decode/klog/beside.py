"""Lines that a driver adds to an event and that tell nothing new beside it. Where no event is near, because the log was
cut or the message of the event has another shape by now, such a line is told by itself."""

from __future__ import annotations

from collections.abc import Callable

from boxcheck.model import Bdf

from .envelope import Line
from .ledger import Ledger
from .words import forget_oldest

_MOST_DEVICES = 1024
_MOST_HELD = 256


class Beside:
    """Holds such lines of one family until it is known whether an event is near, on either side."""

    def __init__(self, lines: int, book: Callable[[Line, Ledger], None]) -> None:
        """`lines` is how far an event reaches on either side. `book` tells a line that stands alone."""
        self._lines = lines
        self._book = book
        self._events: dict[Bdf | None, int] = {}
        """Device -> number of the latest line of an event."""
        self._latest = -lines - 1
        self.held: list[Line] = []
        """Lines that no event explains yet."""

    def event(self, number: int, bdf: Bdf | None) -> None:
        """An event of this device was told in line `number`, which explains what is held of it."""
        if bdf not in self._events:
            forget_oldest(self._events, _MOST_DEVICES)
        self._events[bdf] = self._latest = number
        if self.held:
            self.held = [line for line in self.held
                          if number - line.number > self._lines or (bdf is not None and line.bdf not in (bdf, None))]

    def see(self, line: Line, out: Ledger) -> None:
        """A line that only goes with an event. It is understood either way."""
        out.take(line)
        if line.number - self._before(line.bdf) <= self._lines:
            return
        if len(self.held) >= _MOST_HELD:
            self._book(self.held.pop(0), out)
        self.held.append(line)

    def _before(self, bdf: Bdf | None) -> int:
        """Line of the latest event that a line of this device may go with."""
        if bdf is None:
            return self._latest
        far = -self._lines - 1
        return max(self._events.get(bdf, far), self._events.get(None, far))

    def expire(self, number: int, out: Ledger) -> None:
        """Tell those that no event can reach any more."""
        while self.held and number - self.held[0].number > self._lines:
            self._book(self.held.pop(0), out)

    def finish(self, out: Ledger) -> None:
        """The boot or the text is over."""
        held, self.held = self.held, []
        for line in held:
            self._book(line, out)
        self._events.clear()
        self._latest = -self._lines - 1
