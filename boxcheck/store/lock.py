"""Who writes a store: whoever holds the lock of the file beside it, `<store>.lock`.

flock(2) ends with the process that holds it, however that ends, and does not outlive a boot. It is not put on the
store itself: closing any descriptor of that would drop the locks of SQLite in the same process (fcntl(2)).
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress

from boxcheck.host.common import one_line
from boxcheck.host.locked import is_held, lock_path
from boxcheck.host.owner import give_to_owner
from boxcheck.store.errors import ErrorKind, StoreError

__all__ = ["RunLock", "is_held", "lock_path"]

WAIT_SECONDS = 1.0
"""Whoever asks whether a run goes on holds the lock for a moment."""


class RunLock:
    """The lock of one store, held by this process until `release`, or until the process ends."""

    def __init__(self, path: str) -> None:
        """Takes it. StoreError where another process has it, or where its file cannot be made."""
        self._place = lock_path(path)
        until = time.monotonic() + WAIT_SECONDS
        while not self._take():
            if time.monotonic() > until:
                raise StoreError("busy", f"{one_line(path)} is written by another process{_named(self._place)}")
            time.sleep(0.02)
        with suppress(OSError):  # for people; a full disk has no room for it
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _take(self) -> bool:
        try:
            self._file = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            kind: ErrorKind = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "forbidden"
            says = os.strerror(error.errno or 0).lower()
            raise StoreError(
                kind, f"{one_line(self._place)}: {says}", "choose a directory that can be written to") from None
        try:
            give_to_owner(os.path.dirname(self._place), self._file)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed the file in between: then the lock is on nothing.
            if os.stat(self._place).st_ino == os.fstat(self._file).st_ino:
                return True
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                os.close(self._file)
                says = os.strerror(error.errno or 0).lower()
                raise StoreError("io", f"{one_line(self._place)} cannot be locked: {says}",
                                 "choose a directory on a local disk") from None
        os.close(self._file)
        return False

    def release(self) -> None:
        """Gives it up. Twice is harmless."""
        if self._file >= 0:
            with suppress(OSError):
                os.unlink(self._place)
            os.close(self._file)
            self._file = -1


def _named(place: str) -> str:
    with suppress(OSError, ValueError), open(place, encoding="ascii") as stream:
        return f" (process {int(stream.read(20))})"
    return ""
