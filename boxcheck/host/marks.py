"""Marks for the whole machine of what root has changed and not put back, whoever asks and wherever their own files lie.

    /run/boxcheck/<port>.<boot id>.link.json        the words of the experiment, and the folder of its journal
    /run/boxcheck/<card>.<boot id>.power.json       the same of a power limit

Settings are kept in the state directory of whoever began (boxcheck.host.left_changed). Another user's doctor or burn
looks into another one, so it would take a link that was left at Gen1 for the link as it is. /run is root's alone and in
memory: marks go with a restart, as registers do. Only root changes links and limits, and so only root marks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

PLACE = "/run/boxcheck"
VARIABLE = "BOXCHECK_MARKS"
"""Another place: for tests, which must neither see nor leave marks of the machine."""
_LARGEST_BYTES = 16 << 10


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a mark says."""

    what: str = ""
    """The experiment, in words."""
    folder: str = ""
    """Where what was changed is written down; empty where the mark cannot be read."""


def place() -> str:
    """The folder of the marks."""
    return os.environ.get(VARIABLE) or PLACE


def mark(name: str, told: Mark) -> None:
    """Before the first write. Nothing where this process is not root. OSError where it cannot be."""
    if os.geteuid() != 0:
        return
    with suppress(FileExistsError):
        os.mkdir(place(), 0o755)
    with _folder() as folder:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o644, dir_fd=folder)
        with open(file, "wb") as stream:
            os.fchmod(stream.fileno(), 0o644)  # whatever the umask: any user's doctor reads it
            stream.write(msgspec.json.encode(told))


def unmark(name: str) -> None:
    """After all was put back."""
    if os.geteuid() == 0:
        with suppress(OSError), _folder() as folder:
            os.unlink(name, dir_fd=folder)


def marks() -> dict[str, Mark]:
    """By their names. OSError where there is such a place and it cannot be listed, or is not root's."""
    try:
        with _folder() as folder:
            return {name: _read(folder, name) for name in sorted(os.listdir(folder))}
    except FileNotFoundError:
        return {}


@contextmanager
def _folder() -> Iterator[int]:
    path = place()
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(folder)
        if found.st_uid not in (0, os.getuid()) or stat.S_IMODE(found.st_mode) & 0o022:
            raise PermissionError(1, "others can write it", path)
        yield folder
    finally:
        os.close(folder)


def _read(folder: int, name: str) -> Mark:
    """An empty one where it cannot be read: that something waits is what counts."""
    with suppress(OSError, ValueError, RecursionError, msgspec.MsgspecError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=folder), "rb") as stream:
            return msgspec.json.decode(stream.read(_LARGEST_BYTES), type=Mark)
    return Mark()
