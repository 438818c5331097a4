"""Cores that work may be pinned to: which logical processors share one, its NUMA node, its kind, and the last cache.

Reads   /sys/devices/system/cpu/cpu*/{topology/{thread_siblings_list,physical_package_id},cache/index*/{level,size,
        shared_cpu_list}}, /sys/devices/system/node/node*/cpulist, /sys/devices/cpu_atom/cpus (any user)
Absent  cpu_atom but on Intel's processors with two kinds of cores; node* on kernels without NUMA; topology in some
        containers: then each logical processor counts as a core, all on one node.
By hand lscpu -e; numactl -H

Only processors that this process may use are counted: a container or cpuset may leave it a part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import integer, numbered, parse_cpu_list

CPU = "/sys/devices/system/cpu"
NODES = "/sys/devices/system/node"
EFFICIENT = "/sys/devices/cpu_atom/cpus"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Core(msgspec.Struct, frozen=True, kw_only=True):
    cpu: int
    """Its first logical processor that may be used: what names it."""
    threads: tuple[int, ...]
    """All its logical processors that may be used."""
    package: int = 0
    node: int = 0
    kind: str = ""
    """`efficient` for the small cores of a processor that has two kinds, else empty."""

    @property
    def name(self) -> str:
        return f"core {self.cpu}"


def cores(host: Host, allowed: Collection[int]) -> tuple[Core, ...]:
    """The cores among the allowed logical processors, in the order of their numbers."""
    nodes, efficient = node_of(host), _list(host, EFFICIENT)
    found: list[Core] = []
    taken: set[int] = set()
    for cpu in sorted(allowed):
        if cpu in taken:
            continue
        siblings = _list(host, f"{CPU}/cpu{cpu}/topology/thread_siblings_list")
        threads = tuple(sorted({cpu, *siblings} & {*allowed}))
        taken |= {*threads}
        package = integer(host, f"{CPU}/cpu{cpu}/topology/physical_package_id")
        found.append(Core(
            cpu=cpu, threads=threads, package=package if isinstance(package, int) else 0, node=nodes.get(cpu, 0),
            kind="efficient" if cpu in efficient else ""))
    return tuple(found)


def left_over(found: Sequence[Core], spare: int) -> tuple[Core, ...]:
    """The cores that may be used where so many are to be left to others: taken from each node in turn, since GPUs hang
    on all of them, the first of each first, which take most interrupts. At least one is used."""
    nodes: dict[int, list[Core]] = {}
    for core in found:
        nodes.setdefault(core.node, []).append(core)
    free: set[int] = set()
    while len(free) < min(spare, len(found) - 1):
        for mine in nodes.values():
            if mine and len(free) < min(spare, len(found) - 1):
                free.add(mine.pop(0).cpu)
    return tuple(core for core in found if core.cpu not in free)


def spare_of(options: Mapping[str, str]) -> int:
    """The option `spare`. GpuError where it is no number of cores."""
    word = options.get("spare", "0")
    if not word.isdecimal() or len(word) > 4:
        raise GpuError("unsupported", f"spare={word} is no number of cores")
    return int(word)


def node_of(host: Host) -> Mapping[int, int]:
    """Logical processor to NUMA node; empty where the kernel shows no nodes."""
    names = host.entries(NODES)
    found: dict[int, int] = {}
    for name in () if isinstance(names, Unread) else numbered(names, "node"):
        found |= dict.fromkeys(_list(host, f"{NODES}/{name}/cpulist"), int(name[4:]))
    return found


def nodes_without_cores(host: Host) -> tuple[int, ...]:
    """NUMA nodes of memory alone (CXL): no process can be pinned to them."""
    names = host.entries(NODES)
    return () if isinstance(names, Unread) else tuple(
        int(name[4:]) for name in numbered(names, "node") if host.text(f"{NODES}/{name}/cpulist") == "")


def last_cache_bytes(host: Host, used: Collection[int]) -> int | None:
    """All caches of the last level of these processors together; None where the kernel does not show them."""
    sizes: dict[str, tuple[int, int]] = {}
    for cpu in used:
        base = f"{CPU}/cpu{cpu}/cache"
        names = host.entries(base)
        for name in () if isinstance(names, Unread) else numbered(names, "index"):
            level, size = integer(host, f"{base}/{name}/level"), _size(host.text(f"{base}/{name}/size"))
            shared = host.text(f"{base}/{name}/shared_cpu_list")
            if isinstance(level, int) and size is not None and isinstance(shared, str):
                sizes[f"{level} {shared}"] = (level, size)
    last = max((level for level, _ in sizes.values()), default=0)
    return sum(size for level, size in sizes.values() if level == last) if sizes else None


def _size(text: str | Unread) -> int | None:
    """`32768K` in bytes."""
    if isinstance(text, Unread) or not text[:-1].isdecimal() or text[-1] not in UNITS:
        return None
    return int(text[:-1]) * UNITS[text[-1]]


def _list(host: Host, path: str) -> tuple[int, ...]:
    """A list of processors; empty where it was not read."""
    text = host.text(path)
    found = text if isinstance(text, Unread) else parse_cpu_list(text, path)
    return () if isinstance(found, Unread) else found
