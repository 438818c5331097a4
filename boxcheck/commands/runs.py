"""`boxcheck runs` and `judge`: what was run, what it held, what may go."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from boxcheck import __version__
from boxcheck.judge import ExitCode, exit_code, strictly
from boxcheck.report.output import write_output
from boxcheck.store.errors import StoreError
from boxcheck.store.opening import LISTS
from boxcheck.store.rows import Run, RunState
from boxcheck.store.schema import SUFFIX
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError, nearest

if TYPE_CHECKING:
    from boxcheck.certify.acceptance import Acceptance
    from boxcheck.commands.burn import Options
    from boxcheck.model import Verdict
    from boxcheck.store.listing import RunEntry


def runs_folder() -> str:
    """Where runs lie; made where it is not there."""
    from boxcheck.engine.record import runs_directory
    from boxcheck.host.live import LiveHost

    try:
        return runs_directory(LiveHost())
    except OSError as error:
        says = f"{error.filename}: {os.strerror(error.errno or 0).lower()}"
        raise UsageError(says, "set XDG_STATE_HOME to a directory that can be written") from None


def report(
    path: str, profile: str | None, options: Options, *, anew: bool = False, acceptance: Acceptance | None = None,
    ended: Callable[[Run, Verdict, Mapping[str, Any] | None], None] = lambda run, verdict, history: None,
) -> int:
    """The account of a run, from its store, judged by its own profile or another. Gives the exit code.

    `anew`: it is compared with the runs that are there now; else the comparison is shown that was kept when it ended.
    `acceptance`: which the run is the load of; its disposition and its exit code decide.
    `ended` gets the run, its verdict and the comparison, for who tells them in another form.
    """
    from boxcheck.certify.folder import with_acceptance
    from boxcheck.engine.aftermath import look_after
    from boxcheck.engine.agreed_load import as_agreed
    from boxcheck.engine.history_store import compare_anew, stored_history
    from boxcheck.engine.kept_profile import profile_named, profile_of
    from boxcheck.engine.rejudge import rejudge
    from boxcheck.engine.rights import word_after
    from boxcheck.engine.stored_verdict import with_stored
    from boxcheck.engine.watch_account import stored_watch
    from boxcheck.model import Outcome
    from boxcheck.report import style_for
    from boxcheck.report.certified import disposition_text, settled
    from boxcheck.report.command import command_line, runnable_verdict, under_sudo
    from boxcheck.report.history import account_json, history_object, history_text
    from boxcheck.report.stress import stress_text
    from boxcheck.report.text import wrap
    from boxcheck.report.watch import watch_text
    from boxcheck.store.reader import RunReader
    from boxcheck.store.results import no_collections

    look_after(path)
    with RunReader(path) as reader:
        run = reader.run()
        want, changed = profile_of(reader) if profile is None else (profile_named(profile), "")
        with no_collections():
            judged = rejudge(reader, want, profile is not None)
        before = ""
        if profile is None and run.end is not None:
            verdict, before = with_stored(judged.verdict, reader.verdict(), want)
            judged = msgspec.structs.replace(judged, verdict=verdict)
        if changed:
            judged = msgspec.structs.replace(judged, profile_why="; ".join(filter(None, (judged.profile_why, changed))))
        if acceptance is not None and profile is not None:
            judged = msgspec.structs.replace(judged, verdict=as_agreed(judged.verdict, reader, want))
        history = compare_anew(reader, runs_folder()) if anew else stored_history(reader)
        watched = stored_watch(reader, judged) if run.info.kind == "watch" else None
    if strict := options.strict or (acceptance is not None and acceptance.strict):
        judged = msgspec.structs.replace(judged, verdict=strictly(judged.verdict))
    code = int(exit_code(judged.verdict, strict=strict))
    if run.state in ("crashed", "stopped") and not code:
        code = int(ExitCode.INCOMPLETE)
    verdict = judged.verdict
    outcome, code = settled(
        verdict.outcome, code, acceptance, verdict.findings, own=profile is None, strict=strict)
    if acceptance is not None and code and judged.verdict.outcome in (Outcome.PASS, Outcome.MARGINAL):
        # Nowhere may the word PASS stand for a run of which the acceptance is none.
        judged = msgspec.structs.replace(judged, verdict=msgspec.structs.replace(
            judged.verdict, outcome=outcome, reason=acceptance.reason))
    stream = sys.stderr if "-" in (options.json, options.jsonl, options.ocptv) else sys.stdout
    if options.json != "-" or stream.isatty() or options.verbose:
        style = style_for(options, stream)
        here = is_kept_here(path)  # what was run elsewhere is for that box
        shown = msgspec.structs.replace(judged, verdict=runnable_verdict(judged.verdict)) if here else judged
        if acceptance is None or not style.quiet:
            stream.write(stress_text(shown, style, __version__) if watched is None else watch_text(
                msgspec.structs.replace(watched[0], verdict=shown.verdict), shown, style, __version__, watched[1]))
        if run.info.kind == "burn" and (rooted := word_after("burn", judged.verdict.findings)):
            stream.writelines(f"{line}\n" for line in wrap(under_sudo(rooted) if here else rooted, style, "", "  "))
        stream.write(history_text(history, style) if history is not None else "")
        why = f": {run.end.reason}" if run.end and run.end.reason and run.state != "finished" else ""
        print(f"run {id_of(path)} {run.state}{why}", file=stream)
        attempt = options.attempt or acceptance is not None
        if here and run.info.kind == "burn" and not attempt and stream.isatty() and not style.quiet:
            print(f"page   {command_line('report', id_of(path))} --html report.html", file=stream)
        stream.write(disposition_text(acceptance, outcome, style) if acceptance is not None else "")
    if before:
        print(before, file=sys.stderr)
    if options.json:
        account = account_json(judged, __version__, history)
        write_output(options.json, account if acceptance is None else with_acceptance(account, acceptance).decode())
    ended(run, judged.verdict, None if history is None else history_object(history))
    return code


def is_kept_here(path: str) -> bool:
    """Whether a store lies where this user's runs do. The folder is not made for the question: a store from elsewhere
    is read without one."""
    from boxcheck.host.live import LiveHost
    from boxcheck.host.state import state_and_owner

    kept = os.path.join(state_and_owner(LiveHost())[0], "boxcheck", "runs")
    return os.path.dirname(os.path.abspath(path)) == kept


def path_of(word: str) -> str:
    """The store that a word names: any file that is there, else a run of the list. UsageError where it names none."""
    from boxcheck.store.listing import RECORD_SUFFIX

    path = word if os.path.isfile(word) else entry_named(word).path
    if path.endswith(RECORD_SUFFIX):
        raise UsageError(
            f"{id_of(path)} is a record of doctor, not a run", f"{plain_line(path)} is JSON, to be read as it is")
    return path


def entry_named(word: str) -> RunEntry:
    """The run of the list that a word names. UsageError where it names none, or several."""
    from boxcheck.store.listing import find_run, list_runs

    entries = list_runs(runs_folder())
    try:
        return find_run(entries, word)
    except LookupError:
        several = [one.id for one in entries if word and one.id.startswith(word)]
        if several:
            raise UsageError(
                f"{len(several)} runs begin with {word!r}", f"the newest is {plain_line(several[0])}") from None
        known = nearest(word, [one.id for one in entries])
        raise UsageError(
            f"no run is called {word!r}, and no file", plain_line(known) or "boxcheck runs lists them") from None


@contextmanager
def telling_what_could_be_saved(path: str) -> Iterator[None]:
    """A damaged store is an error that says what a salvage would give."""
    try:
        yield
    except StoreError as error:
        if error.kind in ("damaged", "not-a-store"):
            raise StoreError(error.kind, str(error), _could_be_saved(path) or LISTS) from None
        raise


def _could_be_saved(path: str) -> str:
    """Empty where it is nothing, or cannot be told."""
    from boxcheck.store.salvage import salvage_run

    try:
        with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
            told = salvage_run(path, os.path.join(folder, "saved")).lines()
    except (StoreError, OSError):
        return ""
    saved = told[0].removeprefix("saved ")
    return f"boxcheck runs salvage {plain_line(shlex.quote(path))}  (can be saved: {'; '.join((saved, *told[1:]))})"


def judge_run(run: str, profile: str | None, options: Options, anew: bool = False) -> int:
    """`run` may be the folder of an attempt too, of which a copy is read."""
    from boxcheck.commands.report import stored

    with stored(run) as (path, acceptance), telling_what_could_be_saved(path):
        return report(path, profile, options, anew=anew, acceptance=acceptance)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are meant."""

    state: str | None = None
    box: str | None = None
    profile: str | None = None
    since: str | None = None


