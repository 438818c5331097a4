"""What `--strict`, `--goal` and advisory findings do to a run is the same in every output."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import jsonschema
import msgspec
import pytest

from boxcheck.account import Account
from boxcheck.commands.doctor import Options, examine
from boxcheck.judge import ExitCode, exit_code, judge
from boxcheck.model import BOX, Finding, Outcome
from boxcheck.report.json import run_json, run_lines
from boxcheck.report.junit import junit_xml
from boxcheck.report.ocptv import ocptv_lines
from boxcheck.report.text import Style, account_text, plain
from tests.boxes import build
from tests.report.schemas import published, strict

Examine = Callable[..., Account]


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Examine:
    def run(name: str, **options: Any) -> Account:
        folder = tmp_path_factory.mktemp("box")
        build(name).write_dir(folder)
        return examine(Options(sysroot=str(folder), **options))[0]

    return run


def code(account: Account) -> ExitCode:
    return exit_code(account.verdict, strict=account.strict)


def diagnoses(account: Account) -> list[str]:
    lines = map(json.loads, ocptv_lines(account))
    return [step["diagnosis"]["type"] for line in lines if "diagnosis" in (step := line.get("testStepArtifact", {}))]


def ended(account: Account) -> dict[str, str]:
    end: dict[str, str] = json.loads(list(ocptv_lines(account))[-1])["testRunArtifact"]["testRunEnd"]
    return end


def valid(account: Account) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(run_json(account, with_facts=False))
    jsonschema.validate(run, strict(published("run.schema.json")))
    for line in map(json.loads, run_lines(account)):
        jsonschema.validate(line, published("line.schema.json"))
    return run


# --strict

MARGINAL = "wopr-7x4090+badtlp-card"


def test_a_marginal_box_is_marginal_without_strict(examined: Examine) -> None:
    account = examined(MARGINAL)
    assert (account.verdict.outcome, code(account)) == (Outcome.MARGINAL, ExitCode.PASSED)
    assert valid(account)["strict"] is False
    assert ElementTree.fromstring(junit_xml(account)).attrib["failures"] == "0"
    assert ended(account) == {"status": "COMPLETE", "result": "PASS"}
    assert "FAIL" not in diagnoses(account)


def test_strict_fails_a_marginal_box_in_every_output(examined: Examine) -> None:
    account = examined(MARGINAL, strict=True)
    assert (account.verdict.outcome, code(account)) == (Outcome.FAIL, ExitCode.FAILED)
    text = account_text(account, Style())
    assert "Nothing that" not in text
    assert "which --strict fails: see the problems above." in text
    assert "aer.correctable" in account_text(account, Style(quiet=True))
    assert plain(account).splitlines()[-1].startswith("verdict fail ")
    run = valid(account)
    assert (run["strict"], run["verdict"]["outcome"]) == (True, "fail")
    suites = ElementTree.fromstring(junit_xml(account))
    failed = [case.attrib["classname"] for case in suites.iter("testcase") if case.find("failure") is not None]
    assert failed == ["boxcheck.aer", "boxcheck.verdict"]
    assert int(suites.attrib["failures"]) == 2
    assert ended(account) == {"status": "COMPLETE", "result": "FAIL"}
    assert diagnoses(account).count("FAIL") == 1


def test_strict_changes_no_box_that_passes(examined: Examine) -> None:
    account = examined("wopr-7x4090", strict=True)
    assert (account.verdict.outcome, code(account)) == (Outcome.PASS, ExitCode.PASSED)


# Findings that the profile does not require

def test_a_run_that_passed_holds_no_failed_diagnosis(examined: Examine) -> None:
    account = examined("wopr-7x4090")
    assert account.profile is not None
    advisory = [
        Finding(check=check, subject=BOX, outcome=outcome, says=says, blocker=False)
        for check, outcome, says in (
            ("log.thermal", Outcome.FAIL, "over its temperature"), ("fan.case", Outcome.UNKNOWN, "not read: no tool"))]
    verdict = judge([*account.verdict.findings, *advisory], account.profile)
    account = msgspec.structs.replace(account, verdict=verdict)
    assert verdict.outcome is Outcome.PASS
    advisory = [finding for finding in verdict.findings
                if finding.outcome in (Outcome.FAIL, Outcome.UNKNOWN) and not finding.blocker]
    assert ended(account)["result"] == "PASS"
    assert set(diagnoses(account)) == {"PASS"}
    steps = [line["testStepArtifact"] for line in map(json.loads, ocptv_lines(account)) if "testStepArtifact" in line]
    assert not [step for step in steps if "error" in step or step.get("testStepEnd", {}).get("status") == "ERROR"]
    said = [step["log"]["message"] for step in steps if step.get("log", {}).get("severity") == "WARNING"]
    assert sorted(said) == sorted(f"not required, {finding.outcome.value}: {finding.says}" for finding in advisory)


def test_a_required_check_that_fails_is_a_failed_diagnosis(examined: Examine) -> None:
    account = examined("wopr-7x4090+riser-x8")
    assert "FAIL" in diagnoses(account)


# --goal

@pytest.mark.parametrize("goal", ["any", "rocm", "vm"])
def test_another_goal_is_no_verdict_by_the_profile(examined: Examine, goal: str) -> None:
    account = examined("wopr-7x4090", goal=goal)
    assert account.verdict.outcome not in (Outcome.PASS, Outcome.MARGINAL)
    assert code(account) is (ExitCode.FAILED if account.verdict.outcome is Outcome.FAIL else ExitCode.INCOMPLETE)
    text = " ".join(account_text(account, Style()).split())
    assert f"goal {goal}, not its own cuda-p2p" in text
    assert f"for another goal ({goal}) than the profile's (cuda-p2p)" in text
    assert "This box matches" not in text
    run = valid(account)
    assert (run["profile"]["goal"], run["profile"]["own_goal"]) == (goal, "cuda-p2p")
    assert ended(account)["result"] != "PASS"


def test_a_box_that_fails_its_goal_does_not_pass_for_any(examined: Examine) -> None:
    name = "wopr-7x4090+iommu-translating"
    assert code(examined(name)) is ExitCode.FAILED
    account = examined(name, goal="any", strict=True)
    assert (account.verdict.outcome, code(account)) == (Outcome.UNKNOWN, ExitCode.INCOMPLETE)


@pytest.mark.parametrize(("name", "options"), [
    ("wopr-7x4090", {"goal": "cuda-p2p"}), ("wopr-7x4090", {"goal": "any", "profile": "generic"}),
    ("wopr-7x4090", {"goal": "tinygrad", "profile": "generic"}),
])
def test_the_profiles_own_goal_and_one_where_it_has_none_decide(
    examined: Examine, name: str, options: dict[str, str],
) -> None:
    account = examined(name, **options)
    assert "another goal" not in account.verdict.reason
    assert code(account) is ExitCode.PASSED


def test_one_check_is_no_checks(examined: Examine) -> None:
    assert " 1 check in " in account_text(examined("wopr-7x4090", checks=("pcie.aspm",)), Style())
