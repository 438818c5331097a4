"""SMBIOS (DMI): what the firmware says about board, processors, slots, memory and power supplies.

Reads   the bytes of /sys/firmware/dmi/tables/DMI and /sys/firmware/dmi/tables/smbios_entry_point (Linux >= 4.2, root)
Source  DMTF DSP0134 3.7, section 7; each decoder names its own
By hand sudo dmidecode, or dmidecode --from-dump FILE of `dump()` in tests/boxes/smbios_build.py

The parts: `smbios_table` splits the bytes, `smbios_fields` and `smbios_codes` read fields and codes, `smbios_facts`
holds the values, `smbios_channels` groups memory by channel, `smbios_redact` takes serial numbers out of a table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from boxcheck.decode import smbios_codes as codes
from boxcheck.decode.smbios_channels import ChannelKey, channel_of, empty_channels, memory_channels
from boxcheck.decode.smbios_facts import (
    Baseboard,
    Bios,
    Chassis,
    IpmiDevice,
    MemoryArray,
    MemoryDevice,
    OnboardDevice,
    OtherStructure,
    PowerSupply,
    Processor,
    Slot,
    SlotPeer,
    Smbios,
    System,
    missing,
)
from boxcheck.decode.smbios_fields import address, bit, bits, known, meaningless, named, too_short
from boxcheck.decode.smbios_redact import redact_smbios
from boxcheck.decode.smbios_table import Structure, Version, note, read_entry_point, walk
from boxcheck.decode.text import clean_text, meaningful
from boxcheck.model import Unread

__all__ = [
    "Baseboard", "Bios", "ChannelKey", "Chassis", "IpmiDevice", "MemoryArray", "MemoryDevice", "OnboardDevice",
    "OtherStructure", "PowerSupply", "Processor", "Slot", "SlotPeer", "Smbios", "System", "channel_of", "clean_text",
    "decode_smbios", "empty_channels", "meaningful", "memory_channels", "redact_smbios",
]

KIB = 1024
MIB = 1024 * KIB


def decode_smbios(table: bytes, entry_point: bytes | None = None) -> Smbios:
    """Decode the raw table, with the help of its entry point where there is one. Never raises.

    Without an entry point the table is read up to its end-of-table structure, and its version is the least that the
    lengths of its structures show. `Smbios.truncated` says why structures may be missing.
    """
    entry = read_entry_point(entry_point) if entry_point is not None else None
    split = walk(table, entry)
    if entry is None and entry_point is not None:
        note(split.faults, f"the entry point ({len(entry_point)} bytes) is none of _SM3_, _SM_ and _DMI_")
    by_type: dict[int, list[Structure]] = {}
    others = [OtherStructure(*skipped) for skipped in split.skipped]
    for structure in split.structures:
        if structure.type in _DECODED:
            by_type.setdefault(structure.type, []).append(structure)
        else:
            others.append(OtherStructure(structure.type, structure.handle, len(structure.body)))

    def all_of(number: int, decode: Callable[[Structure], T]) -> tuple[T, ...]:
        return tuple([decode(structure) for structure in by_type.get(number, ())])

    # By the specification there is one of each (7.1, 7.2). The kernel takes the first.
    for number, name in ((0, "BIOS"), (1, "system")):
        if len(by_type.get(number, ())) > 1:
            note(split.faults, f"{len(by_type[number])} {name} structures (type {number}), the first is taken")
    return Smbios(
        version=split.version,
        bios=_bios(by_type[0][0]) if 0 in by_type else missing("BIOS", 0, split.truncated),
        system=_system(by_type[1][0], split.version) if 1 in by_type else missing("system", 1, split.truncated),
        baseboards=all_of(2, _baseboard),
        chassis=all_of(3, _chassis),
        processors=all_of(4, _processor),
        slots=all_of(9, _slot),
        memory_arrays=all_of(16, _memory_array),
        memory_devices=all_of(17, _memory_device),
        ipmi=all_of(38, _ipmi),
        power_supplies=all_of(39, _power_supply),
        onboard_devices=all_of(41, _onboard_device),
        others=tuple(others),
        truncated=split.truncated,
        faults=tuple(split.faults),
    )


T = TypeVar("T")
_DECODED = frozenset((0, 1, 2, 3, 4, 9, 16, 17, 38, 39, 41))


def _bios(raw: Structure) -> Bios:  # 7.1
    extension = raw.byte(0x13)
    return Bios(
        handle=raw.handle,
        vendor=raw.text(4),
        version=raw.text(5),
        date=raw.text(8),
        uefi=bit(extension, 3, "UEFI support"),
        virtual_machine=bit(extension, 4, "virtual machine mark"),
    )


def _system(raw: Structure, version: Version | Unread) -> System:  # 7.2
    return System(
        handle=raw.handle,
        manufacturer=raw.text(4),
        product=raw.text(5),
        version=raw.text(6),
        serial=raw.text(7),
        uuid=_uuid(raw.body[0x08:0x18], version),
        sku=raw.text(0x19),
        family=raw.text(0x1A),
    )


def _uuid(raw: bytes, version: Version | Unread) -> str | Unread:
    """7.2.1: since 2.6 the first three fields are little-endian; before, nobody said, and the bytes go as they come."""
    if len(raw) < 16:
        return too_short("system UUID")
    if raw in (b"\xff" * 16, bytes(16)):
        return Unread("the firmware does not give the system UUID", "absent")
    if isinstance(version, Unread):
        return Unread("the byte order of the system UUID depends on the SMBIOS version, which is not known", "absent")
    fields = (raw[0:4], raw[4:6], raw[6:8])
    head = [field[::-1] if version >= (2, 6) else field for field in fields]
    return "-".join(part.hex() for part in (*head, raw[8:10], raw[10:16]))


def _baseboard(raw: Structure) -> Baseboard:  # 7.3
    return Baseboard(
        handle=raw.handle,
        manufacturer=raw.text(4),
        product=raw.text(5),
        version=raw.text(6),
        serial=raw.text(7),
        asset=raw.text(8),
        location=raw.text(0x0A),
        kind=named(codes.BOARD_KINDS, raw.byte(0x0D), "board type", 0, 1),
        hosting=bit(raw.byte(0x09), 0, "board features"),
    )


def _chassis(raw: Structure) -> Chassis:  # 7.4
    kind = raw.byte(5)
    count, size = raw.byte(0x13), raw.byte(0x14)
    # The SKU stands behind the contained elements, `count` of `size` bytes.
    sku = raw.text(0x15 + count * size) if count is not None and size is not None else None
    return Chassis(
        handle=raw.handle,
        manufacturer=raw.text(4),
        # Bit 7 says that there is a lock.
        kind=named(codes.CHASSIS_KINDS, kind if kind is None else kind & 0x7F, "chassis type"),
        version=raw.text(6),
        serial=raw.text(7),
        asset=raw.text(8),
        sku=sku,
        power_cords=known(raw.byte(0x12), "number of power cords", 0),
    )


def _processor(raw: Structure) -> Processor:  # 7.5
    status = raw.byte(0x18)
    return Processor(
        handle=raw.handle,
        socket=raw.text(4),
        kind=named(codes.PROCESSOR_KINDS, raw.byte(5), "processor type"),
        manufacturer=raw.text(7),
        version=raw.text(0x10),
        populated=bit(status, 6, "processor status"),
        state=named(codes.PROCESSOR_STATES, status if status is None else status & 7, "processor status", 0),
        cores=_count(raw, 0x23, 0x2A, "number of cores"),
        cores_enabled=_count(raw, 0x24, 0x2C, "number of enabled cores"),
        threads=_count(raw, 0x25, 0x2E, "number of threads"),
        threads_enabled=known(raw.number(0x30, 2), "number of enabled threads", 0, 0xFFFF),
        max_speed_mhz=known(raw.number(0x14, 2), "maximum processor speed", 0),
        current_speed_mhz=known(raw.number(0x16, 2), "processor speed at boot", 0),
        external_clock_mhz=known(raw.number(0x12, 2), "external clock", 0),
        serial=raw.text(0x20),
        asset=raw.text(0x21),
        part=raw.text(0x22),
    )


def _count(raw: Structure, narrow_at: int, wide_at: int, what: str) -> int | Unread:
    """A count of cores or threads: one byte, and two more bytes (3.0) where 0xff says that one did not suffice."""
    narrow = known(raw.byte(narrow_at), what, 0)
    if isinstance(narrow, Unread) or narrow != 0xFF:
        return narrow
    return known(raw.number(wide_at, 2), f"{what}, which is 255 or more", 0, 0xFFFF)


def _slot(raw: Structure) -> Slot:  # 7.10
    kind = raw.byte(5)
    characteristics = _slot_characteristics(raw)
    # Peer groups of five bytes push what 3.4 added further back.
    peer_count = raw.byte(0x12) or 0
    tail = 0x13 + 5 * peer_count
    if tail > max(len(raw.body), 0x13):
        note(raw.faults, f"structure 0x{raw.handle:04x} (type 9) names {peer_count} further functions, "
                         f"it has room for {(len(raw.body) - 0x13) // 5}")
    return Slot(
        handle=raw.handle,
        designation=raw.text(4),
        kind=named(codes.SLOT_KINDS, kind, "slot type"),
        pcie_generation=_generation(kind, raw.byte(tail)),
        type_lanes=_type_lanes(kind),
        width_lanes=_lanes(raw.byte(6), "slot width"),
        usage=named(codes.SLOT_USES, raw.byte(7), "slot usage"),
        length=named(codes.SLOT_LENGTHS, raw.byte(8), "slot length"),
        id=known(raw.number(0x09, 2), "slot ID"),
        characteristics=characteristics if isinstance(characteristics, Unread) else bits(
            characteristics, codes.SLOT_CHARACTERISTICS, "slot characteristics"),
        hot_plug=characteristics if isinstance(characteristics, Unread) else bool(
            characteristics >> codes.SLOT_HOT_PLUG_BIT & 1),
        address=address(raw.number(0x0D, 2), raw.byte(0x0F), raw.byte(0x10)),
        base_width_lanes=known(raw.byte(0x11), "width of the slot's first function", 0, 0xFF),
        peers=tuple([
            SlotPeer(address=address(raw.number(at, 2), raw.byte(at + 2), raw.byte(at + 3)),
                     width_lanes=known(raw.byte(at + 4), "width of the slot's further function", 0, 0xFF))
            for at in range(0x13, min(tail, len(raw.body) - 4), 5)
        ]),
        physical_width_lanes=_lanes(raw.byte(tail + 1), "physical slot width"),
    )


def _type_lanes(kind: int | None) -> int | Unread:
    lanes = codes.SLOT_TYPE_LANES.get(kind) if kind is not None else None
    return lanes if lanes is not None else Unread("the slot type names no number of lanes", "absent")


def _generation(kind: int | None, information: int | None) -> int | Unread:
    """The PCI Express generation from the slot's type, else from Slot Information (3.4), which counts generations."""
    generation = codes.SLOT_GENERATIONS.get(kind) if kind is not None else None
    if generation is not None:
        return generation
    if information and information <= 0x10:
        return information
    return Unread("the slot type names no PCI Express generation", "absent")


