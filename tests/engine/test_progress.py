"""How far a run is: from its store, by the monotonic clock; in one line of 80 columns; and nothing that is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.checks.wording import clock, short_duration
from boxcheck.commands.follow import Shown, event_lines
from boxcheck.engine.detach import Progress
from boxcheck.engine.progress import Hot, Pace, View, age_of, expected, hottest, place_of, view_of
from boxcheck.model import Bdf, Unread
from boxcheck.profile import load_profile
from boxcheck.report.progress_line import progress_line
from boxcheck.report.text import Style
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Event, Moment, Phase, PhasePlan, PhaseStart, RunInfo
from boxcheck.store.writer import RunWriter
from boxcheck.telemetry.readings import GpuReading, Named
from tests.store.machine import HandClock, Machine
from tests.stress.every_check import device

STEPS = [
    {"name": "doctor before", "seconds": 10.0}, {"name": "matmul", "seconds": 100.0}, {"name": "copy", "seconds": 50.0},
    {"name": "everything", "seconds": 30.0}, {"name": "doctor after", "seconds": 10.0}]
FULL = View(
    seconds=2537.0, state="running", step=2, steps=9, doing="matmul", percent=18.2, left_seconds=11863.0, on_gpus=True,
    hot=Hot("PCIE5", "core", 78.0), watts=3190.0, watts_of=(7, 7),
    paces=(Pace("bf16.power", 151.0, "TFLOPS", 94.4),))


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunWriter, HandClock, Machine]:
    """A run that is 40 s into its second step."""
    hand, machine = HandClock(), Machine(2)
    store = create_run(
        str(tmp_path), RunInfo(kind="burn", version="1", plan={"name": "level 1", "steps": STEPS}), clock=hand.clock(),
        least_free_bytes=0)
    store.plan_phase(PhasePlan(number=1, name="doctor before", module=""))
    store.begin_phase(1, PhaseStart())
    hand.pass_by(12)
    store.end_phase(1, outcome="pass")
    store.plan_phase(PhasePlan(number=2, name="matmul", module="matmul", planned_seconds=100.0))
    store.begin_phase(2, PhaseStart(gpus=machine.gpus, slots={"cuda:0": "PCIE1", "cuda:1": "PCIE2"}))
    for _ in range(40):
        hand.pass_by(1)
        for number in range(2):
            store.watched(2, machine.told_by(number, hand.monotonic))
            store.sample(2, machine.sample(number), worker=number)
    store.flush()
    return store, hand, machine


def view(store: RunWriter, monotonic: float, **changes: Any) -> View:
    with RunReader(store.path) as reader:
        run = reader.run()
        return view_of(
            reader, run, reader.phases(), load_profile("wopr-7x4090"), monotonic=monotonic, **{"errors": 0, **changes})


def test_a_run_is_as_far_as_the_plan_and_its_clock_say(run: tuple[RunWriter, HandClock, Machine]) -> None:
    store, hand, _ = run
    hand.wall -= 86400  # set back by a day
    found = view(store, hand.monotonic)
    assert (found.step, found.steps, found.doing, found.state) == (2, 5, "matmul", "running")
    assert found.seconds == pytest.approx(52.0, abs=0.1)
    assert found.percent == pytest.approx(100 * 50 / 200)
    assert found.left_seconds == pytest.approx(150.0)


def test_a_step_that_takes_longer_counts_for_what_was_planned(run: tuple[RunWriter, HandClock, Machine]) -> None:
    store, hand, _ = run
    found = view(store, hand.monotonic + 500)
    assert found.percent == pytest.approx(100 * 110 / 200)


def test_the_hottest_and_all_power_are_those_of_now(run: tuple[RunWriter, HandClock, Machine]) -> None:
    store, hand, machine = run
    found = view(store, hand.monotonic + 1)
    assert found.hot is not None
    assert found.hot.where in ("PCIE1", "PCIE2")
    assert found.hot.celsius == round(max(machine._heat))
    assert found.watts_of == (2, 2)
    assert found.watts is not None
    assert 800 < found.watts < 960


def test_what_is_stale_is_not_shown(run: tuple[RunWriter, HandClock, Machine]) -> None:
    store, hand, _ = run
    found = view(store, hand.monotonic + 6)
    assert found.hot is None
    assert found.watts is None
    assert "? °C  ? W" in progress_line(found, Style(columns=120))


def test_the_slowest_gpu_is_told_with_the_part_of_what_it_should_reach(
    run: tuple[RunWriter, HandClock, Machine]
) -> None:
    store, hand, machine = run
    for _ in range(60):
        store.sample(2, msgspec.structs.replace(machine.sample(1), value=79.0), worker=1)
    store.flush()
    (pace,) = view(store, hand.monotonic).paces
    assert pace == Pace("bf16.power", 79.0, "TFLOPS", 50.0)
    assert expected("matmul.bf16.power", load_profile("wopr-7x4090")) == 158.0
    assert expected("matmul.bf16.power", load_profile("generic")) is None
    assert expected("vram.random", load_profile("wopr-7x4090")) is None


def test_a_wrong_sample_is_no_pace(run: tuple[RunWriter, HandClock, Machine]) -> None:
    store, hand, machine = run
    store.sample(2, msgspec.structs.replace(machine.sample(1), value=9999.0, wrong=1), worker=1)
    store.flush()
    assert view(store, hand.monotonic).paces[0].value < 200


def test_a_run_before_its_first_step_and_one_that_is_over(tmp_path: Path) -> None:
    hand = HandClock()
    store = create_run(
        str(tmp_path), RunInfo(kind="burn", version="1", plan={"steps": STEPS}), clock=hand.clock(), least_free_bytes=0)
    store.flush()
    first = view(store, hand.monotonic)
    assert (first.step, first.percent, first.left_seconds) == (0, 0.0, 200.0)
    assert progress_line(first, Style(columns=80)) == "00:00:00  0 %  it begins  3m left  0 errors"
    hand.pass_by(60)
    store.end("finished", outcome="pass")
    last = view(store, hand.monotonic + 1000)
    assert (last.percent, last.left_seconds, last.seconds) == (100.0, 0.0, 60.0)
    assert progress_line(last, Style(columns=80)) == "00:01:00  100 %  finished  0 errors"


def test_a_run_of_no_plan_is_told_without_one(tmp_path: Path) -> None:
    hand = HandClock()
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="1"), clock=hand.clock(), least_free_bytes=0)
    store.flush()
    assert view(store, hand.monotonic).percent == 0.0


def phase(number: int, name: str, module: str, state: Any, began: float) -> Phase:
    return Phase(plan=PhasePlan(number=number, name=name, module=module), state=state, started=Moment(began, began))


@pytest.mark.parametrize(("phases", "at", "since"), [
    ([], -1, 0.0),
    ([phase(1, "doctor before", "", "ended", 1.0)], 0, 1.0),
    ([phase(1, "doctor before", "", "ended", 1.0), phase(2, "matmul", "matmul", "running", 9.0)], 1, 9.0),
    ([phase(1, "everything", "matmul", "running", 4.0), phase(2, "everything", "cpu", "running", 4.5)], 3, 4.0),
    # begun anew after a crash
    ([phase(2, "matmul", "matmul", "cut", 9.0), phase(3, "matmul", "matmul", "running", 900.0)], 1, 900.0),
    # named twice in a plan
    ([phase(2, "matmul", "matmul", "ended", 9.0), phase(3, "matmul", "matmul", "running", 90.0)], 1, 90.0),
    ([phase(1, "unheard of", "", "running", 9.0)], -1, 0.0)])
def test_the_step_of_a_plan_follows_from_the_phases(phases: list[Phase], at: int, since: float) -> None:
    assert place_of(phases, [str(one["name"]) for one in STEPS])[:2] == (at, since)


def test_a_plan_that_has_a_step_twice_comes_to_the_second() -> None:
    phases = [phase(1, "matmul", "matmul", "ended", 0.0), phase(2, "matmul", "matmul", "running", 60.0)]
    assert place_of(phases, ["matmul", "matmul"]) == (1, 60.0, {0})


def test_steps_that_a_run_leaves_out_are_not_done(tmp_path: Path) -> None:
    hand = HandClock()
    store = create_run(
        str(tmp_path), RunInfo(kind="burn", version="1", plan={"steps": STEPS}), clock=hand.clock(), least_free_bytes=0)
    for number, name in enumerate(("doctor before", "doctor after"), 1):
        store.plan_phase(PhasePlan(number=number, name=name, module=""))
        store.begin_phase(number, PhaseStart())
        store.end_phase(number, outcome="pass")
    found = view(store, hand.monotonic)
    assert (found.step, found.percent, found.left_seconds) == (5, 5.0, 10.0)


def test_the_sensor_nearest_to_its_stop_is_the_hottest() -> None:
    reading = GpuReading(bdf=Bdf("0000:01:00.0"), monotonic_seconds=1.0, temperatures_celsius=(
        Named("core", 80.0), Named("mem", 104.0), Named("junction", Unread("no sensor"))))
    info = device(0)
    assert hottest([reading], {info.key: info}, {}, 1.0) == Hot("cuda:0", "mem", 104.0)
    assert hottest([reading], {info.key: info}, {}, 99.0) is None


# The line


@pytest.mark.parametrize("changes", [
    {}, {"doing": "power-pulse", "errors": 12}, {"hot": Hot("PCIE5", "junction", 98.0), "watts_of": (6, 7)},
    {"doing": "everything", "errors": 1, "paces": (
        Pace("bf16.power", 151.0, "TFLOPS", 94.4), Pace("fp64.exact", 1510.0, "GFLOPS", None),
        Pace("triad.node0", 151.0, "GB/s", None), Pace("read.nvme0n1", 6.9, "GB/s", None))},
    {"hot": None, "watts": None}, {"doing": "a step with a very long name indeed, as somebody may call it in a plan"}])
def test_a_line_keeps_to_its_width(changes: dict[str, Any]) -> None:
    one = msgspec.structs.replace(FULL, **changes)
    for columns in (80, 120):
        line = progress_line(one, Style(columns=columns))
        assert len(line) <= columns or "very long" in line
        assert line.endswith(f"{one.errors} error{'' if one.errors == 1 else 's'}")
        assert line.startswith("00:42:17")


def test_at_80_columns_a_line_of_seven_gpus_has_all_of_it() -> None:
    assert progress_line(FULL, Style(columns=80)) == (
        "00:42:17 18% 2/9 matmul 3h17m left 78 °C PCIE5 3190 W 151 TFLOPS 94% 0 errors")
    assert progress_line(FULL, Style(columns=120)) == (
        "00:42:17  18 %  2/9 matmul  3h17m left  78 °C PCIE5  3190 W  bf16 151 TFLOPS 94 %  0 errors")


def test_watts_of_some_gpus_are_no_sum_of_all() -> None:
    assert "2750+? W" in progress_line(msgspec.structs.replace(FULL, watts=2750.0, watts_of=(6, 7)), Style(columns=120))


def test_errors_alone_are_coloured_and_only_where_colour_is_wanted() -> None:
    failing = msgspec.structs.replace(FULL, errors=3)
    assert progress_line(failing, Style(columns=120, color=True)).endswith("\x1b[1;31m3 errors\x1b[0m")
    assert "\x1b" not in progress_line(FULL, Style(columns=120, color=True))
    assert "\x1b" not in progress_line(failing, Style(columns=120))
    assert progress_line(failing, Style(columns=120, ascii=True)).isascii()


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0s"), (45.4, "45s"), (60, "1m"), (3599, "59m"), (3660, "1h01m"), (90000, "1d01h")])
def test_a_span_is_short(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text


def test_an_event_is_told_at_once_and_wrapped() -> None:
    event = Event(number=1, phase=2, at=Moment(3661.0, 0.0), kind="x", severity="fail", subject="PCIE3", says="word " * 40)
    lines = event_lines(event, Style(columns=80))
    assert lines[0].startswith("01:01:01  fail  PCIE3  word")
    assert max(map(len, lines)) <= 80
    assert len(lines) > 2
    assert "\x1b[1;31mfail\x1b[0m" in event_lines(event, Style(columns=80, color=True))[0]


def test_a_line_comes_with_each_phase_and_then_every_30_seconds(
    run: tuple[RunWriter, HandClock, Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    store, _, _ = run
    shown = Shown(False, Style(columns=80))
    for _ in range(3):
        with RunReader(store.path) as reader:
            now = reader.run()
            progress = Progress(run=now, phases=reader.phases(), news=(), seconds=age_of(now, 1052.0))
            shown.look(reader, progress)
        shown.tell(progress)
    assert len(capsys.readouterr().err.splitlines()) == 1
    store.plan_phase(PhasePlan(number=3, name="copy", module="copy"))
    store.about(3, "copy")
    with RunReader(store.path) as reader:
        shown.look(reader, msgspec.structs.replace(progress, phases=reader.phases()))
    shown.tell(progress)
    assert "copy" in capsys.readouterr().err


def test_errors_are_counted_from_the_beginning(
    run: tuple[RunWriter, HandClock, Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    store, _, _ = run
    store.event("wrong-result", "3 wrong of 9 elements", severity="fail", subject="cuda:0", phase=2)
    shown = Shown(False, Style(columns=80))
    with RunReader(store.path) as reader:
        now = reader.run()
        progress = Progress(run=now, phases=reader.phases(), news=tuple(reader.events()), seconds=0.0)
        shown.look(reader, progress)
    shown.tell(progress)
    told = capsys.readouterr().err
    assert "fail  cuda:0  3 wrong of 9 elements" in told
    assert told.rstrip().endswith("1 error")


def test_a_clock_is_of_two_digits_each() -> None:
    assert clock(2537.9) == "00:42:17"
