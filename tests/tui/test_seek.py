"""A run that is played again: what is shown at a moment is the same whether one played up to it or jumped there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.store.database import Database
from boxcheck.store.reader import RunReader
from boxcheck.tui.expected import expected_by
from boxcheck.tui.frame import Frame
from boxcheck.tui.kept import EVERY_SECONDS, MOST, Moments
from boxcheck.tui.replay import ReplayFeed
from boxcheck.tui.state import HISTORY_SECONDS
from boxcheck.tui.tape import KINDS, Numbered, Place, Tape
from tests.bench.store_size import simulate
from tests.tui.box import Burning
from tests.tui.conftest import Runs
from tests.tui.runs import PLAN

SECONDS = 2400


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a run of one GPU, which is long enough."""
    return simulate(str(tmp_path_factory.mktemp("long")), seconds=SECONDS, gpus=1)


def replay_of(path: str, *, every_seconds: float = 10.0) -> ReplayFeed:
    """The clock stands still: it goes where it is told to, and nowhere else."""
    discover()
    discover_stress()
    want = load_profile("wopr-7x4090")
    return ReplayFeed(
        path, want, expected=expected_by(want), clock=lambda: 0.0, moments=Moments(every_seconds))


def at(feed: ReplayFeed, seconds: float) -> Frame:
    """What it shows at a moment of the run."""
    feed.by(seconds - feed._at)
    return feed.look()


def jumped(path: str, seconds: float) -> Frame:
    """What one shows that was opened just now."""
    feed = replay_of(path)
    try:
        return at(feed, seconds)
    finally:
        feed.close()


@pytest.mark.parametrize("name", ["finished", "failed", "crashed", "stale"])
def test_played_to_a_moment_or_jumped_there_on_or_back_it_shows_the_same(runs: Runs, name: str) -> None:
    """In steps of five seconds, then at moments in any order by the same one, and each by one that comes from nothing."""
    path, some, moment = runs(name).path, random.Random(7), 0.0
    feed, played = replay_of(path), dict[float, Frame]()
    while moment < feed.ended_seconds:
        moment = min(feed.ended_seconds, moment + 5.0)
        played[moment] = at(feed, moment)
    for where in some.sample(list(played), 6):
        assert at(feed, where) == played[where], f"back or on at {where} s"
        assert jumped(path, where) == played[where], f"at once to {where} s"
    feed.close()


def test_what_was_gone_through_is_used_and_shows_the_same(long: str) -> None:
    feed = replay_of(long, every_seconds=EVERY_SECONDS)
    played = {moment: at(feed, moment) for moment in map(float, range(20, SECONDS, 220))}
    assert len(feed._moments) == pytest.approx(SECONDS / EVERY_SECONDS, abs=15)
    for where in random.Random(3).sample(list(played), 8):
        assert at(feed, where) == played[where]
    assert played[1120.0].gpus[0].checked > played[900.0].gpus[0].checked > 0
    feed.close()


def test_a_jump_of_a_minute_reads_a_few_minutes_and_not_all_before_it(
    long: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[int]()
    made = Database._of_block

    def counting(base: Database, row: tuple[Any, ...], plain: bytes) -> Any:
        read.append(row[4])
        return made(base, row, plain)

    feed = replay_of(long, every_seconds=EVERY_SECONDS)
    at(feed, SECONDS - 1.0)
    monkeypatch.setattr(Database, "_of_block", counting)
    most = 0
    for back in (60.0, 120.0, 180.0, 240.0, 300.0, 240.0, 180.0, 1800.0, 1740.0, 60.0):
        read.clear()
        at(feed, SECONDS - 1.0 - back)
        most = max(most, len(set(read)))
    assert 0 < most <= 7
    feed.close()


def test_of_a_very_long_run_no_more_moments_are_kept_than_fit_and_they_stay_in_order(runs: Runs) -> None:
    feed = replay_of(runs("finished").path)
    moments = Moments(1.0)
    for second in range(5 * MOST):
        if moments.wants(float(second)):
            moments.keep(float(second), Place(second, 0), 0, set(), feed._fresh())
    assert MOST / 2 <= len(moments) <= MOST
    found = [moments.before(float(second)) for second in range(0, 5 * MOST, 50)]
    assert all(one is None or one.at <= second - HISTORY_SECONDS for second, one in zip(
        range(0, 5 * MOST, 50), found, strict=True))
    assert [one.at for one in found if one] == sorted(one.at for one in found if one)
    last = found[-1]
    assert last is not None
    assert 5 * MOST - HISTORY_SECONDS - last.at < 100
    feed.close()


@pytest.mark.parametrize("cut", [0.0, 13.0, 59.5, 60.5, 100.0, 140.0])
def test_a_tape_that_begins_in_the_middle_hands_out_what_was_left(runs: Runs, cut: float) -> None:
    with RunReader(runs("finished").path) as reader:
        whole = Tape(reader)
        every = [number for due in whole.until(1e9) for number, _, _ in due]
        whole.close()
        first = Tape(reader)
        before = [number for due in first.until(cut) for number, _, _ in due]
        first.close()
        second = Tape(reader, first.place)
        after = [number for due in second.until(1e9) for number, _, _ in due]
        second.close()
        stored = {number for minute in reader.database.records(KINDS) for rows in minute for number in rows.numbers}
    assert before + after == sorted(before + after)
    assert not set(before) & set(after)
    assert set(every) <= stored
    assert set(before) | set(after) <= stored
    assert max(every) == max(after) == max(stored)


def test_a_run_that_was_cut_off_with_records_that_were_not_folded_is_gone_through_as_well(tmp_path: Path) -> None:
    run = Burning(str(tmp_path), planned=PLAN)
    run.load("matmul", 30)
    run.load("p2p", 165, ends=False)
    run.crash()
    feed = replay_of(run.path)
    played = {float(moment): at(feed, float(moment)) for moment in range(5, 196, 10)}
    for where in (195.0, 135.0, 165.0, 35.0, 175.0):
        assert at(feed, where) == played[where]
    feed.close()


def test_reading_takes_no_time_of_what_is_played(long: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a speed that the machine cannot keep up with makes each look longer than the one before."""
    now, until = [0.0], Tape.until

    def slow(tape: Tape, at: float) -> Iterator[list[Numbered]]:
        now[0] += 10.0
        return until(tape, at)

    monkeypatch.setattr(Tape, "until", slow)
    feed, seen = ReplayFeed(long, load_profile("generic"), speed=100.0, clock=lambda: now[0]), list[float]()
    for _ in range(5):
        now[0] += 0.25
        seen.append(feed.look().seconds)
    assert [after - before for before, after in pairwise(seen)] == pytest.approx([25.0] * 4)
    feed.close()
