from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.decode.cmdline import parse_cmdline
from boxcheck.model import Bdf
from boxcheck.probes.iommu import Iommu, IommuGroup
from boxcheck.probes.pci import PciFunction, PciInventory
from tests.checks.cards import gpu, gpus
from tests.checks.judging import GONE, judge, outcome, want
from tests.checks.test_kernel import PART, box, kernel


def member(index: int, group: Any) -> Any:
    made = gpu(index)
    return msgspec.structs.replace(made, function=msgspec.structs.replace(made.function, iommu_group=group))


FIRST, SECOND = member(0, 7), member(1, 8)
BOTH = gpus(FIRST, SECOND)
BARE = gpus(member(0, None), member(1, None))


def iommu(*types: Any, units: Any = ("ivhd0",), table: Any = "IVRS", devices: tuple[str, ...] = ()) -> Iommu:
    return Iommu(units, {7 + index: IommuGroup(7 + index, kind, devices) for index, kind in enumerate(types)}, table)


OFF = iommu(units=())


@pytest.mark.parametrize(("goal", "kind", "wanted"), [
    ("cuda-p2p", "DMA-FQ", "fail"), ("cuda-p2p", "DMA", "fail"), ("cuda-p2p", "identity", "pass"),
    ("tinygrad", "DMA-FQ", "fail"), ("tinygrad", "identity", "pass"), ("rocm", "DMA-FQ", "marginal"),
    ("rocm", "identity", "pass"), ("vm", "DMA-FQ", "pass"), ("vm", "identity", "pass"), ("any", "DMA-FQ", "pass"),
    ("cuda-p2p", GONE, "unknown")])
def test_translating(goal: str, kind: Any, wanted: str) -> None:
    assert outcome("iommu.translating", BOTH, iommu(kind, kind), profile=box(goal=goal)) == wanted


@pytest.mark.parametrize(("goal", "wanted"), [("cuda-p2p", "pass"), ("rocm", "pass"), ("tinygrad", "pass"), ("vm", "fail")])
def test_off(goal: str, wanted: str) -> None:
    assert outcome("iommu.translating", BARE, OFF, profile=box(goal=goal)) == wanted


def test_one_gpu_of_two_translates() -> None:
    (finding,) = judge("iommu.translating", BOTH, iommu("identity", "DMA"), profile=box(goal="cuda-p2p"))
    assert finding.outcome.value == "fail"
    assert "1 of 2 GPUs" in finding.says
    assert any("iommu=pt" in step for step in finding.help)
    assert len(finding.notes) == 3


def test_one_gpu_alone_copies_to_nobody() -> None:
    alone = gpus(FIRST)
    assert outcome("iommu.translating", alone, iommu("DMA"), profile=box(goal="rocm", count=1)) == "pass"
    assert outcome("iommu.translating", alone, iommu("DMA"), profile=box(goal="tinygrad", count=1)) == "fail"


def test_what_was_not_read() -> None:
    blind = Iommu(GONE, GONE, GONE)
    assert outcome("iommu.translating", BARE, blind, profile=box(goal="cuda-p2p")) == "unknown"
    assert outcome("iommu.translating", gpus(member(0, GONE)), iommu("DMA"), profile=box(goal="cuda-p2p")) == "unknown"
    assert outcome("iommu.translating", gpus(unreadable=GONE), OFF, profile=box()) == "unknown"
    assert outcome("iommu.translating", gpus(), OFF, profile=box()) == "unknown"
    assert outcome("iommu.translating", gpus(), OFF) == "skip"


@pytest.mark.parametrize(("line", "state", "wanted"), [
    ("quiet", iommu("DMA", "DMA"), "pass"), ("iommu=pt", iommu("identity", "identity"), "pass"),
    ("iommu=pt", iommu("DMA", "identity"), "marginal"), ("amd_iommu=off", OFF, "pass"),
    ("intel_iommu=off", iommu("DMA", "DMA"), "marginal"), ("amd_iommu=on iommu=pt", iommu("identity", "identity"), "pass"),
    ("iommu=off iommu=pt", OFF, "marginal"), ("amd_iommu=pt", iommu("DMA"), "marginal"),
    ("amd_iommu=passthrough", iommu("DMA"), "marginal"), ("intel_iommu=on", iommu("DMA"), "marginal"),
    ("amd_iommu=on", iommu("DMA", table="DMAR"), "marginal"), ("iommu=pt", iommu(units=(), table=None), "marginal"),
    ("iommu=pt", Iommu(GONE, GONE, GONE), "unknown"), (None, OFF, "unknown")])
def test_cmdline(line: str | None, state: Iommu, wanted: str) -> None:
    asked = kernel(command_line=GONE if line is None else parse_cmdline(line))
    assert outcome("iommu.cmdline", BOTH, state, asked, profile=box()) == wanted


def test_amd_iommu_on_is_told_and_not_blamed() -> None:
    asked = kernel(command_line=parse_cmdline("amd_iommu=on iommu=pt"))
    (finding,) = judge("iommu.cmdline", BOTH, iommu("identity", "identity"), asked, profile=box())
    assert "does nothing" in finding.notes[0]


def bridge(bdf: str) -> PciFunction:
    return msgspec.structs.replace(gpu().function, bdf=Bdf(bdf), class_code=0x060400)


PCI = PciInventory({Bdf("0000:00:01.1"): bridge("0000:00:01.1")}, {})


@pytest.mark.parametrize(("devices", "wanted"), [
    (("0000:03:00.0", "0000:03:00.1", "0000:00:01.1"), "pass"), (("0000:03:00.0", "0000:04:00.0"), "fail")])
def test_vm_groups(devices: tuple[str, ...], wanted: str) -> None:
    state = iommu("DMA", devices=devices)
    assert outcome("iommu.vm-groups", gpus(FIRST), state, PCI, profile=box(goal="vm")) == wanted


def test_vm_groups_that_are_not_there() -> None:
    vm = box(goal="vm")
    assert outcome("iommu.vm-groups", BARE, OFF, PCI, profile=want()) == "skip"
    assert outcome("iommu.vm-groups", gpus(member(0, None)), OFF, PCI, profile=vm) == "fail"
    hidden = Iommu(("ivhd0",), {7: IommuGroup(7, "DMA", GONE)}, "IVRS")
    assert outcome("iommu.vm-groups", gpus(FIRST), hidden, PCI, profile=vm) == "unknown"
    assert PART.key == "rx7900xtx"


@pytest.mark.parametrize("kind", ["Unknown", "auto", "", "unmanaged"])
@pytest.mark.parametrize("goal", ["cuda-p2p", "vm", "any"])
def test_a_type_that_nobody_knows_is_not_passthrough(goal: str, kind: str) -> None:
    assert outcome("iommu.translating", BOTH, iommu("identity", kind), profile=box(goal=goal)) == "unknown"


@pytest.mark.parametrize("state", [iommu("DMA"), iommu("identity"), iommu(), iommu("DMA", units=())])
@pytest.mark.parametrize("goal", ["cuda-p2p", "vm", "any"])
def test_gpus_without_a_group_are_not_an_iommu_that_is_off(goal: str, state: Iommu) -> None:
    (finding,) = judge("iommu.translating", BARE, state, profile=box(goal=goal))
    assert finding.outcome.value == "unknown"
    assert "no group" in finding.says
