"""Copies as matrices: who sent to whom, how fast, with shades from least to most and marks that work without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from boxcheck.model import Outcome
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import cell
from boxcheck.report.document import Block, Cell, Column, Fold, Heading, Paragraph, Row, Table
from boxcheck.report.drawing_heat import Scale, scale_of, value_of
from boxcheck.report.matrices import MAIN, NO_ACCESS, NOT_RUN, TITLES, Matrix

SLOW = 0.9
"""Of the median of its matrix: below it a cell has a mark of its own."""
SLOW_MARK = "▼"


def matrices(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="Copies and peers", anchor="matrices")
    found = [(one.phase.plan.name, matrix) for one in told.done for matrix in one.measured.matrices
             if any(value_of(text) is not None or text != NOT_RUN for row in matrix.cells for text in row)]
    # Of one device alone, one at a time and all at once are the same.
    found = list({(phase, one.title) if len(one.rows) == 1 else at: (phase, one)
                  for at, (phase, one) in enumerate(found)}.values())
    if not found:
        yield Paragraph(words="No copy between GPUs, or between GPU and host, was measured in this run.")
        return
    yield Paragraph(words=(
        "Rows send, columns receive, but for loads, which the row's GPU makes. Each number is the median of samples "
        "whose payload was compared and right. Shades go from the least, or half of the most, to the most; "
        f"{SLOW_MARK} is below {100 * SLOW:.0f} % of the median, of a latency above it by as much. Between GPUs both "
        "are of the whole matrix, else of a column, in which numbers are alike. ! is wrong data that arrived, "
        f"{NO_ACCESS} no peer access, {NOT_RUN} not run."))
    folded: list[Block] = []
    for phase, matrix in found:
        table = heat_table(matrix, phase, told)
        if _is_first(matrix):
            yield table
        else:
            folded.append(table)
    if folded:
        yield Fold(title=f"Other matrices: {len(folded)}", blocks=tuple(folded))


def _is_first(matrix: Matrix) -> bool:
    """What everybody wants to see: one way between GPUs, copies to and from the host, the ring."""
    return matrix.title.startswith((TITLES[MAIN], "host and", "ring over"))


def heat_table(matrix: Matrix, phase: str, told: Told) -> Table:
    # A column of a matrix with unlike columns (to the GPU, both ways; rates, sizes) has a scale of its own.
    square = tuple(row.partition(" ")[0] for row in matrix.rows) == matrix.columns
    latency = ", us;" in matrix.title
    whole = scale_of(matrix.cells)
    columns = [scale_of([[row[at]] for row in matrix.cells]) for at in range(len(matrix.columns))]
    rows = []
    for name, cells in zip(matrix.rows, matrix.cells, strict=True):
        told_cells = [
            _cell(text, whole if square else scale, _middle(matrix, at, square), latency)
            for at, (text, scale) in enumerate(zip(cells, columns, strict=True))]
        rows.append(Row(head=True, cells=(cell(name), *told_cells)))
    slots = told.slots
    return Table(
        caption=f"{phase}: {matrix.title}", rows=tuple(rows), columns=(
            Column(head="from" if square else "", share=1.5),
            *(Column(head=f"{slots[one]}" if one in slots else one, numeric=True) for one in matrix.columns)),
        note="; ".join(matrix.marks))


def _middle(matrix: Matrix, column: int, square: bool) -> float | None:
    some: Sequence[Sequence[str]] = matrix.cells if square else [[row[column]] for row in matrix.cells]
    values = [value for row in some for text in row if (value := value_of(text)) is not None]
    return median(values) if len(values) > 2 else None


def _cell(text: str, scale: Scale | None, middle: float | None, latency: bool) -> Cell:
    value = value_of(text)
    if value is None or scale is None:
        return Cell(words="·" if text == "." else text, outcome=Outcome.UNKNOWN if text == NOT_RUN else None)
    if text.endswith("!"):
        return Cell(words=text, outcome=Outcome.FAIL)
    slow = middle is not None and (value > middle / SLOW if latency else value < SLOW * middle)
    return Cell(words=f"{text} {SLOW_MARK}" if slow else text, shade=scale.shade(value))
