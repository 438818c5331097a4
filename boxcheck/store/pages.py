"""Rows found in the raw pages of a store, without its tables' trees. Pure: bytes in, rows out.

A damaged interior page, a lost first page or a missing end make SQLite refuse all that hangs below; the leaves are
still there. Every row of a store proves itself by its checksum, which has the table's name in it, so whatever is found
in a leaf is known for what it is, or left out.

https://www.sqlite.org/fileformat2.html: 1.6 pages of trees, 2.1 records, 4.1 the write-ahead log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from mmap import mmap
from struct import unpack_from

from boxcheck.store.schema import BLOB_LIMIT, PAGE_BYTES, TABLES, Table, Value, holds

LEAF = 0x0D
"""Kind of a page: a leaf of a table."""
LARGEST_LOCAL = PAGE_BYTES - 35
LEAST_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
WAL_HEAD, FRAME_HEAD = 32, 24
BY_WIDTH: dict[int, list[Table]] = {}
for _table in TABLES.values():
    BY_WIDTH.setdefault(len(_table.columns) + 2, []).append(_table)


class Pages:
    """A store and its log, as versions of pages."""

    def __init__(self, store: bytes | mmap, log: bytes = b"") -> None:
        """`store` may be a map of the file, so that it need not be in memory as a whole."""
        self._store = store
        self._frames = list(_frames(log))
        last = max((place for place, (_, committed, _) in enumerate(self._frames) if committed), default=-1)
        self._committed = {number: page for number, _, page in self._frames[:last + 1]}

    def page(self, number: int) -> bytes:
        """As committed last; nothing where there is none."""
        return self._committed.get(number) or self._stored(number)

    def _stored(self, number: int) -> bytes:
        """A cut page is filled up: its first cells may be whole."""
        page = self._store[(number - 1) * PAGE_BYTES:number * PAGE_BYTES] if number > 0 else b""
        return page.ljust(PAGE_BYTES, b"\0") if page else b""

    def versions(self) -> Iterator[bytes]:
        """All versions of all pages: those committed last, then all others that are there."""
        stored = range(1, -(-len(self._store) // PAGE_BYTES) + 1)
        for number in sorted({*stored, *self._committed}):
            yield self.page(number)
        for number in stored:
            if number in self._committed:
                yield self._stored(number)
        for number, _, page in self._frames:
            if self._committed.get(number) is not page:
                yield page


def _frames(log: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Page number, whether the frame ends a transaction, and the page, of the frames that belong to this log: the file
    is used again from its start, and then old frames are behind the new ones."""
    salt = log[16:24]
    for place in range(WAL_HEAD, len(log) - FRAME_HEAD - PAGE_BYTES + 1, FRAME_HEAD + PAGE_BYTES):
        number, size = unpack_from(">II", log, place)
        if log[place + 8:place + 16] == salt and number:
            yield number, size > 0, log[place + FRAME_HEAD:place + FRAME_HEAD + PAGE_BYTES]


class Found:
    """Rows of a store's pages, and how many there were that are not what was written."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.damaged = 0

    def rows(self) -> Iterator[tuple[Table, tuple[Value, ...]]]:
        """Whole rows, some of them several times, those committed last first."""
        for page in self._pages.versions():
            for head in (0, 100):  # the first page begins with the header of the file
                if page[head] == LEAF:
                    yield from self._of_leaf(page, head)

    def _of_leaf(self, page: bytes, head: int) -> Iterator[tuple[Table, tuple[Value, ...]]]:
        (cells,) = unpack_from(">H", page, head + 3)
        for place in range(head + 8, min(head + 8 + 2 * cells, PAGE_BYTES - 1), 2):
            (start,) = unpack_from(">H", page, place)
            try:
                row = self._row(page, start)
            except (IndexError, ValueError):
                continue
            if row is None:
                continue
            for table in BY_WIDTH.get(len(row), ()):
                whole = _typed(table, row)
                if holds(table, whole):
                    yield table, whole
                    break
            else:
                self.damaged += 1

    def _row(self, page: bytes, start: int) -> list[Value] | None:
        """The values of a cell, the row's number first; None where it is no row of a store."""
        size, place = _varint(page, start)
        number, place = _varint(page, place)
        if not 0 < size <= BLOB_LIMIT:
            return None
        if size <= LARGEST_LOCAL:
            payload = page[place:place + size]
        else:
            local = LEAST_LOCAL + (size - LEAST_LOCAL) % (PAGE_BYTES - 4)
            local = local if local <= LARGEST_LOCAL else LEAST_LOCAL
            payload = page[place:place + local] + self._overflow(page[place + local:place + local + 4], size - local)
        if len(payload) != size:
            return None
        values = _record(payload)
        # The column that is the row's number is stored as NULL.
        return [_signed(number), *values[1:]] if values and values[0] is None else None

    def _overflow(self, link: bytes, size: int) -> bytes:
        found, seen = bytearray(), set[int]()
        while len(found) < size:
            (number,) = unpack_from(">I", link) if len(link) == 4 else (0,)
            page = self._pages.page(number)
            if not page or number in seen:
                break
            seen.add(number)
            link = page[:4]
            found += page[4:4 + size - len(found)]
        return bytes(found)


def _typed(table: Table, row: list[Value]) -> tuple[Value, ...]:
    """A REAL without a fraction is stored as a whole number."""
    return tuple(
        float(value) if type == "REAL" and isinstance(value, int) else value
        for value, type in zip(row, ("", *(type for _, type in table.columns), ""), strict=True))


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned number of one to nine bytes, and where it ends. IndexError where the data end before."""
    value = 0
    for step in range(8):
        byte = data[place + step]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + step + 1
    return value << 8 | data[place + 8], place + 9


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


WHOLE_BYTES: Mapping[int, int] = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def _record(payload: bytes) -> list[Value]:
    """The values of a record. ValueError or IndexError where it is none."""
    end, place = _varint(payload, 0)
    values: list[Value] = []
    body = end
    if end > len(payload):
        raise ValueError("a record's head is longer than the record")
    while place < end:
        kind, place = _varint(payload, place)
        size = WHOLE_BYTES.get(kind, 8 if kind == 7 else (kind - 12) // 2 if kind >= 12 else 0)
        data = payload[body:body + size]
        if len(data) != size or kind in (10, 11):
            raise ValueError("a record ends too early")
        body += size
        values.append(_value(kind, data))
    if body != len(payload):
        raise ValueError("a record is longer than its values")
    return values


def _value(kind: int, data: bytes) -> Value:
    if kind in WHOLE_BYTES:
        return int.from_bytes(data, "big", signed=True)
    if kind == 7:
        (number,) = unpack_from(">d", data)
        return float(number)
    if kind < 12:
        return {0: None, 8: 0, 9: 1}[kind]
    return data.decode() if kind % 2 else data
