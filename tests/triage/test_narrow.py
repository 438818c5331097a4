"""A GPU's link with fewer lanes than the card: one reading, whatever tool shows it, and what settles it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from boxcheck.report.text import Style
from boxcheck.report.triage import triage_text
from tests.triage.lspci_text import bridge, nvidia
from tests.triage.texts import BUSES, aer, fell, rules, told

CARD = nvidia("41:00.0", speed=16, width=8)
QUERY = """\
index, name, pci.bus_id, pcie.link.gen.current, pcie.link.gen.max, pcie.link.width.current, pcie.link.width.max
0, NVIDIA GeForce RTX 4090, 00000000:41:00.0, 4, 4, {}, 16
"""
FOUND = ("[    1.500000] pci 0000:41:00.0: 126.024 Gb/s available PCIe bandwidth, limited by 16.0 GT/s PCIe x{} link at "
         "0000:40:01.1 (capable of 252.048 Gb/s with 16.0 GT/s PCIe x16 link)\n")
GREP = ("41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)\n"
        "\t\tLnkSta:\tSpeed 16GT/s, Width x8 (downgraded)\n")
ONE_CARD = "".join(line for line in BUSES.splitlines(keepends=True) if "0000:42:" not in line)
AMD_SMI = """\
GPU: 0
    BUS:
        BDF: 0000:41:00.0
        MAX_PCIE_WIDTH: 16
        MAX_PCIE_SPEED: 16 GT/s
    PCIE:
        WIDTH: {}
        SPEED: 16 GT/s
"""
NARROW = [CARD, GREP, QUERY.format(8), BUSES + FOUND.format(8), FOUND.format(8), AMD_SMI.format(8)]


@pytest.mark.parametrize("text", NARROW)
def test_one_reading_in_every_input(text: str, tmp_path: Path) -> None:
    found = told(tmp_path, text)
    problem, = found.faults
    assert (problem.rule, problem.severity, problem.cause, problem.sure) == ("narrow-link", "warn", None, "possible")
    assert "by design" in problem.part
    assert "x8, the" in problem.title
    assert "x16" in problem.title
    assert "NOTHING" not in triage_text(found, Style())


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_down_to_one_lane_it_is_the_same_reading(lanes: int, tmp_path: Path) -> None:
    """Slots, adapters and mining risers of one lane are sold: one end alone proves a fault at no width."""
    inputs = (nvidia("41:00.0", speed=16, width=lanes), GREP.replace("x8", f"x{lanes}"), QUERY.format(lanes),
              BUSES + FOUND.format(lanes), FOUND.format(lanes), AMD_SMI.format(lanes))
    for text in inputs:
        problem, = told(tmp_path, text).faults
        assert (problem.rule, problem.severity, problem.cause) == ("narrow-link", "warn", None)
        assert ("mining riser" in problem.part) == (lanes <= 2)
    for text in inputs:
        assert told(tmp_path, bridge("40:01.1", 0x41, width=lanes, lanes=lanes) + "\n" + CARD.replace(
            "Width x8", f"Width x{lanes}"), text).faults == ()
        found = told(tmp_path, bridge("40:01.1", 0x41, width=lanes) + "\n" + CARD.replace(
            "Width x8", f"Width x{lanes}"), text)
        assert [(one.rule, one.severity) for one in found.faults] == [("damaged-link", "fail")]


@pytest.mark.parametrize("static", ["text", "json", "other file"])
def test_lanes_in_one_output_and_the_card_in_another(static: str, tmp_path: Path) -> None:
    """`amd-smi metric` names no card: its GPU 1 is `amd-smi static`'s."""
    cards = [{"gpu": number, "asic": {"vendor_id": "0x1002", "device_id": "0x744c", "rev_id": "0xc8"},
              "bus": {"bdf": f"0000:{number}3:00.0"}} for number in (0, 1)]
    text = "".join(f"GPU: {number}\n    ASIC:\n        VENDOR_ID: 0x1002\n        DEVICE_ID: 0x744c\n        REV_ID: 0xc8\n"
                   f"    BUS:\n        BDF: 0000:{number}3:00.0\n" for number in (0, 1))
    shown = text if static == "text" else json.dumps(cards, indent=4) + "\n"
    for lanes, faults in ((16, []), (4, ["narrow-link"])):
        metric = "".join(f"GPU: {number}\n    PCIE:\n        WIDTH: {width}\n        SPEED: 16 GT/s\n"
                         for number, width in ((0, 16), (1, lanes)))
        texts = [shown, metric] if static == "other file" else [f"$ amd-smi static\n{shown}\n$ amd-smi metric\n{metric}"]
        found = told(tmp_path, *texts)
        assert rules(found) == faults
        assert all("13:00.0" in problem.title for problem in found.faults)
    alone = told(tmp_path, metric)
    assert alone.faults == ()
    assert any("whether the links (x16, x4) have all lanes" in note for note in alone.notes)


