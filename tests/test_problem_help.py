"""What a problem tells to do: few steps, cheap ones first, none twice, none that does not run."""

from __future__ import annotations

import re

import pytest

from boxcheck.checks.steps import COPY_SHOWS, RESEAT_LINK, cost
from boxcheck.model import Bdf, Finding, Outcome, Subject
from boxcheck.problems import group
from tests.boxes import names
from tests.boxes.verdicts import judge_box

FOLLOWS = ("not ", "still", "refused", "no such setting", "it is ", "then ", "or ", "the port keeps",
           "nvme list;", "sudo mount ")
"""A step that goes on where the one before it did not cure; it stands where it must. An array is put together after
its drive is back."""


def alike(one: str, other: str) -> float:
    """Share of words that two steps have in common."""
    left, right = (set(re.findall(r"[a-z0-9_/.-]{3,}", step.lower())) for step in (one, other))
    return len(left & right) / len(left | right)


@pytest.mark.parametrize("name", [name for name in names() if "+" in name])
def test_the_steps_of_a_problem(name: str) -> None:
    for problem in judge_box(name)[0].problems:
        steps = problem.help
        assert steps, problem.title
        assert len(steps) <= 6, steps
        for word in ("power off", "reboot"):
            assert sum(re.search(rf"\b{word}\b", step) is not None for step in steps) <= 1, (word, steps)
        for index, step in enumerate(steps):
            assert [other for other in steps[:index] if alike(step, other) > 0.5] == [], steps
        firsts = [cost([step]) for step in steps if not step.startswith(FOLLOWS)]
        assert firsts == sorted(firsts), steps


def bad(check: str, cause: str, *steps: str, outcome: Outcome = Outcome.FAIL) -> Finding:
    return Finding(check=check, subject=Subject("link", bdf=Bdf("a")), outcome=outcome, says="bad", cause=cause, help=steps)


def steps_of(*findings: Finding) -> tuple[str, ...]:
    (problem,), _ = group(findings)
    return problem.help


def test_what_the_cause_explains_is_cured_with_it() -> None:
    assert steps_of(bad("bar.size", "bar:a", "BIOS setup"), bad("driver.binding", "driver-binding:a", "bind it")) == (
        "BIOS setup",)
    silent = bad("bar.size", "bar:a")
    assert steps_of(silent, bad("driver.binding", "driver-binding:a", "bind it")) == ("bind it",)


def test_an_array_still_has_to_be_put_together() -> None:
    lost = bad("disk.nvme-count", "nvme-missing:", "power off, reseat it")
    assert steps_of(bad("disk.raid", "raid:md0", "sudo mdadm --assemble --scan"), lost) == (
        "power off, reseat it", "sudo mdadm --assemble --scan")


def test_the_log_is_heard_where_it_leads_or_is_alone() -> None:
    counted = bad("aer.correctable", "link:a", "power off, reseat it")
    told = bad("log.aer-correctable", "link:a", "check the seat")
    assert steps_of(counted, told) == ("power off, reseat it",)
    assert steps_of(told) == ("check the seat",)
    assert set(steps_of(told, bad("pcie.link-width", "link:a", "reseat it", outcome=Outcome.MARGINAL))) == {
        "check the seat", "reseat it"}


def test_the_cheapest_is_first_and_one_finding_keeps_its_order() -> None:
    assert steps_of(bad("a.b", "x:a", "swap it", "then look"), bad("a.c", "x:a", "cat /proc/mdstat", "swap it")) == (
        "cat /proc/mdstat", "swap it", "then look")
    assert len(steps_of(bad("a.b", "x:a", *(f"step {number}" for number in range(9))))) == 6


def test_to_reseat_is_one_step_whoever_says_it() -> None:
    named = "power off, reseat the card and both ends of riser R3, power on; with the card busy, run: boxcheck doctor pcie"
    load = bad("stress.link-rate", "link-errors:a", RESEAT_LINK, COPY_SHOWS)
    assert steps_of(load, bad("pcie.link-width", "link-errors:a", named, "not cured: move it")) == (
        named, COPY_SHOWS, "not cured: move it")
    assert steps_of(load) == (RESEAT_LINK, COPY_SHOWS)


def test_what_is_required_leads_and_the_box_is_not_named() -> None:
    advisory = Finding(check="a.b", subject=Subject("box"), outcome=Outcome.FAIL, says="too few", cause="x:a", help=("a",))
    required = Finding(check="a.c", subject=Subject("box"), outcome=Outcome.FAIL, says="none at all", cause="x:a",
                       help=("b",), blocker=True)
    (problem,), _ = group([advisory, required])
    assert (problem.title, problem.findings) == ("none at all", (1, 0))
