"""Matrices of transfers beside what the profile asks of them, and where it asks nothing, beside what the rest of the
box measured. A mark, not a colour alone, stands at what is less.

A profile can only ask what somebody measured before on such a box, and many ask nothing of copies between GPUs. The one
slow pair must be seen there too, so the median of the matrix stands below its head, under that name: it is no
expectation, and nobody promised it. What is farther from it than a tenth is marked, the worst is told in words with its
ratio, and nothing is judged by it: it colours no verdict, no finding comes of it, and where half of a matrix is slow it
shows nothing. Whether that is a fault, findings say (`p2p.*`), which know which ways are shared.
"""

from __future__ import annotations

from statistics import median

import msgspec
from rich.cells import cell_len

from boxcheck.engine.progress import expected
from boxcheck.profile import Profile
from boxcheck.registry import LIMITS
from boxcheck.report.matrices import MAIN, NOT_RUN, TITLES, Matrix, lines
from boxcheck.tui.look import padded

LESS, APART = "<", "*"
EXPECTED, MEDIAN = "expected", "median"
HEADS = (EXPECTED, MEDIAN)
"""Names of rows that are below the head of a matrix."""
COPIES = {"to GPU": "copy.host-to-device.pinned", "from GPU": "copy.device-to-host.pinned"}
APART_FROM = 0.9
"""Of the median; of a time, the other way round. Pairs of one kind differ by one to three parts of a hundred."""
LEAST_PAIRS, LEAST_GPUS = 6, 4
"""Measured ones that a median is made of: with fewer it is the slow one's as much as the others'."""


def beside(matrix: Matrix, want: Profile) -> Matrix:
    """The matrix with a row of what is expected below its head, else of the median, and marks."""
    wanted = tuple(_of(matrix, column, want) for column in matrix.columns)
    if all(value is None for value in wanted):
        return _beside_median(matrix)
    head = tuple("-" if value is None else f"{value:.1f}" for value in wanted)
    cells = tuple(
        tuple(_marked(row, cell, value) for cell, value in zip(line, wanted, strict=True))
        for row, line in zip(matrix.rows, matrix.cells, strict=True))
    return msgspec.structs.replace(matrix, rows=(EXPECTED, *matrix.rows), cells=(head, *cells))


def one_way(want: Profile) -> float | None:
    """GB/s that the profile asks of a copy from GPU to GPU that runs alone."""
    limit = want.limit("p2p.one_way_gbs") if "p2p.one_way_gbs" in LIMITS else None
    bound = None if limit is None else limit.must if limit.should is None else limit.should
    return float(bound) if isinstance(bound, (int, float)) else None


def notes_of(matrix: Matrix) -> list[str]:
    """What the marks of this module mean that are in it, and how far the worst is from the median."""
    found = []
    if any(cell.endswith(LESS) for row in matrix.cells for cell in row):
        found.append(f"{LESS} less than expected")
    if matrix.rows and matrix.rows[0] == MEDIAN and (worst := _worst(matrix)) is not None:
        found.append(worst)
    return found


DIRECTIONS = {
    "one way, a kernel of the source writes": "row writes to column", "one way, the source's": "row writes to column",
    "one way": "column reads from row", "both ways": "row sends to column, and column to row meanwhile",
    "each to the next": "row writes to column", "all to all at once, read": "column reads from row",
    "one to all": "row writes to column", "all": "row writes to column", "by way of": "from row to column",
    "latency of a load": "row reads from column", "latency": "from row to column and back"}
"""By how titles of `report.matrices.TITLES` begin, the longer first: rows are sources and columns targets, but for
loads, which the row's GPU makes."""


def direction(matrix: Matrix) -> str:
    """Who of row and column moves the data; empty where they are not both GPUs."""
    if not matrix.title.startswith(tuple(TITLES.values())):
        return ""
    return next((says for begin, says in DIRECTIONS.items() if matrix.title.startswith(begin)), "")


def lined(matrix: Matrix) -> Matrix:
    """The same with spaces behind cells, so that points stand in one line in each column."""
    after = [[_after_point(row[at]) for row in matrix.cells] for at in range(len(matrix.columns))]
    most = [max((one for one in column if one is not None), default=0) for column in after]
    cells = tuple(
        tuple(
            cell if (behind := after[at][line]) is None else cell + " " * (most[at] - behind)
            for at, cell in enumerate(row))
        for line, row in enumerate(matrix.cells))
    return msgspec.structs.replace(matrix, cells=cells)


