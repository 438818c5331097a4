"""Sensors that fall silent are unknown and never a pass; a GPU that tells no temperature any more under load ends it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine import attention
from boxcheck.engine.attention import HEAT_SECONDS, Account, HeatWatch
from boxcheck.engine.bounded import LEAST_SECONDS, MOST_SECONDS, seconds_left, within
from boxcheck.engine.guarding import Guarding
from boxcheck.engine.modules import Wanted, run_together
from boxcheck.engine.safety import Guard, Limits
from boxcheck.model import Bdf, Outcome, Unread
from boxcheck.registry import STRESSES
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.stress import StressResults, safety_checks
from boxcheck.stress.safety import BlindStop, Near, Safety, SafetyStop
from boxcheck.telemetry.readings import GpuReading, GpuSilent, Named, Reading
from tests.engine.test_safety import GPU, INFO, PLAIN, devices, gpu, limits, processor, supply
from tests.telemetry.trees import home

NO = Unread("the driver does not answer", "timeout")
OTHER = Bdf("0000:44:00.0")


def looks(guard: Guard, *readings: Reading, begin: float, seconds: float, **more: Any) -> None:
    """Looks as the guard's process has them."""
    for step in range(int(seconds / 0.7) + 1):
        guard.see("guard", [
            msgspec.structs.replace(one, monotonic_seconds=begin + 0.7 * step) for one in readings], **more)


def mute(reading: GpuReading) -> GpuReading:
    assert not isinstance(reading.temperatures_celsius, Unread)
    return msgspec.structs.replace(reading, temperatures_celsius=tuple(
        Named(one.name, NO) for one in reading.temperatures_celsius))


@pytest.mark.parametrize(("seconds", "blind"), [(4.0, False), (7.0, True)])
def test_a_sensor_that_was_read_and_falls_silent_is_told_after_five_seconds(seconds: float, blind: bool) -> None:
    guard = Guard(Limits())
    looks(guard, gpu(core=70.0), processor(50.0), begin=10.0, seconds=3)
    looks(guard, mute(gpu(core=70.0)), processor(50.0), begin=13.0, seconds=seconds)
    looks(guard, gpu(core=70.0), processor(50.0), begin=13.0 + seconds, seconds=3)
    assert [(one.limit, one.subject, one.sensor) for one in guard.account().blind] == (
        [("safety.gpu_celsius", GPU, "core")] if blind else [])


@pytest.mark.parametrize(("first", "then", "limit"), [
    ([processor(60.0)], [processor(NO)], "safety.cpu_celsius"),
    ([gpu(watts=300.0, kept=400.0)], [gpu(kept=400.0)], "safety.gpu_watts"),
    ([gpu(core=60.0)], [GpuSilent(bdf=GPU, monotonic_seconds=0.0, state="unread", why=NO)], "safety.gpu_celsius"),
])
def test_every_kind_of_sensor_is_missed(first: list[Reading], then: list[Reading], limit: str) -> None:
    guard = Guard(Limits())
    looks(guard, *first, begin=1.0, seconds=1)
    looks(guard, *then, begin=3.0, seconds=8)
    assert [one.limit for one in guard.account().blind] == [limit]


def test_a_supply_that_falls_silent_and_a_sum_that_lacks_a_part_are_missed() -> None:
    guard = Guard(limits(power__mains_watts=1440, safety__gpus_watts=1000))
    both = [gpu(watts=300.0), msgspec.structs.replace(gpu(watts=300.0), bdf=OTHER)]
    looks(guard, *both, begin=1.0, seconds=1, supply=supply(900.0))
    half = [both[0], msgspec.structs.replace(both[1], power_watts=NO)]
    looks(guard, *half, begin=3.0, seconds=8, supply=supply(NO, 12.0))
    assert {one.limit for one in guard.account().blind} == {"safety.gpus_watts", "safety.supply_watts"}


@pytest.mark.parametrize("state", ["asleep", "lost", "reset-required", "not asked"])
def test_a_card_that_sleeps_or_is_lost_is_not_silent(state: Any) -> None:
    guard = Guard(limits(safety__gpus_watts=1000))
    looks(guard, gpu(core=60.0, watts=30.0), processor(50.0), begin=1.0, seconds=1)
    rest = [] if state == "not asked" else [GpuSilent(bdf=GPU, monotonic_seconds=0.0, state=state, why=NO)]
    looks(guard, *rest, processor(50.0), begin=3.0, seconds=60)
    told = guard.told()
    assert told.safety.blind == ()
    assert GPU not in told.heat


