"""Links on the way to a GPU that are no slot's, and readings of a link that settle nothing."""

from __future__ import annotations

import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.model import Finding, Outcome
from boxcheck.profile import load_profile
from tests.boxes import machine
from tests.boxes.machine import Machine
from tests.boxes.mutations import card_of, gpu_of, port_of
from tests.boxes.pci_extended import Aer
from tests.boxes.verdicts import host


def judged(box: Machine, profile: str, *checks: str) -> list[Finding]:
    """What is neither a pass nor a skip."""
    facts, want = read_facts(host(box.tree())), load_profile(profile)
    name_slots(facts, want)
    found = inspect_facts(facts, want, choose_checks(checks)).findings
    return [item for item in found if item.outcome not in (Outcome.PASS, Outcome.SKIP)]


def outcomes(found: list[Finding]) -> set[tuple[str, str]]:
    return {(item.check, item.outcome.value) for item in found}


def test_a_speed_that_the_kernel_does_not_know_is_no_fault_of_the_riser() -> None:
    box = machine("wopr-7x4090")
    for end in (port_of(box), card_of(box)):
        end.load_link = 0.0, 16
    assert outcomes(judged(box, "wopr-7x4090", "pcie")) == {("pcie.link-speed", "unknown")}


def test_a_card_that_sleeps_without_power_is_not_judged() -> None:
    box = machine("wopr-7x4090")
    for end in (port_of(box), card_of(box)):
        end.load_link = None
    gpu_of(box).power_state = "D3cold"
    card_of(box).express.speed_gts, card_of(box).express.width = 0.0, 63
    port_of(box).express.speed_gts, port_of(box).express.width = 2.5, 0
    found = judged(box, "wopr-7x4090", "pcie.link-width", "pcie.link-speed")
    assert outcomes(found) == {("pcie.link-width", "unknown"), ("pcie.link-speed", "unknown")}
    assert all("D3cold" in item.says for item in found)


@pytest.mark.parametrize(("width", "outcome"), [(0, "fail"), (63, "unknown"), (3, "unknown")])
def test_a_width_that_no_link_has_is_no_dead_link(width: int, outcome: str) -> None:
    box = machine("wopr-7x4090")
    port_of(box).train(2.5, width)
    assert ("pcie.link-width", outcome) in outcomes(judged(box, "wopr-7x4090", "pcie.link-width"))


def test_without_a_profile_fewer_lanes_than_both_ends_announce_are_marginal() -> None:
    box = machine("wopr-7x4090+riser-x8")
    assert outcomes(judged(box, "wopr-7x4090", "pcie.link-width")) == {("pcie.link-width", "fail")}
    assert outcomes(judged(box, "generic", "pcie.link-width")) == {("pcie.link-width", "marginal")}


def test_without_a_profile_a_slow_link_under_load_still_fails() -> None:
    box = machine("wopr-7x4090+gen3-both-capable")
    assert outcomes(judged(box, "generic", "pcie.link-speed")) == {("pcie.link-speed", "fail")}


@pytest.mark.parametrize("change", ["target", "aspm", "errors", "reporting"])
def test_the_link_of_a_switch_is_judged_as_a_slot_link_is(change: str) -> None:
    """The card in slot PCIE3 is a switch, and two GPUs hang on it."""
    box = machine("wopr-7x4090+switch-x16")
    port, card = port_of(box), card_of(box)
    assert judged(box, "wopr-7x4090", "pcie", "aer") == []
    if change == "target":
        port.express.target_speed_gts = 8.0
        expected = {("pcie.link-speed", "marginal")}
    elif change == "aspm":
        port.express.aspm = card.express.aspm = 2
        expected = {("pcie.aspm", "marginal")}
    elif change == "errors":
        port.need(Aer).correctable_mask |= 1 << 6
        expected = {("aer.live", "marginal"), ("aer.correctable", "unknown")}
    else:
        card.express.reporting = 0
        expected = {("aer.live", "marginal"), ("aer.correctable", "unknown"), ("aer.uncorrectable", "unknown")}
    found = judged(box, "wopr-7x4090", "pcie", "aer")
    assert outcomes(found) == expected
    assert {str(item.subject) for item in found} == {"PCIE3"}
