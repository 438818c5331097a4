"""Decoding is cheap beside reading: a table of a hundred structures in less than 3 ms."""

from __future__ import annotations

import time

from boxcheck.decode.smbios import decode_smbios, redact_smbios
from tests.boxes import smbios_build as b
from tests.boxes.smbios_build import Structure

LIMIT_SECONDS = 0.003


def hundred() -> tuple[bytes, bytes]:
    """As on a server: 32 memory devices, 16 slots, 8 supplies and onboard devices, and what is not decoded."""
    members: list[Structure] = [b.bios(), b.system(), b.baseboard(), b.chassis(), b.processor(), b.processor("CPU2")]
    members += [b.memory_array(devices=32), b.ipmi()]
    members += [b.memory_device(f"P1-DIMM{number}", f"P0_Node0_Channel{number}_Dimm0", length=92)
                for number in range(32)]
    members += [b.slot(f"SLOT{number}", b.PCIE4_X16) for number in range(16)]
    members += [b.power_supply() for _ in range(8)] + [b.onboard_device() for _ in range(8)]
    members += [b.raw(8, bytes((1, 0, 2, 0, 0)), ["J1", "USB"]) for _ in range(99 - len(members))]
    return b.table(members)


def fastest(call: object, *arguments: object) -> float:
    assert callable(call)
    best = float("inf")
    for _ in range(40):
        start = time.perf_counter()
        call(*arguments)
        best = min(best, time.perf_counter() - start)
    return best


def test_a_hundred_structures() -> None:
    dmi, entry_point = hundred()
    assert len(decode_smbios(dmi, entry_point).memory_devices) == 32
    assert fastest(decode_smbios, dmi, entry_point) < LIMIT_SECONDS


def test_time_grows_with_the_table_and_no_faster() -> None:
    """Ten tables in a row take ten times as long, with room for noise: no field looks at the whole table."""
    dmi, _ = hundred()
    members = dmi[:-6]  # without the end-of-table structure
    one, ten = fastest(decode_smbios, dmi), fastest(decode_smbios, members * 10 + dmi[-6:])
    assert ten < 20 * one


def test_redaction() -> None:
    dmi, _ = hundred()
    assert fastest(redact_smbios, dmi, str.upper) < 2 * LIMIT_SECONDS
