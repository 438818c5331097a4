"""How far a run is, and when it ends: by a plan, by a time, or by what nobody can know beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.gpu import GpuInfo
from boxcheck.profile import load_profile
from boxcheck.store.creating import create_run
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.tui.ends import left, planned_seconds
from boxcheck.tui.feed import StoreFeed
from boxcheck.tui.frame import Frame
from tests.store.machine import HandClock, Machine
from tests.tui.conftest import Frames
from tests.tui.showing import Still, app_over, on_screen, press, run, shown, text


def watched(folder: Path, plan: dict[str, Any], *, kind: str = "watch", seconds: int = 90) -> Frame:
    """A watch of one GPU that goes on for so long since its instruments were read, three seconds after it began."""
    hand, machine = HandClock(), Machine(1)
    gpus: tuple[GpuInfo, ...] = machine.gpus
    store = create_run(str(folder), RunInfo(kind=kind, version="0", box="W-1", boot="b0", plan=plan), clock=hand.clock())
    hand.pass_by(3.0)
    store.plan_phase(PhasePlan(number=1, name="watch", module="watch", devices=tuple(info.key for info in gpus)))
    store.about(1, "watch")
    store.begin_phase(1, PhaseStart(gpus=gpus))
    for _ in range(seconds):
        hand.pass_by(1.0)
        store.watched(1, machine.told_by(0, hand.monotonic))
    store.flush()
    feed = StoreFeed(store.path, load_profile("generic"), clock=lambda: hand.monotonic)
    try:
        return feed.look()
    finally:
        feed.close()
        store.close()


PLAN = {"name": "watch", "steps": [], "certain": True}


def test_a_watch_for_a_time_shows_how_far_it_is_and_how_much_is_left(tmp_path: Path) -> None:
    frame = watched(tmp_path, {**PLAN, "lasting_seconds": 600.0})
    assert (frame.seconds, frame.planned_seconds) == (pytest.approx(93.0), pytest.approx(603.0))
    assert left(frame) == "00:08:30 left"

    async def test() -> None:
        for width in (80, 120):
            app = app_over(Still("x", frame))
            async with on_screen(app, (width, 30)) as pilot:
                assert "00:01:33 of 00:10:03" in shown(app)[0]
                assert " 15 %" in shown(app)[0]
                assert "00:08:30 left" in shown(app)[2]
                await press(pilot, "b")
                assert "00:08:30 left" in text(app)

    run(test)


def test_a_watch_whose_time_is_over_says_what_it_does_then(tmp_path: Path) -> None:
    frame = watched(tmp_path, {**PLAN, "lasting_seconds": 60.0})
    assert frame.fraction == 1.0
    assert left(frame) == "its time is over; doctor looks once more"
    assert left(msgspec.structs.replace(frame, over=True)) == ""


@pytest.mark.parametrize(("until", "says"), [
    ("the command ends", "00:01:33 until the command ends"), ("process 4711 (python3) ends", "until process 4711"),
    ("it is told to end", "until it is told to end"), ("[red]\x1b[31m", "until [red]"), (7, "00:01:33")])
def test_a_watch_of_which_nobody_knows_the_end_says_what_ends_it_and_counts_no_percent(
    tmp_path: Path, until: object, says: str
) -> None:
    frame = watched(tmp_path, {**PLAN, "until": until})
    assert (frame.planned_seconds, frame.fraction, left(frame)) == (None, None, "")

    async def test() -> None:
        app = app_over(Still("x", frame))
        async with on_screen(app, (80, 24)) as pilot:
            assert says in shown(app)[0]
            assert "%" not in shown(app)[0]
            await press(pilot, "b")
            assert " left" not in text(app)
            assert isinstance(until, int) or says.removeprefix("00:01:33 ") in text(app)

    run(test)


def test_a_watch_that_is_over_says_no_more_what_would_end_it(tmp_path: Path, stills: Frames) -> None:
    frame = msgspec.structs.replace(stills("finished").frame, kind="watch", until="until the command ends")

    async def test() -> None:
        app = app_over(Still("x", frame))
        async with on_screen(app, (120, 30)) as pilot:
            assert "until" not in shown(app)[0]
            await press(pilot, "b")
            assert "until" not in text(app)

    run(test)


@pytest.mark.parametrize(("plan", "seconds"), [
    ({}, None), ({"steps": []}, None), ({"steps": [{"seconds": 60.0}, {"seconds": 40}]}, 100.0),
    ({"steps": [{"seconds": "x"}, 3, {"seconds": 40}], "lasting_seconds": 9}, 40.0), ({"lasting_seconds": "1h"}, None),
    ({"lasting_seconds": 9}, 9.0), ({"steps": None, "lasting_seconds": 9}, 9.0)])
def test_only_what_a_plan_says_in_seconds_is_a_planned_length(plan: dict[str, Any], seconds: float | None) -> None:
    assert planned_seconds(plan, ()) == seconds
