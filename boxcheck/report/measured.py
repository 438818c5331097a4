"""What a report shows of the samples of one module: rows and matrices. Made while the samples are there, kept when they
are not: a day has two million.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import msgspec

from boxcheck.report.matrices import MAKERS, Matrix, matrices
from boxcheck.report.stress_rates import Row, groups_of, row_of
from boxcheck.store.blocks import Column, Constant
from boxcheck.store.rebuild import Rows, Stream, values_of
from boxcheck.store.samples import Samples
from boxcheck.stress import StressResults
from boxcheck.stress.judging import Kind


class Measured(msgspec.Struct, frozen=True):
    """Of one module in one phase."""

    rows: Mapping[Kind, Row]
    matrices: tuple[Matrix, ...]


def measured_of(results: StressResults) -> Measured:
    return Measured(groups_of(results), tuple(matrices(results)))


class _Sum:
    __slots__ = ("checked", "first", "of", "samples", "unit", "values", "wrong")

    def __init__(self, first: tuple[int, int], unit: str, of: str) -> None:
        self.first, self.unit, self.of = first, unit, of
        """`first`: worker and number of the sample that came first."""
        self.values = array("d")
        self.samples = self.checked = self.wrong = 0


class ColumnRows:
    """What `measured_of` gives of a module without matrices, by the columns of a store and without a sample put
    together; a test holds both against each other. Of a module with matrices it passes everything on to that."""

    def __init__(self, module: str) -> None:
        self._by_samples = module in MAKERS
        self._heads = Samples()
        self._sums: dict[Kind, _Sum] = {}

    def wanted(self, stream: Stream) -> bool:
        """Whether samples of a stream are needed all the same: for a matrix, or for what crossed the links."""
        return self._by_samples or any(name.startswith("moved/") for name in stream.columns)

    def see(self, rows: Rows) -> None:
        """Takes records as they are read; those that are no samples are passed over."""
        if self._by_samples or rows.stream.kind != "sample":
            return
        head, count = self._heads.head(rows.stream), len(rows.numbers)
        first = (head.worker, min(rows.numbers))
        key = (head.what, head.gpu, None if head.peer == "host" else head.peer)
        known = self._sums.get(key)
        if known is None:
            known = self._sums[key] = _Sum(first, head.unit, head.of)
        known.first = min(known.first, first)
        known.samples += count
        known.checked += _total(_figure(rows, "checked", int), count)
        known.wrong += _total(_figure(rows, "wrong", int), count)
        values = _figure(rows, "value", float)
        known.values.extend([value for value in (
            [values.value] * count if isinstance(values, Constant) else values) if value is not None])

    def result(self, results: StressResults) -> Measured:
        """`results`: with the samples that were wanted."""
        if self._by_samples:
            return measured_of(results)
        found = {key: row_of(
            results.module, *key, unit=one.unit, of=one.of, samples=one.samples, checked=one.checked, wrong=one.wrong,
            values=sorted(one.values)) for key, one in sorted(self._sums.items(), key=lambda item: item[1].first)}
        return Measured(found, ())


def _figure(rows: Rows, name: str, type: Any) -> Column:
    """As `Samples.of` has it."""
    if name not in rows.stream.columns:
        return Constant(None)
    return values_of(rows.column(rows.stream.columns.index(name)), type, whole=type is int)


def _total(column: Column, count: int) -> int:
    return (column.value or 0) * count if isinstance(column, Constant) else sum(column)


def row_objects(measured: Measured) -> list[Mapping[str, Any]]:
    """As JSON: all samples of one name, device and peer in one object."""
    return [{
        "what": what, "gpu": gpu, "peer": peer, "unit": row.unit, "samples": row.samples, "best": row.best,
        "median": row.middle, "spread_percent": row.spread_percent, "checked": row.checked, "of": row.of,
        "wrong": row.wrong} for (what, gpu, peer), row in measured.rows.items()]
