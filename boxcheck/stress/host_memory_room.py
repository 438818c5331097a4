"""How much of the host's memory may be taken for a test: half of what is available, and never what the host needs.

Reads   /proc/meminfo; /proc/self/cgroup, and memory.{max,current} (cgroup v2) or memory.{limit,usage}_in_bytes (v1) of
        this process's group and of all above it, since a container may have far less than the machine (any user)
By hand grep -E 'MemAvailable|MemTotal' /proc/meminfo; cat /sys/fs/cgroup/memory.max
"""

from __future__ import annotations

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.memory import parse_meminfo
from boxcheck.stress.vram_room import HOST_BYTES, HOST_PART, MIB

HALF = 50.0
MOST_PERCENT = 90.0
SMALL_PART = 0.01
"""Of what is available: so little may be had on any machine."""
CGROUP = "/sys/fs/cgroup"
V2, V1 = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
NO_LIMIT_BYTES = 1 << 60
"""cgroup v1 writes a number near 2^63 where there is no limit."""


class HostRoom(msgspec.Struct, frozen=True):
    available_bytes: int
    """As the kernel tells it, or what is left of the group's limit where that is less."""
    target_bytes: int
    """What is taken at most."""
    bounded_by: str
    """Why it is not more."""


def host_room(host: Host, percent: float = HALF, most_bytes: int | None = None) -> HostRoom:
    """What may be taken now. GpuError where it cannot be told, or where nothing can be spared."""
    text = host.text("/proc/meminfo")
    rows = [text if isinstance(text, Unread) else parse_meminfo(text, name) for name in ("MemAvailable", "MemTotal")]
    for row in rows:
        if isinstance(row, Unread):
            raise GpuError("unsupported", f"it is not known how much memory the host can spare: {row.why}")
    available, total = (int(row) for row in rows)
    if most_bytes is not None and most_bytes <= available * SMALL_PART:
        return HostRoom(available, most_bytes, f"{most_bytes >> 20} MiB were asked for")
    spared = max(HOST_BYTES, int(total * HOST_PART))
    bounds = {
        f"{percent:g} % of what is available": int(available * percent / 100),
        f"{spared >> 20} MiB are left to the host": available - spared}
    left = group_left(host)
    if left is not None and left < available:
        available = left
        bounds = {f"{percent:g} % of what the container's limit leaves": int(left * percent / 100)}
    if most_bytes is not None:
        bounds[f"{most_bytes >> 20} MiB were asked for"] = most_bytes
    words, target = min(bounds.items(), key=lambda item: item[1])
    if target < MIB:
        raise GpuError(
            "out-of-memory", f"{available >> 20} MiB of memory are available, and the host can spare none of them",
            "end other programs, and repeat")
    return HostRoom(available, target, words)


def group_left(host: Host) -> int | None:
    """What the limits of the control groups leave to this process; None where no group has a limit."""
    found: list[int] = []
    for group, names in groups(host):
        limit, used = (_number(host.text(f"{group}/{name}")) for name in names)
        if limit is not None and used is not None and limit < NO_LIMIT_BYTES:
            found.append(max(0, limit - used))
    return min(found, default=None)


def groups(host: Host) -> list[tuple[str, tuple[str, str]]]:
    """Directories of this process's group and of those above it, with the names of limit and use there."""
    text = host.text("/proc/self/cgroup")
    found: list[tuple[str, tuple[str, str]]] = []
    for line in () if isinstance(text, Unread) else text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            base, names = CGROUP, V2
        elif "memory" in controllers.split(","):
            base, names = f"{CGROUP}/memory", V1
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        # Inside a container the path may be the host's, and is not there; the group's own files are at the top then.
        found += [("/".join((base, *parts[:depth])), names) for depth in range(len(parts), -1, -1)]
    return found


def _number(text: str | Unread) -> int | None:
    """None for `max`, and for what was not read."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 21 else None
