"""`nvidia-smi -q`: an own text in the layout of driver 550, changed row by row, and outputs of real cards."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcheck.decode.nvidia_smi import MOST_GPUS, gpu_values, parse_query
from tests.boxes.smi_text import query
from tests.probes.reading import HOSTILE

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
BUS = "00000000:41:00.0"
CLEAN = {
    "event_reasons": 1, "pcie_replays": 0, "ecc": False, "retired_pending": None, "ecc_uncorrected": None,
    "ecc_uncorrected_volatile": None, "remapped_corrected": 0, "remapped_uncorrected": 0, "remap_pending": False,
    "remap_failed": False,
}


def values(old: str = "", new: str = "") -> dict[str, object]:
    """What is read from the text of a sound card in which `old` became `new`."""
    text = query([(BUS, 1, 0)])
    assert old in text, old
    return dict(gpu_values(parse_query(text.replace(old, new))[BUS]))



def test_a_sound_card() -> None:
    assert values() == CLEAN


@pytest.mark.parametrize(("old", "new", "field", "wanted"), [
    ("Replays Since Reset               : 0", "Replays Since Reset               : 733", "pcie_replays", 733),
    ("Replays Since Reset               : 0", "Replays Since Reset               : N/A", "pcie_replays", None),
    ("HW Slowdown                       : Not Active", "HW Slowdown                       : Active",
     "event_reasons", 0x9),
    ("HW Power Brake Slowdown       : Not", "HW Power Brake Slowdown       :", "event_reasons", 0x81),
    ("HW Thermal Slowdown           : Not", "HW Thermal Slowdown           :", "event_reasons", 0x41),
    ("SW Thermal Slowdown               : Not", "SW Thermal Slowdown               :", "event_reasons", 0x21),
    ("SW Power Cap                      : Not", "SW Power Cap                      :", "event_reasons", 0x5),
    ("Clocks Event Reasons\n", "Clocks Throttle Reasons\n", "event_reasons", 1),
    ("Uncorrectable Error               : 0", "Uncorrectable Error               : 8", "remapped_uncorrected", 8),
    ("Remapping Failure Occurred        : No", "Remapping Failure Occurred        : Yes", "remap_failed", True),
    ("Pending Page Blacklist            : N/A", "Pending Page Blacklist            : Yes", "retired_pending", True),
])
def test_one_row_changed(old: str, new: str, field: str, wanted: object) -> None:
    assert values(old, new) == {**CLEAN, field: wanted}


def test_two_reasons_at_once() -> None:
    found = values("HW Slowdown                       : Not Active\n            HW Thermal Slowdown           : Not",
                   "HW Slowdown                       : Active\n            HW Thermal Slowdown           :")
    assert found["event_reasons"] == 0x49


@pytest.mark.parametrize(("old", "new", "field"), [
    ("HW Slowdown                       : Not Active", "HW Slowdown                       : Unknown Error",
     "event_reasons"),
    ("            HW Power Brake Slowdown       : Not Active\n", "", "event_reasons"),
    ("Replays Since Reset               : 0", "Replays Since Reset               : Unknown Error", "pcie_replays"),
    ("Replays Since Reset               : 0", f"Replays Since Reset               : {'9' * 30}", "pcie_replays"),
    ("        Remapping Failure Occurred        : No\n", "", "remap_failed"),
])
def test_what_the_text_does_not_say_is_left_out(old: str, new: str, field: str) -> None:
    assert values(old, new) == {name: value for name, value in CLEAN.items() if name != field}


def test_what_is_not_told_hides_no_fault_that_is() -> None:
    row = "            HW Power Brake Slowdown       : Not Active\n"
    text = query([(BUS, 1, 0)]).replace(row, "")
    assert "event_reasons" not in gpu_values(parse_query(text)[BUS])
    text = text.replace("HW Thermal Slowdown           : Not", "HW Thermal Slowdown           :")
    assert gpu_values(parse_query(text)[BUS])["event_reasons"] == 0x41
    errors = {"ecc errors/volatile/sram uncorrectable": "5", "ecc errors/volatile/dram uncorrectable": "Unknown Error"}
    assert gpu_values(errors) == {"ecc_uncorrected_volatile": 5}
    assert gpu_values({**errors, "ecc errors/volatile/sram uncorrectable": "0"}) == {}


def test_a_section_that_the_card_does_not_have() -> None:
    text = query([(BUS, 1, 0)])
    start = text.index("    Remapped Rows\n")
    end = text.index("    Temperature\n")
    none = text[:start] + "    Remapped Rows                         : N/A\n" + text[end:]
    found = gpu_values(parse_query(none)[BUS])
    assert {name: found[name] for name in found if name.startswith("remap")} == {
        "remapped_corrected": None, "remapped_uncorrected": None, "remap_pending": None, "remap_failed": None}
    text = query([(BUS, 1, 0)])
    start, end = text.index("    Clocks Event Reasons\n"), text.index("    ECC Mode\n")
    old = text[:start] + "    Clocks Throttle Reasons               : N/A\n" + text[end:]
    assert gpu_values(parse_query(old)[BUS])["event_reasons"] is None


def test_uncorrectable_errors_are_summed_over_sram_and_dram() -> None:
    text = query([(BUS, 1, 0)])
    for name, count in (("SRAM Uncorrectable Parity     : N/A", 1), ("DRAM Uncorrectable            : N/A", 2)):
        text = text.replace(name, name.replace("N/A", str(count)))
    found = gpu_values(parse_query(text)[BUS])
    assert (found["ecc_uncorrected"], found["ecc_uncorrected_volatile"]) == (3, 3)
    before_turing = "GPU 00000000:41:00.0\n    ECC Errors\n        Volatile\n            Double Bit\n" \
        "                Device Memory     : 4\n                Total             : 5\n"
    assert gpu_values(parse_query(before_turing)[BUS]) == {"ecc_uncorrected_volatile": 5}


def test_cards_are_told_apart() -> None:
    found = parse_query(query([("00000000:41:00.0", 1, 0), ("00000000:81:00.0", 0x80, 7)]))
    assert [(bus, gpu_values(rows)["event_reasons"], gpu_values(rows)["pcie_replays"])
            for bus, rows in found.items()] == [("00000000:41:00.0", 1, 0), ("00000000:81:00.0", 0x80, 7)]


def test_a_card_that_comes_twice_is_read_once() -> None:
    text = query([(BUS, 1, 0)]) + query([(BUS, 0x80, 9)])
    assert gpu_values(parse_query(text)[BUS]) == CLEAN


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_end(text: str) -> None:
    for broken in (text, f"GPU x\n{text}", f"GPU x\n    {text}", query([(BUS, 1, 0)]).replace("N/A", text)):
        for rows in parse_query(broken).values():
            gpu_values(rows)


def test_bounds() -> None:
    many = "".join(f"GPU {number}\n    a : 1\n" for number in range(500))
    assert len(parse_query(many)) == MOST_GPUS
    deep = "GPU x\n" + "".join(f"{' ' * depth}a\n" for depth in range(1, 3000))
    assert all(len(path) < 200 for path in parse_query(deep)["x"])


@given(st.text(alphabet=" :/\nGPUNAactive019%\t", max_size=400))
def test_any_text_ends(text: str) -> None:
    for rows in parse_query(text).values():
        gpu_values(rows)


# Outputs of real cards, beside the project: driver 550 (thamada/nvidia-smi) and 590, 595 (nvidia_gpu_exporter).

REAL = (
    ("thamada-nvidia-smi/RTX4090.out_a.q.txt", 8, CLEAN),
    ("thamada-nvidia-smi/RTX4060Ti.out_a.q.txt", 2, {**CLEAN, "ecc": None}),
    ("thamada-nvidia-smi/H100NVLx2.out_a.q.txt", 2,
     {**CLEAN, "ecc": True, "ecc_uncorrected": 0, "ecc_uncorrected_volatile": 0}),
    ("nvidia_gpu_exporter/linux-x86_64__nvidia-h200__590.48.01.txt", 1,
     {**CLEAN, "ecc": True, "ecc_uncorrected": 0, "ecc_uncorrected_volatile": 0}),
    ("nvidia_gpu_exporter/linux-x86_64__nvidia-geforce-rtx-4080-super__595.71.05.txt", 1,
     {**CLEAN, "ecc": None, "remapped_corrected": None, "remapped_uncorrected": None, "remap_pending": None,
      "remap_failed": None}),
)


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/fixtures is not there")
@pytest.mark.parametrize(("name", "count", "wanted"), REAL, ids=[row[0].split("/")[1] for row in REAL])
def test_real_cards(name: str, count: int, wanted: dict[str, object]) -> None:
    found = {bus: rows for bus, rows in parse_query((FIXTURES / name).read_text()).items() if bus[0] == "0" and rows
             and ":" in bus[:12]}
    cards = [dict(gpu_values(rows)) for rows in found.values() if len(rows) > 20]
    assert cards == [wanted] * count
