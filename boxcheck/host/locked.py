"""Whether somebody holds the lock of a file: `<path>.lock`, by flock(2)."""

from __future__ import annotations

import fcntl
import os
import stat


def lock_path(path: str) -> str:
    return f"{path}.lock"


def is_held(path: str) -> bool:
    """Whether a process holds the lock of this path now. True also where that cannot be told."""
    try:
        # O_NONBLOCK: what has that name may be a pipe, whose other end nobody opens.
        file = os.open(lock_path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return False
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
