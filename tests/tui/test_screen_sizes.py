"""Tables and screens at every size of a terminal."""

from __future__ import annotations

import pytest

from boxcheck.tui.screens.burn import BurnScreen
from tests.tui.conftest import Frames
from tests.tui.screens import hold_columns, hold_lines, top
from tests.tui.showing import SIZES, app_over, on_screen, press, run, settled, shown, text


@pytest.mark.parametrize("name", ["failing", "stale", "hostile"])
def test_columns_stand_under_their_titles_at_every_size(stills: Frames, name: str) -> None:
    async def test() -> None:
        app = app_over(stills(name))
        async with on_screen(app, (100, 30)) as pilot:
            for size in SIZES if name == "failing" else ((80, 24), (120, 34)):
                await pilot.resize_terminal(*size)
                await settled(pilot)
                for key in ("m", "l") if name == "failing" else ():
                    await press(pilot, key)
                    hold_lines(app, size)
                hold_columns(app, size[0])
                hold_lines(app, size)
                assert "slot" in text(app)
                assert "state" in text(app)
                last = shown(app)[-1]
                assert "? help" in last
                assert len(last) <= size[0]

    run(test)


def test_a_terminal_that_is_too_small_is_told_so(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("failing"))
        async with on_screen(app, (59, 15)) as pilot:
            for size in ((59, 15), (59, 40), (120, 15), (20, 5), (1, 1)):
                await pilot.resize_terminal(*size)
                await settled(pilot)
                if size[0] > 20:
                    assert f"this terminal has {size[0]} x {size[1]}" in text(app)
                    assert "60 x 16" in text(app)
                    assert "PCIE3" not in text(app)
                await pilot.resize_terminal(80, 24)
                await settled(pilot)
                assert "PCIE3" in text(app)
                assert "this terminal has" not in text(app)

    run(test)


def test_it_is_drawn_anew_at_every_size_that_the_terminal_takes(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("failing"))
        async with on_screen(app, (120, 34)) as pilot:
            for size in ((60, 16), (300, 80), (59, 15), (119, 33), (61, 17)):
                await pilot.resize_terminal(*size)
                await settled(pilot)
                if size[0] >= 60:
                    hold_columns(app, size[0])
                    hold_lines(app, size)
            for key, back in (("enter", "escape"), ("b", "b"), ("d", "escape"), ("r", "escape"), ("question_mark", "escape")):
                await press(pilot, key)
                for size in ((60, 16), (132, 43)):
                    await pilot.resize_terminal(*size)
                    await settled(pilot)
                    hold_lines(app, size)
                await press(pilot, back)
            assert top(app) is BurnScreen

    run(test)


def test_sixteen_gpus_fit_or_can_be_scrolled_to(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("sixteen"))
        async with on_screen(app, (80, 24)) as pilot:
            hold_columns(app, 80)
            await press(pilot, *["down"] * 15)
            assert "▸15" in text(app)
            assert "PCIE16" in text(app)
            await pilot.resize_terminal(200, 60)
            await settled(pilot)
            assert all(f"PCIE{number} " in text(app) for number in range(1, 17))

    run(test)
