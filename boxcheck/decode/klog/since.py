"""Leaving out what was before a moment: seconds since boot, or a wall time as far as the log's spelling tells.

A wall time without a year (syslog, `dmesg` of some) is taken for the one nearest to the moment asked for. One without a
zone is in the zone of that moment, if that has one: logs and questions mostly come from one machine.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))? ?(Z|UTC|[+-]\d\d:?\d\d)?")
_CTIME = re.compile(
    r"(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2}) {0,2}(\d{1,2}) (?:(\d{4}) )?"
    r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?: (\d{4}))?$"
)
_UNIX = re.compile(r"\d{9,11}\.\d{1,9}$")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def before(
    since: float | datetime, last: float | str | None, wall: str | None, boot: int, last_boot: int
) -> bool | None:
    """Whether something last seen at `last` (wall time: `wall`) was before `since`; None where nothing tells.

    Seconds count from the last boot of the text; what an earlier boot logged was before it.
    """
    if isinstance(since, datetime):
        text = wall if wall is not None else last if isinstance(last, str) else None
        at = wall_time(text, since) if text is not None else None
        return None if at is None else at < _aware(since)
    if boot < last_boot:
        return True
    return last < since if isinstance(last, float) else None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def wall_time(text: str, near: datetime) -> datetime | None:
    """A time stamp of a log as a time, None for one that is spelled otherwise.

    `near` gives the zone where the text has none (a `near` without a zone counts as UTC, and so does the text), and
    the year where it has none.
    """
    zone = near.tzinfo or UTC
    try:
        if _UNIX.match(text) is not None:
            at = datetime.fromtimestamp(float(text), UTC)
            # Someone who names no zone means the clock on the wall, which this stamp does not know.
            return at if near.tzinfo is not None else at.astimezone().replace(tzinfo=UTC)
        found = _ISO.search(text)
        if found is not None:
            year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
            own = _zone(found[8]) if found[8] is not None and near.tzinfo is not None else zone
            return datetime(year, month, day, hour, minute, min(second, 59), _micros(found[7]), own)
        found = _CTIME.match(text.strip())
        if found is None or found[1] not in _MONTHS:
            return None
        month, day = _MONTHS.index(found[1]) + 1, int(found[2])
        clock = (int(found[4]), int(found[5]), min(int(found[6] or 0), 59), _micros(found[7]))
        year_text = found[3] or found[8]
        if year_text is not None:
            return datetime(int(year_text), month, day, *clock, tzinfo=zone)
        return _nearest(month, day, clock, _aware(near), zone)
    except (ValueError, OverflowError):
        return None


def _nearest(month: int, day: int, clock: tuple[int, int, int, int], near: datetime, zone: tzinfo) -> datetime | None:
    best: datetime | None = None
    for year in (near.year, near.year - 1, near.year + 1):
        try:
            at = datetime(year, month, day, *clock, tzinfo=zone)
        except ValueError:
            # 29 February of another year.
            continue
        if best is None or abs(at - near) < abs(best - near):
            best = at
    return best


def _zone(text: str) -> tzinfo:
    if text in ("Z", "UTC"):
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=minutes if text[0] == "+" else -minutes))


def _micros(fraction: str | None) -> int:
    return int(fraction[:6].ljust(6, "0")) if fraction else 0
