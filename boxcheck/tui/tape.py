"""The records of a run in the order in which they came, handed out up to a moment; they can begin in the middle."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

import msgspec

from boxcheck.store.errors import StoreError
from boxcheck.store.reader import READINGS, RunReader, StoredSample
from boxcheck.store.rebuild import Link, Rows, link_readings, links_in
from boxcheck.store.samples import Samples
from boxcheck.store.schema import BLOCKS, TAIL
from boxcheck.telemetry.readings import Reading

KINDS = ("sample", *READINGS)
Record: TypeAlias = StoredSample | Reading
Numbered: TypeAlias = "tuple[int, float, Record]"
"""A record's number, when it was taken in seconds since the run began, and itself."""


class Place(msgspec.Struct, frozen=True):
    """Where one begins to read."""

    block: int = 0
    """Number of the first block."""
    after: int = 0
    """Number of the last record that was handed out before."""


class Tape:
    """One way through a run. StoreError where it cannot be read."""

    def __init__(self, reader: RunReader, place: Place | None = None) -> None:
        self.place = place or Place()
        """From where what was not handed out yet can be read again."""
        self._reader = reader
        self._minutes = _minutes(reader, self.place)
        self._waiting: deque[Numbered] = deque()

    def until(self, at: float) -> Iterator[list[Numbered]]:
        """What came until then and was not handed out yet, about a minute at a time. Nothing that came later than
        something that is of after that moment: what is handed out does not depend on how often it was asked for.

        Of minutes that are over, readings of links that changed nothing are left out, but for the last."""
        while True:
            due: list[Numbered] = []
            while self._waiting and self._waiting[0][1] <= at:
                due.append(self._waiting.popleft())
            if due:
                self.place = Place(self.place.block, due[-1][0])
                yield due
            if self._waiting:
                return
            minute = next(self._minutes, None)
            if minute is None:
                return
            block, every = minute
            after = self.place.after
            self.place = Place(block, after)
            is_over = all(max(rows.ats_ms) <= 1000 * at for rows in every)
            found = [one for rows in every for one in _numbered(self._reader, rows, after, is_over)]
            found.sort(key=itemgetter(0))
            self._waiting.extend(found)

    def close(self) -> None:
        """Ends what is being read, which holds the store open. Of a damaged store even that may be refused."""
        with suppress(StoreError):
            self._minutes.close()


def _minutes(reader: RunReader, place: Place) -> Generator[tuple[int, list[Rows]], None, None]:
    """As `Database.records`, from a place on: the first block of each minute, and its records."""
    base = reader.database
    with base.snapshot():
        base.sessions()
        wanted = {number for number, one in base.streams().items() if one.kind in KINDS}
        if not wanted:
            return
        base._read_words()
        marks = ", ".join(map(str, sorted(wanted)))
        blocks = base.rows(BLOCKS, f"WHERE id >= ? AND stream IN ({marks})", (place.block,))
        tail = deque(base.rows(TAIL, f"WHERE id > ? AND stream IN ({marks})", (place.after,)))
        last = place.block
        for fold, group in groupby(blocks, key=itemgetter(4)):
            every = list(group)
            for rows in base._of_tail(tail, fold):
                yield every[0][0], rows
            last = every[-1][0]
            yield every[0][0], base._of_minute(fold, every)
        for rows in base._of_tail(tail, None):
            yield last + 1, rows


def _numbered(reader: RunReader, rows: Rows, after: int, is_over: bool) -> Iterator[Numbered]:
    if is_over and rows.stream.kind == "links":
        found = _timed(rows, _changes(reader, rows, after))
    else:
        found = one_by_one(reader, rows)
    return (one for one in found if one[0] > after)


def one_by_one(reader: RunReader, rows: Rows) -> list[Numbered]:
    """Records of a stream with their numbers and moments. Those are the run's own: the clock that readings have begins
    anew at each boot, and a run may be gone on with after several."""
    if rows.stream.kind != "sample":
        return _timed(rows, reader.read_rows(rows))
    made = Samples()
    with reader.guarded("samples"):
        worker = made.head(rows.stream).worker
        return [
            (number, at_ms / 1000, StoredSample(number, rows.phase, at_ms / 1000, worker, sample))
            for number, at_ms, sample in zip(rows.numbers, rows.ats_ms, made.of(rows), strict=True)]


def changes_of_links(reader: RunReader, rows: Rows) -> list[Numbered]:
    """Of a stream of links, what there is to be known of each function."""
    return _timed(rows, _changes(reader, rows, 0))


def _timed(rows: Rows, found: list[tuple[int, Reading]]) -> list[Numbered]:
    ats_ms = dict(zip(rows.numbers, rows.ats_ms, strict=True))  # one record tells of several links
    return [(number, ats_ms[number] / 1000, one) for number, one in found]


def _changes(reader: RunReader, rows: Rows, after: int) -> list[tuple[int, Reading]]:
    """Of a stream of links: the first reading of each function, those in which anything changed, and the last."""
    found: list[tuple[int, Reading]] = []
    with reader.guarded("readings"):
        begins = next((place for place, number in enumerate(rows.numbers) if number > after), None)
        for link in links_in(rows.stream.columns) if begins is not None else ():
            where = _changed(link, rows, begins or 0)
            readings = link_readings(link, rows, where)
            found += zip((rows.numbers[place] for place in where), readings, strict=True)
    return found


def _changed(link: Link, rows: Rows, begins: int) -> list[int]:
    count = len(rows.numbers)
    where = {begins, count - 1}
    for place in range(link.begin, link.end):
        if place in rows.others:
            column = rows.column(place)
            if isinstance(column, list):
                where.update(at for at in range(begins + 1, count) if column[at] != column[at - 1])
    return sorted(where)
