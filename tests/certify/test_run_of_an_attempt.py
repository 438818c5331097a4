"""The run of an attempt says its disposition wherever it is told: in its lines, and where it is reported by its own name."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.find_acceptance import find_acceptance
from boxcheck.store.reader import RunReader
from tests.certify.attempt import acceptance, run_of
from tests.certify.test_certify import Bench
from tests.report.schemas import published


def test_the_run_of_a_shortened_attempt_passes_nowhere(tmp_path: Path) -> None:
    bench, place = Bench(tmp_path), tmp_path / "live.jsonl"
    done = bench.certify("--serial", "W-1", "--operator", "A", "--for", "10s", "--jsonl", str(place), acceptance="1h")
    assert done.returncode == 3, done.stderr
    lines = [json.loads(line) for line in place.read_text().splitlines()]
    assert (lines[0]["kind"], lines[0]["attempt"]) == ("burn", "attempt 1 of box W-1")
    told = bench.told("W-1", 1)
    assert {key: value for key, value in lines[-2].items() if key != "schema"} == {
        "type": "disposition", "id": told.id, "serial": "W-1", "attempt": 1, "disposition": "INCOMPLETE",
        "reason": told.reason, "with_waivers": False, "exit_code": 3}
    assert (lines[-1]["type"], lines[-1]["verdict"]["outcome"], lines[-1]["verdict"]["reason"]) == (
        "end", "unknown", told.reason)

    said = bench.call("report", told.run)
    assert said.returncode == 3, said.stdout
    assert "INCOMPLETE   box W-1, attempt 1: " in said.stdout
    assert not re.search(r"^PASS\b", said.stdout, re.MULTILINE)
    forms = bench.call("report", told.run, "--junit", str(tmp_path / "j"), "--json", str(tmp_path / "o"))
    assert forms.returncode == 3
    properties = {one.attrib["name"]: one.attrib["value"] for one in ElementTree.parse(tmp_path / "j").iter("property")}
    assert (properties["exit-code"], properties["disposition"]) == ("3", "INCOMPLETE")
    assert json.loads((tmp_path / "o").read_text())["acceptance"]["disposition"] == "INCOMPLETE"
    assert bench.call("judge", told.run).returncode == 3

    shutil.move(bench.certified / "W-1", tmp_path / "elsewhere")
    alone = bench.call("judge", told.run)
    assert alone.returncode == 0
    assert "this is the verdict on the run alone, and no acceptance: it is the load of attempt 1 of box W-1" in alone.stderr
    jsonschema = pytest.importorskip("jsonschema")
    schema = jsonschema.Draft202012Validator(published("stream.schema.json"))
    for line in lines:
        schema.validate(line)


@pytest.mark.parametrize(("attempt", "found"), [
    ("attempt 2 of box W-1", True), ("attempt 1 of box W-1", False), ("attempt 2 of box W-11", False)])
def test_a_run_that_says_another_attempt_has_not_its_acceptance(tmp_path: Path, attempt: str, found: bool) -> None:
    """With a clock that begins in 1970 at every boot names and times come again."""
    with RunReader(run_of(tmp_path / "runs", "m", attempt)) as reader:
        run = reader.run()
    folder = tmp_path / "certify" / "W-1" / "attempt-02"
    folder.mkdir(parents=True)
    (folder / "acceptance.json").write_bytes(msgspec.json.encode(acceptance(
        attempt=2, run=Path(run.path).stem, started=run.started, identity=Identity(serial="W-1", serial_from="operator"))))
    assert (find_acceptance(run, str(tmp_path / "certify")).told is not None) is found
