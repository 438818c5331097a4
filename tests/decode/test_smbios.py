"""SMBIOS: broken tables, entry points, and facts that the firmware does not give."""

from __future__ import annotations

import struct

import pytest

from boxcheck.decode.smbios import Bios, OtherStructure, Smbios, System, decode_smbios
from boxcheck.decode.smbios_table import MAX_FAULTS, MAX_STRUCTURES
from boxcheck.model import Unread
from tests.boxes import smbios_build as b
from tests.boxes.smbios_build import GIB, MIB, TIB, Structure
from tests.boxes.smbios_machines import MACHINES, as_4124gs_tnr, esc4000a_e10, framework_desktop, romed8_2t


def decoded(*members: Structure, version: tuple[int, int, int] = (3, 3, 0)) -> Smbios:
    return decode_smbios(*b.table(members, version))


def why(value: object) -> str:
    assert isinstance(value, Unread), value
    return value.why


@pytest.mark.parametrize("name", MACHINES)
def test_built_boards_are_whole(name: str) -> None:
    dmi, entry_point = MACHINES[name]()
    ours = decode_smbios(dmi, entry_point)
    assert ours.truncated is None
    assert ours.faults == ()
    assert isinstance(ours.bios, Bios)
    assert isinstance(ours.system, System)
    assert len(ours.memory_devices) == ours.memory_arrays[0].devices


def test_facts_of_a_board() -> None:
    ours = decode_smbios(*romed8_2t(populated="ABDEFGH", configured_speeds_mts={"H": 2666}))
    board = ours.baseboard
    assert not isinstance(board, Unread)
    assert (board.manufacturer, board.product, board.version) == ("ASRockRack", "ROMED8-2T", "")
    assert ours.installed_memory_bytes == 7 * 16 * GIB
    assert [device.installed for device in ours.memory_devices] == [channel != "C" for channel in "ABCDEFGH"]
    assert [device.configured_speed_mts for device in ours.memory_devices][-1] == 2666
    assert [device.speed_mts for device in ours.memory_devices][-1] == 3200
    assert ours.memory_arrays[0].ecc is True
    assert ours.processors[0].version == "AMD EPYC 7262 8-Core Processor"
    assert ours.slots[3].hot_plug is True
    assert ours.slots[0].hot_plug is False
    assert ours.slots[0].type_lanes != ours.slots[0].width_lanes == 16


def test_an_empty_socket_has_no_facts() -> None:
    empty = decode_smbios(*romed8_2t(populated="ABDEFGH")).memory_devices[2]
    assert empty.size_bytes == 0
    for value in (empty.kind, empty.form_factor, empty.speed_mts, empty.configured_speed_mts, empty.rank,
                  empty.total_width_bits, empty.data_width_bits, empty.details):
        assert "does not give" in why(value)


def test_unknown_size_is_no_size() -> None:
    ours = decoded(b.memory_array(), b.memory_device(size_bytes=None), b.memory_device(size_bytes=16 * GIB))
    assert "does not give the memory size" in why(ours.memory_devices[0].size_bytes)
    assert isinstance(ours.memory_devices[0].installed, Unread)
    assert "does not give the memory size" in why(ours.installed_memory_bytes)


def test_all_sockets_empty_is_no_zero() -> None:
    ours = decoded(b.memory_array(), b.empty_memory_device())
    assert "every memory socket is empty" in why(ours.installed_memory_bytes)


def test_flash_is_no_main_memory() -> None:
    ours = decoded(b.memory_array(), b.memory_device(), b.memory_array(use=5, handle=0x2000),
                   b.memory_device("SYSTEM ROM", "BIOS", 16 * MIB, array_handle=0x2000, kind=9))
    assert len(ours.memory_devices) == 2
    assert [device.locator for device in ours.system_memory_devices] == ["DIMM 0"]
    assert ours.installed_memory_bytes == 16 * GIB


@pytest.mark.parametrize(("correction", "ecc"), [(3, False), (4, False), (5, True), (6, True), (7, False)])
def test_ecc(correction: int, ecc: bool) -> None:
    assert decoded(b.memory_array(error_correction=correction)).memory_arrays[0].ecc is ecc


@pytest.mark.parametrize("correction", [0, 1, 2, 8])
def test_ecc_that_nobody_knows(correction: int) -> None:
    assert isinstance(decoded(b.memory_array(error_correction=correction)).memory_arrays[0].ecc, Unread)


@pytest.mark.parametrize(("size_bytes", "decoded_bytes"), [(2 * TIB - 1024, 2 * TIB - 1024), (8 * TIB, 8 * TIB)])
def test_capacity(size_bytes: int, decoded_bytes: int) -> None:
    array = decoded(b.memory_array(maximum_capacity_bytes=size_bytes)).memory_arrays[0]
    assert array.maximum_capacity_bytes == decoded_bytes


