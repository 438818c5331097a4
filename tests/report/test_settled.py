"""Of the folder of an attempt the disposition decides: every output and exit code says what `certify` said."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.certify.acceptance import Identity, Waiver
from boxcheck.certify.attempts import FILES, Asked
from boxcheck.certify.folder import write_folder
from boxcheck.certify.run import accept
from boxcheck.commands.burn import Options
from boxcheck.commands.report import Outputs, report
from boxcheck.commands.runs import judge_run
from boxcheck.model import Finding, Outcome, Subject
from boxcheck.report.certified import certified_text, settled
from boxcheck.report.text import Style
from boxcheck.store.reader import RunReader
from tests.certify.attempt import acceptance
from tests.golden.runs import stored

WAIVED = Waiver(check="matmul.*", who="J. Doe", why="ordered", until="2027-12-31")
KINDS: dict[str, dict[str, Any]] = {
    "whole": {"run": "one"}, "short": {"run": "one", "shortened": "1 min instead of 4 h"},
    "waived": {"run": "failed", "waivers": (WAIVED,)}, "marginal": {"run": "marginal", "strict": True}}
SAYS = {"whole": ("PASS", 0, "pass"), "short": ("INCOMPLETE", 3, "unknown"), "waived": ("PASS with waivers", 0, "pass"),
        "marginal": ("FAIL", 1, "fail")}


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    top, found = tmp_path_factory.mktemp("attempts"), {}
    for kind, fields in KINDS.items():
        path = stored(fields["run"])
        with RunReader(path) as reader:
            began = reader.run().started
        asked = Asked(**{
            "id": kind, "identity": Identity(serial="W-0007", serial_from="operator"), "attempt": 1, "began": began,
            "planned": "level 3, 1 h", **fields, "run": path})
        made = accept(asked, (), now=began + 3600, clock_trusted=True, machine={})
        (top / f"{kind}.part").mkdir()
        write_folder(str(top / f"{kind}.part"), path, made.told, made.want, made.verdict_json)
        shutil.move(top / f"{kind}.part" / FILES, top / kind)
        found[kind] = str(top / kind)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_account_and_its_exit_code_are_those_of_the_acceptance(
    attempts: dict[str, str], kind: str, capsys: pytest.CaptureFixture[str],
) -> None:
    word, code, _ = SAYS[kind]
    assert report(attempts[kind], None, Outputs(quiet=True)) == code
    quiet = capsys.readouterr().out
    assert f"{word}   box W-0007, attempt 1: " in quiet
    assert judge_run(attempts[kind], None, Options()) == code
    text = capsys.readouterr().out
    assert re.findall(r"^(\S.*?)   box W-0007, attempt 1: ", text, re.MULTILINE) == [word]
    for shown in (text, quiet):
        assert bool(re.search(r"^PASS\b", shown, re.MULTILINE)) is (code == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_json_never_passes_what_the_acceptance_does_not(
    attempts: dict[str, str], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    word, code, _ = SAYS[kind]
    assert report(attempts[kind], None, Outputs(json=str(tmp_path / "j"))) == code
    found = json.loads((tmp_path / "j").read_text())
    assert (found["acceptance"]["exit_code"], found["acceptance"]["disposition"]) == (code, word.split(" with")[0])
    assert (found["verdict"]["outcome"] in ("pass", "marginal")) is (kind == "whole"), "a waiver changes no measurement"


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_give_the_outcome_and_exit_code_of_the_acceptance(
    attempts: dict[str, str], kind: str, tmp_path: Path,
) -> None:
    _, code, outcome = SAYS[kind]
    report(attempts[kind], None, Outputs(openmetrics=str(tmp_path / "m")))
    text = (tmp_path / "m").read_text()
    assert re.findall(r'^boxcheck_verdict\{.*outcome="(\w+)"\} 1$', text, re.MULTILINE) == [outcome]
    assert re.findall(r"^boxcheck_exit_code\{.*\} (\d)$", text, re.MULTILINE) == [str(code)]


@pytest.mark.parametrize("kind", KINDS)
def test_junit_is_red_where_the_acceptance_is_no_pass_and_says_its_reason(
    attempts: dict[str, str], kind: str, tmp_path: Path,
) -> None:
    word, code, outcome = SAYS[kind]
    report(attempts[kind], None, Outputs(junit=str(tmp_path / "j")))
    root = ElementTree.parse(tmp_path / "j").getroot()
    red = [*root.iter("failure"), *root.iter("error")]
    assert bool(red) is (code != 0)
    told = json.loads(Path(attempts[kind], "acceptance.json").read_text())
    assert [one.attrib["message"] for one in red if one in {*root[-1].iter()}] == (
        [f"{word}: {told['reason']}"] if code else [])
    # What is marginal fails where --strict does.
    assert {one.attrib["type"] for one in red} <= ({"verdict", "matmul.rate"} if kind == "marginal" else {"verdict"})
    assert root[-1].find("system-out").text.splitlines()[0] == f"{word}: {told['reason']}"
    properties = {one.attrib["name"]: one.attrib["value"] for one in root[-1].iter("property")}
    assert (properties["outcome"], properties["exit-code"]) == (outcome, str(code))
    waived = [one.attrib["message"] for one in root.iter("skipped") if "by J. Doe until 2027-12-31" in one.attrib["message"]]
    assert bool(waived) is (kind == "waived")


PASSED = acceptance()
SHORT = acceptance(disposition="INCOMPLETE", exit_code=3)
LEFT = acceptance(disposition="PASS", with_waivers=True, waivers=(msgspec.structs.replace(WAIVED, state="used"),))


FAILED = Finding(
    check="matmul.rate", subject=Subject(kind="gpu", name="GPU0"), outcome=Outcome.FAIL, says="slow", blocker=True)
OTHER = msgspec.structs.replace(FAILED, check="copy.rate")


@pytest.mark.parametrize(("run", "told", "own", "strict", "comes_to"), [
    ((Outcome.FAIL, 1), None, True, False, (Outcome.FAIL, 1)),
    ((Outcome.FAIL, 1), PASSED, True, False, (Outcome.FAIL, 1)),  # the store is not what was judged
    ((Outcome.UNKNOWN, 3), PASSED, True, False, (Outcome.UNKNOWN, 3)),
    ((Outcome.PASS, 0), SHORT, False, False, (Outcome.UNKNOWN, 3)),
    ((Outcome.FAIL, 1), SHORT, False, False, (Outcome.FAIL, 1)),
    ((Outcome.FAIL, 1), LEFT, True, False, (Outcome.PASS, 0)),
    ((Outcome.FAIL, 1), LEFT, False, False, (Outcome.FAIL, 1)),  # it was waived for another profile
    ((Outcome.MARGINAL, 0), acceptance(disposition="MARGINAL PASS"), True, False, (Outcome.MARGINAL, 0)),
    ((Outcome.FAIL, 1), acceptance(disposition="MARGINAL PASS", with_waivers=True), True, True, (Outcome.FAIL, 1)),
    ((Outcome.PASS, 0), acceptance(disposition="ABORTED", exit_code=5), True, False, (Outcome.UNKNOWN, 5)),
    ((Outcome.PASS, 0), acceptance(disposition="INCOMPLETE"), True, False, (Outcome.UNKNOWN, 3)),  # written by hand
])
def test_what_decides_where_run_and_acceptance_differ(
    run: tuple[Outcome, int], told: Any, own: bool, strict: bool, comes_to: tuple[Outcome, int],
) -> None:
    assert settled(*run, told, (FAILED,), own=own, strict=strict) == comes_to


@pytest.mark.parametrize("told", [
    acceptance(with_waivers=True), msgspec.structs.replace(LEFT, waivers=(WAIVED,)),
    msgspec.structs.replace(LEFT, waivers=(msgspec.structs.replace(WAIVED, state="used", check="pcie.*"),))])
def test_a_failure_that_no_waiver_was_used_for_is_one_whatever_the_record_says(told: Any) -> None:
    assert settled(Outcome.FAIL, 1, told, (FAILED,), own=True) == (Outcome.FAIL, 1)
    assert settled(Outcome.FAIL, 1, LEFT, (FAILED, OTHER), own=True) == (Outcome.FAIL, 1)


def test_no_output_passes_a_failure_that_its_waivers_are_not_for(
    attempts: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "forged"
    shutil.copytree(attempts["waived"], folder)
    told = json.loads((folder / "acceptance.json").read_text())
    (folder / "acceptance.json").write_text(json.dumps({**told, "waivers": []}))
    assert judge_run(str(folder), None, Options()) == 1
    assert "FAIL box W-0007, attempt 1: so its run is judged here" in " ".join(capsys.readouterr().out.split())
    assert report(str(folder), None, Outputs(html=str(tmp_path / "h"))) == 0
    page = (tmp_path / "h").read_text()
    assert "The record of the acceptance says PASS, and the run does not" in page


def test_the_next_command_can_be_pasted_where_the_folder_has_blanks() -> None:
    text = " ".join(certified_text(PASSED, "/srv/line 2/attempt-01", Style(columns=100)).split())
    assert "boxcheck report sign '/srv/line 2/attempt-01' --key KEY" in text
