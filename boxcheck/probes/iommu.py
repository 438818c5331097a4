"""The IOMMU: whether there is one, how each group of devices goes through it, and what was asked for.

Reads   names in /sys/class/iommu, /sys/kernel/iommu_groups/<n>/type, names in .../devices, whether
        /sys/firmware/acpi/tables/{DMAR,IVRS} exist, /proc/cmdline                                    (any user)
Since   type Linux 4.20 (DMA-FQ 5.15)
Absent  /sys/class/iommu is empty and there are no groups when the IOMMU is off in the BIOS or on the command line
By hand ls /sys/class/iommu; cat /sys/kernel/iommu_groups/*/type | sort | uniq -c

Types: `identity` passes addresses through; `DMA` and `DMA-FQ` translate; `blocked` lets nothing through. Groups exist
with identity, too (iommu=pt).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.pci import PciInventory
from boxcheck.registry import probe

GROUPS = "/sys/kernel/iommu_groups"
UNITS = "/sys/class/iommu"
TABLES = {"DMAR": "Intel", "IVRS": "AMD"}
TRANSLATING = frozenset({"DMA", "DMA-FQ"})


class IommuGroup(msgspec.Struct, frozen=True):
    number: int
    type: str | Unread
    """`identity`, `DMA`, `DMA-FQ`, `blocked`, `auto`."""
    devices: tuple[str, ...] | Unread


class Iommu(msgspec.Struct, frozen=True):
    units: tuple[str, ...] | Unread
    """IOMMUs that the kernel drives (`ivhd0`, `dmar1`); empty when it drives none."""
    groups: Mapping[int, IommuGroup] | Unread
    firmware_table: str | None | Unread
    """`IVRS` (AMD) or `DMAR` (Intel) where the firmware describes an IOMMU; None where it describes none."""

    @property
    def active(self) -> bool | Unread:
        """Whether any IOMMU stands between devices and memory, translating or not."""
        if not isinstance(self.units, Unread) and self.units:
            return True
        if not isinstance(self.groups, Unread) and self.groups:
            return True
        if isinstance(self.groups, Unread):
            return self.groups
        return False

    def group_of(self, number: int | None | Unread) -> IommuGroup | None | Unread:
        """The group with that number; None for a device in no group."""
        if number is None or isinstance(number, Unread):
            return number
        if isinstance(self.groups, Unread):
            return self.groups
        return self.groups.get(number, Unread(f"{GROUPS}/{number} was not read", "not-captured"))


def _group(host: Host, number: int) -> IommuGroup:
    kind = host.text(f"{GROUPS}/{number}/type")
    shown = kind if isinstance(kind, Unread) else clean_text(kind, 32)
    return IommuGroup(number, shown, host.entries(f"{GROUPS}/{number}/devices"))


def _groups(host: Host, pci: PciInventory) -> Mapping[int, IommuGroup] | Unread:
    names = host.entries(GROUPS)
    if isinstance(names, Unread) and names.kind == "absent" and host.exists("/sys/kernel") is False:
        return Unread("/sys/kernel is hidden here, so nobody sees whether an IOMMU is at work", "unsupported")
    if isinstance(names, Unread):
        return {} if names.kind == "absent" else names
    # The types of all groups tell nothing more than those with a PCI function in them, and there may be hundreds.
    used = {function.iommu_group for function in pci.functions.values() if isinstance(function.iommu_group, int)}
    numbers = [int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 7]
    return {number: _group(host, number) for number in sorted(numbers) if number in used or not used}


def _table(host: Host) -> str | None | Unread:
    unread: Unread | None = None
    for name in TABLES:
        there = host.exists(f"/sys/firmware/acpi/tables/{name}")
        if there is True:
            return name
        if isinstance(there, Unread):
            unread = there
    return unread


@probe("iommu", Iommu, reads=[PciInventory])
def iommu(host: Host, pci: PciInventory) -> Iommu:
    units = host.entries(UNITS)
    if isinstance(units, Unread) and units.kind == "absent":
        units = ()
    return Iommu(units, _groups(host, pci), _table(host))


def cards_in(group: IommuGroup) -> frozenset[Bdf]:
    """Cards (address without function) among the devices of a group."""
    if isinstance(group.devices, Unread):
        return frozenset()
    return frozenset(Bdf(name.rsplit(".", 1)[0]) for name in group.devices if "." in name)
