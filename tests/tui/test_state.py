"""A run summed up: nothing held, nothing made up, and the same however it comes."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest

from boxcheck.judge import judge
from boxcheck.model import Bdf, Finding, Outcome, Subject, Unread
from boxcheck.registry import discover, discover_stress
from boxcheck.report.matrices import MAIN
from boxcheck.store.reader import RunReader, StoredSample
from boxcheck.store.results import watching_of
from boxcheck.store.rows import Event, Moment
from boxcheck.stress import Sample
from boxcheck.telemetry.readings import Count, GpuReading, GpuSilent, LinkReading, Reading
from boxcheck.tui.feed import chains_of, is_doctor
from boxcheck.tui.frame import SILENT_SECONDS, Frame, GpuRow
from boxcheck.tui.look import UNICODE
from boxcheck.tui.state import State
from boxcheck.tui.widgets.gpus import COLUMNS
from tests.tui.box import Burning
from tests.tui.conftest import Runs
from tests.tui.runs import PCIE3, PCIE5, RUNS

discover()
discover_stress()


def records(reader: RunReader) -> list[StoredSample | Reading]:
    return [*reader.readings(), *reader.samples()]


def begun(run: Burning, reader: RunReader) -> State:
    state = State(reader.run(), run.want, chains=chains_of(reader))
    state.take_run(reader.run(), reader.phases())
    return state


def take(state: State, one: StoredSample | Reading) -> None:
    if isinstance(one, StoredSample):
        state.take_sample(one)
    else:
        state.take_reading(one)


def summed(run: Burning) -> Frame:
    """All of a run at once."""
    return _summed(run, 0)


@cache
def _summed(run: Burning, frames_between: int) -> Frame:
    """All of it, with so many frames asked for on the way."""
    with RunReader(run.path) as reader:
        state = begun(run, reader)
        every = records(reader)
        step = len(every) // frames_between if frames_between else 0
        for at, one in enumerate(every):
            take(state, one)
            if step and at % step == 0:
                state.frame(run.hand.monotonic - 1000.0, live=True)
        state.take_events(reader.events())
        for phase in reader.phases():
            state.take_findings(reader.findings(phase.plan.number), doctor=is_doctor(phase))
        return state.frame(run.hand.monotonic - 1000.0, live=reader.run().state == "running")


def row(frame: Frame, number: int) -> GpuRow:
    return frame.gpus[number]


def cells(one: GpuRow, live: bool) -> dict[str, str]:
    return {column.title: column.cell(one, UNICODE, live)[0] for column in COLUMNS}


@pytest.mark.parametrize("name", ["all-well", "failing", "lost", "no-gpu"])
def test_frames_asked_for_on_the_way_change_nothing(runs: Runs, name: str) -> None:
    assert _summed(runs(name), 25) == summed(runs(name))


@pytest.mark.parametrize("name", ["all-well", "strix", "finished", "stale"])
def test_a_row_shows_what_the_reader_says_was_read_last(runs: Runs, name: str) -> None:
    run, frame = runs(name), summed(runs(name))
    with RunReader(run.path) as reader:
        newest = {one.bdf: one for one in reader.readings() if isinstance(one, GpuReading)}
    for one in frame.gpus:
        told = newest[one.bdf or Bdf("")]
        heat = {value.name: value.value for value in told.temperatures_celsius}
        assert one.core_celsius == heat.get("core", heat.get("edge"))
        instant = told.power_instant_watts
        assert one.watts == (told.power_watts if isinstance(instant, Unread) else instant)
        if name == "finished":  # of when the last record came, and not of when doctor had looked once more
            assert 0.0 <= (one.told_seconds or 0.0) < 1.0
        else:
            assert one.told_seconds == pytest.approx(run.hand.monotonic - told.monotonic_seconds)


def test_rates_are_of_the_last_sample_of_one_kind_and_the_history_is_of_its_lows(runs: Runs) -> None:
    run, frame = runs("marginal"), summed(runs("marginal"))
    with RunReader(run.path) as reader:
        last = {one.sample.gpu: one for one in reader.samples() if one.sample.what == MAIN}
    for one in frame.gpus:
        assert (one.rate, one.unit, one.sample) == (
            last[one.key].sample.value, last[one.key].sample.unit, last[one.key].sample.what)
        known = [value for value in one.history if value is not None]
        assert len(known) > 1
        assert min(known) <= (one.rate or 0.0)


def test_a_row_does_not_jump_between_kinds_of_copies_nor_from_gb_a_second_to_microseconds(runs: Runs) -> None:
    run, seen = runs("all-well"), set()
    with RunReader(run.path) as reader:
        state = begun(run, reader)
        for number, one in enumerate(reader.samples()):
            state.take_sample(one)
            if one.sample.what.startswith("p2p.") and number % 17 == 0:
                seen |= {(shown.sample, shown.unit) for shown in state.frame(one.seconds, live=True).gpus}
    assert {(what, unit) for what, unit in seen if what.startswith("p2p.")} == {(MAIN, "GB/s")}


def test_copies_beside_others_are_of_another_kind_than_copies_alone(runs: Runs) -> None:
    state = made_state(runs)
    key = runs("all-well").infos[0].key
    for at, together in enumerate(("no", "no", "yes")):
        state.take_sample(StoredSample(at, 1, float(at), 0, Sample(
            what="copy.host-to-device.pinned", gpu=key, peer="host", seconds=0.1, value=26.0 if together == "no" else 9.0,
            unit="GB/s", checked=1, of="bytes", wrong=0, notes={"together": together})))
    one = row(state.frame(3.0, live=True), 0)
    assert (one.what, one.rate) == ("host-to-device.pinned, all at once", 9.0)
    assert [value for value in one.history if value is not None] == [9.0]


def test_the_power_of_all_leaves_out_a_card_that_tells_nothing_and_says_of_how_many_it_is(runs: Runs) -> None:
    frame = summed(runs("stale"))
    assert frame.watts_of == 6
    assert frame.total_watts == pytest.approx(sum(one.watts or 0.0 for one in frame.gpus[:6]))


def test_no_cell_shows_a_reading_that_is_too_old_as_if_it_were_of_now(runs: Runs) -> None:
    silent = row(summed(runs("stale")), 6)
    assert silent.told_seconds is not None
    assert silent.told_seconds > 35
    shown = cells(silent, True)
    assert {shown[title] for title in ("core", "mem", "power", "limit", "link")} == {"-"}
    assert (silent.state, shown["state"]) == ("silent", "SILENT")
    assert "no reading for" in silent.why


@pytest.mark.parametrize(("age", "shown"), [(SILENT_SECONDS - 1, True), (SILENT_SECONDS + 1, False)])
def test_the_age_from_which_a_reading_is_not_shown_is_a_notch(runs: Runs, age: float, shown: bool) -> None:
    run = runs("all-well")
    with RunReader(run.path) as reader:
        state = begun(run, reader)
        for one in records(reader):
            take(state, one)
        newest = max(one.monotonic_seconds for one in reader.readings() if isinstance(one, GpuReading)) - 1000.0
        last = row(state.frame(newest + age, live=True), 6)
    assert (cells(last, True)["core"] != "-") is shown
    assert (last.state == "silent") is not shown


def test_an_old_rate_stands_in_brackets_and_then_is_not_shown(runs: Runs) -> None:
    run = runs("clock-back")
    with RunReader(run.path) as reader:
        state = begun(run, reader)
        for one in records(reader):
            take(state, one)
        now = run.hand.monotonic - 1000.0
        found = []
        for later in (0, 30, 200):
            state.take_reading(GpuReading(bdf=Bdf("0000:c1:00.0"), monotonic_seconds=1000.0 + now + later))
            found.append(cells(row(state.frame(now + later, live=True), 0), True))
    assert found[0]["rate"][0].isdigit()
    assert found[1]["rate"].startswith("(")
    assert found[2]["rate"] == "-"
    assert found[1]["of exp."] == found[2]["of exp."] == "-"


def test_errors_are_what_counters_grew_by_and_equal_the_tally_of_the_engine(runs: Runs) -> None:
    run, frame = runs("failing"), summed(runs("failing"))
    with RunReader(run.path) as reader:
        counts = [
            count.count for one in reader.readings() if isinstance(one, LinkReading) and one.bdf == "0000:40:01.1"
            for count in one.correctable or () if count.name == "BadTLP"]
        grown = watching_of(reader, 2).link_errors[Bdf("0000:40:01.1")]["BadTLP"]
    assert row(frame, PCIE3).errors == counts[-1] - counts[0] > 0
    assert grown <= counts[-1] - counts[0]
    assert all(one.errors == 0 for one in frame.gpus if one.number != PCIE3)


def test_counters_that_were_high_before_the_run_are_no_errors_of_it(runs: Runs) -> None:
    state = made_state(runs)
    state.take_reading(link_reading(1.0, 400))
    state.take_reading(link_reading(2.0, 400))
    assert row(state.frame(3.0, live=True), 0).errors == 0
    state.take_reading(link_reading(3.0, 412))
    assert row(state.frame(3.0, live=True), 0).errors == 12


def test_counters_that_begin_anew_give_no_negative_number(runs: Runs) -> None:
    state = made_state(runs)
    for at, count in ((1.0, 400), (2.0, 0), (3.0, 7)):
        state.take_reading(link_reading(at, count))
    assert row(state.frame(3.0, live=True), 0).errors == 7


@pytest.mark.parametrize("counts", [None, Unread("permission denied", "permission")])
def test_a_link_on_which_nothing_counts_has_no_errors_and_not_zero(runs: Runs, counts: Unread | None) -> None:
    state = made_state(runs)
    state.take_reading(msgspec.structs.replace(
        link_reading(1.0, 0), correctable=counts, nonfatal=counts, fatal=counts))
    one = row(state.frame(2.0, live=True), 0)
    assert one.errors is None
    assert cells(one, True)["errors"] == "-"


def test_a_link_that_reads_all_ones_is_a_lost_gpu(runs: Runs) -> None:
    state = made_state(runs)
    state.take_reading(msgspec.structs.replace(link_reading(1.0, 0), gone=True))
    assert row(state.frame(2.0, live=True), 0).state == "lost"


def test_a_link_that_falls_is_marked_against_the_best_it_had(runs: Runs) -> None:
    one = row(summed(runs("failing")), PCIE3)
    assert cells(one, True)["link"] == "x8! 16"
    assert "!" not in cells(row(summed(runs("failing")), 0), True)["link"]


def test_a_gpu_that_its_driver_calls_lost_is_lost_before_anything_was_judged(runs: Runs) -> None:
    frame = summed(runs("lost"))
    assert row(frame, PCIE5).state == "lost"
    assert frame.outcome is Outcome.FAIL
    assert frame.judged == 0
    assert "PCIE5" in frame.reason, frame.reason


def test_without_a_finding_nothing_passes(runs: Runs) -> None:
    for name in ("nothing-yet", "clock-back", "no-gpu", "sixteen"):
        frame = summed(runs(name))
        assert frame.outcome is Outcome.UNKNOWN
        assert "nothing was judged" in frame.reason
        assert not any(one.state == "ok" for one in frame.gpus)


@pytest.mark.parametrize("name", ["all-well", "failing", "marginal", "hung", "finished", "failed"])
def test_the_verdict_is_that_of_the_engines_judge_over_the_engines_findings(runs: Runs, name: str) -> None:
    run, frame = runs(name), summed(runs(name))
    with RunReader(run.path) as reader:
        end = reader.verdict()
        every = [(phase, list(reader.findings(phase.plan.number))) for phase in reader.phases()]
    doctor = [found for phase, found in every if is_doctor(phase)][-1:]
    load = [one for phase, found in every if not is_doctor(phase) for one in found]
    wanted = end.outcome if end else judge([*(doctor[0] if doctor else ()), *load], run.want).outcome
    assert frame.outcome is wanted
    assert frame.over is (end is not None)


def test_an_event_of_a_failure_fails_before_the_phase_is_judged(runs: Runs) -> None:
    state = made_state(runs)
    state.take_findings([Finding(
        check="stress.completed", subject=Subject("gpu", "GPU 0"), outcome=Outcome.PASS, says="done", blocker=True)])
    before = state.frame(1.0, live=True)
    state.take_events([Event(
        number=1, phase=1, at=Moment(1.0, 0.0), kind="wrong-result", severity="fail", subject="cuda:0", says="3 wrong",
        data={"wrong": 3})])
    after = state.frame(1.0, live=True)
    assert (before.outcome, after.outcome) == (Outcome.PASS, Outcome.FAIL)
    assert (row(after, 0).wrong, row(after, 0).state) == (3, "fail")


def test_wrong_results_are_counted_over_the_whole_run(runs: Runs) -> None:
    run, frame = runs("failed"), summed(runs("failed"))
    with RunReader(run.path) as reader:
        wrong = sum(one.sample.wrong for one in reader.samples())
    assert row(frame, PCIE3).wrong == wrong == 3


@pytest.mark.parametrize("state", ["asleep", "unread"])
def test_a_silent_gpu_that_is_not_lost_is_not_called_lost(runs: Runs, state: str) -> None:
    made = made_state(runs)
    made.take_reading(GpuSilent(
        bdf=Bdf("0000:c1:00.0"), monotonic_seconds=1000.5, state=state, why=Unread("no")))  # type: ignore[arg-type]
    one = row(made.frame(1.0, live=True), 0)
    assert one.state != "lost"
    assert cells(one, True)["core"] == "-"


def test_a_crash_is_unknown_and_a_failure_before_it_stays_one(runs: Runs) -> None:
    frame = summed(runs("crashed"))
    assert (frame.state, frame.outcome, frame.live) == ("crashed", Outcome.UNKNOWN, False)
    assert "cut off in p2p" in frame.reason


def test_an_advisory_check_that_could_not_look_takes_no_ok_from_a_gpu(runs: Runs) -> None:
    """The verdict is of what is required; a row says the same."""
    state = made_state(runs)
    subject = Subject("gpu", "GPU", slot="PCIE1", bdf=Bdf("0000:c1:00.0"))
    state.take_findings([
        Finding(check="matmul.rate", subject=subject, outcome=Outcome.PASS, says="fast", blocker=True),
        Finding(check="matmul.rate-advised", subject=subject, outcome=Outcome.UNKNOWN, says="not timed", blocker=False)])
    frame = state.frame(1.0, live=True)
    assert frame.outcome is Outcome.PASS
    state.take_reading(fresh_reading())
    assert row(state.frame(1.0, live=True), 0).state == "ok"


def made_state(runs: Runs) -> State:
    """A state with devices, and no record or finding yet."""
    run = runs("all-well")
    with RunReader(run.path) as reader:
        return begun(run, reader)


def link_reading(at: float, bad: int) -> LinkReading:
    return LinkReading(
        bdf=Bdf("0000:c1:00.0"), monotonic_seconds=1000.0 + at, speed_gts=16.0, width=16,
        correctable=(Count("BadTLP", bad), Count("TOTAL_ERR_COR", bad)), nonfatal=(Count("DLP", 0),), fatal=())


def fresh_reading() -> GpuReading:
    return GpuReading(bdf=Bdf("0000:c1:00.0"), monotonic_seconds=1001.0, power_watts=400.0)


@pytest.mark.parametrize("name", list(RUNS))
def test_every_made_up_run_is_written_without_a_bug_of_the_writer(runs: Runs, name: str) -> None:
    assert runs(name).store.bugs == []
