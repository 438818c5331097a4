"""Matrices of transfers beside what the profile asks of them. A mark, not a colour alone, stands at what is less."""

from __future__ import annotations

import msgspec

from boxcheck.engine.progress import expected
from boxcheck.profile import Profile
from boxcheck.registry import LIMITS
from boxcheck.report.matrices import MAIN, TITLES, Matrix

LESS = "<"
EXPECTED = "expected"
COPIES = {"to GPU": "copy.host-to-device.pinned", "from GPU": "copy.device-to-host.pinned"}


def beside(matrix: Matrix, want: Profile) -> Matrix:
    """The matrix with a row of what is expected below its head, and marks; as it is where nothing is asked."""
    wanted = tuple(_of(matrix, column, want) for column in matrix.columns)
    if all(value is None for value in wanted):
        return matrix
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


def has_less(matrix: Matrix) -> bool:
    return any(cell.endswith(LESS) for row in matrix.cells for cell in row)


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
