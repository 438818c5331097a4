"""Builds configuration space byte by byte, for tests that need functions this machine does not have.

Registers are given as raw numbers at their offsets, so that a test says what the hardware holds and never goes through
the decoder's own tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import pack, pack_into

ENDPOINT, LEGACY, ROOT_PORT, UPSTREAM, DOWNSTREAM = 0x0, 0x1, 0x4, 0x5, 0x6
TO_PCI_BRIDGE, FROM_PCI_BRIDGE, INTEGRATED, EVENT_COLLECTOR = 0x7, 0x8, 0x9, 0xA


class ConfigBuilder:
    """One function. `cap` and `ext` append to the two capability lists in the order they are called."""

    def __init__(
        self,
        *,
        vendor: int = 0x1022,
        device: int = 0x1483,
        class_code: int = 0x060400,
        header_type: int = 1,
        size: int = 4096,
    ) -> None:
        self.data = bytearray(size)
        self._pointer = 0x34
        self._free = 0x40
        self._last_ext: int | None = None
        self._free_ext = 0x100
        pack_into("<HHHHI", self.data, 0, vendor, device, 0x0006, 0, class_code << 8 | 0x01)
        self.data[0x0E] = header_type

    def u8(self, offset: int, value: int) -> ConfigBuilder:
        self.data[offset] = value
        return self

    def u16(self, offset: int, value: int) -> ConfigBuilder:
        pack_into("<H", self.data, offset, value)
        return self

    def u32(self, offset: int, value: int) -> ConfigBuilder:
        pack_into("<I", self.data, offset, value)
        return self

    def cap(self, capability: int, body: bytes, at: int | None = None) -> int:
        """Append a conventional capability; `body` follows the two list bytes. Returns its offset."""
        offset = self._free if at is None else at
        self.data[0x06] |= 0x10
        self.data[self._pointer] = offset
        self.data[offset] = capability
        self.data[offset + 1] = 0
        self.data[offset + 2 : offset + 2 + len(body)] = body
        self._pointer = offset + 1
        self._free = (offset + 2 + len(body) + 3) & ~3
        return offset

    def express(
        self,
        port_type: int,
        *,
        version: int = 2,
        slot: bool = False,
        registers: Mapping[int, tuple[int, int]] | None = None,
        at: int | None = None,
    ) -> int:
        """Append the PCI Express capability. `registers`: offset in the capability -> (width in bytes, value)."""
        body = bytearray(0x3C - 2)
        pack_into("<H", body, 0, version | port_type << 4 | (0x0100 if slot else 0))
        for offset, (width, value) in (registers or {}).items():
            body[offset - 2 : offset - 2 + width] = value.to_bytes(width, "little")
        return self.cap(0x10, bytes(body), at)

    def ext(self, capability: int, body: bytes, *, version: int = 1, at: int | None = None) -> int:
        """Append an extended capability; `body` follows the header dword. Returns its offset."""
        offset = self._free_ext if at is None else at
        if self._last_ext is not None:
            (self.data[self._last_ext + 2],) = (self.data[self._last_ext + 2] & 0x0F | (offset << 4) & 0xF0,)
            self.data[self._last_ext + 3] = offset >> 4
        pack_into("<I", self.data, offset, capability | version << 16)
        self.data[offset + 4 : offset + 4 + len(body)] = body
        self._last_ext = offset
        self._free_ext = (offset + 4 + len(body) + 3) & ~3
        return offset

    def bytes(self) -> bytes:
        return bytes(self.data)


def dwords(*values: int) -> bytes:
    return pack(f"<{len(values)}I", *values)


def words(*values: int) -> bytes:
    return pack(f"<{len(values)}H", *values)


def hex_dump(spaces: Mapping[str, bytes]) -> str:
    """What `lspci -xxxx` would print of these functions."""
    lines: list[str] = []
    for address, data in spaces.items():
        lines.append(f"{address} Class 0000: Device 0000:0000")
        lines.extend(_rows(data))
        lines.append("")
    return "\n".join(lines) + "\n"


def _rows(data: bytes) -> Iterable[str]:
    for offset in range(0, len(data), 16):
        yield f"{offset:02x}: " + data[offset : offset + 16].hex(" ")


def root_port(*, speed: int = 4, width: int = 16, link_speed: int = 4, link_width: int = 16) -> ConfigBuilder:
    """A 16 GT/s root port with a slot and fifteen extended capabilities, trained at full speed."""
    port = ConfigBuilder()
    port.u8(0x18, 0x40).u8(0x19, 0x41).u8(0x1A, 0x43)
    port.u8(0x1C, 0xF1).u8(0x1D, 0x01)
    port.u16(0x20, 0xC000).u16(0x22, 0xC0F0).u16(0x24, 0x0001).u16(0x26, 0xFFF1)
    port.u32(0x28, 0x0000_0018).u32(0x2C, 0x0000_001F).u16(0x3E, 0x0002)
    port.cap(0x01, words(0xC803, 0x0008) + bytes(2))
    port.express(
        ROOT_PORT,
        slot=True,
        registers={
            0x04: (4, 0x0000_8022),
            0x08: (2, 0x2930),
            0x0A: (2, 0x0001),
            0x0C: (4, speed | width << 4 | 0x0073_F800 | 0x0300_0000),
            0x10: (2, 0x0040),
            0x12: (2, link_speed | link_width << 4 | 0x7000),
            0x14: (4, 0x0048_2580 | 0x60),
            0x18: (2, 0x03C0),
            0x1A: (2, 0x0040),
            0x1C: (2, 0x0010),
            0x1E: (2, 0x0001),
            0x24: (4, 0x0073_1BF7),
            0x28: (2, 0x0406),
            0x2C: (4, 0x0180_001E),
            0x30: (2, 0x0004),
            0x32: (2, 0x001E),
        },
    )
    port.cap(0x0D, bytes(2) + words(0x1022, 0x1453))
    port.ext(0x000B, dwords(0x0100_0001, 0))
    port.ext(0x0001, dwords(0, 0x0010_0000, 0x0046_2030, 0x0000_2001, 0x0000_2000, 0x0000_00A0, *[0] * 4, 7, 3, 0x4100))
    port.ext(0x0003, dwords(0xDEAD_BEEF, 0x0011_2233))
    port.ext(0x0019, dwords(0, 0x0000_0005) + bytes(32))
    port.ext(0x000D, words(0x005F, 0x001D))
    port.ext(0x0018, words(0x1003, 0x1003))
    port.ext(0x0015, dwords(0x0003_FF00, 0x0000_0D20))
    port.ext(0x001D, words(0x10E5, 0x000A, 0x1F00, 0x0000) + bytes(0x34))
    port.ext(0x001E, dwords(0x0028_2A1F, 0x4060_3C0F, 0x0000_0031))
    port.ext(0x0025, dwords(0x8000_0001, 0x8000_0001))
    port.ext(0x0026, dwords(0, 0, 0x0F, 0, 0, 0, 0) + bytes(16))
    port.ext(0x0027, words(0, 1) + bytes(64))
    port.ext(0x002A, dwords(0x0003, 0, 0x040F, 0, 0, 0, 0) + bytes(16))
    port.ext(0x0031, dwords(0, 0, 0x000F, 0) + bytes(16))
    port.ext(0x0023, dwords(0x0041_1E98, 0x0000_0000))
    return port
