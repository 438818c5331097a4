"""One quantity over time, for plots: values as they were read, or lows and highs of stretches of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from boxcheck.model import Unread
from boxcheck.store.blocks import column_of
from boxcheck.store.cells import SampleHead
from boxcheck.store.reader import RunReader
from boxcheck.store.rebuild import Rows, Stream, value_of
from boxcheck.store.texts import decode_plain


class Series(msgspec.Struct, frozen=True):
    """Points in the order of time. What the device did not have at a time has no point there."""

    seconds: list[float]
    """Since the run began."""
    values: list[float | Unread]


class Stretch(msgspec.Struct, frozen=True):
    """What was read between two moments, the first of them included."""

    begin: float
    end: float
    low: float | None
    """None where nothing was read: a gap is a gap, not the value before it."""
    high: float | None
    read: int
    unread: int


def several_of(run: RunReader, subject: str, fields: Sequence[str]) -> dict[str, Series]:
    """Columns of the readings of a GPU by their names, all in one pass; those that it never had are left out."""
    points: dict[str, list[tuple[int, int, float | Unread]]] = {}
    wanted = frozenset(fields)
    for minute in run.database.records(("gpu",), None, subject, only=lambda one: not wanted.isdisjoint(one.columns)):
        for rows in minute:
            for place, name in enumerate(rows.stream.columns):
                if name in wanted:
                    _add(run, points.setdefault(name, []), rows, place, name)
    return {name: _series(some) for name, some in points.items()}


class Rate(msgspec.Struct, frozen=True):
    """Which samples a rate is of."""

    what: str
    """`Sample.what`."""
    together: bool
    """Whether others did the same at the time (a note of theirs): another rate than alone."""
    unit: str


def rates_by_kind(run: RunReader, gpu: str) -> dict[Rate, Series]:
    """The values of all samples of a device by their kind, in the order in which the kinds began. Nothing else of the
    samples is put together: a day has two million of them."""
    heads: dict[str, SampleHead] = {}

    def is_of(stream: Stream) -> bool:
        if "value" not in stream.columns:
            return False
        with run.guarded("samples"):
            head = heads[stream.subject] = decode_plain(stream.subject, SampleHead)
        return bool(head.gpu == gpu)

    points: dict[Rate, list[tuple[int, int, float | Unread]]] = {}
    for minute in run.database.records(("sample",), only=is_of):
        for rows in minute:
            head, columns = heads[rows.stream.subject], rows.stream.columns
            place = columns.index("value")
            if "notes/together" not in columns:
                kind = Rate(head.what, head.notes.get("together") == "yes", head.unit)
                _add(run, points.setdefault(kind, []), rows, place, head.what)
                continue
            with run.guarded(head.what):
                told = column_of(rows.column(columns.index("notes/together")), len(rows.numbers))
            some: list[tuple[int, int, float | Unread]] = []
            _add(run, some, rows, place, head.what)
            for word, point in zip(told, some, strict=True):
                points.setdefault(Rate(head.what, word == '"yes"', head.unit), []).append(point)
    found = {kind: _series(some) for kind, some in points.items()}
    return dict(sorted(found.items(), key=lambda one: one[1].seconds[0]))


def _add(
    run: RunReader, points: list[tuple[int, int, float | Unread]], rows: Rows, place: int, name: str
) -> None:
    with run.guarded(name):
        column = column_of(rows.column(place), len(rows.numbers))
        points += zip(rows.numbers, rows.ats_ms, map(_point, column), strict=True)


def _series(points: list[tuple[int, int, float | Unread]]) -> Series:
    points.sort(key=lambda one: one[0])
    return Series([at_ms / 1000 for _, at_ms, _ in points], [value for _, _, value in points])


def _point(cell: Any) -> float | Unread:
    if isinstance(cell, str):
        unread: Unread = value_of(cell, Unread)
        return unread
    return float(cell)


def stretches(series: Series, number: int, begin: float | None = None, end: float | None = None) -> list[Stretch]:
    """The series in so many stretches of equal length, each with its lowest and highest value: no peak is lost."""
    if number < 1:
        raise ValueError("at least one stretch")
    first = begin if begin is not None else (series.seconds[0] if series.seconds else 0.0)
    last = end if end is not None else (series.seconds[-1] if series.seconds else first)
    step = max((last - first) / number, 1e-9)
    parts: list[list[float | Unread]] = [[] for _ in range(number)]
    for seconds, value in zip(series.seconds, series.values, strict=True):
        if first <= seconds <= last:
            parts[min(int((seconds - first) / step), number - 1)].append(value)
    return [_stretch(first + place * step, first + (place + 1) * step, part) for place, part in enumerate(parts)]


def _stretch(begin: float, end: float, values: Sequence[float | Unread]) -> Stretch:
    read = list(_read(values))
    return Stretch(
        begin, end, min(read, default=None), max(read, default=None), len(read), len(values) - len(read))


def _read(values: Sequence[float | Unread]) -> Iterator[float]:
    for value in values:
        if not isinstance(value, Unread):
            yield value
