"""JUnit XML of a stored run: both schemas in use, what Jenkins makes of it, no text that breaks it."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from functools import cache

import msgspec
import pytest

from boxcheck.certify.acceptance import Acceptance, Identity
from boxcheck.model import Finding, Outcome, Subject
from boxcheck.report.judged_run import judge_stored
from boxcheck.report.junit_run import junit_of, run_junit
from tests.report.outside import outside
from tests.report.stored import EVERY, stored

HOSTILE = '<b>&"\'\x00\x1b[31m\u202e]]>\ud800\ufffe' + "x" * 50
TOLD = Acceptance(
    id="3b9f", version="0.4.0", identity=Identity(
        serial=HOSTILE, serial_from="operator", operator=HOSTILE, risers={HOSTILE: HOSTILE}, more={HOSTILE: HOSTILE}),
    attempt=2, attempts=2, profile="p", profile_revision=1, profile_sha256="0", started=0.0, finished=1.0, run="r",
    disposition="FAIL", verdict="fail", reason="", with_waivers=True, exit_code=1)


@cache
def text_of(name: str) -> str:
    return run_junit(stored(name))


def suites(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


@pytest.mark.parametrize("schema", ["jenkins-junit.xsd", "JUnit.xsd"])
@pytest.mark.parametrize("name", EVERY)
def test_both_schemas_take_every_run(name: str, schema: str) -> None:
    xmlschema = pytest.importorskip("xmlschema")
    schema_ = xmlschema.XMLSchema(io.StringIO(outside(schema)))
    schema_.validate(text_of(name))
    broken = text_of(name).replace('classname="', 'klassname="')
    assert not schema_.is_valid(broken)


@pytest.mark.parametrize("schema", ["jenkins-junit.xsd", "JUnit.xsd"])
def test_both_schemas_take_names_that_want_to_be_markup(schema: str) -> None:
    xmlschema = pytest.importorskip("xmlschema")
    judged = judge_stored(stored("hostile"), None)
    bad = Finding(check="pcie.link-width", subject=Subject("gpu", HOSTILE), outcome=Outcome.FAIL, says=HOSTILE,
                  blocker=True, help=(HOSTILE,))
    verdict = msgspec.structs.replace(judged.verdict, findings=(bad, bad, *judged.verdict.findings))
    judged = msgspec.structs.replace(judged, judged=msgspec.structs.replace(judged.judged, verdict=verdict))
    text = junit_of(judged, TOLD)
    text.encode("utf-8")
    xmlschema.XMLSchema(io.StringIO(outside(schema))).validate(text)
    assert "\x1b" not in text
    assert "<b>" not in text


@pytest.mark.parametrize("name", EVERY)
def test_counts_are_right_and_no_name_stands_twice(name: str) -> None:
    root = suites(text_of(name))
    assert root.attrib == {}
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases) == len({case.attrib["name"] for case in cases})
        for kind, word in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.attrib[word]) == len(list(suite.iter(kind)))
    assert [int(suite.attrib["id"]) for suite in root] == list(range(len(root)))


@pytest.mark.parametrize("name", EVERY)
def test_jenkins_sees_red_exactly_where_the_exit_code_is_not_zero(name: str) -> None:
    root = suites(text_of(name))
    red = list(root.iter("failure")) + list(root.iter("error"))
    assert bool(red) == (judge_stored(stored(name), None).exit_code != 0)
    assert root[-1].attrib["name"] == "verdict"


def test_every_finding_is_a_case_and_every_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judge_stored(stored("failed"), None)
    root = suites(text_of("failed"))
    cases = [case for suite in root for case in suite.iter("testcase")]
    assert len(cases) == len(judged.verdict.findings) + len(judged.phases) + 1
    failed = [one for one in judged.verdict.findings if one.outcome is Outcome.FAIL and one.blocker]
    own = [case for suite in root if suite.attrib["name"] not in ("verdict", "phases") for case in suite.iter("failure")]
    assert len(own) == len(failed) > 0
    phases = next(suite for suite in root if suite.attrib["name"] == "phases")
    assert float(phases[1].attrib["time"]) == 8.0


def test_a_verdict_that_passed_is_green_and_one_of_a_run_cut_off_is_not() -> None:
    judged = judge_stored(stored("finished"), None)
    verdict = msgspec.structs.replace(judged.verdict, outcome=Outcome.PASS, findings=(), partial=False)
    judged = msgspec.structs.replace(judged, judged=msgspec.structs.replace(judged.judged, verdict=verdict))
    assert not list(suites(junit_of(judged)).iter("error"))
    cut = msgspec.structs.replace(judged, run=msgspec.structs.replace(judged.run, state="crashed", end=None))
    assert len(list(suites(junit_of(cut)).iter("error"))) == 1
    refused = suites(junit_of(judged, TOLD))
    assert [one.attrib["message"].startswith("FAIL with waivers: ") for one in refused.iter("failure")] == [True]


def test_what_was_told_of_the_acceptance_is_there() -> None:
    judged = judge_stored(stored("finished"), None)
    told = msgspec.structs.replace(TOLD, identity=Identity(serial="BX-1", serial_from="operator", operator="mk"))
    found = {one.attrib["name"]: one.attrib["value"] for one in suites(junit_of(judged, told))[-1].iter("property")}
    assert found["serial"] == "BX-1"
    assert found["attempt"] == "2 of 2"
    assert found["disposition"] == "FAIL"
    assert found["profile-sha256"] == judged.want.sha256
    assert found["started"] == "2026-11-21T13:20:04.000Z"
