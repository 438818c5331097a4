"""Build raw SMBIOS tables, for machines made up in tests.

This is the other direction of `boxcheck.decode.smbios` and shares nothing with it: it was written from DMTF DSP0134 3.7
on its own, and `dmidecode --from-dump` (see `dump`) judges both. Codes are given as numbers, as the specification lists
them, so that a wrong table in the decoder cannot hide behind the same wrong table here.

    dmi, entry_point = table([bios(version="P3.50"), baseboard(product="ROMED8-2T"), slot("PCIE1"), ...])

go to /sys/firmware/dmi/tables/DMI and /sys/firmware/dmi/tables/smbios_entry_point of the built machine. Handles are
given in order, from 0, to structures that were not given one. `None` for a text means that the firmware has no such
string; `None` for a number means that it writes its code for unknown. `length` cuts a structure off, as older firmware
would (memory devices of SMBIOS 3.2 have 84 bytes, of 3.3 92).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import msgspec

Text = str | bytes | None

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

MEMORY_ARRAY_HANDLE = 0x1000
"""Handle of the memory array, unless another one is asked for."""
NO_HANDLE = 0xFFFE

# Codes of the specification that readers of tests should not have to look up.
PCIE, PCIE3_X8, PCIE3_X16, PCIE4_X16, PCIE5_X16, M2_SOCKET_3 = 0xA5, 0xB5, 0xB6, 0xBD, 0xC3, 0x17
WIDTH_X1, WIDTH_X4, WIDTH_X8, WIDTH_X16 = 0x08, 0x0A, 0x0B, 0x0D
AVAILABLE, IN_USE = 3, 4
DDR4, DDR5, LPDDR5 = 0x1A, 0x22, 0x23
DIMM, SODIMM, ROW_OF_CHIPS = 0x09, 0x0D, 0x0B
NO_ECC, SINGLE_BIT_ECC, MULTI_BIT_ECC = 3, 5, 6
SYNCHRONOUS, REGISTERED, UNBUFFERED = 1 << 7, 1 << 13, 1 << 14


class Structure(msgspec.Struct, frozen=True):
    """One structure: `body` is what follows the header of four bytes."""

    type: int
    body: bytes
    strings: tuple[bytes, ...] = ()
    handle: int | None = None

    def packed(self, handle: int) -> bytes:
        """The bytes, header and string set included."""
        tail = b"".join(text + b"\0" for text in self.strings) or b"\0"
        return struct.pack("<BBH", self.type, 4 + len(self.body), handle) + self.body + tail + b"\0"


class _Strings:
    """Numbers strings as they come, from 1. Equal strings get numbers of their own, as AMI's firmware does it."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def __call__(self, text: Text) -> int:
        if text is None:
            return 0
        raw = text.encode() if isinstance(text, str) else text
        if not raw:
            raise ValueError("an empty string would end the string set; pass None or a blank")
        self.texts.append(raw)
        return len(self.texts)


def _made(kind: int, body: bytes, strings: _Strings, handle: int | None, length: int | None) -> Structure:
    return Structure(kind, body if length is None else body[: length - 4], tuple(strings.texts), handle)


def raw(kind: int, body: bytes = b"", strings: Sequence[Text] = (), handle: int | None = None) -> Structure:
    """A structure of any type, from its bytes behind the header."""
    texts = _Strings()
    for text in strings:
        texts(text)
    return Structure(kind, body, tuple(texts.texts), handle)


def bios(
    vendor: Text = "American Megatrends Inc.", version: Text = "P3.50", date: Text = "03/04/2022", *,
    uefi: bool = True, virtual_machine: bool = False, handle: int | None = None, length: int | None = None,
) -> Structure:
    s = _Strings()
    extension = (8 if uefi else 0) | (16 if virtual_machine else 0)
    body = struct.pack("<BBHBBQBBBBBBH", s(vendor), s(version), 0xF000, s(date), 0xFF, 1 << 7, 0x03, extension,
                       5, 14, 0xFF, 0xFF, 16)
    return _made(0, body, s, handle, length)


