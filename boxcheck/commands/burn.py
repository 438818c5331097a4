"""`boxcheck burn` and `attach`. `runs` and `judge`: commands/runs.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import msgspec

from boxcheck.checks.wording import counted
from boxcheck.checks.wording import duration as words
from boxcheck.commands.follow import follow_run, held_interrupts, lines_for
from boxcheck.commands.runs import id_of, path_of, runs_folder
from boxcheck.commands.telling import NO_STREAMS, Streams, Telling
from boxcheck.engine.plan import LEVEL_SECONDS, Plan, duration, plan_for, plan_from, refuse_phases
from boxcheck.engine.plan_profile import forced, refuse_options, refuse_other_box, why_forced
from boxcheck.engine.rights import unread_log, word_before
from boxcheck.engine.safety import in_words, limits_of
from boxcheck.engine.untold import tell
from boxcheck.judge import ExitCode
from boxcheck.profile import Profile
from boxcheck.registry import STRESSES, discover, discover_stress
from boxcheck.report import columns_of
from boxcheck.report.output import refuse_place, write_output
from boxcheck.report.wrapping import wrapped
from boxcheck.store.room import refuse_no_room
from boxcheck.stress import FAULTS
from boxcheck.usage import UsageError, nearest


class Options(msgspec.Struct, frozen=True, kw_only=True):
    profile: str | None = None
    force_profile: bool = False
    """Although the box is another than the profile's."""
    level: int | None = None
    lasting: str | None = None
    until_ber: str | None = None
    plan: str | None = None
    only: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    backend: str | None = None
    seed: int | None = None
    """1 where it is not given."""
    inject: str | None = None
    on_error: str | None = None
    dry_run: bool = False
    detach: bool = False
    resume: bool = False
    run: str | None = None
    """Which run is gone on with."""
    without_missing: bool = False
    attempt: str = ""
    """Of an acceptance, that the run is the load of: `attempt 2 of box W-0007`."""
    json: str | None = None
    jsonl: str | None = None
    ocptv: str | None = None
    strict: bool = False
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0
    no_tui: bool = False


