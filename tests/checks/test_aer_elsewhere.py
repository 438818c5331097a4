"""Errors of links that are no slot's: on a card with a switch of its own, and of the uplink of a switch. A real kernel
counted them and nobody told (tests/kernel/test_tinybox_red.py)."""

from __future__ import annotations

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.model import Finding, Outcome
from boxcheck.profile import load_profile
from tests.boxes import machine
from tests.boxes.machine import Machine
from tests.boxes.mutations import gpu_of
from tests.boxes.pci_extended import Aer
from tests.boxes.verdicts import host


def judged(box: Machine, profile: str) -> list[Finding]:
    facts, want = read_facts(host(box.tree())), load_profile(profile)
    name_slots(facts, want)
    return list(inspect_facts(facts, want, choose_checks(["aer.correctable"])).findings)


def test_errors_on_the_card_are_told_of_the_card() -> None:
    box = machine("tinybox-red")
    gpu_of(box).count({"BadTLP": 7})
    found = [item for item in judged(box, "tinybox-red") if item.outcome is not Outcome.PASS]
    assert [item.outcome for item in found] == [Outcome.MARGINAL]
    assert found[0].says.startswith("7 BadTLP at the card")
    assert found[0].says.endswith("on the card itself")
    assert found[0].not_ == ("the riser or the slot (this link is on the card)",)


def test_advisory_errors_on_the_card_are_not() -> None:
    box = machine("tinybox-red")
    gpu_of(box).count({"NonFatalErr": 7})
    assert {item.outcome for item in judged(box, "tinybox-red")} == {Outcome.PASS}


def test_errors_on_the_card_that_nobody_counts_stand_in_its_registers() -> None:
    """pci=noaer: counters read 0 for ever, and the bit stays set (tests/boxes/recorded/noaer-*.tar.gz)."""
    box = machine("tinybox-red+noaer")
    gpu_of(box).need(Aer).correctable_status = 1 << 6
    found = [item for item in judged(box, "tinybox-red") if item.outcome is Outcome.MARGINAL]
    assert [item.title for item in found] == ["the link on the card of GPU 2 had errors that nobody counted"]
    gpu_of(box).need(Aer).correctable_status = 1 << 13
    assert {item.outcome for item in judged(box, "tinybox-red")} == {Outcome.UNKNOWN}
