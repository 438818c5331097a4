"""Disks that are full, read-only or broken: a run goes on, what was committed stays, and what was missed is told."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from boxcheck.store import journal
from boxcheck.store.creating import create_run, reopen_run
from boxcheck.store.errors import StoreError
from boxcheck.store.folding import Tailed
from boxcheck.store.pending import ANY_BYTES, CHUNK, Entry, Pending
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.store.schema import WORDS
from boxcheck.store.verify import complaints
from boxcheck.store.writer import RunWriter
from boxcheck.telemetry.readings import GpuReading
from tests.store.disks import Ballast, make_read_only, small_disk
from tests.store.machine import HandClock, Machine

INFO = RunInfo(kind="burn", version="0.4.0")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "RETRY_SECONDS", (0.05,))
    monkeypatch.setattr("boxcheck.store.lock.WAIT_SECONDS", 0.1)


def fill(store: RunWriter, hand: HandClock, machine: Machine, seconds: int) -> tuple[int, int]:
    """Work of a phase, however the disk is: samples that were taken, and those that were acknowledged."""
    taken = kept = 0
    for _ in range(seconds):
        hand.pass_by(1)
        for number in range(len(machine.gpus)):
            store.watched(1, machine.told_by(number, hand.monotonic))
        taken += 1
        kept += store.sample(1, machine.sample(0), wait=True) is None
    return taken, kept


def begun(folder: Path, hand: HandClock, machine: Machine) -> RunWriter:
    store = create_run(str(folder), INFO, clock=hand.clock(), least_free_bytes=0)
    assert store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul")) is None
    assert store.begin_phase(1, PhaseStart(gpus=machine.gpus)) is None
    return store


def settled(store: RunWriter) -> bool:
    until = time.monotonic() + 5
    while store.trouble is not None and time.monotonic() < until:
        time.sleep(0.02)
    store.flush()
    return store.trouble is None


def test_a_full_disk_costs_nothing_when_space_comes_back(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(2)
    with small_disk(tmp_path / "disk", 1200) as disk:
        store = begun(disk, hand, machine)
        fill(store, hand, machine, 5)
        ballast = Ballast(disk)
        taken, kept = fill(store, hand, machine, 100)
        trouble = store.event("still-here", "an event on a full disk")
        assert trouble is not None
        assert (trouble.kind, trouble.lost) == ("full", 0)
        assert trouble.says.startswith("no space is left on the disk")
        assert taken > kept
        with RunReader(store.path) as run:
            assert len(list(run.samples())) >= 5 + kept, "what was acknowledged is there"
        ballast.remove()
        assert settled(store)
        assert store.end_phase(1) is None
        assert store.end("finished") is None
        with RunReader(store.path) as run:
            assert len(list(run.samples())) == 105
            assert sum(isinstance(one, GpuReading) for one in run.readings()) == 210
            assert results_of(run, 1).troubles == ()
            assert watching_of(run, 1).seconds == pytest.approx(104, abs=0.1)
            gap = [one for one in run.events() if one.kind == "store-gap"]
            assert gap
            assert all(one.data["lost"] == 0 and one.data["kind"] == "full" for one in gap)
            assert "nothing was lost" in gap[0].says
        assert complaints(store.path) == ()


def test_what_finds_no_room_in_memory_either_is_told_and_cannot_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boxcheck.store.writer.TELEMETRY_BYTES", 20_000)
    monkeypatch.setattr("boxcheck.store.writer.SAMPLE_BYTES", 60_000)
    hand, machine = HandClock(), Machine(2)
    with small_disk(tmp_path / "disk", 1200) as disk:
        store = begun(disk, hand, machine)
        ballast = Ballast(disk)
        fill(store, hand, machine, 120)
        trouble = store.event("still-here", "an event on a full disk")
        assert trouble is not None
        assert trouble.lost > 100
        assert trouble.waiting > 10
        ballast.remove()
        assert settled(store)
        store.end_phase(1)
        store.end("finished")
        with RunReader(store.path) as run:
            gaps = [one for one in run.events() if one.kind == "store-gap" and one.data["lost"]]
            assert sum(one.data["lost"] for one in gaps) >= trouble.lost
            assert "records were lost" in gaps[0].says
            assert [one.kind for one in run.events()].count("still-here") == 1, "an event has room where telemetry has none"
            (incomplete,) = results_of(run, 1).troubles
            assert "readings are missing in the store" in incomplete.says or "samples are missing" in incomplete.says
            assert results_of(run, 1).ended == ()


def test_a_disk_that_stays_full_to_the_end_keeps_what_was_committed(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(2)
    with small_disk(tmp_path / "disk", 1200) as disk:
        store = begun(disk, hand, machine)
        fill(store, hand, machine, 5)
        Ballast(disk)
        _, kept = fill(store, hand, machine, 150)
        trouble = store.end("finished")
        assert trouble is not None
        assert trouble.kind == "full"
        with RunReader(store.path) as run:
            assert run.run().state == "crashed"
            assert len(list(run.samples())) >= 5 + kept
            assert results_of(run, 1).troubles[-1].kind == "incomplete"


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """EFBIG for what goes beyond: an error of the disk that needs no root. Python ignores the signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_errors_of_the_disk_are_survived(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(2)
    store = begun(tmp_path, hand, machine)
    with no_file_larger_than(os.path.getsize(f"{store.path}-wal") + 8192):
        taken, kept = fill(store, hand, machine, 20)
        trouble = store.event("io", "an event on a broken disk")
        assert trouble is not None
        assert trouble.kind == "io"
        assert kept < taken
    assert settled(store)
    store.end_phase(1)
    assert store.end("finished") is None
    with RunReader(store.path) as run:
        assert len(list(run.samples())) == 20
        assert next(run.events()).kind == "io"
        assert results_of(run, 1).troubles == ()
    assert complaints(store.path) == ()


def test_what_is_urgent_goes_where_all_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for an event, and none for the records that wait before it."""
    hand, machine = HandClock(), Machine(1)
    store = begun(tmp_path, hand, machine)
    store.sample(1, machine.sample(0), wait=True)
    commit = store._journal._commit
    monkeypatch.setattr(store._journal, "_commit", lambda entries: (
        ("full", "no space") if any(one.record for one in entries) else commit(entries)))
    trouble = store.sample(1, machine.sample(0), wait=True)
    assert trouble is not None
    assert trouble.kind == "full"
    assert store.event("one", "an event has room") is None
    with RunReader(store.path) as run:
        assert [one.kind for one in run.events()] == ["one"]
    monkeypatch.undo()
    assert settled(store)
    with RunReader(store.path) as run:
        assert len(list(run.samples())) == 2
    store.close()


def test_no_record_is_written_before_what_it_refers_to() -> None:
    pending = Pending()
    row = Entry(WORDS, (1, "x", 0), durable=True, room=ANY_BYTES)
    for _ in range(CHUNK + 1):
        pending.append(row)
    pending.append(msgspec.structs.replace(row, record=Tailed(1, 1, 1, 1, 0, [])))
    urgent, bulk = pending.batch()
    assert (len(urgent), len(bulk)) == (CHUNK, 0)
    pending.take_off((CHUNK, 0))
    urgent, bulk = pending.batch()
    assert (len(urgent), len(bulk)) == (1, 1)


def test_records_that_cannot_be_folded_stay_as_they_are_and_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boxcheck.store.folding.MOST_RECORDS", 50)
    hand, machine = HandClock(), Machine(1)
    store = begun(tmp_path, hand, machine)
    monkeypatch.setattr(store._journal, "_fold", lambda: None)
    fill(store, hand, machine, 40)
    assert store._journal._folder.records <= 50
    monkeypatch.undo()
    fill(store, hand, machine, 70)
    store.end_phase(1)
    store.end("finished")
    with RunReader(store.path) as run:
        assert [one.seconds for one in run.samples()] == [float(second) for second in range(1, 111)]
        assert results_of(run, 1).troubles == ()
    assert complaints(store.path) == ()


def test_a_disk_that_hangs_does_not_hang_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = create_run(str(tmp_path), INFO, patience=0.1)
    commit = store._journal._commit
    monkeypatch.setattr(store._journal, "_commit", lambda entries: (time.sleep(2.0), commit(entries))[1])
    began = time.monotonic()
    trouble = store.event("slow", "an event on a slow disk")
    assert trouble is not None
    assert trouble.kind == "slow"
    assert time.monotonic() - began < 1.5
    time.sleep(2.1)
    monkeypatch.undo()
    assert store.flush() is None
    store.close()
    with RunReader(store.path) as run:
        assert [one.kind for one in run.events()] == ["slow"]


def test_no_room_for_a_store_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"MB are free, a run needs at least 1000000000 MB") as caught:
        create_run(str(tmp_path), INFO, least_free_bytes=10**15)
    assert (caught.value.kind, "make room" in caught.value.help) == ("full", True)
    assert os.listdir(tmp_path) == []
    with small_disk(tmp_path / "disk", 8) as disk:
        with pytest.raises(StoreError, match="no space is left on the disk") as caught:
            create_run(str(disk), INFO, least_free_bytes=0)
        assert caught.value.kind == "full"
        assert os.listdir(disk) == [], "nothing half made is left"


def test_nothing_is_left_of_a_store_that_could_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise StoreError("io", f"{path}: this disk takes no write-ahead log")

    monkeypatch.setattr("boxcheck.store.creating._connect", refuse)
    with pytest.raises(StoreError, match="takes no write-ahead log"):
        create_run(str(tmp_path), INFO)
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_not_there_or_takes_no_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such directory") as caught:
        create_run(str(tmp_path / "nowhere"), INFO)
    assert caught.value.kind == "absent"
    if os.geteuid() == 0:
        with small_disk(tmp_path / "disk", 100) as disk:
            make_read_only(disk)
            with pytest.raises(StoreError, match="read-only file system") as caught:
                create_run(str(disk), INFO, least_free_bytes=0)
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(StoreError, match="permission denied") as caught:
            create_run(str(tmp_path / "closed"), INFO, least_free_bytes=0)
    assert caught.value.kind == "forbidden"


def test_a_store_on_a_read_only_disk_is_not_gone_on_with(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2000) as disk:
        store = create_run(str(disk), INFO, least_free_bytes=0)
        store.close()
        make_read_only(disk)
        with pytest.raises(StoreError, match="read-only") as caught:
            reopen_run(store.path, version="0.4.0")
        assert caught.value.kind == "forbidden"
