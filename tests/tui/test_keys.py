"""The line of keys tells those that do something now; a question does nothing by itself."""

from __future__ import annotations

import pytest

from boxcheck.tui.screens.burn import BurnScreen
from boxcheck.tui.screens.dialogs import AskAccount, AskStop
from tests.tui.conftest import Frames, Runs
from tests.tui.showing import app_over, on_screen, press, run, shown, text, until


def test_enter_does_not_end_a_run(stills: Frames) -> None:
    stopped: list[str] = []

    def stop(path: str) -> str:
        stopped.append(path)
        return "told"

    async def test() -> None:
        app = app_over(stills("all-well"), stop=stop)
        async with on_screen(app, (80, 24)) as pilot:
            await press(pilot, "s")
            assert isinstance(app.screen, AskStop)
            assert "y end it" in text(app)
            assert "n or enter go on" in text(app)
            await press(pilot, "enter")
            assert isinstance(app.screen, BurnScreen)
            assert stopped == []
            await press(pilot, "s", "y")
            await until(pilot, lambda: len(stopped) == 1)

    run(test)


def test_what_was_said_before_does_not_lie_over_a_question(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("all-well"))
        async with on_screen(app, (80, 24)) as pilot:
            app.notify("the load ends; doctor looks once more")
            await until(pilot, lambda: "the load ends" in text(app))
            app.push_screen(AskAccount())
            await until(pilot, lambda: "The run has ended." in text(app))
            await until(pilot, lambda: "the load ends" not in text(app))

    run(test)


def test_while_words_are_typed_only_the_keys_that_end_that_are_told(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("failing"), stop=lambda path: "told")
        async with on_screen(app, (120, 34)) as pilot:
            assert "s stop" in shown(app)[-1]
            await press(pilot, "slash")
            await until(pilot, lambda: "esc show all" in shown(app)[-1])
            assert "stop" not in shown(app)[-1]
            await press(pilot, "escape")
            await until(pilot, lambda: "s stop" in shown(app)[-1])

    run(test)


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_that_is_played_again_tells_its_keys(runs: Runs, width: int) -> None:
    from boxcheck.tui.replay import ReplayFeed

    async def test() -> None:
        found = runs("finished")
        feed = ReplayFeed(found.path, found.want, clock=lambda: 1.0)
        async with on_screen(app_over(feed, every_seconds=0.05), (width, 24)) as pilot:
            for word in ("space pause", "< > speed", "[ ] a minute"):
                assert word in shown(pilot.app)[-1]
            await press(pilot, "b")
            assert "pause" not in shown(pilot.app)[-1]
        feed.close()

    run(test)


def test_a_run_that_is_opened_from_one_that_is_played_again_can_be_stopped(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boxcheck.commands.tui as command
    from boxcheck.tui.app import BoxcheckApp

    seen: list[BoxcheckApp] = []

    def keep(app: BoxcheckApp, options: object) -> tuple[None, bool]:
        seen.append(app)
        return None, False

    monkeypatch.setattr(command, "_run", keep)
    monkeypatch.setattr(command, "_means", lambda *words: None)
    command.show(runs("finished").path, command.START, 4.0)
    assert seen[0]._stop_run is not None
