"""What the firmware says about board, BIOS, processors, slots, memory and power supplies (DMI, SMBIOS).

Reads   /sys/firmware/dmi/tables/{smbios_entry_point,DMI}                              (Linux >= 4.2, root)
        /sys/class/dmi/id/{sys_vendor,product_name,board_vendor,board_name,bios_vendor,bios_version,bios_date}
                                                                                       (any user)
Absent  on machines without DMI: Firecracker and some other virtual machines, most ARM boards.
By hand sudo dmidecode; cat /sys/class/dmi/id/board_name

Without root the tables stay unread and the names come from /sys/class/dmi/id. Serial numbers need root in both places.
All of it is what the firmware claims. Strings are cleaned; a vendor's placeholder (`To Be Filled By O.E.M.`) is None.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from boxcheck.decode.smbios import (
    MemoryArray,
    MemoryDevice,
    PowerSupply,
    Processor,
    Slot,
    Smbios,
    decode_smbios,
    meaningful,
)
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import either, words
from boxcheck.registry import probe

TABLES = "/sys/firmware/dmi/tables"
ID = "/sys/class/dmi/id"
TABLE_LIMIT_BYTES = 1 << 20
"""A 2.x table has at most 64 KiB; the largest 3.x table seen has 40 KiB."""

T = TypeVar("T")


class Dmi(msgspec.Struct, frozen=True, kw_only=True):
    """Names are None where the firmware gives none or a placeholder."""

    sys_vendor: str | None | Unread
    product_name: str | None | Unread
    board_vendor: str | None | Unread
    board_name: str | None | Unread
    bios_vendor: str | None | Unread
    bios_version: str | None | Unread
    bios_date: str | None | Unread
    """As the firmware writes it, in most cases mm/dd/yyyy."""
    smbios: Smbios | Unread
    """The whole table. Unread of kind `permission` without root, `absent` on a machine without DMI."""

    @property
    def processors(self) -> tuple[Processor, ...] | Unread:
        return self._all(self.smbios.processors if isinstance(self.smbios, Smbios) else ())

    @property
    def slots(self) -> tuple[Slot, ...] | Unread:
        return self._all(self.smbios.slots if isinstance(self.smbios, Smbios) else ())

    @property
    def memory_arrays(self) -> tuple[MemoryArray, ...] | Unread:
        return self._all(self.smbios.memory_arrays if isinstance(self.smbios, Smbios) else ())

    @property
    def memory_devices(self) -> tuple[MemoryDevice, ...] | Unread:
        """The sockets of main memory, also the empty ones."""
        return self._all(self.smbios.system_memory_devices if isinstance(self.smbios, Smbios) else ())

    @property
    def power_supplies(self) -> tuple[PowerSupply, ...] | Unread:
        return self._all(self.smbios.power_supplies if isinstance(self.smbios, Smbios) else ())

    def _all(self, found: tuple[T, ...]) -> tuple[T, ...] | Unread:
        """`found`, or why it proves nothing: the table was not read, or its end is missing."""
        if isinstance(self.smbios, Unread):
            return self.smbios
        if self.smbios.truncated is not None:
            return Unread(f"the SMBIOS table is incomplete: {self.smbios.truncated}", "malformed")
        return found


def _smbios(host: Host) -> Smbios | Unread:
    table = host.read(f"{TABLES}/DMI", TABLE_LIMIT_BYTES)
    if isinstance(table, Unread):
        if table.kind == "permission":
            return Unread("the SMBIOS tables need root", "permission")
        if table.kind == "absent":
            return Unread("this machine has no SMBIOS tables", "absent")
        return table
    entry = host.read(f"{TABLES}/smbios_entry_point", 4096)
    return decode_smbios(table, None if isinstance(entry, Unread) else entry)


def _structure(value: T | Unread, text: str | None) -> str | None | Unread:
    return value if isinstance(value, Unread) else meaningful(text)


@probe("dmi", Dmi)
def dmi(host: Host) -> Dmi:
    smbios = _smbios(host)
    system = smbios if isinstance(smbios, Unread) else smbios.system
    board = smbios if isinstance(smbios, Unread) else smbios.baseboard
    bios = smbios if isinstance(smbios, Unread) else smbios.bios
    names: dict[str, str | None | Unread] = {
        "sys_vendor": _structure(system, None if isinstance(system, Unread) else system.manufacturer),
        "product_name": _structure(system, None if isinstance(system, Unread) else system.product),
        "board_vendor": _structure(board, None if isinstance(board, Unread) else board.manufacturer),
        "board_name": _structure(board, None if isinstance(board, Unread) else board.product),
        "bios_vendor": _structure(bios, None if isinstance(bios, Unread) else bios.vendor),
        "bios_version": _structure(bios, None if isinstance(bios, Unread) else bios.version),
        "bios_date": _structure(bios, None if isinstance(bios, Unread) else bios.date),
    }
    return Dmi(smbios=smbios, **{name: either(words(host, f"{ID}/{name}"), value) for name, value in names.items()})
