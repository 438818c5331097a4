"""Which processors are next to a device on the bus, and how a process is kept on them.

Reads   /sys/bus/pci/devices/<bdf>/{local_cpulist,numa_node} (any user)
Absent  numa_node is -1 where the firmware tells no node (ACPI _PXM); local_cpulist then holds every processor.
By hand cat /sys/bus/pci/devices/0000:41:00.0/local_cpulist; taskset -cp PID

Memory comes from the node of the processor that touches it first (Documentation/admin-guide/mm/numa_memory_policy.rst,
the system default policy), and drivers pin pages on the node of the calling thread: so this is called before a worker
opens its device and allocates its buffers. Threads that are started later inherit it.
"""

from __future__ import annotations

import os
from collections.abc import Collection

import msgspec

from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import integer, parse_cpu_list
from boxcheck.probes.pci import DEVICES, parse_bdf


class Placement(msgspec.Struct, frozen=True):
    """Where a worker should run."""

    cpus: tuple[int, ...]
    """To be kept on; empty: leave it where it is."""
    says: str
    """What is done and why, as one clause."""


def placement(bdf: str, local: Collection[int] | Unread, node: int | Unread, allowed: Collection[int]) -> Placement:
    """The processors next to a device, of those that this process may use. Pure."""
    if isinstance(local, Unread):
        return Placement((), f"left on all processors: {local.why}")
    where = f"NUMA node {node}" if isinstance(node, int) and node >= 0 else "no known NUMA node"
    near = tuple(sorted({*local} & {*allowed}))
    if not near:
        why = "none that is next to it may be used here" if local else "the kernel names none that is next to it"
        return Placement((), f"left on all processors: {why} ({bdf}, {where})")
    if len(near) == len(allowed):
        return Placement((), f"left on all processors: each is as near to {bdf} as any ({where})")
    part = f"{len(near)} of {len(allowed)} processors ({ranges(near)})"
    return Placement(near, f"kept on {part}, next to {bdf} ({where})")


def ranges(cpus: Collection[int]) -> str:
    """`0-3,8`, the kernel's list format."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1][1:] = [cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)


def read_placement(host: Host, bdf: str, allowed: Collection[int]) -> Placement:
    """What the kernel says of a device."""
    known = parse_bdf(bdf)
    if known is None:
        return Placement((), f"left on all processors: {bdf} is no PCI address")
    path = f"{DEVICES}/{known}/local_cpulist"
    text = host.text(path)
    local = text if isinstance(text, Unread) else parse_cpu_list(text, path)
    return placement(known, local, integer(host, f"{DEVICES}/{known}/numa_node"), allowed)


def place_near(bdf: str | None, host: Host | None = None) -> str:
    """Keeps the calling thread, and those it starts from now on, on the processors next to a device. Says what was
    done, in words; changes nothing where the device, its node or the permission is missing, and never raises."""
    if bdf is None:
        return "left on all processors: the runtime tells no PCI address"
    try:
        if host is None:
            from boxcheck.host.live import LiveHost

            host = LiveHost()
        found = read_placement(host, bdf, os.sched_getaffinity(0))
        if found.cpus:
            os.sched_setaffinity(0, found.cpus)
    except OSError as error:
        return f"left on all processors: pinning was refused ({error.strerror})"
    return found.says
