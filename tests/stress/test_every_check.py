"""Every check of a stress module can fail and can pass, and by a notch; every limit that they read decides."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from boxcheck.commands.catalogue import catalogue
from boxcheck.engine.inspect import Facts, findings_of
from boxcheck.model import Crash, Outcome, worst
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, LIMITS, STRESSES, Check, discover, discover_stress
from tests.report.schemas import published, strict
from tests.stress.every_check import NEVER_FIRES, NOTCHES, Notch, findings, results

discover()
discover_stress()

CASES = [(notch, value, outcome) for notch in NOTCHES for value, outcome in notch.sides]
FIRES = (Outcome.FAIL, Outcome.MARGINAL)
ADD = (
    "add a Notch to NOTCHES in tests/stress/every_check.py: results on which the check passes, and by a notch some on "
    "which it fails or is marginal; or its reason to NEVER_FIRES")


@pytest.mark.parametrize(
    ("notch", "value", "outcome"), CASES, ids=[f"{notch.check}-{notch.box}-{value}" for notch, value, _ in CASES])
def test_a_notch(notch: Notch, value: Any, outcome: str) -> None:
    found = findings(notch, value)
    assert {one.check for one in found} == {notch.check}
    for one in found:
        assert one.says.isprintable()
        assert not one.says.endswith(".")
        assert one.help or one.outcome not in FIRES, f"nothing tells what to do: {one.says}"
    gravest = worst(one.outcome for one in found)
    assert gravest == outcome, [(one.outcome, one.says) for one in found]
    if notch.limit is not None:
        by_limit = [one for one in found if one.limit is not None and one.limit.name == notch.limit]
        assert worst(one.outcome for one in by_limit) == (None if value is True else outcome)
        for one in by_limit:
            assert one.limit == load_profile(notch.box).limit(notch.limit)
        if isinstance(value, float):
            assert pytest.approx(value, abs=1e-3) in [one.measured.value for one in by_limit if one.measured]


@pytest.mark.parametrize("notch", NOTCHES, ids=[f"{notch.check}-{notch.box}" for notch in NOTCHES])
def test_the_engine_finds_the_same_and_crashes_never(notch: Notch) -> None:
    for value, _ in notch.sides:
        facts, crashes = Facts(), list[Crash]()
        for kind, fact in notch.make(value).items():
            facts.put(kind, fact)
        found = findings_of(CHECKS[notch.check], facts, load_profile(notch.box), crashes)
        assert [str(crash) for crash in crashes] == []
        assert found == findings(notch, value)


def of_host(check: Check) -> bool:
    """Whether it judges a module of the host; those have their notches in test_host_checks.py."""
    return check.stress in STRESSES and STRESSES[check.stress].scope == "host"


def test_every_check_of_a_stress_module_fires_and_passes_by_a_notch() -> None:
    judged = {id for id, check in CHECKS.items() if check.stress is not None and not of_host(check)}
    whole = {
        notch.check for notch in NOTCHES
        if {"fail", "marginal"} & {outcome for _, outcome in notch.sides} and "pass" in dict(notch.sides).values()}
    missing = sorted(judged - whole - NEVER_FIRES.keys())
    assert missing == [], f"{', '.join(missing)}: {ADD}"
    assert sorted({notch.check for notch in NOTCHES} - judged) == [], "no such check of a stress module"


def test_what_never_fires_is_unknown_and_passes_by_a_notch() -> None:
    for id in NEVER_FIRES:
        outcomes = {outcome for notch in NOTCHES if notch.check == id for _, outcome in notch.sides}
        assert outcomes == {"pass", "unknown"}, id


def test_every_limit_that_they_read_decides_by_a_notch() -> None:
    read = {
        name for check in CHECKS.values() if check.stress is not None and not of_host(check) for name in check.limits}
    held = {notch.limit for notch in NOTCHES if notch.limit is not None}
    assert sorted(read - held) == [], "add a Notch with limit=... to NOTCHES in tests/stress/every_check.py"
    for notch in NOTCHES:
        if notch.limit is not None:
            assert notch.limit in CHECKS[notch.check].limits
            bound = load_profile(notch.box).limit(notch.limit)
            assert bound is not None, notch
            sides = (bool(bound.should), "marginal"), (bound.must is not None, "fail")
            for is_set, outcome in sides:
                assert not is_set or outcome in dict(notch.sides).values() or LIMITS[notch.limit].type is bool, notch


def test_nothing_measured_passes_nothing() -> None:
    """A run that gave no sample and did not come to its end is never a pass of what it should have measured."""
    for id, check in CHECKS.items():
        if check.stress in STRESSES and {*check.reads} <= results("none").keys():
            empty = findings(Notch(id, "generic", lambda module: results(module, gpus=3, ended=()), ()), check.stress)
            assert Outcome.PASS not in {one.outcome for one in empty}, id


def test_the_catalogue_says_which_module_a_check_belongs_to() -> None:
    found = catalogue()
    jsonschema.validate(found, published("checks.schema.json"))
    jsonschema.validate(found, strict(published("checks.schema.json")))
    of = {entry["id"]: entry["stress"] for entry in found}
    assert of["matmul.wrong-elements"] == "matmul"
    assert of["stress.completed"] == "*"
    assert of["pcie.link-width"] is None
    assert all(entry["reads"] for entry in found)
