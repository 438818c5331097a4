"""Makes a new store, or goes on with one whose writer is gone.

A new one is made under another name and renamed when it is whole, so that a file with its final name always says at
least which run it is of.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from boxcheck.host.common import one_line
from boxcheck.store.clocks import Clock, Timeline, age_after_restart
from boxcheck.store.errors import StoreError, trouble_of
from boxcheck.store.journal import PATIENCE_SECONDS
from boxcheck.store.lock import RunLock
from boxcheck.store.opening import BESIDE, SALVAGE, check_file, check_store
from boxcheck.store.rows import RunInfo
from boxcheck.store.schema import APPLICATION_ID, PAGE_BYTES, SUFFIX, TABLES, VERSION, Table, Value
from boxcheck.store.writer import Numbers, RunWriter, opening_rows

LEAST_FREE_BYTES = 32 << 20
"""A run is not begun with less room: a day of 8 GPUs takes some tens of MB, and the log beside the store 4 MB."""
LOG_BYTES = 4 << 20
"""The write-ahead log is cut back to this; SQLite moves it into the store every 1000 pages."""
LAST_SECOND = 253_402_300_799.0
"""The last of the year 9999."""
BUSY_SECONDS = 2.0
ANOTHER = "choose another directory with XDG_STATE_HOME, or make room"


def create_run(
    folder: str, info: RunInfo, *, clock: Clock | None = None, least_free_bytes: int = LEAST_FREE_BYTES,
    patience: float = PATIENCE_SECONDS,
) -> RunWriter:
    """A new store in a directory that is there. StoreError where it cannot be made."""
    clock = clock or Clock()
    path, lock = _free_name(folder, info, clock)
    try:
        _look_for_room(folder, least_free_bytes)
        timeline, meta = Timeline(clock), _meta(path, info)
        rows = opening_rows(1, timeline, info.boot, info.version, meta)
        _make(path, rows)
        connection = _connect(path)
    except BaseException:
        lock.release()
        raise
    counted = {"sessions": 1, "meta": len(meta)}
    return RunWriter(path, connection, lock, timeline, Numbers(
        rows=counted, counted=counted, written=_named(rows)), patience=patience)


def reopen_run(
    path: str, *, version: str, boot: str = "", clock: Clock | None = None, patience: float = PATIENCE_SECONDS,
) -> RunWriter:
    """Goes on with a store: after a crash, or after a restart of the machine. A new session begins in it. StoreError
    where it cannot be written, or is written by somebody else."""
    clock = clock or Clock()
    check_file(path)
    lock = RunLock(path)
    try:
        connection = _connect(path)
        with told(path):
            timeline, numbers = _go_on(path, connection, boot, clock)
            connection.execute("BEGIN IMMEDIATE")
            rows = opening_rows(numbers.session, timeline, boot, version, {})
            for table, values in rows:
                connection.execute(table.insert, values)
            connection.execute("COMMIT")
    except BaseException:
        lock.release()
        raise
    return RunWriter(
        path, connection, lock, timeline, msgspec.structs.replace(numbers, written=_named(rows)), patience=patience)


def _named(rows: Iterable[tuple[Table, tuple[Value, ...]]]) -> list[tuple[str, tuple[Value, ...]]]:
    return [(table.name, values) for table, values in rows]


def _free_name(folder: str, info: RunInfo, clock: Clock) -> tuple[str, RunLock]:
    """A path that is not taken, locked."""
    if not os.path.isdir(folder):
        raise StoreError("absent", f"{one_line(folder)}: no such directory")
    if "/" in info.id or info.id.startswith("."):
        raise StoreError("not-a-store", f"{one_line(info.id)!r} is no name for a run")
    # A clock may be wrong by any number of years; a name needs one that calendars have.
    stamp = datetime.fromtimestamp(min(max(clock.wall(), 0), LAST_SECOND), UTC).strftime("%Y-%m-%dT%H%M%SZ")
    id = info.id or f"{stamp}-{info.kind}"
    for number in range(1, 100):
        path = os.path.join(folder, f"{id}{'' if number == 1 else f'-{number}'}{SUFFIX}")
        if not os.path.exists(path):
            lock = RunLock(path)
            if not os.path.exists(path):
                return path, lock
            lock.release()
        if info.id:
            break
    raise StoreError("busy", f"a run {id} is in {one_line(folder)} already")


def _look_for_room(folder: str, least: int) -> None:
    try:
        status = os.statvfs(folder)
    except OSError:
        return  # making the file will tell
    free = status.f_bavail * status.f_frsize
    if free < least:
        raise StoreError(
            "full", f"{one_line(folder)}: {free / 1e6:.0f} MB are free, a run needs at least {least / 1e6:.0f} MB",
            "make room, or choose another directory with XDG_STATE_HOME")


def _meta(path: str, info: RunInfo) -> Mapping[str, object]:
    named = msgspec.structs.replace(info, id=os.path.basename(path).removesuffix(SUFFIX))
    return {name: getattr(named, name) for name in RunInfo.__struct_fields__}


def make_store(path: str, rows: Iterable[tuple[Table, tuple[Value, ...]]]) -> None:
    """A file with all tables and these rows, for its owner alone. Raises what SQLite and the system raise."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        for pragma in (f"page_size={PAGE_BYTES}", "auto_vacuum=NONE", "synchronous=FULL",
                       f"application_id={APPLICATION_ID}", f"user_version={VERSION}"):
            made.execute(f"PRAGMA {pragma}")
        made.execute("BEGIN IMMEDIATE")
        for table in TABLES.values():
            made.execute(table.create)
        for table, values in rows:
            made.execute(table.insert, values)
        made.execute("COMMIT")


