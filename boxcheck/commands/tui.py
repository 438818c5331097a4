"""The full screen over a run, and what `boxcheck` alone opens. Nothing of the toolkit is imported before one is wanted.

A screen is for a terminal with somebody before it. Leaving it, or closing its terminal, never ends a run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from boxcheck.judge import ExitCode
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.commands.burn import Options
    from boxcheck.commands.telling import Telling
    from boxcheck.profile import Profile
    from boxcheck.tui.base import BoxcheckBase, Look, Means
    from boxcheck.tui.feed import Feed

LEAST = (40, 10)
"""Columns and lines below which not even the notice that it is too small has room."""
SIGNALS = (signal.SIGHUP, signal.SIGTERM)


class Asked(Protocol):
    """The options of a command that say whether a screen is wanted, and how it looks."""

    @property
    def json(self) -> str | None: ...
    @property
    def jsonl(self) -> str | None: ...
    @property
    def quiet(self) -> bool: ...
    @property
    def no_tui(self) -> bool: ...
    @property
    def ascii(self) -> bool: ...
    @property
    def color(self) -> str: ...


def at_terminal() -> bool:
    """Whether somebody sits before a terminal that can show a screen. The toolkit draws on standard error."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not all(stream is not None and stream.isatty() for stream in streams):
        return False
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return False
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return False
    return size.columns >= LEAST[0] and size.lines >= LEAST[1]


def wants_screen(options: Asked) -> bool:
    if options.no_tui or options.quiet or "-" in (options.json, options.jsonl, getattr(options, "ocptv", None)):
        return False
    return at_terminal()


def show_run(path: str, options: Options, lines: Telling, speed: float | None = None) -> int:
    """A run on the whole screen, then its account where it is over. `speed`: it is played again so fast."""
    from boxcheck.commands.follow import follow_run
    from boxcheck.commands.runs import id_of, report
    from boxcheck.store.reader import RunReader

    with _writing(path, options, lines) as ended:
        broke = show(path, options, speed)
        with RunReader(path) as reader:
            state = reader.run().state
        if not broke and state != "running":
            return report(path, None, options, ended=ended, acceptance=lines.decided())
    if broke:
        print("the screen could not be shown; the run is followed by lines", file=sys.stderr)
        return follow_run(path, options, lines)
    print(f"run {id_of(path)} goes on: boxcheck attach {id_of(path)} shows it again; s there ends it", file=sys.stderr)
    return int(ExitCode.INCOMPLETE)  # whoever left has no verdict


def play_again(path: str, options: Options, speed: float) -> int:
    """A run that is over, as it went. It tells no verdict beyond the run's own, which `judge` prints."""
    from boxcheck.commands.runs import id_of
    from boxcheck.store.reader import RunReader

    with RunReader(path) as reader:
        state = reader.run().state
    if state == "running":
        raise UsageError(f"{id_of(path)} goes on: it is played again when it is over", "boxcheck attach shows it")
    help = f"boxcheck judge {id_of(path)} prints its account"
    if not wants_screen(options):
        raise UsageError("a run is played again on a terminal alone", help)
    if show(path, options, speed):
        raise UsageError("the screen could not be shown", help)
    return 0


def show(
    path: str, options: Asked, speed: float | None = None, means: Means | None = None, label: str = "",
) -> bool:
    """Whether the screen itself broke. `means`: what it may do; without them all that this machine offers. `label`: of
    a run that is played again, shown beside its speed."""
    from boxcheck.engine.detach import tell_to_stop
    from boxcheck.tui.app import BoxcheckApp
    from boxcheck.tui.feed import Later

    feed = Later(path, _feed if speed is None else lambda place: _played(place, speed, label))
    app = BoxcheckApp(
        feed, opens=_feed, means=means or _means("--no-wake"), look=_look(options), stop=tell_to_stop)
    return _run(app, options)[1]


