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
    said = found.of("aer.correctable", card) + found.of("aer.uncorrectable", card)
    assert all(item.outcome in ("unknown", "marginal") for item in said)
    assert all("0 counted, and that proves nothing" in item.says or "nobody counts them" in item.says for item in said)
    # Nobody clears the register either, so that what happened stands there.
    assert any(f"link errors stand in the status register ({card.removeprefix('0000:')}: BadTLP)" in item.says for item in said)
    live = found.one("aer.live")
    assert live.outcome == "marginal"
    assert word in live.says


@pytest.mark.parametrize("machine", ["compat"], indirect=True)
def test_words_for_an_iommu_that_is_not_there(machine: Machine) -> None:
    found = machine.doctor("iommu", "kernel")
    said = found.one("iommu.cmdline")
    assert said.outcome == "marginal"
    assert "iommu=pt" in said.says
