"""Every screen and every key, over frames that do not change; what is on the terminal is read line by line."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from textual.widgets import Input

from boxcheck.model import Outcome
from boxcheck.store.errors import StoreError
from boxcheck.tui.app import BoxcheckApp, FrameCame
from boxcheck.tui.base import Look, Means
from boxcheck.tui.feed import Later
from boxcheck.tui.frame import Frame
from boxcheck.tui.replay import ReplayFeed
from boxcheck.tui.screens.big import PATTERN, BigVerdict
from boxcheck.tui.screens.burn import BurnScreen
from boxcheck.tui.screens.dialogs import KEYS, AskStop, Help
from boxcheck.tui.screens.doctor import DoctorScreen
from boxcheck.tui.screens.gpu import GpuScreen
from boxcheck.tui.screens.link import LinkScreen
from boxcheck.tui.screens.runs import RunsScreen
from boxcheck.tui.start import Choice, StartApp
from boxcheck.tui.widgets.gpus import GAP, LEAD, GpuTable, fitting
from boxcheck.tui.widgets.keys import NAMES
from tests.tui.box import doctor_record
from tests.tui.conftest import Frames, Runs
from tests.tui.runs import HOSTILE
from tests.tui.showing import SIZES, Still, app_over, line_with, on_screen, press, run, settled, shown, text, until


def top(app: BoxcheckApp | StartApp) -> type:
    return type(app.screen)


def noting(stopped: list[str]) -> Callable[[str], str]:
    """Ends no run, and notes which it was asked to end."""
    def stop(path: str) -> str:
        stopped.append(path)
        return "told"

    return stop


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


# Sizes


def table_lines(app: BoxcheckApp) -> tuple[str, list[str]]:
    """The titles of the GPUs' table, and its rows, within their border."""
    lines = shown(app)
    first = next(at for at, line in enumerate(lines) if re.match(r"^(╭─ |\+- )(GPUs|processor)", line))
    inner = []
    for line in lines[first + 1:]:
        if line[:1] not in "│|":
            break
        inner.append(line[1:])
    return inner[0], inner[1:]


def hold_columns(app: BoxcheckApp, width: int) -> None:
    """Every cell of every row lies under its title, and what is between columns is a space."""
    head, rows = table_lines(app)
    table = app.screen.query_one(GpuTable)
    assert table.frame is not None
    columns = fitting(table.size.width, table.frame.gpus)
    assert rows
    assert len(columns) >= 4
    at = LEAD
    for column in columns:
        assert head[at:at + column.width].strip() == column.title, (column.title, head)
        for row in rows:
            assert row[at + column.width:at + column.width + GAP].strip(" │|▁▂▃▄▅▆▇█#:-") == "", (column.title, row)
            assert len(row[at:at + column.width].strip()) > 0 or column.title in ("last 2 min", "limit", "why"), row
        at += column.width + GAP


def hold_lines(app: BoxcheckApp, size: tuple[int, int]) -> None:
    """Nothing is wider than the terminal, and borders close."""
    lines = [strip.text for strip in app.screen._compositor.render_strips()]
    assert len(lines) == size[1]
    for line in lines:
        assert cell_len(line) == size[0], line
        assert (line.count("╭"), line.count("╰")) == (line.count("╮"), line.count("╯")), line


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


# Without colour, without Unicode


WALK = (
    ("f",), ("m",), ("l",), ("e",), ("slash", "x"), ("escape",), ("enter",), ("l",), ("escape", "escape"), ("b",), ("b",),
    ("d",), ("enter",), ("escape", "escape"), ("r",), ("escape",), ("s",), ("n",), ("question_mark",), ("escape",),
    ("ctrl+p",), ("escape",))
"""Every screen and dialog."""
NAMES_WALK = (("f",), ("m",), ("l",), ("e",), ("escape", "enter"), ("l",), ("escape", "escape"))
"""Those on which names from outside stand."""


async def walk(app: BoxcheckApp, pilot, ways, seen) -> None:  # type: ignore[no-untyped-def]
    for keys in ways:
        await press(pilot, *keys)
        if keys in (("enter",), ("d",), ("r",), ("ctrl+p",)):
            await pilot.pause(0.3)
        seen(keys)
    assert top(app) is BurnScreen


def in_colour(app: BoxcheckApp) -> list[str]:
    """Texts that are drawn in any colour."""
    found = []
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                triplet = color.get_truecolor() if color is not None and not color.is_default else None
                if triplet is not None and max(triplet) - min(triplet) > 2:
                    found.append(segment.text)
    return found


def not_ascii(app: BoxcheckApp) -> list[str]:
    return [line for line in shown(app) if not all(32 <= ord(one) < 127 for one in line)]


