"""Courses over the time of a run as drawings: all GPUs small beside each other, and one GPU large. Axes are shared, so
that a height means the same on each of them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.report.acceptance_thin import Segments, Thinned
from boxcheck.report.document import Box, Figure, Label, Line, Role, Shape
from boxcheck.report.drawing import (
    CHAR,
    SMALL,
    Panel,
    fitted,
    grid,
    number_words,
    ticks,
    time_axis,
    time_unit,
)

SERIES: tuple[Role, ...] = ("series0", "series1", "series2", "series3", "series4", "series5", "series6", "series7")
WIDTH = 510.0
"""Points: what A4 and Letter have between their margins."""
LEFT, RIGHT = 40.0, 10.0
TALL, BETWEEN = 44.0, 21.0


class Bound(msgspec.Struct, frozen=True):
    """A level that a value is held against."""

    value: float
    says: str
    role: Role = "fail"


class Stripe(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity: its lines by name, in the unit of the title."""

    title: str
    lines: Mapping[str, Segments]
    low: float
    high: float
    bounds: tuple[Bound, ...] = ()
    says: str = ""
    """Shown at the right of the title: `highest 78`."""
    empty: str = "not read"
    """What stands there where there are no lines."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What held a clock down, and when: (from, to, part of it)."""

    says: str
    spans: tuple[tuple[float, float, float], ...]
    total: str = ""
    grave: bool = False


class Span(msgspec.Struct, frozen=True):
    """A phase on the axis of time."""

    name: str
    begin: float
    end: float


def coarser(segments: Segments, begin: float, end: float, spans: int) -> Segments:
    """The same for a smaller drawing; lowest and highest values stay."""
    found: list[tuple[tuple[float, float], ...]] = []
    for line in segments:
        kept = Thinned(begin, end, spans)
        kept.add([at for at, _ in line], [value for _, value in line])
        found += kept.segments(gap=float("inf"))
    return tuple(found)


def sheet(
    stripes: Sequence[Stripe], held: Sequence[Held], phases: Sequence[Span], begin: float, end: float, *,
    caption: str, says: str, held_read: bool = True,
) -> Figure:
    """One GPU: a panel for each quantity below each other, what held the clock down below, one axis of time."""
    shapes: list[Shape] = []
    y = 15.0
    wide = WIDTH - LEFT - RIGHT
    height = y + len(stripes) * (TALL + BETWEEN) + 14 + max(1, len(held)) * 14 + 8
    shapes += _phases(phases, begin, end, LEFT, wide, 0.0, height - 8)
    last = Panel(x=LEFT, y=y, width=wide, height=TALL, begin=begin, end=end, low=0, high=1)
    for stripe in stripes:
        y += 13
        levels = ticks(stripe.low, stripe.high)
        last = Panel(x=LEFT, y=y, width=wide, height=TALL, begin=begin, end=end, low=levels[0], high=levels[-1])
        shapes += _stripe(stripe, last, levels)
        y += TALL + BETWEEN - 13
    y += 6
    shapes.append(Label(x=LEFT, y=y + 3, text="what held the clock down", size=SMALL + 0.5, strong=True))
    y += 7
    strip = Panel(x=LEFT, y=y, width=wide, height=14 * max(1, len(held)), begin=begin, end=end, low=0, high=1)
    if not held:
        says_held = "nothing" if held_read else "not read"
        shapes.append(Label(x=LEFT + 4, y=y + 8, text=says_held, size=SMALL, role="dim"))
    for row in held:
        shapes += _held(row, strip, y)
        y += 14
    shapes += time_axis(strip)
    shapes.append(Label(x=2, y=strip.y + strip.height + 3 + SMALL, text=time_unit(end), size=SMALL, role="dim"))
    return Figure(width=WIDTH, height=strip.y + strip.height + 14, shapes=tuple(shapes), caption=caption, says=says)


def _phases(
    phases: Sequence[Span], begin: float, end: float, x: float, wide: float, top: float, bottom: float
) -> list[Shape]:
    """A line where a phase begins, and its name where there is room."""
    found: list[Shape] = []
    across = Panel(x=x, y=top, width=wide, height=1, begin=begin, end=end, low=0, high=1)
    free = 0.0
    for one in phases:
        left, right = across.across(max(one.begin, begin)), across.across(min(one.end, end))
        if right <= left:
            continue
        found.append(Line(points=((left, top + 2), (left, bottom)), role="grid", width=0.5, dash=True))
        if left >= free and (name := fitted(one.name, right - left - 3)) and len(name) > 2:
            found.append(Label(x=left + 2, y=top + 9, text=name, size=SMALL, role="dim"))
            free = left + 2 + len(name) * SMALL * CHAR
    return found


