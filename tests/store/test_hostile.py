"""A store that somebody made up, with sums that are right: it is refused in words, and reads as nothing it is not."""

from __future__ import annotations

import sqlite3
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.store.blocks import MIXED, WHOLE
from boxcheck.store.creating import create_run, reopen_run
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import entry_object, list_runs
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import RunInfo
from boxcheck.store.salvage import salvage_run
from boxcheck.store.schema import TABLES, row_sum
from boxcheck.store.series import several_of
from boxcheck.store.verify import complaints
from tests.store.small import small_run

ODD: tuple[Any, ...] = (
    None, -1, 7, (1 << 63) - 1, 0.5, "", "{}", "[[1]]", b"\x90")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    store, hand, machine = small_run(tmp_path_factory.mktemp("whole"))
    store.event("tick", "something", data={})
    store.attach("doctor-before", b"{}")
    store.end_phase(1)
    store.watched(0, machine.told_by(0, hand.monotonic))
    store._journal._folder.clear()  # stays in `tail`
    store.flush()
    store.end("finished", outcome="pass")
    return Path(store.path).read_bytes()


def make_up(whole: bytes, path: Path, table: str, column: int, odd: Any) -> None:
    """The store with an odd value in the first row of a table, and a sum that is right."""
    path.write_bytes(whole)
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("PRAGMA synchronous=OFF")
        row = base.execute(f"{TABLES[table].select} ORDER BY id").fetchone()
        values = [*row[:column + 1], odd, *row[column + 2:-1]]
        base.execute(TABLES[table].insert.replace("IGNORE", "REPLACE"), [*values, row_sum(table, values)])


def everything(path: str) -> None:
    with RunReader(path) as run:
        run.run()
        for phase in run.phases():
            results_of(run, phase.plan.number)
            watching_of(run, phase.plan.number)
        for some in (run.samples(), run.readings(), run.events(), run.findings(), run.latest()):
            list(some)
        several_of(run, "0000:41:00.0", ["power_watts"])
        run.verdict()
        for name in run.attachments():
            run.attachment(name)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_no_value_of_any_column_breaks_a_reader(whole: bytes, tmp_path: Path, table: str) -> None:
    path = tmp_path / "run.sqlite"
    refused = tried = 0
    for column in range(len(TABLES[table].columns)):
        for odd in ODD:
            make_up(whole, path, table, column, odd)
            tried += 1
            try:
                everything(str(path))
            except StoreError:
                refused += 1
    assert refused > tried / 4 or table == "copies"


@pytest.mark.parametrize("table", ["blocks", "tail", "copies", "ends", "sessions", "streams", "words", "meta"])
def test_no_value_of_any_column_breaks_what_else_opens_a_store(whole: bytes, tmp_path: Path, table: str) -> None:
    path = tmp_path / "run.sqlite"
    for column in range(len(TABLES[table].columns)):
        for odd in ODD[::3]:
            make_up(whole, path, table, column, odd)
            for entry in list_runs(str(tmp_path)):
                entry_object(entry)
            for try_it in (
                    lambda: complaints(str(path)), lambda: salvage_run(str(path), str(tmp_path / "x" / "saved.sqlite")),
                    lambda: reopen_run(str(path), version="0.4.0").close()):
                (tmp_path / "x").mkdir(exist_ok=True)
                (tmp_path / "x" / "saved.sqlite").unlink(missing_ok=True)
                try:
                    try_it()
                except StoreError:
                    continue


def test_a_page_whose_bytes_are_no_text_is_damage(tmp_path: Path) -> None:
    """SQLite quotes them in its own words, which the sqlite3 module then cannot decode."""
    path = tmp_path / "x.sqlite"
    with create_run(str(tmp_path), RunInfo(kind="burn", version="0", id="x")) as store:
        store.flush()
    data = bytearray(path.read_bytes())
    at = data.index(b"CREATE TABLE meta")
    data[at:at + 6] = b"\x87\xff\xfe\x80\x99\xc3"
    path.write_bytes(data)
    with pytest.raises(StoreError) as caught:
        RunReader(str(path))
    assert caught.value.kind in ("damaged", "not-a-store", "io")
    assert "boxcheck runs salvage" in caught.value.help


