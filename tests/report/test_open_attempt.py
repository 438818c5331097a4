"""The run of an attempt whose disposition is not known passes in none of the outputs that a program reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from boxcheck.certify import find_acceptance
from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import FILES, Asked
from boxcheck.certify.folder import write_folder
from boxcheck.certify.run import accept
from boxcheck.commands.burn import Options, attach
from boxcheck.commands.report import Outputs, report
from boxcheck.store.reader import RunReader
from tests.golden.runs import stored

ALONE = ("this is the verdict on the run alone, and no acceptance: it is the load of attempt 1 of box W-1, which is not finished, or "
         "its folder is not here")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that passed, kept where certify keeps those of attempts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(find_acceptance, "attempt_of", lambda run: "attempt 1 of box W-1")
    path = tmp_path / "boxcheck" / "runs" / Path(stored("one")).name
    path.parent.mkdir(parents=True)
    shutil.copyfile(stored("one"), path)
    return path


def attached(run: Path) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]]]:
    """Exit code, JSONL, OCP lines."""
    code = attach(str(run), Options(jsonl=str(run) + ".jsonl", ocptv=str(run) + ".ocptv", quiet=True))
    return code, *([json.loads(line) for line in Path(f"{run}.{name}").read_text().splitlines()] for name in ("jsonl", "ocptv"))


def logs(lines: list[dict[str, Any]]) -> list[str]:
    return [line["testRunArtifact"]["log"]["message"] for line in lines if "log" in line.get("testRunArtifact", {})]


def test_an_attempt_that_is_not_finished_passes_nowhere(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, ocp = attached(run)
    assert code == 3
    assert ALONE in capsys.readouterr().err
    assert (lines[-1]["verdict"]["outcome"], lines[-1]["verdict"]["reason"]) == ("unknown", ALONE)
    assert ALONE in logs(ocp)
    assert ocp[-1]["testRunArtifact"]["testRunEnd"] == {"status": "SKIP", "result": "NOT_APPLICABLE"}
    report(str(run), None, Outputs(ocptv=str(run) + ".later", junit=str(run) + ".xml"))
    later = [json.loads(line) for line in Path(f"{run}.later").read_text().splitlines()]
    assert later[-1] == ocp[-1]
    assert ALONE in logs(later)
    suite = ElementTree.parse(f"{run}.xml").getroot()[-1]
    assert [one.attrib["value"] for one in suite.iter("property") if one.attrib["name"] == "not-an-acceptance"] == [ALONE]
    (skipped,) = suite.findall("testcase/skipped")
    assert ALONE in skipped.attrib["message"]


@pytest.mark.parametrize(("shortened", "disposition", "code", "outcome", "result"), [
    ("", "PASS", 0, "pass", "PASS"), ("10 s of 1 h", "INCOMPLETE", 3, "unknown", "NOT_APPLICABLE")])
def test_a_finished_one_says_its_disposition(
        run: Path, shortened: str, disposition: str, code: int, outcome: str, result: str) -> None:
    with RunReader(str(run)) as reader:
        began = reader.run().started
    made = accept(Asked(id="one", identity=Identity(serial="W-1", serial_from="operator"), attempt=1, began=began, run=str(run),
                        shortened=shortened), (), now=began + 60, clock_trusted=True, machine={})
    place = run.parents[1] / "certify" / "W-1"
    place.mkdir(parents=True)
    write_folder(str(place), str(run), made.told, made.want, made.verdict_json)
    shutil.move(place / FILES, place / "attempt-01")
    told, lines, ocp = attached(run)
    assert told == code
    assert (lines[-2]["type"], lines[-2]["disposition"], lines[-1]["verdict"]["outcome"]) == ("disposition", disposition, outcome)
    assert ocp[-1]["testRunArtifact"]["testRunEnd"]["result"] == result
    assert any(one.startswith(f"disposition: {disposition}") for one in logs(ocp))


def test_a_run_of_no_attempt_is_told_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_acceptance, "attempt_of", lambda run: "")
    code, lines, ocp = attached(run)
    assert (code, lines[-1]["verdict"]["outcome"]) == (0, "pass")
    assert ocp[-1]["testRunArtifact"]["testRunEnd"]["result"] == "PASS"
