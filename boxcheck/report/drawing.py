"""What drawings share: ticks with round numbers, a panel that maps values to points, times as they are told. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from unicodedata import east_asian_width

import msgspec

from boxcheck.report.document import Box, Label, Line, Role, Shape

SMALL = 7.5
"""Size of the text of axes, in points: the least that prints well."""
CHAR = 0.56
"""Width of a character as a part of its size: that of DejaVu Sans and Helvetica for digits and small letters; wide
enough that nothing is clipped."""


def ticks(low: float, high: float, most: int = 4) -> tuple[float, ...]:
    """Round numbers that hold both ends: 1, 2, 2.5 or 5 times a power of ten apart."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0):  # one value, or as good as one
        high = low + max(abs(low) * 0.1, 1.0)
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999), 10 * unit)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(float(f"{number * step:.12g}") for number in range(first, last + 1))


def time_ticks(begin: float, end: float, most: int = 8) -> tuple[float, ...]:
    """Seconds, whole minutes or hours apart."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400)
    step = next((one for one in steps if (end - begin) / one <= most), 86400 * math.ceil((end - begin) / 86400 / most))
    return tuple(float(number * step) for number in range(math.ceil(begin / step), math.floor(end / step) + 1))


def time_words(seconds: float, end: float) -> str:
    """`45 s`, `12:30`, `3:05 h`: one form for an axis that ends there."""
    if end <= 120:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if end < 7200:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02}"


def time_unit(end: float) -> str:
    return "seconds" if end <= 120 else "minutes" if end < 7200 else "hours"


def number_words(value: float) -> str:
    return f"{value:g}" if abs(value) < 10_000 else f"{value / 1000:g}k"


def fitted(text: str, width: float, size: float = SMALL) -> str:
    """The text, cut with an ellipsis where it is wider. A Chinese character and its like are as wide as two letters."""
    most = int(width / (size * CHAR))
    ends = list(accumulate(2 if east_asian_width(char) in ("W", "F") else 1 for char in text))
    if not ends or ends[-1] <= most:
        return text
    return text[:bisect_right(ends, max(most - 1, 0))] + "…" if most > 1 else ""


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A rectangle of a drawing and the values at its edges."""

    x: float
    y: float
    width: float
    height: float
    begin: float
    end: float
    low: float
    high: float

    def across(self, value: float) -> float:
        return self.x + self.width * (value - self.begin) / max(self.end - self.begin, 1e-9)

    def up(self, value: float) -> float:
        part = (value - self.low) / max(self.high - self.low, 1e-9)
        return self.y + self.height * (1 - min(1.0, max(0.0, part)))

    def curve(self, points: Iterable[tuple[float, float]], role: Role, width: float = 0.9, dash: bool = False) -> Line:
        """A line through values. One value alone is a short stroke, so that it is seen."""
        made = [(round(self.across(at), 1), round(self.up(value), 1)) for at, value in points]
        kept = made[:1] + [one for before, one in pairwise(made) if one != before]
        if len(kept) == 1:
            kept.append((kept[0][0] + 0.8, kept[0][1]))
        return Line(points=tuple(kept), role=role, width=width, dash=dash)


def grid(panel: Panel, at: Sequence[float], *, labels: bool = True) -> list[Shape]:
    """The frame of a panel, with a faint line and a label at each tick of the upright axis."""
    found: list[Shape] = [Box(x=panel.x, y=panel.y, width=panel.width, height=panel.height, edge="grid")]
    for value in at:
        y = panel.up(value)
        if panel.y + 1 < y < panel.y + panel.height - 1:
            found.append(Line(points=((panel.x, y), (panel.x + panel.width, y)), role="grid", width=0.5))
        if labels:
            found.append(Label(
                x=panel.x - 4, y=y + SMALL * 0.35, text=number_words(value), anchor="end", size=SMALL, role="dim"))
    return found


def time_axis(panel: Panel) -> list[Shape]:
    """Ticks of the time below a panel."""
    found: list[Shape] = []
    for at in time_ticks(panel.begin, panel.end):
        x, y = panel.across(at), panel.y + panel.height
        found.append(Line(points=((x, y), (x, y + 3)), role="dim", width=0.5))
        words = time_words(at, panel.end)
        found.append(Label(x=x, y=y + 3 + SMALL, text=words, anchor="middle", size=SMALL, role="dim"))
    return found
