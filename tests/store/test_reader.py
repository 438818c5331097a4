"""Stores are read while they are written, on read-only disks, and by whoever may read; what is none is told."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from boxcheck.judge import ExitCode
from boxcheck.model import Unread
from boxcheck.store.creating import create_run
from boxcheck.store.database import Database
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.store.schema import BLOCKS, summed
from boxcheck.store.series import Series, several_of, stretches
from boxcheck.store.verify import complaints
from boxcheck.store.writer import RunWriter
from boxcheck.telemetry.readings import GpuReading, GpuSilent, LinkReading
from boxcheck.usage import UsageError
from tests.store.disks import make_read_only, small_disk
from tests.store.machine import HandClock, Machine
from tests.store.small import small_run

INFO = RunInfo(kind="burn", version="0.4.0")


def written(folder: Path, seconds: int = 100, vendor: str = "nvidia") -> tuple[RunWriter, HandClock, Machine]:
    hand, machine = HandClock(), Machine(2, vendor=vendor)
    store = create_run(str(folder), INFO, clock=hand.clock(), least_free_bytes=0)
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul"))
    store.begin_phase(1, PhaseStart(gpus=machine.gpus))
    for _ in range(seconds):
        hand.pass_by(1)
        for number in range(2):
            store.watched(1, machine.told_by(number, hand.monotonic))
            store.sample(1, machine.sample(number), worker=number)
    store.flush()
    return store, hand, machine


def test_reports_read_while_the_run_goes_on(tmp_path: Path) -> None:
    """Every snapshot is whole: the samples that were there before, in their order, and more."""
    store, hand, machine = written(tmp_path, 10)
    stop, wrong, counts = threading.Event(), list[str](), [0]

    def read() -> None:
        while not stop.wait(0.01):
            with RunReader(store.path) as run:
                with run.database.snapshot():
                    numbers = [one.number for one in run.samples(1)]
                    again = [one.number for one in run.samples(1)]
                readings = sum(isinstance(one, GpuReading) for one in run.readings(1))
            if numbers != sorted(set(numbers)) or numbers != again or len(numbers) < counts[-1] or readings < 20:
                wrong.append(f"{len(numbers)} after {counts[-1]}, {readings} readings")
            counts.append(len(numbers))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(150):  # folds twice
        hand.pass_by(1)
        for number in range(2):
            assert store.watched(1, machine.told_by(number, hand.monotonic)) is None
        assert store.sample(1, machine.sample(0), wait=True) is None
    stop.set()
    reader.join()
    assert wrong == []
    assert len(set(counts)) > 5
    store.end_phase(1)
    assert store.end("finished") is None
    assert complaints(store.path) == ()


def test_whoever_follows_a_run_asks_for_what_is_new(tmp_path: Path) -> None:
    store, hand, machine = written(tmp_path, 70)
    with RunReader(store.path) as run:
        store.event("one", "first")
        (first,) = run.events()
        store.event("two", "second")
        assert [one.kind for one in run.events(after=first.number)] == ["two"]
        latest = run.latest()
        assert {one.bdf for one in latest if isinstance(one, GpuReading)} == set(machine.bdfs)
        assert {one.monotonic_seconds for one in latest if isinstance(one, GpuReading)} == {hand.monotonic}
        assert sum(isinstance(one, LinkReading) for one in latest) == 16
        gone = GpuSilent(bdf=machine.bdfs[0], monotonic_seconds=hand.monotonic + 1, state="lost", why=Unread("gone"))
        store.watched(1, [gone])
        store.flush()
        assert gone in run.latest()
        assert all(one.bdf != gone.bdf for one in run.latest() if isinstance(one, GpuReading)), "stale is not shown"
    store.close()


def test_a_reader_does_not_keep_the_store_from_its_end(tmp_path: Path) -> None:
    store, _, _ = written(tmp_path, 70)
    with RunReader(store.path) as run, run.database.snapshot():
        before = len(list(run.samples()))
        store.end_phase(1)
        assert store.end("finished") is None
        assert len(list(run.samples())) == before
    with RunReader(store.path) as run:
        assert run.run().state == "finished"
        assert len(list(run.samples())) == before == 140


@pytest.mark.parametrize("with_index", [True, False], ids=["-shm is there", "-shm is gone"])
def test_a_crashed_run_on_a_read_only_disk_is_read_with_its_log(tmp_path: Path, with_index: bool) -> None:
    """immutable=1 would leave the log out, and what was committed last with it."""
    with small_disk(tmp_path / "disk", 4000) as disk:
        source, _, _ = written(tmp_path, 70)
        source.event("last", "committed last")
        copied = disk / "run.sqlite"
        for end in ("", "-wal", "-shm"):
            if end != "-shm" or with_index:
                (disk / f"run.sqlite{end}").write_bytes(Path(f"{source.path}{end}").read_bytes())
        source.close()
        make_read_only(disk)
        before = set(os.listdir("/tmp"))
        with RunReader(str(copied)) as run:
            assert [one.kind for one in run.events()] == ["last"]
            assert len(list(run.samples())) == 140
            assert run.run().state == "crashed"
        left = {name for name in set(os.listdir("/tmp")) - before if name.startswith("boxcheck-")}
        assert not left, "no copy stays"


def test_a_finished_run_on_a_read_only_disk_is_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4000) as disk:
        store, _, _ = written(disk, 70)
        store.end_phase(1)
        store.end("finished")
        make_read_only(disk)
        with RunReader(store.path) as run:
            assert run.run().state == "finished"
            assert len(list(run.samples())) == 140


def test_reading_changes_nothing(tmp_path: Path) -> None:
    store, _, _ = written(tmp_path, 70)
    store.end_phase(1)
    store.end("finished")
    before = Path(store.path).read_bytes()
    with RunReader(store.path) as run:
        results_of(run, 1)
        watching_of(run, 1)
    assert complaints(store.path) == ()
    assert Path(store.path).read_bytes() == before
    assert os.listdir(tmp_path) == [os.path.basename(store.path)]


def changed(path: str, sql: str) -> str:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()
    return path


def test_a_store_of_a_later_version_is_refused_with_its_number(tmp_path: Path) -> None:
    store, _, _ = written(tmp_path, 2)
    store.end("finished")
    changed(store.path, "PRAGMA user_version = 7")
    with pytest.raises(StoreError, match="written by a later boxcheck: it is of version 7, this one reads 1") as caught:
        RunReader(store.path)
    assert (caught.value.kind, caught.value.help[:15]) == ("newer", "update boxcheck")
    assert isinstance(caught.value, UsageError), f"exit code {ExitCode.USAGE}"


@pytest.mark.parametrize(("data", "says"), [
    (None, "no such file"), (b"", "no run of boxcheck"), (b"{}\n" * 500, "no run of boxcheck"),
    (b"SQLite format 3\0" + b"\0" * 5000, "no run of boxcheck"), ("other", "no run of boxcheck"), ("folder", "no file"),
])
def test_what_is_no_store_is_told(tmp_path: Path, data: bytes | str | None, says: str) -> None:
    path = tmp_path / "x.sqlite"
    if data == "folder":
        path.mkdir()
    elif data == "other":
        changed(str(path), "CREATE TABLE runs (id INTEGER)")
    elif isinstance(data, bytes):
        path.write_bytes(data)
    with pytest.raises(StoreError, match=says):
        RunReader(str(path))


@pytest.mark.parametrize("sql", [
    "CREATE VIEW more AS SELECT 1", "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END",
    "ALTER TABLE events ADD COLUMN more", "DROP TABLE findings",
])
def test_a_store_with_other_tables_than_its_own_is_not_read(tmp_path: Path, sql: str) -> None:
    store, _, _ = written(tmp_path, 2)
    store.end("finished")
    changed(store.path, sql)
    with pytest.raises(StoreError, match="its tables are not those of a run"):
        RunReader(store.path)


@pytest.mark.parametrize("sql", [
    "UPDATE events SET says = 'nothing happened'", "UPDATE meta SET value = '\"burn2\"' WHERE key = 'kind'",
    "UPDATE blocks SET rows = rows - 1 WHERE id = 1", "UPDATE marks SET data = 'null' WHERE mark = 'ended'",
    "UPDATE streams SET columns = '[]' WHERE id = 1", "UPDATE words SET text = '\"x\"' WHERE id = 1",
    "UPDATE ends SET outcome = 'pass'", "UPDATE sessions SET monotonic_ms = 0", "UPDATE findings SET outcome = 'pass'",
    "UPDATE blocks SET data = zeroblob(20) WHERE id = 2", "UPDATE attachments SET data = x'00'",
    "INSERT INTO events VALUES (9, 0, 1, 0, 0, 'k', 'info', '', 'never happened', NULL, 17)",
])
def test_a_row_that_is_not_what_was_written_is_refused(tmp_path: Path, sql: str) -> None:
    from boxcheck.model import BOX
    from boxcheck.registry import failed

    store, _, _ = written(tmp_path, 70)
    store.event("one", "something happened")
    store.findings(1, [failed(BOX, "61 bad TLPs")])
    store.attach("doctor-before", b"{}")
    store.end_phase(1)
    store.end("finished", outcome="fail")
    assert complaints(store.path) == ()
    changed(store.path, sql)
    (says,) = complaints(store.path)
    assert "is not what was written" in says
    with pytest.raises(StoreError, match="is not what was written"):
        read_all(store.path)


def read_all(path: str) -> None:
    with RunReader(path) as run:
        run.run()
        run.phases()
        watching_of(run, 1)
        results_of(run, 1)
        for everything in (run.events(), run.findings(), map(run.attachment, run.attachments()), iter([run.verdict()])):
            list(everything)


@pytest.mark.parametrize(("kind", "says"), [
    ("gpu", "readings are missing"), ("links", "readings are missing"), ("sample", "samples are missing")])
def test_a_phase_that_lacks_a_minute_of_one_kind_cannot_pass(tmp_path: Path, kind: str, says: str) -> None:
    store, _, _ = written(tmp_path, 70)
    store.end_phase(1)
    store.end("finished")
    changed(store.path, "DELETE FROM blocks WHERE id = (SELECT min(blocks.id) FROM blocks JOIN streams"
                        f" ON streams.id = stream WHERE kind = '{kind}')")
    with RunReader(store.path) as run:
        results = results_of(run, 1)
    (trouble,) = results.troubles
    assert says in trouble.says
    assert results.ended == ()


def test_a_fault_of_the_file_that_no_row_shows_is_found(tmp_path: Path) -> None:
    store, _, _ = written(tmp_path, 70)
    store.end_phase(1)
    store.end("finished")
    data = bytearray(Path(store.path).read_bytes())
    data[36:40] = (int.from_bytes(data[36:40], "big") + 3).to_bytes(4, "big")  # how many pages are free
    Path(store.path).write_bytes(data)
    assert any("freelist" in one.lower() for one in complaints(store.path))


def test_numbers_that_were_given_twice_are_found(tmp_path: Path) -> None:
    store, _, _ = written(tmp_path, 130)
    store.end_phase(1)
    store.end("finished")
    with closing(sqlite3.connect(store.path)) as base, base:
        (fold,) = base.execute("SELECT max(fold) FROM blocks").fetchone()
        for number, *row in base.execute(f"{BLOCKS.select} WHERE fold = ?", (fold,)).fetchall():
            values = (number, *row[:4], 1, *row[5:-1])
            base.execute(BLOCKS.insert.replace("IGNORE", "REPLACE"), summed(BLOCKS, values))
    assert any("numbers that were given before" in one for one in complaints(store.path))


@pytest.mark.parametrize("table", ["blocks", "events", "findings", "streams", "words"])
def test_a_row_that_is_missing_is_missed(tmp_path: Path, table: str) -> None:
    from boxcheck.model import BOX
    from boxcheck.registry import failed

    store, _, _ = written(tmp_path, 70)
    store.event("one", "something happened")
    store.findings(1, [failed(BOX, "61 bad TLPs")])
    store.end_phase(1)
    store.end("finished")
    changed(store.path, f"DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})")
    assert complaints(store.path)
    if table == "blocks":
        with RunReader(store.path) as run:
            (trouble,) = results_of(run, 1).troubles
            assert "missing in the store" in trouble.says
            assert results_of(run, 1).ended == ()


def test_a_quantity_over_time_has_gaps_where_nothing_was_read(tmp_path: Path) -> None:
    hand, machine = HandClock(), Machine(1)
    store = create_run(str(tmp_path), INFO, clock=hand.clock())
    bdf = machine.bdfs[0]
    for second in range(130):
        hand.pass_by(1)
        power: float | Unread | None = 400.0 + second
        if 40 <= second < 50:
            power = Unread("timeout", "timeout")
        if 80 <= second < 90:
            power = None
        store.watched(0, [GpuReading(bdf=bdf, monotonic_seconds=hand.monotonic, power_watts=power)])
    store.flush()
    with RunReader(store.path) as run:
        series = several_of(run, bdf, ["power_watts"])["power_watts"]
        assert len(series.values) == 120
        assert series.seconds[0] == 1.0
        assert [one for one in series.values if isinstance(one, Unread)] == [Unread("timeout", "timeout")] * 10
        parts = stretches(series, 13, 0.5, 130.5)
        assert [(one.low, one.high, one.read, one.unread) for one in parts[3:10]] == [
            (430.0, 439.0, 10, 0), (None, None, 0, 10), (450.0, 459.0, 10, 0), (460.0, 469.0, 10, 0),
            (470.0, 479.0, 10, 0), (None, None, 0, 0), (490.0, 499.0, 10, 0)]
        assert max(one.high for one in parts if one.high is not None) == 529.0, "no peak is lost"
        assert several_of(run, bdf, ["nothing"]) == {}
        assert stretches(Series([], []), 2)[0].read == 0
    store.close()


def test_a_fault_that_the_start_of_a_phase_alone_tells_of_counts() -> None:
    from tests.golden.runs import stored

    with RunReader(stored("injected")) as run:
        ended = [one for one in run.phases() if one.plan.module and one.end is not None]
        assert {one.end.results.injected for one in ended if one.end and one.end.results} == {None}
        assert {results_of(run, one.plan.number).injected for one in ended} == {"flip-output"}


def test_what_did_not_change_is_not_read_again_and_what_did_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever judges asks for a phase time and again; of a store of two thousand phases that took minutes."""
    read: list[str] = []
    real = Database.rows
    monkeypatch.setattr(Database, "rows", lambda self, table, *rest: (read.append(table.name), real(self, table, *rest))[1])
    store, _, _ = small_run(tmp_path)
    store.flush()
    with RunReader(store.path) as run:
        assert run.phase(1).state == "running"
        read.clear()
        assert run.phase(1).state == "running"
        assert not {"meta", "phases", "marks"} & set(read)
        store.end_phase(1)
        store.flush()
        assert run.phase(1).state == "ended"
        store.plan_phase(PhasePlan(number=2, name="vram", module="vram"))
        store.about(2, "work")
        store.flush()
        assert run.phase(2).state == "about"
        monkeypatch.setattr("boxcheck.store.reader.is_held", lambda path: False)
        assert (run.run().state, run.phase(2).state) == ("crashed", "cut")
        store.end("finished", outcome="pass")
        assert run.run().state == "finished"
