"""What a screen must not say: that what it no longer reads is so now, or that what nobody looked at is well."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from boxcheck.engine import detach
from boxcheck.model import Bdf, Finding, Outcome, Subject, Unread
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Event, Moment
from boxcheck.telemetry.readings import GpuSilent
from boxcheck.tui.feed import StoreFeed, chains_of
from boxcheck.tui.frame import Frame
from boxcheck.tui.look import UNICODE, figure, reason_of, word_of
from boxcheck.tui.replay import ReplayFeed
from boxcheck.tui.state import State
from boxcheck.tui.widgets.gpus import COLUMNS, GpuTable
from tests.tui.box import Burning
from tests.tui.conftest import Frames, Runs
from tests.tui.runs import PLAN
from tests.tui.showing import Still, app_over, frame_of, on_screen, press, run, shown, text, until


class Turning(Still):
    """A feed that breaks, hangs, and comes back."""

    def __init__(self, path: str, frame: Frame) -> None:
        super().__init__(path, frame)
        self.raises: Exception | None = None
        self.go, self.closed = threading.Event(), 0
        self.go.set()

    def look(self) -> Frame:
        self.go.wait(20.0)
        if self.raises is not None:
            raise self.raises
        return super().look()

    def close(self) -> None:
        self.closed += 1


def test_any_error_of_the_thread_that_reads_is_said_and_it_is_tried_again(stills: Frames) -> None:
    async def test() -> None:
        still = stills("all-well")
        feed = Turning(still.path, still.frame)
        app = app_over(feed, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            await until(pilot, lambda: "PASSING" in text(app))
            feed.raises = KeyError("device")
            await until(pilot, lambda: "can no longer be read: KeyError" in text(app))
            assert "PASSING" not in text(app)
            feed.raises = None
            await until(pilot, lambda: "PASSING" in text(app))
            assert "LOST" not in text(app)

    run(test)


def test_a_feed_that_hangs_leaves_no_live_figure_standing(stills: Frames) -> None:
    async def test() -> None:
        still = stills("all-well")
        feed = Turning(still.path, still.frame)
        app = app_over(feed, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            await until(pilot, lambda: " W " in text(app))
            feed.go.clear()
            await until(pilot, lambda: "nothing read for" in shown(app)[2])
            assert "PASSING" not in text(app)
            assert "UNKNOWN" in shown(app)[2]
            assert " W " not in "\n".join(shown(app)[2:14])
            assert "°C" not in text(app)
            feed.go.set()
            await until(pilot, lambda: "PASSING" in text(app) and " W " in text(app))

    run(test)


def test_a_frame_that_is_late_keeps_what_failed(stills: Frames) -> None:
    from boxcheck.tui.unheard import unheard

    late = unheard(stills("lost").frame, 9.0)
    assert word_of(late) == "FAILING"
    assert "lost" in {row.state for row in late.gpus}
    assert all(row.watts is None and row.rate is None for row in late.gpus)


@pytest.mark.parametrize(("answer", "says"), [
    (StoreError("damaged", "the store is damaged: page 3"), "not told to stop: the store is damaged"),
    ("not permitted", "not permitted"), ("nobody", "nobody works on this run"), ("told", "the load ends")])
def test_what_became_of_the_wish_to_end_a_run_is_said(stills: Frames, answer: Exception | str, says: str) -> None:
    def stop(path: str) -> str:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def test() -> None:
        app = app_over(stills("all-well"), stop=stop)
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "s", "y")
            await until(pilot, lambda: says in text(app))

    run(test)


def test_the_run_of_another_user_is_not_told_to_stop(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(detach, "_is_engine", lambda pid: True)
    monkeypatch.setattr(os, "kill", kill)
    assert detach.tell_to_stop(runs("all-well").path) == "not permitted"
    monkeypatch.setattr(detach, "_is_engine", lambda pid: False)
    assert detach.tell_to_stop(runs("all-well").path) == "nobody"


def test_a_feed_that_is_dropped_is_closed(stills: Frames) -> None:
    one, other = (Turning(stills(name).path, stills(name).frame) for name in ("all-well", "failed"))
    given = stills("finished")
    feeds = iter((one, other))

    async def test() -> None:
        app = app_over(given, opens=lambda path: next(feeds), every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            app._change_feed("a")
            await until(pilot, lambda: app.feed is one)
            app._change_feed("b")
            await until(pilot, lambda: one.closed == 1)
            assert other.closed == 0

    run(test)


# The state


def state_of(run: Burning) -> State:
    with RunReader(run.path) as reader:
        state = State(reader.run(), run.want, chains=chains_of(reader))
        state.take_run(reader.run(), reader.phases())
        for one in reader.readings():
            state.take_reading(one)
        for phase in reader.phases():
            state.take_findings(reader.findings(phase.plan.number))
    return state


def test_that_its_instruments_tell_nothing_is_no_reading_of_a_gpu(runs: Runs) -> None:
    made = runs("all-well")
    state, now = state_of(made), made.hand.monotonic - 1000.0
    assert word_of(state.frame(now, live=True)) == "PASSING"
    state.take_reading(GpuSilent(
        bdf=Bdf(str(made.infos[4].bdf)), monotonic_seconds=made.hand.monotonic + 20.0, state="unread",
        why=Unread("the driver does not answer", "timeout")))
    frame = state.frame(now + 1.0, live=True)
    assert (frame.gpus[4].state, frame.outcome, word_of(frame)) == ("silent", Outcome.PASS, "UNKNOWN")
    assert frame.gpus[4].told_seconds == pytest.approx(1.9, abs=0.2)
    assert "the driver does not answer" in reason_of(frame)
    assert frame.watts_of == 6


def test_a_gpu_that_was_silent_to_the_end_is_so_when_the_run_is_over(tmp_path: Path) -> None:
    made = Burning(str(tmp_path), planned=PLAN)
    made.load("matmul", 12)

    def each(second: int) -> None:
        made.silent |= {6} if second >= 3 else set()

    made.load("p2p", 30, each=each)
    made.finish()
    frame = frame_of(made)
    silent = frame.gpus[6]
    assert not frame.live
    assert silent.state == "silent"
    assert "silent at the end" in silent.why
    assert {column.cell(silent, UNICODE, False)[0] for column in COLUMNS if column.title in ("core", "power")} == {"-"}
    assert {row.state for row in frame.gpus[:6]} == {"ok"}
    assert "silent at the end" in reason_of(frame)


FAILS = (
    ("worker-hang", None, True), ("worker-crash", None, True), ("worker-lost", None, True), ("safety-stop", None, True),
    ("wrong-result", None, True), ("device-dead", None, True), ("gpu-lost", None, True),
    ("xid", {"source": "log"}, True), ("memory-uncorrected", {"source": "memory"}, True),
    ("doctor-stuck", None, False), ("boxcheck-broke", None, False), ("safety-blind", None, False),
    ("worker-no-memory", None, False), ("log-left", None, False), ("what-comes-later", None, False))


@pytest.mark.parametrize(("kind", "data", "fails"), FAILS)
def test_only_events_that_a_check_fails_for_decide_before_it_did(
    runs: Runs, kind: str, data: object, fails: bool
) -> None:
    state = state_of(runs("all-well"))
    state.take_events([Event(
        number=1, phase=1, at=Moment(1.0, 0.0), kind=kind, severity="fail", subject="cuda:0", says="bad", data=data)])
    frame = state.frame(runs("all-well").hand.monotonic - 1000.0, live=True)
    assert frame.outcome is (Outcome.FAIL if fails else Outcome.PASS)
    assert frame.events[-1].says == "bad"


def test_an_event_of_the_log_does_not_decide_where_its_check_is_advice(runs: Runs) -> None:
    made = runs("all-well")
    with RunReader(made.path) as reader:
        want = msgspec.structs.replace(made.want, advisory=(*made.want.advisory, "burn.log"))
        state = State(reader.run(), want)
    state.take_events([Event(
        number=1, phase=1, at=Moment(1.0, 0.0), kind="xid", severity="fail", subject="", says="bad",
        data={"source": "log"})])
    assert state.frame(1.0, live=True).outcome is Outcome.UNKNOWN


# The end


def at_the_end(made: Burning) -> Frame:
    feed = ReplayFeed(made.path, made.want, clock=lambda: 0.0)
    try:
        feed.by(1e6)
        return feed.look()
    finally:
        feed.close()


def with_a_device_gone(folder: str) -> Burning:
    made = Burning(folder, planned=PLAN)
    made.doctor("doctor before")
    made.load("matmul", 12)
    gone = Finding(
        check="burn.devices", subject=Subject("gpu", "GPU", slot="PCIE5"), outcome=Outcome.FAIL, says="left the bus",
        blocker=True)
    made._findings.append(gone)
    made.store.findings(0, [gone])
    made.finish()
    return made


@pytest.mark.parametrize("show", [frame_of, at_the_end])
def test_what_was_found_of_the_whole_run_leads_at_its_end_played_or_not(
    tmp_path: Path, show: Callable[[Burning], Frame]
) -> None:
    frame = show(with_a_device_gone(str(tmp_path)))
    assert (frame.outcome, frame.over, word_of(frame)) == (Outcome.FAIL, True, "FAILED")
    assert [one.check for one in frame.problems] == ["burn.devices"]
    assert "PCIE5" in frame.reason.partition(";")[0]


def test_before_its_end_a_replay_does_not_know_it(tmp_path: Path) -> None:
    made = with_a_device_gone(str(tmp_path))
    feed = ReplayFeed(made.path, made.want, clock=lambda: 0.0)
    feed.by(1e6)
    assert feed.look().outcome is Outcome.FAIL
    feed.by(-1.0)
    back = feed.look()
    assert (back.outcome is Outcome.FAIL, back.over) == (False, False)
    feed.close()


def test_a_run_that_is_over_has_no_bar_and_no_key_to_end_it(stills: Frames) -> None:
    async def test() -> None:
        for name, goes_on in (("all-well", True), ("finished", False)):
            app = app_over(stills(name), stop=lambda path: "told")
            async with on_screen(app, (200, 34)) as pilot:
                await pilot.pause()
                assert ("s stop" in shown(app)[-1]) is goes_on
                assert ("%" in shown(app)[0]) is goes_on

    run(test)


def test_a_watch_without_gpus_counts_none(stills: Frames) -> None:
    frame = msgspec.structs.replace(stills("all-well").frame, gpus=())
    assert GpuTable()._title(frame) == "GPUs"


@pytest.mark.parametrize(("value", "words"), [
    (0.0, "0.00"), (0.004213, "0.00421"), (0.00001234, "1.23e-5"), (0.5, "0.5"), (25.14, "25.1"), (-0.002, "-0.002"),
    (None, "-")])
def test_what_is_not_zero_is_not_shown_as_zero(value: float | None, words: str) -> None:
    assert figure(value) == words


def test_a_feed_that_broke_in_a_look_is_opened_anew(runs: Runs, stills: Frames) -> None:
    """What it summed up so far may have taken half of a look."""
    opened: list[str] = []
    made = runs("all-well")

    def opens(path: str) -> StoreFeed:
        opened.append(path)
        return StoreFeed(path, made.want, clock=lambda: made.hand.monotonic)

    async def test() -> None:
        broken = Turning(made.path, stills("all-well").frame)
        broken.raises = ValueError("half")
        app = app_over(broken, opens=opens, every_seconds=0.05)
        async with app.run_test(size=(120, 34)) as pilot:
            await until(pilot, lambda: "PASSING" in text(app))
            assert opened == [made.path]
            app._over.set()
            app._now.set()

    run(test)


@pytest.mark.parametrize(("processor", "word"), [(True, "UNKNOWN"), (False, "PASSING")])
def test_a_processor_alone_passes_no_box_while_it_works_as_it_passes_none_in_the_end(
    tmp_path: Path, processor: bool, word: str,
) -> None:
    burning = Burning(
        str(tmp_path), processor=processor, planned=(("doctor before", 8.0), ("matmul", 40.0), ("copy", 60.0)),
        profile="generic")
    burning.doctor("doctor before")
    burning.load("matmul", 40)
    burning.load("copy", 20, planned=60.0, ends=False)
    frame = frame_of(burning)
    burning.close()
    assert word_of(frame) == word
    assert (reason_of(frame) == "no GPU worked, the processor alone") is processor
