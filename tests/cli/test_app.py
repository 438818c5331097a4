"""The app that is built for one command answers as the app of all commands does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.main import get_command

from boxcheck.cli import app, app_for


def names() -> list[str]:
    return sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", names())
def test_a_command_is_the_same_alone(name: str) -> None:
    alone, among = get_command(app_for([name])), get_command(app)
    assert list(alone.commands) == [name]  # type: ignore[attr-defined]
    assert [repr(param) for param in alone.params] == [repr(param) for param in among.params]
    assert alone.help == among.help
    one, other = alone.commands[name], among.commands[name]  # type: ignore[attr-defined]
    assert [(param.name, param.opts, param.help) for param in one.params] == [
        (param.name, param.opts, param.help) for param in other.params]
    assert (one.name, one.help, list(getattr(one, "commands", ()))) == (
        other.name, other.help, list(getattr(other, "commands", ())))


@pytest.mark.parametrize("words", [[], ["--help"], ["doctr"], ["--version", "doctor"], ["", "doctor"], ["profile_list"]])
def test_without_a_command_all_are_there(words: list[str]) -> None:
    assert app_for(words) is app


@pytest.mark.parametrize("words", [("checks",), ("profile", "list"), ("demo", "triage"), ("explain", "pcie.link-width")])
def test_a_reader_that_went_away_is_no_verdict(words: tuple[str, ...]) -> None:
    """`| head` that has read enough: exit code 1 would say that a box failed."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-P", "-m", "boxcheck", *words], stdout=writing, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True, timeout=120.0, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
