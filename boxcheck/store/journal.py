"""The thread that writes a store. Whoever gives it rows never waits for the disk longer than they choose to.

Rows that must not be lost are committed at once, with the disk's own buffers flushed (synchronous=FULL); telemetry is
committed once a second without (NORMAL), which after kill -9 is as safe, and after a power cut costs what came since
the last flush. When a commit fails the rows stay in memory, up to a bound, and are tried again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby

import msgspec

from boxcheck.store.errors import StoreTrouble, TroubleKind, trouble_of
from boxcheck.store.folding import Folder
from boxcheck.store.pending import Entry, Pending
from boxcheck.store.schema import BLOCKS, summed

EVERY_SECONDS = 0.9
"""Between two commits of telemetry: no more than a second of it may be lost."""
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""After the first, second ... failure."""
REFOLD_SECONDS = 30.0
"""After a fold that failed."""
PATIENCE_SECONDS = 10.0
"""How long a caller waits for the disk."""
READERS_MS = 300
"""How long the end of a run waits for those who read it."""

Failure = tuple[TroubleKind, str]


class Outage(msgspec.Struct, frozen=True):
    """A time in which nothing could be written, when it is over."""

    kind: TroubleKind
    says: str
    began: float
    ended: float
    """CLOCK_MONOTONIC, or what a test puts in its place."""
    lost: int


