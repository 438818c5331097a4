"""Whether somebody holds a lock: that of a file, `<path>.lock` by flock(2), or that of the box (engine.box_lock)."""

from __future__ import annotations

import fcntl
import os
import socket
import stat

BOX = "boxcheck-load"
"""In the abstract namespace of Unix sockets: whoever loads this box holds it."""
BOX_VARIABLE = "BOXCHECK_LOCK"
"""Another name: for tests, which must not stop a run that goes on."""


def box_name() -> str:
    """Address of the box's lock in the abstract namespace, which begins with a NUL (unix(7))."""
    return f"\0{os.environ.get(BOX_VARIABLE) or BOX}"


def is_box_held() -> bool:
    """Whether a process loads the box or experiments on it now. Asks without taking it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(box_name())
        except OSError:
            return False
    return True


def lock_path(path: str) -> str:
    """The file that is locked for a path."""
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