def table(matrix: Matrix, width: int) -> list[str]:
    """Its title and its lines; names of rows are measured in columns of the terminal."""
    label = max((len(row) for row in matrix.rows), default=0)
    wide = max((cell_len(row) for row in matrix.rows), default=0)
    whole = all(cell_len(row) == len(row) for row in matrix.rows)
    found = lines(lined(matrix), width if whole else width - max(0, wide - label))
    if whole:
        return found
    names = {row.ljust(label): padded(row, wide) for row in matrix.rows} | {" " * label: " " * wide}
    return [found[0], *(
        names[line[:label]] + line[label:] if line[:label] in names else line for line in found[1:])]


def _after_point(cell: str) -> int | None:
    """Characters behind where the point of a number is, marks and the point itself included; None for no number."""
    return len(cell) - len(cell.partition(".")[0]) if cell[:1].isdigit() else None


def _beside_median(matrix: Matrix) -> Matrix:
    """As it is where too little was measured. Of pairs of GPUs all cells are of one kind; of copies between host and
    GPUs, each column. Rows of collective operations are not."""
    columns = [[value for row in matrix.cells if (value := _value(row[at])) is not None]
               for at in range(len(matrix.columns))]
    if matrix.title.startswith(tuple(TITLES.values())):
        every = [value for column in columns for value in column]
        middles = [median(every) if len(every) >= LEAST_PAIRS else None] * len(columns)
    elif matrix.title.startswith("host and GPU"):
        middles = [median(column) if len(column) >= LEAST_GPUS else None for column in columns]
    else:
        return matrix
    if all(one is None for one in middles):
        return matrix
    head = tuple("-" if one is None else f"{one:.{1 if one >= 10 else 2}f}" for one in middles)
    cells = tuple(
        tuple(_apart(cell, one, _is_time(matrix)) for cell, one in zip(row, middles, strict=True))
        for row in matrix.cells)
    return msgspec.structs.replace(matrix, rows=(MEDIAN, *matrix.rows), cells=(head, *cells))


def _is_time(matrix: Matrix) -> bool:
    return matrix.title.startswith("latency")


def _apart(cell: str, middle: float | None, is_time: bool) -> str:
    value = _value(cell)
    if value is None or middle is None or cell.endswith("!"):  # that is graver, and stands there already
        return cell
    return f"{cell}{APART}" if (value * APART_FROM > middle if is_time else value < APART_FROM * middle) else cell


def _worst(matrix: Matrix) -> str | None:
    """None where none is marked."""
    middles = [_value(cell) for cell in matrix.cells[0]]
    marked = [
        (value / middle, f"{row} > {column}" if matrix.title.startswith(tuple(TITLES.values())) else f"{row} {column}")
        for row, line in zip(matrix.rows, matrix.cells, strict=True)
        for column, cell, middle in zip(matrix.columns, line, middles, strict=True)
        if cell.endswith(APART) and middle and (value := _value(cell)) is not None]
    if not marked:
        return None
    ratio, where = max(marked) if _is_time(matrix) else min(marked)
    return (f"{APART} more than a tenth from the median; farthest: {where}, {100 * ratio:.0f} % of it. The profile "
            "asks nothing here, and nothing is judged by it")


def _value(cell: str) -> float | None:
    """None for what is no measurement: not run, no access, the place of a GPU beside itself."""
    try:
        return None if cell == NOT_RUN else float(cell.rstrip(f"{LESS}{APART}!"))
    except ValueError:
        return None


def _of(matrix: Matrix, column: str, want: Profile) -> float | None:
    """GB/s that the profile asks of a column; None where it asks nothing."""
    if matrix.title.startswith(TITLES[MAIN]):
        return one_way(want)
    if "pinned memory" in matrix.title and "all GPUs at once" not in matrix.title and column in COPIES:
        return expected(COPIES[column], want)
    if column == "bus" and "bus bandwidth" in matrix.title and "host" not in matrix.title:
        return expected("collective.all-reduce", want)
    return None


def _marked(row: str, cell: str, wanted: float | None) -> str:
    if wanted is None or (row in ("all-gather", "reduce-scatter") or row.startswith("zero3")):
        return cell
    try:
        return f"{cell}{LESS}" if float(cell) < wanted else cell
    except ValueError:  # not run, no access, wrong data
        return cell
