"""Time in a store: milliseconds since the run began by the monotonic clock, and what the wall clock said beside it.

A wall clock may be wrong and may be set while the run goes on; order and durations come from the monotonic one alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

JUMP_SECONDS = 1.0
"""NTP slews by at most 500 ppm (adjtimex(2)), milliseconds between two records; more is a clock that was set."""
LONGEST_AWAY_SECONDS = 30 * 86400.0
"""A run that goes on after a restart was away for no longer; a wall clock that says so is wrong."""


class Clock(msgspec.Struct, frozen=True):
    """Seconds, both of them. Tests put in their own."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class Stamp(msgspec.Struct, frozen=True):
    at_ms: int
    """Since the run began; goes on over sessions, and never back."""
    wall_ms: int
    """Since the epoch, as the clock had it."""


class Timeline:
    """The time of one session."""

    def __init__(self, clock: Clock, at_ms: int = 0) -> None:
        """`at_ms`: how old the run is already."""
        self._clock = clock
        self.monotonic = clock.monotonic
        self.monotonic_ms = round(clock.monotonic() * 1000)
        self.at_ms = at_ms
        self.wall_ms = round(clock.wall() * 1000)
        self._offset_ms = self.wall_ms - self.monotonic_ms

    def at(self, monotonic_seconds: float) -> int:
        """Milliseconds since the run began, of a moment on the monotonic clock."""
        return round(monotonic_seconds * 1000) - self.monotonic_ms + self.at_ms

    def now_ms(self) -> int:
        return self.at(self._clock.monotonic())

    def wall_ms_now(self) -> int:
        return round(self._clock.wall() * 1000)

    def now(self) -> tuple[Stamp, float | None]:
        """Now, and by how many seconds the wall clock has been set since it was asked last; None where it was not."""
        monotonic_ms, wall_ms = round(self._clock.monotonic() * 1000), round(self._clock.wall() * 1000)
        set_by = (wall_ms - monotonic_ms - self._offset_ms) / 1000
        self._offset_ms = wall_ms - monotonic_ms
        stamp = Stamp(monotonic_ms - self.monotonic_ms + self.at_ms, wall_ms)
        return stamp, set_by if abs(set_by) >= JUMP_SECONDS else None


def age_after_restart(last_at_ms: int, first_wall_ms: int, clock: Clock) -> int:
    """How old a run is that goes on in another boot: by the wall clock where that can be, else as old as it was."""
    by_wall = round(clock.wall() * 1000) - first_wall_ms
    return by_wall if last_at_ms <= by_wall <= last_at_ms + LONGEST_AWAY_SECONDS * 1000 else last_at_ms