def test_a_column_that_is_no_text_is_damage_and_is_not_quoted(tmp_path: Path) -> None:
    with create_run(str(tmp_path), RunInfo(kind="burn", version="0", id="x")) as store:
        store.event("x", "secret words")
        store.end("finished", outcome="pass")
    path = str(tmp_path / "x.sqlite")
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE events SET says = CAST(x'ff80' || 'secret words' AS TEXT)")
    with RunReader(path) as reader, pytest.raises(StoreError) as caught:
        list(reader.events())
    assert caught.value.kind == "damaged"
    assert "secret" not in str(caught.value)


Packed = tuple[list[Any], list[list[Any]]]


def steps(rows: int) -> bytes:
    return b"\1" * (rows - 1)


def bombs() -> Iterator[tuple[str, int, int, Callable[[Packed], Packed]]]:
    """By name: how many blocks, with how many records each, and what is packed in them."""
    def many(rows: int) -> Callable[[Packed], Packed]:
        return lambda block: (
            [None, None, *(1 if one is None else one for one in block[0][2:])],
            [[0, WHOLE, 1, "b", steps(rows)], [1, WHOLE, 1, "b", steps(rows)]])

    yield "one column of millions", 1, 3, lambda block: (
        block[0], [[0, WHOLE, 1, "b", steps(12_000_000)], *block[1][1:]])
    yield "a block of a million", 1, 1 << 20, many(1 << 20)
    yield "a minute of millions", 100, 30_000, many(30_000)
    yield "a minute of megabytes", 20, 3, lambda block: (
        block[0], [*block[1][:2], [2, MIXED, ["x" * 5_000_000] * 3], *block[1][3:]])
    yield "millions in a few bytes", 100, 30_000, many(30_000)
    yield "lists in lists", 1, 3, lambda block: (block[0], [*block[1][:2], [2, MIXED, [[[]] * 12_000_000] * 3]])


@pytest.mark.parametrize("bomb", list(bombs()), ids=lambda bomb: bomb[0])
def test_few_bytes_that_unpack_to_millions_of_values_are_refused_before_they_do(
    tmp_path: Path, bomb: tuple[str, int, int, Callable[[Packed], Packed]],
) -> None:
    name, count, rows, change = bomb
    store, _, _ = small_run(tmp_path)
    store.end_phase(1)
    store.end("finished", outcome="pass")
    path = Path(store.path)
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("PRAGMA synchronous=OFF")
        base.execute("BEGIN")
        samples = "(SELECT id FROM streams WHERE kind = 'sample')"
        first = base.execute(f"{TABLES['blocks'].select} WHERE stream IN {samples} ORDER BY id").fetchone()
        data = zlib.compress(msgspec.msgpack.encode(change(msgspec.msgpack.decode(zlib.decompress(first[10])))), 9)
        for place in range(count):
            fold = first[4] if "minute" in name else first[4] + place
            values = [first[0] + 100 * place, *first[1:4], fold, *first[5:7], rows, *first[8:10], data]
            base.execute(TABLES["blocks"].insert.replace("IGNORE", "REPLACE"), [*values, row_sum("blocks", values)])
        base.execute("COMMIT")
    tracemalloc.start()
    try:
        with pytest.raises(StoreError):
            everything(str(path))
        with suppress(StoreError):
            salvage_run(str(path), str(tmp_path / "saved.sqlite"))
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("table", "column"), [("meta", 1), ("phases", 3), ("ends", 6), ("ends", 7), ("streams", 2), ("events", 8), ("findings", 5)])
def test_a_document_that_is_nested_deeply_is_damage(whole: bytes, tmp_path: Path, table: str, column: int) -> None:
    path = tmp_path / "run.sqlite"
    for deep in ("[" * 5000 + "]" * 5000, '{"a\\u0020":' * 5000 + "1" + "}" * 5000):
        make_up(whole, path, table, column, deep)
        with pytest.raises(StoreError):
            everything(str(path))
        with suppress(StoreError):
            salvage_run(str(path), str(tmp_path / "saved.sqlite"))
        (tmp_path / "saved.sqlite").unlink(missing_ok=True)


def test_a_record_of_doctor_that_is_nested_deeply_is_listed_with_its_trouble(tmp_path: Path) -> None:
    (tmp_path / "x-doctor.json").write_text('{"schema":"boxcheck.run/1","more":' + "[" * 5000 + "]" * 5000 + "}")
    [entry] = list_runs(str(tmp_path))
    assert entry.trouble is not None
