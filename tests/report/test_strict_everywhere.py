"""`--strict` of an attempt, and `--strict` of a report of one that was not strict, fail what is marginal in every form."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import FILES, Asked
from boxcheck.certify.folder import write_folder
from boxcheck.certify.run import accept
from boxcheck.commands.burn import Options
from boxcheck.commands.report import Outputs, read_acceptance, report
from boxcheck.commands.runs import judge_run
from boxcheck.store.reader import RunReader
from tests.golden.runs import stored

FORMS = ("junit", "openmetrics", "ocptv", "html", "json")


def attempt(folder: Path, strict: bool) -> str:
    path = stored("marginal")
    with RunReader(path) as reader:
        began = reader.run().started
    made = accept(
        Asked(id="one", identity=Identity(serial="W-1", serial_from="operator"), attempt=1, began=began, run=path,
              strict=strict), (), now=began + 60, clock_trusted=True, machine={})
    write_folder(str(folder), path, made.told, made.want, made.verdict_json)
    shutil.move(folder / FILES, folder / "whole")
    return str(folder / "whole")


def said(folder: Path) -> dict[str, object]:
    """What each form says of the verdict: whether it failed."""
    root = ElementTree.parse(folder / "junit").getroot()
    properties = {one.attrib["name"]: one.attrib["value"] for one in root[-1].iter("property")}
    assert (properties["exit-code"] == "1") is bool(root[-1].findall("testcase/failure"))
    lines = [json.loads(line) for line in (folder / "ocptv").read_text().splitlines()]
    parameters = lines[1]["testRunArtifact"]["testRunStart"]["parameters"]
    word = re.search(r'class="verdict[^>]*>\s*(?:<[^>]*>)*([A-Z ]+)', (folder / "html").read_text())
    return {
        "junit": (properties["exit-code"], properties["outcome"]),
        "openmetrics": re.findall(r"^boxcheck_exit_code\{.*\} (\d)$", (folder / "openmetrics").read_text(), re.MULTILINE),
        "ocptv": (parameters["strict"], lines[-1]["testRunArtifact"]["testRunEnd"]["result"]),
        "html": word[1] if word else "",
        "json": json.loads((folder / "json").read_text())["verdict"]["outcome"]}


@pytest.mark.parametrize(("own", "asked"), [(True, False), (False, True), (True, True), (False, False)])
def test_strict_once_is_strict_in_every_form(
    tmp_path: Path, own: bool, asked: bool, capsys: pytest.CaptureFixture[str],
) -> None:
    folder = attempt(tmp_path, own)
    assert read_acceptance(folder).strict is own
    code = report(folder, None, Outputs(strict=asked, **{one: str(tmp_path / one) for one in FORMS}))
    fails = own or asked
    assert code == int(fails)
    assert judge_run(folder, None, Options(strict=asked)) == int(fails)
    found = said(tmp_path)
    assert found == ({
        "junit": ("1", "fail"), "openmetrics": ["1"], "ocptv": (True, "FAIL"), "html": "FAIL", "json": "fail",
    } if fails else {
        "junit": ("0", "marginal"), "openmetrics": ["0"], "ocptv": (False, "PASS"), "html": "MARGINAL PASS",
        "json": "marginal"})
    assert re.search(r"^FAIL\b", capsys.readouterr().out, re.MULTILINE) is not None or not fails


def test_the_folder_of_a_strict_attempt_says_so_in_all_its_files(tmp_path: Path) -> None:
    folder = Path(attempt(tmp_path, True))
    (tmp_path / "same").mkdir()
    for name, file in (("junit", "junit.xml"), ("ocptv", "run.ocptv.jsonl")):
        assert report(str(folder), None, Outputs(**{name: str(tmp_path / "same" / file)})) == 0
        assert (tmp_path / "same" / file).read_bytes() == (folder / file).read_bytes()
    told = json.loads((folder / "acceptance.json").read_text())
    assert (told["strict"], told["disposition"], told["exit_code"]) == (True, "FAIL", 1)
