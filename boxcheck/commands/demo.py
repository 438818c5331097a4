"""`boxcheck demo`: doctor, full screen, report, triage and riser on machines that were built, by the code that serves
real ones. Nothing of this machine is read, and nothing is written but what is asked for.

A demo's exit code is 0 however bad its box is: nobody's machine failed. What the command itself exits with is said.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from boxcheck import __version__
from boxcheck.commands.demo_files import (
    BOXES,
    FOLDER,
    LOG,
    LOG_TITLE,
    NOTEBOOK,
    NOTEBOOK_TITLE,
    RUN_TITLE,
    box_named,
    path_of,
    unpacked_run,
)
from boxcheck.report import style_for
from boxcheck.report.command import command_line
from boxcheck.report.text import Style, wrap
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.riser.account import RiserAccount
    from boxcheck.riser.notebook import Stored


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a demo is shown; as those of the command that it shows."""

    json: str | None = None
    html: str | None = None
    pdf: str | None = None
    jsonl: str | None = None
    no_tui: bool = False
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0


def overview() -> int:
    """Lists the demos with their commands."""
    style = style_for(Options(), sys.stdout)
    rows: list[tuple[Sequence[str], str]] = [
        *((("doctor", box.name), box.title) for box in BOXES),
        (("tui",), f"{RUN_TITLE}: played again on the whole screen"),
        (("report",), "the account of that run; --html FILE writes it as a page"),
        (("triage",), LOG_TITLE),
        (("riser",), NOTEBOOK_TITLE),
    ]
    lines = wrap(
        "Demos on machines that were built for them. Nothing of this machine is read, and nothing is written but the "
        "files that you name. The accounts are made by the commands that serve real machines.", style)
    for words, title in rows:
        lines += ["", f"  {command_line('demo', *words)}", *wrap(title[:1].upper() + title[1:] + ".", style, "    ")]
    lines += ["", *wrap(f"The captures lie in {FOLDER}; every command takes them with --sysroot.", style),
              *wrap("A demo exits with 0 however bad its box is, and says what the command itself exits with.", style)]
    _tell(lines, sys.stdout)
    return 0


def doctor(name: str, options: Options) -> int:
    """Doctor's account of a built capture."""
    from boxcheck.commands.doctor import Options as DoctorOptions
    from boxcheck.commands.doctor import doctor as body

    box = box_named(name)
    path = path_of(box.file)
    _head("a built capture, not this machine", box.title, ("doctor", "--sysroot", path), options)
    return _foot("boxcheck doctor", body(DoctorOptions(
        sysroot=path, wake=False, save=False, json=options.json, ascii=options.ascii, color=options.color,
        quiet=options.quiet, verbose=options.verbose)), options)


def triage(options: Options) -> int:
    """What a pasted kernel log means."""
    from boxcheck.commands.triage import Options as TriageOptions
    from boxcheck.commands.triage import triage as body

    path = path_of(LOG)
    _head("the log of a built machine, not of this one", LOG_TITLE, ("triage", path), options)
    return _foot("boxcheck triage", body(TriageOptions(
        files=(path,), json=options.json, ascii=options.ascii, color=options.color, quiet=options.quiet,
        verbose=options.verbose)), options, "log")


def report(options: Options) -> int:
    """The report of a stored run."""
    from boxcheck.commands.report import Outputs
    from boxcheck.commands.report import report as body

    with unpacked_run() as path:
        _head("a run of a built machine, not of this one", RUN_TITLE, (), options)
        code = body(path, None, Outputs(
            html=options.html, pdf=options.pdf, json=options.json, ascii=options.ascii, color=options.color,
            quiet=options.quiet, verbose=options.verbose))
    for place in (options.html, options.pdf):
        if place not in (None, "-"):
            _tell([f"demo: written to {place}"], _stream(options))
    if options.json is None and (options.html or options.pdf):
        return 0
    return _foot("boxcheck report", code, options)


def tui(speed: float, options: Options) -> int:
    """A stored run on the whole screen, as it went."""
    from boxcheck.commands.tui import means_of, show, wants_screen

    if not wants_screen(options):
        raise UsageError("a run is played again on a terminal alone", "boxcheck demo report prints its account")
    with unpacked_run() as path:
        means = msgspec.structs.replace(means_of(os.path.dirname(path)), is_here=lambda _: False)
        broke = show(path, options, speed, means, label="a demo")
    if broke:
        raise UsageError("the screen could not be shown", "boxcheck demo report prints the run's account")
    print("demo: that was a run of a built machine; boxcheck demo report prints its account")
    return 0


def riser(options: Options) -> int:
    """The worked example: what is told in each boot, weighed anew from what was counted in it."""
    from boxcheck.commands.riser_experiment import write
    from boxcheck.riser.notebook import load

    stored = load(path_of(NOTEBOOK))
    boots = len(stored.notebook.boots)
    _head("a simulated box, not this machine", NOTEBOOK_TITLE, (), options)
    told = tuple(_boots(stored))
    for number, (account, _) in enumerate(told, 1):
        if options.json == "-" and number < boots:
            continue
        if number > 1 and options.json != "-":
            _tell(["", *wrap(
                f"demo: the box was powered off, and the step was done. Boot {number} of {boots}:",
                _style(options)), ""], _stream(options))
        write(account, msgspec.structs.replace(options, json=options.json if number == boots else None))  # type: ignore[arg-type]
    return _foot("boxcheck riser", told[-1][1], options)


def _boots(stored: Stored) -> Iterator[tuple[RiserAccount, int]]:
    """The account of each boot, by the notebook as it was then, and the exit code."""
    from boxcheck.commands.riser_experiment import command, state_of
    from boxcheck.riser.account import RiserAccount
    from boxcheck.riser.advice import advice, tape
    from boxcheck.riser.suspects.weigh import weigh

    for count in range(1, len(stored.notebook.boots) + 1):
        book = msgspec.structs.replace(stored.notebook, boots=stored.notebook.boots[:count], next=None)
        weighed = weigh(book)
        book = msgspec.structs.replace(book, next=weighed.next)
        state, code = state_of(weighed)
        closed = weighed.says if weighed.verdict in ("found", "healthy") else ""
        yield RiserAccount(
            version=__version__, started=book.boots[-1].started, seconds=0.0,
            stored=msgspec.structs.replace(stored, closed=closed, notebook=book), weighed=weighed, state=state,
            advice=advice(weighed, book), tape=tuple(tape(one, book) for one in weighed.accused),
            command="" if closed else command(book)), code


def _head(kind: str, title: str, same: Sequence[str], options: Options) -> None:
    style = _style(options)
    lines = wrap(f"demo: {kind}", style)
    lines[0] = style.bold(lines[0])
    if not options.quiet:
        lines += wrap(title, style, "  ")
        lines += [*wrap(f"the same by hand: {command_line(*same)}", style, "  ")] if same else []
        lines.append("")
    _tell(lines, _stream(options))


def _foot(command: str, code: int, options: Options, what: str = "box") -> int:
    if not options.quiet:
        _tell(["", *wrap(f"demo: {command} exits with {code} on such a {what}; a demo exits with 0", _style(options))],
              _stream(options))
    return 0


def _stream(options: Options) -> object:
    return sys.stderr if "-" in (options.json, options.html, options.pdf) else sys.stdout


def _style(options: Options) -> Style:
    return style_for(options, _stream(options))


def _tell(lines: Sequence[str], stream: object) -> None:
    print(*lines, sep="\n", file=stream, flush=True)  # type: ignore[call-overload]
