"""Files that a later start depends on: on the disk, whole and with their names, before what needs them is done."""

from __future__ import annotations

import os
from contextlib import suppress

from boxcheck.host.owner import give_to_owner


def write_kept(path: str, data: bytes) -> None:
    """A file for its owner alone, who is that of the folder. OSError where it or its name cannot be put on the disk;
    then neither is left."""
    folder = os.path.dirname(path) or "."
    part = f"{path}.{os.getpid()}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(part, flags, 0o600), "wb") as stream:
            give_to_owner(folder, stream.fileno())
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(part, path)
        sync_folder(folder)
    except OSError:
        for left in (part, path):
            with suppress(OSError):
                os.unlink(left)
        raise


def sync_folder(folder: str) -> None:
    """Puts names on the disk (fsync(2): that of a file alone does not). OSError where it cannot."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
