from __future__ import annotations

from pathlib import Path

from boxcheck.model import Unread
from boxcheck.probes.dmi import Dmi
from tests.boxes import smbios_build as smbios
from tests.probes.reading import fact, kind_of, live, tree

TABLES = "/sys/firmware/dmi/tables"
ID = "/sys/class/dmi/id"


def with_tables(*structures: smbios.Structure, cut: int | None = None) -> dict[str, bytes]:
    table, entry = smbios.table(structures)
    return {f"{TABLES}/DMI": table[:cut], f"{TABLES}/smbios_entry_point": entry}


def test_names_come_from_sysfs_without_root(tmp_path: Path) -> None:
    made = tree({
        f"{ID}/board_name": "ROMED8-2T", f"{ID}/sys_vendor": "To Be Filled By O.E.M.", f"{ID}/bios_version": "P3.50",
    }, root=False)
    made.denied(f"{TABLES}/DMI", "permission denied")
    dmi = fact(Dmi, made, tmp_path)
    assert dmi.board_name == "ROMED8-2T"
    assert dmi.bios_version == "P3.50"
    assert dmi.sys_vendor is None  # a placeholder says nothing
    assert kind_of(dmi.smbios) == "permission"
    assert kind_of(dmi.memory_devices) == kind_of(dmi.slots) == kind_of(dmi.power_supplies) == "permission"


def test_names_come_from_the_tables_where_sysfs_has_none(tmp_path: Path) -> None:
    dmi = fact(Dmi, tree(with_tables(
        smbios.bios(version="P3.80"), smbios.system(), smbios.baseboard(product="ROMED8-2T"), smbios.processor(),
        smbios.slot(), smbios.memory_array(), smbios.memory_device(), smbios.power_supply())), tmp_path)
    assert (dmi.board_name, dmi.bios_version) == ("ROMED8-2T", "P3.80")
    assert isinstance(dmi.processors, tuple)
    all_found = (dmi.processors, dmi.slots, dmi.memory_arrays, dmi.memory_devices, dmi.power_supplies)
    assert [len(found) for found in all_found if isinstance(found, tuple)] == [1, 1, 1, 1, 1]


def test_a_cut_table_proves_nothing(tmp_path: Path) -> None:
    dmi = fact(Dmi, tree(with_tables(smbios.bios(), smbios.memory_array(), smbios.memory_device(), cut=60)), tmp_path)
    assert kind_of(dmi.memory_devices) == "malformed"


def test_a_machine_without_dmi(tmp_path: Path) -> None:
    dmi = fact(Dmi, tree(), tmp_path)
    assert kind_of(dmi.board_name) == kind_of(dmi.smbios) == "absent"


def test_a_capture_that_did_not_look(tmp_path: Path) -> None:
    dmi = fact(Dmi, tree(whole=False), tmp_path)
    assert kind_of(dmi.board_name) == kind_of(dmi.smbios) == "not-captured"


def test_escape_sequences_and_markup_of_firmware_are_harmless(tmp_path: Path) -> None:
    dmi = fact(Dmi, tree({f"{ID}/board_name": "\x1b[31mEVIL\x1b[0m \u202eboard", **with_tables(
        smbios.baseboard(product=b"\x1b]0;x\x07board"))}), tmp_path)
    assert isinstance(dmi.board_name, str)
    assert dmi.board_name.isprintable()


def test_this_machine() -> None:
    dmi = live(Dmi)
    assert isinstance(dmi.board_name, (str, Unread, type(None)))