def system(
    manufacturer: Text = "To Be Filled By O.E.M.", product: Text = "To Be Filled By O.E.M.",
    version: Text = "To Be Filled By O.E.M.", serial: Text = "To Be Filled By O.E.M.",
    uuid: str | None = "a0a1a2a3-b0b1-c0c1-d0d1-e0e1e2e3e4e5", sku: Text = "To Be Filled By O.E.M.",
    family: Text = "To Be Filled By O.E.M.", *, big_endian_uuid: bool = False, handle: int | None = None,
    length: int | None = None,
) -> Structure:
    """`big_endian_uuid` stores the UUID as firmware before 2.6 did."""
    s = _Strings()
    names = bytes((s(manufacturer), s(product), s(version), s(serial)))
    binary = b"\xff" * 16 if uuid is None else bytes.fromhex(uuid.replace("-", ""))
    if uuid is not None and not big_endian_uuid:
        first, second, third, rest = struct.unpack(">IHH8s", binary)
        binary = struct.pack("<IHH8s", first, second, third, rest)
    return _made(1, names + binary + bytes((6, s(sku), s(family))), s, handle, length)


def baseboard(
    manufacturer: Text = "ASRockRack", product: Text = "ROMED8-2T", version: Text = "Default string",
    serial: Text = "M80-12345678901", asset: Text = "Default string", location: Text = "Default string", *,
    features: int = 0x0D, kind: int = 0x0A, contained: Sequence[int] = (), handle: int | None = None,
    length: int | None = None,
) -> Structure:
    s = _Strings()
    body = bytes((s(manufacturer), s(product), s(version), s(serial), s(asset), features, s(location)))
    body += struct.pack("<HBB", 3, kind, len(contained)) + struct.pack(f"<{len(contained)}H", *contained)
    return _made(2, body, s, handle, length)


def chassis(
    manufacturer: Text = "To Be Filled By O.E.M.", kind: int = 0x17, version: Text = "To Be Filled By O.E.M.",
    serial: Text = "To Be Filled By O.E.M.", asset: Text = "To Be Filled By O.E.M.",
    sku: Text = "To Be Filled By O.E.M.", *, power_cords: int = 1, elements: Sequence[bytes] = (),
    lock: bool = False, handle: int | None = None, length: int | None = None,
) -> Structure:
    s = _Strings()
    body = bytes((s(manufacturer), kind | (0x80 if lock else 0), s(version), s(serial), s(asset), 3, 3, 3, 3))
    size = len(elements[0]) if elements else 0
    body += struct.pack("<IBBBB", 0, 0, power_cords, len(elements), size) + b"".join(elements) + bytes((s(sku),))
    return _made(3, body, s, handle, length)


def processor(
    socket: Text = "CPU1", version: Text = "AMD EPYC 7262 8-Core Processor                 ", *,
    manufacturer: Text = "Advanced Micro Devices, Inc.", cores: int | None = 8, cores_enabled: int | None = None,
    threads: int | None = 16, threads_enabled: int | None = None, max_speed_mhz: int | None = 3400,
    current_speed_mhz: int | None = 3200, external_clock_mhz: int | None = 100, populated: bool = True, state: int = 1,
    kind: int = 3, serial: Text = "Unknown", asset: Text = "Unknown", part: Text = "Unknown",
    handle: int | None = None, length: int | None = 48,
) -> Structure:
    """`length`: 48 for SMBIOS 3.0 (two-byte counts), 50 for 3.6 (enabled threads), 42 for 2.6."""
    s = _Strings()
    enabled = cores if cores_enabled is None else cores_enabled
    counts = [count or 0 for count in (cores, enabled, threads)]
    body = bytes((s(socket), kind, 0x6B, s(manufacturer))) + bytes.fromhex("100f8300fffb8b17") + bytes((s(version),))
    body += struct.pack("<BHHHBB", 0x8B, external_clock_mhz or 0, max_speed_mhz or 0, current_speed_mhz or 0,
                        (0x40 if populated else 0) | state, 0x37)  # socket SP3
    body += struct.pack("<HHH", 0xFFFF, 0xFFFF, 0xFFFF) + bytes((s(serial), s(asset), s(part)))
    body += bytes(min(count, 0xFF) for count in counts) + struct.pack("<HH", 0x00FC, 0x6B)
    body += struct.pack("<HHHH", *counts, threads_enabled or 0)
    return _made(4, body, s, handle, length)