class Journal:
    """One connection, one thread. `recovered` is called in that thread, and gives the rows that tell of an outage."""

    def __init__(
        self, path: str, connection: sqlite3.Connection, next_block: int,
        recovered: Callable[[Outage], Iterable[Entry]], clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._connection, self._next_block = path, connection, next_block
        self._recovered, self._clock = recovered, clock
        self._inode = os.stat(path).st_ino
        self._looked = time.monotonic()
        self._synchronous = ""
        self._folder = Folder()
        self._refold_at = 0.0
        self._changed = threading.Condition()
        self._pending = Pending()
        self._attempts = self._failed = 0
        """Number of the latest attempt, and of the latest that failed."""
        self._failures = 0
        """In a row."""
        self._hurry = self._fold_now = self._finish = self._closed = False
        self._next = 0.0
        self._trouble: Failure | None = None
        self._began = 0.0
        self._lost = 0
        self._thread = threading.Thread(target=self._work, name="boxcheck-store", daemon=True)
        self._thread.start()

    # Called by others.

    def put(self, entries: Sequence[Entry], *, wait: bool, patience: float = PATIENCE_SECONDS) -> StoreTrouble | None:
        """Takes rows in. With `wait`, None means that they are on the disk."""
        with self._changed:
            if self._closed:
                return StoreTrouble(kind="closed", says="the store was closed")
            lost = self._append(entries)
            if not wait:
                return self._told()
            trouble = self._wait(self._pending.mark(entries), patience)
            return self._told() if lost else trouble

    def flush(self, patience: float = PATIENCE_SECONDS) -> StoreTrouble | None:
        """Commits all that waits."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            return self._wait(self._pending.mark(), patience)

    def fold(self) -> None:
        """Makes blocks of what is in `tail`, at the next chance."""
        with self._changed:
            self._fold_now = self._hurry = True
            self._changed.notify_all()

    def close(self, *, finish: bool, patience: float = PATIENCE_SECONDS) -> StoreTrouble | None:
        """Writes what waits and ends the thread. `finish`: also makes the file one that needs no others beside it.
        What cannot be written now is lost."""
        trouble = self.flush(patience)
        with self._changed:
            self._finish, self._closed = finish, True
            self._changed.notify_all()
        self._thread.join(patience)
        if self._thread.is_alive():
            return trouble or StoreTrouble(kind="slow", says="the disk does not answer")
        return trouble

    @property
    def ended(self) -> bool:
        """Whether nothing writes any more."""
        return not self._thread.is_alive()

    @property
    def trouble(self) -> StoreTrouble | None:
        with self._changed:
            return self._told()

    # With `_changed` held.

    def _append(self, entries: Iterable[Entry]) -> int:
        """How many found no room."""
        lost = 0
        for entry in entries:
            if not self._pending:
                self._next = max(self._next, time.monotonic() + EVERY_SECONDS)
                self._changed.notify_all()
            if self._pending.append(entry):
                self._hurry = self._hurry or entry.durable
            else:
                lost += 1
        if lost:
            self._lost += lost
            if self._trouble is None:
                self._fail(("slow", "the disk is slower than what is to be written"))
        if self._hurry:
            self._changed.notify_all()
        return lost

    def _fail(self, failure: Failure) -> None:
        self._began = self._began if self._trouble is not None else self._clock()
        self._trouble = failure

    def _told(self) -> StoreTrouble | None:
        if self._trouble is None:
            return None
        kind, says = self._trouble
        return StoreTrouble(kind=kind, says=says, waiting=len(self._pending), lost=self._lost)

    def _wait(self, mark: Mapping[int, int], patience: float) -> StoreTrouble | None:
        """Until what was put until then is written, or an attempt that begins from now on has failed."""
        attempt, pending = self._attempts, self._pending
        self._changed.wait_for(
            lambda: pending.reached(mark) or self._failed > attempt or self._closed, timeout=patience)
        if pending.reached(mark):
            return None
        return self._told() or StoreTrouble(
            kind="slow", says=f"the disk has not answered for {patience:g} s", waiting=len(pending))

    # The thread.

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not self._hurry and (left := self._due()) > 0:
                    self._changed.wait(left)
                if self._closed:
                    break
                self._hurry = False
                self._attempts += 1
                urgent, bulk = self._pending.batch()
            done, failure = self._write(urgent, bulk)
            with self._changed:
                self._settle(done, failure)
                self._changed.notify_all()
            if failure is None and (self._fold_now or self._folder.full):
                self._fold()
        self._end()

    def _due(self) -> float:
        """Seconds until something is to be done, without hurry."""
        return self._next - time.monotonic() if self._pending or self._trouble is not None else 3600.0

    def _settle(self, done: tuple[int, int], failure: Failure | None) -> None:
        """Accounts for an attempt."""
        now = time.monotonic()
        self._pending.take_off(done)
        if failure is not None:
            self._fail(failure)
            self._failed = self._attempts
            self._next = now + RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
            self._failures += 1
            return
        self._failures, self._next = 0, now + EVERY_SECONDS
        if not self._pending:
            if self._trouble is not None:
                outage = Outage(*self._trouble, self._began, self._clock(), self._lost)
                self._trouble, self._lost = None, 0
                self._append(self._recovered(outage))
        elif self._trouble is not None or self._pending.hurries:
            self._hurry = True

    def _write(self, urgent: Sequence[Entry], bulk: Sequence[Entry]) -> tuple[tuple[int, int], Failure | None]:
        """How many of each were committed, and what went wrong. What is urgent may fit where all does not."""
        gone = self._gone()
        if gone is not None:
            return (0, 0), gone
        failure = self._commit([*urgent, *bulk])
        if failure is None:
            return (len(urgent), len(bulk)), None
        if failure[0] == "bug":
            with self._changed:
                self._lost += len(urgent) + len(bulk)
            return (len(urgent), len(bulk)), failure
        if urgent and bulk and failure[0] == "full" and self._commit(urgent) is None:
            return (len(urgent), 0), failure
        return (0, 0), failure

    def _commit(self, entries: Sequence[Entry]) -> Failure | None:
        """One transaction. What went wrong, None where all is committed."""
        if not entries:
            return None
        wanted = "FULL" if any(entry.durable for entry in entries) else "NORMAL"
        try:
            if wanted != self._synchronous:
                self._connection.execute(f"PRAGMA synchronous={wanted}")
                self._synchronous = wanted
            self._connection.execute("BEGIN IMMEDIATE")
            for table, group in groupby(entries, key=lambda entry: entry.table):
                self._connection.executemany(table.insert, [entry.values for entry in group])
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            return trouble_of(error)
        except Exception as error:  # noqa: BLE001  a value that SQLite cannot take must not end the thread
            self._roll_back()
            return "bug", f"a value cannot be stored ({type(error).__name__}: {error})"
        for entry in entries:
            if entry.record is not None:
                self._folder.add(entry.record)
        return None

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _gone(self) -> Failure | None:
        """Whether the file is still where it was; SQLite would go on writing one that no name leads to."""
        now = time.monotonic()
        if now - self._looked < EVERY_SECONDS and self._trouble is None:
            return None
        self._looked = now
        try:
            inode = os.stat(self._path).st_ino
        except FileNotFoundError:
            inode = -1
        except OSError:
            return None  # the commit will tell
        return None if inode == self._inode else ("gone", f"{self._path} was removed while it was written")

    def _fold(self) -> None:
        """Replaces rows of `tail` by blocks. Where that fails the rows stay, and are read as well."""
        now, asked = time.monotonic(), self._fold_now
        self._fold_now = False
        if not self._folder.records or (now < self._refold_at and not asked):
            return
        try:
            rows = [
                summed(BLOCKS, (number, *row)) for number, row in enumerate(self._folder.blocks(), self._next_block)]
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(BLOCKS.insert, rows)
            self._connection.execute("DELETE FROM tail WHERE id BETWEEN ? AND ?", self._folder.span)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            self._refold_at = now + REFOLD_SECONDS
        except Exception:  # noqa: BLE001  the rows are in the store already, as they are
            self._roll_back()
            self._folder.clear()
        else:
            self._next_block += len(rows)
            self._folder.clear()

    def _end(self) -> None:
        with suppress(sqlite3.Error):
            if self._finish:
                self._fold_now = True
                self._fold()
                # One file, which a read-only disk and a stick show as well. Refused while somebody reads.
                self._connection.execute(f"PRAGMA busy_timeout={READERS_MS}")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._connection.execute("PRAGMA journal_mode=DELETE")
        with suppress(sqlite3.Error):
            self._connection.close()
