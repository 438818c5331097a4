"""The type 1 header: bus numbers, forwarding windows and Bridge Control of a PCI-to-PCI bridge.

Offsets and bits are those of the PCI-to-PCI Bridge Architecture Specification 1.2, section 3.2.5, and of the PCI
Express Base Specification, section 7.5.1.3. The whole header is in the first 64 bytes, so every user can read it.
"""

from __future__ import annotations

from struct import Struct as Layout

import msgspec


class Window(msgspec.Struct, frozen=True, gc=False):
    """Addresses from `base` to `limit`, both included, that the bridge passes downstream."""

    base: int
    limit: int

    @property
    def size_bytes(self) -> int:
        return self.limit - self.base + 1


class BridgeControl(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    parity_response: bool
    serr: bool
    """Error messages from below are passed on towards the root: off, AER at the root port stays silent."""
    isa: bool
    vga: bool
    vga16: bool
    master_abort: bool
    secondary_bus_reset: bool
    """The bus below is held in reset: nothing on it can answer."""


class Bridge(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    primary: int
    secondary: int
    subordinate: int
    """Bus numbers: above, directly below, and the highest below."""
    secondary_status: int
    control: BridgeControl
    io: Window | None
    memory: Window | None
    prefetchable: Window | None
    """None where the window is closed (its limit lies below its base)."""
    io_32bit: bool
    prefetchable_64bit: bool
    """Whether the window's registers can name addresses above 64 KiB, above 4 GiB."""


_BUSES = Layout("<BBBBBBH")  # 0x18: primary secondary subordinate latency, io base, io limit, secondary status
_WINDOWS = Layout("<HHHHIIHH")  # 0x20: memory, prefetchable, prefetchable upper halves, io upper halves
_CONTROL = Layout("<H")  # 0x3e


def decode_bridge(data: bytes) -> Bridge:
    """The type 1 header. The caller has checked that the 64 bytes of a header are there and that its type is 1."""
    primary, secondary, subordinate, _, io_base, io_limit, secondary_status = _BUSES.unpack_from(data, 0x18)
    (mem_base, mem_limit, pref_base, pref_limit, pref_base_upper, pref_limit_upper, io_base_upper, io_limit_upper) = (
        _WINDOWS.unpack_from(data, 0x20)
    )
    (control,) = _CONTROL.unpack_from(data, 0x3E)
    io_32bit = io_base & 0xF == 1
    prefetchable_64bit = pref_base & 0xF == 1
    if not io_32bit:
        io_base_upper = io_limit_upper = 0
    if not prefetchable_64bit:
        pref_base_upper = pref_limit_upper = 0
    return Bridge(
        primary=primary,
        secondary=secondary,
        subordinate=subordinate,
        secondary_status=secondary_status,
        control=BridgeControl(
            parity_response=bool(control & 0x01),
            serr=bool(control & 0x02),
            isa=bool(control & 0x04),
            vga=bool(control & 0x08),
            vga16=bool(control & 0x10),
            master_abort=bool(control & 0x20),
            secondary_bus_reset=bool(control & 0x40),
        ),
        io=_window(io_base_upper << 16 | (io_base & 0xF0) << 8, io_limit_upper << 16 | (io_limit & 0xF0) << 8, 0xFFF),
        memory=_window((mem_base & 0xFFF0) << 16, (mem_limit & 0xFFF0) << 16, 0xF_FFFF),
        prefetchable=_window(
            pref_base_upper << 32 | (pref_base & 0xFFF0) << 16,
            pref_limit_upper << 32 | (pref_limit & 0xFFF0) << 16,
            0xF_FFFF,
        ),
        io_32bit=io_32bit,
        prefetchable_64bit=prefetchable_64bit,
    )


def _window(base: int, limit: int, granule: int) -> Window | None:
    return Window(base, limit | granule) if limit >= base else None