def test_wider_cards_beside_it_are_told(tmp_path: Path) -> None:
    """Boards of slots with sixteen and eight lanes are usual: the others prove nothing, and are worth knowing."""
    rows = "".join(f"{number}, NVIDIA GeForce RTX 4090, 00000000:{number}1:00.0, 4, 4, 16, 16\n" for number in range(5, 8))
    problem, = told(tmp_path, QUERY.format(8) + rows).faults
    assert problem.severity == "warn"
    assert "3 of the same card run x16 here" in problem.because[0]


def test_a_module_has_no_narrower_slot(tmp_path: Path) -> None:
    """Whatever shows it."""
    module = CARD.replace("AD102 [GeForce RTX 4090] [10de:2684]", "GH100 [H100 SXM5 80GB] [10de:2330]")
    query = QUERY.format(8).replace("NVIDIA GeForce RTX 4090", "NVIDIA H100 80GB HBM3")
    log = BUSES.replace("10de:2684", "10de:2330") + FOUND.format(8)
    for text in (module, query, log):
        assert [(one.severity, one.cause) for one in told(tmp_path, text).faults] == [("fail", "signal")]


@pytest.mark.parametrize("name", ["NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "NVIDIA RTX A5000"])
def test_a_card_that_is_called_like_a_laptops(name: str, tmp_path: Path) -> None:
    assert told(tmp_path, QUERY.format(1).replace("NVIDIA GeForce RTX 4090", name)).faults
    assert told(tmp_path, CARD.replace("AD102 [GeForce RTX 4090]", f"GB202GL [{name[7:]}]")).faults
    assert told(tmp_path, QUERY.format(8).replace("GeForce RTX 4090", "GeForce RTX 2080 with Max-Q Design")).faults == ()


def test_all_inputs_together_are_one_problem(tmp_path: Path) -> None:
    assert rules(told(tmp_path, CARD, GREP, QUERY.format(8), ONE_CARD + FOUND.format(8))) == ["narrow-link"]


@pytest.mark.parametrize("text", [QUERY.format(16), BUSES + FOUND.format(16), GREP.replace("x8 (downgraded)", "x16")])
def test_a_whole_link_is_none(text: str, tmp_path: Path) -> None:
    assert told(tmp_path, text).faults == ()


def test_the_port_settles_it(tmp_path: Path) -> None:
    """A slot of eight lanes explains the card; one of sixteen makes it a fault."""
    for other in (QUERY.format(8), BUSES + FOUND.format(8)):
        assert told(tmp_path, bridge("40:01.1", 0x41, width=8, lanes=8) + "\n" + CARD, other).faults == ()
        found = told(tmp_path, bridge("40:01.1", 0x41, width=8) + "\n" + CARD, other)
        assert [(one.rule, one.severity) for one in found.faults] == [("damaged-link", "fail")]


def test_a_narrow_slot_does_not_take_its_gpu(tmp_path: Path) -> None:
    """Eight lanes by design say nothing of why a GPU was lost; damaged packets do, and tell of the lanes too."""
    assert set(rules(told(tmp_path, BUSES + FOUND.format(8) + fell(500.0, "41")))) == {"gpu-lost", "narrow-link"}
    damaged = BUSES + FOUND.format(8) + aer(499.0, "0000:40:01.1", 6, "BadTLP")
    assert rules(told(tmp_path, damaged)) == ["damaged-link"]
    assert rules(told(tmp_path, damaged + fell(500.0, "41"))) == ["link-took-the-gpu"]


def test_a_switch_on_the_card_is_the_card(tmp_path: Path) -> None:
    """RDNA: the kernel names the switch's upper end; a drive behind the same chipset is no card."""
    card = "".join(f"[    0.9{number:05}] pci 0000:{line}\n" for number, line in enumerate((
        "40:01.1: [1022:1483] type 01 class 0x060400 PCIe Root Port",
        "41:00.0: [1002:1478] type 01 class 0x060400 PCIe Switch Upstream Port",
        "42:00.0: [1002:1479] type 01 class 0x060400 PCIe Switch Downstream Port",
        "43:00.0: [1002:744c] type 00 class 0x030000 PCIe Legacy Endpoint",
        "40:01.1: PCI bridge to [bus 41-43]", "41:00.0: PCI bridge to [bus 42-43]", "42:00.0: PCI bridge to [bus 43]")))
    problem, = told(tmp_path, card + FOUND.format(8)).faults
    assert (problem.rule, "43:00.0" in problem.title) == ("narrow-link", True)
    drive = BUSES + "[    0.910000] pci 0000:44:00.0: [144d:a80a] type 00 class 0x010802 PCIe Endpoint\n"
    assert told(tmp_path, drive + FOUND.format(4).replace("41:00.0", "44:00.0")).faults == ()


def test_the_whole_list_is_asked_for(tmp_path: Path) -> None:
    text = triage_text(told(tmp_path, CARD), Style())
    assert "give as well: the whole sudo lspci" in text
