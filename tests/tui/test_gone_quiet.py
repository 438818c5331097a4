"""What is known of a run that was gone on with after a restart, that nobody writes any more, or of which a part is read no
more: no value of before, no zero, no pass."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import pytest

from boxcheck.engine.told_troubles import Telling
from boxcheck.model import Outcome, Unread
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import reopen_run
from boxcheck.store.reader import RunReader
from boxcheck.stress import Trouble
from boxcheck.stress.boundaries import in_words
from boxcheck.telemetry.boundary import Snapshot, difference
from boxcheck.telemetry.readings import LinkReading
from boxcheck.tui.ends import planned_seconds
from boxcheck.tui.feed import StoreFeed
from boxcheck.tui.frame import Frame, GpuRow, LinkView
from boxcheck.tui.look import UNICODE, outcome_of, reason_of, style_of, word_of
from boxcheck.tui.replay import ReplayFeed
from boxcheck.tui.screens.gpu_texts import head
from boxcheck.tui.screens.runs import OpenRun
from boxcheck.tui.unheard import lost, unheard
from boxcheck.tui.widgets.gpus import COLUMNS
from boxcheck.tui.widgets.panes import link_errors
from tests.tui.box import Burning
from tests.tui.conftest import Frames, Runs
from tests.tui.runs import PCIE5, PLAN
from tests.tui.showing import Still, app_over, on_screen, press, run, settled, text, until

discover()
discover_stress()

replace = msgspec.structs.replace


def cells(row: GpuRow, *, live: bool = True) -> dict[str, str]:
    return {one.title: one.cell(row, UNICODE, live)[0] for one in COLUMNS}


def look(made: Burning, later: float = 0.0) -> Frame:
    made.store.flush()
    feed = StoreFeed(made.path, made.want, clock=lambda: made.hand.monotonic + later)
    try:
        return feed.look()
    finally:
        feed.close()


# After a restart


def gone_on(folder: str) -> Burning:
    """Matrix products, then the machine was down for ten minutes; since then nothing is read of PCIE7."""
    made = Burning(folder, planned=PLAN)
    made.doctor("doctor before")
    made.load("matmul", 40)
    made.store.flush()
    made.store.close()
    made.hand.wall += 600.0
    made.hand.monotonic = 50.0
    made.store = reopen_run(made.path, version="0.4.0", clock=made.hand.clock(), boot="b1")
    made.silent = {6}
    made.load("p2p", 6, planned=120.0, ends=False)
    return made


def test_a_reading_of_before_a_restart_is_as_old_as_it_is(tmp_path: Path) -> None:
    made = gone_on(str(tmp_path))
    frame = look(made)
    silent = frame.gpus[6]
    assert silent.told_seconds == pytest.approx(607, abs=2)
    assert silent.state == "silent"
    assert {cells(silent)[title] for title in ("core", "power", "link", "errors")} == {"-"}
    assert (word_of(frame), frame.watts_of) == ("UNKNOWN", 6)
    assert {one.state for one in frame.gpus[:6]} == {"ok"}
    assert max(one.told_seconds or 0.0 for one in frame.gpus[:6]) < 2
    made.close()


def test_a_run_that_was_cut_off_after_a_restart_is_as_old_as_its_last_record(tmp_path: Path) -> None:
    made = gone_on(str(tmp_path))
    with RunReader(made.path) as reader:
        began = reader.run().sessions[-1].began.seconds
    made.crash()
    assert look_at_end(made).seconds == pytest.approx(began + 6, abs=1)


def look_at_end(made: Burning) -> Frame:
    feed = StoreFeed(made.path, made.want, clock=lambda: made.hand.monotonic)
    try:
        return feed.look()
    finally:
        feed.close()


def test_the_time_in_which_a_run_stood_is_no_part_of_its_plan_that_is_done(tmp_path: Path) -> None:
    made = gone_on(str(tmp_path))
    frame = look(made)
    with RunReader(made.path) as reader:
        assert planned_seconds(reader.run().info.plan, ()) == 236.0
    # p2p has 114 of its 120 s to go, then come copies and doctor.
    assert frame.planned_seconds == pytest.approx(frame.seconds + 114 + 40 + 8, abs=1)
    assert frame.fraction is not None
    assert frame.fraction < 0.9
    made.close()


def test_a_replay_over_the_time_in_which_a_run_stood_knows_nothing_of_it(tmp_path: Path) -> None:
    made = gone_on(str(tmp_path))
    made.crash()
    now = [0.0]
    feed = ReplayFeed(made.path, made.want, clock=lambda: now[0])
    seen = {}
    for moment in (30.0, 300.0, feed.ended_seconds - 1.0):
        now[0] = moment
        seen[moment] = feed.look()
    feed.close()
    before, between, after = seen.values()
    assert before.gpus[6].told_seconds == pytest.approx(0.9, abs=0.2)
    assert {one.state for one in before.gpus} == {"working"}
    assert between.unheard_seconds > 200
    assert {(one.watts, one.rate, one.errors) for one in between.gpus} == {(None, None, None)}
    assert (after.gpus[0].told_seconds or 0.0) < 2
    assert (after.gpus[6].told_seconds or 0.0) > 600


# Judged by doctor alone


def test_doctors_checks_alone_are_no_pass_of_a_burn(tmp_path: Path) -> None:
    made = Burning(str(tmp_path), planned=PLAN)
    made.doctor("doctor before")
    made.load("matmul", 10, planned=60.0, ends=False)
    frame = look(made)
    assert frame.judged > 0
    assert {one.state for one in frame.gpus} == {"working"}
    assert (word_of(frame), outcome_of(frame), style_of(frame)) == ("UNKNOWN", Outcome.UNKNOWN, "$unknown")
    assert "no load was judged" in reason_of(frame)
    made.close()


def test_a_load_that_was_judged_is_a_pass_so_far(runs: Runs) -> None:
    frame = look(runs("all-well"))
    assert ({one.state for one in frame.gpus}, word_of(frame)) == ({"ok"}, "PASSING")


# Nobody writes


def processors(folder: str) -> Burning:
    made = Burning(
        folder, processor=True, planned=(("matmul", 30.0), ("cpu", 120.0)), profile="generic", capture=False,
        serial="HOST-1")
    made.load("cpu", 20, planned=120.0, ends=False)
    return made


@pytest.mark.parametrize(("later", "known"), [(0.0, True), (9.0, True), (11.0, False), (38.0, False), (300.0, False)])
def test_a_run_that_nobody_writes_any_more_is_not_known(tmp_path: Path, later: float, known: bool) -> None:
    made = processors(str(tmp_path))
    frame = look(made, later)
    assert (frame.unheard_seconds == 0.0) is known
    assert ("nothing read for" in reason_of(frame)) is not known
    assert ({one.state for one in frame.gpus} == {"working"}) is known
    assert word_of(replace(frame, outcome=Outcome.PASS)) == ("PASSING" if known else "UNKNOWN")
    if not known:
        assert {(one.rate, one.history) for one in frame.gpus} == {(None, ())}
    made.close()


def test_gpus_of_a_run_that_nobody_writes_show_nothing_and_no_zero(runs: Runs) -> None:
    made = runs("all-well")
    for later in (5.0, 12.0, 130.0):
        frame = look(made, later)
        assert word_of(frame) == "UNKNOWN"
        assert {cells(one)["errors"] for one in frame.gpus} == {"-"}
        assert {link_errors(link)[0][0] for one in frame.gpus for link in one.chain} == {"not read any more"}
    assert "nothing read for 13" in reason_of(frame)


def test_between_two_loads_a_run_may_say_nothing_for_a_while(tmp_path: Path) -> None:
    made = Burning(str(tmp_path), planned=PLAN)
    made.load("matmul", 12)
    made._begin("doctor after", "", 8.0)
    assert look(made, 100.0).unheard_seconds == 0.0
    assert word_of(look(made, 130.0)) == "UNKNOWN"
    made.close()


# Errors and links


def link(**fields: object) -> LinkView:
    given = {
        "bdf": "0000:01:00.0", "speed_gts": 16.0, "width": 16, "best_gts": 16.0, "best_width": 16, "errors": (),
        "counted": True, "gone": False, "age_seconds": 0.5}
    return LinkView(**{**given, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(("fields", "shown", "words"), [
    ({}, "0", "0"),
    ({"errors": (("BadTLP", 7),)}, "7", "BadTLP 7"),
    ({"errors": (("NonFatalErr", 7),)}, "0", "NonFatalErr 7"),
    ({"gone": True}, "-", "not read any more"),
    ({"age_seconds": 9.0}, "-", "not read any more"),
    ({"counts_now": False}, "-", "not read any more"),
    ({"counted": False}, "-", "nothing counts here"),
    ({"gone": True, "errors": (("BadTLP", 7),)}, "7", "BadTLP 7, not read any more")])
def test_a_zero_is_of_a_link_whose_counters_are_read_now(
    stills: Frames, fields: dict[str, object], shown: str, words: str
) -> None:
    one = replace(stills("all-well").frame.gpus[0], chain=(link(**fields),))
    assert cells(one)["errors"] == shown
    assert link_errors(one.chain[0])[0][0] == words


def test_what_a_link_has_no_part_in_is_told_without_alarm() -> None:
    assert [link_errors(link(errors=((name, 7),)))[0][1] for name in ("NonFatalErr", "BadTLP", "nonfatal UnsupReq")] == [
        "", "$fail", "$fail"]


def test_a_hop_that_is_read_no_more_takes_the_zero_of_the_whole_way(stills: Frames) -> None:
    row = stills("all-well").frame.gpus[0]
    assert cells(row)["errors"] == "0"
    upper, lower = row.chain
    assert cells(replace(row, chain=(upper, replace(lower, gone=True))))["errors"] == "-"


def test_counters_that_are_not_told_any_more_are_no_zero(runs: Runs) -> None:
    from tests.tui.test_state import link_reading, made_state

    state = made_state(runs)
    state.take_reading(link_reading(1.0, 400))
    assert cells(state.frame(2.0, live=True).gpus[0])["errors"] == "0"
    no = Unread("permission denied", "permission")
    state.take_reading(replace(link_reading(2.0, 0), correctable=no, nonfatal=no, fatal=no))
    assert cells(state.frame(3.0, live=True).gpus[0])["errors"] == "-"


def test_errors_of_before_a_restart_stay_when_counters_begin_anew(runs: Runs) -> None:
    from tests.tui.test_state import link_reading, made_state

    state = made_state(runs)
    for at, count, shown in ((1.0, 400, "0"), (2.0, 412, "12"), (3.0, 0, "12"), (4.0, 5, "17")):
        state.take_reading(link_reading(at, count))
        assert cells(state.frame(at + 1.0, live=True).gpus[0])["errors"] == shown


def test_a_frame_that_is_late_has_no_zero_either(stills: Frames) -> None:
    late = unheard(stills("all-well").frame, 3.1)
    assert {one.errors for one in late.gpus} == {None}


def test_a_lost_gpu_shows_no_link_of_the_bridge_above_it(runs: Runs) -> None:
    row = look(runs("lost")).gpus[PCIE5]
    assert row.state == "lost"
    assert cells(row)["link"] == "gone"
    upper = tuple(replace(one, gone=False) for one in row.chain)
    assert cells(replace(row, chain=upper))["link"] == "-"


def test_errors_of_every_hop_are_counted_from_the_first_reading_of_the_run(tmp_path: Path) -> None:
    """A run that is opened late, whose first minute has many readings of each function."""
    made = Burning(str(tmp_path), planned=PLAN)
    card = made.machine._chains[PCIE5][-1]

    def each(second: int) -> None:
        if second == 70:
            made.machine.errors[card] = 61

    made.load("matmul", 150, planned=200.0, ends=False, each=each)
    row = look(made).gpus[PCIE5]
    with RunReader(made.path) as reader:
        counts = [
            count.count for one in reader.readings() if isinstance(one, LinkReading) and one.bdf == card
            for count in one.correctable or () if count.name == "BadTLP"]
    assert sum(number for name, number in row.chain[-1].errors if name == "BadTLP") == counts[-1] - counts[0]
    made.close()


# Rates


def test_a_rate_of_a_silent_gpu_is_marked_as_old_when_a_reading_would_be(stills: Frames) -> None:
    row = replace(stills("stale").frame.gpus[6], rate=25.0, expected=26.0)
    assert row.state == "silent"
    for age, shown, part in ((1.0, "25.0", "96 %"), (5.0, "(25.0)", "-"), (130.0, "-", "-")):
        found = cells(replace(row, rate_age_seconds=age))
        assert (found["rate"], found["of exp."]) == (shown, part)
    assert cells(replace(row, state="ok", rate_age_seconds=5.0))["rate"] == "25.0"


def test_ages_hold_when_a_store_can_no_longer_be_read(stills: Frames) -> None:
    still = stills("all-well")
    old = replace(still.frame, gpus=tuple(replace(one, rate_age_seconds=60.0) for one in still.frame.gpus))
    gone = lost(old, "disk full", still.path)
    assert "60 s ago" in head(gone.gpus[0], gone, UNICODE, 120).plain
    assert not lost(stills("finished").frame, "disk full", still.path).ages_count

    async def test() -> None:
        app = app_over(Still(still.path, gone))
        async with on_screen(app, (120, 34)):
            assert "(" in text(app).partition("PCIE1")[2].partition("\n")[0]

    run(test)


# Another run


class Hanging(Still):
    """Of a disk that does not answer until it is told to."""

    def __init__(self, path: str, frame: Frame) -> None:
        super().__init__(path, frame)
        self.go, self.closed = threading.Event(), threading.Event()

    def look(self) -> Frame:
        self.go.wait(20.0)
        return super().look()

    def close(self) -> None:
        self.closed.set()


def test_a_run_whose_first_look_hangs_is_shown_as_such_and_holds_up_no_other(stills: Frames) -> None:
    first, other = stills("all-well"), stills("failed")
    hanging = Hanging("/nowhere/hangs.sqlite", first.frame)
    feeds = {hanging.path: hanging, other.path: other}

    async def test() -> None:
        app = app_over(first, opens=lambda path: feeds[path], every_seconds=0.05, stop=lambda path: "told")
        async with on_screen(app, (120, 34)) as pilot:
            await until(pilot, lambda: "PASSING" in text(app))
            app.post_message(OpenRun(hanging.path))
            await until(pilot, lambda: "OPENING" in text(app))
            assert not {"PASSING", "PCIE1", " W "} & {word for word in ("PASSING", "PCIE1", " W ") if word in text(app)}
            assert "hangs" in text(app)
            assert not app.can_stop
            await press(pilot, "b")
            await press(pilot, "b")
            await until(pilot, lambda: "nothing read for" in text(app))
            app.post_message(OpenRun(other.path))
            await until(pilot, lambda: "FAILED" in text(app))
            hanging.go.set()
            await until(pilot, hanging.closed.is_set)
            assert "FAILED" in text(app)

    run(test)


def test_a_run_that_hangs_while_it_is_opened_is_said_and_comes_not_after_another(stills: Frames) -> None:
    first, other, late = stills("all-well"), stills("failed"), Hanging("/nowhere/late.sqlite", stills("marginal").frame)
    go = threading.Event()

    def opens(path: str) -> Still:
        if path == late.path:
            go.wait(20.0)
            return late
        return other

    async def test() -> None:
        app = app_over(first, opens=opens, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            app.post_message(OpenRun(late.path))
            await until(pilot, lambda: "still being opened" in text(app))
            app.post_message(OpenRun(other.path))
            await until(pilot, lambda: "FAILED" in text(app))
            go.set()
            await until(pilot, late.closed.is_set)
            await settled(pilot)
            assert "FAILED" in text(app)

    run(test)


def test_the_first_run_whose_look_hangs_is_said_to_hang(stills: Frames) -> None:
    hanging = Hanging(os.path.join("/nowhere", "hangs.sqlite"), stills("all-well").frame)

    async def test() -> None:
        app = app_over(hanging, every_seconds=0.05)
        async with app.run_test(size=(120, 34)) as pilot:
            await until(pilot, lambda: "OPENING" in text(app) and "nothing read for" in text(app))
            hanging.go.set()
            await until(pilot, lambda: "PASSING" in text(app))
            app._over.set()
            app._now.set()

    run(test)


# What the engine says


def test_where_nothing_counts_no_counter_is_said_not_to_have_grown() -> None:
    first, second = (Snapshot(monotonic_seconds=at) for at in (1.0, 2.0))
    assert in_words(difference(first, second)) == "no counters here"
    unread = replace(second, memory={"mc0 corrected": Unread("permission denied", "permission")})
    assert in_words(difference(unread, unread)) == "no counter could be read both times"
    read = [replace(one, memory={"mc0 corrected": 4}) for one in (first, second)]
    assert in_words(difference(*read)) == "no counter grew"


@pytest.mark.parametrize(("kind", "severity"), [("stopped", "warn"), ("hang", "fail")])
def test_a_worker_that_somebody_stopped_is_no_failure(tmp_path: Path, kind: str, severity: str) -> None:
    made = Burning(str(tmp_path), planned=PLAN)
    Telling(made.store, None).trouble(0, Trouble(gpus=("cuda:0",), module="matmul", kind=kind, says="it was ended", help=""))
    made.store.flush()
    with RunReader(made.path) as reader:
        assert [one.severity for one in reader.events() if one.kind == f"worker-{kind}"] == [severity]
    made.close()
