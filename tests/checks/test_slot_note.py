"""What a profile notes of a slot is said where the slot's link is at fault, and nothing is ruled out that it says may be."""

from __future__ import annotations

import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.model import Finding, Outcome
from boxcheck.profile import load_profile
from tests.boxes import machine
from tests.boxes.memory import host


def width_of(slot: str) -> Finding:
    built = machine("wopr-7x4090")
    built.slot_port(slot).train(16.0, 8)
    facts, want = read_facts(host(built.tree())), load_profile("wopr-7x4090")
    name_slots(facts, want)
    found = inspect_facts(facts, want, choose_checks(["pcie.link-width"])).findings
    return next(one for one in found if one.outcome is Outcome.FAIL)


@pytest.mark.parametrize(("slot", "noted"), [("PCIE2", True), ("PCIE3", False)])
def test_a_slot_that_shares_its_lanes_says_so_and_is_not_ruled_out(slot: str, noted: bool) -> None:
    found = width_of(slot)
    assert found.subject.slot == slot
    assert (f"slot {slot}: shares lanes with M.2, mini-SAS and OCuLink" in found.notes) is noted
    assert any("wired or bifurcated" in text for text in found.not_) is not noted
    assert ("manual" in found.help[0]) is noted