def _lanes(code: int | None, what: str) -> int | Unread:
    width = known(code, what, 0, 1, 2)
    if isinstance(width, Unread):
        return width
    lanes = codes.SLOT_LANES.get(width)
    if lanes is not None:
        return lanes
    if width in codes.SLOT_PARALLEL_WIDTHS:
        return Unread(f"the {what} is given in bits: a slot without lanes", "unsupported")
    return meaningless(width, what)


def _slot_characteristics(raw: Structure) -> int | Unread:
    """7.10.6 and 7.10.7, two bytes since 2.1. Bit 0 says that the others are not known."""
    characteristics = known(raw.number(0x0B, 2), "slot characteristics")
    if isinstance(characteristics, Unread) or not characteristics & 1:
        return characteristics
    return Unread("the firmware does not give the slot characteristics", "absent")


def _memory_array(raw: Structure) -> MemoryArray:  # 7.17
    what = "maximum memory capacity"
    kilobytes = raw.number(0x07, 4)
    # 0x80000000 (2 TiB) says: see the 8 bytes that 2.7 added, in bytes.
    capacity = known(raw.number(0x0F, 8), what, 0) if kilobytes == 0x80000000 else known(kilobytes, what, 0)
    if kilobytes != 0x80000000 and not isinstance(capacity, Unread):
        capacity *= KIB
    return MemoryArray(
        handle=raw.handle,
        location=named(codes.ARRAY_LOCATIONS, raw.byte(4), "memory array location"),
        use=named(codes.ARRAY_USES, raw.byte(5), "memory array use"),
        error_correction=named(codes.ERROR_CORRECTIONS, raw.byte(6), "memory error correction"),
        maximum_capacity_bytes=capacity,
        devices=known(raw.number(0x0D, 2), "number of memory sockets"),
    )


