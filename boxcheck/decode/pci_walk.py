"""The two linked lists of configuration space, walked so that no bytes can make the walk loop or leave the data."""

from __future__ import annotations

from struct import Struct as Layout

from boxcheck.model import Unread

HEADER_BYTES = 64
CARDBUS_HEADER_BYTES = 128
CONVENTIONAL_BYTES = 256
EXTENDED_BYTES = 4096

# Offset of the capability pointer by header type; unknown header types have no place known to hold one.
_POINTER_AT = {0: 0x34, 1: 0x34, 2: 0x14}
# What the kernel gives to a user without CAP_SYS_ADMIN (drivers/pci/pci-sysfs.c, pci_read_config).
_UNPRIVILEGED_BYTES = {0: HEADER_BYTES, 1: HEADER_BYTES, 2: CARDBUS_HEADER_BYTES}

_U32 = Layout("<I")

_NEEDS_ROOT = Unread("configuration space beyond its header needs root", "permission")


def walk_capabilities(data: bytes, header_type: int, status: int) -> tuple[list[tuple[int, int]], Unread | None]:
    """The capability list: its (id, offset) entries, and why it could not be read to the end (None when it was).

    `header_type` without the multifunction bit; `status` is the status register, whose bit 4 says that there is a list.
    """
    entries: list[tuple[int, int]] = []
    if not status & 0x0010:
        return entries, None
    pointer_at = _POINTER_AT.get(header_type)
    if pointer_at is None:
        return entries, Unread(f"header type {header_type:#x} is unknown", "malformed")

    size = min(len(data), CONVENTIONAL_BYTES)
    visited = set()
    offset = data[pointer_at] & 0xFC
    while offset:
        if offset < HEADER_BYTES:
            return entries, Unread(f"the capability list points into the header, to {offset:#x}", "malformed")
        if offset in visited:
            return entries, Unread(f"the capability list loops at {offset:#x}", "malformed")
        visited.add(offset)
        if offset + 2 > size:
            # A user's read ends exactly here; any other end is a damaged or partial copy.
            if size in (HEADER_BYTES, _UNPRIVILEGED_BYTES[header_type]):
                return entries, _NEEDS_ROOT
            return entries, Unread(f"the capability at {offset:#x} lies beyond the {size} bytes read", "malformed")
        capability = data[offset]
        if capability == 0xFF:
            return entries, Unread(f"the capability at {offset:#x} reads all ones", "malformed")
        entries.append((capability, offset))
        offset = data[offset + 1] & 0xFC
    return entries, None


def walk_extended(data: bytes) -> tuple[list[tuple[int, int, int]], Unread | None]:
    """The extended capabilities: their (id, version, offset) entries, and why the list could not be read to the end.

    The caller knows that the function has an extended space and that `data` reaches into it.
    """
    entries: list[tuple[int, int, int]] = []
    size = min(len(data), EXTENDED_BYTES)
    visited = set()
    offset = CONVENTIONAL_BYTES
    while offset:
        if offset < CONVENTIONAL_BYTES:
            why = f"the extended capability list points into the first 256 bytes, to {offset:#x}"
            return entries, Unread(why, "malformed")
        if offset in visited:
            return entries, Unread(f"the extended capability list loops at {offset:#x}", "malformed")
        visited.add(offset)
        if offset + 4 > size:
            why = f"the extended capability at {offset:#x} lies beyond the {size} bytes read"
            return entries, Unread(why, "malformed")
        (header,) = _U32.unpack_from(data, offset)
        if header == 0xFFFF_FFFF:
            if offset == CONVENTIONAL_BYTES:
                return entries, Unread("extended configuration space reads all ones", "error")
            return entries, Unread(f"the extended capability at {offset:#x} reads all ones", "malformed")
        if header == 0:
            break
        if offset == CONVENTIONAL_BYTES and header == _U32.unpack_from(data, 0)[0]:
            # Some bridges to conventional PCI ignore the upper address bits (Linux, pci_ext_cfg_is_aliased).
            return entries, Unread("extended configuration space repeats the first 256 bytes", "error")
        entries.append((header & 0xFFFF, header >> 16 & 0xF, offset))
        offset = header >> 20 & 0xFFC
    return entries, None
