"""One finding for both ends of a link says which end; a log whose start is lost counts at least what it holds."""

from __future__ import annotations

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.profile import load_profile
from tests.boxes import machine
from tests.boxes.machine import Machine
from tests.boxes.mutations import card_of, port_of
from tests.boxes.pci_config import CORRECTABLE
from tests.boxes.render_log import aer_lines
from tests.boxes.verdicts import host


def box(*ends: str) -> Machine:
    made = machine("wopr-7x4090")
    for end in ends:
        function = port_of(made) if end == "port" else card_of(made)
        for _ in range(3):
            made.log_lines += aer_lines(function, "RxErr", CORRECTABLE["RxErr"])
    return made


def said(made: Machine, keep: slice = slice(None)) -> str:
    tree = made.tree()
    log = tree.text("/var/log/dmesg").splitlines(keepends=True)
    tree.put("/var/log/dmesg", "".join(log[keep]))
    facts, want = read_facts(host(tree)), load_profile("wopr-7x4090")
    name_slots(facts, want)
    found = inspect_facts(facts, want, choose_checks(["log.aer-correctable"])).findings
    return "; ".join(item.says for item in found)


def test_both_ends_are_told_apart() -> None:
    text = said(box("port", "card"))
    assert text.count("at 40:01.1: corrected PCIe error (RxErr)") == 1
    assert text.count("at 41:00.0: corrected PCIe error (RxErr)") == 1


def test_one_end_needs_no_address() -> None:
    assert said(box("card")).startswith("corrected PCIe error (RxErr)")


def test_a_count_of_a_log_without_its_start_is_a_lower_bound() -> None:
    assert ", 3 x" in said(box("card"))
    assert ", at least 3 x" in said(box("card"), slice(5, None))
