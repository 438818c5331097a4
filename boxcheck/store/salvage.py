"""Saves what can be read of a damaged store into a new one, and says what could not be.

    boxcheck runs salvage DAMAGED.sqlite -o NEW.sqlite

Rows are taken from the raw pages of the store and its log (pages.py), one by one; each is proven by its checksum, so
what is saved is what was written. A phase of which records are missing says so in its results, and cannot pass.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import islice

import msgspec

from boxcheck.host.common import one_line
from boxcheck.store.blocks import MIXED, MOST_RECORDS, inflated, most_records, unpack_block, unpack_column
from boxcheck.store.cells import text_of
from boxcheck.store.creating import make_store, told
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import beside
from boxcheck.store.lock import is_held
from boxcheck.store.pages import Found, Pages
from boxcheck.store.reader import RunReader
from boxcheck.store.regular import open_regular
from boxcheck.store.results import INCOMPLETE, results_of
from boxcheck.store.rows import Counts
from boxcheck.store.schema import BLOB_LIMIT, COPIED, META, TABLES, Table, Value, holds, summed

UNFIT = (ValueError, TypeError, LookupError, RecursionError, zlib.error, msgspec.MsgspecError)
"""What unpacking raises for a row that has the right sum and was never written by boxcheck."""
NOT_COUNTED = ("tail", "blocks", "meta")
"""Tables in which gaps between the numbers say nothing."""


class Salvage(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a salvage."""

    path: str
    """The new store."""
    saved: Mapping[str, int]
    """Rows by table."""
    missing: Mapping[str, int]
    """Rows by table that there must have been."""
    damaged: int
    """Rows that were found and are not what was written."""
    phases: Mapping[int, str] = {}
    """What a phase lacks."""
    log: bool
    """Whether the write-ahead log was beside the store."""

    @property
    def whole(self) -> bool:
        return not self.missing and not self.damaged and not self.phases

    def lines(self) -> list[str]:
        """For people."""
        found = [f"saved {_listed(self.saved)}"]
        if self.missing:
            found.append(f"missing {_listed(self.missing)}")
        if self.damaged:
            found.append(f"{self.damaged} rows were found damaged")
        found += [f"phase {number}: {says}" for number, says in self.phases.items()]
        if not self.log:
            found.append("no log (-wal) was beside it: what was committed last before a crash was in that")
        return found


def salvage_run(path: str, target: str) -> Salvage:
    """A new store at `target` with all that can be proven of `path`, which is left as it is. StoreError where there is
    nothing to be saved, or the new one cannot be written."""
    if any(os.path.exists(place) for place in beside(target)):
        raise StoreError("busy", f"{one_line(target)} is there already", "choose another name")
    if is_held(path):
        raise StoreError("busy", f"{one_line(path)} is being written", "wait for the end of the run")
    log = _log(path)
    found = Found(Pages(_mapped(path), log))
    part = f"{target}.{os.getpid()}.part"
    with told(target):
        try:
            make_store(part, ())
            with closing(sqlite3.connect(part, isolation_level=None)) as base:
                base.execute("PRAGMA synchronous=OFF")  # it is flushed as a whole at the end
                base.execute("BEGIN IMMEDIATE")
                _put(base, found.rows())
                _put(base, _copied(base))
                _tidy(base)
                saved = {name: _one(base, f"SELECT count(*) FROM {name}") for name in TABLES}
                if not any(saved.values()):
                    raise StoreError("not-a-store", f"nothing of a run was found in {one_line(path)}")
                missing = _missing(base, saved)
                base.execute("COMMIT")
            result = Salvage(
                path=target, saved=saved, missing=missing, damaged=found.damaged, phases=_incomplete(part),
                log=bool(log))
            with closing(sqlite3.connect(part, isolation_level=None)) as base:
                base.execute("PRAGMA synchronous=FULL")
                number = _one(base, "SELECT coalesce(max(id), 0) FROM meta") + 1
                report = msgspec.to_builtins(result, str_keys=True) | {"from": os.path.basename(path)}
                base.execute(META.insert, summed(META, (number, "salvaged", text_of(report))))
            _flush(part)
            os.rename(part, target)
        finally:
            for place in (part, f"{part}-journal"):
                with suppress(OSError):
                    os.unlink(place)
    return result


def _mapped(path: str) -> bytes | mmap.mmap:
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except FileNotFoundError:
        raise StoreError("absent", f"{one_line(path)}: no such file") from None
    except OSError as error:
        raise StoreError("forbidden", f"{one_line(path)}: {(error.strerror or '').lower()}") from None


