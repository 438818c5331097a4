"""Tables on pages: columns as wide as what stands in them needs, the head on each page, a row never on two pages
unless it is higher than one."""

from __future__ import annotations

import msgspec

from boxcheck.model import Outcome
from boxcheck.report.document import Cell, Role, Row, Table, Words
from boxcheck.report.pdf_columns import MARK, PAD, SIZE, Grid, face_of, grid_of, mark_width
from boxcheck.report.pdf_faces import Face, Faces
from boxcheck.report.pdf_ops import COLORS, OF_OUTCOME, Area, Op, Path, Rgb, pattern
from boxcheck.report.pdf_pages import ASCENT, LEADING, Pages, line_ops
from boxcheck.report.pdf_wrap import Line, wrap

PAD_ABOVE = 2.2
WHOLE, WHOLE_ROWS = 0.3, 20
"""A table of no more than this part of a page, and of no more rows, is not begun on one page and ended on the next."""
LEAST_ROWS = 3
"""Of a larger one, as many stand below its head before it goes on."""
FILLS: dict[Outcome, Rgb] = {
    Outcome.FAIL: (252, 232, 234), Outcome.MARGINAL: (252, 243, 222), Outcome.UNKNOWN: (240, 236, 248),
}
"""Behind the text: light, and nothing for what passed."""


class _Set(msgspec.Struct, frozen=True):
    """A row, set in lines."""

    cells: tuple[tuple[Line, ...], ...]
    height: float


def draw_table(pages: Pages, table: Table) -> None:
    grid = grid_of(pages.faces, table, pages.left, pages.width)
    head = _set(pages.faces, grid, tuple(column.head for column in table.columns), "bold")
    pages.need(_begins(pages, grid, table, head))
    with pages.content("Div"):
        if table.caption:
            pages.lines(table.caption, 9, face="bold")
            pages.y += 2
        if table.columns:
            _head(pages, grid, table, head)
        for row in table.rows:
            _row(pages, grid, table, row, head)
        if table.note:
            pages.y += 3
            pages.lines(table.note, 7.5, role="dim")


def least_height(pages: Pages, table: Table) -> float:
    """What must stand below a heading."""
    if len(table.rows) > WHOLE_ROWS:
        return 24 + 3 * SIZE * LEADING
    grid = grid_of(pages.faces, table, pages.left, pages.width)
    return _begins(pages, grid, table, _set(pages.faces, grid, tuple(column.head for column in table.columns), "bold"))


def _begins(pages: Pages, grid: Grid, table: Table, head: _Set) -> float:
    """Height of what stands together where a table begins: a small one whole, else caption, head and the first rows."""
    caption = wrap(pages.faces, table.caption, pages.width / 9, "bold") if table.caption else ()
    above = len(caption) * 9 * LEADING + 4 + head.height
    heights = [_set_row(pages.faces, grid, table, row).height for row in table.rows[:WHOLE_ROWS + 1]] or [0.0]
    whole = len(heights) <= WHOLE_ROWS and above + sum(heights) <= WHOLE * pages.height
    return min(above + (sum(heights) if whole else sum(heights[:LEAST_ROWS])), pages.height)


def _head(pages: Pages, grid: Grid, table: Table, head: _Set) -> None:
    pages.put(Area(pages.left, pages.y, pages.width, head.height, fill=(236, 236, 236)))
    _cells(pages, grid, table, head, None)
    pages.y += head.height
    pages.put(Path(((pages.left, pages.y), (pages.left + pages.width, pages.y)), COLORS["ink"], 0.9))


def _row(pages: Pages, grid: Grid, table: Table, row: Row, head: _Set) -> None:
    rest = _set_row(pages.faces, grid, table, row)
    if pages.need(rest.height):
        _head(pages, grid, table, head)
    while rest.height > pages.room:  # higher than a page: by lines
        fits = max(1, int((pages.room - 2 * PAD_ABOVE) / (grid.size * LEADING)))
        _one(pages, grid, table, _sized(grid, tuple(cell[:fits] for cell in rest.cells)), row)
        rest = _sized(grid, tuple(cell[fits:] for cell in rest.cells))
        if not any(rest.cells):
            return
        pages.turn()
        _head(pages, grid, table, head)
    _one(pages, grid, table, rest, row)


def _one(pages: Pages, grid: Grid, table: Table, lines: _Set, row: Row) -> None:
    _cells(pages, grid, table, lines, row)
    pages.y += lines.height
    pages.put(Path(((pages.left, pages.y), (pages.left + pages.width, pages.y)), COLORS["grid"], 0.5))


def _cells(pages: Pages, grid: Grid, table: Table, lines: _Set, row: Row | None) -> None:
    ops: list[Op] = []
    for number, (cell, left, width) in enumerate(zip(lines.cells, grid.lefts, grid.widths, strict=False)):
        source = row.cells[number] if row is not None and number < len(row.cells) else None
        if source is not None:
            ops += _ground(source, left, pages.y, width, lines.height)
        y = pages.y + PAD_ABOVE + grid.size * ASCENT
        for line in cell:
            at = left + PAD + (mark_width(source) if source is not None else 0.0)
            if table.columns[number].numeric:
                at = left + width - PAD - line.width * grid.size
            ops += line_ops(line, at, y, grid.size)
            y += grid.size * LEADING
    pages.put(*ops)


def _ground(cell: Cell, x: float, y: float, width: float, height: float) -> list[Op]:
    """What stands behind the text."""
    ops: list[Op] = []
    if cell.shade is not None:
        ops.append(Area(x + 0.4, y + 0.4, width - 0.8, height - 0.4, fill=COLORS[cell.shade]))
    if cell.outcome is not None:
        if cell.outcome in FILLS and cell.shade is None:
            ops.append(Area(x, y, width, height, fill=FILLS[cell.outcome]))
        if cell.outcome is not Outcome.SKIP:
            ops += pattern(cell.outcome, x + 0.4, y + 0.8, MARK - 0.6, height - 1.6, 2.4)
    return ops


def _set_row(faces: Faces, grid: Grid, table: Table, row: Row) -> _Set:
    return _sized(grid, tuple(
        _cell_lines(faces, grid, number, cell.words, face_of(row, number, cell), _role(cell), mark_width(cell))
        for number, cell in enumerate(row.cells[:len(table.columns)])))


def _set(faces: Faces, grid: Grid, cells: tuple[Words, ...], face: Face) -> _Set:
    return _sized(grid, tuple(
        _cell_lines(faces, grid, number, words, face, "ink") for number, words in enumerate(cells)))


def _cell_lines(faces: Faces, grid: Grid, number: int, words: Words, face: Face, role: Role,
                mark: float = 0.0) -> tuple[Line, ...]:
    return wrap(faces, words, (grid.widths[number] - 2 * PAD - mark) / grid.size + 1e-6, face, role)


def _sized(grid: Grid, cells: tuple[tuple[Line, ...], ...]) -> _Set:
    most = max((len(cell) for cell in cells), default=1)
    return _Set(cells, most * grid.size * LEADING + 2 * PAD_ABOVE)


def _role(cell: Cell) -> Role:
    if cell.outcome is None or cell.shade is not None:
        return "ink"
    return OF_OUTCOME[cell.outcome]