def test_on_a_terminal_of_ascii_without_colour_no_screen_has_any(
    stills: Frames, runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    shutil.copy(runs("failed").path, tmp_path / "x.sqlite")
    monkeypatch.setenv("NO_COLOR", "1")
    bad: list[tuple[object, str]] = []

    async def test() -> None:
        app = app_over(stills("failing"), ascii=True, color=False, folder=str(tmp_path), stop=lambda path: "told")
        async with on_screen(app, (100, 30)) as pilot:
            assert "FAILING" in text(app)
            assert "FAIL" in line_with(shown(app), "PCIE3")
            await walk(app, pilot, WALK, lambda keys: bad.extend(
                (keys, says) for says in (*not_ascii(app), *in_colour(app))))

    run(test)
    assert not bad, bad[:5]


def test_names_from_outside_are_ascii_there_too(stills: Frames, tmp_path: Path) -> None:
    bad: list[tuple[object, str]] = []

    async def test() -> None:
        app = app_over(stills("hostile"), ascii=True, folder=str(tmp_path))
        async with on_screen(app, (100, 30)) as pilot:
            await walk(app, pilot, NAMES_WALK, lambda keys: bad.extend((keys, line) for line in not_ascii(app)))
            assert in_colour(app)  # what finds none in the other test finds some where there is some

    run(test)
    assert not bad, bad[:5]


def test_without_colour_the_words_and_lines_of_unicode_stay(stills: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def test() -> None:
        app = app_over(stills("failing"), color=False)
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "m")
            assert not in_colour(app)
            assert "FAIL" in line_with(shown(app), "PCIE3")
            assert "╭" in text(app)

    run(test)


def test_both_themes_and_outcomes_have_colours_of_their_own() -> None:
    from boxcheck.tui.themes import DARK, LIGHT

    for theme in (DARK, LIGHT):
        assert len({theme.variables[name] for name in ("ok", "marginal", "fail", "unknown", "quiet")}) == 5
        for name in ("ok", "marginal", "fail", "unknown", "quiet"):
            for ground in (theme.background, theme.surface):
                assert contrast(theme.variables[name], ground or "") >= 4.5, (theme.name, name)


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, relative luminance."""
    def light(color: str) -> float:
        parts = [int(color[at:at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


# What is bad


def test_names_that_want_to_be_markup_or_escapes_are_shown_inert(stills: Frames, tmp_path: Path) -> None:
    async def test() -> None:
        app = app_over(stills("hostile"), folder=str(tmp_path), stop=lambda path: "told")
        async with on_screen(app, (120, 34)) as pilot:
            for keys in (("m",), ("l",), ("f",), ("enter",), ("l",), ("escape", "escape", "b"), ("b", "e")):
                await press(pilot, *keys)
                for line in shown(app):
                    assert not any(one in line for one in "\x1b\x07\u202e\u202a\u202b\u202c\u2066"), keys
            assert "[red]bold[/red]" in text(app)
            hold_lines(app, (120, 34))

    run(test)
    assert "[red]" in HOSTILE


def test_what_is_silent_lost_or_old_is_said_and_not_shown_as_if_it_were_of_now(stills: Frames) -> None:
    async def test() -> None:
        for name, place, word in (("stale", "PCIE7", "SILENT"), ("lost", "PCIE5", "LOST")):
            app = app_over(stills(name))
            async with on_screen(app, (120, 34)) as pilot:
                row = line_with(table_lines(app)[1], place)
                assert word in row
                if name == "stale":
                    assert "silent 41 s" in row
                    bar = shown(app)[2]
                    assert "UNKNOWN" in bar
                    assert "PASSING" not in bar
                    assert "PCIE7: no reading for 41 s" in bar  # the word stands alone at no time
                    assert " W " not in row
                    assert "6 of 7 GPUs" in text(app)
                else:  # it was fast while it was there
                    assert re.search(r"PCIE5 +- +- ", row), row
                await press(pilot, *["down"] * 6 if name == "stale" else ["down"] * 4, "enter")
                assert word in text(app)
                assert not re.search(r"\d+ W|\d+ °C   ", "\n".join(shown(app)[1:5])), text(app)

    run(test)


def test_a_run_that_is_over_says_that_its_readings_are_of_the_end(stills: Frames) -> None:
    async def test() -> None:
        for name in ("finished", "crashed"):
            app = app_over(stills(name))
            async with on_screen(app, (120, 34)) as pilot:
                assert "as it was at the end" in text(app)
                assert "verdict so far" not in text(app)
                await press(pilot, "enter")
                assert "as it was at the end" in text(app)

    run(test)


class Failing:
    """A feed whose store becomes unreadable."""

    def __init__(self, path: str, frame: Frame) -> None:
        self.path, self.frame, self.broken = path, frame, False

    def look(self) -> Frame:
        if self.broken:
            raise StoreError("damaged", "the store is damaged: page 3")
        return self.frame

    def close(self) -> None:
        pass


def test_a_store_that_can_no_longer_be_read_is_said_and_no_verdict_is_left_standing(stills: Frames) -> None:
    async def test() -> None:
        still = stills("all-well")
        feed = Failing(still.path, still.frame)
        app = app_over(feed, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            assert "PASSING" in text(app)
            feed.broken = True
            await until(pilot, lambda: "the store can no longer be read" in text(app))
            assert "PASSING" not in text(app)
            assert "as last read" in text(app)
            await press(pilot, "b")
            assert top(app) is BigVerdict
            assert "W-0007" in text(app)
            assert "page 3" in text(app)

        feed.broken = True
        app = app_over(feed, every_seconds=0.05)
        async with app.run_test(size=(120, 34)) as pilot:
            await until(pilot, lambda: "the store can no longer be read" in text(app))

    run(test)


def test_nothing_yet_is_drawn_without_a_number(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("nothing-yet"))
        async with on_screen(app, (80, 24)) as pilot:
            assert "UNKNOWN" in text(app)
            assert "nothing was judged yet" in text(app)
            for key in ("m", "l", "e", "f", "escape", "enter", "b"):
                await press(pilot, key)

    run(test)


def test_a_processor_alone_is_no_gpu(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("no-gpu"))
        async with on_screen(app, (120, 34)) as pilot:
            assert "processor, no GPU" in text(app)
            assert "GFLOPS" in text(app)
            await press(pilot, "enter")
            await until(pilot, lambda: "the host's" in text(app))

    run(test)


# At work


def test_the_screen_stands_before_its_run_is_read(stills: Frames) -> None:
    go = threading.Event()

    async def test() -> None:
        still = stills("all-well")

        def make(path: str) -> Still:
            go.wait(5.0)
            return still

        app = app_over(Later(still.path, make))
        async with app.run_test(size=(120, 34)) as pilot:
            await until(pilot, lambda: "reading the run" in text(app))
            assert "PASSING" not in text(app)
            go.set()
            await until(pilot, lambda: "PASSING" in text(app))
            assert app.feed is still

    run(test)


class Slow(Still):
    """A store on a disk that hangs."""

    def __init__(self, path: str, frame: Frame) -> None:
        super().__init__(path, frame)
        self.go = threading.Event()

    def look(self) -> Frame:
        if self.looks:
            self.go.wait(5.0)
        return super().look()


def test_a_disk_that_hangs_holds_up_no_key(stills: Frames) -> None:
    async def test() -> None:
        still = stills("all-well")
        feed = Slow(still.path, still.frame)
        app = app_over(feed, every_seconds=0.01)
        async with on_screen(app, (120, 34)) as pilot:
            began = time.monotonic()
            await press(pilot, "down", "down")
            assert "▸ 2" in text(app)
            assert time.monotonic() - began < 2.0
            feed.go.set()

    run(test)


def test_frames_that_wait_are_replaced_by_newer_ones(stills: Frames) -> None:
    still = stills("all-well")
    one, other = FrameCame(still.frame, still), FrameCame(still.frame, still)
    assert one.can_replace(other)


def test_a_newer_frame_is_drawn_and_the_cursor_stays(stills: Frames) -> None:
    async def test() -> None:
        feed = stills("all-well")
        app = app_over(feed, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "down", "down")
            feed.frame = msgspec.structs.replace(feed.frame, seconds=7261.0)
            await until(pilot, lambda: "02:01:01" in text(app))
            assert "▸ 2" in text(app)
            feed.frame = msgspec.structs.replace(feed.frame, gpus=feed.frame.gpus[:1])
            await until(pilot, lambda: "PCIE2" not in text(app))
            await press(pilot, "enter")
            assert top(app) is GpuScreen

    run(test)


def test_a_run_is_played_slower_faster_back_and_on_by_keys(runs: Runs) -> None:
    async def test() -> None:
        found = runs("finished")
        feed = ReplayFeed(found.path, found.want, clock=lambda: 1.0)
        app = app_over(feed, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            assert "played again, 1x" in text(app)
            await press(pilot, "greater_than_sign", "greater_than_sign", "less_than_sign")
            assert feed.speed == 2.0
            await press(pilot, "right_square_bracket", "right_square_bracket")
            await until(pilot, lambda: "00:02:00" in text(app))
            await press(pilot, "left_square_bracket")
            await until(pilot, lambda: "00:01:00" in text(app))
            await press(pilot, "space")
            assert feed.paused
            await until(pilot, lambda: "played again, paused" in text(app))
            await press(pilot, "s")
            assert top(app) is BurnScreen
        feed.close()

    run(test)
