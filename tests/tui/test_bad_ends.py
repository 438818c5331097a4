"""Runs that end badly while somebody looks on: killed, deleted, with a clock that jumps."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from boxcheck.model import Outcome
from boxcheck.profile import load_profile
from boxcheck.store.errors import StoreError
from boxcheck.tui.feed import StoreFeed
from boxcheck.tui.look import word_of
from boxcheck.tui.screens.doctor import DoctorScreen
from tests.tui.box import Burning
from tests.tui.conftest import Frames
from tests.tui.runs import PLAN
from tests.tui.showing import app_over, on_screen, press, run, text, until


def test_a_run_whose_process_is_killed_is_said_to_have_crashed_on_the_screen(tmp_path: Path) -> None:
    with subprocess.Popen(
            [sys.executable, "-m", "tests.tui.writing", str(tmp_path), "4000"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path, began = process.stdout.readline().split()
        started = time.monotonic()
        feed = StoreFeed(path, load_profile("wopr-7x4090"), clock=lambda: float(began) + time.monotonic() - started)

        async def test() -> None:
            app = app_over(feed, every_seconds=0.05)
            async with on_screen(app, (120, 34)) as pilot:
                await until(pilot, lambda: "PCIE3" in text(app) and "verdict so far" in text(app))
                process.send_signal(signal.SIGKILL)
                await until(pilot, lambda: "CRASHED" in text(app))
                assert "cut off in matmul; nobody works on it" in text(app)
                assert "PASS" not in text(app)
                assert "as it was at the end" in text(app)

        try:
            run(test)
        finally:
            process.kill()
    feed.close()


def deleted(run: Burning) -> None:
    os.unlink(run.path)


def with_its_folder(run: Burning) -> None:
    shutil.rmtree(os.path.dirname(run.path))


def another(run: Burning) -> None:
    other = f"{run.path}.other"
    shutil.copy(run.path, other)
    os.replace(other, run.path)


@pytest.mark.parametrize("how", [deleted, with_its_folder, another])
@pytest.mark.parametrize("over", [False, True])
def test_a_store_that_is_deleted_under_a_screen_leaves_no_verdict_standing(
    tmp_path: Path, how: Callable[[Burning], None], over: bool
) -> None:
    made = Burning(str(tmp_path / "runs"), planned=PLAN)
    made.load("matmul", 12)
    if over:
        made.finish()
    made.store.flush()
    feed = StoreFeed(made.path, made.want, clock=lambda: made.hand.monotonic)
    assert feed.look().outcome is Outcome.PASS
    how(made)
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            feed.look()
        assert "was deleted, or another file lies in its place" in str(caught.value)
    feed.close()
    made.close()


def test_a_deleted_store_is_lost_on_the_screen(tmp_path: Path) -> None:
    made = Burning(str(tmp_path / "runs"), planned=PLAN)
    made.load("matmul", 12)
    made.store.flush()

    def opens(path: str) -> StoreFeed:
        return StoreFeed(path, made.want, clock=lambda: made.hand.monotonic)

    async def test() -> None:
        app = app_over(opens(made.path), opens=opens, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            await until(pilot, lambda: "PASSING" in text(app))
            deleted(made)
            await until(pilot, lambda: "LOST" in text(app))
            assert "PASSING" not in text(app)
            assert "LOST  was deleted, or another file lies in its place: 2026-" in text(app)

    run(test)
    made.close()


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0, 4e8])
def test_a_wall_clock_that_jumps_under_load_moves_no_age_and_no_end(tmp_path: Path, seconds: float) -> None:
    made = Burning(str(tmp_path), planned=PLAN)

    def each(second: int) -> None:
        made.hand.wall += seconds if second == 5 else 0.0

    made.load("matmul", 12, each=each, ends=False)
    made.store.flush()
    feed = StoreFeed(made.path, made.want, clock=lambda: made.hand.monotonic)
    frame = feed.look()
    feed.close()
    made.close()
    assert frame.seconds == pytest.approx(12.0, abs=0.1)
    assert all(one.told_seconds is not None and 0 <= one.told_seconds < 2 for one in frame.gpus)
    assert all(0 <= one.seconds <= 12.1 for one in frame.events)
    assert frame.fraction == pytest.approx(12.0 / 236.0)
    assert word_of(frame) == "UNKNOWN"


def test_a_clock_that_goes_back_between_two_looks_shows_no_negative_time(tmp_path: Path) -> None:
    """As after a restart, where what is asked is another boot's clock."""
    made = Burning(str(tmp_path), planned=PLAN)
    made.load("matmul", 12, ends=False)
    made.store.flush()
    clock = [made.hand.monotonic]
    feed = StoreFeed(made.path, made.want, clock=lambda: clock[0])
    feed.look()
    clock[0] -= 1000.0
    frame = feed.look()
    assert frame.seconds == 0.0
    assert all((one.told_seconds or 0.0) >= 0.0 for one in frame.gpus)
    feed.close()
    made.close()


def test_leaving_ends_a_doctor_that_reads_and_does_not_wait_for_it(stills: Frames) -> None:
    """What comes after, as a burn-in, is not beside a doctor that wakes links by load."""
    waits = (sys.executable, "-c", "import time; time.sleep(90)")
    children: list[subprocess.Popen[bytes]] = []

    async def test() -> None:
        app = app_over(stills("failed"), doctor=waits)
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "d")
            await until(pilot, lambda: "doctor after" in text(app))
            screen = app.screen
            assert isinstance(screen, DoctorScreen)
            await press(pilot, "n", "n")
            await until(pilot, lambda: screen._child is not None)
            children.append(screen._child)  # type: ignore[arg-type]

    began = time.monotonic()
    run(test)
    assert time.monotonic() - began < 60.0
    assert children[0].wait(5.0) == -signal.SIGTERM


def test_leaving_does_not_wait_for_a_folder_of_runs_that_hangs(
    stills: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    asked: list[str] = []

    def hangs(folder: str) -> tuple[()]:
        asked.append(folder)
        go.wait(90.0)
        return ()

    monkeypatch.setattr("boxcheck.tui.screens.runs.list_runs", hangs)

    async def test() -> None:
        app = app_over(stills("failed"))
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "r")
            await until(pilot, lambda: bool(asked))

    began = time.monotonic()
    try:
        run(test)
        assert time.monotonic() - began < 60.0
    finally:
        go.set()
