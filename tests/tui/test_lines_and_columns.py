"""Where things stand on the screen: nothing that matters is cut, and frames end where others end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from boxcheck.tui.screens.burn import LOW
from tests.tui.conftest import Frames, Runs
from tests.tui.showing import app_over, line_with, on_screen, press, run, shown, text, until


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_dates_of_two_runs_side_by_side_are_never_cut(
    stills: Frames, runs: Runs, tmp_path: Path, width: int
) -> None:
    for name in ("failed", "finished"):
        shutil.copy(runs(name).path, tmp_path / f"{name}.sqlite")

    async def test() -> None:
        app = app_over(stills("all-well"), folder=str(tmp_path))
        async with on_screen(app, (width, 24)) as pilot:
            await press(pilot, "r")
            await until(pilot, lambda: "2 runs" in text(app))
            await press(pilot, "space", "down", "space", "c")
            await until(pilot, lambda: "judgements changed" in text(app))
            began = line_with(shown(app), "began")
            assert began.count("2026-11-21 13:20") == 2, began
            assert ("change" in line_with(shown(app), "newer")) is (width >= 80)

    run(test)


@pytest.mark.parametrize("size", [(80, 24), (120, 34), (200, 60)])
def test_panes_below_end_in_the_column_where_the_table_ends(stills: Frames, size: tuple[int, int]) -> None:
    async def test() -> None:
        for name in ("failing", "all-well", "no-gpu"):  # with a bar to scroll by, and without
            app = app_over(stills(name))
            async with on_screen(app, size) as pilot:
                for key in "fmle":
                    await press(pilot, key)
                    lines = shown(app)
                    table = next(line for line in lines if line.startswith("╭─ GPUs") or "no GPU" in line)
                    below = [line for line in lines if line.startswith("╭─ ") and line != table][1:]
                    assert below, key
                    assert {len(line) for line in below} == {len(table)} == {size[0]}, (name, key)

    run(test)


def test_where_there_is_little_room_the_line_under_a_pane_is_spent_on_what_is_in_it(stills: Frames) -> None:
    async def test() -> None:
        for name, closed in (("failing", False), ("no-gpu", True)):
            app = app_over(stills(name))
            async with on_screen(app, (80, 24)) as pilot:
                await pilot.pause()
                assert (app.screen.query_one("#below").size.height < LOW) is not closed
                assert shown(app)[-2].startswith("╰") is closed
                inside = [line for line in shown(app) if line.startswith("│")]
                assert inside

        async with on_screen(app_over(stills("failing"), ascii=True), (80, 24)) as pilot:
            await press(pilot, "l")
            assert shown(pilot.app)[-2].startswith("|"), "a serial console has no more room"

    run(test)


def test_a_pane_scrolls_inside_its_frame(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("failing"))
        async with on_screen(app, (80, 24)) as pilot:
            await press(pilot, "m")
            title = next(at for at, line in enumerate(shown(app)) if line.startswith("╭─ copies"))
            first = shown(app)[title + 1]
            await press(pilot, *["down"] * 6)
            await pilot.pause(0.4)
            assert shown(app)[title].startswith("╭─ copies")
            assert shown(app)[title + 1] != first
            await press(pilot, "l", *["down"] * 6)
            await pilot.pause()
            assert "▸PCIE7" in text(app)

    run(test)