def _run(app: BoxcheckBase[Any], options: Asked) -> tuple[Any, bool]:
    """Runs a screen to its end: what it gave, and whether it broke. Signals and colour are as before afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    no_color = os.environ.get("NO_COLOR")
    if not _colored(options):
        os.environ["NO_COLOR"] = "1"
    else:
        os.environ.pop("NO_COLOR", None)
    try:
        found = app.run()
    finally:
        for number, handler in before.items():
            with suppress(TypeError, ValueError):
                signal.signal(number, handler)
        os.environ.pop("NO_COLOR", None)
        if no_color is not None:
            os.environ["NO_COLOR"] = no_color
    if app.signalled:
        if app.signalled == signal.SIGHUP:  # the terminal is gone: what is printed yet fails nothing
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
        sys.exit(128 + app.signalled)
    return found, bool(app.return_code)


def _colored(options: Asked) -> bool:
    return options.color == "always" or (options.color == "auto" and not os.environ.get("NO_COLOR"))


def _look(options: Asked) -> Look:
    from boxcheck.report import style_for
    from boxcheck.tui.base import Look

    encoding = (sys.__stderr__.encoding if sys.__stderr__ else "ascii").lower().replace("-", "")
    ascii = style_for(_Plain(options), sys.stdout).ascii or not encoding.startswith("utf") or not _utf8_locale()
    ascii = ascii or os.environ.get("TERM") == "linux"  # the console's font has neither dots nor levels
    ground = os.environ.get("COLORFGBG", "").rpartition(";")[2]  # as rxvt, Konsole and others set it
    return Look(ascii=ascii, light=ground in ("7", "15"), color=_colored(options))


def _utf8_locale() -> bool:
    """Python talks UTF-8 even in the C locale, which tells nothing of the terminal, and sets LC_CTYPE to it (PEP 538):
    what counts is what this process was given."""
    given = _given()
    said = next((given[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if given.get(name)), "C")
    return "utf8" in said.lower().replace("-", "")


def _given(path: str = "/proc/self/environ") -> Mapping[str, str]:
    """The environment that this process was started with: proc(5)."""
    try:
        with open(path, "rb") as stream:
            pairs = (pair.decode("utf-8", "replace").partition("=") for pair in stream.read().split(b"\0"))
            return {name: value for name, _, value in pairs if name}
    except OSError:
        return os.environ


class _Plain:
    def __init__(self, options: Asked) -> None:
        self.color, self.ascii, self.verbose, self.quiet = options.color, options.ascii, 0, False


def _means(*doctor: str) -> Means:
    from boxcheck.commands.runs import runs_folder

    program = (sys.executable, "-P", "-m", "boxcheck", "doctor", "--json", "-", "--quiet")
    return msgspec.structs.replace(means_of(runs_folder()), doctor=(*program, *doctor))


def means_of(folder: str) -> Means:
    """Of a screen over the runs of a folder, which cannot read the machine."""
    from boxcheck.tui.base import Means

    return Means(folder=folder, explain=_explain, signals=True)


def _explain(id: str, columns: int) -> str:
    from boxcheck.commands.catalogue import explanation
    from boxcheck.registry import CHECKS, discover

    discover()
    return explanation(CHECKS[id], columns=columns) if id in CHECKS else ""


def _profile_of(path: str) -> Profile:
    """The profile that a run is judged by, as it is now; the generic one where it is not there any more."""
    from boxcheck.engine.kept_profile import profile_of
    from boxcheck.profile import ProfileError, load_profile
    from boxcheck.store.reader import RunReader

    try:
        with RunReader(path) as reader:
            return profile_of(reader)[0]
    except (ProfileError, UsageError):
        return load_profile("generic")


def _feed(path: str) -> Feed:
    """Called in a thread, when the screen stands."""
    from boxcheck.registry import discover, discover_stress
    from boxcheck.tui.expected import expected_by
    from boxcheck.tui.feed import StoreFeed

    discover()
    discover_stress()
    want = _profile_of(path)
    return StoreFeed(path, want, expected=expected_by(want))


def _played(path: str, speed: float, label: str) -> Feed:
    """The same of a run that is played again."""
    from boxcheck.registry import discover, discover_stress
    from boxcheck.tui.expected import expected_by
    from boxcheck.tui.replay import ReplayFeed

    discover()
    discover_stress()
    want = _profile_of(path)
    return ReplayFeed(path, want, speed=speed, expected=expected_by(want), label=label)


@contextmanager
def _writing(path: str, options: Options, lines: Telling) -> Iterator[Any]:
    """`--jsonl FILE` and `--ocptv FILE` while the screen is shown: written in a thread, as it happens, until the screen
    is left. Gives what writes the end."""
    from boxcheck.engine.detach import Progress, follow
    from boxcheck.store.errors import StoreError
    from boxcheck.store.reader import RunReader

    left = threading.Event()

    class Left(Exception):
        pass

    def look(reader: RunReader, progress: Progress) -> None:
        lines.look(reader, progress)

    def sleep(seconds: float) -> None:
        if left.wait(seconds):
            raise Left

    def write() -> None:
        with suppress(Left, StoreError, OSError):
            for _ in follow(path, 1.0, sleep=sleep, look=look):
                lines.write()

    if not lines.wanted:
        with lines:
            yield lambda run, verdict, history: None
        return
    thread = threading.Thread(target=write, daemon=True)
    with lines:
        thread.start()

        def end(run: Any, verdict: Any, history: Any) -> None:
            thread.join(10.0)
            lines.end(run, verdict, history)

        try:
            yield end
        finally:
            left.set()
            thread.join(10.0)


def choose(has_riser: bool) -> Sequence[str] | None:
    """The start screen: the words of the command that was chosen, None where it was left."""
    from boxcheck.tui.start import StartApp

    found, broke = _run(StartApp(_means(), _look(START), has_riser=has_riser), START)
    if broke:
        raise UsageError("the start screen could not be shown", "boxcheck --help names all commands")
    if found is None:
        return None
    if found.command == "burn":
        return ("burn", "--level", found.word)
    return ("attach", found.word) if found.command == "attach" else (str(found.command),)


class _Start:
    json = jsonl = None
    quiet = no_tui = ascii = False
    color = "auto"


START = _Start()
