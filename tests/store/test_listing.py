"""Runs of a directory: what is listed, found, chosen and removed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from boxcheck.model import Outcome, Verdict
from boxcheck.store.creating import create_run
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import RunEntry, entry_object, find_run, list_runs, select_runs
from boxcheck.store.lock import RunLock
from boxcheck.store.pruning import old_runs, remove_runs
from boxcheck.store.rows import PhasePlan, ProfileName, RunInfo
from boxcheck.store.writer import RunWriter
from tests.store.machine import HandClock

DAY = 86400.0
RECORD = {
    "schema": "boxcheck.run/1", "started": "2027-01-10T08:00:00Z", "finished": "2027-01-10T08:00:11Z", "stage": "inspect",
    "profile": {"name": "wopr-7x4090", "revision": 3, "sha256": "00", "why": "chosen", "goal": "any", "own_goal": "any"},
    "verdict": {"outcome": "fail", "reason": "1 failed", "counts": {}}, "findings": [], "problems": [],
}


def begun(folder: Path, day: float, kind: str = "burn") -> RunWriter:
    hand = HandClock(wall=1_800_000_000.0 + day * DAY)
    store = create_run(str(folder), RunInfo(
        kind=kind, version="0.4.0", profile=ProfileName("wopr-7x4090", 3, "00") if kind == "burn" else None),
        clock=hand.clock())
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul"))
    store.plan_phase(PhasePlan(number=2, name="vram", module="vram"))
    store.about(1, "matmul")
    hand.pass_by(60)
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four runs, a day apart, in each of the states; the last of them is being written until the test ends."""
    finished = begun(tmp_path, 0)
    finished.begin_phase(1)
    finished.end_phase(1)
    finished.end("finished", Verdict(
        outcome=Outcome.MARGINAL, reason="", counts={}, findings=(), problems=()))
    begun(tmp_path, 1).end("stopped", outcome="unknown", reason="stopped by operator")
    begun(tmp_path, 2, "stress").close()
    (tmp_path / "2027-01-10T080000Z-doctor.json").write_bytes(msgspec.json.encode(RECORD))
    return tmp_path


def test_runs_are_listed_with_their_state_the_newest_first(folder: Path) -> None:
    running = begun(folder, 3)
    found = list_runs(str(folder))
    assert [(one.id, one.state, one.phase, one.outcome, one.profile) for one in found] == [
        ("2027-01-18T080000Z-burn", "running", "matmul", None, "wopr-7x4090"),
        ("2027-01-17T080000Z-stress", "crashed", "matmul", None, None),
        ("2027-01-16T080000Z-burn", "stopped", "matmul", "unknown", "wopr-7x4090"),
        ("2027-01-15T080000Z-burn", "finished", None, "marginal", "wopr-7x4090"),
        ("2027-01-10T080000Z-doctor", "finished", None, "fail", "wopr-7x4090")]
    assert all(one.bytes > 0 and one.trouble is None for one in found)
    assert entry_object(found[2]) == {
        "id": "2027-01-16T080000Z-burn", "started": "2027-01-16T08:00:00Z", "finished": "2027-01-16T08:01:00Z",
        "state": "stopped", "phase": "matmul", "outcome": "unknown", "profile": "wopr-7x4090",
        "path": str(folder / "2027-01-16T080000Z-burn.sqlite"), "kind": "burn", "box": "",
        "bytes": found[2].bytes, "trouble": None}
    running.close()


def test_listing_leaves_a_running_writer_its_lock(folder: Path) -> None:
    running = begun(folder, 3)
    for _ in range(20):
        assert list_runs(str(folder))[0].state == "running"
    assert running.event("one", "still written") is None
    running.close()
    assert list_runs(str(folder))[0].state == "crashed"


def test_what_cannot_be_read_is_listed_with_its_reason(folder: Path) -> None:
    (folder / "2027-01-09T080000Z-burn.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (folder / "2027-01-08T080000Z-doctor.json").write_bytes(b'{"schema": "boxcheck.run/1"')
    (folder / "settings.json").write_bytes(b'{"a": 1}')
    (folder / "notes.txt").write_bytes(b"mine")
    (folder / "x.sqlite.17.part").write_bytes(b"half")
    bad = {one.id: one for one in list_runs(str(folder)) if one.trouble}
    assert set(bad) == {"2027-01-09T080000Z-burn", "2027-01-08T080000Z-doctor"}
    assert "no run of boxcheck" in str(bad["2027-01-09T080000Z-burn"].trouble)
    assert bad["2027-01-09T080000Z-burn"].help
    assert bad["2027-01-09T080000Z-burn"].state == "crashed"
    assert not set(bad.values()) & set(old_runs(list_runs(str(folder)), keep=0, now=2e9)), "it may be worth a salvage"


def test_a_pipe_among_the_records_holds_nobody_up(folder: Path) -> None:
    os.mkfifo(folder / "2027-01-08T080000Z-doctor.json")
    os.mkfifo(folder / "2027-01-07T080000Z-burn.sqlite")
    bad = {one.id: str(one.trouble) for one in list_runs(str(folder)) if one.trouble}
    assert set(bad) == {"2027-01-08T080000Z-doctor", "2027-01-07T080000Z-burn"}
    assert all(says.endswith("is no file") for says in bad.values())


def test_a_run_that_is_written_by_a_later_boxcheck_is_running(folder: Path) -> None:
    path = folder / "2027-01-19T080000Z-burn.sqlite"
    path.write_bytes(b"of another version")
    lock = RunLock(str(path))
    found = find_run(list_runs(str(folder)), "2027-01-19T080000Z-burn")
    assert (found.state, found.trouble is None) == ("running", False)
    lock.release()
    assert find_run(list_runs(str(folder)), "2027-01-19T080000Z-burn").state == "crashed"


def test_a_directory_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert list_runs(str(tmp_path / "nowhere")) == ()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="not a directory"):
        list_runs(str(tmp_path / "file"))


