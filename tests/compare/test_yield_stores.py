"""Stores beside attempts, in the yield: a copy is no run of its own, a failure in one is not lost, and what is taken for
what is told."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from boxcheck.compare.attempts import Read, read_attempts
from boxcheck.compare.yields import Counts, Window, yield_of
from boxcheck.store.schema import row_sum
from tests.compare.test_commands import attempt, scene


def retold(store: str, to: Path, **meta: str) -> None:
    """A copy of a store that tells something else of its run. Made-up runs begin in one second of one boot of one
    box."""
    shutil.copyfile(store, to)
    with closing(sqlite3.connect(to)) as file, file:
        for key, value in meta.items():
            (at,) = file.execute("SELECT id FROM meta WHERE key = ?", (key,)).fetchone()
            row = (at, key, json.dumps(value))
            file.execute("UPDATE meta SET value = ?, sum = ? WHERE id = ?", (row[2], row_sum("meta", row), at))


def copied(name: str, to: Path) -> None:
    shutil.copyfile(scene(name).path, to)


def counted(root: Path) -> tuple[Counts, Read]:
    read = read_attempts([str(root)])
    return yield_of(read.attempts, Window(), None, "0", read.told).total, read


def test_burn_ins_count_by_their_stores(tmp_path: Path) -> None:
    for name in ("passing", "bad-riser", "crashed"):
        retold(scene(name).path, tmp_path / f"{name}.sqlite", boot=name)
    made, read = counted(tmp_path)
    assert read.unread == 0
    assert (made.boxes, made.attempts) == (1, 3), "all three are of box W-0007"
    assert made.not_finished == {"INCOMPLETE": 1}


def test_a_copy_of_a_store_is_counted_once_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    for place in ("passing.sqlite", "archive/copy-of-passing.sqlite"):
        copied("passing", tmp_path / place)
    made, read = counted(tmp_path)
    assert (made.attempts, made.first_pass.of) == (1, 1)
    assert any("is a copy of" in line and "counted once" in line for line in read.told)


def test_of_two_stores_of_one_run_that_do_not_agree_the_failure_counts(tmp_path: Path) -> None:
    for name in ("passing", "bad-riser"):  # one id, one box, one boot, one begin
        copied(name, tmp_path / f"{name}.sqlite")
    made, read = counted(tmp_path)
    assert (made.attempts, made.first_pass.passed) == (1, 0)
    assert any("does not agree (FAIL is counted)" in line for line in read.told)


@pytest.mark.parametrize(("whole", "passed"), [("passing", 1), ("bad-riser", 0)])
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_copy_from_before_the_end_of_a_run_takes_nothing_from_its_result(
    tmp_path: Path, names: tuple[str, str], whole: str, passed: int
) -> None:
    copied(whole, tmp_path / f"{names[0]}.sqlite")
    copied("crashed", tmp_path / f"{names[1]}.sqlite")
    made, read = counted(tmp_path)
    assert (made.attempts, made.first_pass.of, made.first_pass.passed) == (1, 1, passed)
    line, = read.told
    assert line.endswith(f"{names[1]}.sqlite is an unfinished copy of {tmp_path}/{names[0]}.sqlite: counted once")


def test_a_run_that_began_in_the_second_of_another_boxes_attempt_is_counted(tmp_path: Path) -> None:
    attempt(tmp_path / "attempt-01", "passing")
    retold(scene("bad-riser").path, tmp_path / Path(scene("bad-riser").path).name, boot="elsewhere")
    assert counted(tmp_path)[0].attempts == 2


def test_another_boxes_run_of_that_second_is_counted_where_the_attempts_store_is_gone(tmp_path: Path) -> None:
    (attempt(tmp_path / "attempt-01", "passing") / "run.sqlite").unlink()
    retold(scene("bad-riser").path, tmp_path / "other.sqlite", box="W-0099")
    made, read = counted(tmp_path)
    assert (made.boxes, made.first_pass.passed, made.first_pass.of) == (2, 1, 2)
    assert any("a run of W-0099" in line and "counted as another box's" in line for line in read.told)


@pytest.mark.parametrize("left", [None, b"", b"SQLite format 3\0" + bytes(4000)])
def test_what_is_taken_for_the_run_of_an_attempt_without_its_store_is_told(tmp_path: Path, left: bytes | None) -> None:
    store = attempt(tmp_path / "attempt-01", "passing") / "run.sqlite"
    if left is None:
        store.unlink()
    else:
        store.write_bytes(left)
    copied("passing", tmp_path / "copy.sqlite")
    made, read = counted(tmp_path)
    assert (made.attempts, made.first_pass.passed, read.unread) == (1, 1, 0)
    line, = read.told
    assert "copy.sqlite: taken for the run of " in line
    assert line.endswith("not counted once more")


@pytest.mark.parametrize("there", [True, False])
def test_a_copy_of_a_passed_attempts_run_that_failed_counts(tmp_path: Path, there: bool) -> None:
    folder = attempt(tmp_path / "attempt-01", "passing")
    if not there:
        (folder / "run.sqlite").unlink()
    copied("bad-riser", tmp_path / "went-on.sqlite")  # the very run: one id, one box, one boot, one begin
    made, read = counted(tmp_path)
    assert (made.attempts, made.first_pass.passed, made.first_pass.of, read.unread) == (1, 0, 1, 1)
    assert read.attempts[0].booked
    assert "went-on.sqlite (FAIL) is a copy of the run of " in read.told[-1]
    assert "(PASS) and does not agree" in read.told[-1]


@pytest.mark.parametrize(("kept", "copy"), [("passing", "passing"), ("passing", "crashed"), ("bad-riser", "bad-riser")])
def test_a_copy_of_an_attempts_run_that_says_nothing_graver_is_no_word_worth(
    tmp_path: Path, kept: str, copy: str
) -> None:
    attempt(tmp_path / "attempt-01", kept)
    alone, before = counted(tmp_path)
    copied(copy, tmp_path / Path(scene(copy).path).name)
    made, read = counted(tmp_path)
    assert (made, read.told, read.unread) == (alone, before.told, 0)
