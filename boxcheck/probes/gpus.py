"""The GPUs of the machine, by PCI address, with the slot each sits in.

Reads   the PCI inventory and links only; what drivers know of a GPU is in probes/amdgpu.py and probes/nvidia.py.
By hand lspci -Dnn -d ::03xx; lspci -Dnn -d ::1200

The graphics of a server's management controller (ASPEED, Matrox, ATI's ES1000) and of hypervisors are no GPUs here,
nor are the virtual functions of one.
"""

from __future__ import annotations

import msgspec

from boxcheck.host import Host
from boxcheck.model import Bdf, Subject, Unread
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciFunction, PciInventory
from boxcheck.profile import GpuPart, part_of
from boxcheck.registry import probe

DISPLAY_CLASSES = frozenset({0x0300, 0x0302, 0x0380, 0x1200})
"""VGA, 3D, other display, processing accelerator (Instinct)."""

GPU_VENDORS = {0x10DE: "10de", 0x1002: "1002", 0x8086: "8086"}
SERVER_GRAPHICS = frozenset({(0x1002, 0x4752), (0x1002, 0x515E), (0x1002, 0x5969)})
"""Rage XL, ES1000 and RN50 of pci.ids: what older server boards have for a console, on a bus that is no PCI Express."""
VENDOR_NAMES = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}


class Gpu(msgspec.Struct, frozen=True):
    index: int
    """Position in order of bus address, as CUDA_DEVICE_ORDER=PCI_BUS_ID and rocm-smi count."""
    bdf: Bdf
    vendor: str
    """`10de`, `1002` or `8086`."""
    pci_id: str
    revision: int | None
    name: str
    part: GpuPart | None
    """Entry of gpus.toml, by id and revision. None for a GPU that it does not know."""
    slot: str | None
    slot_link: Bdf | None
    """Id of the link of its slot in `Links`, None for one that hangs on no link."""
    integrated: bool
    """Part of the processor: no slot, no card, no memory of its own."""
    driver: str | None | Unread
    gone: bool
    """Config space reads all ones: it fell off the bus."""
    function: PciFunction

    @property
    def subject(self) -> Subject:
        return Subject("gpu", name=f"GPU {self.index}", slot=self.slot, bdf=self.bdf)


class Gpus(msgspec.Struct, frozen=True):
    gpus: tuple[Gpu, ...]
    unreadable: Unread | None = None
    """Set when the PCI bus, or a function on it, could not be read; then a GPU may be missing from `gpus`."""

    def of_vendor(self, vendor: str) -> tuple[Gpu, ...]:
        return tuple(gpu for gpu in self.gpus if gpu.vendor == vendor)


def _is_gpu(function: PciFunction) -> bool:
    return (
        function.class_code >> 8 in DISPLAY_CLASSES and function.vendor in GPU_VENDORS and not function.virtual_function
        and (function.vendor, function.device) not in SERVER_GRAPHICS
    )


def _integrated(function: PciFunction, part: GpuPart | None) -> bool:
    if part is not None:
        return part.vram_gib == 0
    return function.vendor == 0x8086 and function.parent is None


@probe("gpus", Gpus, reads=[PciInventory, Links])
def gpus(host: Host, pci: PciInventory, links: Links) -> Gpus:
    found: list[Gpu] = []
    for function in sorted(filter(_is_gpu, pci.functions.values()), key=lambda item: item.bdf):
        part = part_of(function.pci_id, function.revision)
        integrated = _integrated(function, part)
        link = None if integrated else links.slot_link(function.bdf)
        vendor = GPU_VENDORS[function.vendor]
        found.append(Gpu(
            index=len(found), bdf=function.bdf, vendor=vendor, pci_id=function.pci_id, revision=function.revision,
            name=part.name if part else f"{VENDOR_NAMES[vendor]} GPU {function.pci_id}", part=part,
            slot=link.slot if link else None, slot_link=link.id if link else None, integrated=integrated,
            driver=function.driver, gone=function.gone, function=function,
        ))
    return Gpus(tuple(found), pci.incomplete)
