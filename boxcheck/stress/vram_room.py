"""How much of a device's memory may be taken for a test, and in blocks of which sizes.

A GPU with memory of its own: all that is free, less a little for the driver. A GPU that shares the host's memory (an
APU): what the host can spare. Such memory is pinned and belongs to no process that the kernel's OOM killer could name
(Linux commit "drm/amdgpu: Adjust logic around GTT size (v3)"), so taking too much ends other programs, not this one.

Reads   /proc/meminfo; for AMD APUs mem_info_{vram,gtt}_{total,used} of the GPU's PCI directory (Linux >= 4.19) and
        /sys/module/{amdttm,ttm}/parameters/pages_limit; any user
By hand grep -E 'MemAvailable|MemTotal' /proc/meminfo; cat /sys/bus/pci/devices/0000:c5:00.0/mem_info_gtt_total
"""

from __future__ import annotations

import msgspec

from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.amdgpu import PAGE_BYTES, parse_count
from boxcheck.probes.memory import parse_meminfo
from boxcheck.probes.pci import DEVICES

MIB = 1 << 20
GIB = 1 << 30
BLOCK_SIZES = (GIB, 256 * MIB, 64 * MIB, 16 * MIB)
"""Tried in this order; one that no longer fits makes room for the next."""
MOST_DRIVER_BYTES = 512 * MIB
DRIVER_PART = 0.02
"""Left to the driver for kernels, queues and events: a fiftieth, at most 512 MiB, so that 95 % of any GPU remain."""
HOST_BYTES = 4 * GIB
"""Left to the host at least: the 124 of 128 GiB that kyuz0/amd-strix-halo-toolboxes gives to the GPU leave as much."""
HOST_PART = 0.10
"""Left to the host at least: earlyoom ends programs when less of the memory is available (earlyoom(1), option -m)."""


class Room(msgspec.Struct, frozen=True):
    """What may be taken."""

    free_bytes: int
    """As the driver tells it."""
    usable_bytes: int
    """What of it is the GPU's to use; the part that was tested is counted of this."""
    target_bytes: int
    """What is taken at most."""
    words: str = ""
    """Why `usable_bytes` is less than what is free; empty where it is not."""
    of_host: bool = False
    """Whether the host loses what is taken."""


def own_room(free_bytes: int) -> Room:
    """Of a GPU with memory of its own."""
    spared = min(MOST_DRIVER_BYTES, int(free_bytes * DRIVER_PART))
    return Room(free_bytes, free_bytes, free_bytes - spared)


def shared_room(info: GpuInfo, free_bytes: int, host: Host) -> Room:
    """Of a GPU that computes in the host's memory. GpuError when it cannot be told what the host needs.

    With amdgpu, memory comes from the carve-out of the BIOS or from the GTT, whichever is larger (amdkfd,
    apu_prefer_gtt); the carve-out is lost to the host already, so that the host needs none of it.
    """
    carve_out = _number(host, info, "mem_info_vram_total")
    gtt = _number(host, info, "mem_info_gtt_total")
    limit = _ttm_limit(host)
    if isinstance(carve_out, int) and isinstance(gtt, int):
        mapped = min(gtt, limit) if isinstance(limit, int) else gtt
        if carve_out >= mapped:
            used = _number(host, info, "mem_info_vram_used")
            left = carve_out - used if isinstance(used, int) else free_bytes
            return _bounded(free_bytes, left, "what the BIOS gave to the GPU", of_host=False)
        used = _number(host, info, "mem_info_gtt_used")
        left = min(mapped - used if isinstance(used, int) else mapped, host_spares(host))
        return _bounded(free_bytes, left, "GTT, and what the host can spare")
    return _bounded(free_bytes, host_spares(host), "what the host can spare")


def _bounded(free_bytes: int, left: int, words: str, of_host: bool = True) -> Room:
    usable = max(0, min(free_bytes, left))
    spared = min(MOST_DRIVER_BYTES, int(usable * DRIVER_PART))
    return Room(free_bytes, usable, usable - spared, words if usable < free_bytes else "", of_host)


def host_spares(host: Host) -> int:
    """Bytes of the host's memory that may be taken now; 0 or less when none. Read anew through a fresh `host`."""
    text = host.text("/proc/meminfo")
    rows = [text if isinstance(text, Unread) else parse_meminfo(text, name) for name in ("MemAvailable", "MemTotal")]
    for row in rows:
        if isinstance(row, Unread):
            raise GpuError(
                "unsupported", f"this GPU uses the host's memory, and what the host needs is not known ({row.why})")
    available, total = (int(row) for row in rows)
    return available - max(HOST_BYTES, int(total * HOST_PART))


def _number(host: Host, info: GpuInfo, name: str) -> int | Unread:
    if info.bdf is None:
        return Unread("the runtime tells no PCI address", "unsupported")
    path = f"{DEVICES}/{info.bdf}/{name}"
    return parse_count(host.text(path), path)


def _ttm_limit(host: Host) -> int | Unread:
    """Bytes that GPUs together may map; AMD's DKMS driver counts in a module of its own."""
    for module in ("amdttm", "ttm"):
        pages = parse_count(host.text(f"/sys/module/{module}/parameters/pages_limit"), "pages_limit")
        if isinstance(pages, int):
            return pages * PAGE_BYTES
    return Unread("neither ttm nor amdttm tells its limit", "absent")
