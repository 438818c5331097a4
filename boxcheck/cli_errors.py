"""How a command ends that could not do what it was asked: one error, one help, and the right exit code.

What the parser of the command line finds wrong is told in the same voice as what boxcheck itself refuses.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from boxcheck.usage import closest, nearest


def say(message: str, help: str = "") -> None:
    """Writes both to standard error."""
    if "sudo boxcheck" in help or "pip install" in help:
        from boxcheck.report.command import own_pip, under_sudo

        help = own_pip(under_sudo(help))
    with suppress(OSError):  # a full disk behind standard error does not change what went wrong
        print(f"error: {message}", *([f"help: {help}"] if help else []), sep="\n", file=sys.stderr, flush=True)


def unexpected(error: Exception) -> int:
    """Tells of an error that no command expected; the exit code is given: 2 for one of use, 4 where boxcheck broke."""
    if callable(getattr(error, "show", None)) and isinstance(getattr(error, "exit_code", None), int):
        return _refused(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT):
        place = error.filename or "standard output"
        say(f"{place}: {os.strerror(error.errno).lower()}", "choose another place to write to")
        return 2
    from boxcheck.profile import ProfileError

    if isinstance(error, ProfileError):
        say(str(error), error.help)
        return 2
    say(
        f"boxcheck itself broke: {type(error).__name__}: {error}",
        "please report it, with `boxcheck capture --redact box.tar.gz`; BOXCHECK_TRACEBACK=1 shows where",
    )
    if os.environ.get("BOXCHECK_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    return 4


def _refused(error: Any) -> int:
    """What the parser refused. Its classes are told by what they hold: typer has moved them before."""
    context = getattr(error, "ctx", None)
    if context is not None and getattr(error, "message", "") == context.get_help():  # a group, and no word behind it
        with suppress(OSError):
            error.show()
        return int(error.exit_code)
    say(*parser_words(error, context))
    return int(error.exit_code)


def parser_words(error: Any, context: Any) -> tuple[str, str]:
    """Error and help for what the parser refused."""
    message = str(getattr(error, "message", "") or "").rstrip(".")
    command = context.command_path.replace(" report render", " report") if context is not None else "boxcheck"
    all_of_it = f"{command} --help says how it is called"
    option = getattr(error, "option_name", None)
    if option is not None and message.startswith("No such option"):
        known = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts)
                 if name.startswith("-")] if context is not None else []
        meant = closest(option.lstrip("-"), [name.lstrip("-") for name in known])  # the dashes make none alike
        return (f"{command} has no option {_word(option)}",
                next((f"did you mean {name}?" for name in known if meant and name.lstrip("-") == meant),
                     f"{command} --help lists them"))
    if found := re.match(r"No such command '(.*?)'", message):
        commands = dict(getattr(context.command, "commands", {})) if context is not None else {}
        return (f"no command is called {found[1]!r}",
                _below(found[1], command, commands) or nearest(found[1], commands) or f"{command} --help lists them")
    parameter = getattr(error, "param", None)
    name = _name(parameter)
    if hasattr(error, "param_type"):
        several = " " in name  # `A B`
        return f"{' and '.join(name.split()) or 'a word'} {'are' if several else 'is'} missing", all_of_it
    if found := re.match(r"(.*) is not one of (.*)$", message):
        choices = [choice.strip().strip("'") for choice in found[2].split(",")]
        return (f"{f'{name}: ' if name else ''}{found[1]} is not one of {', '.join(choices)}",
                nearest(found[1].strip("'"), choices) or all_of_it)
    if found := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message):
        return f"{command} takes no such word: {found[1]}", all_of_it
    if option is not None and "requires an argument" in message:
        return f"{_word(option)} is followed by nothing, and needs a word", all_of_it
    if found := re.match(r"(.*) is not in the range (?:(.*)<=x|x>=(.*?)|x)(?:<=(.*))?$", message):
        bounds = [f"{word} {bound}" for word, bound in (("from", found[2] or found[3]), ("to", found[4])) if bound]
        return f"{f'{name}: ' if name else ''}{found[1]} is out of range: {' '.join(bounds)}", all_of_it
    if found := re.match(r"(.*) is not a valid (?:float|int)", message):
        return f"{f'{name}: ' if name else ''}{found[1]} is no number", all_of_it
    if name:
        return f"{name}: {message}", all_of_it
    return (message[:1].lower() + message[1:]) if message else str(error), all_of_it


def _below(word: str, command: str, known: Mapping[str, Any]) -> str:
    """`boxcheck report verify` for `verify`, `boxcheck stress run matmul` for `boxcheck stress matmul`; else empty."""
    from boxcheck.commands.complete import stress_names
    from boxcheck.commands.demo_files import BOXES

    for name, group in known.items():
        if word in getattr(group, "commands", ()):
            return f"{command} {name} {word}"
    if command.endswith(" stress") and word in stress_names(""):
        return f"{command} run {word}"
    return f"{command} doctor {word}" if command.endswith(" demo") and word in {box.name for box in BOXES} else ""


def _name(parameter: Any) -> str:
    """An option as it is typed, an argument as help shows it."""
    if parameter is None:
        return ""
    options = [name for name in parameter.opts if name.startswith("-")]
    if options:
        return str(max(options, key=len))
    return str(getattr(parameter, "metavar", None) or parameter.name or "").strip("[].")


def _word(text: str) -> str:
    """A word of the command line in one line of a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:80])
