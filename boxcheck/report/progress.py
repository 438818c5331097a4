"""What is said while the machine is read: on standard error, only on a terminal, and erased when done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boxcheck.commands.doctor import Options


@contextmanager
def announce(options: Options) -> Iterator[None]:
    """Shows one transient line while the body runs."""
    if options.quiet or not sys.stderr.isatty():
        yield
        return
    what = "Reading this machine" if options.sysroot is None else "Reading the capture"
    sys.stderr.write(f"{what} ...")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
