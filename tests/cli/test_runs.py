"""`boxcheck runs`, its words and filters, and `judge` of what is no store, a damaged one, or one of a later version."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxcheck import cli
from boxcheck.report.runs import list_lines
from boxcheck.store.creating import create_run
from boxcheck.store.listing import RunEntry, list_runs
from boxcheck.store.pruning import spare_last
from boxcheck.store.rows import PhasePlan, PhaseStart, ProfileName, RunInfo
from boxcheck.store.writer import RunWriter
from boxcheck.stress import StressResults
from tests.report.stored import stored
from tests.store.machine import HandClock, Machine

DAY = 86400.0
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "boxcheck" / "runs"
    found.mkdir(parents=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("COLUMNS", raising=False)
    return found


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Exit code, standard output and error of a command."""

    def body(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["boxcheck", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as leave:
            cli.run()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return int(str(leave.value.code)), said.out, said.err

    return body


def begun(folder: Path, days: float = 0.0, **more: Any) -> tuple[RunWriter, Machine]:
    """A run that is going on: a phase with a minute and a half of readings and samples of two GPUs, and events."""
    hand, machine = HandClock(wall=1_800_000_000.0 + days * DAY), Machine(2)
    info = {"kind": "burn", "version": "0.4.0", "profile": ProfileName("generic", 1, "0"), "plan": {
        "name": "level 1", "steps": [{"name": "matmul", "seconds": 90}, {"name": "doctor after", "seconds": 8}]}, **more}
    store = create_run(str(folder), RunInfo(**info), clock=hand.clock(), least_free_bytes=0)
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul", planned_seconds=90.0))
    store.about(1, "matmul")
    store.begin_phase(1, PhaseStart(gpus=machine.gpus))
    for _ in range(90):
        hand.pass_by(1)
        for number in range(2):
            store.watched(1, machine.told_by(number, hand.monotonic))
            store.sample(1, machine.sample(number), worker=number)
    store.event("link", "x16 became x8", severity="warn", subject="0000:41:00.0", phase=1)
    for number in range(30):
        store.event("note", f"note {number}")
    return store, machine


def ended(folder: Path, days: float = 0.0, **more: Any) -> str:
    store, machine = begun(folder, days, **more)
    store.end_phase(1, StressResults(
        module="matmul", gpus=machine.gpus, samples=(), troubles=(), ended=("cuda:0", "cuda:1")), outcome="pass")
    assert store.end("finished", outcome="pass") is None
    return store.path


def crashed(folder: Path, days: float = 0.0, **more: Any) -> str:
    store, _ = begun(folder, days, **more)
    store.close()
    return store.path


def damaged(path: str) -> str:
    data = bytearray(Path(path).read_bytes())
    data[100:9000] = b"\xff" * 8900
    Path(path).write_bytes(data)
    return path


def test_runs_are_listed_without_a_word_and_chosen_by_state_box_profile_and_time(folder: Path, call: Call) -> None:
    ended(folder, -3, box="A1")
    crashed(folder, -2, box="B2", profile=ProfileName("wopr-7x4090", 1, "0"))
    code, out, _ = call("runs")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["run", "2027-01-13T080000Z-burn", "2027-01-12T080000Z-burn"]
    for words, days in (
            (("--state", "finished"), ["12"]), (("--box", "B2"), ["13"]), (("--profile", "generic"), ["12"]),
            (("--since", "2027-01-12 20:00"), ["13"]), (("--since", "2027-01-01"), ["13", "12"]),
            (("--box", "A1", "--state", "crashed"), [])):
        code, out, err = call("runs", *words, "--json", "-")
        assert (code, [one["id"][8:10] for one in json.loads(out)]) == (0, days), err
    assert call("runs", "--box", "nobody")[1:] == ("", "no such run\n")


@pytest.mark.parametrize(("words", "says"), [
    (["--state", "crashd"], "did you mean crashed?"), (["--since", "soon"], "'soon' is no time"),
    (["--box", ""], "is empty"), (["--state", "crashed", "show", "last"], "options of show come after that word"),
    (["prune"], "say which runs may go"), (["prune", "--older-than", "90"], "'90' is no age"),
    (["prune", "--state", "running"], "never removed"), (["show", "nonesuch"], "no run is called 'nonesuch'"),
    (["show", "2027"], "2 runs begin with '2027'"), (["salvage", "/nonexistent"], "no run is called"),
])
def test_a_mistake_is_one_clear_error(folder: Path, call: Call, words: list[str], says: str) -> None:
    crashed(folder, -2)
    crashed(folder, -1)
    code, out, err = call("runs", *words)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_list_fits_the_terminal_and_leaves_out_what_matters_least(columns: int) -> None:
    entries = [
        RunEntry(id=f"2027-01-1{day}T080000Z-burn", started=1.8e9, finished=1.8e9 + 28800, state="finished", outcome="pass",
                 profile="wopr-7x4090", path="/r/x.sqlite", kind="burn", box="SN-1234", bytes=52_000_000,
                 trouble="/r/x.sqlite is damaged (database disk image is malformed)" if day else None)
        for day in range(3)]
    lines = list(list_lines(entries, columns))
    assert max(map(len, lines)) <= columns
    assert len({line.index("finished") for line in lines[1:]}) == 1, "columns stand under each other"
    heads = lines[0].split()
    assert ("profile" in heads, "took" in heads, "box" in heads) == (columns >= 80, columns > 80, columns == 200)
    assert "/r/x.sqlite" not in "".join(lines)
    assert ("malformed)" in lines[2]) == (columns == 200)


def test_a_run_is_shown_with_its_phases_events_and_what_was_not_begun(folder: Path, call: Call) -> None:
    ended(folder)
    code, out, _ = call("runs", "show", "last")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "run 2027-01-15T080000Z-burn: burn by boxcheck 0.4.0, profile generic r1"
    assert "  finished after 1 min 30 s, verdict pass" in lines
    assert "plan level 1: 1 min 38 s, 2 steps" in lines
    assert "  not begun: doctor after" in lines
    (phase,) = [line.split() for line in lines if line.startswith("    1  matmul")]
    assert phase == ["1", "matmul", "00:00:00", "1", "min", "30", "s", "ended", "pass"]
    assert "events, the last 20 of 31 (-v shows all)" in lines
    assert "x16 became x8" not in out
    assert "  00:01:30  warn  0000:41:00.0   x16 became x8" in call("runs", "show", "last", "-v")[1]
    shown = json.loads(call("runs", "show", "last", "--json", "-")[1])
    assert (shown["state"], shown["plan"]["name"], len(shown["events"]), shown["phases"][0]["samples"]) == (
        "finished", "level 1", 31, 180)


def test_a_crashed_run_says_what_it_was_at(folder: Path, call: Call) -> None:
    crashed(folder)
    out = call("runs", "show", "2027-01-15")[1]
    assert "  crashed" in out.splitlines()
    assert "cut     -  it was at: matmul" in out


def test_old_runs_go_and_the_last_finished_of_a_box_stays_unless_it_is_named(folder: Path, call: Call) -> None:
    running, _ = begun(folder, 1)
    for day, box in ((-9, "A"), (-8, "A"), (-7, "B")):
        ended(folder, day, box=box)
    crashed(folder, -1, box="A")
    broken = damaged(ended(folder, -5, box="C"))
    code, out, err = call("runs", "prune", "--keep", "0", "--dry-run")
    assert (code, len(list_runs(str(folder)))) == (0, 6)
    assert [line[8:10] for line in out.splitlines()[1:]] == ["14", "06"]
    assert "2 runs, " in err
    assert "2 that would be the last finished of a box stay" in err
    assert "1 that cannot be read stay" in err
    assert call("runs", "prune", "--state", "crashed")[0] == 0
    assert {one.id[8:10] for one in list_runs(str(folder))} == {"16", "06", "07", "08", "10"}
    assert call("runs", "prune", "--keep", "1", "--older-than", "50000w", "--last-too", "--yes")[0] == 0
    left = {one.id[8:10]: one.state for one in list_runs(str(folder))}
    assert left == {"16": "running", "10": "crashed", "08": "finished", "07": "finished", "06": "finished"}, (
        "both options let go what goes")
    assert call("runs", "prune", "--keep", "1", "--last-too", "--yes")[0] == 0
    left = {one.id[8:10]: one.state for one in list_runs(str(folder))}
    assert left == {"16": "running", "10": "crashed", "08": "finished"}
    assert os.path.exists(broken)
    running.close()


def test_at_a_terminal_it_is_asked_before_runs_are_removed(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(folder)
    for answer, left in (("\n", 1), ("n\n", 1), ("y\n", 0)):
        monkeypatch.setattr("boxcheck.commands.runs.at_terminal", lambda: True)
        monkeypatch.setattr("boxcheck.commands.runs.answer", lambda said=answer: said)
        code, _, err = call("runs", "prune", "--state", "crashed")
        assert (code, len(list_runs(str(folder)))) == (0, left)
        assert "? [y/N]" in err
        assert ("nothing was removed" in err) is bool(left)


def test_a_run_that_is_written_again_since_stays_and_the_code_says_so(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boxcheck.store.errors import StoreError

    def busy(path: str) -> None:
        raise StoreError("busy", f"{path} is written by another process")

    crashed(folder)
    monkeypatch.setattr("boxcheck.store.pruning._remove", busy)
    code, _, err = call("runs", "prune", "--state", "crashed", "--yes")
    assert code == 3
    assert "stays: " in err
    assert "written by another process" in err


def test_of_two_finished_runs_of_a_box_the_newer_is_spared() -> None:
    runs = [RunEntry(id=str(at), started=at, state="finished", path=f"/{at}", kind="burn", box=box)
            for at, box in ((1, "A"), (2, "A"), (3, "B"))]
    go, stay = spare_last(runs, runs)
    assert ([one.id for one in go], [one.id for one in stay]) == (["1"], ["2", "3"])


def test_a_damaged_run_is_told_with_what_can_be_saved_and_saved(folder: Path, call: Call) -> None:
    path = damaged(ended(folder))
    before = Path(path).read_bytes()
    for words in (("judge", "last"), ("judge", path), ("runs", "show", "last")):
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        assert "is damaged" in err
        assert f"help: boxcheck runs salvage {path}  (can be saved: " in err
        assert "31 events" in err
    code, out, err = call("runs", "salvage", "last")
    assert code in (0, 3)
    assert out.startswith("saved ")
    assert (code == 0) is ("missing" not in out and "damaged" not in out)
    assert Path(path).read_bytes() == before
    saved = path.replace(".sqlite", "-salvaged.sqlite")
    assert call("judge", saved)[0] in (0, 1, 3)
    assert call("runs", "salvage", path)[0] == 2, "the new store is there already"
    assert call("runs", "salvage", path, "-o", str(folder / "other.sqlite"))[0] == code
    assert call("runs", "salvage", path, "-o", "/nonexistent/x.sqlite")[0] == 2


def test_a_run_whose_rows_are_lost_is_saved_in_part_and_says_so(folder: Path, call: Call) -> None:
    path = ended(folder)
    with sqlite3.connect(path) as base:
        base.execute("DELETE FROM blocks WHERE id = 1")
    base.close()
    code, out, _ = call("runs", "salvage", path, "-o", str(folder / "x.sqlite"))
    assert code == 3
    assert "phase 1: " in out
    assert "missing" in out


def test_a_file_of_any_name_is_judged_if_it_is_a_run(tmp_path: Path, folder: Path, call: Call) -> None:
    path = tmp_path / "run from a friend"
    os.rename(ended(folder), path)
    assert "matmul" in call("judge", str(path))[1]
    path.write_bytes(b"no run\n" * 500)
    code, _, err = call("judge", str(path))
    assert code == 2
    assert f"error: {path} is no run of boxcheck" in err
    assert "salvage" not in err, "nothing is there to be saved"


def test_a_store_of_a_later_version_and_a_record_of_doctor_are_clear_errors(folder: Path, call: Call) -> None:
    path = ended(folder)
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA user_version = 7")
    base.close()
    for words in (("judge", path), ("runs", "show", path)):
        code, _, err = call(*words)
        assert code == 2
        assert "was written by a later boxcheck: it is of version 7, this one reads 1" in err
        assert "update boxcheck" in err
    (folder / "2027-01-20T080000Z-doctor.json").write_text(json.dumps({
        "schema": "boxcheck.run/1", "started": "2027-01-20T08:00:00Z", "finished": None, "verdict": {"outcome": "pass"}}))
    code, _, err = call("judge", "2027-01-20")
    assert code == 2
    assert "is a record of doctor, not a run" in err


def test_a_run_is_shown_as_wide_as_it_is_told(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    path = stored("failed")
    monkeypatch.setenv("COLUMNS", "60")
    code, said, _ = call("runs", "show", path)
    assert code == 0
    assert [line.strip() for line in said.splitlines() if len(line) > 60] == [path]
    assert "3 wrong\n      of 8 digests" in said


def test_what_judge_says_can_be_cut_to_the_verdict(folder: Path, call: Call) -> None:
    ended(folder)
    _, whole, _ = call("judge", "last")
    _, short, _ = call("judge", "last", "-q", "--color", "never", "--ascii")
    assert len(short.splitlines()) < 5 < len(whole.splitlines())
    assert set(short.splitlines()) <= set(whole.splitlines())


def test_a_terminal_is_told_how_to_make_a_page_of_a_run(folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.path.basename(ended(folder)).removesuffix(".sqlite")
    assert "--html" not in call("judge", "last")[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert f"report {name} --html report.html" in call("judge", "last")[1].splitlines()[-1]
    assert "--html" not in call("judge", "last", "-q")[1]
