"""A profile can name slots by their port, for boards whose own table holds no addresses (the ROMED8-2T's is all zero)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Outcome, Unread
from boxcheck.probes.links import Links
from boxcheck.profile import SlotWanted, load_profile
from tests.boxes import build


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
