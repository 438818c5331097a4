"""A card that was handed to a virtual machine hangs on a port of QEMU's, which copies its speed and trains nothing. The
bench with a real kernel showed the false alarm (docs/explanation/kernel-facts.md)."""

from __future__ import annotations

import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.model import Finding, Outcome
from boxcheck.profile import load_profile
from tests.boxes import machine
from tests.boxes.mutations import card_of, port_of
from tests.boxes.verdicts import host


def judged(vendor: int | None, port: int, card: int) -> Finding:
    """The finding on the link of slot PCIE3, with these phases of equalisation at its ends."""
    box = machine("wopr-7x4090")
    above, below = port_of(box), card_of(box)
    above.express.equalisation, below.express.equalisation = port, card
    above.vendor = above.vendor if vendor is None else vendor
    facts, want = read_facts(host(box.tree())), load_profile("wopr-7x4090")
    name_slots(facts, want)
    found = inspect_facts(facts, want, choose_checks(["pcie.equalisation"])).findings
    return next(item for item in found if item.subject.bdf == below.bdf)


@pytest.mark.parametrize(("vendor", "port", "card", "wanted"), [
    (None, 0xF, 0xF, Outcome.PASS),
    (None, 0, 0xF, Outcome.MARGINAL),
    (0x1B36, 0, 0xF, Outcome.PASS),
    (0x1B36, 0, 0, Outcome.MARGINAL),
])
def test_only_ends_that_train_are_judged(vendor: int | None, port: int, card: int, wanted: Outcome) -> None:
    assert judged(vendor, port, card).outcome is wanted


def test_the_card_is_named_as_the_end_that_was_judged() -> None:
    assert judged(0x1B36, 0, 0xF).says == "the card finished equalisation, the port above it is the hypervisor's"
