"""What can be wrong with a store: an error for whoever asks for it, a trouble for whoever goes on without it."""

from __future__ import annotations

import sqlite3
from typing import Literal

import msgspec

from boxcheck.usage import UsageError

ErrorKind = Literal[
    "absent",  # there is no such file
    "not-a-store",  # it is something else
    "newer",  # a later boxcheck wrote it
    "damaged",  # it is a store, and a part of it is not what was written
    "busy",  # another process writes it
    "full",  # there is no room
    "forbidden",  # this user may not, or the disk is read-only
    "io",  # the disk answers with errors
]


class StoreError(UsageError):
    """A store that cannot be made, opened or read. One clear sentence, and in `help` what to do."""

    def __init__(self, kind: ErrorKind, message: str, help: str = "") -> None:
        super().__init__(message, help)
        self.kind: ErrorKind = kind


TroubleKind = Literal[
    "full",  # no room on the disk
    "read-only",  # the disk takes no writes
    "io",  # it answers with errors
    "busy",  # somebody else holds the file
    "slow",  # it has not answered yet
    "gone",  # the file was removed while it was written
    "damaged",  # SQLite finds the file broken
    "closed",  # the store was closed before
    "bug",  # boxcheck's own error, or a value that cannot be stored
]


class StoreTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why the store is behind. The run goes on; what waits is written when it can be."""

    kind: TroubleKind
    says: str
    """One clause: `no space left on the disk`."""
    waiting: int = 0
    """Records that wait in memory."""
    lost: int = 0
    """Records that found no room in memory either, since the trouble began."""


# https://www.sqlite.org/rescode.html: the low byte is the primary code.
_KINDS: dict[int, tuple[TroubleKind, str]] = {
    5: ("busy", "another program holds the file"),
    6: ("busy", "another program holds the file"),
    8: ("read-only", "the file or its disk takes no writes"),
    10: ("io", "the disk answers with an error"),
    11: ("damaged", "the file is damaged"),
    13: ("full", "no space is left on the disk"),
    14: ("io", "the file cannot be opened"),
    26: ("damaged", "the file is no database any more"),
}


def garbled() -> sqlite3.DatabaseError:
    """For the UnicodeDecodeError that the sqlite3 module lets out where SQLite's own words quote bytes of a damaged
    page, which are no text."""
    error = sqlite3.DatabaseError("bytes that are no text")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"
    return error


def trouble_of(error: sqlite3.Error) -> tuple[TroubleKind, str]:
    """Kind and clause of an error of SQLite; its own words and code are part of the clause."""
    if str(error).startswith("Could not decode to UTF-8"):  # the sqlite3 module's, with the whole column in it
        error = garbled()
    code = getattr(error, "sqlite_errorcode", None) or 0
    kind, says = _KINDS.get(code & 0xFF, ("bug" if isinstance(error, sqlite3.ProgrammingError) else "io", "SQLite"))
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return kind, f"{says} ({error}, {name})"
