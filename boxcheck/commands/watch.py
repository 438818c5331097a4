"""`boxcheck watch`: the instruments beside the owner's own work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import msgspec

from boxcheck import __version__
from boxcheck.checks.wording import clock
from boxcheck.engine.command import Command, Nothing, Process, Watched, find_program
from boxcheck.engine.plan import duration
from boxcheck.engine.watching_run import Told
from boxcheck.judge import exit_code, strictly
from boxcheck.registry import discover, discover_stress
from boxcheck.report.command import under_sudo
from boxcheck.report.output import open_grown, refuse_place, write_output
from boxcheck.report.wrapping import wrapped
from boxcheck.usage import UsageError

COLUMNS = 80


class Options(msgspec.Struct, frozen=True, kw_only=True):
    command: tuple[str, ...] = ()
    pid: int | None = None
    lasting: str | None = None
    profile: str | None = None
    force_profile: bool = False
    json: str | None = None
    jsonl: str | None = None
    strict: bool = False
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0
    no_tui: bool = False


def watch(options: Options) -> int:
    """Watches, tells what changed, and gives the exit code: the command's own where that is not 0."""
    from boxcheck.commands.doctor import Options as DoctorOptions
    from boxcheck.commands.doctor import choose_profile, open_host
    from boxcheck.commands.runs import id_of, runs_folder
    from boxcheck.commands.tui import wants_screen
    from boxcheck.commands.watch_screen import watch_on_screen
    from boxcheck.engine.aftermath import boot_id
    from boxcheck.engine.box import name_of
    from boxcheck.engine.inspect import name_slots, read_facts
    from boxcheck.engine.kept_profile import keep_profile
    from boxcheck.engine.plan_profile import forced, refuse_other_box, why_forced
    from boxcheck.engine.rights import unread_log, word_before
    from boxcheck.engine.watching_run import WatchRun
    from boxcheck.host.live import LiveHost
    from boxcheck.profile import load_profile
    from boxcheck.store.creating import create_run
    from boxcheck.store.rows import ProfileName, RunInfo

    start = _refuse(options)
    if not options.command and wants_screen(options):  # a command has the terminal for itself
        return watch_on_screen(options, start.says)
    discover()
    discover_stress()
    if options.profile is not None:
        load_profile(options.profile)
    folder = runs_folder()
    host = open_host(None)
    assert isinstance(host, LiveHost)
    facts = read_facts(host)
    want, certain, why = choose_profile(DoctorOptions(profile=options.profile), facts)
    if options.profile is not None and not options.force_profile:
        refuse_other_box(want, facts)
    elif options.profile is not None:
        why = why_forced(why, forced(want, facts))
    name_slots(facts, want)
    screen = Screen(options)
    started = time.time()
    store = create_run(folder, RunInfo(
        kind="watch", version=__version__, boot=boot_id(), box=name_of(facts), profile=ProfileName(
            want.name, want.revision, want.sha256), plan={
            "name": "watch", "steps": [], "certain": certain, "profile_why": why, "command": list(options.command),
            **({"until": start.until} if start.seconds is None else {"lasting_seconds": start.seconds})}))
    keep_profile(store, want)
    try:
        run = WatchRun(store, want, certain=certain, host=host, facts=facts, start=start.begin, told=screen.show)
        screen.say(f"run {id_of(store.path)}: {len(run.gpus)} GPUs, watching {start.says}")
        if before := word_before("watch", want, unread_log()):
            screen.say(under_sudo(before))
        ended = run.run()
    except BaseException as error:  # a signal, a command that cannot be started: no crash of the box
        store.end("stopped", reason=str(error) or "it was told to end before it had a verdict")
        raise
    screen.close()
    if options.strict:
        ended = msgspec.structs.replace(ended, verdict=strictly(ended.verdict))
    code = ended.status or int(exit_code(ended.verdict, strict=options.strict))
    from boxcheck.report import style_for
    from boxcheck.report.watch import run_of, watch_json, watch_text

    shown = run_of(ended, started=started, profile=f"{want.name} r{want.revision}", profile_why=why, certain=certain)
    stream = sys.stderr if options.command or "-" in (options.json, options.jsonl) else sys.stdout
    text = watch_text(ended, shown, style_for(options, stream), __version__, start.says)
    try:
        stream.write(f"{text}run {id_of(store.path)}\n")
        stream.flush()
    except OSError:
        if stream is sys.stdout:  # there it is what was asked for; standard error may be a terminal that is gone
            raise
    if options.json:
        write_output(options.json, watch_json(
            ended, shown, __version__, says=start.says, exit_code=code, path=store.path))
    return code


