"""When an event was, on a scale on which events of one log can be compared.

Seconds since boot compare within a boot; wall times within a log. Syslog's have no year; those of one log are taken
for the same one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from boxcheck.decode.klog.events import Stamp
from boxcheck.decode.klog.since import wall_time

_NEAR = datetime(2000, 7, 1, tzinfo=UTC)
"""For stamps without a year: a leap year, so that 29 February is a day."""
_RELATIVE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(s|min|m|h|d)?$")
_UNIT_SECONDS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def moment(stamp: Stamp) -> float | None:
    """Seconds on the scale of its kind, None for a stamp that says nothing (or is spelled in another language)."""
    if stamp is None or isinstance(stamp, (float, int)):
        return None if stamp is None else float(stamp)
    at = wall_time(stamp, _NEAR)
    return at.timestamp() if at is not None else None


def parse_since(text: str) -> float | datetime | None:
    """What --since names: seconds since boot (`90`, `2h`, `1.5d`) or a wall time (`2026-09-19 16:18`, `Sep 19
    16:18:02`). None for neither."""
    text = text.strip()
    found = _RELATIVE.match(text)
    if found is not None:
        return float(found[1]) * _UNIT_SECONDS[found[2] or "s"]
    day = re.fullmatch(r"\d{4}-\d\d-\d\d", text)
    short = re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text)
    return wall_time(f"{text} 00:00:00" if day else f"{text}:00" if short else text, datetime.now())


def clock_text(stamp: Stamp) -> str:
    """For a column: seconds since boot as `0:00:12.3`, `3 d 04:11:02`; wall times in one spelling."""
    if stamp is None:
        return ""
    if isinstance(stamp, str):
        at = wall_time(stamp, _NEAR)
        if at is None:
            return stamp[:24]
        return at.strftime("%b %e %H:%M:%S" if str(at.year) not in stamp and "." not in stamp else "%Y-%m-%d %H:%M:%S")
    whole = int(stamp)
    days, rest = divmod(whole, 86400)
    if days:
        return f"{days} d {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}.{int((stamp - whole) * 10)}"
