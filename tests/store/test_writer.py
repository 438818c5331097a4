"""A run that is written and read again gives what it was made of."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from boxcheck.model import BOX, Finding, Outcome, Verdict
from boxcheck.registry import failed
from boxcheck.store.creating import create_run, reopen_run
from boxcheck.store.errors import StoreError
from boxcheck.store.lock import RunLock, is_held
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import PhasePlan, PhaseStart, ProfileName, RunInfo
from boxcheck.store.verify import complaints
from boxcheck.store.writer import RunWriter
from boxcheck.stress import StressResults, Trouble
from boxcheck.stress.tally import Tally, Watching
from boxcheck.telemetry.readings import GpuReading, HostReading, LinkReading
from tests.store.machine import HandClock, Machine

INFO = RunInfo(
    kind="burn", version="0.4.0", commit="abc", boot="boot-1", box="W-0007", host="wopr-01",
    profile=ProfileName("wopr-7x4090", 3, "00ff"), plan={"level": 2, "modules": ["matmul"]})


def begun(folder: Path, hand: HandClock, machine: Machine) -> RunWriter:
    store = create_run(str(folder), INFO, clock=hand.clock())
    assert store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul", devices=("cuda:0",))) is None
    assert store.about(1, "matmul on 2 GPUs") is None
    assert store.begin_phase(1, PhaseStart(gpus=machine.gpus, slots={"cuda:0": "PCIE1"})) is None
    return store


def work(
    store: RunWriter, hand: HandClock, machine: Machine, seconds: int
) -> tuple[StressResults, Watching]:
    """A phase as an engine runs it; and its results as the engine has them."""
    tally, samples = Tally(machine.gpus), {info.key: list[object]() for info in machine.gpus}
    for second in range(seconds):
        if second == seconds // 2:
            machine.errors[machine.bdfs[0]] = 61
        for number, info in enumerate(machine.gpus):
            hand.pass_by(0.25)
            told = machine.told_by(number, round(hand.monotonic, 3))
            tally.add(told)
            assert store.watched(1, told) is None
            for sample in (machine.sample(number), *machine.copies(number)):
                samples[info.key].append(sample)
                assert store.sample(1, sample, worker=number) is None
    results = StressResults(
        module="matmul", gpus=machine.gpus, slots={"cuda:0": "PCIE1"},
        samples=tuple(one for some in samples.values() for one in some),  # type: ignore[misc]
        troubles=(Trouble(gpus=("cuda:1",), module="matmul", kind="hang", says="no sign of life"),), ended=("cuda:0",))
    return results, tally.result()


def same(found: Watching, live: Watching) -> bool:
    """But for the time, which a store has to the millisecond."""
    return abs(found.seconds - live.seconds) < 0.01 and found == msgspec.structs.replace(live, seconds=found.seconds)


@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
def test_results_and_readings_of_a_phase_come_back_as_the_engine_had_them(tmp_path: Path, vendor: str) -> None:
    hand, machine = HandClock(), Machine(2, vendor=vendor)
    store = begun(tmp_path, hand, machine)
    results, watching = work(store, hand, machine, 150)
    assert store.flush() is None
    with RunReader(store.path) as run:
        assert run.run().state == "running"
        assert results_of(run, 1).samples == results.samples
        assert results_of(run, 1).ended == (), "it has not come to its end, so it cannot pass"
        assert same(watching_of(run, 1), watching)
    assert store.end_phase(1, results, "fail") is None
    assert store.end("finished") is None
    with RunReader(store.path) as run:
        assert results_of(run, 1) == results
        assert same(watching_of(run, 1), watching)
        assert watching.link_errors == {machine.bdfs[0]: {"BadTLP": 61}}
    assert complaints(store.path) == ()
    assert os.listdir(tmp_path) == [os.path.basename(store.path)], "one file, and nothing beside it"
    assert os.stat(store.path).st_mode & 0o777 == 0o600


def test_what_a_run_is_and_how_it_ended_is_told(tmp_path: Path) -> None:
    hand, machine = HandClock(wall=1_800_000_000.0), Machine(1)
    store = begun(tmp_path, hand, machine)
    hand.pass_by(5)
    store.event("gpu-hot", "GPU 0 is at 90 °C", severity="warn", subject="cuda:0", phase=1, data={"celsius": 90})
    finding: Finding = msgspec.structs.replace(failed(BOX, "61 bad TLPs"), check="stress.link-errors")
    store.findings(1, [finding])
    store.attach("doctor-before", b'{"schema": "boxcheck.run/1"}' * 100)
    store.end_phase(1, outcome="fail")
    hand.pass_by(5)
    verdict = Verdict(outcome=Outcome.FAIL, reason="1 failed", counts={"fail": 1}, findings=(finding,), problems=())
    assert store.end("stopped", verdict, reason="stopped by operator at 18 %") is None
    assert store.id == "2027-01-15T080000Z-burn"
    with RunReader(store.path) as run:
        whole = run.run()
        assert whole.info == msgspec.structs.replace(INFO, id=store.id)
        assert (whole.state, whole.started, whole.sessions[0].monotonic_seconds) == ("stopped", 1_800_000_000.0, 1000.0)
        assert whole.end is not None
        assert (whole.end.outcome, whole.end.reason, whole.end.at.seconds) == ("fail", "stopped by operator at 18 %", 10.0)
        (event,) = run.events()
        assert (event.kind, event.severity, event.at.seconds, event.at.wall, event.data) == (
            "gpu-hot", "warn", 5.0, 1_800_000_005.0, {"celsius": 90})
        assert list(run.findings(1)) == [finding]
        assert run.verdict() == verdict
        assert run.attachments() == ("doctor-before",)
        assert run.attachment("doctor-before") == b'{"schema": "boxcheck.run/1"}' * 100
        (phase,) = run.phases()
        assert (phase.state, phase.doing, phase.plan.devices) == ("ended", "matmul on 2 GPUs", ("cuda:0",))


def test_a_wall_clock_that_is_set_is_an_event_and_changes_no_order(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(1)
    store = begun(tmp_path, hand, machine)
    for step, seconds in enumerate((0.0, -3600.0, 0.4, 86400.0 * 400)):
        hand.pass_by(10)
        hand.wall += seconds
        store.watched(1, machine.told_by(0, hand.monotonic))
        store.event("step", f"step {step}")
    store.end_phase(1)
    store.end("finished")
    with RunReader(store.path) as run:
        events = list(run.events())
        assert [(one.kind, one.at.seconds) for one in events] == [
            ("step", 10.0), ("clock-set", 20.0), ("step", 20.0), ("step", 30.0), ("clock-set", 40.0), ("step", 40.0)]
        assert [one.data["seconds"] for one in events if one.kind == "clock-set"] == [-3600.0, 86400.0 * 400]
        assert [one.monotonic_seconds for one in run.readings(1) if isinstance(one, GpuReading)] == [
            1010.0, 1020.0, 1030.0, 1040.0]
        assert watching_of(run, 1).seconds == pytest.approx(30, abs=0.01)


def test_every_worker_reads_the_host_and_one_reading_a_second_is_kept(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(4)
    store = begun(tmp_path, hand, machine)
    for _ in range(10):
        hand.pass_by(1)
        for number in range(4):
            store.watched(1, machine.told_by(number, hand.monotonic + number / 10))
    store.flush()
    with RunReader(store.path) as run:
        readings = list(run.readings())
    assert sum(isinstance(one, HostReading) for one in readings) == 10
    assert sum(isinstance(one, GpuReading) for one in readings) == 40


def test_two_write_at_once_only_one_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.store.lock.WAIT_SECONDS", 0.1)
    store = create_run(str(tmp_path), INFO)
    with pytest.raises(StoreError, match=f"is written by another process \\(process {os.getpid()}\\)") as caught:
        reopen_run(store.path, version="0.4.0")
    assert caught.value.kind == "busy"
    store.close()
    reopen_run(store.path, version="0.4.0").close()


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits has opened the file that the one before removes when it is done."""
    path, flock = str(tmp_path / "run.sqlite"), fcntl.flock
    first = RunLock(path)

    def just_then(file: int, how: int) -> None:
        first.release()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", just_then)
    second = RunLock(path)
    monkeypatch.undo()
    assert is_held(path)
    second.release()
    assert not is_held(path)