def burn(
    options: Options, began: Callable[[str], None] = lambda path: None, streams: Streams = NO_STREAMS,
) -> int:
    """`began` is told the path of the run's store as soon as there is one. `streams`: where the run is a part of
    something more."""
    from boxcheck.commands.doctor import Options as DoctorOptions
    from boxcheck.commands.doctor import choose_profile, open_host
    from boxcheck.commands.put_back import refuse_changed, says_aside
    from boxcheck.commands.stress import backend_named
    from boxcheck.engine.aftermath import boot_id
    from boxcheck.engine.box import name_of
    from boxcheck.engine.detach import running, start, tell_to_stop
    from boxcheck.engine.fitting import without_work
    from boxcheck.engine.inspect import name_slots, read_facts
    from boxcheck.engine.job import Job
    from boxcheck.engine.stress import find_devices, pick, slots_of
    from boxcheck.engine.until_ber import map_of, parse_ber, with_ber
    from boxcheck.report.command import under_sudo

    if options.resume:
        _refuse_beside_resume(options)
        return _resume(options, streams)
    _refuse_mixed(options)
    if options.run is not None or options.without_missing:
        again = "boxcheck burn --resume RUN goes on with a run"
        raise UsageError("a run is named, and not that it goes on",
                         again if options.run is None else f"{again}; boxcheck burn --for 15m says how long")
    tell(options.quiet or options.json is not None)
    discover()
    discover_stress()
    if options.json not in (None, "-"):
        refuse_place(options.json)
    if not options.dry_run and (busy := running(runs_folder())) is not None:
        raise UsageError(f"a run is going on: {id_of(busy)}", "boxcheck attach follows it")
    host = open_host(None)
    if not options.dry_run and (code := refuse_changed(host, says_aside(options.quiet))) is not None:
        return code
    facts = read_facts(host)
    want, certain, why = choose_profile(DoctorOptions(profile=options.profile), facts)
    if options.profile is not None and not options.force_profile:
        refuse_other_box(want, facts)
    against = forced(want, facts) if options.profile is not None and options.force_profile else ""
    refuse_options(want)
    name_slots(facts, want)
    runtime = find_devices(backend_named(options.backend))
    if not runtime.gpus:
        from boxcheck.commands.no_device import no_device

        return no_device(runtime, facts, options)
    try:
        gpus = pick(runtime.gpus, options.gpus, slots_of(runtime.gpus, facts))
    except LookupError as error:
        shown = ", ".join(info.key for info in runtime.gpus)
        raise UsageError(f"no device is called {error.args[0]!r}", f"there are {shown}") from None
    peers = max((sum(info.backend == one.backend for info in gpus) for one in gpus), default=0)
    plan = _plan(options, len(gpus), peers, want, without_work(("nvme",), gpus, {}, host))
    if options.until_ber is not None:
        plan = with_ber(plan, parse_ber(options.until_ber), map_of(gpus, facts), peers)
    if options.dry_run:
        return _show_plan(plan, options, want)
    refuse_no_room(runs_folder(), plan.seconds, len(gpus))
    lines = lines_for(options, streams)
    with held_interrupts() as asked:
        path = start(Job(
            plan=plan, folder=runs_folder(), gpus=tuple(info.key for info in gpus),
            backend=backend_named(options.backend), profile=options.profile or want.name,
            profile_why=why_forced(why, against), forced=against, certain=certain,
            seed=1 if options.seed is None else options.seed, inject=options.inject,
            stop_on_error=options.on_error == "stop",
            attempt=options.attempt, box=name_of(facts), boot=boot_id(), devices=gpus,
            left_out=tuple(info.key for info in runtime.gpus if info not in gpus)))
        began(path)
    if asked:
        tell_to_stop(path)
    size = ", ".join((words(plan.seconds), counted(len(gpus), "device"), counted(len(plan.steps), "step")))
    print(f"run {id_of(path)}: {size}", file=sys.stderr)
    if before := word_before("burn", want, unread_log()):
        print("\n".join(wrapped(under_sudo(before), columns_of(sys.stderr), "", "  ")), file=sys.stderr)
    if options.detach:
        print(id_of(path))
        return 0
    return _follow(path, options, lines)


def _resume(options: Options, streams: Streams) -> int:
    from boxcheck.commands.doctor import open_host
    from boxcheck.commands.put_back import refuse_changed, says_aside
    from boxcheck.commands.resume import resume

    discover()
    discover_stress()
    if (code := refuse_changed(open_host(None), says_aside(options.quiet))) is not None:
        return code
    lines = lines_for(options, streams)
    path = resume(options.run, options.without_missing, options)
    if path is None:
        return 0
    if options.detach:
        print(id_of(path))
        return 0
    return _follow(path, options, lines)


def _follow(path: str, options: Options, lines: Telling) -> int:
    """On the whole screen where somebody is before one, else by lines."""
    from boxcheck.commands.tui import show_run, wants_screen

    return show_run(path, options, lines) if wants_screen(options) else follow_run(path, options, lines)


def attach(
    run: str | None, options: Options, replay: float | None = None, streams: Streams = NO_STREAMS,
) -> int:
    """Follows a run, the one that is going on by default, to its end. `replay`: plays one that is over, so fast."""
    from boxcheck.engine.detach import running

    tell(options.quiet or options.json is not None)
    path = path_of(run) if run else running(runs_folder())
    if path is None:
        raise UsageError("no run is going on", "boxcheck runs lists those that were")
    if replay is not None:
        from boxcheck.commands.tui import play_again

        return play_again(path, options, replay)
    if streams is not NO_STREAMS:
        return _follow(path, options, lines_for(options, streams))
    of_attempt = _of_attempt(path, options)
    code = _follow(path, options, lines_for(options, of_attempt))
    return code or _code_alone(path, of_attempt)


