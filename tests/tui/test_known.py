"""What the start screen tells of this box: the last verdict on this box and on no other, and what went wrong since."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from boxcheck.tui.base import Look, Means
from boxcheck.tui.known import is_named_here, known_of, made_here
from boxcheck.tui.start import StartApp
from tests.tui.conftest import Runs
from tests.tui.showing import line_with, on_screen, run, shown, text, until


def folder_of(runs: Runs, tmp_path: Path, *names: str) -> str:
    for name in names:
        shutil.copy(runs(name).path, tmp_path / f"{name}.sqlite")
    return str(tmp_path)


def started(folder: str, here: bool | None, size: tuple[int, int] = (80, 24)) -> str:
    seen: list[str] = []

    async def test() -> None:
        app = StartApp(Means(folder=folder, is_here=lambda path: here), Look(), has_riser=True)
        async with on_screen(app, size) as pilot:
            await until(pilot, lambda: "here" in text(app))
            seen.append(text(app))

    run(test)
    return seen[0]


def test_a_pass_of_another_box_is_no_pass_of_this_one(runs: Runs, tmp_path: Path) -> None:
    folder = folder_of(runs, tmp_path, "finished")
    assert "PASSED" in started(folder, True)
    other = started(folder, False)
    assert "PASSED" not in other
    assert "no verdict on this box yet" in other
    assert "1 of other boxes: W-0007" in other
    assert "of a box that is not known to be this one" in started(folder, None)


@pytest.mark.parametrize("size", [(60, 16), (80, 24)])
def test_a_newer_crash_and_a_newer_damaged_run_are_told_beside_the_verdict(
    runs: Runs, tmp_path: Path, size: tuple[int, int]
) -> None:
    folder = folder_of(runs, tmp_path, "finished", "crashed")
    (tmp_path / "damaged.sqlite").write_bytes(b"SQLite format 3\0 and no more")
    seen = started(folder, True, size)
    assert "PASSED" in seen
    assert "cut off in p2p" in line_with(seen.splitlines(), "newer: burn")
    assert "cannot be read" in line_with(seen.splitlines(), "newer: damaged.sqlite")
    assert seen.splitlines()[0].startswith(" boxcheck   bring up"), "the title stays on the least of terminals"


def test_the_newest_verdict_counts_and_an_older_crash_is_no_news(runs: Runs, tmp_path: Path) -> None:
    folder = folder_of(runs, tmp_path, "crashed")
    record = {"schema": "boxcheck.run/1", "started": "2027-01-01T00:00:00Z", "finished": "2027-01-01T00:00:09Z",
              "verdict": {"outcome": "fail"}, "box": "elsewhere"}
    (tmp_path / "2027-doctor.json").write_text(json.dumps(record), encoding="utf-8")
    known = known_of(folder, lambda path: True)
    assert known.last is not None
    assert known.last.outcome == "fail"
    assert known.crashed == ()
    known = known_of(folder, lambda path: not path.endswith(".json"))
    assert known.last is None
    assert [one.state for one in known.crashed] == ["crashed"]
    assert len(known.others) == 1


def test_whose_a_run_is_comes_from_its_name_for_the_box(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Here:
        nodename = "wopr"

    monkeypatch.setattr("os.uname", lambda: Here)
    assert [is_named_here(box) for box in ("wopr", "W-1 (wopr)", "W-1 (other)", "other", "")] == [
        True, True, False, False, None]
    assert made_here(runs("finished").path) is False  # box W-0007
    record = tmp_path / "x.json"
    record.write_text('{"box": "W-1 (wopr)"}', encoding="utf-8")
    assert made_here(str(record)) is True
    record.write_text("no JSON", encoding="utf-8")
    assert made_here(str(record)) is None
    assert made_here(str(tmp_path / "absent.sqlite")) is None


def test_an_error_of_another_kind_is_said_and_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(folder: str) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("boxcheck.tui.known.list_runs", broken)

    async def test() -> None:
        app = StartApp(Means(folder=str(tmp_path)), Look())
        async with on_screen(app, (80, 24)) as pilot:
            await until(pilot, lambda: "MemoryError: no room" in text(app))
            assert "reading the records" not in text(app)

    run(test)


def test_the_start_screen_says_that_a_terminal_is_too_small(tmp_path: Path) -> None:
    async def test() -> None:
        app = StartApp(Means(folder=str(tmp_path)), Look())
        async with on_screen(app, (59, 15)) as pilot:
            await pilot.pause()
            assert "this terminal has 59 x 15" in text(app)
            assert "doctor" not in text(app)
            await pilot.resize_terminal(80, 24)
            await pilot.pause()
            assert any("doctor" in line for line in shown(app))

    began = time.monotonic()
    run(test)
    assert time.monotonic() - began < 20
