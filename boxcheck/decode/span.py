"""Spans of time and sizes as a person says them: `3 h 12 min`, `124 GiB`."""

from __future__ import annotations


def span_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 12 min`, `2 d 4 h`; the two largest units, the smaller left out when it is 0."""
    if seconds != seconds or seconds < 0 or seconds > 1e11:  # NaN, clock steps, nonsense
        return "an unknown time"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 0, "")):
        if whole >= unit:
            rest = whole % unit // smaller if smaller else 0
            return f"{whole // unit} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


def ago_text(seconds: float) -> str:
    """`3 h 12 min ago`, `just now` within the last ten seconds."""
    return "just now" if 0 <= seconds < 10 else f"{span_text(seconds)} ago"


def gib_text(size_bytes: int) -> str:
    """`124 GiB`, `62.5 GiB`, `512 MiB`: at most one decimal."""
    if size_bytes < 1 << 30:
        return f"{size_bytes >> 20} MiB"
    text = f"{size_bytes / (1 << 30):.1f}"
    return f"{text.removesuffix('.0')} GiB"
