"""A profile can name slots by their port, for boards whose own table holds no addresses (the ROMED8-2T's is all zero)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Outcome, Unread
from boxcheck.probes.links import Links
from boxcheck.profile import SlotWanted, load_profile
from tests.boxes import build, machine
from tests.boxes.memory import host as memory_host


def test_the_profile_names_a_slot_and_its_riser(tmp_path: Path) -> None:
    build("wopr-7x4090+riser-x8").write_dir(tmp_path)
    facts = read_facts(CaptureHost(str(tmp_path)))
    want = msgspec.structs.replace(
        load_profile("wopr-7x4090"), slots=(SlotWanted(label="BOTTOM", riser="R3", root_port="0000:40:01.1"),))
    name_slots(facts, want)
    links = facts.of(Links)
    assert not isinstance(links, Unread)
    verdict = inspect_facts(facts, want, choose_checks(["pcie.link-width"]))
    problem = next(problem for problem in verdict.problems if problem.outcome is Outcome.FAIL)
    assert problem.where == "root port 40:01.1 > slot BOTTOM > riser R3 > GPU 2 41:00.0"
    assert any("riser R3" in step for step in problem.help)


def test_a_slot_reduced_by_design_is_judged_by_its_own_width(tmp_path: Path) -> None:
    build("wopr-7x4090+riser-x8").write_dir(tmp_path)
    facts = read_facts(CaptureHost(str(tmp_path)))
    want = msgspec.structs.replace(load_profile("wopr-7x4090"), slots=(SlotWanted(label="PCIE3", width=8),))
    verdict = inspect_facts(facts, want, choose_checks(["pcie.link-width"]))
    assert {finding.outcome for finding in verdict.findings} == {Outcome.PASS}


def places(name: str, as_root: bool) -> tuple[set[str], set[str]]:
    """Subjects and places of the findings on GPU links of a built box, by its profile without slot names."""
    box = machine(name)
    box.as_root = as_root
    facts = read_facts(memory_host(box.tree()))
    want = load_profile("wopr-7x4090")
    found = inspect_facts(facts, want, choose_checks(["pcie.link-width", "inventory.slot-map"])).findings
    return {str(finding.subject) for finding in found}, {finding.where for finding in found if finding.where}


def test_without_root_no_kernel_number_looks_like_a_printed_slot() -> None:
    """The kernel counts PCIE3 as slot 19: `slot 19` would send a builder to a slot that is not there."""
    subjects, where = places("wopr-7x4090+riser-x8", as_root=True)
    assert "PCIE3" in subjects
    subjects, where = places("wopr-7x4090+riser-x8", as_root=False)
    assert subjects == {f"GPU {number}" for number in range(7)}
    assert where == {"root port 40:01.1 > slot 19 (kernel number) > GPU 2 41:00.0"}


def test_the_slot_map_without_root_is_unknown() -> None:
    box = machine("wopr-7x4090")
    box.as_root = False
    facts = read_facts(memory_host(box.tree()))
    found = inspect_facts(facts, load_profile("wopr-7x4090"), choose_checks(["inventory.slot-map"])).findings
    assert {(finding.outcome, finding.needs_root) for finding in found} == {(Outcome.UNKNOWN, True)}
