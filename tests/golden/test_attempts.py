"""The folder of an attempt where a run is asked for: it is read as it is, and its disposition decides what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from boxcheck.certify.contents import ACCEPTANCE
from boxcheck.commands.golden import Drafting, Laying, beside, draft_from_runs
from boxcheck.golden.good import NotGood
from boxcheck.usage import UsageError
from tests.certify.attempt import acceptance
from tests.golden.runs import stored

Capture = pytest.CaptureFixture[str]


def attempt(folder: Path, **fields: object) -> Path:
    folder.mkdir()
    shutil.copyfile(stored("one"), folder / "run.sqlite")
    (folder / ACCEPTANCE).write_bytes(msgspec.json.encode(acceptance(**fields)))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_attempt_gives_what_its_run_gives_and_stays_as_it_is(tmp_path: Path, capsys: Capture) -> None:
    folder, rates = attempt(tmp_path / "attempt-01"), str(tmp_path / "rates.json")
    before = contents(folder)
    assert draft_from_runs(Drafting(runs=(stored("one"),))) == 0
    own = capsys.readouterr().out
    assert draft_from_runs(Drafting(runs=(str(folder),), share=rates, yes=True)) == 0
    assert capsys.readouterr().out == own
    assert beside(stored("one"), rates, None, Laying()) == 0
    own = capsys.readouterr().out
    assert beside(str(folder), rates, None, Laying()) == 0
    assert capsys.readouterr().out == own
    assert contents(folder) == before


@pytest.mark.parametrize(("fields", "says"), [
    ({"disposition": "INCOMPLETE", "reason": "too short"}, "attempt 1 of W-0007 is INCOMPLETE: too short"),
    ({"with_waivers": True}, "is PASS with waivers: "), ({"disposition": "ABORTED"}, "is ABORTED: ")])
@pytest.mark.parametrize("inner", ["", "run.sqlite"])
def test_an_attempt_that_did_not_pass_is_no_pattern(
    tmp_path: Path, fields: dict[str, object], says: str, inner: str
) -> None:
    with pytest.raises(NotGood, match=says):
        draft_from_runs(Drafting(runs=(str(attempt(tmp_path / "attempt-01", **fields) / inner),)))


def test_an_attempt_that_is_incomplete_is_no_pass_beside_a_reference(tmp_path: Path, capsys: Capture) -> None:
    folder, rates = attempt(tmp_path / "attempt-01", disposition="INCOMPLETE"), str(tmp_path / "rates.json")
    assert draft_from_runs(Drafting(runs=(stored("one"),), share=rates, yes=True)) == 0
    capsys.readouterr()
    assert beside(str(folder), rates, None, Laying()) == 0
    assert ", finished, unknown) beside " in " ".join(capsys.readouterr().out.split())


def test_a_folder_that_is_no_attempt_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no acceptance\.json"):
        beside(str(tmp_path), stored("one"), None, Laying())
