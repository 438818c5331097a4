"""Memory facts for tests: eight channels of one module each, healthy, and what changes make of it."""

from __future__ import annotations

from typing import Any

import msgspec

from boxcheck.model import Unread
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.memory import Channel, EdacController, EdacModule, Memory, Module, theoretical_gbs

GIB = 1 << 30
UNGIVEN = Unread("the firmware does not give the speed", "absent")


def module(letter: str, **changes: Any) -> Module:
    made = Module(
        label=f"P0 CHANNEL {letter} DIMM 0", channel=letter, size_bytes=16 * GIB, kind="DDR4", rated_mts=3200,
        configured_mts=3200, check_bits=8, data_width_bits=64, manufacturer="Samsung", part="M393A2K40DB3-CWE")
    return msgspec.structs.replace(made, **changes)


def empty(letter: str) -> Module:
    return module(letter, size_bytes=0, kind=UNGIVEN, rated_mts=UNGIVEN, configured_mts=UNGIVEN, check_bits=UNGIVEN,
                  data_width_bits=UNGIVEN, manufacturer=None, part=None)


def edac(corrected: int = 0, uncorrected: int = 0, channel: int = 2, placed: bool = True) -> tuple[EdacController, ...]:
    """One controller of eight ranks; the errors lie on one channel, or on none."""
    ranks = tuple(
        EdacModule(f"rank{number}", f"mc#0csrow#0channel#{number}", f"csrow 0 channel {number}", 16384,
                   corrected if placed and number == channel else 0, uncorrected if placed and number == channel else 0)
        for number in range(8))
    return (EdacController("mc0", "F17h_M30h", corrected, uncorrected, 0, 0, 11520, ranks),)


def memory(*modules: Module, **changes: Any) -> Memory:
    """A box with these modules, eight healthy ones without any."""
    fitted = modules or tuple(module(letter) for letter in "ABCDEFGH")
    names = dict.fromkeys(one.channel for one in fitted if one.channel)
    total = sum(one.size_bytes for one in fitted if isinstance(one.size_bytes, int))
    channels = tuple(Channel(name, tuple(one for one in fitted if one.channel == name)) for name in names)
    made = Memory(
        total_bytes=int(total * 0.982), swap_bytes=0, huge_pages_bytes=0, installed_bytes=total, modules=fitted,
        channels=channels, theoretical_gbs=theoretical_gbs(channels),
        error_correction="Multi-bit ECC", ecc=True, edac=edac(), carve_out_bytes=None)
    return msgspec.structs.replace(made, **changes)


def unread_modules(why: Unread, **changes: Any) -> Memory:
    """A box whose SMBIOS tables were not read."""
    return memory(
        installed_bytes=why, modules=why, channels=why, theoretical_gbs=why, error_correction=why, ecc=why, **changes)


def dmi(board: str | None = "ROMED8-2T") -> Dmi:
    return Dmi(sys_vendor=None, product_name=None, board_vendor=None, board_name=board, bios_vendor=None,
               bios_version=None, bios_date=None, smbios=Unread("not asked", "not-captured"))