def slot(
    designation: Text = "PCIE1", kind: int = PCIE, width: int = WIDTH_X16, usage: int = IN_USE, *,
    address: str | None = "0000:41:00.0", id: int = 0, slot_length: int = 4, characteristics: int = 0x0004,
    raw_address: tuple[int, int, int] | None = None, base_lanes: int | None = None,
    peers: Sequence[tuple[str, int]] = (), generation: int | None = None, physical_width: int = 0,
    pitch: int = 0, handle: int | None = None, length: int | None = None,
) -> Structure:
    """`base_lanes` or `peers` make it as long as 3.2 has it, `generation` as 3.4; else it is 2.6's, 17 bytes.

    `address` None writes all ones, which is the specification's "none". `raw_address` writes (segment, bus, devfn) as
    they are.
    """
    s = _Strings()
    where = raw_address or _address(address)
    body = struct.pack("<BBBBBHH", s(designation), kind, width, usage, slot_length, id, characteristics)
    body += struct.pack("<HBB", *where)
    if base_lanes is not None or peers or generation is not None:
        body += bytes((base_lanes or 0, len(peers)))
        body += b"".join(struct.pack("<HBBB", *_address(peer), lanes) for peer, lanes in peers)
    if generation is not None:
        body += struct.pack("<BBH", generation, physical_width, pitch)
    return _made(9, body, s, handle, length)


def _address(bdf: str | None) -> tuple[int, int, int]:
    if bdf is None:
        return 0xFFFF, 0xFF, 0xFF
    segment, bus, rest = bdf.split(":")
    device, function = rest.split(".")
    return int(segment, 16), int(bus, 16), int(device, 16) << 3 | int(function)


def memory_array(
    *, error_correction: int = MULTI_BIT_ECC, devices: int = 8, maximum_capacity_bytes: int | None = 2 * TIB,
    use: int = 3, location: int = 3, handle: int | None = MEMORY_ARRAY_HANDLE, length: int | None = None,
) -> Structure:
    if maximum_capacity_bytes is None:
        short, extended = 0, 0
    elif maximum_capacity_bytes < 2 * TIB:
        short, extended = maximum_capacity_bytes // KIB, 0
    else:
        short, extended = 0x80000000, maximum_capacity_bytes
    body = struct.pack("<BBBIHHQ", location, use, error_correction, short, NO_HANDLE, devices, extended)
    return _made(16, body, _Strings(), handle, length)