def runs(json: str | None, choice: Choice) -> int:
    """Lists runs, the newest first."""
    from boxcheck.engine.untold import tell
    from boxcheck.store.listing import entry_object, list_runs

    tell(json is not None)
    every = list_runs(runs_folder())
    entries = _chosen(every, choice)
    if json:
        objects = msgspec.json.encode([entry_object(one) for one in entries])
        write_output(json, msgspec.json.format(objects, indent=1).decode())
        return 0
    if entries:
        from boxcheck.report.runs import list_lines

        for line in list_lines(entries, terminal_columns()):
            print(line)
    else:
        print("no such run" if every else "no run yet", file=sys.stderr)
    return 0


def terminal_columns() -> int:
    """Of the terminal; a line a run for programs."""
    fits = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return shutil.get_terminal_size((100, 24)).columns if fits else 10_000


def _chosen(entries: Sequence[RunEntry], choice: Choice) -> tuple[RunEntry, ...]:
    from boxcheck.store.listing import select_runs

    now = time.time()
    states = (_state(choice.state),) if choice.state is not None else ()
    days = since_days(choice.since, now) if choice.since is not None else None
    return select_runs(
        entries, states=states, profile=choice.profile, box=choice.box, newer_than_days=days, now=now)


def _state(word: str) -> RunState:
    known: tuple[RunState, ...] = get_args(RunState)
    for one in known:
        if one == word:
            return one
    raise UsageError(f"no state is called {word!r}", nearest(word, known) or f"choose one of {', '.join(known)}")


