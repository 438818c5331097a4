"""Colours, terminals without them, and names that want to be markup."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from boxcheck.tui.app import BoxcheckApp
from tests.tui.conftest import Frames, Runs
from tests.tui.runs import HOSTILE
from tests.tui.screens import hold_lines, walk
from tests.tui.showing import app_over, line_with, on_screen, press, run, shown, text

# Without colour, without Unicode


WALK = (
    ("f",), ("m",), ("l",), ("e",), ("slash", "x"), ("escape",), ("enter",), ("l",), ("escape", "escape"), ("b",), ("b",),
    ("d",), ("enter",), ("escape", "escape"), ("r",), ("escape",), ("s",), ("n",), ("question_mark",), ("escape",),
    ("ctrl+p",), ("escape",))
"""Every screen and dialog."""
NAMES_WALK = (("f",), ("m",), ("l",), ("e",), ("escape", "enter"), ("l",), ("escape", "escape"))
"""Those on which names from outside stand."""


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
