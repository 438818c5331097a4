"""Every field of ours against what dmidecode prints, on built boards and on every code of every enumeration."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.decode.smbios import decode_smbios
from boxcheck.decode.smbios_redact import redact_smbios
from tests.boxes import smbios_build as b
from tests.boxes.smbios_build import GIB, KIB, MIB, TIB, Structure
from tests.boxes.smbios_machines import MACHINES
from tests.decode.dmidecode_oracle import differences, run

VERSIONS = ((3, 3, 0), (2, 8, 0))


@pytest.mark.parametrize("name", MACHINES)
def test_board(name: str, tmp_path: Path) -> None:
    dmi, entry_point = MACHINES[name]()
    assert differences(decode_smbios(dmi, entry_point), run(dmi, entry_point, tmp_path)) == []


@pytest.mark.parametrize("name", MACHINES)
def test_redacted_board(name: str, tmp_path: Path) -> None:
    dmi, entry_point = MACHINES[name]()
    redacted = redact_smbios(dmi, lambda text: f"redacted-{sum(text.encode()):05d}")
    assert redacted != dmi
    assert differences(decode_smbios(redacted, entry_point), run(redacted, entry_point, tmp_path)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_both_entry_points(version: tuple[int, int, int], tmp_path: Path) -> None:
    members = [b.bios(), b.system(), b.baseboard(), b.chassis(), b.processor(), b.slot(), b.memory_array(),
               b.memory_device(), b.power_supply(), b.ipmi(), b.onboard_device()]
    dmi, entry_point = b.table(members, version)
    assert differences(decode_smbios(dmi, entry_point), run(dmi, entry_point, tmp_path)) == []


@pytest.mark.parametrize(("version", "big_endian"), [((2, 5, 0), True), ((2, 6, 0), False), ((3, 7, 0), False)])
def test_uuid_byte_order(version: tuple[int, int, int], big_endian: bool, tmp_path: Path) -> None:
    uuid = "00112233-4455-6677-8899-aabbccddeeff"
    dmi, entry_point = b.table([b.system(uuid=uuid, big_endian_uuid=big_endian)], version)
    ours = decode_smbios(dmi, entry_point)
    assert getattr(ours.system, "uuid", None) == uuid
    assert differences(ours, run(dmi, entry_point, tmp_path)) == []


ALL_CODES = range(256)
ENUMERATIONS: dict[str, list[Structure]] = {
    "slot type": [b.slot(kind=code) for code in ALL_CODES],
    "slot width": [b.slot(width=code) for code in ALL_CODES],
    "slot usage and length": [b.slot(usage=code, slot_length=code) for code in ALL_CODES],
    # Bit 1 beside each: dmidecode prints nothing at all when only bits 11 to 15 are set.
    "slot characteristics": [b.slot(characteristics=2 | 1 << bit) for bit in range(15)] + [
        b.slot(characteristics=flags) for flags in (0xFFFF, 0x7FFE, 0x0604)],
    "chassis type": [b.chassis(kind=code) for code in range(128)] + [b.chassis(kind=3, lock=True)],
    "power cords": [b.chassis(power_cords=cords) for cords in range(8)],
    "board type": [b.baseboard(kind=code) for code in ALL_CODES],
    "processor type": [b.processor(kind=code) for code in ALL_CODES],
    "processor status": [b.processor(populated=populated, state=state)
                         for populated in (True, False) for state in range(8)],
    "memory form factor": [b.memory_device(form_factor=code) for code in ALL_CODES if code != 0x11],
    "memory type": [b.memory_device(kind=code) for code in ALL_CODES if code not in (0x15, 0x16, 0x17, 0x24)],
    "memory detail": [b.memory_device(detail=1 << bit) for bit in range(16)] + [
        b.memory_device(detail=detail) for detail in (0, 0x2080, 0x4080, 0x8080)],
    "memory rank": [b.memory_device(rank=rank) for rank in range(16)],
    "memory array": [b.memory_array(error_correction=code, use=code, location=code, handle=None)
                     for code in ALL_CODES if code != 0xA4],
    "onboard device": [b.onboard_device(kind=code, enabled=enabled)
                       for code in range(128) for enabled in (True, False)],
    "power supply flags": [
        b.power_supply(state=code % 8, kind=code % 16, input_switching=code // 16, present=code % 3 > 0,
                       plugged=code % 2 > 0, hot_replaceable=code % 5 > 1) for code in range(240)],
    "IPMI": [b.ipmi(interface, spacing=spacing, io=io, base_address=address) for interface in range(6)
             for spacing in range(4) for io in (True, False) for address in (0xCA2, 0xCA3, 0xFED00001)],
}


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_every_code(name: str, tmp_path: Path) -> None:
    """Left out: memory type 0x15 to 0x17, which dmidecode calls Reserved, and what is newer than dmidecode 3.4 (form
    factor 0x11, memory type 0x24, slot characteristic 15) or was renamed since (array location 0xa4)."""
    dmi, entry_point = b.table(ENUMERATIONS[name])
    assert differences(decode_smbios(dmi, entry_point), run(dmi, entry_point, tmp_path)) == []


NUMBERS: dict[str, list[Structure]] = {
    "memory size": [b.memory_device(size_bytes=size) for size in (
        None, 0, MIB, 512 * MIB, 16 * GIB, 0x7FFE * MIB, 32 * GIB, 64 * GIB, 3 * TIB)] + [
        b.memory_device(size_bytes=size, in_kilobytes=True) for size in (4 * KIB, 512 * KIB, 16 * MIB)],
    "memory speed": [b.memory_device(speed_mts=speed, configured_speed_mts=configured, length=length)
                     for length in (92, 100) for speed, configured in (
                         (3200, 2666), (None, 0), (8000, 8000), (65534, 65534), (65535, 70000), (100000, 65535))],
    "memory width": [b.memory_device(total_width_bits=total, data_width_bits=data)
                     for total, data in ((72, 64), (80, 64), (64, 64), (None, None), (40, 32))],
    "lengths of memory devices": [b.memory_device(length=length) for length in (21, 27, 28, 34, 40, 84, 92, 100)],
    "memory capacity": [b.memory_array(maximum_capacity_bytes=size, handle=None) for size in (
        512 * GIB, TIB, 2 * TIB - GIB, 2 * TIB, 4 * TIB)],
    "old memory array": [b.memory_array(length=15, handle=None, maximum_capacity_bytes=size)
                         for size in (TIB, 2 * TIB)],
    "cores": [b.processor(cores=cores, threads=2 * cores, cores_enabled=enabled) for cores, enabled in (
        (1, 1), (96, 96), (128, 64), (254, 254), (255, 255), (256, 192), (384, 300), (0, 0))],
    "lengths of processors": [b.processor(length=length) for length in (32, 35, 40, 42, 48, 50)],
    "processor speed": [b.processor(max_speed_mhz=speed, current_speed_mhz=speed, external_clock_mhz=clock)
                        for speed, clock in ((None, None), (5700, 100), (65535, 1))],
    "power": [b.power_supply(max_power_watts=watts) for watts in (None, 1, 1600, 32767)],
    "slot addresses": [b.slot(address=address) for address in ("0000:41:00.0", "0000:47:00.1", "0001:e1:1f.7", None)],
    "slots of 3.2": [b.slot(base_lanes=16), b.slot(base_lanes=8, peers=[("0000:42:00.0", 4), ("0000:43:00.1", 4)])],
    "slots of 3.4": [b.slot(base_lanes=16, generation=4, physical_width=b.WIDTH_X16),
                     b.slot(base_lanes=4, peers=[("0000:42:00.0", 4)], generation=5, physical_width=b.WIDTH_X8)],
    "chassis with elements": [b.chassis(elements=[b"\x83\x01\x02", b"\x91\x00\x01"]), b.chassis(length=0x15)],
    "board with contained objects": [b.baseboard(contained=[1, 2, 3])],
    "no strings at all": [b.system(None, None, None, None, None, None, None), b.baseboard(*[None] * 6),
                          b.power_supply(None, None, None, location=None, asset=None, part=None, revision=None)],
    "virtual machine": [b.bios(uefi=False, virtual_machine=True)],
    "old BIOS": [b.bios(length=18)],
    "BIOS without strings": [b.bios(None, None, None)],
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_and_lengths(name: str, tmp_path: Path) -> None:
    dmi, entry_point = b.table(NUMBERS[name])
    wrong = differences(decode_smbios(dmi, entry_point), run(dmi, entry_point, tmp_path))
    assert wrong == []
