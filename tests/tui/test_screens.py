"""Every screen and every key, over frames that do not change; what is on the terminal is read line by line."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from textual.widgets import Input

from boxcheck.model import Outcome
from boxcheck.tui.app import BoxcheckApp
from boxcheck.tui.base import Look, Means
from boxcheck.tui.screens.big import PATTERN, BigVerdict
from boxcheck.tui.screens.burn import BurnScreen
from boxcheck.tui.screens.dialogs import KEYS, AskStop, Help
from boxcheck.tui.screens.doctor import DoctorScreen
from boxcheck.tui.screens.gpu import GpuScreen
from boxcheck.tui.screens.link import LinkScreen
from boxcheck.tui.screens.runs import RunsScreen
from boxcheck.tui.start import Choice, StartApp
from boxcheck.tui.widgets.gpus import GpuTable
from boxcheck.tui.widgets.keys import NAMES
from tests.tui.box import doctor_record
from tests.tui.conftest import Frames, Runs
from tests.tui.screens import noting, top
from tests.tui.showing import Still, app_over, line_with, on_screen, press, run, settled, shown, text, until

# The run


def test_every_key_of_the_run_screen(stills: Frames, tmp_path: Path) -> None:
    stopped: list[str] = []

    async def test() -> None:
        feed = stills("failing")
        app = app_over(feed, folder=str(tmp_path), stop=noting(stopped))
        async with on_screen(app, (120, 34)) as pilot:
            assert top(app) is BurnScreen
            assert "FAILING" in text(app)
            for key, title in (("m", "copies"), ("l", "links"), ("e", "events"), ("f", "findings")):
                await press(pilot, key)
                assert any(line.startswith("╭─") and f"─ {title}" in line for line in shown(app)), (key, text(app))
            await press(pilot, "escape", "down", "j", "up", "k", "j")
            table = app.screen.query_one(GpuTable)
            assert table.cursor == 1
            assert "▸ 1 PCIE2" in text(app)
            await press(pilot, *["down"] * 20)
            assert table.cursor == 6
            await press(pilot, *["k"] * 4, "enter")
            assert top(app) is GpuScreen
            assert "PCIE3" in text(app)
            await press(pilot, "escape", "b")
            assert top(app) is BigVerdict
            await press(pilot, "b", "d")
            assert top(app) is DoctorScreen
            await press(pilot, "escape", "r")
            assert top(app) is RunsScreen
            await press(pilot, "escape", "question_mark")
            assert top(app) is Help
            await press(pilot, "question_mark")
            dark = app.theme
            await press(pilot, "T")
            assert app.theme != dark
            await press(pilot, "s")
            assert top(app) is AskStop
            assert "End the run?" in text(app)
            await press(pilot, "n")
            assert top(app) is BurnScreen
            assert stopped == []
            await press(pilot, "s", "y")
            await until(pilot, lambda: stopped == [feed.path])
            await press(pilot, "q")
        assert app.return_value == feed.path

    run(test)


def test_leaving_ends_no_run(stills: Frames) -> None:
    for key in ("q", "ctrl+c", "ctrl+q"):
        stopped: list[str] = []

        async def test(key: str = key, stopped: list[str] = stopped) -> None:
            app = app_over(stills("all-well"), stop=noting(stopped))
            async with on_screen(app, (80, 24)) as pilot:
                await pilot.press(key)
                await pilot.pause()
            assert app.return_value is not None
            assert stopped == []

        run(test)


def test_what_is_over_cannot_be_ended(stills: Frames) -> None:
    stopped: list[str] = []

    async def test() -> None:
        app = app_over(stills("finished"), stop=noting(stopped))
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "s")
            assert top(app) is BurnScreen
            assert stopped == []
            await until(pilot, lambda: "no run goes on here" in text(app))

    run(test)


def test_events_are_found_by_words_in_any_order_and_all_come_back(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("failing"))
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "e")
            every = sum("bad TLPs" in line for line in shown(app))
            assert every > 3
            await press(pilot, "slash", *"warn bad")
            await until(pilot, lambda: "of" in line_with(shown(app), "─ events"))
            await press(pilot, *"zzz", "enter")
            assert "none of them" in text(app)
            assert not any("bad TLPs" in line for line in shown(app))
            assert app.screen.query_one("#filter", Input).value == "warn badzzz"
            await press(pilot, "escape")
            assert sum("bad TLPs" in line for line in shown(app)) == every

    run(test)


def test_the_palette_does_by_name_what_keys_do(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("all-well"))
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "ctrl+p", *"big verdict")
            await until(pilot, lambda: "big verdict" in text(app))
            await pilot.pause(0.5)
            await press(pilot, "enter")
            await until(pilot, lambda: top(app) is BigVerdict)

    run(test)


def test_every_key_that_does_something_is_in_the_help() -> None:
    told = " ".join(key for _, keys in KEYS for key, _ in keys)
    words = set(re.split(r"[ ,]+", told)) | {"esc", "up", "down", "left", "right", "enter", "space"}
    for screen in (BurnScreen, GpuScreen, LinkScreen, BigVerdict, DoctorScreen, RunsScreen, GpuTable, BoxcheckApp):
        for binding in screen.BINDINGS:
            names = [NAMES.get(key, key) for key in binding.key.split(",")]  # type: ignore[union-attr]
            assert any(name in words for name in names), (screen.__name__, binding)


# GPU, link, big verdict


def test_every_key_of_the_gpu_and_link_screens(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("failed"))
        async with on_screen(app, (120, 80)) as pilot:
            await press(pilot, "down", "down", "enter")
            await until(pilot, lambda: "rate" in text(app) and "power" in text(app) and "temperature" in text(app))
            assert "by hand" in text(app)
            assert "nvidia-smi" in text(app)
            whole = line_with(shown(app), "00:00:00")
            await press(pilot, "plus")
            near = [line for line in shown(app) if re.fullmatch(r"\s+\d\d:\d\d:\d\d +\d\d:\d\d:\d\d", line)]
            assert near
            assert near[0] != whole
            await press(pilot, "left")
            earlier = [line for line in shown(app) if re.fullmatch(r"\s+\d\d:\d\d:\d\d +\d\d:\d\d:\d\d", line)]
            assert earlier != near
            await press(pilot, "right")
            assert [line for line in shown(app) if re.fullmatch(r"\s+\d\d:\d\d:\d\d +\d\d:\d\d:\d\d", line)] == near
            await press(pilot, "minus", "plus", "0")
            assert line_with(shown(app), "00:00:00") == whole
            assert "PCIE3" in text(app)
            await press(pilot, "n")
            assert "PCIE4" in text(app)
            await press(pilot, "p", "p")
            assert "PCIE2" in text(app)
            await press(pilot, "n", "l")
            assert top(app) is LinkScreen
            assert "root port" in text(app)
            assert "the card" in text(app)
            assert "blamed" in text(app)
            await press(pilot, "n")
            assert "PCIE4" in text(app)
            await press(pilot, "p", "b")
            assert top(app) is BigVerdict
            await press(pilot, "escape")
            assert top(app) is LinkScreen
            await press(pilot, "escape")
            assert top(app) is GpuScreen
            await press(pilot, "escape")
            assert top(app) is BurnScreen
            await press(pilot, "l", "down", "down", "enter")
            assert top(app) is LinkScreen
            assert "PCIE3" in text(app)

    run(test)


BIG = (
    ("all-well", "PASSING"), ("marginal", "MARGINAL"), ("failing", "FAILING"), ("clock-back", "UNKNOWN"),
    ("crashed", "CRASHED"), ("stopped", "STOPPED"), ("finished", "PASSED"), ("failed", "FAILED"))


def test_the_big_verdict_is_the_word_in_blocks_and_its_pattern_tells_it_without_colour(stills: Frames) -> None:
    from boxcheck.tui.screens.big import big

    async def test() -> None:
        feed = stills("all-well")
        app = app_over(feed)
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "b")
            for name, word in BIG:
                feed.frame = stills(name).frame
                app._now.set()
                await until(pilot, lambda: app.frame is feed.frame)
                await settled(pilot)
                lines = shown(app)
                mark = next(mark for line in lines for mark in line if mark in {one for one, _ in PATTERN.values()})
                drawn = [line.strip() for line in lines if mark in line]
                wanted = [line.strip() for line in big(word, mark, 116, 28)]
                assert drawn == [line.rstrip() for line in wanted], name
                assert mark == PATTERN[Outcome.UNKNOWN if word in ("CRASHED", "STOPPED") else feed.frame.outcome][0]
                assert "W-0007" in text(app)
            await press(pilot, "q")
            assert top(app) is BurnScreen
            assert "FAILED" in text(app)

    run(test)
    assert len({one for one, _ in PATTERN.values()}) >= 4


# Doctor, runs, start


def test_every_key_of_the_doctor_screen(stills: Frames, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_bytes(doctor_record("wopr-7x4090", "wopr-7x4090")[0])
    program = (sys.executable, "-c", f"print(open({str(record)!r}).read())")

    async def test() -> None:
        app = app_over(stills("failed"), doctor=program)
        async with on_screen(app, (120, 40)) as pilot:
            await press(pilot, "d")
            await until(pilot, lambda: "doctor after" in text(app))
            assert "FAILED" in text(app)
            assert "2 of 2" in text(app)
            await press(pilot, "left")
            assert "doctor before" in text(app)
            assert "1 of 2" in text(app)
            await press(pilot, "right")
            few = len([line for line in shown(app) if " pass " in line])
            await press(pilot, "a")
            assert len([line for line in shown(app) if " pass " in line]) > few
            await press(pilot, "a", "enter")
            await until(pilot, lambda: "Why it matters" in text(app))
            await press(pilot, "escape")
            assert top(app) is DoctorScreen
            assert "Why it matters" not in text(app)
            await press(pilot, "down", "up", "n")
            await until(pilot, lambda: "3 of 3" in text(app))
            assert "PASSED" in text(app)
            await press(pilot, "escape")
            assert top(app) is BurnScreen

    run(test)


def test_every_key_of_the_runs_screen(stills: Frames, runs: Runs, tmp_path: Path) -> None:
    for name in ("failed", "finished"):
        shutil.copy(runs(name).path, tmp_path / f"{name}.sqlite")
    (tmp_path / "broken.sqlite").write_bytes(b"SQLite format 3\0 and no more")
    opened: list[str] = []

    async def test() -> None:
        feed = stills("all-well")

        def opens(path: str) -> Still:
            opened.append(os.path.basename(path))
            return stills("failed")

        app = app_over(feed, folder=str(tmp_path), opens=opens)
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "r")
            await until(pilot, lambda: "FAILED" in text(app) and "PASSED" in text(app))
            assert "3 runs" in text(app)
            assert sum("2026-11-21 13:20" in line for line in shown(app)) == 2
            await press(pilot, "c")
            await until(pilot, lambda: "mark two runs" in text(app))
            await press(pilot, "down", "space", "down", "space")  # the broken one, written now, stands first
            assert sum(line.startswith((" *", "*")) for line in shown(app)) == 2, text(app)
            await press(pilot, "space", "space", "r", "c")
            await until(pilot, lambda: "older" in text(app) and "judgements changed" in text(app))
            await press(pilot, "escape", "up", "up", "enter")
            await until(pilot, lambda: "cannot be read" in text(app))
            assert opened == []
            await press(pilot, "down", "enter")
            await until(pilot, lambda: bool(opened))
            await until(pilot, lambda: top(app) is BurnScreen and "FAILED" in text(app))

    run(test)


def test_the_start_screen_offers_what_can_be_done_and_gives_what_was_chosen(runs: Runs, tmp_path: Path) -> None:
    shutil.copy(runs("failed").path, tmp_path / "failed.sqlite")

    def started(*keys: str, size: tuple[int, int] = (80, 24)) -> tuple[Choice | None, str]:
        seen: list[str] = []

        async def test() -> None:
            app = StartApp(Means(folder=str(tmp_path), is_here=lambda path: True), Look(), has_riser=True)
            async with on_screen(app, size) as pilot:
                await until(pilot, lambda: "last verdict" in text(app))
                seen.append(text(app))
                await press(pilot, *keys)
            seen.append(app.return_value)  # type: ignore[arg-type]

        run(test)
        return seen[1], seen[0]  # type: ignore[return-value]

    choice, screen = started("b", "2")
    assert choice == Choice("burn", "2")
    assert "FAILED" in screen
    assert "W-0007" in screen
    assert "wopr-7x4090" in screen
    for word in ("doctor", "burn in", "watch", "riser", "runs"):
        assert word in screen
    assert started("w")[0] == Choice("watch")
    assert started("i")[0] == Choice("riser")
    assert started("q")[0] is None
    assert started("down", "enter", "escape", "q", size=(60, 16))[0] is None
