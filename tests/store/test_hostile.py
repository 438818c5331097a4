"""A store that somebody made up, with sums that are right: it is refused in words, and reads as nothing it is not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

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
