"""Every page of help ends with examples that the command line takes, and each names its own command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from boxcheck.cli import app
from boxcheck.cli_errors import parser_words
from boxcheck.cli_examples import COLUMNS, EXAMPLES, epilog
from tests.command_lines import USAGE_ERROR, of_boxcheck, parsed


def every(here: object = None, begun: str = "") -> Iterator[tuple[str, object]]:
    """All commands and groups, by the words that call them."""
    command = get_command(app) if here is None else here
    yield begun, command
    for name, below in getattr(command, "commands", {}).items():
        yield from every(below, f"{begun} {name}".strip())


COMMANDS = dict(every())


def test_all_commands_are_looked_at() -> None:
    assert {"", "doctor", "runs prune", "report sign", "keys allow"} <= set(COMMANDS)
    assert sum(not isinstance(command, TyperGroup) for command in COMMANDS.values()) > 20


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_ends_with_an_example_that_can_be_typed(name: str) -> None:
    epilog = str(getattr(COMMANDS[name], "epilog", "") or "")
    head, *lines = epilog.removeprefix("\b\n").splitlines() or [""]
    assert head in ("Example:", "Examples:"), f"add one of `boxcheck {name}` to boxcheck/cli_examples.py"
    assert lines
    assert all(len(line) <= COLUMNS for line in lines)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_help_says_what_each_example_is_for(name: str) -> None:
    lines = str(epilog(name)).splitlines()[2:]
    assert [line.split() for line in lines] == [f"{words} {purpose}".split() for words, purpose in EXAMPLES[name]]


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_of_its_command_and_is_taken(name: str) -> None:
    assert name in COMMANDS, f"boxcheck/cli_examples.py has examples of {name!r}, which is no command"
    calls = [words for line, _ in EXAMPLES[name] for words in of_boxcheck(line)]
    assert len(calls) == len(EXAMPLES[name])
    for words in calls:
        begins = name.split() if name != "report render" else ["report", "RUN"]
        assert words[:len(begins)] == begins
        try:
            parsed(words)
        except USAGE_ERROR as error:
            pytest.fail(f"boxcheck {' '.join(words)}: {error}")


@pytest.mark.parametrize("words", [
    ["doctor", "--profle", "x"], ["runs", "shw"], ["burn", "--level", "9"], ["judge"], ["report", "RUN", "--htm", "x"]])
def test_what_is_no_command_line_is_refused(words: list[str]) -> None:
    with pytest.raises(USAGE_ERROR):
        parsed(words)


@pytest.mark.parametrize(("words", "error"), [
    (["compare"], "A and B are missing"),
    (["burn", "--level", "7"], "--level: 7 is out of range: from 1 to 4"),
    (["runs", "prune", "--keep", "-1"], "--keep: -1 is out of range: from 0"),
    (["report", "RUN", "--htm", "x"], "boxcheck report has no option --htm"),
])
def test_what_the_parser_refuses_is_told_in_words(words: list[str], error: str) -> None:
    with pytest.raises(USAGE_ERROR) as refused:
        parsed(words)
    assert parser_words(refused.value, getattr(refused.value, "ctx", None))[0] == error


@pytest.mark.parametrize(("words", "help"), [
    (["verify", "x"], "boxcheck report verify"), (["stress", "matmul"], "boxcheck stress run matmul"),
    (["demo", "wopr"], "boxcheck demo doctor wopr"), (["docter"], "did you mean doctor?"),
    (["burn", "--time", "2m"], "boxcheck burn --help lists them"), (["burn", "--fro", "2m"], "did you mean --for?")])
def test_what_was_meant_is_told(words: list[str], help: str) -> None:
    done = subprocess.run([sys.executable, "-m", "boxcheck", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1].replace("python -m ", "") == f"help: {help}"


@pytest.mark.parametrize("words", [[], ["doctor"], ["report"], ["runs", "prune"]], ids=" ".join)
def test_h_is_help(words: list[str]) -> None:
    short, long = (subprocess.run([sys.executable, "-m", "boxcheck", *words, option], capture_output=True, text=True,
                                  timeout=60).stdout for option in ("-h", "--help"))
    assert short == long != ""


@pytest.mark.parametrize(("name", "usage"), [
    ("runs", "Usage: boxcheck runs [OPTIONS] [COMMAND [ARGS]...]"), ("keys", "Usage: boxcheck keys [OPTIONS] [COMMAND [ARGS]...]"),
    ("demo", "Usage: boxcheck demo [OPTIONS] [COMMAND [ARGS]...]"),
    ("report", "Usage: boxcheck report RUN [OPTIONS] | COMMAND [ARGS]...")])
def test_usage_says_what_may_be_left_out(name: str, usage: str) -> None:
    shown = subprocess.run([sys.executable, "-m", "boxcheck", name, "--help"], capture_output=True, text=True, timeout=60)
    assert shown.stdout.splitlines()[0].replace("python -m ", "") == usage