def _stripe(stripe: Stripe, panel: Panel, levels: Sequence[float]) -> list[Shape]:
    found: list[Shape] = [Label(x=panel.x, y=panel.y - 4, text=stripe.title, size=SMALL + 0.5, strong=True)]
    found += grid(panel, levels)
    x = panel.x + len(stripe.title) * (SMALL + 0.5) * 0.62 + 12
    for number, (name, segments) in enumerate(stripe.lines.items()):
        role = SERIES[number % len(SERIES)]
        if len(stripe.lines) > 1 or name:
            found.append(Line(points=((x, panel.y - 6.5), (x + 12, panel.y - 6.5)), role=role, width=1.6,
                              dash=number >= 2))
            found.append(Label(x=x + 15, y=panel.y - 4, text=name, size=SMALL))
            x += 15 + len(name) * SMALL * CHAR + 12
        found += [panel.curve(points, role, dash=number >= 2) for points in segments]
    for bound in stripe.bounds:
        if not panel.low <= bound.value <= panel.high:
            continue
        y = panel.up(bound.value)
        found.append(Line(points=((panel.x, y), (panel.x + panel.width, y)), role=bound.role, width=0.7, dash=True))
        found.append(Line(points=((x, panel.y - 6.5), (x + 12, panel.y - 6.5)), role=bound.role, width=0.9, dash=True))
        found.append(Label(x=x + 15, y=panel.y - 4, text=bound.says, size=SMALL))
        x += 15 + len(bound.says) * SMALL * CHAR + 12
    if not any(stripe.lines.values()):
        found.append(Label(x=panel.x + panel.width / 2, y=panel.y + panel.height / 2 + 3, text=stripe.empty,
                           anchor="middle", size=SMALL + 1, role="dim"))
    if stripe.says and x + len(stripe.says) * SMALL * CHAR <= panel.x + panel.width:
        found.append(Label(x=panel.x + panel.width, y=panel.y - 4, text=stripe.says, anchor="end", size=SMALL))
    return found


def _held(row: Held, strip: Panel, y: float) -> list[Shape]:
    """Bars where a reason held: full height where it held all the time, low where it did at times."""
    role: Role = "fail" if row.grave else "series0"
    found: list[Shape] = []
    joined: list[list[float]] = []
    for begin, end, part in row.spans:
        if joined and abs(joined[-1][1] - begin) < 1e-6 and abs(joined[-1][2] - part) < 0.2:
            joined[-1][1] = end
        else:
            joined.append([begin, end, part])
    for begin, end, part in joined:
        left, right = strip.across(max(begin, strip.begin)), strip.across(min(end, strip.end))
        tall = 1.5 + 2.5 * part
        found.append(Box(x=round(left, 1), y=round(y + 13 - tall, 1), width=round(max(right - left, 0.6), 1),
                         height=round(tall, 1), fill=role, edge=None, hatched=row.grave))
    total = f", {row.total}" if row.total else ""
    found.append(Label(x=strip.x + 2, y=y + 7, text=f"{row.says}{total}", size=SMALL))
    return found


class Small(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the drawing of all GPUs."""

    title: str
    low: float
    high: float


def multiples(
    columns: Sequence[Small], rows: Sequence[tuple[str, str, Sequence[Segments]]], begin: float, end: float, *,
    caption: str, says: str,
) -> Figure:
    """All GPUs below each other, the quantities side by side; every panel of a column has the same axis. A row is a
    name, a second line below it, and its lines."""
    label, tall, gap = 74.0, 30.0, 8.0
    wide = (WIDTH - label - gap * len(columns)) / max(1, len(columns))
    top = 24.0
    shapes: list[Shape] = []
    spans = max(20, int(wide * 1.2))
    for place, column in enumerate(columns):
        x = label + place * (wide + gap)
        levels = ticks(column.low, column.high, 3)
        shapes.append(Label(x=x, y=9, text=column.title, size=SMALL + 0.5, strong=True))
        shapes.append(Label(x=x, y=19, text=f"{number_words(levels[0])} to {number_words(levels[-1])}", size=SMALL,
                            role="dim"))
        for number, (_, _, lines) in enumerate(rows):
            panel = Panel(x=x, y=top + number * (tall + gap), width=wide, height=tall, begin=begin, end=end,
                          low=levels[0], high=levels[-1])
            shapes += grid(panel, levels[1:-1], labels=False)
            if not lines[place]:
                shapes.append(Label(x=x + wide / 2, y=panel.y + tall / 2 + 3, text="not read", anchor="middle",
                                    size=SMALL, role="dim"))
            shapes += [panel.curve(points, "series0", 0.8)
                       for points in coarser(lines[place], begin, end, spans)]
    for number, (name, under, _) in enumerate(rows):
        y = top + number * (tall + gap)
        shapes.append(Label(x=0, y=y + 12, text=fitted(name, label - 4, 9), size=9, strong=True, room=label - 4))
        shapes.append(Label(x=0, y=y + 23, text=fitted(under, label - 4), size=SMALL, role="dim", room=label - 4))
    height = top + len(rows) * (tall + gap)
    return Figure(width=WIDTH, height=height, shapes=tuple(shapes), caption=caption, says=says)
