"""What the IOMMU does to each card, by what the kernel shows of it, and NUMA nodes of host bridges."""

from __future__ import annotations

import pytest

from tests.kernel.bench import Machine

GOALS = ("cuda-p2p", "rocm", "vm")


@pytest.mark.parametrize("machine", ["numa-translating"], indirect=True)
def test_translating_is_judged_by_the_goal(machine: Machine) -> None:
    kinds = set(machine.guest.sh("cat /sys/kernel/iommu_groups/*/type").split())
    assert kinds <= {"DMA", "DMA-FQ"}
    assert kinds
    assert machine.guest.sh("ls /sys/class/iommu").split() == ["dmar0"]
    outcomes = {goal: machine.doctor("iommu", "--goal", goal).one("iommu.translating").outcome for goal in GOALS}
    assert outcomes == {"cuda-p2p": "fail", "rocm": "marginal", "vm": "pass"}


@pytest.mark.parametrize("machine", ["numa-translating"], indirect=True)
def test_each_card_is_alone_in_its_group_and_has_its_node(machine: Machine) -> None:
    found = machine.doctor("iommu", "--goal", "vm")
    cards = [machine.bdf(slot.gpu) for slot in machine.slots]
    assert {item.bdf: item.outcome for item in found.of("iommu.vm-groups")} == dict.fromkeys(cards, "pass")
    assert [machine.text(slot.gpu, "numa_node") for slot in machine.slots] == ["0", "0", "1", "1"]
    assert machine.guest.read("/sys/bus/pci/devices/0000:00:00.0/numa_node")["/sys/bus/pci/devices/0000:00:00.0/numa_node"
                                                                             ].strip() == "-1"
    facts = machine.guest.boxcheck("facts").ok()
    assert facts.count('"numa_node":1') + facts.count('"numa_node": 1') >= 2


@pytest.mark.parametrize("machine", ["passthrough"], indirect=True)
def test_passing_through_suits_every_goal(machine: Machine) -> None:
    groups = machine.guest.sh(
        "for d in /sys/bus/pci/devices/*; do [ $(cat $d/class) != 0x030000 ] || cat $d/iommu_group/type; done").split()
    assert groups == ["identity"] * len(machine.slots)
    for goal in GOALS:
        found = machine.doctor("iommu", "--goal", goal)
        assert found.one("iommu.translating").outcome == "pass"
        said = found.one("iommu.cmdline")
        assert (said.outcome, said.says) == ("pass", "iommu=pt and intel_iommu=on, as it is")


@pytest.mark.parametrize("machine", ["passthrough"], indirect=True)
def test_errors_of_the_kernels_own_injector(machine: Machine) -> None:
    """aer_inject gives the kernel registers that say so; all behind them is the same as with an error from outside."""
    machine.inject_inside("g0", correctable=1 << 6)
    assert machine.settled("g0", "correctable", 1) == {"BadTLP": 1, "TOTAL_ERR_COR": 1}
    machine.inject_inside("rp1", correctable=1 << 12 | 1 << 0)
    assert machine.settled("rp1", "correctable", 2) == {"RxErr": 1, "Timeout": 1, "TOTAL_ERR_COR": 1}
    found = machine.doctor("aer.correctable")
    assert found.one("aer.correctable", machine.bdf("g0")).says.startswith("1 BadTLP at the card")
    assert found.one("aer.correctable", machine.bdf("g1")).says.startswith("1 RxErr, 1 Timeout at the port")