def memory_device(
    locator: Text = "DIMM 0", bank_locator: Text = "P0 CHANNEL A", size_bytes: int | None = 16 * GIB, *,
    kind: int = DDR4, form_factor: int = DIMM, detail: int = SYNCHRONOUS | REGISTERED, speed_mts: int | None = 3200,
    configured_speed_mts: int | None = None, rank: int | None = 2, total_width_bits: int | None = 72,
    data_width_bits: int | None = 64, manufacturer: Text = "Samsung", serial: Text = "01234ABC",
    asset: Text = "Not Specified", part: Text = "M393A2K40DB3-CWE    ", in_kilobytes: bool = False,
    array_handle: int = MEMORY_ARRAY_HANDLE, handle: int | None = None, length: int | None = 84,
) -> Structure:
    """`size_bytes` None is unknown; for an empty socket see `empty_memory_device`. `configured_speed_mts` None copies
    `speed_mts`; pass 0 for unknown. `length`: 84 for SMBIOS 3.2, 92 for 3.3 (extended speeds), 40 for 2.8."""
    s = _Strings()
    size, extended = _size(size_bytes, in_kilobytes)
    configured = speed_mts if configured_speed_mts is None else configured_speed_mts
    body = struct.pack("<HHHHHBB", array_handle, NO_HANDLE, _or(total_width_bits, 0xFFFF), _or(data_width_bits, 0xFFFF),
                       size, form_factor, 0)
    body += struct.pack("<BBBHH", s(locator), s(bank_locator), kind, detail, _speed(speed_mts)[0])
    body += struct.pack("<BBBBB", s(manufacturer), s(serial), s(asset), s(part), _or(rank, 0))
    body += struct.pack("<IHHHH", extended, _speed(configured)[0], 1200, 1200, 1200)
    body += struct.pack("<BHBHHHH", 3, 8, s("Unknown"), 0xCE80, 0, 0, 0)
    body += struct.pack("<QQQQ", 0, size_bytes or 0, 0, 0)
    body += struct.pack("<II", _speed(speed_mts)[1], _speed(configured)[1])
    return _made(17, body, s, handle, length)


def empty_memory_device(
    locator: Text = "DIMM 0", bank_locator: Text = "P0 CHANNEL A", *, manufacturer: Text = "Unknown",
    handle: int | None = None, array_handle: int = MEMORY_ARRAY_HANDLE, length: int | None = 84,
) -> Structure:
    """A socket with nothing in it, as AMD boards write it."""
    return memory_device(
        locator, bank_locator, 0, kind=2, form_factor=2, detail=4, speed_mts=None, configured_speed_mts=0, rank=None,
        total_width_bits=None, data_width_bits=None, manufacturer=manufacturer, serial="Unknown", asset="Not Specified",
        part="Unknown", handle=handle, array_handle=array_handle, length=length)


def _or(value: int | None, unknown: int) -> int:
    return unknown if value is None else value


def _size(size_bytes: int | None, in_kilobytes: bool) -> tuple[int, int]:
    if size_bytes is None:
        return 0xFFFF, 0
    if in_kilobytes:
        return 0x8000 | size_bytes // KIB, 0
    megabytes = size_bytes // MIB
    return (megabytes, 0) if megabytes < 0x7FFF else (0x7FFF, megabytes)


def _speed(speed_mts: int | None) -> tuple[int, int]:
    if speed_mts is None:
        return 0, 0
    return (speed_mts, 0) if speed_mts < 0xFFFF else (0xFFFF, speed_mts)


def power_supply(
    name: Text = "PWS-2K08A-1R", manufacturer: Text = "SUPERMICRO", serial: Text = "P2K8ACL0000001", *,
    location: Text = "PSU1", asset: Text = "N/A", part: Text = "PWS-2K08A-1R", revision: Text = "1.0",
    max_power_watts: int | None = 2000, present: bool = True, plugged: bool = True, hot_replaceable: bool = True,
    state: int = 3, kind: int = 4, input_switching: int = 4, group: int = 1, handle: int | None = None,
    length: int | None = None,
) -> Structure:
    s = _Strings()
    flags = hot_replaceable | present << 1 | (not plugged) << 2 | input_switching << 3 | state << 7 | kind << 10
    body = bytes((group, s(location), s(name), s(manufacturer), s(serial), s(asset), s(part), s(revision)))
    body += struct.pack("<HHHHH", _or(max_power_watts, 0x8000), flags, 0xFFFF, 0xFFFF, 0xFFFF)
    return _made(39, body, s, handle, length)


