"""The built machines' SMBIOS tables against dmidecode."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.boxes import BOXES, build, machine
from tests.boxes.smbios_build import dump

DMIDECODE = shutil.which("dmidecode") or shutil.which("dmidecode", path="/usr/sbin:/sbin")
pytestmark = pytest.mark.skipif(DMIDECODE is None, reason="dmidecode is not installed")


def dmidecode(name: str, folder: Path, kind: int) -> str:
    tree = build(name)
    file = folder / "dump.bin"
    table, entry = (tree[f"/sys/firmware/dmi/tables/{part}"] for part in ("DMI", "smbios_entry_point"))
    assert isinstance(table, bytes)
    assert isinstance(entry, bytes)
    file.write_bytes(dump(table, entry))
    done = subprocess.run(
        [DMIDECODE or "", "--from-dump", str(file), "-t", str(kind)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", BOXES)
def test_boards_and_processors(name: str, tmp_path: Path) -> None:
    box = machine(name)
    assert f"Product Name: {box.dmi.board_name}\n" in dmidecode(name, tmp_path, 2)
    shown = dmidecode(name, tmp_path, 4)
    assert shown.count("Processor Information") == box.cpu.sockets
    assert f"Version: {box.cpu.model_name}\n" in shown
    assert f"Core Count: {box.cpu.cores}\n" in shown


@pytest.mark.parametrize("name", [*BOXES, "wopr-7x4090+dimm-missing", "tinybox-red+dimm-slow"])
def test_memory(name: str, tmp_path: Path) -> None:
    box = machine(name)
    shown = dmidecode(name, tmp_path, 17)
    sizes = re.findall(r"^\tSize: (.*)$", shown, re.MULTILINE)
    wanted = ["No Module Installed" if not dimm.size_mib else f"{dimm.size_mib // 1024} GB" for dimm in box.memory]
    assert sizes == wanted
    speeds = re.findall(r"^\tConfigured Memory Speed: (\d+) MT/s$", shown, re.MULTILINE)
    assert speeds == [str(dimm.configured_mts) for dimm in box.memory if dimm.size_mib]
    assert re.findall(r"^\tLocator: (.*)$", shown, re.MULTILINE) == [dimm.locator for dimm in box.memory]
    assert f"Error Correction Type: {box.ecc}\n" in dmidecode(name, tmp_path, 16)


@pytest.mark.parametrize("name", [*BOXES, "wopr-7x4090+card-absent"])
def test_slots(name: str, tmp_path: Path) -> None:
    box = machine(name)
    shown = dmidecode(name, tmp_path, 9)
    assert re.findall(r"^\tDesignation: (.*)$", shown, re.MULTILINE) == [slot.name for slot in box.slots]
    addresses = re.findall(r"^\tBus Address: (.*)$", shown, re.MULTILINE)
    assert addresses == [f"0000:{slot.root_port.secondary:02x}:00.0" for slot in box.slots if slot.root_port]
    usage = re.findall(r"^\tCurrent Usage: (.*)$", shown, re.MULTILINE)
    assert usage == [
        "In Use" if slot.root_port and slot.root_port.live_children() else "Available" for slot in box.slots
    ]


@pytest.mark.parametrize("name", ["tinybox-red", "tinybox-pro", "tinybox-red+psu-dead"])
def test_power_supplies(name: str, tmp_path: Path) -> None:
    box = machine(name)
    shown = dmidecode(name, tmp_path, 39)
    assert re.findall(r"Max Power Capacity: (\d+) W", shown) == [str(supply.watts) for supply in box.supplies]
    assert shown.count("Plugged: Yes") == sum(supply.ok for supply in box.supplies)
