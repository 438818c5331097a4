"""Machines that no profile is about: nothing of them is wrong, and nothing passes that was not looked at."""

from __future__ import annotations

import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.model import Finding, Outcome, Verdict
from boxcheck.profile import load_profile
from boxcheck.registry import discover
from tests.boxes import build
from tests.boxes.elsewhere import arm_server, thunderbolt, thunderbolt_machine, virtual_functions, windows_subsystem
from tests.boxes.tree import Tree
from tests.boxes.verdicts import host

discover()


def verdict(tree: Tree, profile: str = "generic") -> Verdict:
    facts, want = read_facts(host(tree)), load_profile(profile)
    assert not facts.crashes
    name_slots(facts, want)
    return inspect_facts(facts, want, choose_checks([]))


def of(found: Verdict, check: str) -> list[Finding]:
    return [one for one in found.findings if one.check == check]


def strange(found: Verdict) -> set[tuple[str, str]]:
    return {(one.check, one.says) for one in found.findings if one.outcome not in (Outcome.PASS, Outcome.SKIP)}


def test_a_gpu_in_a_thunderbolt_case_has_four_lanes_by_nature_and_a_tunnel_without_any() -> None:
    found = verdict(thunderbolt())
    assert found.outcome is Outcome.PASS
    assert strange(found) <= strange(verdict(build("laptop")))
    (chain,) = of(found, "pcie.chain")
    assert (chain.outcome, chain.subject.name) == (Outcome.SKIP, "GPU 1")
    for check in ("pcie.link-width", "pcie.link-speed", "pcie.equalisation"):
        assert {one.subject.name: one.outcome for one in of(found, check)} == {
            "GPU 1": Outcome.PASS, "port 00:07.0": Outcome.SKIP}


@pytest.mark.parametrize(("port_gts", "case_gts"), [(8.0, 2.5), (2.5, 8.0)])
def test_a_link_of_which_one_end_does_more_is_no_tunnel(port_gts: float, case_gts: float) -> None:
    built = thunderbolt_machine()
    port = next(one for one in built.functions() if one.bdf == "0000:00:07.0")
    port.express.max_speed_gts, port.children[0].express.max_speed_gts = port_gts, case_gts
    (chain,) = of(verdict(built.tree()), "pcie.chain")
    assert chain.outcome is Outcome.MARGINAL


@pytest.mark.parametrize("driver", ["vfio-pci", "nvidia", None])
def test_virtual_functions_are_no_gpus_and_have_no_links(driver: str | None) -> None:
    found = verdict(virtual_functions(driver), "wopr-7x4090")
    assert found.outcome is Outcome.PASS
    assert strange(found) == strange(verdict(build("wopr-7x4090"), "wopr-7x4090"))
    assert [one.says for one in of(found, "inventory.gpu-count")] == ["7 of 7 x RTX 4090"]


def test_linux_on_windows_shows_no_gpu_and_has_no_fault() -> None:
    """Windows itself says nr_cpus= on its command line."""
    found = verdict(windows_subsystem())
    assert found.outcome is Outcome.UNKNOWN
    assert "no GPU was judged" in (found.reason or "")
    assert not [one for one in found.findings if one.outcome in (Outcome.FAIL, Outcome.MARGINAL)]
    assert not [one for one in found.findings if one.check.startswith(("pcie.", "aer.", "bar.", "driver."))
                and one.outcome is Outcome.PASS]


@pytest.mark.parametrize("smbios", [True, False])
def test_a_server_of_arm_has_no_fault_that_an_x86_one_has_not(smbios: bool) -> None:
    found = verdict(arm_server(smbios))
    assert found.outcome is Outcome.PASS
    assert {check for check, _ in strange(found)} <= {"inventory.slot-map"}
    (word,) = of(found, "iommu.cmdline")
    assert word.says == "iommu.passthrough=1, as it is"
    assert {check for check, _ in strange(verdict(arm_server(), "wopr-7x4090"))} == {"cpu.cores", "cpu.model", "cpu.sockets"}


@pytest.mark.parametrize(("words", "says"), [
    (["iommu.passthrough=0", "iommu=pt"], "iommu.passthrough=0 and iommu=pt cannot both be meant"),
    (["iommu.passthrough=1", "amd_iommu=off"], "off and pt cannot both be meant")])
def test_words_for_the_iommu_that_contradict_each_other_are_told(words: list[str], says: str) -> None:
    tree = build("wopr-7x4090")
    tree.put("/proc/cmdline", " ".join(("ro", *words)))
    (word,) = of(verdict(tree), "iommu.cmdline")
    assert (word.outcome, word.says.rpartition(": ")[2]) == (Outcome.MARGINAL, says)