def test_one_look_that_comes_late_is_no_silence() -> None:
    guard = Guard(Limits())
    looks(guard, gpu(core=70.0), begin=1.0, seconds=1)
    looks(guard, gpu(core=70.0), begin=60.0, seconds=1)
    assert guard.account().blind == ()


def found(safety: Safety) -> list[Any]:
    results = StressResults(
        module="matmul", gpus=(INFO,), samples=(), troubles=(), ended=("cuda:0",), safety=safety)
    return list(safety_checks.safety(results, PLAIN))


def test_what_a_silent_sensor_showed_before_is_no_pass() -> None:
    guard = Guard(Limits())
    looks(guard, gpu(core=70.0), processor(50.0), begin=1.0, seconds=1)
    assert {one.outcome for one in found(guard.account())} == {Outcome.PASS}
    looks(guard, mute(gpu(core=70.0)), processor(50.0), begin=3.0, seconds=8)
    judged = found(guard.account())
    assert [(one.outcome, one.subject.kind) for one in judged] == [(Outcome.UNKNOWN, "gpu"), (Outcome.PASS, "cpu")]
    assert "core told nothing for" in judged[0].says


# No temperature of a GPU any more.


def watched(**changes: Any) -> HeatWatch:
    watch = HeatWatch()
    watch.told(Account(safety=Safety(), heat={GPU: 100.0, **changes}, asked=frozenset((GPU, *changes))))
    return watch


def dark(watch: HeatWatch, begin: float, seconds: float, step: float = 0.1) -> Any:
    """What it says after so long of steady looks, from that moment on."""
    said = None
    for number in range(int(seconds / step) + 1):
        said = said or watch.silent(begin + number * step)
    return said


def test_a_gpu_that_is_dark_for_half_a_minute_is_named_and_before_that_it_is_not() -> None:
    assert dark(watched(), 100.0, HEAT_SECONDS - 1) is None
    said = dark(watched(), 100.0, HEAT_SECONDS + 1)
    assert said is not None
    assert said[0] == GPU
    assert said[1] == pytest.approx(HEAT_SECONDS, abs=0.2)


def test_a_worker_that_still_reads_it_keeps_it_watched() -> None:
    watch = watched()
    assert dark(watch, 100.0, 20) is None
    watch.read(GPU, 119.0)
    assert dark(watch, 120.1, 20) is None
    watch.read(OTHER, 121.0)  # the guard never read it, so it is not waited for
    assert dark(watch, 140.2, 12) == (GPU, pytest.approx(HEAT_SECONDS, abs=0.3))


def test_a_card_that_falls_asleep_or_is_lost_is_waited_for_no_longer() -> None:
    watch = watched()
    watch.told(Account(safety=Safety(), heat={GPU: 100.0}, asked=frozenset()))
    assert dark(watch, 100.0, 60) is None
    watch = watched()
    watch.lost(GPU)
    watch.told(Account(safety=Safety(), heat={GPU: 101.0}, asked=frozenset((GPU,))))
    assert dark(watch, 100.0, 60) is None


def test_a_guard_that_was_started_anew_and_reads_nothing_does_not_end_the_watch() -> None:
    watch = watched()
    watch.told(Account(safety=Safety(), heat={}, asked=frozenset((GPU,))))
    assert dark(watch, 100.0, 31) is not None


def test_an_engine_that_was_stopped_itself_does_not_count_that_time() -> None:
    watch = watched()
    watch.silent(100.0)
    assert watch.silent(500.0) is None
    assert dark(watch, 500.1, 20) is None


def stop(**changes: Any) -> BlindStop:
    return BlindStop(**{"subject": GPU, "silent_seconds": 30.1, "monotonic_seconds": 5.0, **changes})


