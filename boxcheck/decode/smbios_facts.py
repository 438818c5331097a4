"""What a decoded SMBIOS table holds, as values.

Strings are cleaned (`boxcheck.decode.text.clean_text`), without padding, and None where the firmware gives none; they
may still be placeholders, so ask `meaningful()` before believing one. Numbers and names are `Unread` where the
structure is too short to hold them (`unsupported`), where the firmware writes its code for "unknown" (`absent`) or a
code that the specification does not have (`malformed`).

All of it is what the firmware claims, not what is. Boards ship templates: ROMED8-2T gives every slot the address
0000:00:00.0, and names onboard devices that it does not have.
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.smbios_codes import ECC, SYSTEM_MEMORY
from boxcheck.model import Bdf, Unread


class Bios(msgspec.Struct, frozen=True, kw_only=True):
    """Type 0. `date` is as the firmware writes it, by the specification mm/dd/yyyy."""

    handle: int
    vendor: str | None
    version: str | None
    date: str | None
    uefi: bool | Unread
    virtual_machine: bool | Unread


class System(msgspec.Struct, frozen=True, kw_only=True):
    """Type 1. `uuid` is spelled as in /sys/class/dmi/id/product_uuid; all ones or zeros are absent."""

    handle: int
    manufacturer: str | None
    product: str | None
    version: str | None
    serial: str | None
    uuid: str | Unread
    sku: str | None
    family: str | None


class Baseboard(msgspec.Struct, frozen=True, kw_only=True):
    """Type 2; a machine may have several."""

    handle: int
    manufacturer: str | None
    product: str | None
    version: str | None
    serial: str | None
    asset: str | None
    location: str | None
    kind: str | Unread
    hosting: bool | Unread
    """A hosting board: what /sys/class/dmi/id/board_* speaks of."""


class Chassis(msgspec.Struct, frozen=True, kw_only=True):
    """Type 3."""

    handle: int
    manufacturer: str | None
    kind: str | Unread
    version: str | None
    serial: str | None
    asset: str | None
    sku: str | None
    power_cords: int | Unread


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """Type 4: a socket, whether or not there is something in it."""

    handle: int
    socket: str | None
    kind: str | Unread
    manufacturer: str | None
    version: str | None
    populated: bool | Unread
    state: str | Unread
    cores: int | Unread
    cores_enabled: int | Unread
    threads: int | Unread
    threads_enabled: int | Unread
    max_speed_mhz: int | Unread
    """What the socket supports, not this processor's boost clock."""
    current_speed_mhz: int | Unread
    """At boot."""
    external_clock_mhz: int | Unread
    serial: str | None
    asset: str | None
    part: str | None


class SlotPeer(msgspec.Struct, frozen=True, kw_only=True):
    """A further function of a slot (3.2), as of a card that is split in two."""

    address: Bdf | Unread
    width_lanes: int | Unread


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """Type 9: a slot, a socket or a connector."""

    handle: int
    designation: str | None
    """What is printed on the board, in most cases."""
    kind: str | Unread
    pcie_generation: int | Unread
    type_lanes: int | Unread
    """Lanes that the type names: the connector's length, by the specification."""
    width_lanes: int | Unread
    """Lanes that are wired ("data bus width"). Boards have both wrong: WRX80E says x8 of slots that are x16."""
    usage: str | Unread
    length: str | Unread
    id: int | Unread
    characteristics: tuple[str, ...] | Unread
    hot_plug: bool | Unread
    address: Bdf | Unread
    """Of what is in the slot; some firmware writes the root port's. Unread also for 0000:00:00.0, the host bridge."""
    base_width_lanes: int | Unread
    peers: tuple[SlotPeer, ...]
    physical_width_lanes: int | Unread


class MemoryArray(msgspec.Struct, frozen=True, kw_only=True):
    """Type 16."""

    handle: int
    location: str | Unread
    use: str | Unread
    error_correction: str | Unread
    maximum_capacity_bytes: int | Unread
    devices: int | Unread

    @property
    def ecc(self) -> bool | Unread:
        """Whether the array corrects errors; parity and CRC only detect them. `Other` is unread."""
        if isinstance(self.error_correction, Unread):
            return self.error_correction
        if self.error_correction == "Other":
            return Unread("the firmware calls the error correction other", "absent")
        return self.error_correction in ECC