def test_capacity_of_zero_is_none() -> None:
    array = decoded(b.memory_array(maximum_capacity_bytes=None)).memory_arrays[0]
    assert isinstance(array.maximum_capacity_bytes, Unread)


@pytest.mark.parametrize(("raw", "reason"), [
    ((0, 0, 0), "host bridge"), ((0, 0xFF, 0xFF), "does not give"), ((0xFFFF, 0xFF, 0xFF), "does not give"),
    ((0xFFFF, 0x41, 0), "does not give"), ((0, 0xFF, 0), "does not give"),
])
def test_slot_without_an_address(raw: tuple[int, int, int], reason: str) -> None:
    assert reason in why(decoded(b.slot(raw_address=raw)).slots[0].address)


def test_slot_of_an_old_table_has_no_address() -> None:
    assert "too short" in why(decoded(b.slot(length=13)).slots[0].address)


@pytest.mark.parametrize(("kind", "generation", "lanes"), [
    (b.PCIE, None, None), (0xAA, None, 16), (b.PCIE3_X8, 3, 8), (b.PCIE4_X16, 4, 16), (b.PCIE5_X16, 5, 16),
    (0x24, 4, None), (b.M2_SOCKET_3, None, None),
])
def test_slot_type(kind: int, generation: int | None, lanes: int | None) -> None:
    slot = decoded(b.slot(kind=kind)).slots[0]
    assert slot.pcie_generation == generation or (generation is None and isinstance(slot.pcie_generation, Unread))
    assert slot.type_lanes == lanes or (lanes is None and isinstance(slot.type_lanes, Unread))


def test_slot_information_gives_the_generation() -> None:
    slot = decoded(
        b.slot(base_lanes=16, peers=[("0000:42:00.0", 8)], generation=4, physical_width=b.WIDTH_X16)).slots[0]
    assert (slot.pcie_generation, slot.physical_width_lanes, slot.base_width_lanes) == (4, 16, 16)
    assert [(peer.address, peer.width_lanes) for peer in slot.peers] == [("0000:42:00.0", 8)]


def test_slot_with_more_peers_than_room() -> None:
    whole = b.slot(base_lanes=16, peers=[("0000:42:00.0", 8)])
    body = whole.body[: 0x12 - 4] + bytes((40,)) + whole.body[0x13 - 4 :]
    ours = decoded(Structure(9, body, whole.strings))
    assert len(ours.slots[0].peers) == 1
    assert ours.faults == ("structure 0x0000 (type 9) names 40 further functions, it has room for 1",)


def test_power_supply() -> None:
    dead = b.power_supply(max_power_watts=None, present=False, plugged=False)
    first, second = decoded(b.power_supply(), dead).power_supplies
    assert (first.max_power_watts, first.present, first.plugged, first.hot_replaceable) == (2000, True, True, True)
    assert isinstance(second.max_power_watts, Unread)
    assert (second.present, second.plugged) == (False, False)


def test_many_cores() -> None:
    wide, narrow = decoded(*(b.processor(cores=384, threads=768, length=length) for length in (48, 42))).processors
    assert (wide.cores, wide.cores_enabled, wide.threads) == (384, 384, 768)
    assert "255 or more" in why(narrow.cores)


def test_hosting_board_among_several() -> None:
    riser = b.baseboard("ACME", "Riser", features=0, kind=9)
    main = b.baseboard("ASRockRack", "ROMED8-2T")
    for members in ((riser, main), (main, riser)):
        board = decoded(*members).baseboard
        assert not isinstance(board, Unread)
        assert board.product == "ROMED8-2T"


def test_strings_are_cleaned() -> None:
    hostile = "\x1b[31mROMED8\u202e-2T\x07<b>[red]".encode() + b"\x9b\xff"
    board = decoded(b.baseboard(product=hostile)).baseboard
    assert not isinstance(board, Unread)
    assert board.product == "[31mROMED8-2T<b>[red]��"
    assert len(decoded(b.baseboard(product="A" * 5000)).baseboards[0].product or "") == 256


def test_string_number_out_of_range() -> None:
    whole = b.baseboard()
    ours = decoded(Structure(2, bytes((1, 9)) + whole.body[2:], whole.strings))
    assert ours.truncated is None
    assert ours.baseboards[0].product is None
    assert ours.faults == ("structure 0x0000 (type 2) names its string 9, it has 6",)


def test_many_faults_are_bounded() -> None:
    members = [Structure(2, bytes((9,)) + bytes(10)) for _ in range(500)]
    assert len(decoded(*members).faults) == MAX_FAULTS


# The table as a whole


def test_empty_table() -> None:
    ours = decode_smbios(b"", None)
    assert ours.truncated == "the table is empty"
    assert isinstance(ours.version, Unread)
    assert "incomplete" in why(ours.bios)
    assert "incomplete" in why(ours.baseboard)
    assert "incomplete" in why(ours.installed_memory_bytes)


