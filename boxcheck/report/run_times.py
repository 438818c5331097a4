"""Ages of a run as times of day, for outputs that want those."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta

from boxcheck.store.rows import Run

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = timedelta(days=365 * 7000)


class RunTimes:
    """Each session's wall clock as it was when it began, and from there the monotonic clock: a clock that somebody sets
    in the middle takes nothing out of order."""

    def __init__(self, run: Run) -> None:
        self._begins = [one.began.seconds for one in run.sessions]
        self._walls = [one.began.wall for one in run.sessions]

    def wall(self, at_seconds: float) -> float:
        """Seconds since the epoch at an age of the run."""
        if not self._begins:
            return at_seconds
        place = max(0, bisect_right(self._begins, at_seconds) - 1)
        return self._walls[place] + at_seconds - self._begins[place]

    def iso(self, at_seconds: float) -> str:
        """`2026-11-28T16:00:00.250Z`."""
        return iso_ms(self.wall(at_seconds))


def iso_ms(wall: float) -> str:
    """UTC, with milliseconds. A time that no calendar has, of a store from elsewhere, becomes the nearest one."""
    return _nearest(wall).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_second(wall: float) -> str:
    """`2026-11-28T16:00:00Z`; the nearest time as in `iso_ms`."""
    return _nearest(wall).isoformat(timespec="seconds").replace("+00:00", "Z")


def stamp(wall: float, form: str = "%Y-%m-%d %H:%M:%SZ", never: str = "at no time") -> str:
    """UTC for people, as `2026-11-28 16:00:00Z`; a word where no calendar has it: a clock may have been anywhere."""
    try:
        return datetime.fromtimestamp(wall, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return never


def _nearest(wall: float) -> datetime:
    try:
        return _EPOCH + min(timedelta(seconds=wall), _LONGEST)
    except (OverflowError, ValueError):
        return _EPOCH if not wall > 0 else _EPOCH + _LONGEST
