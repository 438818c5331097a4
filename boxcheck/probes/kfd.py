"""The AMD compute driver's own picture of the machine: nodes, memory and the links between them.

Reads   /sys/class/kfd/kfd/topology/nodes/<n>/{gpu_id,name,properties}, .../mem_banks/<n>/properties,
        .../io_links/<n>/properties, .../p2p_links/<n>/properties                                     (any user)
Since   Linux 4.19 for all GPUs; gfx_target_version 5.14, p2p_links 6.0
Absent  /sys/class/kfd when amdgpu with CONFIG_HSA_AMD is not loaded. In a container properties of devices that were
        not handed in are empty.
By hand cd /sys/class/kfd/kfd/topology/nodes; cat 1/properties; grep flags */*/*/properties

Numbers are decimal. Link flags and types: drivers/gpu/drm/amd/amdkfd/kfd_crat.h, include/uapi/linux/kfd_sysfs.h.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.registry import probe

NODES = "/sys/class/kfd/kfd/topology/nodes"
NO_ATOMICS_32 = 1 << 2
NO_ATOMICS_64 = 1 << 3
NO_PEER_TO_PEER = 1 << 4
NODE_LIMIT = 1024
"""An MI300X box in CPX mode has 66 nodes."""


class KfdLink(msgspec.Struct, frozen=True):
    origin: int
    target: int
    type: int
    flags: int
    peer: bool
    """From p2p_links: a way between two GPUs that KFD itself opened."""

    @property
    def atomics(self) -> bool:
        """Both widths of atomic operation travel this way."""
        return not self.flags & (NO_ATOMICS_32 | NO_ATOMICS_64)


class KfdNode(msgspec.Struct, frozen=True):
    index: int
    gpu_id: int | None
    """0 for a CPU."""
    name: str
    simd_count: int | None
    """0 for a CPU. None when properties were not readable."""
    gfx_target: str | None
    """`gfx1100`; None for a CPU or a kernel before 5.14."""
    bdf: Bdf | None
    render_minor: int | None
    memory_bytes: int | Unread
    """Sum of its memory banks: what a runtime may allocate on it."""
    links: tuple[KfdLink, ...] | Unread
    unread: Unread | None = None
    compute_units: int | None = None
    """None for a CPU, and where the kernel does not say how many SIMDs make one."""

    @property
    def is_gpu(self) -> bool:
        return bool(self.simd_count) or (self.simd_count is None and bool(self.gpu_id))


class Kfd(msgspec.Struct, frozen=True):
    nodes: tuple[KfdNode, ...] | Unread

    @property
    def gpus(self) -> tuple[KfdNode, ...]:
        """The nodes that are GPUs; empty when nothing was read, so look at `nodes` first."""
        return () if isinstance(self.nodes, Unread) else tuple(node for node in self.nodes if node.is_gpu)

    def of(self, bdf: Bdf) -> KfdNode | None:
        return next((node for node in self.gpus if node.bdf == bdf), None)


def parse_properties(text: str) -> dict[str, int]:
    """`name value` lines with decimal values; other lines are left out."""
    found: dict[str, int] = {}
    for line in text.splitlines()[:400]:
        name, blank, value = line.strip().partition(" ")
        value = value.strip()
        if blank and value.isascii() and value.isdigit() and len(value) <= 20:
            found[name] = int(value)
    return found


def gfx_name(version: int) -> str | None:
    """`gfx1151` for 110501, `gfx90a` for 90010: major, minor and step, two decimal digits each, shown in hex."""
    if version <= 0:
        return None
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def address(properties: Mapping[str, int]) -> Bdf | None:
    """PCI address of a GPU node: location_id is bus, device and function; domain is apart (0 before Linux 5.6)."""
    location = properties.get("location_id", 0)
    if not location or location > 0xFFFF:
        return None
    return Bdf(
        f"{properties.get('domain', 0) & 0xFFFFFFFF:04x}:{location >> 8:02x}:{location >> 3 & 0x1F:02x}.{location & 7}")


def _links(host: Host, base: str) -> tuple[KfdLink, ...] | Unread:
    found: list[KfdLink] = []
    for folder in ("io_links", "p2p_links"):
        names = host.entries(f"{base}/{folder}")
        if isinstance(names, Unread):
            if names.kind == "absent":
                continue
            return names
        for name in names[:NODE_LIMIT]:
            text = host.text(f"{base}/{folder}/{name}/properties")
            if isinstance(text, Unread):
                return text
            values = parse_properties(text)
            if not {"node_from", "node_to", "flags"} <= values.keys():
                return Unread(f"{base}/{folder}/{name}/properties does not say where it leads", "malformed")
            peer = folder == "p2p_links"
            found.append(KfdLink(
                values["node_from"], values["node_to"], values.get("type", 0), values["flags"], peer))
    return tuple(found)


def _memory(host: Host, base: str) -> int | Unread:
    names = host.entries(f"{base}/mem_banks")
    if isinstance(names, Unread):
        return names
    total = 0
    for name in names[:64]:
        text = host.text(f"{base}/mem_banks/{name}/properties")
        if isinstance(text, Unread):
            return text
        size = parse_properties(text).get("size_in_bytes")
        if size is None:
            return Unread(f"{base}/mem_banks/{name}/properties names no size", "malformed")
        total += size
    return total


def _node(host: Host, name: str) -> KfdNode:
    base = f"{NODES}/{name}"
    text = host.text(f"{base}/properties")
    gpu_id = host.text(f"{base}/gpu_id")
    numeric = isinstance(gpu_id, str) and gpu_id.isascii() and gpu_id.isdigit() and len(gpu_id) < 12
    number = int(gpu_id) if numeric and isinstance(gpu_id, str) else None
    label = host.text(f"{base}/name")
    title = "" if isinstance(label, Unread) else label[:64]
    unread = text if isinstance(text, Unread) else None
    values = {} if isinstance(text, Unread) else parse_properties(text)
    if unread is None and "simd_count" not in values:
        unread = Unread(f"{base}/properties is empty: this device is not handed into the container", "permission")
    elif unread is None and values["simd_count"] and "location_id" not in values:
        unread = Unread(f"{base}/properties does not say which PCI device it is", "malformed")
    if unread is not None:
        return KfdNode(int(name), number, title, None, None, None, None, unread, unread, unread)
    is_gpu = values["simd_count"] > 0
    return KfdNode(
        index=int(name), gpu_id=number, name=title, simd_count=values["simd_count"],
        gfx_target=gfx_name(values.get("gfx_target_version", 0)) if is_gpu else None,
        bdf=address(values) if is_gpu else None, render_minor=values.get("drm_render_minor") if is_gpu else None,
        memory_bytes=_memory(host, base), links=_links(host, base),
        compute_units=values["simd_count"] // per if is_gpu and (per := values.get("simd_per_cu", 0)) > 0 else None,
    )


@probe("kfd", Kfd)
def kfd(host: Host) -> Kfd:
    names = host.entries(NODES)
    if isinstance(names, Unread):
        return Kfd(names)
    numbers = sorted((name for name in names if name.isascii() and name.isdigit() and len(name) < 6), key=int)
    return Kfd(tuple(_node(host, name) for name in numbers[:NODE_LIMIT]))