def test_missing_structures_are_absent() -> None:
    ours = decoded(b.onboard_device())
    for value in (ours.bios, ours.system, ours.baseboard, ours.installed_memory_bytes):
        assert isinstance(value, Unread)
        assert value.kind == "absent"


def test_zero_length_structure() -> None:
    dmi, entry_point = b.table([b.bios(), b.system()])
    at = len(b.bios().packed(0))
    ours = decode_smbios(dmi[: at + 1] + b"\0" + dmi[at + 2 :], entry_point)
    assert isinstance(ours.bios, Bios)
    assert ours.truncated == (f"the structure at byte {at} (type 1) says it is 0 bytes long, a header alone takes 4; "
                              f"{len(dmi) - at} bytes were not read")
    assert "incomplete" in why(ours.system)


def test_structure_past_the_end() -> None:
    dmi, entry_point = b.table([b.bios(), b.memory_device()], end=False)
    at = len(b.bios().packed(0))
    ours = decode_smbios(dmi[: at + 30], entry_point)
    assert ours.truncated == f"the structure at byte {at} (type 17) says it is 84 bytes long, 30 are left"
    assert ours.memory_devices == ()
    assert ours.others == (OtherStructure(17, 1, 84),)


def test_no_end_of_strings() -> None:
    dmi, entry_point = b.table([b.bios(version="P3.50")], end=False)
    ours = decode_smbios(dmi[:-3], entry_point)
    assert ours.truncated == "the strings of the structure at byte 0 (type 0) have no end"
    assert isinstance(ours.bios, Bios)
    assert ours.bios.version == "P3.50"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_end_inside_a_header(cut: int) -> None:
    dmi, entry_point = b.table([b.bios()], end=False)
    ours = decode_smbios(dmi + b"\x11\x54\x00"[:cut], entry_point)
    assert ours.truncated == f"the table ends inside a structure header, {cut} bytes at byte {len(dmi)}"


def test_table_cut_between_structures() -> None:
    """Nothing is malformed, and yet DIMMs are missing: only the end-of-table structure tells."""
    dmi, entry_point = b.table([b.memory_array(), b.memory_device()], end=False)
    ours = decode_smbios(dmi, entry_point)
    assert ours.truncated == "the table has no end-of-table structure (type 127)"
    assert "incomplete" in why(ours.installed_memory_bytes)
    assert decode_smbios(dmi, None).truncated == "the table has no end-of-table structure (type 127)"


@pytest.mark.parametrize("cut", [1, 2])
def test_nothing_is_missing_behind_the_end(cut: int) -> None:
    dmi, entry_point = b.table([b.bios()])
    assert decode_smbios(dmi[:-cut], entry_point).truncated is None


def test_count_of_an_old_entry_point() -> None:
    members = [b.bios(), b.memory_array(), b.memory_device()]
    dmi, _ = b.table(members, (2, 8, 0), end=False)
    assert decode_smbios(dmi, b.entry_point_2(len(dmi), 3)).truncated is None
    cut = decode_smbios(dmi, b.entry_point_2(len(dmi) + 100, 4))
    assert cut.truncated == "the table has no end-of-table structure (type 127)"


def test_old_firmware_miscounts() -> None:
    """A count that is too high, and the table ends where it says it does: nothing is missing."""
    dmi, _ = b.table([b.bios(), b.system()], (2, 8, 0))
    ours = decode_smbios(dmi, b.entry_point_2(len(dmi), 4))
    assert ours.truncated is None
    assert ours.faults == ("the entry point announces 4 structures, 3 were found",)


def test_structures_behind_the_end() -> None:
    """Old firmware may go on behind type 127, as its count says; new tables end there."""
    dmi, _ = b.table([b.bios(), b.end_of_table(), b.baseboard()], (2, 8, 0), end=False)
    assert len(decode_smbios(dmi, b.entry_point_2(len(dmi), 3)).baseboards) == 1
    assert decode_smbios(dmi, b.entry_point_3(len(dmi))).baseboards == ()
    assert decode_smbios(dmi, None).baseboards == ()
    assert decode_smbios(dmi, b.entry_point_3(len(dmi))).truncated is None


def test_thousands_of_structures() -> None:
    ours = decoded(*(b.raw(200, bytes(4)) for _ in range(5000)), b.bios())
    assert ours.truncated is None
    assert len(ours.others) == 5001
    assert isinstance(ours.bios, Bios)


def test_more_structures_than_handles() -> None:
    dmi = struct.pack("<BBHH", 200, 4, 0, 0) * (MAX_STRUCTURES + 10)
    ours = decode_smbios(dmi)
    assert ours.truncated == f"more than {MAX_STRUCTURES} structures"
    assert len(ours.others) == MAX_STRUCTURES


