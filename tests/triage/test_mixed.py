"""Several kinds of evidence about one machine, in several files or in one paste."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from boxcheck.triage.account import Triage, triage
from tests.boxes import build
from tests.triage.texts import BUSES, aer, fell, rules, told

needs_lspci = pytest.mark.skipif(shutil.which("lspci") is None, reason="lspci is not installed")

LSPCI = """\
40:01.1 PCI bridge: Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge (prog-if 00 [Normal decode])
\tPhysical Slot: PCIE3
\tBus: primary=40, secondary=41, subordinate=41, sec-latency=0
\tCapabilities: [58] Express (v2) Root Port (Slot+), IntMsgNum 0
\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM L1, Exit Latency L1 <64us
\t\tLnkSta:\tSpeed 16GT/s, Width {width}
\t\tSltSta:\tStatus: AttnBtn- PowerFlt- MRL- CmdCplt- PresDet+ Interlock-
\t\tLnkCtl2: Target Link Speed: 16GT/s, EnterCompliance- SpeedDis-
\tKernel driver in use: pcieport

41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1) (prog-if 00 [VGA controller])
\tCapabilities: [78] Express (v2) Legacy Endpoint, IntMsgNum 0
\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM L1, Exit Latency L1 <16us
\t\tLnkSta:\tSpeed 16GT/s, Width {width}
\tKernel driver in use: nvidia
"""
SMI = """\
==============NVSMI LOG==============

Driver Version                            : 570.148.08
CUDA Version                              : 12.8

Attached GPUs                             : 1
GPU 00000000:41:00.0
    Product Name                          : NVIDIA GeForce RTX 4090
    Serial Number                         : 1324417
    GPU UUID                              : GPU-8c1f2a54-1111-2222-3333-444455556666
    PCI
        Bus                               : 0x41
        Bus Id                            : 00000000:41:00.0
"""


def damaged(found: Triage) -> None:
    """One problem at slot PCIE3, of the card with its serial, by both pieces of evidence."""
    assert rules(found) == ["damaged-link"]
    problem = found.problems[0]
    assert problem.title == "the path of slot PCIE3 is damaged"
    assert problem.key == "link:0000:40:01.1"
    assert len(problem.events) == 2


def test_a_dmesg_an_lspci_and_an_nvidia_smi_are_one_machine(tmp_path: Path) -> None:
    log = aer(500.0, "0000:40:01.1", 6, "BadTLP")
    found = told(tmp_path, log, LSPCI.format(width="x8 (downgraded)"), SMI)
    damaged(found)
    assert found.problems[0].where == "root port 40:01.1 > slot PCIE3 > RTX 4090 41:00.0 (serial 1324417)"


def test_one_paste_is_taken_apart(tmp_path: Path) -> None:
    log = aer(500.0, "0000:40:01.1", 6, "BadTLP")
    paste = ("Hi all, my third card trains at x8. dmesg says\n\n" + log + "\nand lspci\n\n$ sudo lspci -vvv\n"
             + LSPCI.format(width="x8 (downgraded)") + "\n$ nvidia-smi -q\n" + SMI + "\nAny idea?\n")
    found = told(tmp_path, paste)
    damaged(found)
    lines = paste.splitlines()
    for sighting in found.events:
        assert sighting.event.line > 0
        head = lines[sighting.event.line - 1]
        assert "PCIe Bus Error" in head or "41:00.0" in head or "40:01.1" in head, (sighting.kind, head)


@pytest.mark.parametrize("mark", ["> ", ">> ", "> > "])
def test_a_quoted_paste(mark: str, tmp_path: Path) -> None:
    paste = aer(500.0, "0000:40:01.1", 6, "BadTLP") + "\n" + LSPCI.format(width="x8 (downgraded)")
    damaged(told(tmp_path, "".join(f"{mark}{line}\n" for line in paste.splitlines())))


def test_full_width_at_rest_is_no_fault(tmp_path: Path) -> None:
    found = told(tmp_path, LSPCI.format(width="x16"), SMI)
    assert not [sighting for sighting in found.events if sighting.bad]


def test_a_link_in_one_file_explains_the_loss_in_another(tmp_path: Path) -> None:
    found = told(tmp_path, LSPCI.format(width="x8 (downgraded)"), fell(500.0, "41"))
    assert rules(found) == ["link-took-the-gpu"]
    whole = told(tmp_path, LSPCI.format(width="x16"), fell(500.0, "41"))
    assert rules(whole) == ["gpu-lost"]


@needs_lspci
@pytest.mark.parametrize(("box", "rule", "words"), [
    ("wopr-7x4090", None, ""),
    ("wopr-7x4090+riser-x8", "damaged-link", "40:01.1"),
    ("tinybox-red", None, ""),
])
def test_a_built_box_through_lspci(box: str, rule: str | None, words: str, tmp_path: Path) -> None:
    tree = tmp_path / "box"
    build(box).write_dir(tree)
    done = subprocess.run(
        ["lspci", "-A", "linux-sysfs", "-O", f"sysfs.path={tree}/sys/bus/pci", "-vvvnnxxxx"], capture_output=True,
        text=True, timeout=60)
    place = tmp_path / "lspci.txt"
    place.write_text(done.stdout)
    found = triage([str(place)])
    bad = [(sighting.kind, sighting.event.says) for sighting in found.events if sighting.bad]
    if rule is None:
        assert bad == []
    else:
        assert rules(found) == [rule]
        assert words in found.problems[0].where


def test_the_boot_lines_of_a_log_serve_an_lspci_without_bridges(tmp_path: Path) -> None:
    one_card = "".join(line + "\n" for line in BUSES.splitlines() if "0000:42:" not in line)
    found = told(tmp_path, one_card + aer(500.0, "0000:40:01.1", 6, "BadTLP"), SMI)
    assert found.problems[0].where.endswith("RTX 4090 41:00.0 (serial 1324417)")


@pytest.mark.parametrize(("box", "kinds"), [
    ("wopr-7x4090", set()), ("wopr-7x4090+riser-x8", {"link-width", "bw-limited"}), ("tinybox-red", set()), ("laptop", set()),
    ("tinybox-red+on-card-x8", {"link-width"}),
])
def test_a_capture_brings_what_doctor_finds_wrong(box: str, kinds: set[str], tmp_path: Path) -> None:
    build(box).write_dir(tmp_path / "box")
    found = triage([str(tmp_path / "box")])
    assert {sighting.kind for sighting in found.events if sighting.bad} == kinds
    assert found.recognised
    assert any("doctor --sysroot" in note for note in found.notes)


def test_a_capture_and_a_later_log_are_one_machine(tmp_path: Path) -> None:
    build("wopr-7x4090+riser-x8").write_dir(tmp_path / "box")
    log = tmp_path / "later.log"
    log.write_text(aer(3000.0, "0000:40:01.1", 6, "BadTLP") + fell(3500.0, "41"))
    found = triage([str(tmp_path / "box"), str(log)])
    assert rules(found) == ["link-took-the-gpu"]
    assert found.problems[0].where == "root port 40:01.1 > slot PCIE3 > RTX 4090 41:00.0"
