"""`boxcheck burn`, `attach`, `runs` and `judge`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from boxcheck import __version__
from boxcheck.engine.plan import LEVEL_SECONDS, Plan, as_object, duration, plan_for, plan_from, words
from boxcheck.judge import ExitCode, exit_code, strictly
from boxcheck.registry import STRESSES, discover, discover_stress
from boxcheck.report.output import refuse_place, write_output
from boxcheck.usage import UsageError

LINE_SECONDS = 30.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    profile: str | None = None
    level: int | None = None
    lasting: str | None = None
    plan: str | None = None
    only: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    backend: str | None = None
    seed: int = 1
    inject: str | None = None
    stop_on_error: bool = False
    dry_run: bool = False
    detach: bool = False
    json: str | None = None
    strict: bool = False
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0


def runs_folder() -> str:
    """Where runs lie; made where it is not there."""
    from boxcheck.engine.record import state_directory
    from boxcheck.host.live import LiveHost

    folder = os.path.join(state_directory(LiveHost()), "boxcheck", "runs")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        says = f"{folder}: {os.strerror(error.errno or 0).lower()}"
        raise UsageError(says, "set XDG_STATE_HOME to a directory that can be written") from None
    return folder


def burn(options: Options) -> int:
    from boxcheck.commands.doctor import Options as DoctorOptions
    from boxcheck.commands.doctor import choose_profile, open_host
    from boxcheck.commands.stress import backend_named, no_device
    from boxcheck.engine.burn import Job
    from boxcheck.engine.detach import running, start
    from boxcheck.engine.inspect import name_slots, read_facts
    from boxcheck.engine.stress import find_devices, pick, slots_of

    discover()
    discover_stress()
    if options.json not in (None, "-"):
        refuse_place(options.json)
    if not options.dry_run and (busy := running(runs_folder())) is not None:
        raise UsageError(f"a run is going on: {os.path.basename(busy)}", "boxcheck attach follows it")
    host = open_host(None)
    facts = read_facts(host)
    want, certain, why = choose_profile(DoctorOptions(profile=options.profile), facts)
    name_slots(facts, want)
    runtime = find_devices(backend_named(options.backend))
    if not runtime.gpus:
        return no_device(runtime.troubles)
    try:
        gpus = pick(runtime.gpus, options.gpus, slots_of(runtime.gpus, facts))
    except LookupError as error:
        shown = ", ".join(info.key for info in runtime.gpus)
        raise UsageError(f"no device is called {error.args[0]!r}", f"there are {shown}") from None
    peers = max((sum(info.backend == one.backend for info in gpus) for one in gpus), default=0)
    plan = _plan(options, len(gpus), peers)
    if options.dry_run:
        return _show_plan(plan, options)
    path = start(Job(
        plan=plan, folder=runs_folder(), gpus=tuple(info.key for info in gpus), backend=backend_named(options.backend),
        profile=options.profile or want.name, profile_why=why, certain=certain, seed=options.seed,
        inject=options.inject, stop_on_error=options.stop_on_error, boot=_boot()))
    print(f"run {_id(path)}: {words(plan.seconds)}, {len(gpus)} devices, {len(plan.steps)} steps", file=sys.stderr)
    if options.detach:
        print(_id(path))
        return 0
    return _follow(path, options)


def attach(run: str | None, options: Options) -> int:
    """Follows a run, the one that is going on by default, to its end."""
    from boxcheck.engine.detach import running

    path = _path(run) if run else running(runs_folder())
    if path is None:
        raise UsageError("no run is going on", "boxcheck runs lists those that were")
    return _follow(path, options)


def _follow(path: str, options: Options) -> int:
    """Prints a line now and then, and the account at the end. Ctrl-C asks the run to end in order; a second leaves
    it."""
    from boxcheck.engine.detach import follow, tell_to_stop

    with _interrupts(lambda: tell_to_stop(path)):
        shown = 0.0
        for progress in follow(path, 1.0):
            for event in progress.news if not options.quiet else ():
                if event.severity != "info":
                    print(f"{_clock(progress.seconds)}  {event.severity:<5} {event.subject or 'box':<14} {event.says}",
                          file=sys.stderr, flush=True)
            if not options.quiet and (time.monotonic() - shown > LINE_SECONDS or progress.run.state != "running"):
                shown = time.monotonic()
                now = [phase for phase in progress.phases if phase.state in ("about", "running")]
                doing = ", ".join(phase.doing or phase.plan.name for phase in now) or progress.run.state
                print(f"{_clock(progress.seconds)}  {doing}", file=sys.stderr, flush=True)
    return report(path, None, options)


@contextmanager
def _interrupts(stop: object) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        print("the run is told to end; once more leaves it to itself", file=sys.stderr, flush=True)
        assert callable(stop)
        stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def report(path: str, profile: str | None, options: Options) -> int:
    """The account of a run, from its store, judged by its own profile or another. Gives the exit code."""
    from boxcheck.engine.rejudge import rejudge
    from boxcheck.profile import load_profile
    from boxcheck.report import style_for
    from boxcheck.report.stress import stress_json, stress_text
    from boxcheck.store.reader import RunReader

    with RunReader(path) as reader:
        run = reader.run()
        name = profile or (run.info.profile.name if run.info.profile else "generic")
        judged = rejudge(reader, load_profile(name), profile is not None).run
    if options.strict:
        judged = msgspec.structs.replace(judged, verdict=strictly(judged.verdict))
    stream = sys.stderr if options.json == "-" else sys.stdout
    if options.json != "-" or stream.isatty() or options.verbose:
        stream.write(stress_text(judged, style_for(options, stream), __version__))
        print(f"run {_id(path)} {run.state}{f': {run.end.reason}' if run.end and run.end.reason else ''}", file=stream)
    if options.json:
        write_output(options.json, stress_json(judged, __version__))
    code = exit_code(judged.verdict, strict=options.strict)
    if run.state in ("crashed", "stopped") and code is ExitCode.PASSED:
        return int(ExitCode.INCOMPLETE)
    return int(code)


def _path(word: str) -> str:
    from boxcheck.store.listing import find_run, list_runs

    if os.path.exists(word) and word.endswith((".db", ".sqlite", ".bcrun", ".run")):
        return word
    return find_run(list_runs(runs_folder()), word).path


def judge_run(run: str, profile: str | None, options: Options) -> int:
    return report(_path(run), profile, options)


def runs(json: str | None, state: str | None) -> int:
    """Lists runs, the newest first."""
    from boxcheck.store.listing import entry_object, list_runs

    entries = [one for one in list_runs(runs_folder()) if state in (None, one.state)]
    if json:
        objects = msgspec.json.encode([entry_object(one) for one in entries])
        write_output(json, msgspec.json.format(objects, indent=1).decode())
        return 0
    for one in entries:
        began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.started))
        columns = f"{one.id:<34}  {began}  {one.state:<9} {one.outcome or '-':<9} {one.profile or '-':<18}"
        print(f"{columns} {one.trouble or one.phase or ''}".rstrip())
    if not entries:
        print("no run yet", file=sys.stderr)
    return 0


def _plan(options: Options, gpus: int, peers: int) -> Plan:
    if options.plan is not None:
        try:
            text = Path(options.plan).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"plan {options.plan}: {error}", "name a TOML file") from None
        return plan_from(text, options.plan, tuple(STRESSES))
    if options.level is not None and options.lasting is not None:
        raise UsageError("--level and --for exclude each other", "say one of them")
    seconds = duration(options.lasting) if options.lasting else LEVEL_SECONDS[options.level or 1]
    name = f"for {words(seconds)}" if options.lasting else f"level {options.level or 1}"
    return plan_for(seconds, name, gpus=gpus, peers=peers, known=tuple(STRESSES), only=options.only)


def _show_plan(plan: Plan, options: Options) -> int:
    if options.json:
        write_output(options.json, msgspec.json.format(msgspec.json.encode(as_object(plan)), indent=1).decode())
        return 0
    print(f"{plan.name}: {words(plan.seconds)}")
    for step in plan.steps:
        print(f"  {step.name:<14} {words(step.seconds):>14}  {' '.join(step.modules)}".rstrip())
    for name, why in plan.left_out.items():
        print(f"  {name:<14} {'left out':>14}  {why}")
    return 0


def _id(path: str) -> str:
    return os.path.basename(path).rpartition(".")[0]


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


