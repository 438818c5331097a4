"""Follows a run: a line every 30 s and with each phase, events at once, `--jsonl` as it happens, the account at last.

What goes on here never reaches the run: it is a process of its own, and its store is read alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from boxcheck.commands.telling import NO_STREAMS, Streams, Telling
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.commands.burn import Options
    from boxcheck.engine.detach import Progress
    from boxcheck.engine.progress import View
    from boxcheck.profile import Profile
    from boxcheck.report.text import Style
    from boxcheck.store.reader import RunReader
    from boxcheck.store.rows import Event

LINE_SECONDS = 30.0
GONE = 141
"""Exit code when the reader of a pipe has gone: 128 and SIGPIPE, as shells tell it."""


def lines_for(options: Options, streams: Streams = NO_STREAMS) -> Telling:
    """Where `--jsonl` and `--ocptv` write, opened before a run begins. UsageError for what cannot be."""
    asked = {"--json": options.json, "--jsonl": options.jsonl, "--ocptv": options.ocptv}
    to_stdout = [word for word, place in asked.items() if place == "-"]
    if len(to_stdout) > 1:
        raise UsageError(f"{' and '.join(to_stdout)} both want standard output", "name a file for one of them")
    for word, place in asked.items():
        if place is not None and options.detach and word != "--json":
            raise UsageError(
                f"{word} follows a run, and --detach does not", f"boxcheck attach {word} FILE follows it later")
    return Telling(options.jsonl, options.ocptv, options.strict, streams)


def follow_run(path: str, options: Options, lines: Telling) -> int:
    """Follows a run to its end. Ctrl-C asks it to end in order; a second leaves it. Gives the exit code."""
    from boxcheck.commands.runs import report
    from boxcheck.engine.detach import follow, tell_to_stop
    from boxcheck.report import style_for

    shown = Shown(options.quiet, style_for(options, sys.stderr))

    def look(reader: RunReader, progress: Progress) -> None:
        if lines.wanted:
            lines.look(reader, progress)
        shown.look(reader, progress)

    try:
        with lines, _interrupts(lambda: tell_to_stop(path)):
            for progress in follow(path, 1.0, look=look):
                lines.write()
                shown.tell(progress)
            return report(path, None, options, ended=lines.end, acceptance=lines.decided())
    except BrokenPipeError:  # told here: typer would make a 1 of it, which says that something is wrong with the box
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GONE


class Shown:
    """What a person sees, on standard error."""

    def __init__(self, quiet: bool, style: Style) -> None:
        self._quiet, self._style = quiet, style
        self._next = 0.0
        self._phases: tuple[tuple[int, str], ...] = ()
        self._errors = 0
        self._want: Profile | None = None
        self._view: View | None = None

    def look(self, reader: RunReader, progress: Progress) -> None:
        """Reads what a line shows, where one is due."""
        from boxcheck.engine.progress import view_of

        self._errors += sum(1 for event in progress.news if event.severity == "fail")
        begun = tuple((phase.plan.number, phase.plan.name) for phase in progress.phases if phase.state != "planned")
        due = time.monotonic() >= self._next or begun != self._phases or progress.run.state != "running"
        self._view = None
        if due and not self._quiet:
            self._next, self._phases = time.monotonic() + LINE_SECONDS, begun
            self._want = self._want or _profile_of(reader)
            self._view = view_of(reader, progress.run, progress.phases, self._want, errors=self._errors)

    def tell(self, progress: Progress) -> None:
        from boxcheck.report.progress_line import progress_line

        if self._quiet:
            return
        for event in progress.news:
            if event.severity != "info":
                for text in event_lines(event, self._style):
                    print(text, file=sys.stderr, flush=True)
        if self._view is not None:
            print(progress_line(self._view, self._style), file=sys.stderr, flush=True)


def _profile_of(reader: RunReader) -> Profile | None:
    """The profile that the run is judged by, for what it should reach; None where it is not there any more."""
    from boxcheck.engine.kept_profile import profile_of
    from boxcheck.profile import ProfileError

    try:
        return profile_of(reader)[0]
    except (ProfileError, UsageError):
        return None


def event_lines(event: Event, style: Style) -> list[str]:
    """`00:42:17  fail  PCIE3  3 wrong of 65536 elements`, no wider than the terminal."""
    from boxcheck.checks.wording import clock
    from boxcheck.model import Outcome
    from boxcheck.report.text import wrap

    head = f"{clock(event.at.seconds)}  {event.severity:<5} "
    first, *rest = wrap(f"{event.subject or 'box'}  {event.says}", style, head, " " * len(head))
    outcome = Outcome.FAIL if event.severity == "fail" else Outcome.MARGINAL
    word = style.word(outcome, event.severity)
    return [first.replace(f"  {event.severity}", f"  {word}", 1), *rest]


@contextmanager
def held_interrupts() -> Iterator[list[int]]:
    """Ctrl-C while a run is being started waits until it is known which one. Gives what came."""
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interrupts(stop: Callable[[], object]) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        print("the run is told to end; once more leaves it to itself", file=sys.stderr, flush=True)
        stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
