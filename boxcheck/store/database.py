"""Rows of a store, each proven by its checksum before anything is made of it."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from boxcheck.host.common import one_line
from boxcheck.store.blocks import (
    FOLD_BYTES,
    MIXED,
    MOST_RECORDS,
    Packed,
    are_whole,
    inflated,
    most_records,
    unpack_block,
    unpack_column,
)
from boxcheck.store.errors import StoreError, garbled
from boxcheck.store.opening import SALVAGE, Opened, unreadable
from boxcheck.store.rebuild import Rows, Stream
from boxcheck.store.rows import Moment, Session
from boxcheck.store.schema import BLOCKS, SESSIONS, STREAMS, TAIL, WORDS, Table, Value, holds
from boxcheck.store.texts import decode_plain, plain_line

_unpack = msgspec.msgpack.Decoder().decode


class Database:
    """A store that is read. Nothing here raises anything but StoreError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._opened = Opened(path)
        self._depth = 0
        self._sessions: dict[int, Session] = {}
        self._words: dict[int, str] = {}
        self._streams: dict[int, Stream] = {}
        self._ranges: dict[int, tuple[int, int]] = {}
        self._ranges_version: int | None = None

    def close(self) -> None:
        self._opened.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read within is of one moment, while a writer goes on. It keeps the writer from moving its log
        into the store, so it is for a short time."""
        self._depth += 1
        try:
            if self._depth == 1:
                self.execute("BEGIN")
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and self._opened.connection.in_transaction:
                self.execute("COMMIT")

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            # Now, not when the first row is asked for: BEGIN has none.
            cursor = self._opened.connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise unreadable(self.path, error) from None
        except UnicodeDecodeError:
            raise unreadable(self.path, garbled()) from None
        return self._fetched(cursor)

    def _fetched(self, cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
        try:
            for row in cursor:  # noqa: UP028  `yield from` would close the cursor, maybe after the connection
                yield row
        except sqlite3.Error as error:
            raise unreadable(self.path, error) from None
        except UnicodeDecodeError:
            raise unreadable(self.path, garbled()) from None

    def version(self) -> int:
        """Another number after each commit of a writer; within a snapshot the same."""
        ((found,),) = self.execute("PRAGMA data_version")
        return int(found)

    def rows(self, table: Table, where: str = "", parameters: Sequence[Value] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows without their sum, by number. StoreError at one that is not what was written."""
        before = 0
        for row in self.execute(f"{table.select} {where} ORDER BY id", parameters):
            # SQLite takes the order from the tree, in which whole pages may have changed places.
            if not holds(table, row) or row[0] <= before:
                raise self.damaged(f"row {row[0]} of {table.name} is not what was written")
            before = row[0]
            yield row[:-1]

    def damaged(self, says: str) -> StoreError:
        return StoreError("damaged", f"{one_line(self.path)} is damaged: {one_line(says)}", SALVAGE)

    def decoded(self, text: str | bytes | None, type: Any) -> Any:
        """A value from its JSON."""
        try:
            return None if text is None else decode_plain(text, type)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self.damaged(f"a value does not fit: {error}") from None

    def converted(self, value: Any, type: Any) -> Any:
        """A value that must be one of a few."""
        try:
            return msgspec.convert(value, type)
        except msgspec.ValidationError as error:
            raise self.damaged(f"a value does not fit: {error}") from None

    # Sessions and records.

    def sessions(self) -> tuple[Session, ...]:
        for row in self.rows(SESSIONS, "WHERE id > ?", (max(self._sessions, default=0),)):
            number, boot, pid, version, monotonic_ms, at_ms, wall_ms = row
            self._sessions[number] = Session(
                number=number, boot=plain_line(boot), pid=pid, version=plain_line(version),
                monotonic_seconds=monotonic_ms / 1000, began=moment(at_ms, wall_ms))
        return tuple(self._sessions.values())

    def streams(self) -> dict[int, Stream]:
        for number, kind, subject, columns in self.rows(
                STREAMS, "WHERE id > ?", (max(self._streams, default=0),)):
            self._streams[number] = Stream(
                number, kind, plain_line(subject), self.decoded(columns, tuple[str, ...]))
        return self._streams

    def records(
        self, kinds: Sequence[str], phase: int | None = None, subject: str | None = None, last: bool = False,
        only: Callable[[Stream], bool] = lambda stream: True,
    ) -> Iterator[list[Rows]]:
        """Records of streams of these kinds, about a minute at a time, in the order in which the minutes came. `phase`
        None: of all. `last`: only the last minute. `only`: of these streams; others are not unpacked."""
        with self.snapshot():
            self.sessions()
            wanted = {
                number for number, one in self.streams().items()
                if one.kind in kinds and subject in (None, one.subject) and only(one)}
            if not wanted:
                return
            self._read_words()
            marks = ", ".join(map(str, sorted(wanted)))
            where = f"WHERE stream IN ({marks})" + (" AND phase = ?" if phase is not None else "")
            parameters = () if phase is None else (phase,)
            low, high = (1, 0) if last else self._blocks_of(phase)
            if last:
                newest = f"{where} AND fold = (SELECT max(fold) FROM blocks {where})"
                blocks = self.rows(BLOCKS, newest, parameters * 2)
            elif phase is None:
                blocks = self.rows(BLOCKS, where)
            else:
                blocks = self.rows(BLOCKS, f"{where} AND id BETWEEN ? AND ?", (phase, low, high))
            # Of a session that was cut off, the last records stay in `tail` while later ones are folded.
            tail = deque(self.rows(TAIL, where, parameters))
            for fold, group in groupby(blocks, key=itemgetter(4)):
                yield from self._of_tail(tail, fold)
                yield self._of_minute(fold, group)
            yield from self._of_tail(tail, None)

    def _blocks_of(self, phase: int | None) -> tuple[int, int]:
        """The first and the last block of a phase. There is no index of phases, and a phase's blocks lie near each
        other; a writer may add some, which `version` tells. StoreError where there are more records in all than
        a store of this size has."""
        version = self.version()
        if version != self._ranges_version:
            found = list(self.execute("SELECT phase, min(id), max(id), total(rows) FROM blocks GROUP BY phase"))
            ((pages,),) = self.execute("PRAGMA page_count")
            if sum([records for _, _, _, records in found]) > most_records(pages):
                raise self.damaged("it has more records than there can be in a file of its size")
            self._ranges = {number: (first, last) for number, first, last, _ in found}
            self._ranges_version = version
        return self._ranges.get(phase, (1, 0)) if phase is not None else (1, 0)

    def count_records(self, kinds: Sequence[str], phase: int, *, proven: bool = True) -> int:
        """How many records of these kinds a phase has. Not `proven`: for who reads all of them anyway, which proves
        them."""
        with self.snapshot():
            wanted = {number for number, one in self.streams().items() if one.kind in kinds}
            if not proven:
                found = self.execute(
                    "SELECT stream, rows FROM blocks WHERE phase = ? AND id BETWEEN ? AND ? UNION ALL "
                    "SELECT stream, 1 FROM tail WHERE phase = ?", (phase, *self._blocks_of(phase), phase))
                return sum([rows for stream, rows in found if stream in wanted and isinstance(rows, int)])
            folded: int = sum(row[7] for row in self.rows(
                BLOCKS, "WHERE phase = ? AND id BETWEEN ? AND ?", (phase, *self._blocks_of(phase)))
                if row[3] in wanted)
            return folded + sum(1 for row in self.rows(TAIL, "WHERE phase = ?", (phase,)) if row[3] in wanted)

    def _of_minute(self, fold: int, blocks: Iterable[tuple[Any, ...]]) -> list[Rows]:
        """Records of blocks that were folded together. No more than a writer folds, however they are packed."""
        found, records, room = [], 0, FOLD_BYTES
        for row in blocks:
            records += row[7]
            if records > MOST_RECORDS:
                raise self.damaged(f"{records} records and more are in minute {fold}")
            plain = self._inflated(row, room)
            room -= len(plain)
            found.append(self._of_block(row, plain))
        return found

    def _inflated(self, row: tuple[Any, ...], most: int = FOLD_BYTES) -> bytes:
        try:
            return inflated(row[-1], most)
        except ValueError as error:
            raise self.damaged(f"block {row[0]}: {error}") from None

    def _of_block(self, row: tuple[Any, ...], plain: bytes | None = None) -> Rows:
        """`plain`: its data, where they are unpacked already."""
        number, phase, session, stream, _, _, _, count, _, _, _ = row
        if not 0 < count <= MOST_RECORDS:
            raise self.damaged(f"block {number} says that it has {count} records")
        try:
            constants, others = unpack_block(self._inflated(row) if plain is None else plain)
            order = [
                unpack_column(others[place], count) if place in others else [constants[place]] * count
                for place in (0, 1)]
            if not all(len(one) == count and are_whole(one) for one in order):
                raise ValueError(f"it has not {count} numbers and times")
        except (ValueError, IndexError) as error:
            raise self.damaged(f"block {number}: {error}") from None
        return self._made(
            phase, session, stream, order, constants[2:],
            {place - 2: column for place, column in others.items() if place > 1})

    def _of_tail(self, tail: deque[tuple[Any, ...]], before: int | None) -> Iterator[list[Rows]]:
        """Takes the records off that came before a number; all of them where there is none."""
        taken: dict[tuple[int, int, int], list[tuple[int, int, list[Any]]]] = {}
        while tail and (before is None or tail[0][0] < before):
            number, phase, session, stream, at_ms, data = tail.popleft()
            taken.setdefault((phase, session, stream), []).append((number, at_ms, self._unpacked(data)))
        if taken:
            yield [self._of_records(*key, records) for key, records in taken.items()]

    def _of_records(
        self, phase: int, session: int, stream: int, records: list[tuple[int, int, list[Any]]]
    ) -> Rows:
        if len({len(cells) for _, _, cells in records}) != 1:
            raise self.damaged(f"records of stream {stream} have several lengths")
        columns = [list(column) for column in zip(*(cells for _, _, cells in records), strict=True)]
        order = [[number for number, _, _ in records], [at_ms for _, at_ms, _ in records]]
        if len(records) == 1:
            return self._made(phase, session, stream, order, [column[0] for column in columns], {})
        return self._made(
            phase, session, stream, order, [None] * len(columns),
            {place: [MIXED, column] for place, column in enumerate(columns)})

    def _made(
        self, phase: int, session: int, stream: int, order: list[list[int]], constants: list[Any],
        others: dict[int, Packed],
    ) -> Rows:
        known, began = self._streams[stream], self._sessions.get(session)
        if began is None or len(constants) != len(known.columns):
            raise self.damaged(f"records of stream {stream} do not fit it")
        base = round(1000 * (began.monotonic_seconds - began.began.seconds))
        numbers, ats_ms = order
        if list in set(map(type, constants)):
            constants = [self._word(one[0]) if type(one) is list else one for one in constants]
        return Rows(known, phase, numbers, ats_ms, base, constants, others, self._words)

    def _read_words(self) -> None:
        """All texts. Of a store that is being written they grow; a snapshot has all that its records refer to."""
        self._words |= {key: text for key, text in self.rows(WORDS, "WHERE id > ?", (max(self._words, default=0),))}

    def _word(self, number: int) -> str:
        try:
            return self._words[number]
        except KeyError:
            raise self.damaged(f"text {number} is missing") from None

    def _unpacked(self, data: bytes) -> list[Any]:
        try:
            cells: list[Any] = _unpack(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self.damaged(f"a record: {error}") from None
        return cells


def moment(at_ms: int, wall_ms: int) -> Moment:
    return Moment(at_ms / 1000, wall_ms / 1000)
