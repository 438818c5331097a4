"""The PCI inventory of trees that no kernel made."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.model import Bdf
from boxcheck.probes.pci import DEVICES, PciInventory
from tests.probes.reading import HOSTILE, fact, tree

BDF = Bdf("0000:41:00.0")


@pytest.mark.parametrize("text", [*HOSTILE, "9" * 5000, "-1", "99999999999"])
def test_one_file_of_nonsense_costs_no_function(text: str, tmp_path: Path) -> None:
    base = f"{DEVICES}/{BDF}"
    files = {f"{base}/{name}": text for name in (
        "numa_node", "resource", "revision", "current_link_width", "current_link_speed", "max_link_width", "power_state",
        "subsystem_vendor", "config")}
    found = fact(PciInventory, tree({
        **files, f"{base}/vendor": "0x10de", f"{base}/device": "0x2684", f"{base}/class": "0x030000"}), tmp_path)
    assert found.functions[BDF].pci_id == "10de:2684"
    assert found.functions[BDF].numa_node is None


@pytest.mark.parametrize(("text", "node"), [("0", 0), ("3", 3), ("-1", None)])
def test_numa_node(text: str, node: int | None, tmp_path: Path) -> None:
    base = f"{DEVICES}/{BDF}"
    found = fact(PciInventory, tree({
        f"{base}/vendor": "0x10de", f"{base}/device": "0x2684", f"{base}/class": "0x030000",
        f"{base}/numa_node": text}), tmp_path)
    assert found.functions[BDF].numa_node == node