def _of_attempt(path: str, options: Options) -> Streams:
    """Of the run of an attempt: what is told of it ends with the disposition, or says that there is none yet."""
    from boxcheck.commands.report import acceptance_of
    from boxcheck.report.certified_stream import CertifiedStream
    from boxcheck.report.ocptv_run import OcptvStream

    decided = cache(lambda: acceptance_of(path))
    return Streams(
        CertifiedStream(options.strict, decided) if options.jsonl else None,
        OcptvStream(options.strict, decided=decided) if options.ocptv else None, decided)


def _code_alone(path: str, streams: Streams) -> int:
    """What the run of an attempt comes to by itself, where it passed: its disposition, if it is there."""
    from boxcheck.certify.find_acceptance import says_alone
    from boxcheck.store.reader import RunReader

    with RunReader(path) as reader:
        alone = says_alone(reader.run())
    return int(ExitCode.INCOMPLETE) if alone and streams.decided() is None else 0


def _refuse_mixed(options: Options) -> None:
    """Options of which one would be dropped without a word."""
    if options.plan is not None:
        for word, given in (("--level", options.level), ("--for", options.lasting), ("--only", options.only)):
            if given:
                raise UsageError(f"--plan and {word} exclude each other", "the plan file says what is run")
    if options.inject is not None and options.inject not in FAULTS:
        raise UsageError(f"no fault is called {options.inject!r}", nearest(options.inject, FAULTS) or ", ".join(FAULTS))
    refuse_phases(options.only)
    if options.lasting is not None:
        duration(options.lasting)


def _refuse_beside_resume(options: Options) -> None:
    given = {
        "--profile": options.profile, "--force-profile": options.force_profile, "--level": options.level,
        "--for": options.lasting, "--until-ber": options.until_ber, "--plan": options.plan, "--only": options.only,
        "--gpu": options.gpus, "--backend": options.backend, "--inject": options.inject, "--dry-run": options.dry_run,
        "--on-error": options.on_error, "--seed": options.seed is not None}
    for word, value in given.items():
        if value:
            raise UsageError(
                f"--resume and {word} exclude each other", "a run that goes on keeps its plan, devices and profile")


def _plan(options: Options, gpus: int, peers: int, want: Profile, idle: Mapping[str, str]) -> Plan:
    """`idle`: modules that have nothing to work on here, and why; a plan that is made leaves them out and says so."""
    if options.plan is not None:
        try:
            text = Path(options.plan).read_text("utf-8")
        except OSError as error:
            says = os.strerror(error.errno or 0).lower()
            raise UsageError(f"plan {options.plan}: {says}", "name a TOML file") from None
        except UnicodeDecodeError:
            raise UsageError(f"plan {options.plan}: it is no UTF-8 text", "name a TOML file") from None
        return plan_from(text, options.plan, tuple(STRESSES))
    if options.level is not None and options.lasting is not None:
        raise UsageError("--level and --for exclude each other", "say one of them")
    seconds = duration(options.lasting) if options.lasting else LEVEL_SECONDS[options.level or 1]
    name = f"for {words(seconds)}" if options.lasting else f"level {options.level or 1}"
    known = tuple(module for module in STRESSES if module not in idle)
    plan = plan_for(seconds, name, gpus=gpus, peers=peers, known=known, only=options.only, want=want)
    return msgspec.structs.replace(plan, left_out={**plan.left_out, **idle})


def _show_plan(plan: Plan, options: Options, want: Profile) -> int:
    if options.json:
        write_output(options.json, msgspec.json.format(msgspec.json.encode(plan), indent=1).decode())
        return 0
    print(f"{plan.name}: {words(plan.seconds)}{f', as profile {plan.by_profile} has it' if plan.by_profile else ''}")
    for step in plan.steps:
        print(f"  {step.name:<14} {words(step.seconds):>14}  {' '.join(step.modules)}".rstrip())
    for name, why in plan.left_out.items():
        print(f"  {name:<14} {'left out':>14}  {why}")
    for name in plan.not_asked:
        print(f"  {name:<14} {'left out':>14}  by --only: the run is a part of one, and ends in PARTIAL")
    print("all load ends at once, with exit code 5, where something goes")
    for line in in_words(limits_of(want)):
        print(f"  {line}")
    return 0