def _memory_device(raw: Structure) -> MemoryDevice:  # 7.18
    rank = raw.byte(0x1B)
    return MemoryDevice(
        handle=raw.handle,
        array_handle=known(raw.number(0x04, 2), "memory array"),
        locator=raw.text(0x10),
        bank_locator=raw.text(0x11),
        size_bytes=_memory_size(raw),
        form_factor=named(codes.MEMORY_FORM_FACTORS, raw.byte(0x0E), "memory form factor"),
        kind=named(codes.MEMORY_KINDS, raw.byte(0x12), "memory type"),
        details=bits(raw.number(0x13, 2), codes.MEMORY_DETAILS, "memory type detail", 1 << 2),
        speed_mts=_memory_speed(raw, 0x15, 0x54, "memory speed"),
        configured_speed_mts=_memory_speed(raw, 0x20, 0x58, "configured memory speed"),
        rank=known(rank if rank is None else rank & 15, "memory rank", 0),
        total_width_bits=known(raw.number(0x08, 2), "memory width", 0, 0xFFFF),
        data_width_bits=known(raw.number(0x0A, 2), "memory data width", 0, 0xFFFF),
        manufacturer=raw.text(0x17),
        serial=raw.text(0x18),
        asset=raw.text(0x19),
        part=raw.text(0x1A),
    )


