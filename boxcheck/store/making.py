"""Rows as they are written: numbered, summed, and the important ones kept for a second copy."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import msgspec

from boxcheck.store.blocks import Stored
from boxcheck.store.cells import Record, text_of
from boxcheck.store.clocks import Timeline
from boxcheck.store.folding import Tailed
from boxcheck.store.pending import ANY_BYTES, OTHER_BYTES, Entry
from boxcheck.store.schema import (
    COPIED,
    COPIES,
    META,
    SESSIONS,
    STREAMS,
    TABLES,
    TAIL,
    WORDS,
    Table,
    Value,
    summed,
)

MOST_WORDS = 20_000
"""Texts that are numbered; more are kept where they stand, so that nothing grows without bound."""
_pack = msgspec.msgpack.Encoder().encode


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rows of a session begin."""

    session: int = 1
    numbers: Mapping[str, int] = {}
    """The last that is used, by table."""
    counts: Mapping[str, int] = {}
    """Rows that there are, by table."""
    rows: Sequence[tuple[str, tuple[Value, ...]]] = ()
    """Those that the session has begun with, by table."""


def opening_rows(
    session: int, timeline: Timeline, boot: str, version: str, meta: Mapping[str, object]
) -> list[tuple[Table, tuple[Value, ...]]]:
    """Rows that a session begins with."""
    began = (session, boot, os.getpid(), version, timeline.monotonic_ms, timeline.at_ms, timeline.wall_ms)
    return [(SESSIONS, summed(SESSIONS, began)), *(
        (META, summed(META, (number, key, text_of(value)))) for number, (key, value) in enumerate(meta.items(), 1))]


class RowMaker:
    """Numbers rows of all tables."""

    def __init__(self, beginning: Beginning) -> None:
        self._numbers = {name: count(beginning.numbers.get(name, 0) + 1) for name in TABLES}
        self.counts = dict.fromkeys(TABLES, 0) | dict(beginning.counts)
        self._to_copy = list(beginning.rows)

    def next_number(self, table: Table) -> int:
        return next(self._numbers[table.name])

    def row(self, table: Table, values: tuple[Value, ...], room: int = OTHER_BYTES) -> Entry:
        whole = summed(table, (self.next_number(table), *map(_plain, values)))
        self.counts[table.name] += 1
        if table.name in COPIED:
            self._to_copy.append((table.name, whole))
        return Entry(table, whole, durable=True, room=room)

    @property
    def has_new(self) -> bool:
        """Whether there are rows that were not copied."""
        return bool(self._to_copy)

    def copies(self) -> list[Entry]:
        """A row that holds those once more that much hangs on, on another page; nothing where there are no new ones."""
        rows, self._to_copy = self._to_copy, []
        return [self.row(COPIES, (zlib.compress(_pack(rows), 6),))] if rows else []


def _plain(value: Value) -> Value:
    """As SQLite gives it back: it knows neither NaN nor a negative zero, and UTF-8 no lone surrogate."""
    if isinstance(value, float):
        return None if value != value else value + 0.0
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value


class RecordMaker:
    """Makes rows of `tail`, and those of `streams` and `words` that they refer to."""

    def __init__(self, rows: RowMaker, session: int, put: Callable[[Entry], object]) -> None:
        """`put` takes what is referred to, before anything that refers to it is given out."""
        self._rows, self._session, self._put = rows, session, put
        self._words: dict[str, int] = {}
        self._streams: dict[tuple[str, str, tuple[str, ...]], int] = {}

    def entry(self, phase: int, record: Record, at_ms: int, *, durable: bool, room: int) -> Entry:
        stream = self._stream(record)
        cells = [self._word(cell) if isinstance(cell, str) else cell for cell in record.cells]
        number = self._rows.next_number(TAIL)
        values = summed(TAIL, (number, phase, self._session, stream, at_ms, _pack(cells)))
        return Entry(TAIL, values, durable, room, Tailed(number, phase, self._session, stream, at_ms, cells))

    def _stream(self, record: Record) -> int:
        key = (record.kind, record.subject, record.columns)
        number = self._streams.get(key)
        if number is None:
            row = self._rows.row(STREAMS, (record.kind, record.subject, text_of(record.columns)), ANY_BYTES)
            self._put(row)
            number = self._streams[key] = int(row.values[0])  # type: ignore[arg-type]
        return number

    def _word(self, text: str) -> Stored:
        number = self._words.get(text)
        if number is None:
            if len(self._words) >= MOST_WORDS:
                return text
            row = self._rows.row(WORDS, (text,), ANY_BYTES)
            self._put(row)
            number = self._words[text] = int(row.values[0])  # type: ignore[arg-type]
        return [number]
