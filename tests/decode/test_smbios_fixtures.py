"""Real machines: what dmidecode printed there, encoded again, must decode to what was printed.

Reads the dmidecode listings of linuxhw/DMI beside the project (`../shared/fixtures/linuxhw-DMI`) and skips where they
are not there. They are texts, so the bytes are ours; the facts, and the order and lengths of the structures, are the
machines'.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from boxcheck.decode import smbios_codes as codes
from boxcheck.decode.smbios import ChannelKey, decode_smbios, empty_channels, memory_channels
from boxcheck.model import Unread
from tests.boxes import smbios_build as b
from tests.boxes.smbios_build import GIB, Structure
from tests.decode.dmidecode_oracle import Block, blocks, differences, size_of

FOLDER = Path(__file__).parents[2] / "../shared/fixtures/linuxhw-DMI"
NAMES = ("ROMED8-2T", "Pro_WS_WRX80E", "ESC4000A-E10", "AS_-4124GS-TNR", "KRPA-U16")


def listing(name: str) -> list[Block]:
    found = sorted(FOLDER.glob(f"{name}*.dmidecode"))
    if not found:
        pytest.skip("the captures of linuxhw/DMI are not beside the project")
    return blocks(found[0].read_text())


def code(table: Mapping[int, str], name: str | None, unknown: int = 2) -> int:
    return next((number for number, known in table.items() if known == name), unknown)


def encode(block: Block) -> Structure:
    """The structure of a block, as far as boxcheck reads it."""
    get = block.values.get
    exact: dict[str, Any] = {"handle": block.handle, "length": block.length}

    def number(key: str, base: int = 10) -> int | None:
        first = (get(key) or "").split(" ")[0]
        return int(first, base) if first and first not in ("Unknown", "Unspecified", "Not") else None

    def flags(key: str, names: tuple[tuple[int, str], ...]) -> int:
        shown = block.lists.get(key, [])
        return sum(1 << bit for bit, name in names if name in shown or name in (get(key) or ""))

    def texts(*keys: str) -> list[str | None]:
        return [get(key) if get(key) != "" else " " for key in keys]

    match block.type:
        case 0:
            return b.bios(*texts("Vendor", "Version", "Release Date"), **exact,
                          uefi="UEFI is supported" in block.lists.get("Characteristics", []))
        case 1:
            maker, product, version, serial = texts("Manufacturer", "Product Name", "Version", "Serial Number")
            return b.system(maker, product, version, serial, None, get("SKU Number"), get("Family"), **exact)
        case 2:
            return b.baseboard(*texts("Manufacturer", "Product Name", "Version", "Serial Number", "Asset Tag",
                                      "Location In Chassis"), kind=code(codes.BOARD_KINDS, get("Type"), 1), **exact)
        case 3:
            return b.chassis(get("Manufacturer"), code(codes.CHASSIS_KINDS, get("Type")),
                             *texts("Version", "Serial Number", "Asset Tag", "SKU Number"),
                             power_cords=number("Number Of Power Cords") or 0, **exact)
        case 4:
            return b.processor(get("Socket Designation"), get("Version"), manufacturer=get("Manufacturer"),
                               cores=number("Core Count"), cores_enabled=number("Core Enabled"),
                               threads=number("Thread Count"), max_speed_mhz=number("Max Speed"),
                               current_speed_mhz=number("Current Speed"), external_clock_mhz=number("External Clock"),
                               kind=code(codes.PROCESSOR_KINDS, get("Type")), serial=get("Serial Number"),
                               asset=get("Asset Tag"), part=get("Part Number"),
                               populated=(get("Status") or "").startswith("Populated"), **exact)
        case 9:
            width, _, kind = (get("Type") or "").partition(" ")
            return b.slot(get("Designation"), code(codes.SLOT_KINDS, kind, 0xFE),
                          next(key for key, lanes in codes.SLOT_LANES.items() if f"x{lanes}" == width),
                          code(codes.SLOT_USES, get("Current Usage")), address=get("Bus Address"),
                          slot_length=code(codes.SLOT_LENGTHS, get("Length")), id=number("ID") or 0,
                          characteristics=flags("Characteristics", codes.SLOT_CHARACTERISTICS), **exact)
        case 16:
            return b.memory_array(error_correction=code(codes.ERROR_CORRECTIONS, get("Error Correction Type")),
                                  devices=number("Number Of Devices") or 0, use=code(codes.ARRAY_USES, get("Use")),
                                  maximum_capacity_bytes=size_of(get("Maximum Capacity") or ""),
                                  location=code(codes.ARRAY_LOCATIONS, get("Location")), **exact)
        case 17:
            empty = get("Size") == "No Module Installed"
            return b.memory_device(
                get("Locator"), get("Bank Locator"), 0 if empty else size_of(get("Size") or ""),
                kind=code(codes.MEMORY_KINDS, get("Type")), rank=number("Rank"), speed_mts=number("Speed"),
                form_factor=code(codes.MEMORY_FORM_FACTORS, get("Form Factor")),
                detail=flags("Type Detail", codes.MEMORY_DETAILS) or 4, data_width_bits=number("Data Width"),
                configured_speed_mts=number("Configured Memory Speed") or 0, total_width_bits=number("Total Width"),
                array_handle=number("Array Handle", 16) or 0, manufacturer=get("Manufacturer"), part=get("Part Number"),
                serial=get("Serial Number"), asset=get("Asset Tag"), **exact)
        case 38:
            return b.ipmi(i2c_address=number("I2C Slave Address", 16) or 0,
                          base_address=number("Base Address", 16) or 0, **exact)
        case 39:
            return b.power_supply(*texts("Name", "Manufacturer", "Serial Number"), location=get("Location"),
                                  asset=get("Asset Tag"), part=get("Model Part Number"), revision=get("Revision"),
                                  max_power_watts=number("Max Power Capacity"), **exact,
                                  state=code(codes.SUPPLY_STATES, (get("Status") or "").partition(", ")[2]))
        case 41:
            return b.onboard_device(get("Reference Designation"), code(codes.ONBOARD_KINDS, get("Type")),
                                    instance=number("Type Instance") or 0, address=get("Bus Address"), **exact)
        case _:
            return b.raw(block.type, bytes(block.length - 4), handle=block.handle)


@pytest.mark.parametrize("name", NAMES)
def test_real_machine(name: str) -> None:
    printed = listing(name)
    dmi, entry_point = b.table([encode(block) for block in printed], (3, 2, 0), end=False)
    ours = decode_smbios(dmi, entry_point)
    assert ours.truncated is None
    assert ours.faults == ()
    # The listings have no serial numbers ("--") and no UUID; both survive as what they are.
    wrong = [line for line in differences(ours, printed) if " UUID: " not in line and "hosting" not in line]
    assert wrong == []
    assert len(ours.others) == sum(block.type not in {0, 1, 2, 3, 4, 9, 16, 17, 38, 39, 41} for block in printed)


ALL = tuple("ABCDEFGH")


@pytest.mark.parametrize(("name", "sockets", "total_bytes", "empty"), [
    ("ROMED8-2T", 1, 256 * GIB, ("C", "D", "E", "F")),
    ("Pro_WS_WRX80E", 1, 256 * GIB, ()),
    ("ESC4000A-E10", 1, 512 * GIB, ()),
    ("AS_-4124GS-TNR", 2, 512 * GIB, ()),
    ("KRPA-U16", 1, 512 * GIB, ()),
])
def test_channels_of_real_machines(name: str, sockets: int, total_bytes: int, empty: tuple[str, ...]) -> None:
    """Each spelling that these five boards have puts every socket into a channel."""
    dmi, entry_point = b.table([encode(block) for block in listing(name)], (3, 2, 0), end=False)
    ours = decode_smbios(dmi, entry_point)
    expected = [ChannelKey(socket, channel) for socket in range(sockets) for channel in ALL]
    groups = memory_channels(ours)
    assert None not in groups
    assert sorted(key for key in groups if key is not None) == expected
    assert empty_channels(ours) == tuple(ChannelKey(0, channel) for channel in empty)
    assert ours.installed_memory_bytes == total_bytes


def test_slots_without_a_place_have_none() -> None:
    """ROMED8-2T gives each slot the host bridge's address, ESC4000A-E10 bus 0xff where no card is."""
    for name, expected in (("ROMED8-2T", 0), ("ESC4000A-E10", 7)):
        dmi, entry_point = b.table([encode(block) for block in listing(name)], (3, 2, 0), end=False)
        slots = decode_smbios(dmi, entry_point).slots
        assert sum(not isinstance(slot.address, Unread) for slot in slots) == expected
