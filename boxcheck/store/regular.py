"""Opens files from elsewhere. What is called a file may be a pipe, which nobody writes into, or a terminal."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO


def open_regular(path: str) -> BinaryIO:
    """A file to be read. OSError, whose `strerror` says why, where it is none or cannot be opened; ValueError for a
    path that is none. Waits for nobody."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no file", path)
    return os.fdopen(descriptor, "rb")
