"""The manual page boxcheck(1), from the command line's own declaration; what a wheel installs, and its completions.

    python docs/man.py > boxcheck.1 && man ./boxcheck.1

The markup is that of man(7), the portable half of groff_man(7). Only boxcheck.cli is imported, so that building a wheel
needs typer and nothing else of what boxcheck needs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXIT_CODES = ROOT / "docs" / "reference" / "exit-codes.md"
SHELLS = {
    "bash": "share/bash-completion/completions/boxcheck", "zsh": "share/zsh/site-functions/_boxcheck",
    "fish": "share/fish/vendor_completions.d/boxcheck.fish"}
"""Where each shell looks for the completions of programs, below a prefix: bash-completion's README, zshcompsys(1),
fish's "Writing your own completions"."""
MAN = "share/man/man1/boxcheck.1"
FILES = (
    ("~/.local/state/boxcheck", "runs, records of doctor, notebooks of riser; XDG_STATE_HOME moves it"),
    ("~/.config/boxcheck", "keys and allowed signers; XDG_CONFIG_HOME moves it"),
    ("~/.cache/boxcheck", "compiled kernels; BOXCHECK_CACHE_DIR or XDG_CACHE_HOME moves it"),
)


def page(version: str, date: str = "") -> str:
    """boxcheck(1). `date`: of the version, as it stands in the foot."""
    from typer.main import get_command

    from boxcheck.cli import app

    root: Any = get_command(app)
    lines = [
        '.\\" Made by docs/man.py from the declaration of the commands.',
        f'.TH BOXCHECK 1 "{escaped(date)}" "boxcheck {escaped(version)}" "User Commands"',
        ".SH NAME", escaped(f"boxcheck - {str(root.help)[0].lower()}{str(root.help)[1:].rstrip('.')}"),
        ".SH SYNOPSIS", "\\fBboxcheck\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]...", ".br",
        "\\fBboxcheck\\fR \\-\\-version",
        ".SH DESCRIPTION",
        escaped("boxcheck reads a computer with many GPUs, judges it by the profile of such a box, puts load on it, "
                "and says what is wrong and what to do. boxcheck alone, on a terminal, lets you choose."),
        *_example(root), ".SH COMMANDS"]
    for name, command in root.commands.items():
        lines += _command(name, command)
    lines += [".SH EXIT STATUS", *_exit_codes(), ".SH FILES"]
    for path, what in FILES:
        lines += [".TP", f"\\fI{escaped(path)}\\fR", escaped(what)]
    others = ("lspci", 8), ("setpci", 8), ("dmesg", 1), ("nvidia-smi", 1), ("ssh-keygen", 1)
    lines += [".SH SEE ALSO", ", ".join(f"\\fB{escaped(name)}\\fR({section})" for name, section in others)]
    return "\n".join(lines) + "\n"


def completions() -> dict[str, str]:
    """By shell: what completes boxcheck in it, to be installed for everybody."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    made = {
        shell: get_completion_script(
            prog_name="boxcheck", complete_var="_BOXCHECK_COMPLETE", shell=shell).strip() + "\n" for shell in SHELLS}
    # zsh loads the file as the function itself at the first TAB, which would define it and offer nothing.
    made["zsh"] += '[ "${zsh_eval_context[-1]}" != loadautofunc ] || _boxcheck_completion "$@"\n'
    return made


def escaped(text: str) -> str:
    """Words in which nothing is markup: groff_char(7), man(7)."""
    one = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    one = one.replace("^", "\\(ha").replace("~", "\\(ti").replace('"', "\\(dq")
    return f"\\&{one}" if one.startswith(".") else one


def _command(name: str, command: Any) -> Iterator[str]:
    """A command, and those below it."""
    if command.hidden:
        return
    yield from (f'.SS "{escaped(f"boxcheck {name}")}"',)
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    words = [f"\\fI{escaped(_metavar(one))}\\fR" for one in arguments]
    below = getattr(command, "commands", {})
    words += ["[\\fIOPTIONS\\fR]"] if options else []
    words += ["\\fICOMMAND\\fR"] if below else []
    yield " ".join([f"\\fB{escaped(f'boxcheck {name}')}\\fR", *words])
    for paragraph in (command.help or "").split("\n\n"):
        yield from (".PP", escaped(paragraph))
    for one in arguments:
        yield from (".TP", f"\\fI{escaped(_metavar(one))}\\fR", escaped(one.help or "\\&"))
    for one in options:
        names = ", ".join(f"\\fB{escaped(word)}\\fR" for word in (*one.opts, *one.secondary_opts))
        taken = "" if one.is_flag or one.count else f" \\fI{escaped(_metavar(one))}\\fR"
        yield from (".TP", f"{names}{taken}", escaped(one.help or "") or "\\&")
    yield from _example(command)
    for word, other in below.items():
        yield from _command(f"{name} {word}", other)


def _metavar(one: Any) -> str:
    if one.metavar:
        return str(one.metavar)
    choices = getattr(one.type, "choices", None)
    if choices:
        return "|".join(str(getattr(choice, "value", choice)) for choice in choices)
    return str(one.name).upper()


def _example(command: Any) -> Iterator[str]:
    """The examples that its help ends with."""
    lines = [line for line in (command.epilog or "").splitlines() if line.startswith("  ")]
    if lines:
        yield from (".PP", "For example:", ".PP", ".nf", ".RS 4")
        yield from (escaped(re.sub(r" {2,}", " # ", line.strip())) for line in lines)
        yield from (".RE", ".fi")


def _exit_codes() -> Iterator[str]:
    rows = re.findall(r"^\| ([\d, ]+) \| (.+) \|$", EXIT_CODES.read_text(), re.MULTILINE)
    if not rows:
        raise RuntimeError(f"{EXIT_CODES} holds no table of exit codes")
    for code, means in rows:
        yield from (".TP", f"\\fB{escaped(code)}\\fR", escaped(means.replace("`", "")))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from boxcheck import __version__

    sys.stdout.write(page(__version__))
