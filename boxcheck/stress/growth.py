"""What a row of readings comes to: counters that grow and begin anew, values that fall, times when nothing was told.

Readings of one link come from several workers, each a moment apart, so that one may overtake another.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

RACE_SECONDS = 0.5
"""Two readings nearer to each other may come in the wrong order."""


class Growth:
    """Sum of the steps of a counter. One that falls was set back, and counts from zero again: what it counted between
    the reading before and that moment nobody knows."""

    def __init__(self) -> None:
        self.grown = 0
        self.resets = 0
        self.most_step = 0
        """The largest growth between two readings. Readings that showed nothing new may be left out between them."""
        self._last: tuple[float, int] | None = None

    def add(self, seconds: float, count: int) -> bool:
        """Whether it was taken; not where it came in the wrong order."""
        if self._last is not None:
            then, before = self._last
            if count < before and seconds - then < RACE_SECONDS:
                return False
            step = count - before if count >= before else count
            self.grown += step
            self.most_step = max(self.most_step, step)
            self.resets += count < before
        self._last = (seconds, count)
        return True

    def add_column(self, seconds: Sequence[float], counts: Sequence[int]) -> None:
        """The same as each by itself."""
        if counts.count(counts[0]) == len(counts):
            # Where one was taken, those alike after it change nothing but when it was last seen.
            count = counts[0]
            if any(self.add(second, count) for second in seconds):
                self.add(seconds[-1], count)
        else:
            for second, count in zip(seconds, counts, strict=True):
                self.add(second, count)


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """How a value fell below the best that was seen before."""

    best: float
    least: float
    """The lowest after the best was seen."""
    dips: int = 0
    """How often it fell and came back."""
    longest_seconds: float = 0.0
    """The longest of them."""
    low_seconds: float = 0.0
    """For how long it had been below the best when the readings ended; 0 where it was not."""
    seconds: float = 0.0
    """From the first reading to the last."""


class Level:
    """A value over time. A rise to a new best is no fall before it: links rest at a lower speed."""

    def __init__(self) -> None:
        self._best = self._least = 0.0
        self._dips, self._longest = 0, 0.0
        self._first: float | None = None
        self._last = 0.0
        self._low_since: float | None = None

    def add(self, seconds: float, value: float) -> None:
        if self._first is None:
            self._first = self._last = seconds
        if seconds < self._last:
            return
        self._last = seconds
        if value > self._best:
            self._best = self._least = value
            self._dips, self._longest, self._low_since = 0, 0.0, None
        elif value < self._best:
            self._least = min(self._least, value)
            self._low_since = seconds if self._low_since is None else self._low_since
        elif self._low_since is not None:
            self._dips += 1
            self._longest = max(self._longest, seconds - self._low_since)
            self._low_since = None

    def result(self) -> Fall:
        return Fall(
            best=self._best, least=self._least, dips=self._dips, longest_seconds=round(self._longest, 3),
            low_seconds=0.0 if self._low_since is None else round(self._last - self._low_since, 3) or 0.001,
            seconds=round(self._last - (self._first or 0.0), 3))


class Told:
    """When a device told something, and when it was asked and did not. Order of coming does not matter."""

    def __init__(self) -> None:
        self._told, self._untold = array("d"), array("d")

    def add(self, seconds: float, told: bool) -> None:
        (self._told if told else self._untold).append(seconds)

    def add_column(self, seconds: array[float], told: bool) -> None:
        """Each of them."""
        (self._told if told else self._untold).extend(seconds)

    def longest_gap(self) -> float:
        """The longest time in which it was asked and told nothing, after it had told something; in seconds, up to
        where it told again or was asked last."""
        told, untold = sorted(self._told), sorted(self._untold)
        gap, at = 0.0, 0
        while at < len(untold):
            place = bisect_left(told, untold[at])
            end = told[place] if place < len(told) else untold[-1]
            if place:
                gap = max(gap, end - told[place - 1])
            at = max(at + 1, bisect_right(untold, end))
        return round(gap, 3)
