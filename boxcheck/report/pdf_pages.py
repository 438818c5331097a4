"""Pages as they fill from top to bottom: where the next mark goes, and when a page is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from boxcheck.report.document import Role, Words
from boxcheck.report.pdf_faces import Face, Faces, scale
from boxcheck.report.pdf_ops import COLORS, Begin, End, Op, Rgb, Tag, Text
from boxcheck.report.pdf_wrap import Line, wrap

Paper = Literal["a4", "letter"]

SIZES: dict[Paper, tuple[float, float]] = {"a4": (595.28, 841.89), "letter": (612.0, 792.0)}
"""ISO 216; ANSI/ASME Y14.1."""

SIDE = 48.0
TOP = 48.0
BOTTOM = 58.0
"""Margins; the footer stands in the lower one."""
LEADING = 1.38
"""From base line to base line, of the size."""
ASCENT = 0.98
"""From the top of a line to its base line, of the size."""


class Pages:
    def __init__(self, paper: Paper, faces: Faces) -> None:
        self.faces = faces
        self.paper_width, self.paper_height = SIZES[paper]
        self.left = SIDE
        self.width = self.paper_width - 2 * SIDE
        self.top = TOP
        self.floor = self.paper_height - BOTTOM
        self.pages: list[list[Op]] = [[]]
        self.y = self.top
        self._open: Begin | None = None

    @property
    def height(self) -> float:
        """Of what a page has room for."""
        return self.floor - self.top

    @property
    def room(self) -> float:
        return self.floor - self.y

    @property
    def is_fresh(self) -> bool:
        return self.y == self.top

    def put(self, *ops: Op) -> None:
        self.pages[-1] += ops

    def turn(self) -> None:
        """A new page. What is open is closed on this page and opened on the next."""
        if self._open is not None:
            self.put(End())
        self.pages.append([])
        self.y = self.top
        if self._open is not None:
            self.put(Begin(self._open.tag))

    def need(self, height: float) -> bool:
        """Turns the page unless `height` fits on it, or nothing stands on it; whether it was turned."""
        if height <= self.room or self.is_fresh:
            return False
        self.turn()
        return True

    def skip(self, height: float) -> None:
        """White between blocks; none at the top of a page."""
        if not self.is_fresh:
            self.y = min(self.y + height, self.floor)

    @contextmanager
    def content(self, tag: Tag, alt: str = "") -> Iterator[None]:
        """What is put within it is one piece of content."""
        self._open = Begin(tag, alt)
        self.put(self._open)
        yield
        self._open = None
        self.put(End())

    def lines(self, words: Words, size: float, *, face: Face = "regular", role: Role = "ink", indent: float = 0.0,
              width: float | None = None) -> None:
        """Text in lines from here on, over as many pages as it takes."""
        room = (self.width if width is None else width) - indent
        for line in wrap(self.faces, words, room / size, face, role):
            self.need(size * LEADING)
            self.put(*line_ops(line, self.left + indent, self.y + size * ASCENT, size))
            self.y += size * LEADING


def line_ops(line: Line, x: float, y: float, size: float, color: Rgb | None = None) -> Iterator[Text]:
    """A line from `x` on, on the base line `y`; all of it in `color`, or each piece in that of its role."""
    for piece in line.pieces:
        for font, text, width in piece.runs:
            yield Text(x, y, text, font, size * scale(piece.face), color or COLORS[piece.role])
            x += width * size
