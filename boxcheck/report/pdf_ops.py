"""What a page of a PDF holds, before it is written: marks at places in points of 1/72 inch from the upper left corner.

Laying out gives these, writing takes them; the number of pages is known before the first is written, and the same
document gives the same marks.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from boxcheck.model import Outcome
from boxcheck.report.document import Role

Rgb: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]
Tag = Literal["H1", "H2", "H3", "P", "Div", "Figure", "Artifact"]
"""Structure types of ISO 32000-1, tables 333, 334 and 340; `Artifact`: no content, as a footer. Tables and lists are
`Div`, read row by row: fpdf2 nests no elements, and a `Table` must hold rows."""


class Text(msgspec.Struct, frozen=True, gc=False):
    x: float
    y: float
    """Of the base line."""
    text: str
    font: str
    size: float
    color: Rgb


class Area(msgspec.Struct, frozen=True, gc=False):
    """A rectangle, filled or not, with an edge or not."""

    x: float
    y: float
    width: float
    height: float
    fill: Rgb | None = None
    edge: Rgb | None = None
    edge_width: float = 0.6


class Path(msgspec.Struct, frozen=True):
    points: tuple[Point, ...]
    color: Rgb
    width: float = 0.6
    dash: bool = False


class Begin(msgspec.Struct, frozen=True, gc=False):
    """What follows up to `End` is one piece of content, for a reader that speaks it."""

    tag: Tag
    alt: str = ""


class End(msgspec.Struct, frozen=True, gc=False):
    pass


class Entry(msgspec.Struct, frozen=True, gc=False):
    """Of the outline beside the pages: a heading that starts at `y`."""

    level: int
    title: str
    y: float


Op: TypeAlias = Text | Area | Path | Begin | End | Entry

COLORS: dict[Role, Rgb] = {
    "ink": (17, 17, 17), "dim": (85, 85, 85), "grid": (205, 205, 205), "paper": (255, 255, 255),
    "ok": (20, 100, 60), "marginal": (134, 84, 0), "fail": (168, 0, 32), "unknown": (88, 66, 140),
    # Okabe and Ito's colours, darkened for white paper; each is at least 3:1 against it.
    "series0": (0, 90, 158), "series1": (184, 84, 0), "series2": (0, 124, 90), "series3": (162, 74, 126),
    "series4": (38, 38, 38), "series5": (38, 138, 190), "series6": (142, 120, 0), "series7": (120, 68, 32),
    # One hue, lighter to darker: in grey they keep their order, and ink on the darkest is 7:1.
    "heat0": (247, 251, 255), "heat1": (229, 240, 250), "heat2": (210, 227, 243), "heat3": (190, 214, 236),
    "heat4": (170, 201, 229), "heat5": (150, 188, 221), "heat6": (130, 175, 213), "heat7": (112, 163, 205),
}

OF_OUTCOME: dict[Outcome, Role] = {
    Outcome.PASS: "ok", Outcome.MARGINAL: "marginal", Outcome.FAIL: "fail", Outcome.UNKNOWN: "unknown",
    Outcome.SKIP: "dim",
}


def stripes(x: float, y: float, width: float, height: float, apart: float, falling: bool = False) -> list[
        tuple[Point, Point]]:
    """Slanted lines inside a rectangle, `apart` points from each other along its upper edge."""
    found: list[tuple[Point, Point]] = []
    offset = apart / 2
    while offset < width + height and len(found) < 4000:
        start = (min(offset, width), max(0.0, offset - width))
        end = (max(0.0, offset - height), min(offset, height))
        if falling:
            start, end = (width - start[0], start[1]), (width - end[0], end[1])
        if start != end:
            found.append(((x + start[0], y + start[1]), (x + end[0], y + end[1])))
        offset += apart
    return found


def pattern(outcome: Outcome, x: float, y: float, width: float, height: float, apart: float = 4.0) -> list[Op]:
    """A block in an outcome's colour and pattern, told apart without colours: pass is solid, marginal striped one
    way, fail both ways, unknown in bars, what was skipped empty."""
    color = COLORS[OF_OUTCOME[outcome]]
    if outcome is Outcome.PASS:
        return [Area(x, y, width, height, fill=color)]
    ops: list[Op] = [Area(x, y, width, height, edge=color)]
    line = max(0.6, apart / 4)
    x, y, width, height = x + line / 2, y + line / 2, width - line, height - line  # ends of lines stay inside the edge
    if outcome in (Outcome.MARGINAL, Outcome.FAIL):
        lines = stripes(x, y, width, height, apart)
        if outcome is Outcome.FAIL:
            lines += stripes(x, y, width, height, apart, falling=True)
        ops += [Path(ends, color, line) for ends in lines]
    elif outcome is Outcome.UNKNOWN:
        at = apart / 2
        while at < height:
            ops.append(Path(((x, y + at), (x + width, y + at)), color, line))
            at += apart
    return ops
