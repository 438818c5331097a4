"""Limits of this login that GPU runtimes run into: locked memory, open files, shared memory.

Reads   /proc/self/limits, statvfs of /dev/shm        (any Linux, any user)
By hand ulimit -l -n; df -h /dev/shm
"""

from __future__ import annotations

import msgspec

from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import parse_integer
from boxcheck.registry import probe


class ProcessLimits(msgspec.Struct, frozen=True):
    locked_memory_bytes: int | None | Unread
    """None means unlimited."""
    open_files: int | None | Unread
    shared_memory_bytes: int | Unread
    """Size of /dev/shm."""


def parse_limit(text: str, row: str) -> int | None | Unread:
    """Soft limit of a row of /proc/<pid>/limits; None for `unlimited`, Unread when the row is missing or no number."""
    for line in text.splitlines():
        if line.startswith(row):
            words = line[len(row):].split()
            if words and words[0] == "unlimited":
                return None
            if words and words[0].isdecimal():
                return parse_integer(words[0], f"/proc/self/limits, {row}")
    return Unread(f"/proc/self/limits has no row {row!r}", "malformed")


@probe("process_limits", ProcessLimits)
def process_limits(host: Host) -> ProcessLimits:
    text = host.text("/proc/self/limits")
    shm = host.disk("/dev/shm")
    return ProcessLimits(
        locked_memory_bytes=text if isinstance(text, Unread) else parse_limit(text, "Max locked memory"),
        open_files=text if isinstance(text, Unread) else parse_limit(text, "Max open files"),
        shared_memory_bytes=shm if isinstance(shm, Unread) else shm.total_bytes,
    )
