"""What `boxcheck checks` says that a check needs is what it cannot do without: each thing is taken away from built
boxes, and the checks that know less are those that say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.model import Outcome
from boxcheck.registry import CHECKS, discover
from tests.boxes import BOXES, machine
from tests.boxes.machine import Machine
from tests.boxes.memory import host
from tests.boxes.tree import Tree
from tests.boxes.verdicts import profile_for

NAMES = (*BOXES, "wopr-7x4090+thermal-link-throttle")


def unknowns(tree: Tree, name: str) -> Counter[str]:
    """Check -> how many of its findings are unknown."""
    facts = read_facts(host(tree))
    want = profile_for(name)
    name_slots(facts, want)
    found = inspect_facts(facts, want, choose_checks([])).findings
    return Counter(finding.check for finding in found if finding.outcome is Outcome.UNKNOWN)


def _user(box: Machine) -> Tree:
    box.as_root = False
    return box.tree()


def _without(library: str, *programs: str) -> Callable[[Machine], Tree]:
    def take(box: Machine) -> Tree:
        tree = box.tree()
        tree.answers = [one for one in tree.answers if one["library"] != library]
        tree.programs = [one for one in tree.programs if one["argv"][0] not in programs]
        return tree

    return take


@pytest.mark.parametrize(("need", "take"), [
    ("root", _user), ("NVML", _without("nvml", "nvidia-smi")), ("ipmitool", _without("", "ipmitool")),
    ("nvme-cli", _without("", "nvme"))])
def test_needs_are_what_a_check_cannot_do_without(need: str, take: Callable[[Machine], Tree]) -> None:
    discover()
    lost: set[str] = set()
    for name in NAMES:
        lost |= (unknowns(take(machine(name)), name) - unknowns(machine(name).tree(), name)).keys()
    assert lost == {
        id for id, check in CHECKS.items()
        if check.stress is None and any(one.split(" ")[0] == need for one in check.needs)}


def test_every_need_is_one_that_was_tried() -> None:
    discover()
    assert {one.split(" ")[0] for check in CHECKS.values() for one in check.needs} == {
        "root", "NVML", "ipmitool", "nvme-cli"}