class _Start(msgspec.Struct, frozen=True):
    says: str
    begin: Callable[[], Watched]
    until: str = ""
    """What ends it where no time does, for who looks on."""
    seconds: float | None = None


def _refuse(options: Options) -> _Start:
    """What is to be watched; UsageError for what cannot be, before anything is read or started."""
    if options.command and options.pid is not None:
        raise UsageError("a command and --pid exclude each other", "boxcheck watch -- COMMAND, or --pid PID")
    if options.lasting is not None and (options.command or options.pid is not None):
        raise UsageError(
            "--for ends a watch that has neither command nor --pid", "boxcheck watch -- timeout 1h COMMAND ends both")
    if options.json == "-" and options.jsonl == "-":
        raise UsageError("--json - and --jsonl - both want standard output", "write one to a file")
    for word, place in (("--json", options.json), ("--jsonl", options.jsonl)):
        if place == "-" and options.command:
            raise UsageError(f"{word} -: standard output belongs to the command", "name a file")
        if place not in (None, "-"):
            assert place is not None
            refuse_place(place)
    if options.command:
        find_program(options.command)
        return _Start(" ".join(options.command), lambda: Command(options.command), "the command ends")
    if options.pid is not None:
        process = Process(options.pid)  # now: its number could be another's when the machine has been read
        return _Start(process.says, lambda: process, f"{process.says} ends")
    seconds = duration(options.lasting) if options.lasting else None
    return _Start(
        f"the machine {f'for {options.lasting}' if options.lasting else 'until Ctrl-C'}", lambda: Nothing(seconds),
        "it is told to end", seconds)


class Screen:
    """Standard error, 80 columns; and lines of JSON where they are asked for. A terminal that is gone, or a full disk,
    ends no watch."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lines: IO[str] | None = None
        if options.jsonl == "-":
            self._lines = sys.stdout
        elif options.jsonl is not None:
            try:
                self._lines = open_grown(options.jsonl)
            except OSError as error:
                says = os.strerror(error.errno or 0).lower()
                raise UsageError(f"{options.jsonl}: {says}", "choose another place to write to") from None

    def show(self, told: Told) -> None:
        if self._lines is not None:
            try:
                self._lines.write(msgspec.json.encode(told).decode() + "\n")
                self._lines.flush()
            except OSError as error:
                self._lines = None
                self.say(f"--jsonl: {os.strerror(error.errno or 0).lower()}; no more is written there")
        if told.kind != "line" and told.severity == "info" and not self._options.verbose:
            return
        subject = f"{told.subject}: " if told.subject else ""
        word = "" if told.kind == "line" else f"{told.severity:<5} "
        self.say(f"{word}{subject}{told.says}", clock(told.seconds))

    def say(self, text: str, clock: str = "") -> None:
        if self._options.quiet:
            return
        if self._options.ascii:
            text = text.replace("°", " deg").encode("ascii", "replace").decode()
        first = f"{clock}  " if clock else ""
        with suppress(OSError, ValueError, UnicodeEncodeError):
            print("\n".join(wrapped(text, COLUMNS, first, " " * len(first))), file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._lines is not None and self._lines is not sys.stdout:
            with suppress(OSError):
                self._lines.close()
