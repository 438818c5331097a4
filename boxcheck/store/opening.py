"""Opens a store for reading: while it is written, on a disk that takes no writes, after a crash.

SQLite reads a write-ahead log with the help of a file `-shm` beside it, which it makes where it can. Where it cannot,
the log must not be left out (immutable=1 does that, and what was committed last would be missing), so store and log are
copied to where it can. https://www.sqlite.org/wal.html#read_only_databases
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import suppress
from urllib.parse import quote

from boxcheck.host.common import one_line
from boxcheck.store.errors import StoreError, garbled, trouble_of
from boxcheck.store.schema import APPLICATION_ID, BLOB_LIMIT, TABLES, VERSION

SALVAGE = "boxcheck runs salvage FILE saves what can be read"
LISTS = "boxcheck runs lists what there is"
LOGS = ("-wal", "-journal")
BESIDE = (*LOGS, "-shm")
BUSY_SECONDS = 2.0


class Opened:
    """A connection that only reads; `close` also removes a copy that was made for it."""

    def __init__(self, path: str) -> None:
        """StoreError where it is no store, one of a later version, or cannot be opened."""
        self.path = path
        self._copy: str | None = None
        check_file(path)
        self.connection = self._open()
        try:
            self.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, BLOB_LIMIT)
            for pragma in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON"):
                self.connection.execute(f"PRAGMA {pragma}")
            check_store(path, self.connection)
        except sqlite3.Error as error:
            self.close()
            raise unreadable(path, error) from None
        except UnicodeDecodeError:
            self.close()
            raise unreadable(path, garbled()) from None
        except BaseException:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        first = _try(self.path, "mode=ro")
        if isinstance(first, sqlite3.Connection):
            return first
        if trouble_of(first)[0] in ("damaged", "busy"):
            raise unreadable(self.path, first)
        if not any(_size(f"{self.path}{end}") for end in LOGS):
            second = _try(self.path, "mode=ro&immutable=1")
            if isinstance(second, sqlite3.Connection):
                return second
            raise unreadable(self.path, second)
        return self._open_copy()

    def _open_copy(self) -> sqlite3.Connection:
        try:
            self._copy = tempfile.mkdtemp(prefix="boxcheck-")
            copy = os.path.join(self._copy, "run")
            for end in ("", *LOGS):
                if end == "" or _size(f"{self.path}{end}"):
                    shutil.copyfile(f"{self.path}{end}", f"{copy}{end}")
        except OSError as error:
            self.close()
            raise StoreError(
                "io", f"{one_line(self.path)} could not be copied to be read: {os.strerror(error.errno or 0).lower()}",
                "name another directory in TMPDIR") from None
        third = _try(copy, "mode=rw")
        if isinstance(third, sqlite3.Connection):
            return third
        self.close()
        raise unreadable(self.path, third)

    def close(self) -> None:
        if hasattr(self, "connection"):
            with suppress(sqlite3.Error):
                self.connection.close()
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)
            self._copy = None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _try(path: str, options: str) -> sqlite3.Connection | sqlite3.Error:
    """Opens and reads the first page, which is when SQLite finds out."""
    try:
        connection = sqlite3.connect(
            f"file:{quote(os.path.abspath(path))}?{options}", uri=True, isolation_level=None,
            check_same_thread=False, timeout=BUSY_SECONDS)
    except sqlite3.Error as error:
        return error
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        return error if isinstance(error, sqlite3.Error) else garbled()
    return connection


def check_file(path: str) -> None:
    """StoreError unless a file is there. It is not opened here: closing it would drop the locks of a writer in this
    same process (fcntl(2))."""
    shown = one_line(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise StoreError("absent", f"{shown}: no such file", LISTS) from None
    except OSError as error:
        raise StoreError("forbidden", f"{shown}: {os.strerror(error.errno or 0).lower()}") from None
    if not stat.S_ISREG(mode):
        raise StoreError("not-a-store", f"{shown} is no file", LISTS)
    if not os.access(path, os.R_OK):
        raise StoreError("forbidden", f"{shown}: permission denied")


def check_store(path: str, connection: sqlite3.Connection) -> None:
    """StoreError unless it is a store of this version, with its tables as they were made, word by word: a file from
    elsewhere may hold views and triggers that run when it is read."""
    shown = one_line(path)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreError("not-a-store", f"{shown} is no run of boxcheck", LISTS)
    if version > VERSION:
        raise StoreError(
            "newer", f"{shown} was written by a later boxcheck: it is of version {version}, this one reads {VERSION}",
            "update boxcheck: pip install --upgrade boxcheck")
    found = {str(sql) for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}
    if version < 1 or found != {table.create for table in TABLES.values()}:
        raise StoreError("damaged", f"{shown}: its tables are not those of a run", SALVAGE)


def unreadable(path: str, error: sqlite3.Error) -> StoreError:
    kind, says = trouble_of(error)
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
        return StoreError(
            "not-a-store", f"{one_line(path)} is no run of boxcheck, or its first page is damaged", SALVAGE)
    if kind == "damaged":
        return StoreError("damaged", f"{one_line(path)} is damaged ({one_line(says)})", SALVAGE)
    return StoreError("busy" if kind == "busy" else "io", f"{one_line(path)}: {one_line(says)}")
