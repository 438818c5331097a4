"""Pages for the memory test: fresh ones, locked ones, and where they lie.

Reads   /proc/self/{pagemap,numa_maps,status} (any user; physical addresses need root)
Absent  numa_maps without NUMA in the kernel; VmSwap on kernels without swap
By hand grep -i hugepages /proc/meminfo; numastat -p PID
"""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress
from typing import Any

import numpy as np

from boxcheck.stress.host_memory_patterns import U64


def fresh(size_bytes: int) -> tuple[mmap.mmap, U64]:
    """Fresh pages of this process, huge ones where the kernel gives them. MemoryError where there are none."""
    try:
        mapped = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        raise MemoryError from None
    with suppress(OSError):  # a kernel without them
        mapped.madvise(mmap.MADV_HUGEPAGE)
    return mapped, np.frombuffer(mapped, np.uint64)


def lock(block: U64) -> bool:
    """Keeps pages in memory; False where that is not allowed."""
    try:
        return bool(ctypes.CDLL(None).mlock(ctypes.c_void_p(block.ctypes.data), ctypes.c_size_t(block.nbytes)) == 0)
    except (OSError, AttributeError):
        return False


def where(array: Any, place: int) -> str:
    """Address of a word: in the process, and in the machine where the kernel tells that (root)."""
    address = array.ctypes.data + 8 * place
    physical = physical_address(address)
    told = f"physical 0x{physical:x}" if physical else "physical address not known without root"
    return f"virtual address 0x{address:x} ({told})"


def physical_address(address: int) -> int | None:
    """From /proc/self/pagemap: 8 bytes a page, frame number in bits 0 to 54, bit 63 set for a page that is present; the
    number reads 0 without CAP_SYS_ADMIN (Documentation/admin-guide/mm/pagemap.rst)."""
    page = mmap.PAGESIZE
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            file.seek(address // page * 8)
            entry = int.from_bytes(file.read(8), "little")
    except OSError:
        return None
    frame = entry & ((1 << 55) - 1)
    return frame * page + address % page if entry >> 63 and frame else None


def local(array: Any, node: int) -> dict[str, float]:
    """`local_percent`: how much of an array's pages lies on a NUMA node. Empty where the kernel does not tell.

    /proc/self/numa_maps: a line for each mapping begins with its address; `N0=16384` are its pages on node 0 (numa(7)).
    """
    start, found = array.ctypes.data, (0, dict[str, int]())
    try:
        with open("/proc/self/numa_maps") as file:
            for line in file:
                first, *words = line.split()
                if found[0] < int(first, 16) <= start:
                    found = int(first, 16), {
                        word[1:].partition("=")[0]: int(word.partition("=")[2])
                        for word in words if word[:1] == "N" and word[1:2].isdigit()}
    except (OSError, ValueError):
        return {}
    pages = sum(found[1].values())
    return {"local_percent": round(100.0 * found[1].get(str(node), 0) / pages, 1)} if pages else {}


def swapped_kib() -> int | str:
    """How much of this process lies in swap, 0 where the kernel knows none; why that is not known."""
    try:
        with open("/proc/self/status") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("VmSwap:")), 0)
    except (OSError, ValueError, IndexError) as error:
        return f"/proc/self/status: {error}"