class MemoryDevice(msgspec.Struct, frozen=True, kw_only=True):
    """Type 17: a memory socket (or soldered memory), whether or not there is something in it."""

    handle: int
    array_handle: int | Unread
    locator: str | None
    bank_locator: str | None
    size_bytes: int | Unread
    """0: the socket is empty."""
    form_factor: str | Unread
    kind: str | Unread
    details: tuple[str, ...] | Unread
    """`Registered (Buffered)`, `Unbuffered (Unregistered)`, `LRDIMM` ..."""
    speed_mts: int | Unread
    """What the module can do, in MT/s."""
    configured_speed_mts: int | Unread
    """What it runs at, in MT/s. Firmware before SMBIOS 3.0 says "MHz" here and means MT/s, in most cases."""
    rank: int | Unread
    total_width_bits: int | Unread
    """With the check bits: 72 on an ECC DDR4 module."""
    data_width_bits: int | Unread
    manufacturer: str | None
    serial: str | None
    asset: str | None
    part: str | None

    @property
    def installed(self) -> bool | Unread:
        """Whether there is memory in the socket."""
        return self.size_bytes if isinstance(self.size_bytes, Unread) else self.size_bytes > 0


class IpmiDevice(msgspec.Struct, frozen=True, kw_only=True):
    """Type 38. `io` tells the address space of `base_address`."""

    handle: int
    interface: str | Unread
    revision: str | Unread
    i2c_address: int | Unread
    """7-bit address of the BMC on the I2C bus."""
    base_address: int | Unread
    io: bool | Unread
    register_spacing_bytes: int | Unread
    interrupt: int | Unread


class PowerSupply(msgspec.Struct, frozen=True, kw_only=True):
    """Type 39. Static text on many boards: a supply that died since boot may still read present and OK."""

    handle: int
    location: str | None
    name: str | None
    manufacturer: str | None
    serial: str | None
    asset: str | None
    part: str | None
    revision: str | None
    max_power_watts: int | Unread
    present: bool | Unread
    plugged: bool | Unread
    hot_replaceable: bool | Unread
    state: str | Unread
    kind: str | Unread
    input_switching: str | Unread


class OnboardDevice(msgspec.Struct, frozen=True, kw_only=True):
    """Type 41."""

    handle: int
    designation: str | None
    kind: str | Unread
    enabled: bool | Unread
    instance: int | Unread
    address: Bdf | Unread


class OtherStructure(msgspec.Struct, frozen=True):
    """A structure that boxcheck does not decode."""

    type: int
    handle: int
    length: int


class Smbios(msgspec.Struct, frozen=True, kw_only=True):
    """A whole table.

    With `truncated` set, structures may be missing: an empty tuple then proves nothing.
    """

    version: tuple[int, int] | Unread
    """From the entry point; without one, the least that the structures' lengths show."""
    bios: Bios | Unread
    system: System | Unread
    baseboards: tuple[Baseboard, ...]
    chassis: tuple[Chassis, ...]
    processors: tuple[Processor, ...]
    slots: tuple[Slot, ...]
    memory_arrays: tuple[MemoryArray, ...]
    memory_devices: tuple[MemoryDevice, ...]
    ipmi: tuple[IpmiDevice, ...]
    power_supplies: tuple[PowerSupply, ...]
    onboard_devices: tuple[OnboardDevice, ...]
    others: tuple[OtherStructure, ...]
    truncated: str | None
    """Why the end of the table was not reached, None when it was."""
    faults: tuple[str, ...]
    """What is wrong with single fields, counts and checksums, at most 32; nothing is missing because of these."""

    @property
    def baseboard(self) -> Baseboard | Unread:
        """The board that carries the processors: the first hosting one or, failing that, the first motherboard."""
        for board in self.baseboards:
            if board.hosting is True:
                return board
        for board in self.baseboards:
            if board.kind == "Motherboard":
                return board
        return self.baseboards[0] if self.baseboards else missing("baseboard", 2, self.truncated)

    @property
    def system_memory_devices(self) -> tuple[MemoryDevice, ...]:
        """The sockets of main memory: those of arrays whose use is something else (flash, video) are left out."""
        apart = {array.handle for array in self.memory_arrays
                 if not isinstance(array.use, Unread) and array.use != SYSTEM_MEMORY}
        return tuple(device for device in self.memory_devices
                     if isinstance(device.array_handle, Unread) or device.array_handle not in apart)

    @property
    def installed_memory_bytes(self) -> int | Unread:
        """The sum of the modules of main memory; Unread when one is not known or the table may lack some."""
        if self.truncated is not None:
            return Unread(f"the SMBIOS table is incomplete: {self.truncated}", "malformed")
        devices = self.system_memory_devices
        if not devices:
            return missing("memory device", 17, None)
        total = 0
        for device in devices:
            if isinstance(device.size_bytes, Unread):
                return device.size_bytes
            total += device.size_bytes
        return total or Unread("the firmware says that every memory socket is empty, yet the machine ran", "malformed")


def missing(name: str, number: int, truncated: str | None) -> Unread:
    """The reason why there is no structure of this type."""
    if truncated is not None:
        return Unread(f"no {name} structure (type {number}), and the SMBIOS table is incomplete: {truncated}",
                      "malformed")
    return Unread(f"the SMBIOS table has no {name} structure (type {number})", "absent")