def ipmi(
    interface: int = 1, *, revision: tuple[int, int] = (2, 0), i2c_address: int = 0x10, base_address: int = 0xCA2,
    io: bool = True, spacing: int = 0, interrupt: int = 0, handle: int | None = None, length: int | None = None,
) -> Structure:
    """`spacing` is the code: 0 for bytes, 1 for 32-bit words, 2 for 16 bytes."""
    modifier = spacing << 6 | (base_address & 1) << 4
    address = base_address & ~1 | io
    body = struct.pack("<BBBBQBB", interface, revision[0] << 4 | revision[1], i2c_address << 1, 0xFF, address, modifier,
                       interrupt)
    return _made(38, body, _Strings(), handle, length)


def onboard_device(
    designation: Text = "ASPEED Video AST2500", kind: int = 3, *, instance: int = 1,
    address: str | None = "0000:63:00.0", enabled: bool = True, handle: int | None = None, length: int | None = None,
) -> Structure:
    s = _Strings()
    body = struct.pack("<BBBHBB", s(designation), kind | (0x80 if enabled else 0), instance, *_address(address))
    return _made(41, body, s, handle, length)


def oem_strings(*texts: Text, handle: int | None = None) -> Structure:
    return raw(11, bytes((len(texts),)), texts, handle)


def configuration_options(*texts: Text, handle: int | None = None) -> Structure:
    return raw(12, bytes((len(texts),)), texts, handle)


def end_of_table(handle: int | None = None) -> Structure:
    return Structure(127, b"", (), handle)


def table(
    structures: Iterable[Structure], version: tuple[int, int, int] = (3, 3, 0), *, end: bool = True,
) -> tuple[bytes, bytes]:
    """The bytes of DMI and smbios_entry_point. Version 3 has a `_SM3_` entry point, version 2 a `_SM_` one.

    An end-of-table structure is added unless `end` is false.
    """
    members = list(structures)
    if end:
        members.append(end_of_table())
    taken = {member.handle for member in members}
    free = (number for number in range(0x10000) if number not in taken)
    packed = [member.packed(next(free) if member.handle is None else member.handle) for member in members]
    dmi = b"".join(packed)
    if version[0] >= 3:
        return dmi, entry_point_3(len(dmi), version)
    return dmi, entry_point_2(len(dmi), len(members), max(map(len, packed), default=0), version)


def entry_point_3(size_bytes: int, version: tuple[int, int, int] = (3, 3, 0), address: int = 0x000EADA0) -> bytes:
    return _summed(struct.pack("<5sBBBBBBBIQ", b"_SM3_", 0, 24, *version, 1, 0, size_bytes, address), 5)


def entry_point_2(
    size_bytes: int, count: int, largest: int = 0, version: tuple[int, int, int] = (2, 8, 0), address: int = 0x000E0000,
) -> bytes:
    intermediate = struct.pack("<5sBHIHB", b"_DMI_", 0, size_bytes, address, count, version[0] << 4 | version[1])
    head = struct.pack("<4sBBBBHB5s", b"_SM_", 0, 31, version[0], version[1], largest, 0, bytes(5))
    return _summed(head + _summed(intermediate, 5), 4)


def _summed(raw_bytes: bytes, at: int) -> bytes:
    """With the byte at `at` set so that all bytes add up to 0."""
    total = (sum(raw_bytes) - raw_bytes[at]) & 0xFF
    return raw_bytes[:at] + bytes((-total & 0xFF,)) + raw_bytes[at + 1 :]


def dump(dmi: bytes, entry_point: bytes) -> bytes:
    """The file that `dmidecode --from-dump` reads: the entry point, moved so that its table stands at byte 32."""
    if entry_point.startswith(b"_SM3_"):
        moved = _summed(entry_point[:16] + struct.pack("<Q", 32) + entry_point[24:], 5)
    else:
        moved = entry_point[:24] + struct.pack("<I", 32) + entry_point[28:]
        moved = _summed(moved[:16] + _summed(moved[16:31], 5), 4)
    return moved.ljust(32, b"\0") + dmi
