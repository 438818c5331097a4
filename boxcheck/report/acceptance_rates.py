"""How fast the work of a run went, as courses: by columns of its store, each rate as a part of what is usual for its
kind.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from boxcheck.engine.figures import TELLS_APART
from boxcheck.report.acceptance_thin import Thinned, numbers_in
from boxcheck.store.blocks import Constant
from boxcheck.store.rebuild import Rows
from boxcheck.store.samples import Samples


class _Kind:
    """All rates of one kind of work, over all devices: what is usual is their median."""

    __slots__ = ("of", "values")

    def __init__(self) -> None:
        self.values = array("f")
        self.of: dict[str, Thinned] = {}


class Rates:
    """Takes samples as they are read."""

    def __init__(self, begin: float, end: float) -> None:
        self._begin, self._end = begin, end
        self._kinds: dict[tuple[Any, ...], _Kind] = {}
        self._made = Samples()

    def see(self, rows: Rows) -> None:
        _rate_rows(rows, self._made, self._kinds, self._begin, self._end)

    def result(self) -> dict[str, Thinned]:
        """By device: rates in percent of the median of their kind over all devices, one axis for all work."""
        found: dict[str, Thinned] = {}
        for kind in self._kinds.values():
            usual = median(kind.values) if kind.values else 0.0
            if usual > 0:
                for key, line in kind.of.items():
                    line.scaled(100.0 / usual, found.setdefault(key, Thinned(self._begin, self._end)))
        return found


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
    known = (head.what, head.unit, *(head.notes.get(name) for name in TELLS_APART))
    for size, some, when in _sizes(rows, columns, at, read):
        kind = kinds.setdefault((*known, size), _Kind())
        kind.values.extend(some)
        kind.of.setdefault(head.gpu, Thinned(begin, end)).add(when, some)


def _sizes(
    rows: Rows, columns: Sequence[str], times: Sequence[float], values: Sequence[float]
) -> Iterator[tuple[Any, Sequence[float], Sequence[float]]]:
    """Values by the numbers that tell one kind of work from another: a small piece is slower than a large one."""
    found = [rows.column(place) for place, name in enumerate(columns)
             if name.startswith("notes/") and name[6:] in TELLS_APART]
    same = tuple(one.value for one in found if isinstance(one, Constant))
    moving = [one for one in found if not isinstance(one, Constant) and len(one) == len(values)]
    if not moving:
        yield same, values, times
        return
    every = list(zip(*moving, strict=True))
    cuts = [0, *(at for at, (one, other) in enumerate(pairwise(every), 1) if one != other), len(values)]
    for one, other in pairwise(cuts):
        yield (*same, *every[one]), values[one:other], times[one:other]
