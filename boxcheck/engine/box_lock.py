"""One load at a time on a box, whoever starts it and wherever their runs lie: two would each measure the other.

A name in the abstract namespace of Unix sockets (unix(7)): it goes with the process that holds it, needs no file that
somebody could put a link in place of, and is seen by all users. A container with a network of its own is not seen.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from boxcheck.host.locked import box_name
from boxcheck.usage import UsageError


@contextmanager
def whole_box() -> Iterator[None]:
    """Held while the body runs. UsageError where another process holds it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        try:
            held.bind(box_name())
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(
                    "another boxcheck puts load on this box", "wait for it; boxcheck attach follows a burn") from None
            # A system without such names has no other way to tell; the run is worth more than the question.
        yield