def test_a_run_of_a_wrong_clock_is_listed(tmp_path: Path) -> None:
    for year in (-40 * 365, 300_000 * 365):
        begun(tmp_path, year).close()
    assert [entry_object(one)["started"] is None for one in list_runs(str(tmp_path))] == [True, False]


def entries() -> tuple[RunEntry, ...]:
    return tuple(
        RunEntry(id=f"run-{number}", started=number * DAY, finished=number * DAY + 10 if number % 3 else None,
                 state=("running", "finished", "crashed")[number % 3],  # type: ignore[arg-type]
                 profile="a" if number % 2 else "b", kind="burn", path=f"/runs/run-{number}.sqlite", bytes=10)
        for number in range(10))


@pytest.mark.parametrize(("asked", "ids"), [
    ({}, "0123456789"), ({"states": ("crashed",)}, "258"), ({"profile": "a"}, "13579"),
    ({"states": ("finished", "crashed"), "profile": "b"}, "248"), ({"newer_than_days": 3}, "789"),
    ({"older_than_days": 7.5}, "012"), ({"kind": "doctor"}, ""),
])
def test_runs_are_chosen_by_state_profile_and_age(asked: dict[str, object], ids: str) -> None:
    found = select_runs(entries(), now=10 * DAY + 5, **asked)  # type: ignore[arg-type]
    assert "".join(one.id[-1] for one in found) == ids


@pytest.mark.parametrize(("asked", "ids"), [
    ({}, ""), ({"keep": 3}, "421"), ({"older_than_days": 7.5}, "21"), ({"keep": 5, "older_than_days": 5.5}, "1"),
    ({"keep": 0}, "875421"), ({"keep": 100}, ""),
])
def test_old_runs_are_those_over_the_number_and_the_age_and_never_running(asked: dict[str, float], ids: str) -> None:
    found = old_runs(entries(), now=10 * DAY, **asked)  # type: ignore[arg-type]
    assert "".join(one.id[-1] for one in found) == ids


def test_old_runs_are_removed_with_all_that_is_beside_them(folder: Path) -> None:
    running = begun(folder, 3)
    old = old_runs(list_runs(str(folder)), keep=1, now=2e9)
    assert len(old) == 3
    before = sorted(os.listdir(folder))
    dry = remove_runs(old, dry_run=True)
    assert (dry.removed, sorted(os.listdir(folder))) == (old, before)
    assert dry.bytes > 0
    done = remove_runs(old)
    assert (done.removed, done.refused) == (old, ())
    assert [one.state for one in list_runs(str(folder))] == ["running", "crashed"]
    assert {name.partition(".")[0] for name in os.listdir(folder)} == {
        "2027-01-18T080000Z-burn", "2027-01-17T080000Z-stress"}
    running.close()


def test_a_run_that_was_begun_again_since_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.store.lock.WAIT_SECONDS", 0.1)
    crashed = next(one for one in list_runs(str(folder)) if one.state == "crashed")
    lock = RunLock(crashed.path)
    done = remove_runs([crashed, msgspec.structs.replace(crashed, state="running")])
    assert done.removed == ()
    assert ["written by another process" in why or "being written" in why for _, why in done.refused] == [True, True]
    assert os.path.exists(crashed.path)
    lock.release()


def test_a_run_is_found_by_its_id_the_beginning_of_it_its_path_and_as_the_last() -> None:
    some = entries()
    assert find_run(some, "run-3").id == "run-3"
    assert find_run(some, "/runs/run-4.sqlite").id == "run-4"
    assert find_run(some, "last").id == "run-0"
    assert find_run(some[:1], "ru").id == "run-0"
    looked = msgspec.structs.replace(some[0], id="run-doctor", kind="doctor", path="/runs/run-doctor.json")
    assert find_run([looked, *some], "last").id == "run-0", "doctor was run since"
    assert find_run([looked, some[0]], "ru").id == "run-0"
    assert find_run([looked, *some], "run-d").id == find_run([looked], "last").id == "run-doctor"
    for word in ("run-", "nothing", ""):
        with pytest.raises(LookupError, match=f"^{word}$"):
            find_run(some, word)