def _memory_size(raw: Structure) -> int | Unread:
    """7.18 and 7.18.4: 0 is an empty socket, bit 15 says KiB instead of MiB, 0x7fff says: see the extended size,
    whose bit 31 is reserved."""
    size = known(raw.number(0x0C, 2), "memory size", 0xFFFF)
    if isinstance(size, Unread):
        return size
    if size == 0x7FFF:
        extended = raw.number(0x1C, 4)
        size = known(extended if extended is None else extended & 0x7FFFFFFF, "extended memory size", 0)
        return size if isinstance(size, Unread) else size * MIB
    return (size & 0x7FFF) * (KIB if size & 0x8000 else MIB)


def _memory_speed(raw: Structure, at: int, extended_at: int, what: str) -> int | Unread:
    """7.18.4: 0xffff says: see the extended field of 3.3, whose bit 31 is reserved."""
    speed = known(raw.number(at, 2), what, 0)
    if isinstance(speed, Unread) or speed != 0xFFFF:
        return speed
    extended = raw.number(extended_at, 4)
    if extended is None:
        return Unread(f"the firmware gives the {what} as 0xffff (see the extended field), and has no such field",
                      "malformed")
    return known(extended & 0x7FFFFFFF, what, 0)


def _ipmi(raw: Structure) -> IpmiDevice:  # 7.39
    revision, slave = raw.byte(5), raw.byte(6)
    where = raw.number(0x08, 8)
    interface = named(codes.IPMI_INTERFACES, raw.byte(4), "IPMI interface", 0)
    base = known(where, "IPMI base address", 0)
    # SSIF has an I2C address there, and neither address space nor registers.
    ssif = interface == "SSIF"
    modifier = raw.byte(0x10)
    if modifier is not None and not isinstance(base, Unread) and not ssif:
        # Bit 0 of the address tells I/O from memory; the address's own bit 0 stands in the modifier.
        base = (base & ~1) | (modifier >> 4 & 1)
    return IpmiDevice(
        handle=raw.handle,
        interface=interface,
        revision=f"{revision >> 4}.{revision & 15}" if revision is not None else too_short("IPMI revision"),
        i2c_address=known(slave if slave is None else slave >> 1, "I2C address of the BMC", 0),
        base_address=base,
        io=Unread("SSIF has no address space", "unsupported") if ssif else bit(where, 0, "IPMI address space"),
        register_spacing_bytes=Unread("SSIF has no registers", "unsupported") if ssif else _spacing(modifier),
        interrupt=known(raw.byte(0x11), "IPMI interrupt", 0),
    )


def _spacing(modifier: int | None) -> int | Unread:
    """7.39, Base Address Modifier, bits 7:6: bytes, 32-bit words or 16-byte steps; 3 is reserved."""
    if modifier is None:
        return too_short("IPMI register spacing")
    return {0: 1, 1: 4, 2: 16}.get(modifier >> 6) or meaningless(modifier >> 6, "IPMI register spacing")


def _power_supply(raw: Structure) -> PowerSupply:  # 7.40
    flags = raw.number(0x0E, 2)
    unplugged = bit(flags, 2, "power supply characteristics")

    def field(shift: int, mask: int) -> int | None:
        return None if flags is None else flags >> shift & mask

    return PowerSupply(
        handle=raw.handle,
        location=raw.text(5),
        name=raw.text(6),
        manufacturer=raw.text(7),
        serial=raw.text(8),
        asset=raw.text(9),
        part=raw.text(0x0A),
        revision=raw.text(0x0B),
        # In watts since 2.3.1; 0x8000 is unknown, and no supply delivers 0 W.
        max_power_watts=known(raw.number(0x0C, 2), "maximum power of the supply", 0x8000, 0),
        present=bit(flags, 1, "power supply characteristics"),
        plugged=unplugged if isinstance(unplugged, Unread) else not unplugged,
        hot_replaceable=bit(flags, 0, "power supply characteristics"),
        state=named(codes.SUPPLY_STATES, field(7, 7), "power supply status"),
        kind=named(codes.SUPPLY_KINDS, field(10, 15), "power supply type"),
        input_switching=named(codes.SUPPLY_INPUT_SWITCHING, field(3, 15), "input voltage switching"),
    )


def _onboard_device(raw: Structure) -> OnboardDevice:  # 7.42
    kind = raw.byte(5)
    return OnboardDevice(
        handle=raw.handle,
        designation=raw.text(4),
        kind=named(codes.ONBOARD_KINDS, kind if kind is None else kind & 0x7F, "onboard device type"),
        enabled=bit(kind, 7, "onboard device status"),
        instance=known(raw.byte(6), "onboard device instance"),
        address=address(raw.number(0x07, 2), raw.byte(0x09), raw.byte(0x0A)),
    )
