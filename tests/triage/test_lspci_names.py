"""Cards that lspci's text names in other words than pci.ids: typed by hand, of inxi, of an edition to come."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.triage.texts import told

LINE = "41:00.0 VGA compatible controller: {} (rev a1)\n\t\tLnkSta: Speed 16GT/s, Width x8 (downgraded)\n"


@pytest.mark.parametrize("name", [
    "NVIDIA Corporation AD102 [RTX 4090]", "NVIDIA Corporation [GeForce RTX 4090]", "NVIDIA Corporation GeForce RTX 4090",
    "NVIDIA RTX 4090", "NVIDIA AD102 [GeForce RTX 4090]", "NVIDIA Corporation Device 2684", "NVIDIA Corporation [10de:2684]",
    "NVIDIA Corporation Device [10de:2684]",
])
def test_a_card_by_any_name(name: str, tmp_path: Path) -> None:
    problem, = told(tmp_path, LINE.format(name)).faults
    assert problem.title == "the link of RTX 4090 41:00.0 is x8, the card can do x16"


@pytest.mark.parametrize("name", [
    "NVIDIA Corporation TU104 [GeForce RTX 2080]", "NVIDIA Corporation AD102 [GeForce RTX 4090 Something]", "NVIDIA RTX",
    "Advanced Micro Devices, Inc. [AMD/ATI] AD102 [GeForce RTX 4090]", "NVIDIA Corporation TU102GL [Quadro RTX 6000/8000]",
])
def test_another_card_is_not_taken_for_one(name: str, tmp_path: Path) -> None:
    device, = told(tmp_path, LINE.format(name)).devices
    assert device.device is None
