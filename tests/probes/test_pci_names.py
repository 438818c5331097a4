"""Names out of pci.ids, and a machine that has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.host import pci_names
from boxcheck.model import Unread

IDS = b"""#
10de  A Vendor
\t2684  A Card
\t\t10de 16f4  a board
\t22ba  Its Audio
1002  Another Vendor
\t744c  Another Card
C 00  Unclassified device
"""


def test_names_are_found_by_vendor_and_device() -> None:
    found = pci_names.parse_pci_ids(b"\n" + IDS, ["10de:2684", "10de:22ba", "1002:744c", "1002:2684", "8086:0001"])
    assert found == {
        "10de:2684": "A Vendor A Card", "10de:22ba": "A Vendor Its Audio", "1002:744c": "Another Vendor Another Card",
        "1002:2684": "Another Vendor",
    }


def test_a_machine_without_either_source_has_no_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pci_names, "from_udev", dict)
    monkeypatch.setattr(pci_names, "PLACES", (str(tmp_path / "none"),))
    found = pci_names.names_of(["10de:2684"])
    assert isinstance(found, Unread)
    assert found.kind == "absent"


def test_udev_is_asked_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "pci.ids"
    place.write_bytes(IDS)
    monkeypatch.setattr(pci_names, "PLACES", (str(place),))
    monkeypatch.setattr(pci_names, "from_udev", lambda: {"10de:2684": "by udev"})
    assert pci_names.names_of(["10de:2684", "1002:744c"]) == {
        "10de:2684": "by udev", "1002:744c": "Another Vendor Another Card"}
