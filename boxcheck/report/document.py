"""A report as a document: what HTML and PDF are both made of, so that they carry the same numbers and the same words.

A document says what is on the page and in which order; how it looks is the renderers' own. All text is plain: whatever
stands in it, markup, control characters or writing from right to left, a renderer shows it inert. Colours are roles, so
that light, dark and print differ, and no role stands alone: an outcome has its word beside it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from boxcheck.model import Outcome

Manner = Literal["plain", "strong", "code", "dim"]

Role = Literal[
    "ink", "dim", "grid", "paper", "ok", "marginal", "fail", "unknown",
    "series0", "series1", "series2", "series3", "series4", "series5", "series6", "series7",
    "heat0", "heat1", "heat2", "heat3", "heat4", "heat5", "heat6", "heat7",
]
"""`series0` to `series7`: lines of a plot, apart from each other for people who do not tell red from green; a plot with
more lines repeats them with another dash. `heat0` (least) to `heat7` (most): shades on which `ink` can be read."""


class Span(msgspec.Struct, frozen=True):
    text: str
    manner: Manner = "plain"


Words: TypeAlias = str | tuple[Span, ...]


class Heading(msgspec.Struct, frozen=True, kw_only=True, tag="heading"):
    level: Literal[1, 2, 3]
    text: str
    anchor: str
    """ASCII letters, digits and dashes; each once in a document."""


class Paragraph(msgspec.Struct, frozen=True, kw_only=True, tag="paragraph"):
    words: Words


class Items(msgspec.Struct, frozen=True, kw_only=True, tag="items"):
    items: tuple[Words, ...]
    ordered: bool = False


class VerdictWord(msgspec.Struct, frozen=True, kw_only=True, tag="verdict"):
    """The word of the cover, to be read from across the room."""

    word: str
    outcome: Outcome
    reason: str
    with_waivers: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True, tag="facts"):
    """Names and values, a line each."""

    rows: tuple[tuple[str, Words], ...]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    head: str
    numeric: bool = False
    """Numbers of one unit: set right, so that digits stand below each other."""
    share: float = 1.0
    """Of the width, against the others'."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    words: Words
    outcome: Outcome | None = None
    """Coloured by it; the word for it stands in the text."""
    shade: Role | None = None
    """`heat0` to `heat7`, in a matrix."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    cells: tuple[Cell, ...]
    head: bool = False
    """The first cell names the row."""


class Table(msgspec.Struct, frozen=True, kw_only=True, tag="table"):
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: Words = ""


class Line(msgspec.Struct, frozen=True, kw_only=True, tag="line"):
    """A line through points; each (x, y), from the drawing's upper left corner."""

    points: tuple[tuple[float, float], ...]
    role: Role = "ink"
    width: float = 1.0
    dash: bool = False


class Box(msgspec.Struct, frozen=True, kw_only=True, tag="box"):
    x: float
    y: float
    width: float
    height: float
    fill: Role | None = None
    edge: Role | None = "ink"
    hatched: bool = False
    """A pattern beside the colour, for print without colours."""


class Label(msgspec.Struct, frozen=True, kw_only=True, tag="label"):
    """One line of text; `y` is its base line."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    size: float = 9.0
    role: Role = "ink"
    strong: bool = False
    room: float = 0.0
    """What it may take, for a form whose letters are wider; 0 where nothing stands beside it."""


Shape: TypeAlias = Line | Box | Label


class Figure(msgspec.Struct, frozen=True, kw_only=True, tag="figure"):
    """A drawing, in points of 1/72 inch. `says` is for who does not see it: its numbers in a sentence or two."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    caption: str
    says: str


class Fold(msgspec.Struct, frozen=True, kw_only=True, tag="fold"):
    """Shown when it is opened; always open in print."""

    title: str
    blocks: tuple[Block, ...]


class NewPage(msgspec.Struct, frozen=True, kw_only=True, tag="new-page"):
    """In print; nothing on a screen."""


class SignatureLines(msgspec.Struct, frozen=True, kw_only=True, tag="signature-lines"):
    """Room for a pen."""

    roles: tuple[str, ...]
    """`Operator`, `Quality`."""


Block: TypeAlias = (
    Heading | Paragraph | Items | VerdictWord | Facts | Table | Figure | Fold | NewPage | SignatureLines)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    blocks: tuple[Block, ...]
    footer: str = ""
    """On every printed page, with its number: box, report id, hash."""
    language: str = "en"