def age_days(text: str) -> float:
    """Days of `90d`, `12h`, `2w`. UsageError for what is no age."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *(h|d|w)", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no age", "write it as 12h, 90d or 2w")
    return float(match[1]) * {"h": 1 / 24, "d": 1.0, "w": 7.0}[match[2]]


def since_days(text: str, now: float) -> float:
    """How long ago an age or a time is."""
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"):
        with suppress(ValueError):
            return (now - datetime.strptime(text.strip(), form).replace(tzinfo=UTC).timestamp()) / 86400
    with suppress(UsageError):
        return age_days(text)
    raise UsageError(f"{text!r} is no time", "write it as 90d, 12h, 2026-11-28 or '2026-11-28 16:00' (UTC)")


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    keep: int | None = None
    older_than: str | None = None
    state: str | None = None
    last_too: bool = False
    dry_run: bool = False
    yes: bool = False


def prune(asked: Pruning) -> int:
    """Removes old runs, after a question where somebody is there to answer it."""
    from boxcheck.report.runs import list_lines, size
    from boxcheck.store.listing import list_runs
    from boxcheck.store.pruning import old_runs, remove_runs, spare_last

    if asked.keep is None and asked.older_than is None and asked.state is None:
        raise UsageError("say which runs may go", "--keep 20, --older-than 90d, --state crashed, or several of them")
    every = list_runs(runs_folder())
    if asked.state == "running":
        raise UsageError("a run that goes on is never removed", "boxcheck attach follows it; Ctrl-C there ends it")
    of_state = _chosen(every, Choice(state=asked.state))
    older = age_days(asked.older_than) if asked.older_than is not None else None
    keep = 0 if asked.keep is None and older is None else asked.keep
    old = old_runs(of_state, keep=keep, older_than_days=older, now=time.time())
    old, spared = (old, ()) if asked.last_too else spare_last(every, old)
    old, wanted = _without_open_attempts(old)
    unread = [one for one in of_state if one.trouble is not None and one.state != "running"]
    if unread:
        print(f"{len(unread)} that cannot be read stay: boxcheck runs salvage may save them", file=sys.stderr)
    if spared:
        print(f"{len(spared)} that would be the last finished of a box stay: --last-too removes them", file=sys.stderr)
    if wanted:
        print(f"{len(wanted)} of attempts that are not finished stay: boxcheck certify --resume ends them",
              file=sys.stderr)
    if not old:
        print("nothing to remove", file=sys.stderr)
        return 0
    for line in list_lines(old, terminal_columns()):
        print(line)
    many = f"{len(old)} run{'' if len(old) == 1 else 's'}, {size(sum(one.bytes for one in old))}"
    if asked.dry_run:
        print(f"{many} would be removed", file=sys.stderr)
        return 0
    if not asked.yes and at_terminal():
        print(f"remove {many}? [y/N] ", end="", file=sys.stderr, flush=True)
        if answer().strip().lower() not in ("y", "yes"):
            print("nothing was removed", file=sys.stderr)
            return 0
    done = remove_runs(old)
    print(f"{len(done.removed)} removed, {size(done.bytes)}", file=sys.stderr)
    for one, why in done.refused:
        print(plain_line(f"{one.id} stays: {why}"), file=sys.stderr)
    return int(ExitCode.INCOMPLETE) if done.refused else 0


def _without_open_attempts(entries: Sequence[RunEntry]) -> tuple[tuple[RunEntry, ...], tuple[RunEntry, ...]]:
    """Those that may go, and those that an attempt needs which certify has not finished."""
    from boxcheck.certify.attempts import open_attempts

    root = os.path.join(os.path.dirname(runs_folder()), "certify")
    needed = {os.path.realpath(asked.run) for _, asked in open_attempts(root)}
    return (tuple(one for one in entries if os.path.realpath(one.path) not in needed),
            tuple(one for one in entries if os.path.realpath(one.path) in needed))


def at_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def answer() -> str:
    return sys.stdin.readline()


def salvage(word: str, out: str | None) -> int:
    """Saves what can be read of a damaged store into a new one, and says what could not be."""
    from boxcheck.store.salvage import salvage_run

    path = path_of(word)
    target = out or f"{path.removesuffix(SUFFIX)}-salvaged{SUFFIX}"
    done = salvage_run(path, target)
    print("\n".join(done.lines()))
    print(f"saved as {plain_line(target)}; {plain_line(path)} stays as it is", file=sys.stderr)
    print(f"boxcheck judge {plain_line(shlex.quote(target))} says what it comes to", file=sys.stderr)
    return 0 if done.whole else int(ExitCode.INCOMPLETE)


def show(word: str, json: str | None, verbose: int) -> int:
    """One run: plan, phases, sessions, events."""
    from boxcheck.report.runs import run_lines, run_object
    from boxcheck.report.wrapping import wrapped
    from boxcheck.store.reader import RunReader

    path = path_of(word)
    with telling_what_could_be_saved(path), RunReader(path) as reader:
        if json:
            write_output(json, msgspec.json.format(msgspec.json.encode(run_object(reader)), indent=1).decode())
        else:
            columns = terminal_columns()
            for line in run_lines(reader, verbose > 0):
                indent = " " * (len(line) - len(line.lstrip()))
                print("\n".join(wrapped(line.lstrip(), columns, indent, f"{indent}    ")))
    return 0


def id_of(path: str) -> str:
    """The name of a run, to be shown: of a file from elsewhere it may hold anything."""
    return plain_line(os.path.basename(path).rpartition(".")[0] or os.path.basename(path))
