from __future__ import annotations

from pathlib import Path

from boxcheck.probes.iommu import Iommu, cards_in
from tests.boxes.tree import Tree
from tests.probes.reading import fact, kind_of, tree

GROUPS = "/sys/kernel/iommu_groups"


def machine(kind: str = "identity") -> Tree:
    gpu = "/sys/devices/pci0000:40/0000:40:01.1"
    made = tree({f"{gpu}/vendor": "0x10de", f"{gpu}/device": "0x2684", f"{gpu}/class": "0x030000", f"{gpu}/resource": "",
                 f"{GROUPS}/7/type": kind, f"{GROUPS}/9/type": "DMA", "/sys/firmware/acpi/tables/IVRS": b"IVRS"})
    made.link("/sys/bus/pci/devices/0000:40:01.1", gpu)
    made.link(f"{gpu}/iommu_group", f"{GROUPS}/7")
    made.link(f"{GROUPS}/7/devices/0000:40:01.1", gpu)
    made.link(f"{GROUPS}/7/devices/0000:41:00.0", gpu)
    made.directory("/sys/class/iommu/ivhd0")
    return made


def test_reads_the_groups_that_pci_functions_are_in(tmp_path: Path) -> None:
    iommu = fact(Iommu, machine(), tmp_path)
    assert iommu.active is True
    assert (iommu.units, iommu.firmware_table) == (("ivhd0",), "IVRS")
    assert isinstance(iommu.groups, dict)
    assert list(iommu.groups) == [7]
    assert iommu.groups[7].type == "identity"
    assert cards_in(iommu.groups[7]) == {"0000:40:01", "0000:41:00"}
    assert iommu.group_of(None) is None
    assert kind_of(iommu.group_of(12)) == "not-captured"


def test_off_and_not_captured(tmp_path: Path) -> None:
    off = fact(Iommu, tree({"/sys/kernel/mm/ksm/run": 0}), tmp_path)
    assert (off.active, off.firmware_table, off.groups) == (False, None, {})
    blind = fact(Iommu, tree({}, whole=False), tmp_path)
    assert kind_of(blind.active) == kind_of(blind.firmware_table) == "not-captured"


def test_a_container_that_hides_the_kernel_s_files_does_not_switch_the_iommu_off(tmp_path: Path) -> None:
    hidden = fact(Iommu, tree({}), tmp_path)
    assert kind_of(hidden.active) == "unsupported"