def test_a_driver_that_fell_silent_fails_and_no_limit_is_said_to_be_crossed() -> None:
    near = {"safety.gpu_celsius": Near(subject=GPU, sensor="core", value=81.0, bound=100.0, source="a test")}
    (finding,) = found(Safety(blind_stop=stop(), nearest=near, ended_after_seconds=0.5))
    assert finding.outcome is Outcome.FAIL
    assert finding.cause == f"gpu-silent:{GPU}"
    assert "no temperature came for 30 s under load" in finding.says
    assert finding.subject.bdf == GPU


def test_a_silence_because_nobody_asked_is_unknown() -> None:
    (finding,) = found(Safety(blind_stop=stop(asked=False, why="the process is gone")))
    assert finding.outcome is Outcome.UNKNOWN
    assert "the process is gone" in finding.says


def test_results_of_before_have_neither() -> None:
    assert msgspec.json.decode(b'{"silent":"x"}', type=Safety) == Safety(silent="x")


@pytest.mark.parametrize("how", ["the file is refused", "the guard hangs"])
def test_load_ends_on_all_devices_when_a_gpu_falls_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Everything is as in a run: two devices, the guard's process, files that are taken away."""
    monkeypatch.setattr(attention, "HEAT_SECONDS", 2.0)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    cards = devices(tmp_path)
    guards: list[Guarding] = []
    enter = Guarding.__enter__

    def entered(self: Guarding) -> Guarding:
        guards.append(self)
        return enter(self)

    monkeypatch.setattr(Guarding, "__enter__", entered)
    stops: list[SafetyStop | BlindStop] = []
    silenced: list[float] = []

    def seen(module: Any, worker: int, of: Any, what: Any) -> None:
        (guarding,) = guards
        if silenced or guarding._account is None or len(guarding._account.heat) < 2:
            return
        silenced.append(time.monotonic())
        if how == "the guard hangs":
            assert guarding._process is not None
            os.kill(guarding._process.pid, signal.SIGSTOP)
        else:
            card = home(tmp_path, cards[1].bdf or Bdf(""))
            for file in (card / "gpu_metrics", *card.glob("hwmon/*/temp*_input")):
                file.write_bytes(b"")

    ((results, _),) = run_together([STRESSES["matmul"]], cards, {}, Wanted(
        modules=("matmul",), seconds=60, backend="cpu", options={"size": "test"}, root=str(tmp_path),
        environment={"BOXCHECK_CPU_DEVICES": "2"}), crossed=stops.append, seen=seen)
    assert silenced
    assert time.monotonic() - silenced[0] < 10
    (blind,) = stops
    assert isinstance(blind, BlindStop)
    assert results.safety is not None
    assert results.safety.blind_stop == blind
    assert results.stopped
    assert blind.subject in {card.bdf for card in cards} if how == "the guard hangs" else blind.subject == cards[1].bdf
    assert {one.outcome for one in safety_checks.safety(results, PLAIN)} == {Outcome.FAIL}


# A warm-up that was cut off.


@pytest.mark.parametrize("warm_up", [True, False])
def test_a_warm_up_that_was_cut_off_is_still_one(tmp_path: Path, warm_up: bool) -> None:
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="1"), least_free_bytes=0)
    store.plan_phase(PhasePlan(number=1, name="warm-up", module="matmul"))
    store.begin_phase(1, PhaseStart(gpus=(INFO,), warm_up=warm_up))
    store.end("stopped")
    with RunReader(store.path) as reader:
        assert results_of(reader, 1).warm_up is warm_up


def test_a_start_of_an_older_store_is_read() -> None:
    assert not msgspec.json.decode(b'{"gpus":[],"full_size":true}', type=PhaseStart).warm_up


# Doctor within a run.


def test_doctor_has_five_minutes_and_two_where_the_time_is_over() -> None:
    assert seconds_left(1e6, 0.0) == MOST_SECONDS
    assert seconds_left(200.0, 0.0) == 200.0
    assert seconds_left(0.0, 500.0) == LEAST_SECONDS


def test_what_never_comes_back_is_left_and_the_rest_goes_on() -> None:
    asked: list[int] = []
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="within 0 s"):
        within(0.3, lambda: time.sleep(30), lambda: asked.append(1))
    assert time.monotonic() - began < 15
    assert asked
    assert within(5, lambda: 7, lambda: None) == 7
    with pytest.raises(ValueError, match="its own"):
        within(5, lambda: int("its own"), lambda: None)
