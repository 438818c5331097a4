"""The tables of a store, and the checksum of each row. docs/reference/store.md describes them for people.

Rows are only ever added: what changes is a later row. Each ends with a checksum over the table's name and all that is
before, so that a row can be trusted, or found again in a damaged file, without the rest. The one exception is `tail`:
its rows are deleted when they have become part of a block.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import NoneType
from typing import TypeAlias

import msgspec

VERSION = 1
"""PRAGMA user_version. A store of a later version is not read."""
APPLICATION_ID = 0x62_6F_78_43
"""PRAGMA application_id: `boxC`."""
PAGE_BYTES = 4096
SUFFIX = ".sqlite"
BLOB_LIMIT = 64 << 20
"""No value of a store is longer, packed or unpacked."""

Value: TypeAlias = int | float | str | bytes | None


TYPES: Mapping[str, frozenset[type]] = {
    "INTEGER": frozenset((int,)), "REAL": frozenset((float,)), "TEXT": frozenset((str,)), "BLOB": frozenset((bytes,))}


class Table(msgspec.Struct, frozen=True, dict=True):
    name: str
    columns: tuple[tuple[str, str], ...]
    """Name and SQL type, without `id` before them and `sum` after them."""
    optional: frozenset[str] = frozenset()
    """Columns that may be NULL."""

    @cached_property
    def types(self) -> tuple[frozenset[type], ...]:
        """What a row may hold, `id` and `sum` included."""
        whole = (("id", "INTEGER"), *self.columns, ("sum", "INTEGER"))
        return tuple(TYPES[type] | ({NoneType} if name in self.optional else set()) for name, type in whole)

    @cached_property
    def seen(self) -> set[tuple[type, ...]]:
        """Types of whole rows that were found to be such as a row may hold."""
        return set()

    @cached_property
    def create(self) -> str:
        inner = ", ".join(f"{name} {type}" for name, type in self.columns)
        return f"CREATE TABLE {self.name} (id INTEGER PRIMARY KEY, {inner}, sum INTEGER)"

    @cached_property
    def insert(self) -> str:
        """IGNORE: a row whose commit failed late is written once more, and no row ever takes another's place."""
        return f"INSERT OR IGNORE INTO {self.name} VALUES ({', '.join('?' * (len(self.columns) + 2))})"

    @cached_property
    def select(self) -> str:
        return f"SELECT {', '.join(('id', *(name for name, _ in self.columns), 'sum'))} FROM {self.name}"


def _table(name: str, columns: str) -> Table:
    """`phase:INTEGER` and so on; INTEGER where no type is given, `?` where it may be NULL."""
    pairs = [column.rstrip("?").partition(":") for column in columns.split()]
    return Table(
        name, tuple((column, type or "INTEGER") for column, _, type in pairs),
        frozenset(column.partition(":")[0] for column in columns.split() if column.endswith("?")))


META = _table("meta", "key:TEXT value:TEXT")
SESSIONS = _table("sessions", "boot:TEXT pid version:TEXT monotonic_ms at_ms wall_ms")
PHASES = _table("phases", "phase name:TEXT module:TEXT devices:TEXT planned_seconds:REAL?")
MARKS = _table("marks", "phase session mark:TEXT at_ms wall_ms data:TEXT")
EVENTS = _table(
    "events", "phase session at_ms wall_ms kind:TEXT severity:TEXT subject:TEXT says:TEXT data:TEXT?")
WORDS = _table("words", "text:TEXT")
STREAMS = _table("streams", "kind:TEXT subject:TEXT columns:TEXT")
TAIL = _table("tail", "phase session stream at_ms data:BLOB")
BLOCKS = _table("blocks", "phase session stream fold first last rows began_ms ended_ms data:BLOB")
FINDINGS = _table("findings", "phase check_id:TEXT outcome:TEXT subject:TEXT says:TEXT data:TEXT")
ATTACHMENTS = _table("attachments", "name:TEXT media:TEXT at_ms wall_ms bytes data:BLOB")
ENDS = _table("ends", "session at_ms wall_ms state:TEXT outcome:TEXT? reason:TEXT data:TEXT verdict:TEXT?")
COPIES = _table("copies", "data:BLOB")
COPIED = ("meta", "sessions", "phases", "marks", "words", "streams")
"""Tables of few rows without which the others are worth little: each row is in `copies` as well, on another page."""

TABLES = {table.name: table for table in (
    META, SESSIONS, PHASES, MARKS, EVENTS, WORDS, STREAMS, TAIL, BLOCKS, FINDINGS, ATTACHMENTS, ENDS, COPIES)}

_pack = msgspec.msgpack.Encoder().encode


def row_sum(table: str, values: Sequence[Value]) -> int:
    """CRC-32 of the MessagePack array [table, id, column ...]."""
    return zlib.crc32(_pack((table, *values)))


def summed(table: Table, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """A whole row, with its sum at the end. `values` begin with the id."""
    return (*values, row_sum(table.name, values))


def holds(table: Table, row: Sequence[Value]) -> bool:
    """Whether a row is what was written, and can have been: a file from elsewhere may have any sum."""
    if row_sum(table.name, row[:-1]) != row[-1]:
        return False
    kinds = tuple(map(type, row))
    if kinds not in table.seen and all(kind in types for kind, types in zip(kinds, table.types, strict=True)):
        table.seen.add(kinds)
    return kinds in table.seen
