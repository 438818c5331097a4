"""JSON, JSON lines, JUnit and OCP T&V of the same run say the same, and each is what its readers expect."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from typing import Any

import jsonschema
import pytest

from boxcheck.account import Account
from boxcheck.commands.doctor import Options, examine
from boxcheck.report.json import run_json, run_lines
from boxcheck.report.junit import junit_xml
from boxcheck.report.ocptv import ocptv_lines
from boxcheck.report.text import plain
from tests.boxes import build
from tests.report.ocp import broken_rules
from tests.report.outside import ocp_validator
from tests.report.schemas import NAMES, published, strict


@pytest.fixture(scope="module", params=["wopr-7x4090+riser-x8", "tinybox-red", "laptop", "wopr-7x4090+not-root"])
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Account:
    folder = tmp_path_factory.mktemp("box")
    build(request.param).write_dir(folder)
    return examine(Options(sysroot=str(folder)))[0]


def validate(value: Any, schema: str) -> None:
    jsonschema.validate(value, published(schema))
    jsonschema.validate(value, strict(published(schema)))


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_lets_later_additions_be_there(name: str) -> None:
    schema = published(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert '"additionalProperties": false' not in json.dumps(schema)


def test_a_reader_of_today_takes_a_later_run(account: Account) -> None:
    run = json.loads(run_json(account, with_facts=True))
    for place in (run, run["tool"], run["verdict"], run["findings"][0], run["findings"][0]["subject"], run["facts"]):
        place["later"] = {"any": "thing"}
    jsonschema.validate(run, published("run.schema.json"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(run, strict(published("run.schema.json")))


def test_a_reader_of_today_takes_later_lines(account: Account) -> None:
    for line in map(json.loads, run_lines(account)):
        jsonschema.validate({**line, "later": 1}, published("line.schema.json"))


def test_json_is_what_its_schema_says(account: Account) -> None:
    validate(json.loads(run_json(account, with_facts=True)), "run.schema.json")


def test_json_lines_are_what_their_schema_says(account: Account) -> None:
    lines = [json.loads(line) for line in run_lines(account)]
    schema = strict(published("line.schema.json"))
    kinds = {one["properties"]["type"]["const"]: jsonschema.Draft202012Validator(one) for one in schema["oneOf"]}
    for line in lines:
        kinds[line["type"]].validate(line)
    assert [lines[0]["type"], lines[-1]["type"]] == ["start", "end"]


def test_every_output_holds_the_same_findings(account: Account) -> None:
    wanted = [(finding.check, finding.outcome.value) for finding in account.verdict.findings]
    whole = json.loads(run_json(account, with_facts=False))
    assert [(entry["check"], entry["outcome"]) for entry in whole["findings"]] == wanted
    lines = [json.loads(line) for line in run_lines(account)]
    assert [(line["check"], line["outcome"]) for line in lines if line["type"] == "finding"] == wanted
    cases = [
        case for case in ElementTree.fromstring(junit_xml(account)).iter("testcase")
        if case.attrib["classname"] != "boxcheck.verdict"]
    found = [
        (f"{case.attrib['classname'].removeprefix('boxcheck.')}.{case.attrib['name'].split('[', 1)[0]}",
         next(item.attrib["value"] for item in case.iter("property") if item.attrib["name"] == "outcome"))
        for case in cases
    ]
    assert sorted(found) == sorted(wanted)
    assert sorted(tuple(line.split(" ")[1::-1]) for line in plain(account).splitlines()[:-1]) == sorted(wanted)
    steps: dict[str, str] = {}
    told: list[tuple[str, str]] = []
    for line in map(json.loads, ocptv_lines(account)):
        step = line.get("testStepArtifact", {})
        if "testStepStart" in step:
            steps[step["testStepId"]] = step["testStepStart"]["name"]
        if "extension" in step:
            told.append((steps[step["testStepId"]], step["extension"]["content"]["outcome"]))
        if step.get("log", {}).get("message", "").startswith("skipped: "):
            told.append((steps[step["testStepId"]], "skip"))
    assert sorted(told) == sorted(wanted)


def test_junit_counts_are_right(account: Account) -> None:
    suites = ElementTree.fromstring(junit_xml(account))
    assert int(suites.attrib["tests"]) == len(list(suites.iter("testcase")))
    assert int(suites.attrib["failures"]) == len(list(suites.iter("failure")))
    assert int(suites.attrib["errors"]) == len(list(suites.iter("error")))
    assert int(suites.attrib["skipped"]) == len(list(suites.iter("skipped")))


def test_ocptv_lines_are_numbered_and_closed(account: Account) -> None:
    lines = [json.loads(line) for line in ocptv_lines(account)]
    assert [line["sequenceNumber"] for line in lines] == list(range(len(lines)))
    assert lines[0]["schemaVersion"] == {"major": 2, "minor": 0}
    assert "testRunEnd" in lines[-1]["testRunArtifact"]
    started = [line["testStepArtifact"]["testStepId"] for line in lines
               if "testStepStart" in line.get("testStepArtifact", {})]
    ended = [line["testStepArtifact"]["testStepId"] for line in lines
             if "testStepEnd" in line.get("testStepArtifact", {})]
    assert started == ended
    assert len(set(started)) == len(started)


def test_ocptv_validates_against_ocps_own_schema(account: Account) -> None:
    validator = ocp_validator()
    for line in ocptv_lines(account):
        validator.validate(json.loads(line))


def test_ocptv_keeps_the_rules_of_a_whole_run(account: Account) -> None:
    assert broken_rules([json.loads(line) for line in ocptv_lines(account)]) == []
