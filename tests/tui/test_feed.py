"""Frames from stores: followed while they are written, over, damaged, played again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from boxcheck.model import Outcome
from boxcheck.profile import load_profile
from boxcheck.report.matrices import matrices
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of
from boxcheck.tui.expected import expected_by
from boxcheck.tui.feed import Later, StoreFeed
from boxcheck.tui.frame import Frame, GpuRow
from boxcheck.tui.matrix import beside
from boxcheck.tui.replay import ReplayFeed
from tests.tui.box import Burning
from tests.tui.conftest import Runs
from tests.tui.runs import PCIE3, PLAN, RUNS


def feed_of(run: Burning) -> StoreFeed:
    return StoreFeed(run.path, run.want, expected=expected_by(run.want), clock=lambda: run.hand.monotonic)


def looked(run: Burning) -> Frame:
    feed = feed_of(run)
    try:
        return feed.look()
    finally:
        feed.close()


def same_but_for_age(frame: Frame) -> Frame:
    """Without what a view counts since it began to follow."""
    return msgspec.structs.replace(frame, gpus=tuple(msgspec.structs.replace(one, checked=0) for one in frame.gpus))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def replay_of(path: str, clock: Clock, **fields: object) -> ReplayFeed:
    return ReplayFeed(path, load_profile("wopr-7x4090"), clock=clock, **fields)  # type: ignore[arg-type]


def at(feed: ReplayFeed, seconds: float) -> Frame:
    """What a feed shows at a moment of the run."""
    feed.by(seconds - feed.look().seconds)
    return feed.look()


# Followed


def test_a_run_that_is_followed_ends_as_one_that_is_opened_then(tmp_path: Path) -> None:
    """A minute with something in it: fifty looks while it is written, beside one over all."""
    run = Burning(str(tmp_path), "wopr-7x4090+riser-x8", planned=PLAN)
    feed = feed_of(run)
    errors = []

    def each(second: int) -> None:
        if second == 20:
            run.machine.lanes.update(dict.fromkeys(run.machine._chains[PCIE3], 8))
            run.machine.errors["0000:40:01.1"] = 61
            run.event("aer-correctable", "61 bad TLPs", severity="warn", subject="0000:40:01.1")
        run.store.flush()
        frame = feed.look()
        assert frame.live
        assert frame.state == "running"
        errors.append(frame.gpus[PCIE3].errors if frame.gpus else None)

    run.doctor("doctor before")
    run.load("matmul", 30, each=each)
    followed = feed.look()
    assert same_but_for_age(followed) == same_but_for_age(looked(run))
    assert errors[1] == 0
    assert errors[-1] == 61
    assert sorted(one or 0 for one in errors) == [one or 0 for one in errors]
    feed.close()
    run.close()


def test_a_run_that_ends_between_two_looks_is_over_at_the_second(tmp_path: Path) -> None:
    run = Burning(str(tmp_path), planned=PLAN)
    run.load("matmul", 30)
    run.store.flush()
    feed = feed_of(run)
    before = feed.look()
    run.finish()
    after = feed.look()
    assert (before.live, before.over, before.state) == (True, False, "running")
    assert (after.live, after.over, after.state, after.outcome) == (False, True, "finished", Outcome.PASS)
    assert feed.look() is after  # nothing changes any more: nothing is read
    feed.close()


def test_a_run_that_dies_between_two_looks_is_no_longer_live_and_does_not_pass(tmp_path: Path) -> None:
    run = Burning(str(tmp_path), planned=PLAN)
    run.load("matmul", 30)
    run.load("p2p", 4, ends=False)
    run.store.flush()
    feed = feed_of(run)
    before = feed.look()
    run.crash()
    run.hand.pass_by(1000.0)
    after = feed.look()
    assert (before.live, before.outcome) == (True, Outcome.PASS)
    assert (after.live, after.state, after.outcome) == (False, "crashed", Outcome.UNKNOWN)
    assert after.seconds == pytest.approx(before.seconds, abs=2.0)  # not of a thousand seconds later
    assert after.as_of
    feed.close()


def test_ages_grow_when_nothing_is_written(tmp_path: Path) -> None:
    run = Burning(str(tmp_path), planned=PLAN)
    run.load("matmul", 10, ends=False)
    run.store.flush()
    feed = feed_of(run)
    first = feed.look()
    run.hand.pass_by(30.0)
    later = feed.look()
    assert {one.state for one in first.gpus} == {"working"}
    assert first.watts_of == 7
    assert {one.state for one in later.gpus} == {"silent"}
    assert (later.watts_of, later.total_watts) == (0, None)
    feed.close()
    run.close()


def test_a_run_of_another_boot_has_no_age_by_this_boots_clock(runs: Runs) -> None:
    run = runs("all-well")
    feed = StoreFeed(run.path, run.want, clock=lambda: run.hand.monotonic + 1e6, boot="another")
    assert feed.look().seconds == pytest.approx(run.hand.monotonic - 1000.0, abs=2.0)
    feed.close()


def test_a_wall_clock_that_is_set_back_moves_no_age(runs: Runs) -> None:
    run = runs("clock-back")
    frame = looked(run)
    assert frame.seconds == pytest.approx(30.0, abs=0.1)
    assert any(one.kind == "clock-set" for one in frame.events)
    assert all(one.told_seconds is not None and 0 <= one.told_seconds < 2 for one in frame.gpus)


@pytest.mark.parametrize("name", ["finished", "all-well", "failing"])
def test_a_run_that_is_opened_late_shows_all_copies_of_its_phase(runs: Runs, name: str) -> None:
    """Those that the engine has in its results: a pair that was run is never shown as one that was not."""
    run, frame = runs(name), looked(runs(name))
    with RunReader(run.path) as reader:
        number = next(one.plan.number for one in reader.phases() if one.plan.module == "p2p")
        wanted = [beside(one, run.want) for one in matrices(results_of(reader, number))]
    assert [one.title for one in frame.matrices] == [one.title for one in wanted]
    assert [one.cells for one in frame.matrices] == [one.cells for one in wanted]
    assert not any("?" in row for row in frame.matrices[0].cells)


def test_a_run_that_another_process_writes_is_followed_to_its_end(tmp_path: Path) -> None:
    with subprocess.Popen(
            [sys.executable, "-m", "tests.tui.writing", str(tmp_path), "40"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path, began = process.stdout.readline().split()
        started = time.monotonic()
        feed = StoreFeed(path, load_profile("wopr-7x4090"), clock=lambda: float(began) + time.monotonic() - started)
        seen: list[Frame] = []
        while (not seen or seen[-1].live) and time.monotonic() - started < 60:
            seen.append(feed.look())
            time.sleep(0.02)
    last = seen[-1]
    assert process.returncode == 0
    assert (last.state, last.outcome, last.live) == ("finished", Outcome.PASS, False)
    assert len(seen) > 3
    assert any(one.live and one.gpus for one in seen)
    assert [len(one.events) for one in seen] == sorted(len(one.events) for one in seen)
    fresh = StoreFeed(path, load_profile("wopr-7x4090"))
    assert same_but_for_age(fresh.look()) == same_but_for_age(last)
    fresh.close()
    feed.close()


# Damage


def test_a_store_that_is_damaged_midway_raises_a_store_error_and_nothing_else(runs: Runs, tmp_path: Path) -> None:
    run = runs("finished")
    some, outcomes = random.Random(5), set()
    with open(run.path, "rb") as stream:
        whole = stream.read()
    for number in range(25):
        path = str(tmp_path / f"{number}.sqlite")
        with open(path, "wb") as stream:
            stream.write(whole)
        feed: StoreFeed | ReplayFeed | None = None
        try:
            feed = StoreFeed(path, run.want) if number % 2 else replay_of(path, Clock())
            with open(path, "r+b") as stream:
                for _ in range(40):
                    stream.seek(some.randrange(4096, len(whole)))
                    stream.write(some.randbytes(16))
                if number % 5 == 0:
                    stream.truncate(len(whole) // 2)
            if isinstance(feed, ReplayFeed):
                feed.by(1e6)
            feed.look()
            outcomes.add("frame")
        except StoreError as error:
            outcomes.add("error" if str(error) else "no words")
        finally:
            if feed is not None:
                feed.close()
    assert "error" in outcomes
    assert outcomes <= {"error", "frame"}


@pytest.mark.parametrize("content", [b"", b"no store", b"SQLite format 3\0" + b"\0" * 4000])
def test_what_is_no_store_is_said_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    for make in (StoreFeed, ReplayFeed):
        with pytest.raises(StoreError) as caught:
            make(str(path), load_profile("generic")).look()
        assert "\n" not in str(caught.value)


# Played again


def test_played_to_its_end_a_run_is_what_it_was_when_it_ended(runs: Runs) -> None:
    run, feed = runs("finished"), replay_of(runs("finished").path, Clock())
    end, played = looked(run), at(feed, 1e6)
    assert played.outcome is end.outcome is Outcome.PASS
    assert (played.problems, played.events, played.phases) == (end.problems, end.events, end.phases)
    assert played.matrices == end.matrices
    assert played.matrices
    for mine, other in zip(played.gpus, end.gpus, strict=True):
        assert facts(mine) == facts(other)
    feed.close()


def test_played_again_a_failure_is_found_when_it_was_found(runs: Runs) -> None:
    run = runs("failed")
    feed = replay_of(run.path, Clock())
    with RunReader(run.path) as reader:
        phases = {one.plan.name: one for one in reader.phases()}
        wrong = next(one.at.seconds for one in reader.events() if one.kind == "wrong-result")
    doctor = phases["doctor before"].ended
    assert doctor is not None
    assert at(feed, doctor.seconds - 1).outcome is Outcome.UNKNOWN
    before, after = at(feed, wrong - 0.5), at(feed, wrong + 0.5)
    assert (before.gpus[PCIE3].wrong, after.gpus[PCIE3].wrong) == (0, 3)
    assert after.outcome is Outcome.FAIL
    feed.close()


@pytest.mark.parametrize("moment", [5.0, 30.0, 75.0, 100.0])
def test_going_back_shows_what_going_on_showed(runs: Runs, moment: float) -> None:
    path = runs("finished").path
    back, on = replay_of(path, Clock()), replay_of(path, Clock())
    at(back, 1e6)
    assert at(back, moment) == at(on, moment)
    back.close()
    on.close()


def test_nothing_of_later_is_shown_at_a_moment(runs: Runs) -> None:
    feed = replay_of(runs("failed").path, Clock())
    for moment in (0.0, 12.0, 40.0, 70.0, 30.0):
        frame = at(feed, moment)
        assert frame.seconds == pytest.approx(moment, abs=0.01)
        assert all(one.seconds <= moment for one in frame.events)
        assert all(one.told_seconds is None or one.told_seconds >= 0 for one in frame.gpus)
        assert all((one.outcome is None) or one.state == "ended" for one in frame.phases)
        assert not frame.over
    feed.close()


def test_speed_and_pause_are_those_of_the_clock(runs: Runs) -> None:
    clock = Clock()
    feed = replay_of(runs("finished").path, clock, speed=4.0)
    feed.look()
    clock.now = 5.0
    assert feed.look().seconds == pytest.approx(20.0)
    feed.paused = True
    clock.now = 50.0
    assert feed.look().seconds == pytest.approx(20.0)
    feed.paused = False
    clock.now = 51.0
    assert feed.look().seconds == pytest.approx(24.0)
    clock.now = 1e6
    assert feed.look().seconds == pytest.approx(feed.ended_seconds)
    feed.close()


def test_a_run_in_which_a_card_is_lost_is_played_with_it(tmp_path: Path) -> None:
    run = RUNS["lost"](str(tmp_path))
    run.crash()
    feed = replay_of(run.path, Clock())
    assert {one.state for one in at(feed, 20.0).gpus} == {"working"}
    assert [one.number for one in at(feed, 38.0).gpus if one.state == "lost"] == [4]
    feed.close()


def test_a_copied_store_shows_the_same_as_the_one_it_is_of(runs: Runs, tmp_path: Path) -> None:
    run = runs("failed")
    copy = str(tmp_path / os.path.basename(run.path))
    shutil.copy(run.path, copy)
    feed = StoreFeed(copy, run.want, expected=expected_by(run.want), clock=lambda: run.hand.monotonic)
    assert feed.look() == looked(run)
    feed.close()


def facts(one: GpuRow) -> tuple[object, ...]:
    return (
        one.key, one.rate, one.sample, one.core_celsius, one.watts, one.errors, one.wrong, one.state,
        [(link.bdf, link.width, link.errors) for link in one.chain])




def test_a_run_is_opened_when_the_screen_stands_and_not_before(runs: Runs) -> None:
    run, opened = runs("finished"), []

    def make(path: str) -> StoreFeed:
        opened.append(path)
        return feed_of(run)

    later = Later(run.path, make)
    assert (later.path, opened) == (run.path, [])
    assert later.look() == looked(run)
    assert opened == [run.path]
