"""How fast the work of a run went, as courses: by columns of its store, each rate as a part of what is usual for its
kind.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from boxcheck.report.acceptance_thin import Thinned, numbers_in
from boxcheck.store.blocks import Constant
from boxcheck.store.reader import RunReader
from boxcheck.store.rebuild import Rows
from boxcheck.store.samples import Samples

OF_KIND = ("engine", "library", "kernel", "shape", "together", "side")
"""Notes by which one rate is another than that of the same name."""


class _Kind:
    """All rates of one kind of work, over all devices: what is usual is their median."""

    __slots__ = ("of", "values")

    def __init__(self) -> None:
        self.values = array("f")
        self.of: dict[str, Thinned] = {}


def rates_in(reader: RunReader, begin: float, end: float) -> tuple[dict[str, Thinned], int]:
    """By device: rates in percent of the median of their kind over all devices, one axis for all work. And the number
    of samples."""
    kinds: dict[tuple[Any, ...], _Kind] = {}
    made, number = Samples(), 0
    for minute in reader.database.records(("sample",)):
        for rows in minute:
            number += len(rows.numbers)
            with reader.guarded("samples"):
                _rate_rows(rows, made, kinds, begin, end)
    found: dict[str, Thinned] = {}
    for kind in kinds.values():
        usual = median(kind.values) if kind.values else 0.0
        if usual > 0:
            for key, line in kind.of.items():
                line.scaled(100.0 / usual, found.setdefault(key, Thinned(begin, end)))
    return found, number


def _rate_rows(
    rows: Rows, made: Samples, kinds: dict[tuple[Any, ...], _Kind], begin: float, end: float
) -> None:
    head = made.head(rows.stream)
    columns = rows.stream.columns
    if head.unit in ("us", "") or "value" not in columns or head.what.endswith(".trial"):
        return
    if head.peer not in (None, "host"):  # how fast a pair is depends on both; matrices tell it
        return
    column = rows.column(columns.index("value"))
    values = [column.value] * len(rows.numbers) if isinstance(column, Constant) else column
    at, read = numbers_in([one / 1000 for one in rows.ats_ms], values)
    if not read:
        return
    known = (head.what, head.unit, *(head.notes.get(name) for name in OF_KIND))
    for place, some, when in _sizes(rows, columns, at, read):
        kind = kinds.setdefault((*known, place), _Kind())
        kind.values.extend(some)
        kind.of.setdefault(head.gpu, Thinned(begin, end)).add(when, some)


def _sizes(
    rows: Rows, columns: Sequence[str], times: Sequence[float], values: Sequence[float]
) -> Iterator[tuple[Any, Sequence[float], Sequence[float]]]:
    """Values by the size of what was moved, since small pieces are slower."""
    place = columns.index("notes/bytes") if "notes/bytes" in columns else None
    column = Constant(None) if place is None else rows.column(place)
    if isinstance(column, Constant) or len(column) != len(values):
        yield column.value if isinstance(column, Constant) else None, values, times
        return
    cuts = [0, *(at for at, (one, other) in enumerate(pairwise(column), 1) if one != other), len(values)]
    for one, other in pairwise(cuts):
        yield column[one], values[one:other], times[one:other]
