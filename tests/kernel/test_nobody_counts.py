"""Command lines with which nobody counts errors: zero is then no pass. And what else a command line gets wrong."""

from __future__ import annotations

import pytest

from tests.kernel.bench import PCI, Machine

WORDS = {"noaer": "pci=noaer", "compat": "pcie_ports=compat"}


@pytest.mark.parametrize("machine", ["compat", "noaer"], indirect=True)
def test_zero_is_unknown_and_never_a_pass(machine: Machine) -> None:
    """The counter files are there and read 0, whatever happens."""
    word = WORDS[machine.topology.name]
    card = machine.bdf("g0")
    assert "BadTLP 0" in machine.text("g0", "aer_dev_correctable")
    machine.inject("g0", "BAD_TLP", 5)
    assert machine.counters("g0") == {}
    assert not machine.wait(f"grep -q '^[A-Za-z]* [1-9]' {PCI}/{card}/aer_dev_correctable", 1)
    found = machine.doctor("aer")
    for check in ("aer.correctable", "aer.uncorrectable"):
        said = found.one(check, card)
        assert said.outcome in ("unknown", "marginal"), said
        assert "0 counted, and that proves nothing" in said.says or "nobody counts them" in said.says
    live = found.one("aer.live")
    assert live.outcome == "marginal"
    assert word in live.says


@pytest.mark.parametrize("machine", ["compat"], indirect=True)
def test_words_for_an_iommu_that_is_not_there(machine: Machine) -> None:
    found = machine.doctor("iommu", "kernel")
    said = found.one("iommu.cmdline")
    assert said.outcome == "marginal"
    assert "iommu=pt" in said.says