def test_two_runs_of_one_second_have_two_names(tmp_path: Path) -> None:
    hand = HandClock()
    with create_run(str(tmp_path), INFO, clock=hand.clock()) as one, create_run(
            str(tmp_path), INFO, clock=hand.clock()) as other:
        assert (one.id, other.id) == ("2027-01-15T080000Z-burn", "2027-01-15T080000Z-burn-2")


def test_a_run_goes_on_after_a_crash_of_its_writer(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(1)
    store = begun(tmp_path, hand, machine)
    hand.pass_by(20)
    store.watched(1, machine.told_by(0, hand.monotonic))
    store.sample(1, machine.sample(0), wait=True)
    store.close()
    with RunReader(store.path) as run:
        assert run.run().state == "crashed"
        cut = run.interrupted()
        assert cut is not None
        assert (cut.state, cut.doing) == ("cut", "matmul on 2 GPUs")
        trouble = results_of(run, 1).troubles[-1]
        assert (trouble.kind, trouble.gpus) == ("incomplete", ("cuda:0",))
        assert "went down while it ran (matmul on 2 GPUs)" in trouble.says
    hand.pass_by(30)
    again = reopen_run(store.path, version="0.4.1", boot="boot-1", clock=hand.clock())
    again.event("resumed", "goes on")
    again.plan_phase(PhasePlan(number=2, name="vram", module="vram"))
    again.begin_phase(2)
    again.watched(2, machine.told_by(0, hand.monotonic))
    again.sample(2, machine.sample(0))
    again.end_phase(2)
    assert again.end("finished") is None
    with RunReader(store.path) as run:
        assert run.run().state == "finished"
        assert [one.at.seconds for one in run.events()] == [50.0]
        assert [(one.plan.name, one.state) for one in run.phases()] == [("matmul", "cut"), ("vram", "ended")]
        assert [one.monotonic_seconds for one in run.readings() if isinstance(one, GpuReading)] == [1020.0, 1050.0]
        assert len(list(run.samples())) == 2
    assert complaints(store.path) == ()


def test_a_session_goes_on_counting_where_the_one_before_was_folded(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(1)
    store = begun(tmp_path, hand, machine)
    for _ in range(5):
        store.sample(1, machine.sample(0))
    store.end_phase(1)
    store.plan_phase(PhasePlan(number=2, name="vram", module="vram"))
    store.begin_phase(2)
    wait_for_fold(store)
    store.close()
    again = reopen_run(store.path, version="0.4.1", boot="boot-1", clock=hand.clock())
    with RunReader(store.path) as run:
        assert run.run().state == "running"
        assert [one.state for one in run.phases()] == ["ended", "cut"], "it was another session that ran it"
    for _ in range(5):
        again.sample(2, machine.sample(0))
    again.end_phase(2)
    again.end("finished")
    with RunReader(store.path) as run:
        numbers = [one.number for one in run.samples()]
    assert len(set(numbers)) == 10
    assert numbers == sorted(numbers)
    assert complaints(store.path) == ()


def wait_for_fold(store: RunWriter) -> None:
    store.flush()
    store._journal.fold()
    until = time.monotonic() + 5
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as base:
        while base.execute("SELECT count(*) FROM tail").fetchone() != (0,):
            assert time.monotonic() < until
            time.sleep(0.005)


def test_a_link_that_was_narrow_for_just_the_minute_of_a_block_is_seen(tmp_path: Path) -> None:
    """Blocks of constant columns, one unlike those beside it."""
    hand, machine = HandClock(), Machine(1, links=1)
    store = begun(tmp_path, hand, machine)
    tally = Tally(machine.gpus)
    for width in (16, 8, 16, 16):
        for _ in range(3):
            hand.pass_by(1)
            told = [msgspec.structs.replace(one, width=width) for one in machine.told_by(0, hand.monotonic) if isinstance(
                one, LinkReading)]
            tally.add(told)
            store.watched(1, told)
        wait_for_fold(store)
    with RunReader(store.path) as run:
        watching = watching_of(run, 1)
    store.close()
    assert watching.link_widths[machine.bdfs[0]].dips == 1
    assert watching.link_widths == tally.result().link_widths
    assert watching.links == tuple(machine.bdfs)


def test_a_link_that_was_read_once_was_read_once(tmp_path: Path) -> None:
    """Growth takes two readings; a store must not make two of one."""
    hand, machine = HandClock(), Machine(1, links=1)
    store = begun(tmp_path, hand, machine)
    store.watched(1, machine.told_by(0, hand.monotonic))
    store.flush()
    with RunReader(store.path) as run:
        assert watching_of(run, 1).links == ()
    store.watched(1, machine.told_by(0, hand.monotonic))
    store.flush()
    with RunReader(store.path) as run:
        assert watching_of(run, 1).links == tuple(machine.bdfs)
    store.close()


def test_numbers_that_no_file_holds_are_none(tmp_path: Path) -> None:
    store = create_run(str(tmp_path), INFO)
    for number, seconds in enumerate((float("nan"), -0.0, 1.5), 1):
        store.plan_phase(PhasePlan(number=number, name="x", module="", planned_seconds=seconds))
    store.end("finished")
    with RunReader(store.path) as run:
        assert [one.plan.planned_seconds for one in run.phases()] == [None, 0.0, 1.5]


@pytest.mark.parametrize(("wall", "seconds"), [(1_800_000_600.0, 600.0), (1_000_000_000.0, 20.0), (9e9, 20.0)])
def test_after_a_restart_of_the_machine_the_run_is_as_old_as_a_believable_clock_says(
    tmp_path: Path, wall: float, seconds: float
) -> None:
    """The monotonic clock begins anew with a boot; times of the run never go back."""
    hand, machine = HandClock(), Machine(1)
    store = begun(tmp_path, hand, machine)
    hand.pass_by(20)
    store.watched(1, machine.told_by(0, hand.monotonic))
    store.close()
    later = HandClock(monotonic=30.0, wall=wall)
    again = reopen_run(store.path, version="0.4.0", boot="boot-2", clock=later.clock())
    later.pass_by(1)
    again.event("resumed", "goes on")
    again.watched(1, machine.told_by(0, later.monotonic))
    again.close()
    with RunReader(store.path) as run:
        (event,) = run.events()
        assert event.at.seconds == pytest.approx(seconds + 1, abs=0.01)
        assert [one.monotonic_seconds for one in run.readings() if isinstance(one, GpuReading)] == [1020.0, 31.0]


def test_a_value_that_cannot_be_stored_ends_nothing(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(1)
    store = begun(tmp_path, hand, machine)
    trouble = store.event("odd", "no JSON", data={1: object()})
    assert trouble is not None
    assert trouble.kind == "bug"
    assert "Traceback" in store.bugs[0]
    assert store.event("\udcff", "a lone \udcff surrogate", data={"a": "\udcff"}) is None
    assert store.sample(1, msgspec.structs.replace(machine.sample(0), value=float("nan")), wait=True) is None
    assert store.attach("huge", b"x" * (65 << 20)) is not None
    store.end("finished")
    with RunReader(store.path) as run:
        assert [one.says for one in run.events()] == ["a lone ? surrogate"]
        (sample,) = run.samples()
        assert sample.sample.value != sample.sample.value
    late = store.event("late", "after the end")
    assert late is not None
    assert late.kind == "closed"


def test_a_store_that_is_removed_while_it_is_written_is_told(tmp_path: Path) -> None:
    store = create_run(str(tmp_path), INFO)
    os.unlink(store.path)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        trouble = store.event("one", "where does it go?")
        if trouble is not None and trouble.kind == "gone":
            break
        time.sleep(0.05)
    assert trouble is not None
    assert (trouble.kind, trouble.waiting > 0) == ("gone", True)
    store.close()


def test_events_are_flushed_and_telemetry_is_not(tmp_path: Path) -> None:
    """Seen from SQLite: which of the two ways each commit was made in."""
    hand, machine = HandClock(), Machine(1)
    store = begun(tmp_path, hand, machine)
    told = machine.told_by(0, hand.monotonic)
    store.watched(1, told)  # with texts and names of columns, which others refer to later
    store.flush()
    said: list[str] = []
    connection = store._journal._connection
    connection.set_trace_callback(said.append)
    store.watched(1, told)
    store.flush()
    store.event("one", "flushed")
    store.sample(1, machine.sample(0), wait=True)
    connection.set_trace_callback(None)
    ways = [one.partition("=")[2] for one in said if one.startswith("PRAGMA synchronous")]
    assert ways == ["NORMAL", "FULL"]
    store.close()