def _log(path: str) -> bytes:
    """The write-ahead log; nothing where there is none, or none that can be read."""
    with suppress(OSError), open_regular(f"{path}-wal") as stream:
        return stream.read()
    return b""


def _put(base: sqlite3.Connection, rows: Iterable[tuple[Table, tuple[Value, ...]]]) -> None:
    """The first that has a number keeps it: it was committed last."""
    rows = iter(rows)
    while chunk := list(islice(rows, 5000)):
        by_table: dict[str, list[tuple[Value, ...]]] = {}
        for table, row in chunk:
            by_table.setdefault(table.name, []).append(row)
        for name, some in by_table.items():
            base.executemany(TABLES[name].insert, some)


def _copied(base: sqlite3.Connection) -> Iterator[tuple[Table, tuple[Value, ...]]]:
    """Rows that were written a second time."""
    rows: list[tuple[str, tuple[int | float | str | None, ...]]] = []
    for (data,) in base.execute("SELECT data FROM copies ORDER BY id").fetchall():
        with suppress(*UNFIT):
            rows += msgspec.msgpack.decode(
                zlib.decompressobj().decompress(data, BLOB_LIMIT),
                type=list[tuple[str, tuple[int | float | str | None, ...]]])
    for name, row in rows:
        if name in COPIED and len(row) == len(TABLES[name].columns) + 2 and holds(TABLES[name], row):
            yield TABLES[name], row


def _tidy(base: sqlite3.Connection) -> None:
    """Takes out what refers to rows that are missing, and rows of `tail` that are in a block as well: such were found
    in pages that are no longer used."""
    for name in ("tail", "blocks"):
        base.execute(f"DELETE FROM {name} WHERE stream NOT IN (SELECT id FROM streams)"
                     " OR session NOT IN (SELECT id FROM sessions)")
    base.execute("DELETE FROM marks WHERE session NOT IN (SELECT id FROM sessions)")
    words = {number for (number,) in base.execute("SELECT id FROM words")}
    folded: dict[int, set[int]] = {}
    left = most_records(_one(base, "PRAGMA page_count"))
    for number, stream, rows, data in base.execute("SELECT id, stream, rows, data FROM blocks").fetchall():
        with suppress(*UNFIT):
            constants, others = unpack_block(inflated(data))
            numbers = unpack_column(others[0], rows) if 0 in others else constants[:1]
            used = _words_in(constants, *(one[1] for one in others.values() if one[0] == MIXED))
            if rows <= min(left, MOST_RECORDS) and words.issuperset(used):
                left -= rows
                folded.setdefault(stream, set()).update(numbers)
                continue
        base.execute("DELETE FROM blocks WHERE id = ?", (number,))
    for number, stream, data in base.execute("SELECT id, stream, data FROM tail").fetchall():
        with suppress(*UNFIT):
            if number not in folded.get(stream, ()) and words.issuperset(_words_in(msgspec.msgpack.decode(data))):
                continue
        base.execute("DELETE FROM tail WHERE id = ?", (number,))


def _words_in(*columns: list[object]) -> set[int]:
    return {cell[0] for column in columns for cell in column if isinstance(cell, list)}


def _missing(base: sqlite3.Connection, saved: Mapping[str, int]) -> dict[str, int]:
    """By the numbers of rows, which begin at 1 and leave none out, and by the counts of the run's end."""
    counts: Mapping[str, int] = {}
    for (data,) in base.execute("SELECT data FROM ends ORDER BY id"):
        with suppress(*UNFIT):
            counts = msgspec.json.decode(data, type=Counts).counts
    found = {}
    for name, number in saved.items():
        if name not in NOT_COUNTED:
            highest = _one(base, f"SELECT coalesce(max(id), 0) FROM {name}")
            lost = max(highest, counts.get(name, 0)) - number
            if lost > 0:
                found[name] = lost
    blocks = _one(base, "SELECT coalesce(max(id), 0) FROM blocks") - saved["blocks"]
    return found | ({"blocks": blocks} if blocks > 0 else {})


def _incomplete(part: str) -> dict[int, str]:
    """What phases lack, as whoever judges them will be told."""
    found = {}
    with RunReader(part) as run:
        for phase in run.phases():
            if phase.state in ("ended", "cut"):
                for one in results_of(run, phase.plan.number).troubles:
                    if one.kind == INCOMPLETE:
                        found[phase.plan.number] = one.says
    return found


def _one(base: sqlite3.Connection, sql: str) -> int:
    (number,) = base.execute(sql).fetchone()
    return int(number)


def _flush(path: str) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _listed(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in rows.items() if number) or "nothing"
