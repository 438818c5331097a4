"""Makes a new store, or goes on with one whose writer is gone.

A new one is made under another name and renamed when it is whole, so that a file with its final name always says at
least which run it is of.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from boxcheck.host.common import one_line
from boxcheck.host.on_disk import sync_folder
from boxcheck.host.owner import give_to_owner
from boxcheck.store.clocks import Clock, Timeline, age_after_restart
from boxcheck.store.errors import StoreError, trouble_of
from boxcheck.store.journal import PATIENCE_SECONDS
from boxcheck.store.lock import RunLock
from boxcheck.store.making import Beginning, opening_rows
from boxcheck.store.opening import BESIDE, SALVAGE, check_file, check_store
from boxcheck.store.rows import RunInfo
from boxcheck.store.schema import APPLICATION_ID, PAGE_BYTES, SUFFIX, TABLES, VERSION, Table, Value
from boxcheck.store.writer import RunWriter

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
    with ExitStack() as undone:
        undone.callback(lock.release)
        _look_for_room(folder, least_free_bytes)
        timeline, meta = Timeline(clock), _meta(path, info)
        rows = opening_rows(1, timeline, info.boot, info.version, meta)
        _make(path, rows)
        undone.callback(_remove, path)
        connection = _connect(path)
        undone.pop_all()
    counted = {"sessions": 1, "meta": len(meta)}
    return RunWriter(path, connection, lock, timeline, Beginning(
        numbers=counted, counts=counted, rows=_named(rows)), patience=patience)


def reopen_run(
    path: str, *, version: str, boot: str = "", clock: Clock | None = None, patience: float = PATIENCE_SECONDS,
) -> RunWriter:
    """Goes on with a store: after a crash, or after a restart of the machine. A new session begins in it. StoreError
    where it cannot be written, or is written by somebody else."""
    clock = clock or Clock()
    check_file(path)
    lock = RunLock(path)
    with ExitStack() as undone, told(path):
        undone.callback(lock.release)
        connection = undone.enter_context(closing(_connect(path)))
        timeline, beginning = _go_on(path, connection, boot, clock)
        connection.execute("BEGIN IMMEDIATE")
        rows = opening_rows(beginning.session, timeline, boot, version, {})
        for table, values in rows:
            connection.execute(table.insert, values)
        connection.execute("COMMIT")
        undone.pop_all()
    return RunWriter(
        path, connection, lock, timeline, msgspec.structs.replace(beginning, rows=_named(rows)), patience=patience)


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
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    give_to_owner(os.path.dirname(path), file)  # SQLite gives what it makes beside it to the same (os_unix.c)
    os.close(file)
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


def _remove(path: str) -> None:
    for place in (path, *(f"{path}{end}" for end in BESIDE)):
        with suppress(OSError):
            os.unlink(place)


def _make(path: str, rows: Iterable[tuple[Table, tuple[Value, ...]]]) -> None:
    part = f"{path}.{os.getpid()}.part"
    with told(path):
        try:
            make_store(part, rows)
            _remove(path)  # what is left of a store that was removed by hand: SQLite would take its log for this one's
            os.rename(part, path)
            sync_folder(os.path.dirname(path))
        except BaseException:
            for place in (part, f"{part}-journal"):
                with suppress(OSError):
                    os.unlink(place)
            raise


def _connect(path: str) -> sqlite3.Connection:
    """A connection that the journal's thread will use alone."""
    with told(path):
        connection = sqlite3.connect(
            f"file:{quote(os.path.abspath(path))}?mode=rw", uri=True, isolation_level=None, check_same_thread=False,
            timeout=BUSY_SECONDS)
        try:
            check_store(path, connection)
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                raise StoreError(
                    "io", f"{one_line(path)}: this disk takes no write-ahead log of SQLite, so nobody could read a run"
                    " while it is written", "choose a directory on a local disk with XDG_STATE_HOME")
            for pragma in (f"journal_size_limit={LOG_BYTES}", "trusted_schema=OFF", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
    return connection


def _go_on(path: str, connection: sqlite3.Connection, boot: str, clock: Clock) -> tuple[Timeline, Beginning]:
    last: dict[str, int] = {}
    counted: dict[str, int] = {}
    for name in TABLES:
        last[name], counted[name] = connection.execute(
            f"SELECT coalesce(max(id), 0), count(*) FROM {name}").fetchone()
    try:
        (folded,) = connection.execute("SELECT coalesce(max(last), 0) FROM blocks").fetchone()
        last["tail"] = max(last["tail"], folded)
        *_, (boot_before, monotonic_ms, at_ms, _) = sessions = connection.execute(
            "SELECT boot, monotonic_ms, at_ms, wall_ms FROM sessions ORDER BY id").fetchall()
        ages = [at_ms] + [
            connection.execute(f"SELECT coalesce(max({column}), 0) FROM {name}").fetchone()[0] for name, column in (
                ("tail", "at_ms"), ("blocks", "ended_ms"), ("marks", "at_ms"), ("events", "at_ms"), ("ends", "at_ms"))]
        age, now = max(ages), round(clock.monotonic() * 1000) - monotonic_ms + at_ms
        after = age_after_restart(age, sessions[0][3], clock)
    except (ValueError, TypeError):
        raise StoreError("damaged", f"{one_line(path)} does not say when it began", SALVAGE) from None
    same = bool(boot) and boot == boot_before and now >= age
    timeline = Timeline(clock, now if same else after)
    counted["sessions"] += 1
    last["sessions"] += 1
    return timeline, Beginning(session=last["sessions"], numbers=last, counts=counted)


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