def _make(path: str, rows: Iterable[tuple[Table, tuple[Value, ...]]]) -> None:
    part = f"{path}.{os.getpid()}.part"
    with told(path):
        try:
            make_store(part, rows)
            for end in BESIDE:  # of a store that was removed by hand; SQLite would take it for this one's
                with suppress(FileNotFoundError):
                    os.unlink(f"{path}{end}")
            os.rename(part, path)
            _sync_folder(os.path.dirname(path))
        except BaseException:
            for place in (part, f"{part}-journal"):
                with suppress(OSError):
                    os.unlink(place)
            raise


def _sync_folder(folder: str) -> None:
    """Puts the name on the disk (fsync(2): that of the file alone does not)."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _connect(path: str) -> sqlite3.Connection:
    """A connection that the journal's thread will use alone."""
    with told(path):
        connection = sqlite3.connect(
            f"file:{quote(os.path.abspath(path))}?mode=rw", uri=True, isolation_level=None, check_same_thread=False,
            timeout=BUSY_SECONDS)
        try:
            check_store(path, connection)
            for pragma in ("journal_mode=WAL", f"journal_size_limit={LOG_BYTES}", "trusted_schema=OFF",
                           "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
    return connection


def _go_on(path: str, connection: sqlite3.Connection, boot: str, clock: Clock) -> tuple[Timeline, Numbers]:
    last: dict[str, int] = {}
    counted: dict[str, int] = {}
    for name in TABLES:
        last[name], counted[name] = connection.execute(
            f"SELECT coalesce(max(id), 0), count(*) FROM {name}").fetchone()
    (folded,) = connection.execute("SELECT coalesce(max(last), 0) FROM blocks").fetchone()
    last["tail"] = max(last["tail"], folded)
    sessions = connection.execute("SELECT boot, monotonic_ms, at_ms, wall_ms FROM sessions ORDER BY id").fetchall()
    if not sessions:
        raise StoreError("damaged", f"{path} does not say when it began", SALVAGE)
    (age,) = connection.execute(
        "SELECT max(coalesce(max(at_ms), 0), (SELECT coalesce(max(at_ms), 0) FROM tail), "
        "(SELECT coalesce(max(ended_ms), 0) FROM blocks), (SELECT coalesce(max(at_ms), 0) FROM marks), "
        "(SELECT coalesce(max(at_ms), 0) FROM ends)) FROM events").fetchone()
    age = max(age, *(one[2] for one in sessions))
    before, monotonic_ms, at_ms, _ = sessions[-1]
    now = round(clock.monotonic() * 1000) - monotonic_ms + at_ms
    same = bool(boot) and boot == before and now >= age
    timeline = Timeline(clock, now if same else age_after_restart(age, sessions[0][3], clock))
    counted["sessions"] += 1
    last["sessions"] += 1
    return timeline, Numbers(rows=last, session=last["sessions"], counted=counted)


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turns errors of SQLite and of the system into a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        kind, says = trouble_of(error)
        raise StoreError(
            {"full": "full", "read-only": "forbidden", "damaged": "damaged", "busy": "busy"}.get(kind, "io"),  # type: ignore[arg-type]
            f"{one_line(path)}: {says}", SALVAGE if kind == "damaged" else ANOTHER) from None
    except OSError as error:
        full = error.errno in (28, 122)  # ENOSPC, EDQUOT
        says = os.strerror(error.errno or 0).lower()
        raise StoreError("full" if full else "forbidden", f"{one_line(path)}: {says}", ANOTHER) from None
