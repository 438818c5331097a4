"""Physical slots: what is printed on the board, and the bus behind each.

Reads   /sys/firmware/dmi/tables/DMI type 9 (root), /sys/bus/pci/slots/*/{address,cur_bus_speed}    (any user)
Absent  boards without a slot table; virtual machines.
By hand dmidecode -t 9; grep . /sys/bus/pci/slots/*/address

A slot's address in SMBIOS is the card's bus on most boards and the root port on some; both are matched. The table is
written by the board's firmware and can be wrong, so a profile may name slots itself.
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.smbios import decode_smbios
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.registry import probe

SYSFS = "sysfs"
SYSFS_SLOTS = "/sys/bus/pci/slots"


class PhysicalSlot(msgspec.Struct, frozen=True):
    label: str
    """Designation as printed on the board (`PCIE3`); of sysfs the kernel's number of the slot, which is not printed."""
    address: str
    """`0000:41:00.0` or `0000:41:00`: a function in the slot, or the port above it."""
    source: str
    """`SMBIOS type 9` or `sysfs`."""
    width: int | None = None
    in_use: bool | None = None


class Slots(msgspec.Struct, frozen=True):
    slots: tuple[PhysicalSlot, ...]
    unread: Unread | None = None
    """Set when the board's own table could not be read, so that slots lack their printed names."""


def _from_sysfs(host: Host) -> list[PhysicalSlot]:
    names = host.entries(SYSFS_SLOTS)
    found: list[PhysicalSlot] = []
    for name in () if isinstance(names, Unread) else names:
        address = host.text(f"{SYSFS_SLOTS}/{name}/address")
        if isinstance(address, str) and address.count(":") == 2:
            found.append(PhysicalSlot(name, address, SYSFS))
    return found


@probe("slots", Slots)
def slots(host: Host) -> Slots:
    table = host.read("/sys/firmware/dmi/tables/DMI")
    if isinstance(table, Unread):
        return Slots(tuple(_from_sysfs(host)), table)
    entry = host.read("/sys/firmware/dmi/tables/smbios_entry_point")
    smbios = decode_smbios(table, None if isinstance(entry, Unread) else entry)
    found = [
        PhysicalSlot(
            slot.designation, slot.address, "SMBIOS type 9",
            None if isinstance(slot.width_lanes, Unread) else slot.width_lanes,
            {"in use": True, "available": False}.get(slot.usage.lower()) if isinstance(slot.usage, str) else None,
        )
        for slot in smbios.slots
        if slot.designation and isinstance(slot.address, str)
    ]
    cut = None if smbios.truncated is None else Unread(f"the slot table is cut: {smbios.truncated}", "malformed")
    return Slots((*found, *_from_sysfs(host)), cut)
