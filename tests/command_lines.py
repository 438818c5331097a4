"""Whether the command line takes what texts print: used wherever a text names a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

import typer
from typer.core import TyperGroup
from typer.main import get_command

from boxcheck.cli import app
from boxcheck.cli_report import RENDER, RunFirst

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for an option that does not exist, too; it has no public name."""
PUNCTUATION = ";&|<>()"


def parsed(words: Sequence[str]) -> None:
    """Raises a usage error where the command line does not take what follows `boxcheck`."""
    here = get_command(app)
    left = list(words)
    context = typer.Context(here, info_name="boxcheck")
    while isinstance(here, TyperGroup):
        if isinstance(here, RunFirst) and left and left[0] not in (*here.commands, "--help"):
            left = [RENDER, *left]
        if (not left and here.invoke_without_command) or (left and left[0].startswith("-")):
            break
        name, *left = left or [""]
        below = here.get_command(context, name)
        if below is None:
            raise typer.BadParameter(f"no command {name}")
        here = below
        context = typer.Context(here, parent=context, info_name=name)
    if set(left) & {"--help", "--version", "--install-completion", "--show-completion"}:
        return
    here.parse_args(context, left)


def simple(line: str) -> Iterator[list[str]]:
    """The words of each command of a shell's line; redirections are left out."""
    words: list[str] = []
    into = False
    lexer = shlex.shlex(line, posix=True, punctuation_chars=PUNCTUATION)
    lexer.commenters = ""
    lexer.whitespace_split = True
    for word in (*lexer, ";"):
        if set(word) <= {"<", ">", "&"} and set(word) != {"&"}:
            into = True
        elif not set(word) <= set(PUNCTUATION):
            if not into:
                words.append(word)
            into = False
        elif words:
            yield words[1:] if words[0] in ("do", "then") else words
            words = []


def of_boxcheck(line: str) -> Iterator[list[str]]:
    """What follows `boxcheck` in each of its commands in a shell's line."""
    for words in simple(re.sub(r"\s#.*", "", line)):
        names = [word.rsplit("/", 1)[-1] for word in words]
        if "boxcheck" in names[:6]:
            yield words[names.index("boxcheck") + 1:]
