"""A damaged store: what is saved is what was written, what is lost is told, and nothing that lacks something passes."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from struct import pack
from typing import Any

import msgspec
import pytest

from boxcheck.model import BOX
from boxcheck.registry import failed
from boxcheck.store.blocks import inflated, unpack_block, unpack_column
from boxcheck.store.creating import create_run
from boxcheck.store.errors import StoreError
from boxcheck.store.pages import Found, Pages
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.store.salvage import Salvage, salvage_run
from boxcheck.store.schema import COPIED, PAGE_BYTES, TAIL, summed
from boxcheck.store.verify import complaints
from boxcheck.stress import StressResults
from tests.store.machine import HandClock, Machine


class Content:
    """All that a store holds."""

    def __init__(self, path: str) -> None:
        with RunReader(path) as run:
            self.run = run.run()
            self.events = {one.number: one for one in run.events()}
            self.samples = {one.number: one for one in run.samples()}
            self.readings = {repr(one) for one in run.readings()}
            self.findings = list(map(repr, run.findings()))
            self.attachments = {name: run.attachment(name) for name in run.attachments()}
            self.results = {
                one.plan.number: results_of(run, one.plan.number) for one in run.phases() if one.start is not None}
            self.watching = {number: watching_of(run, number) for number in self.results}


def write(folder: Path, *, end: bool) -> str:
    hand, machine = HandClock(), Machine(2, links=3)
    store = create_run(str(folder), RunInfo(kind="burn", version="0.4.0", box="W-0007"), clock=hand.clock())
    for phase in (1, 2):
        store.plan_phase(PhasePlan(number=phase, name=f"phase {phase}", module="matmul"))
        store.about(phase, f"work {phase}")
        store.begin_phase(phase, PhaseStart(gpus=machine.gpus))
        samples = []
        for second in range(62):
            hand.pass_by(1)
            for number in range(2):
                store.watched(phase, machine.told_by(number, hand.monotonic))
                sample = machine.sample(number, wrong=int(second == 33))
                samples.append((number, sample))
                store.sample(phase, sample, worker=number)
            if second % 10 == 0:
                store.event("tick", f"second {second}", phase=phase, data={"second": second})
        samples.sort(key=lambda one: one[0])
        store.findings(phase, [msgspec.structs.replace(failed(BOX, f"finding {number}"), check="a.b") for number in range(9)])
        if phase == 1 or end:
            store.end_phase(phase, StressResults(
                module="matmul", gpus=machine.gpus, samples=tuple(one for _, one in samples), troubles=(),
                ended=("cuda:0", "cuda:1")))
    store.attach("doctor-before", random.Random(1).randbytes(9000), "application/octet-stream")  # over three pages
    store.flush()
    if end:
        store.end("finished", outcome="fail")
    else:  # as a crash leaves it
        crashed = folder / "crashed"
        crashed.mkdir()
        for ending in ("", "-wal"):
            shutil.copyfile(f"{store.path}{ending}", crashed / f"run.sqlite{ending}")
        store.close()
        return str(crashed / "run.sqlite")
    return store.path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("finished"), end=True)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("crashed"), end=False)


@pytest.fixture(scope="module")
def true(finished: str) -> Content:
    return Content(finished)


def assert_nothing_wrong(content: Content, true: Content) -> None:
    """All that is there is what was written, and a phase that lacks something cannot pass."""
    assert content.events.items() <= true.events.items()
    assert content.samples.items() <= true.samples.items()
    assert content.readings <= true.readings
    assert set(content.findings) <= set(true.findings)
    assert content.attachments.items() <= true.attachments.items()
    for number, results in content.results.items():
        if results.ended:
            assert results == true.results[number]
            assert content.watching[number] == true.watching[number]


def damage(path: str, target: Path, chance: random.Random) -> tuple[str, str]:
    """A copy with one thing wrong, and what that is."""
    data = bytearray(Path(path).read_bytes())
    pages = len(data) // PAGE_BYTES
    how = chance.choice(("flip", "flip", "flips", "cut", "page", "zeros", "hole", "swap", "header"))
    if how == "flip":
        place = chance.randrange(len(data))
        data[place] ^= 1 << chance.randrange(8)
    elif how == "flips":
        for _ in range(40):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del data[chance.randrange(1, len(data)):]
    elif how == "page":
        place = chance.randrange(pages) * PAGE_BYTES
        data[place:place + PAGE_BYTES] = chance.randbytes(PAGE_BYTES)
    elif how == "zeros":
        place = chance.randrange(pages) * PAGE_BYTES
        data[place:place + 4 * PAGE_BYTES] = bytes(min(4 * PAGE_BYTES, len(data) - place))
    elif how == "hole":
        place = chance.randrange(pages) * PAGE_BYTES
        del data[place:place + PAGE_BYTES]
    elif how == "swap":
        one, other = (PAGE_BYTES * number for number in chance.sample(range(pages), 2))
        data[one:one + PAGE_BYTES], data[other:other + PAGE_BYTES] = (
            data[other:other + PAGE_BYTES], data[one:one + PAGE_BYTES])
    else:
        data[:100] = chance.randbytes(100)
    copy = target / "damaged.sqlite"
    copy.write_bytes(data)
    return str(copy), how


@pytest.mark.parametrize("seed", range(54))
def test_no_damage_makes_wrong_data_look_right(finished: str, true: Content, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path, how = damage(finished, tmp_path, chance)
    try:
        found: Content | None = Content(path)
    except StoreError:
        found = None
    if found is not None:
        assert_nothing_wrong(found, true)
    try:
        sound = not complaints(path)
    except StoreError:
        sound = False
    try:
        salvage = salvage_run(path, str(tmp_path / "saved.sqlite"))
    except StoreError:
        assert how == "cut"
        assert Path(path).stat().st_size < 2 * PAGE_BYTES, "something was left that could be saved"
        return
    saved = Content(salvage.path)
    assert_nothing_wrong(saved, true)
    if sound:  # a bit that means nothing
        assert saved.samples == true.samples
    lost = len(true.samples) - len(saved.samples) + len(true.events) - len(saved.events)
    if lost:
        assert not salvage.whole, f"{how}: {lost} rows are lost and nothing tells it"
        assert salvage.lines()
    if how in ("flip", "page", "header", "swap", "hole"):
        assert len(saved.samples) > 0.6 * len(true.samples), f"{how} costs a page, not the store"


def test_a_sound_store_is_salvaged_whole(finished: str, true: Content, tmp_path: Path) -> None:
    salvage = salvage_run(finished, str(tmp_path / "saved.sqlite"))
    assert salvage.whole
    saved = Content(salvage.path)
    assert (saved.events, saved.samples, saved.readings, saved.results, saved.attachments, saved.findings) == (
        true.events, true.samples, true.readings, true.results, true.attachments, true.findings)
    assert msgspec.structs.replace(saved.run, path="", salvaged=None) == msgspec.structs.replace(true.run, path="")
    assert saved.run.salvaged["missing"] == {}
    assert complaints(salvage.path) == ()


@pytest.mark.parametrize("table", COPIED)
def test_rows_that_much_hangs_on_are_there_twice(finished: str, true: Content, tmp_path: Path, table: str) -> None:
    """A page with the names of all columns, or the only session, is one page."""
    data = bytearray(Path(finished).read_bytes())
    lost = 0
    for place in range(PAGE_BYTES, len(data), PAGE_BYTES):
        page = bytes(data[place:place + PAGE_BYTES])
        if any(one.name == table for one, _ in Found(Pages(bytes(PAGE_BYTES) + page)).rows()):
            data[place:place + PAGE_BYTES] = bytes(PAGE_BYTES)
            lost += 1
    assert lost
    path = tmp_path / "run.sqlite"
    path.write_bytes(data)
    salvage = salvage_run(str(path), str(tmp_path / "saved.sqlite"))
    assert salvage.whole
    saved = Content(salvage.path)
    assert (saved.samples, saved.results, saved.events) == (true.samples, true.results, true.events)


def test_rows_of_the_tail_that_are_in_a_block_too_count_once(crashed: str, tmp_path: Path) -> None:
    """Pages that are free may still hold them, where SQLite does not overwrite what it deletes."""
    path = tmp_path / "run.sqlite"
    shutil.copyfile(crashed, path)
    shutil.copyfile(f"{crashed}-wal", f"{path}-wal")
    with closing(sqlite3.connect(path)) as base:
        (stream, data), = base.execute(
            "SELECT stream, data FROM blocks WHERE stream IN (SELECT id FROM streams WHERE kind = 'sample') LIMIT 1")
        constants, others = unpack_block(inflated(data))
        rows = len(others[0][-1]) + 1
        numbers = unpack_column(others[0], rows)
        cells = [unpack_column(others[place], rows)[0] if place in others else one for place, one in enumerate(constants)][2:]
        row = summed(TAIL, (numbers[0], 1, 1, stream, 1000, msgspec.msgpack.encode(cells)))
        base.execute(TAIL.insert, row)
        base.commit()
    salvage = salvage_run(str(path), str(tmp_path / "saved.sqlite"))
    with RunReader(salvage.path) as run, RunReader(crashed) as as_it_was:
        assert list(run.samples()) == list(as_it_was.samples())


def frame(number: int, commit: int, letter: bytes) -> bytes:
    return pack(">II", number, commit) + b"saltsalt" + bytes(8) + letter * PAGE_BYTES


def test_of_a_log_what_was_committed_counts_first_and_nothing_is_left_out() -> None:
    head = bytes(16) + b"saltsalt" + bytes(8)
    log = head + frame(2, 0, b"b") + frame(3, 3, b"c") + frame(2, 0, b"d") + frame(9, 9, b"e").replace(b"salt", b"olds")
    pages = Pages(b"0" * PAGE_BYTES + b"1" * PAGE_BYTES, log)
    assert [pages.page(number)[:1] for number in (0, 1, 2, 3, 4)] == [b"", b"0", b"b", b"c", b""]
    assert [page[:1] for page in pages.versions()] == [b"0", b"b", b"c", b"1", b"d"]


def test_a_crashed_store_is_salvaged_with_its_log(crashed: str, tmp_path: Path) -> None:
    salvage = salvage_run(crashed, str(tmp_path / "saved.sqlite"))
    assert (salvage.missing, salvage.damaged, salvage.log) == ({}, 0, True)
    assert salvage.phases == {2: "boxcheck or the machine went down while it ran (work 2)"}
    assert Content(salvage.path).samples == Content(crashed).samples


def test_without_its_log_a_crashed_store_says_so(crashed: str, tmp_path: Path) -> None:
    copy = tmp_path / "alone.sqlite"
    shutil.copyfile(crashed, copy)
    salvage = salvage_run(str(copy), str(tmp_path / "saved.sqlite"))
    assert not salvage.log
    assert "no log (-wal) was beside it" in salvage.lines()[-1]
    whole, alone = Content(crashed), Content(salvage.path)
    assert alone.samples.items() < whole.samples.items()
    assert all(results.ended == () or results == whole.results[number] for number, results in alone.results.items())


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_log_costs_what_it_held_at_most(crashed: str, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "run.sqlite"
    shutil.copyfile(crashed, path)
    log = bytearray(Path(f"{crashed}-wal").read_bytes())
    if seed % 2:
        del log[chance.randrange(len(log)):]
    else:
        for _ in range(seed):
            log[chance.randrange(len(log))] ^= 1 << chance.randrange(8)
    Path(f"{path}-wal").write_bytes(log)
    true = Content(crashed)
    try:
        found: Content | None = Content(str(path))
    except StoreError:
        found = None
    for content in (found, Content(salvage_run(str(path), str(tmp_path / "saved.sqlite")).path)):
        if content is not None:
            assert content.samples.items() <= true.samples.items()
            assert content.events.items() <= true.events.items()
            assert 2 not in content.results or content.results[2].ended == ()


@pytest.mark.parametrize(("data", "says"), [
    (b"", "nothing of a run"), (b"\x0d" * 50_000, "nothing of a run"), (None, "no such file")])
def test_where_nothing_can_be_saved_that_is_told(tmp_path: Path, data: Any, says: str) -> None:
    path = tmp_path / "run.sqlite"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(StoreError, match=says):
        salvage_run(str(path), str(tmp_path / "saved.sqlite"))
    assert sorted(one.name for one in tmp_path.iterdir()) == ([] if data is None else ["run.sqlite"])


def test_a_pipe_is_nothing_that_can_be_saved_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.sqlite")
    os.mkfifo(tmp_path / "run.sqlite-wal")
    with pytest.raises(StoreError, match=r"run\.sqlite: is no file"):
        salvage_run(str(tmp_path / "run.sqlite"), str(tmp_path / "saved.sqlite"))


def test_a_salvage_never_overwrites_and_leaves_its_source_as_it_is(finished: str, tmp_path: Path) -> None:
    target = tmp_path / "saved.sqlite"
    target.write_bytes(b"mine")
    with pytest.raises(StoreError, match="is there already"):
        salvage_run(finished, str(target))
    assert target.read_bytes() == b"mine"
    before = Path(finished).read_bytes()
    assert isinstance(salvage_run(finished, str(tmp_path / "other.sqlite")), Salvage)
    assert Path(finished).read_bytes() == before


def test_a_run_that_goes_on_is_not_salvaged(tmp_path: Path) -> None:
    with create_run(str(tmp_path), RunInfo(kind="burn", version="0.4.0")) as store, pytest.raises(
            StoreError, match="is being written"):
        salvage_run(store.path, str(tmp_path / "saved.sqlite"))
