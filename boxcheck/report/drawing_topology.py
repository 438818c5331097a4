"""The ways to the GPUs as a drawing: root complex > port > slot > riser > switch > GPU, from left to right. Pure.

Each GPU is a row. A part that several GPUs hang on stands in the middle of their rows. A link that something was found
on has its word beside its colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from boxcheck.model import Outcome
from boxcheck.report.document import Box, Figure, Label, Line, Role, Shape
from boxcheck.report.drawing import SMALL, fitted

Kind = Literal["root", "port", "slot", "riser", "switch", "gpu"]
WIDTH = 510.0
ROW = 36.0
TALL = 27.0
WIDTHS: Mapping[Kind, float] = {"root": 66, "port": 52, "slot": 84, "riser": 50, "switch": 62, "gpu": 116}
TITLES: Mapping[Kind, str] = {
    "root": "root complex", "port": "port", "slot": "slot, link", "riser": "riser", "switch": "switch", "gpu": "GPU"}
ROLES: Mapping[Outcome, Role] = {
    Outcome.FAIL: "fail", Outcome.MARGINAL: "marginal", Outcome.UNKNOWN: "unknown", Outcome.PASS: "ok",
    Outcome.SKIP: "dim"}


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part on a way."""

    kind: Kind
    id: str
    """What is the same part for several GPUs has one."""
    name: str
    under: str = ""
    outcome: Outcome | None = None
    word: str = ""
    """Beside the outcome's colour: `FAIL`."""
    dashed: bool = False
    """Believed and not read: a riser by its label."""


Way = Sequence[Part]
"""From the root down to a GPU."""


def topology(ways: Sequence[Way], *, caption: str, says: str) -> Figure:
    columns = _columns(ways)
    rows = [{_place(part, at, len(way), columns): part for at, part in enumerate(way)} for way in ways]
    xs = _xs(columns)
    spots: dict[str, tuple[int, list[int]]] = {}
    parts: dict[str, Part] = {}
    for number, row in enumerate(rows):
        for place, part in row.items():
            spots.setdefault(part.id, (place, []))[1].append(number)
            parts[part.id] = part
    top = 16.0
    shapes: list[Shape] = []
    shown: set[str] = set()
    for place, kind in enumerate(columns):
        if kind not in shown or kind == "switch":
            shapes.append(Label(x=xs[place], y=9, text=TITLES[kind], size=SMALL, role="dim"))
        shown.add(kind)

    def middle(id: str) -> float:
        numbers = spots[id][1]
        return top + ROW * (min(numbers) + max(numbers)) / 2 + TALL / 2

    drawn: set[tuple[str, str]] = set()
    for row in rows:
        way = [row[place] for place in sorted(row)]
        for one, other in pairwise(way):
            if (one.id, other.id) in drawn:
                continue
            drawn.add((one.id, other.id))
            left, right = spots[one.id][0], spots[other.id][0]
            x, end = xs[left] + WIDTHS[columns[left]], xs[right]
            y, y_end = middle(one.id), middle(other.id)
            bend = x + 5
            points = ((x, y), (bend, y), (bend, y_end), (end, y_end)) if y != y_end else ((x, y), (end, y_end))
            found = next((part.outcome for part in (other, one) if part.kind == "slot" and part.outcome), None)
            bad = found not in (None, Outcome.PASS, Outcome.SKIP)
            shapes.append(Line(points=points, role=ROLES[found] if found and bad else "dim", width=1.6 if bad else 0.9,
                               dash=other.dashed))
    for id, part in parts.items():
        shapes += _box(part, xs[spots[id][0]], middle(id) - TALL / 2, WIDTHS[columns[spots[id][0]]])
    height = top + ROW * max(1, len(rows)) - (ROW - TALL) + 2
    return Figure(width=WIDTH, height=height, shapes=tuple(shapes), caption=caption, says=says)


def _columns(ways: Sequence[Way]) -> list[Kind]:
    """Kinds of the columns: those of the longest way, and between them what only shorter ones have."""
    longest = max(ways, key=len, default=())
    kinds: list[Kind] = [part.kind for part in longest]
    for kind in ("riser", "slot"):
        if kind not in kinds and any(part.kind == kind for way in ways for part in way):
            kinds.insert(kinds.index("port") + 1 if "port" in kinds else 0, kind)
    return kinds


def _place(part: Part, at: int, length: int, columns: Sequence[Kind]) -> int:
    """The column of a part: the last for a GPU, the first of its kind, for switches one after the other."""
    if part.kind == "gpu":
        return len(columns) - 1
    if part.kind != "switch":
        return columns.index(part.kind)
    places = [place for place, kind in enumerate(columns) if kind == "switch"]
    return min(places, key=lambda place: abs(place - at))


def _xs(columns: Sequence[Kind]) -> list[float]:
    used = sum(WIDTHS[kind] for kind in columns)
    gap = min(40.0, (WIDTH - used - 2) / max(1, len(columns) - 1)) if len(columns) > 1 else 0.0
    found, x = [], 1.0
    for kind in columns:
        found.append(x)
        x += WIDTHS[kind] + max(gap, 7.0)
    return found


def _box(part: Part, x: float, y: float, width: float) -> list[Shape]:
    bad = part.outcome not in (None, Outcome.PASS, Outcome.SKIP)
    edge: Role = ROLES[part.outcome] if bad and part.outcome is not None else "dim" if part.dashed else "ink"
    found: list[Shape] = [Box(x=x, y=round(y, 1), width=width, height=TALL, edge=edge, fill="paper")]
    if bad:
        found.append(Box(x=x, y=round(y, 1), width=4, height=TALL, edge=None, fill=edge, hatched=True))
    left = x + (7 if bad else 4)
    room = x + width - left - 2
    word = len(part.word) * SMALL * 0.66 + 3 if bad and part.word else 0.0
    found.append(Label(x=left, y=round(y + 11, 1), text=fitted(part.name, room - word, 8.5), size=8.5, strong=True,
                       room=room - word))
    if word:
        found.append(Label(x=x + width - 3, y=round(y + 11, 1), text=part.word, anchor="end", size=SMALL, role=edge,
                           strong=True))
    if part.under:
        whole = fitted(part.under, room) == part.under  # else without what stands in brackets, which tables have
        under = part.under if whole else part.under.partition(" (")[0]
        found.append(Label(x=left, y=round(y + 22, 1), text=fitted(under, room), size=SMALL, room=room,
                           role=edge if bad else "dim"))
    return found
