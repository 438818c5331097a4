"""Phrases, outcomes and the one sum that several checks of parts share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from boxcheck.model import Finding, Limit, Outcome, Quantity, Scalar, Subject, Unread
from boxcheck.registry import failed, marginal, outcome_of, passed, unknown

GIB = 1 << 30
LONGEST_SECONDS = 1e12
"""Of what is told in words: 30 000 years."""
_MAKE = {Outcome.FAIL: failed, Outcome.MARGINAL: marginal, Outcome.PASS: passed}


def not_read(subject: Subject, unread: Unread, **options: Any) -> Finding:
    """The `unknown` finding for a reading that is missing; it says when root would settle it."""
    return unknown(subject, f"not read: {unread.why}", needs_root=unread.kind == "permission", **options)


def why_not(value: object, instead: Unread) -> Unread:
    """`value` where it is unread, else `instead`. (`value or instead` would ask an Unread for its truth.)"""
    return value if isinstance(value, Unread) else instead


def decided(outcome: Outcome, subject: Subject, says: str, **options: Any) -> Finding:
    """A finding of an outcome that was worked out elsewhere. On a pass, cause, title and help fall away."""
    if outcome is Outcome.PASS:
        for name in ("cause", "title", "help", "not_"):
            options.pop(name, None)
    return _MAKE[outcome](subject, says, **options)


def judged(subject: Subject, value: Scalar, limit: Limit, says: str, **options: Any) -> Finding:
    """Like `registry.compared`, and on a pass cause, title and help fall away."""
    return decided(
        outcome_of(value, limit), subject, says, measured=Quantity(value, limit.unit), limit=limit, **options)


def bound_of(limit: Limit) -> Any:
    """The value to name in a sentence: what must be, else what should be."""
    return limit.must if limit.must is not None else limit.should


def wish_of(limit: Limit) -> Any:
    """The stricter of the two: what should be, else what must be."""
    return limit.should if limit.should is not None else limit.must


def wants(limit: Limit) -> str:
    """`profile requires` for what must be, `profile asks for` for what only should be."""
    return "profile requires" if limit.must is not None else "profile asks for"


def demand(outcome: Outcome, limit: Limit) -> str:
    """The demand that an outcome worked out elsewhere is about, with its verb, as `broken_bound` for a plain value."""
    if outcome is Outcome.FAIL or limit.should is None:
        return f"profile requires {shown(limit.must)}"
    return f"profile asks for {shown(limit.should)}"


def broken_bound(value: Scalar, limit: Limit) -> str:
    """The demand that `value` breaks, else the strictest one, with its verb: `profile requires 128`."""
    if outcome_of(value, limit) is Outcome.FAIL:
        return f"profile requires {shown(limit.must)}"
    if limit.should is not None:
        return f"profile asks for {shown(limit.should)}"
    return f"profile requires {shown(limit.must)}"


def shown(value: Any) -> str:
    """A limit's value in a sentence."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return " or ".join(str(item) for item in value)


def size(size_bytes: float) -> str:
    """`256 MiB`, `125.6 GiB`, `512 GiB`, `3.6 TiB`."""
    if 0 < size_bytes < GIB:
        return f"{round(size_bytes / (1 << 20), 1):g} MiB"
    if size_bytes >= 1 << 40:
        return f"{round(size_bytes / (1 << 40), 1):g} TiB"
    return f"{round(size_bytes / GIB, 1):g} GiB"


def listed(items: Iterable[object], most: int = 6) -> str:
    """`a, b and c`; with more than `most`, the rest is a number."""
    names = [str(item) for item in items]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "none"


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 drive`, `4 drives`."""
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which PCIE10 comes after PCIE9, and numbers before words. Digits of other writing are letters: not
    all of them make numbers (`PCIE²`)."""
    parts = re.split(r"([0-9]{1,18})", name)
    return tuple((1, 0, part) if at % 2 == 0 else (0, int(part), "") for at, part in enumerate(parts) if part)


def a(name: str) -> str:
    """The name with its article as it is spoken: `an RTX 4090`, `an Intel GPU`, `a Radeon VII`, `a 10de:2684`."""
    word = name.split(" ")[0]
    spelt = word == word.upper() and not word[:1].isdigit()  # R-T-X, M-I-50: the name of the first letter counts
    vowel = name[:1].upper() in ("AEFHILMNORSX" if spelt else "AEIO") or name.startswith("8")
    return f"{'an' if vowel else 'a'} {name}"


def duration(seconds: float) -> str:
    """`3 h 12 min`, `2 d 4 h`, `1 min 30 s`, `45 s`: the two largest units, a second one of zero left out."""
    days, hours, minutes, rest = _units(seconds)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((at for at, (number, _) in enumerate(parts) if number), len(parts) - 1)
    number, unit = parts[first]
    return " ".join([f"{number} {unit}", *(f"{more} {of}" for more, of in parts[first + 1:first + 2] if more)])


def short_duration(seconds: float) -> str:
    """The same for a line that is full: `3h17m`, `12m`, `45s`; `2d04h`."""
    days, hours, minutes, rest = _units(seconds)
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m" if minutes else f"{rest}s"


def clock(seconds: float | None) -> str:
    """`00:42:17` since something began; days before it where there are any, dashes where nobody knows."""
    if seconds is None:
        return "--:--:--"
    days, hours, minutes, rest = _units(int(min(seconds, LONGEST_SECONDS)))
    return f"{f'{days}d ' if days else ''}{hours:02d}:{minutes:02d}:{rest:02d}"


def _units(seconds: float) -> tuple[int, int, int, int]:
    """Days, hours, minutes, seconds. What a store from elsewhere says has no end has some."""
    whole = max(round(min(seconds, LONGEST_SECONDS)), 0)
    return whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60


def median(values: Iterable[float]) -> float:
    """The middle value, or the mean of the middle two. ValueError where there is none. `statistics` does the same and
    takes as long to import as all sensors take to read."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no median of nothing")
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
