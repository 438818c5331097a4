"""`boxcheck doctor` and `boxcheck facts`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from boxcheck.account import AREAS, Account, in_row
from boxcheck.engine.inspect import Facts, choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.host import Host
from boxcheck.judge import ExitCode, exit_code, for_goal, strictly
from boxcheck.profile import GOALS, Profile, load_profile
from boxcheck.registry import CHECKS, Check, discover, selected
from boxcheck.usage import UsageError, nearest

OUTPUTS = ("json", "jsonl", "junit", "ocptv", "openmetrics")
"""Options that name a place for a report."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    checks: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    profile: str | None = None
    want: Profile | None = None
    """In place of its name, for who has it already: a file may have changed since."""
    sysroot: str | None = None
    goal: str | None = None
    wake: bool = True
    json: str | None = None
    jsonl: str | None = None
    junit: str | None = None
    ocptv: str | None = None
    openmetrics: str | None = None
    plain: bool = False
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0
    strict: bool = False
    save: bool = True


def open_host(sysroot: str | None) -> Host:
    """The machine to read: a capture, or this one."""
    if sysroot is not None:
        from boxcheck.host.capture import CaptureHost

        return CaptureHost(sysroot)
    from boxcheck.engine.installation import refuse_shared
    from boxcheck.host.live import LiveHost

    host = LiveHost()
    refuse_shared(host.who())
    return host


def choose(patterns: Sequence[str], without: Sequence[str]) -> tuple[Check, ...]:
    """The checks to run; UsageError for a pattern that names none."""
    discover()
    for pattern in (*patterns, *without):
        if not choose_checks(in_row(pattern)):
            refuse_unknown(pattern)
    chosen = choose_checks(*(
        tuple(name for pattern in some for name in in_row(pattern)) for some in (patterns, without)))
    if not chosen:
        raise UsageError("no check is left to run", "name fewer in --except")
    return chosen


def refuse_unknown(pattern: str) -> NoReturn:
    """Of a pattern that names none of doctor's checks: one that judges a load, or none at all."""
    from boxcheck.commands.catalogue import judged_by

    measured = [check for id, check in sorted(CHECKS.items()) if check.stress is not None and selected((pattern,), id)]
    if measured:
        commands = dict.fromkeys(judged_by(check) for check in measured if check.stress != "*")
        raise UsageError(f"doctor puts no load on the box, and {pattern!r} judges what a load measures",
                         next(iter(commands), "boxcheck burn, or a module of boxcheck stress list"))
    own = [check for check in CHECKS.values() if check.stress is None]
    known = dict.fromkeys([*(check.id for check in own), *(check.area for check in own), *AREAS])
    raise UsageError(f"no check is called {pattern!r}", nearest(pattern, known) or "boxcheck checks lists them all")


def choose_profile(options: Options, facts: Facts) -> tuple[Profile, bool, str]:
    """The profile with its own goal, whether it is certain that it is the right one, and why it was chosen."""
    from boxcheck.profile_detect import detect

    if options.want is not None:
        return options.want, True, "as it was when the run began"
    if options.profile is not None:
        profile, certain, why = load_profile(options.profile), True, "chosen with --profile"
    else:
        detection = detect(facts)
        certain, why = detection.name is not None, detection.why
        profile = load_profile(detection.name or "generic")
    return profile, certain, why


def with_goal(profile: Profile, goal: str | None) -> Profile:
    """The profile for the goal that `--goal` names."""
    if goal is None:
        return profile
    if goal not in GOALS:
        raise UsageError(f"no goal is called {goal!r}", f"choose one of {', '.join(GOALS)}")
    return msgspec.structs.replace(profile, goal=goal)


def examine(options: Options) -> tuple[Account, Host]:
    """Reads and judges; renders nothing."""
    began = time.monotonic()
    started = time.time()
    host = open_host(options.sysroot)
    chosen = choose(options.checks, options.without)
    if options.profile is not None:
        load_profile(options.profile)  # a mistake in it should not wait for the reading
    if options.wake and host.live:
        from boxcheck.engine.wake import read_under_load

        unloaded = read_under_load(host)
        if unloaded is not None and unloaded.kind != "absent" and not options.quiet:
            print(f"links were not all read under load: {unloaded.why}", file=sys.stderr)
    facts = read_facts(host)
    own, certain, why = choose_profile(options, facts)
    profile = with_goal(own, options.goal)
    name_slots(facts, profile)
    verdict = for_goal(
        inspect_facts(facts, profile, chosen, profile_certain=certain), profile.goal, own.goal)
    if options.strict:
        verdict = strictly(verdict)
    from boxcheck.report.summary import account_of

    account = account_of(
        host=host, facts=facts, profile=profile, certain=certain, why=why, checks=chosen, verdict=verdict,
        started=started, elapsed_seconds=time.monotonic() - began, sysroot=options.sysroot,
    )
    without = (word for pattern in options.without for word in ("--except", pattern))
    named = (("--sysroot", options.sysroot), ("--profile", options.profile), ("--goal", options.goal))
    return msgspec.structs.replace(
        account, asked=(*options.checks, *without), own_goal=own.goal, strict=options.strict,
        options=tuple(word for name, value in named if value is not None for word in (name, value)),
    ), host


def doctor(options: Options) -> int:
    to_stdout = [name for name in OUTPUTS if getattr(options, name) == "-"]
    if len(to_stdout) > 1:
        raise UsageError(f"--{to_stdout[0]} - and --{to_stdout[1]} - both want standard output", "write one to a file")
    named = [place for name in OUTPUTS if (place := getattr(options, name)) not in (None, "-")]
    for place in named:
        if sum(os.path.realpath(place) == os.path.realpath(other) for other in named) > 1 and not os.path.exists(place):
            raise UsageError(f"{place}: two reports want this file", "give each its own")
    from boxcheck.report.progress import announce

    if options.sysroot is None:
        from boxcheck.engine.untold import tell

        tell(options.quiet or bool(to_stdout))
    with announce(options):
        account, host = examine(options)
    code = exit_code(account.verdict, strict=options.strict)
    if options.save and host.live:
        from boxcheck.engine.record import save_record

        account = save_record(account, host)
    from boxcheck.report import write_reports

    write_reports(account, options)
    return int(code)


def facts(sysroot: str | None, json: str | None) -> int:
    from boxcheck.report.json import facts_json
    from boxcheck.report.output import write_output

    host = open_host(sysroot)
    read = read_facts(host)
    write_output(json or "-", facts_json(read, host))
    for crash in read.crashes:
        print(f"boxcheck itself broke in {crash.where}", file=sys.stderr)
    return int(ExitCode.BROKEN if read.crashes else ExitCode.PASSED)


__all__ = ["Options", "choose", "doctor", "examine", "facts", "open_host"]
