"""One function on the way to a GPU, as its readings come: what it had, what it had at best, what was counted since."""

from __future__ import annotations

from boxcheck.model import Bdf
from boxcheck.telemetry.readings import LinkReading
from boxcheck.tui.frame import LinkView

WORDS = ("", "nonfatal ", "fatal ")
"""Before the names of counters, by gravity."""


class LinkState:
    def __init__(self) -> None:
        self._told: tuple[object, ...] = ()
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._before: dict[str, int] = {}
        """What counters had grown by when they began anew, as at a restart of the machine."""
        self._best_gts: float | None = None
        self._best_width: int | None = None
        self._speed_gts: float | None = None
        self._width: int | None = None
        self.gone = False
        self._at = 0.0

    def take(self, one: LinkReading, at: float) -> None:
        if at < self._at:  # of the run's first minute, which may be read twice: no counter began anew
            return
        told = (one.correctable, one.nonfatal, one.fatal)
        changed, self._told = told != self._told, told
        for word, counts in zip(WORDS, told, strict=True) if changed else ():
            for count in counts if isinstance(counts, tuple) else ():
                if isinstance(count.count, int) and not count.name.startswith("TOTAL"):
                    name = f"{word}{count.name}"
                    if count.count < self._last.get(name, 0):  # it began anew: what it grew by until then stays
                        self._before[name] = self._grown(name)
                        self._first[name] = 0
                    self._first.setdefault(name, count.count)
                    self._last[name] = count.count
        self._speed_gts = one.speed_gts if isinstance(one.speed_gts, (int, float)) else None
        self._width = one.width if isinstance(one.width, int) else None
        self._best_gts = max(filter(None, (self._best_gts, self._speed_gts)), default=None)
        self._best_width = max(filter(None, (self._best_width, self._width)), default=None)
        self.gone, self._at = one.gone, at

    def _grown(self, name: str) -> int:
        return self._before.get(name, 0) + self._last[name] - self._first[name]

    def view(self, bdf: Bdf, now: float) -> LinkView:
        return LinkView(
            bdf=bdf, speed_gts=self._speed_gts, width=self._width, best_gts=self._best_gts,
            best_width=self._best_width, counted=bool(self._last), gone=self.gone,
            counts_now=any(isinstance(counts, tuple) for counts in self._told),
            errors=tuple((name, grown) for name in self._last if (grown := self._grown(name))),
            age_seconds=max(0.0, now - self._at))