def test_several_bios_structures() -> None:
    ours = decoded(b.bios(version="first"), b.bios(version="second"))
    assert isinstance(ours.bios, Bios)
    assert ours.bios.version == "first"
    assert ours.faults == ("2 BIOS structures (type 0), the first is taken",)


# The entry point


@pytest.mark.parametrize("raw", [b"", b"_SM", b"_SM_" + bytes(10), b"_SM3_", b"garbage" * 10, b"_DMI_"])
def test_no_entry_point(raw: bytes) -> None:
    dmi, _ = b.table([b.bios(), b.processor()])
    ours = decode_smbios(dmi, raw)
    assert ours.truncated is None
    assert ours.version == (3, 0)
    assert ours.faults == (f"the entry point ({len(raw)} bytes) is none of _SM3_, _SM_ and _DMI_",)


def test_wrong_checksum() -> None:
    dmi, entry_point = b.table([b.bios()])
    ours = decode_smbios(dmi, entry_point[:-1] + b"\x01")
    assert ours.version == (3, 3)
    assert ours.faults == ("the checksum of the _SM3_ entry point is off by 0x01",)


def test_legacy_entry_point() -> None:
    dmi, entry_point = b.table([b.bios()], (2, 5, 0))
    ours = decode_smbios(dmi, entry_point[16:])
    assert (ours.version, ours.faults, ours.truncated) == ((2, 5), (), None)


@pytest.mark.parametrize(("written", "meant"), [
    ((2, 31), (2, 3)), ((2, 33), (2, 3)), ((2, 51), (2, 6)), ((2, 7), (2, 7)),
])
def test_versions_that_firmware_gets_wrong(written: tuple[int, int], meant: tuple[int, int]) -> None:
    dmi, _ = b.table([b.bios()])
    raw = bytearray(b.entry_point_2(len(dmi), 2))
    raw[6:8] = bytes(written)
    assert decode_smbios(dmi, bytes(raw)).version == meant


@pytest.mark.parametrize(("member", "version"), [
    (b.processor(length=42), (2, 6)), (b.processor(), (3, 0)), (b.memory_device(), (3, 2)),
    (b.memory_device(length=92), (3, 3)), (b.memory_device(length=34), (2, 7)), (b.slot(), (2, 6)),
])
def test_version_from_lengths(member: Structure, version: tuple[int, int]) -> None:
    dmi, _ = b.table([b.system(uuid="00112233-4455-6677-8899-aabbccddeeff"), member])
    ours = decode_smbios(dmi, None)
    assert ours.version == version
    assert isinstance(ours.system, System)
    assert ours.system.uuid == "00112233-4455-6677-8899-aabbccddeeff"


def test_uuid_without_a_version() -> None:
    ours = decode_smbios(b.table([b.system()])[0], None)
    assert isinstance(ours.system, System)
    assert "byte order" in why(ours.system.uuid)


@pytest.mark.parametrize("uuid", [None, "00000000-0000-0000-0000-000000000000"])
def test_no_uuid(uuid: str | None) -> None:
    system = decoded(b.system(uuid=uuid)).system
    assert isinstance(system, System)
    assert "does not give" in why(system.uuid)


def test_other_boards() -> None:
    assert decode_smbios(*as_4124gs_tnr()).installed_memory_bytes == 512 * GIB
    assert decode_smbios(*framework_desktop()).installed_memory_bytes == 128 * GIB
    rack = decode_smbios(*esc4000a_e10())
    assert [supply.max_power_watts for supply in rack.power_supplies] == [2200, 2200]
    assert (rack.ipmi[0].interface, rack.ipmi[0].base_address, rack.ipmi[0].io) == ("KCS", 0xCA2, True)


@pytest.mark.parametrize(("length", "wanted"), [(100, 70000), (84, "has no such field")])
def test_a_speed_of_ffff_points_to_a_field_that_may_not_be_there(length: int, wanted: int | str) -> None:
    device = decoded(b.memory_device(configured_speed_mts=70000, length=length))
    speed = device.memory_devices[0].configured_speed_mts
    if isinstance(wanted, int):
        assert speed == wanted
    else:
        assert wanted in why(speed)
        assert "0xffff" in why(speed)


def test_an_extended_size_of_its_reserved_bit_alone_is_no_empty_socket() -> None:
    table, entry_point = b.table([b.memory_array(), b.memory_device(size_bytes=64 * GIB)], (3, 3, 0))
    extended = struct.pack("<I", 64 * GIB // MIB)
    assert table.count(extended) == 1
    device = decode_smbios(table.replace(extended, struct.pack("<I", 1 << 31)), entry_point).memory_devices[0]
    assert "does not give the extended memory size" in why(device.size_bytes)
