"""The text of dmidecode says what boxcheck decodes from the same table, so triage and doctor judge alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.decode.dmidecode_text import is_row, is_start, size_bytes, slot_address, smbios, structures
from boxcheck.decode.smbios import Smbios, decode_smbios
from boxcheck.model import Unread
from boxcheck.probes.memory import Module, modules_by_channel
from tests.boxes.smbios_machines import MACHINES
from tests.decode.dmidecode_oracle import run_text


def known(value: object) -> object:
    """Unread is unread, whatever its reason."""
    return None if isinstance(value, Unread) else value


def of_modules(modules: tuple[Module, ...]) -> list[tuple[object, ...]]:
    return [(one.label, one.channel, known(one.size_bytes), known(one.rated_mts), known(one.configured_mts),
             known(one.check_bits), one.part) for one in modules]


def of_slots(table: Smbios) -> list[tuple[object, ...]]:
    return [(one.designation, known(one.address), known(one.usage), known(one.type_lanes), known(one.width_lanes))
            for one in table.slots]


@pytest.mark.parametrize("flat", [False, True], ids=["as printed", "flattened"])
@pytest.mark.parametrize("name", sorted(MACHINES))
def test_text_and_table(name: str, flat: bool, tmp_path: Path) -> None:
    dmi, entry_point = MACHINES[name]()
    lines = run_text(dmi, entry_point, tmp_path).splitlines()
    if flat:
        lines = [" ".join(line.split()) for line in lines]
    ours, theirs = smbios(structures(lines), None), decode_smbios(dmi, entry_point)
    assert of_modules(modules_by_channel(ours)[0]) == of_modules(modules_by_channel(theirs)[0])
    assert known(modules_by_channel(ours)[1]) is None or [
        (one.name, known(one.populated)) for one in modules_by_channel(ours)[1]] == [
        (one.name, known(one.populated)) for one in modules_by_channel(theirs)[1]]
    assert of_slots(ours) == of_slots(theirs)
    assert [known(array.error_correction) for array in ours.memory_arrays] == [
        known(array.error_correction) for array in theirs.memory_arrays]
    assert [board.product for board in ours.baseboards] == [board.product for board in theirs.baseboards]


@pytest.mark.parametrize(("text", "wanted"), [
    ("64 GB", 64 << 30), ("16384 MB", 16 << 30), ("32 GiB", 32 << 30), ("No Module Installed", 0), ("512 kB", 512 << 10),
    ("Unknown", None), ("", None), (None, None), ("-4 GB", None), ("99999999999 GB", None),
])
def test_sizes(text: str | None, wanted: int | None) -> None:
    assert known(size_bytes(text)) == wanted


@pytest.mark.parametrize(("text", "wanted"), [
    ("0000:41:00.0", "0000:41:00.0"), ("0000:00:00.0", None), ("0000:ff:1f.7", None), ("00ff:ff:1f.7", None),
    ("0001:41:00.0", "0001:41:00.0"), ("nonsense", None), (None, None),
])
def test_addresses_of_slots(text: str | None, wanted: str | None) -> None:
    assert known(slot_address(text)) == wanted


def test_without_handles() -> None:
    """`dmidecode -q` prints titles only."""
    lines = ["Memory Device", "\tSize: 32 GB", "\tLocator: DIMM_A1", "", "Memory Device", "\tSize: 16 GB",
             "\tLocator: DIMM_B1"]
    assert [one.size_bytes for one in smbios(structures(lines), None).memory_devices] == [32 << 30, 16 << 30]


@pytest.mark.parametrize("line", [
    "[    0.000000] DMI: ASRockRack ROMED8-2T, BIOS P3.50", "user@box:~$ sudo dmidecode", "Is the memory bad?",
    "Note: this is what I get", "01:00.0 VGA compatible controller: NVIDIA Corporation", "GPU 00000000:41:00.0",
])
def test_other_lines_are_none_of_it(line: str) -> None:
    assert not is_row(line)
    assert not is_start(line)
