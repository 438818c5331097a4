"""A subset of the checks that passed says so, in every output, and that it is no verdict on the box."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from boxcheck.account import Account
from boxcheck.commands.doctor import Options, examine
from boxcheck.judge import ExitCode, exit_code
from boxcheck.model import Outcome
from boxcheck.report.json import run_json, run_lines
from boxcheck.report.junit import junit_xml
from boxcheck.report.ocptv import ocptv_lines
from boxcheck.report.text import Style, account_text, plain
from tests.boxes import build


def examined(folder: Path, name: str, *checks: str, **options: str) -> Account:
    build(name).write_dir(folder)
    return examine(Options(sysroot=str(folder), checks=checks, **options))[0]


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """What a builder runs after reseating a riser."""
    return examined(tmp_path_factory.mktemp("box"), "wopr-7x4090", "pcie", "aer")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Account:
    return examined(tmp_path_factory.mktemp("box"), "wopr-7x4090")


def test_the_verdict_stays_unknown_and_incomplete(repaired: Account) -> None:
    verdict = repaired.verdict
    assert (verdict.outcome, verdict.partial, exit_code(verdict)) == (Outcome.UNKNOWN, True, ExitCode.INCOMPLETE)
    assert verdict.not_run > 20
    passed = len({finding.check for finding in verdict.findings if finding.outcome is Outcome.PASS})
    skipped = len({finding.check for finding in verdict.findings}) - passed
    others = f", {skipped} {'does' if skipped == 1 else 'do'} not arise on this box" if skipped else ""
    assert verdict.reason == (
        f"what was run passed ({passed} of {passed} checks{others}); this is no verdict on the box: {verdict.not_run} required "
        "checks were not run; `boxcheck doctor` gives one")


@pytest.mark.parametrize("style", [Style(columns=80), Style(columns=80, quiet=True), Style(columns=40, ascii=True)])
def test_the_last_lines_say_what_passed_and_what_gives_a_verdict(repaired: Account, style: Style) -> None:
    text = account_text(repaired, style)
    closing = text[text.rindex("PARTIAL"):]
    assert "UNKNOWN" not in text
    said = " ".join(closing.split())
    assert "What was run passed (" in said
    assert "this is no verdict on the box" in said
    assert [line for line in closing.splitlines() if line.startswith("next   ")] == [
        f"next   boxcheck doctor --sysroot {repaired.sysroot}"]


def test_the_plain_lines_say_so(repaired: Account) -> None:
    last = plain(repaired).splitlines()[-1]
    assert last == f"verdict unknown {repaired.verdict.reason}"


def test_json_says_so(repaired: Account) -> None:
    end = json.loads(list(run_lines(repaired))[-1])
    for verdict in (json.loads(run_json(repaired, with_facts=False))["verdict"], end["verdict"]):
        assert (verdict["outcome"], verdict["partial"]) == ("unknown", True)
        assert verdict["not_run"] == repaired.verdict.not_run
        assert verdict["reason"] == repaired.verdict.reason


def test_junit_is_not_all_green(repaired: Account, box: Account) -> None:
    suites = ElementTree.fromstring(junit_xml(repaired))
    case = next(case for case in suites.iter("testcase") if case.attrib["classname"] == "boxcheck.verdict")
    skipped = case.find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == repaired.verdict.reason
    assert (suites.attrib["errors"], suites.attrib["failures"]) == ("0", "0")
    green = ElementTree.fromstring(junit_xml(box))
    last = list(green.iter("testcase"))[-1]
    assert last.attrib["classname"] == "boxcheck.verdict"
    assert [child.tag for child in last] == ["properties", "system-out"]


def test_junit_of_a_box_that_no_profile_matches_is_an_error(tmp_path: Path) -> None:
    account = examined(tmp_path, "laptop")
    case = list(ElementTree.fromstring(junit_xml(account)).iter("testcase"))[-1]
    error = case.find("error")
    assert error is not None
    assert error.attrib["message"].startswith("no profile says what this machine must be")


def test_ocptv_says_so_and_is_neither_pass_nor_error(repaired: Account) -> None:
    lines = [json.loads(line) for line in ocptv_lines(repaired)]
    assert lines[-1]["testRunArtifact"]["testRunEnd"] == {"status": "SKIP", "result": "NOT_APPLICABLE"}
    assert lines[-2]["testRunArtifact"]["log"] == {"severity": "WARNING", "message": repaired.verdict.reason}


@pytest.mark.parametrize(
    ("name", "checks", "options", "partial", "begins"),
    [
        ("wopr-7x4090", (), {}, False, "every required check passed"),
        ("wopr-7x4090+riser-x8", ("pcie",), {}, False, "1 required check failed"),
        ("wopr-7x4090-one-reading", ("pcie",), {}, False, "1 required check was not read"),
        ("laptop", ("pcie",), {}, True, "no GPU was judged: no discrete one is on the PCI bus; what was run passed ("),
        ("wopr-7x4090+badtlp-card", ("aer",), {}, True, "what was run and is required did not fail ("),
        ("laptop", ("pcie", "env"), {"profile": "generic"}, True,
         "no GPU was judged: no discrete one is on the PCI bus; what was run passed (3 of 3 checks, "),
        ("laptop", ("strix",), {"profile": "generic"}, True,
         "no GPU was judged: no discrete one is on the PCI bus; what was run does not arise on this box"),
    ],
)
def test_only_what_was_left_out_makes_a_run_partial(
    tmp_path: Path, name: str, checks: tuple[str, ...], options: dict[str, str], partial: bool, begins: str,
) -> None:
    verdict = examined(tmp_path, name, *checks, **options).verdict
    assert (verdict.partial, verdict.reason[:len(begins)]) == (partial, begins)


def test_a_link_whose_width_was_not_judged_is_not_ok(tmp_path: Path) -> None:
    account = examined(tmp_path, "wopr-7x4090+riser-x8", "aer")
    assert {row.outcome for row in account.link_rows} == {""}
    text = account_text(account, Style())
    assert "as they should be" not in text
    row = next(line for line in text.splitlines() if "41:00.0" in line)
    assert row.endswith(" -")


def test_a_limit_in_another_unit_is_no_validator(tmp_path: Path) -> None:
    """3 errors are not to be compared with a limit of 1e-12 errors a bit."""
    lines = [json.loads(line) for line in ocptv_lines(examined(tmp_path, "wopr-7x4090+badtlp-card"))]
    measured = [line["testStepArtifact"]["measurement"] for line in lines if "measurement" in line.get("testStepArtifact", {})]
    errors = [one for one in measured if one["name"] == "aer.correctable" and one["value"]]
    assert errors
    assert all(one["unit"] == "errors" and one["validators"] == [] for one in errors)
    assert any(one["validators"] for one in measured)
