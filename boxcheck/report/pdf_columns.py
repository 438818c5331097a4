"""How wide the columns of a table are: as the document shares them out, mended so that words are whole and rows low."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import msgspec

from boxcheck.model import Outcome
from boxcheck.report.document import Cell, Row, Table
from boxcheck.report.pdf_faces import Face, Faces
from boxcheck.report.pdf_wrap import lengths

SIZE = 8.0
SMALLEST = 5.5
"""Of the text: smaller where the longest words of all columns would not stand beside each other otherwise."""
SMALLER = 7.0
"""Of the text, no smaller where that lets each row stand in one line."""
PAD = 4.0
"""Beside the text of a cell."""
MARK = 4.2
"""Width of the pattern at the left of a cell with an outcome."""
LONGEST_WORD = 26.0
"""At size 1; a longer one, as a hash, is broken."""
BREAKABLE = 10.5
"""At size 1; a longer one with marks to break it after, as the name of a check, may be broken there."""
SHORT = 104.0
"""A column whose longest line is no longer is not wrapped where that leaves the others the larger part of the width."""
SAMPLE = 48
"""Rows by which the widths are tried."""
STEPS = (48.0, 24.0, 12.0)
"""What one column gives to another, in points."""


class Grid(msgspec.Struct, frozen=True):
    lefts: tuple[float, ...]
    widths: tuple[float, ...]
    size: float


_Lengths = tuple[tuple[float, ...], ...]
"""Of a row: for each cell its lines, as long as they come."""


def face_of(row: Row, number: int, cell: Cell) -> Face:
    return "bold" if (row.head and number == 0) or cell.outcome is Outcome.FAIL else "regular"


def mark_width(cell: Cell) -> float:
    """What the pattern of its outcome takes from a cell's width."""
    return 0.0 if cell.outcome in (None, Outcome.SKIP) else MARK


def grid_of(faces: Faces, table: Table, left: float, width: float) -> Grid:
    """Widths of the columns, and a size of the text at which the longest word of each fits, if there is one."""
    least, wanted, rows = _needs(faces, table)
    size = SIZE
    while size > SMALLEST and sum(least) * size + 2 * PAD * len(least) > width:
        size -= 0.5
    room = width - 2 * PAD * len(least)
    if SMALLER * sum(wanted) <= room < SIZE * sum(wanted):
        size = room / sum(wanted)
    shares = [max(column.share, 0.05) for column in table.columns]
    lowest, full = [one * size for one in least], [one * size for one in wanted]
    own = _shared(room, lowest, full, shares)
    if sum(lowest) < room and any(one < want - 0.01 for one, want in zip(own, full, strict=True)):
        lines = [tuple(tuple(one * size for one in cell) for cell in row) for row in rows]
        own = min((_lower(begin, lowest, full, lines) for begin in (own, _by_text(room, lowest, lines))),
                  key=lambda widths: _lines(widths, lines))
    lefts: list[float] = []
    for one in own:
        lefts.append(left)
        left += one + 2 * PAD
    return Grid(tuple(lefts), tuple(one + 2 * PAD for one in own), size)


def _needs(faces: Faces, table: Table) -> tuple[list[float], list[float], list[_Lengths]]:
    """Of each column the longest word and the longest line, at size 1, and the lines of some rows; in a matrix alike
    for the columns of numbers."""
    count = len(table.columns)
    least, wanted = [1.0] * count, [1.0] * count
    shaded: set[int] = set()
    rows: list[_Lengths] = []
    every = max(1, len(table.rows) // SAMPLE)
    heads = Row(cells=tuple(Cell(words=column.head) for column in table.columns))
    for at, row in enumerate((heads, *table.rows)):
        found: list[tuple[float, ...]] = []
        for number, cell in enumerate(row.cells[:count]):
            word, lines = lengths(faces, cell.words, "bold" if row is heads else face_of(row, number, cell), BREAKABLE)
            mark = mark_width(cell) / SMALLEST
            lines = tuple(one + mark for one in lines)
            least[number] = max(least[number], min(word + mark, LONGEST_WORD))
            wanted[number] = max(wanted[number], *lines)
            found.append(lines)
            if cell.shade is not None:
                shaded.add(number)
        if at % every == 0:
            rows.append(tuple(found))
    for number in shaded:
        least[number] = max(least[other] for other in shaded)
        wanted[number] = max(wanted[other] for other in shaded)
    return least, wanted, rows


def _shared(room: float, least: list[float], wanted: list[float], shares: list[float]) -> list[float]:
    """`room` among the columns: to each its longest word, then by share up to its longest line, then by share."""
    if sum(least) > room:
        return [room * one / sum(least) for one in least]
    own = list(least)
    short = [want if want <= SHORT else one for one, want in zip(least, wanted, strict=True)]
    if sum(short) <= 0.7 * room or (all(want <= SHORT for want in wanted) and sum(short) <= room):
        own = short
    left = room - sum(own)
    growing = [number for number in range(len(own)) if wanted[number] > own[number]]
    while growing and left > 0.01:
        whole = sum(shares[number] for number in growing)
        step = min([left / whole, *((wanted[number] - own[number]) / shares[number] for number in growing)])
        for number in growing:
            own[number] += step * shares[number]
        left -= step * whole
        growing = [number for number in growing if wanted[number] > own[number] + 0.001]
    if left > 0.01:
        whole = sum(shares)
        own = [one + left * share / whole for one, share in zip(own, shares, strict=True)]
    return own


def _by_text(room: float, least: list[float], rows: Sequence[_Lengths]) -> list[float]:
    """`room` among the columns: to each its longest word, then by how much text stands in it."""
    much = [sum(sum(row[number]) for row in rows if number < len(row)) for number in range(len(least))]
    left = (room - sum(least)) / max(sum(much), 1e-9)
    return [one + left * text for one, text in zip(least, much, strict=True)]


def _lower(own: list[float], least: list[float], wanted: list[float], rows: Sequence[_Lengths]) -> list[float]:
    """Widths moved from column to column as long as that takes lines from the rows."""
    best = _lines(own, rows)
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for taker in range(len(own)):
                if own[taker] >= wanted[taker]:
                    continue
                for giver in range(len(own)):
                    if giver == taker or own[giver] - step < least[giver]:
                        continue
                    tried = list(own)
                    tried[taker] += step
                    tried[giver] -= step
                    lines = _lines(tried, rows)
                    if lines < best:
                        own, best, moved = tried, lines, True
    return own


def _lines(own: Sequence[float], rows: Sequence[_Lengths]) -> int:
    """How many lines the rows have: about, as words end before a line does."""
    return sum(
        max((sum(max(1, ceil(one * 1.04 / width) if one > width else 1) for one in cell)
             for cell, width in zip(row, own, strict=False)), default=1) for row in rows)
