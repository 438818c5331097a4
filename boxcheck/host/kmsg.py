"""The kernel's ring buffer, read from /dev/kmsg.

Format: Documentation/ABI/testing/dev-kmsg: `priority,sequence,microseconds,flags;message`, then lines that begin with a
space.
Needs root (CAP_SYSLOG) where kernel.dmesg_restrict is 1, as distributions set it.
"""

from __future__ import annotations

import errno
import os
import re

from boxcheck.host import LOG_LIMIT_BYTES
from boxcheck.host.common import errno_name, from_errno_name
from boxcheck.model import Unread

RECORD_LIMIT_BYTES = 1 << 16
"""The kernel's own limit for a record with its header is 8 kB or, since 6.x, 2 kB more."""

_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def parse_record(record: bytes) -> bytes:
    """A record as `[seconds.microseconds] message` lines, one for each line of the message, each with its line end."""
    head, _, rest = record.partition(b";")
    numbers = head.split(b",")
    stamp = int(numbers[2]) if len(numbers) > 2 and numbers[2].isdigit() else 0
    message = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), rest.split(b"\n", 1)[0])
    mark = b"[%5d.%06d] " % (stamp // 1_000_000, stamp % 1_000_000)
    return b"".join(b"%s%s\n" % (mark, line) for line in message.split(b"\n"))


def read_kmsg(path: str = "/dev/kmsg") -> bytes | Unread:
    """All that the ring buffer holds now. An Unread says why without naming the path."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Unread(*from_errno_name(errno_name(error.errno)))
    lines: list[bytes] = []
    size = 0
    try:
        while size < LOG_LIMIT_BYTES:
            try:
                record = os.read(descriptor, RECORD_LIMIT_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while reading; the next record follows
                    continue
                return Unread(*from_errno_name(errno_name(error.errno)))
            if not record:
                break
            lines.append(parse_record(record))
            size += len(lines[-1])
    finally:
        os.close(descriptor)
    return b"".join(lines) or Unread("empty", "unsupported")


class KmsgFollower:
    """New records of the ring buffer, from the moment it was opened. `unread` says why there are none."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        self.unread: Unread | None = None
        self.lost = 0
        """How often records were overwritten before they were read."""
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            self.unread = Unread(*from_errno_name(errno_name(error.errno)))
            self.close()

    def read(self) -> bytes:
        """What has come since, as lines; never waits."""
        lines: list[bytes] = []
        while self._descriptor is not None and len(lines) < 10_000:
            try:
                record = os.read(self._descriptor, RECORD_LIMIT_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:
                    self.lost += 1
                    continue
                self.unread = Unread(*from_errno_name(errno_name(error.errno)))
                self.close()
                break
            if not record:
                break
            lines.append(parse_record(record))
        return b"".join(lines)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
