"""`boxcheck profile list`, `show`, `check`, `detect` and `draft`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from boxcheck.profile import Mistake, ProfileError, check_profile, load_profile, shipped_profiles
from boxcheck.registry import CHECKS, LIMITS, discover
from boxcheck.report import profile as report
from boxcheck.report.output import write_output
from boxcheck.usage import UsageError

USAGE = 2
INCOMPLETE = 3


def profile_list(json: str | None) -> int:
    profiles = [load_profile(name) for name in shipped_profiles()]
    write_output(json or "-", report.list_json(profiles) if json else report.list_text(profiles))
    return 0


def profile_show(name: str, json: str | None) -> int:
    import shutil

    profile = load_profile(name)
    if json:
        write_output(json, report.show_json(profile))
    else:
        columns = shutil.get_terminal_size((100, 24)).columns
        write_output("-", report.show_text(profile, max(60, min(columns, 140))))
    return 0


def profile_check(file: str | None = None) -> int:
    """All mistakes of one profile, or of the shipped ones. 0 when there is none, else 2."""
    if file is not None:
        return _check_one(file)
    codes = [_check_one(name) for name in shipped_profiles()]
    gaps = coverage()
    for gap in gaps:
        print(f"error: {gap}", file=sys.stderr)
    return max(codes, default=0) or (USAGE if gaps else 0)


def _check_one(name: str) -> int:
    from boxcheck.engine.plan_profile import refuse_options

    try:
        mistakes: Sequence[Mistake] = check_profile(name)
    except ProfileError as error:
        if not error.mistakes:
            raise
        mistakes = error.mistakes
    for mistake in mistakes:
        print(f"error: {mistake}", file=sys.stderr)
        if mistake.help:
            print(f"help: {mistake.help}", file=sys.stderr)
    if mistakes:
        return USAGE
    profile = load_profile(name)
    try:
        refuse_options(profile)
    except UsageError as error:
        print(f"error: {error}\nhelp: {error.help}", file=sys.stderr)
        return USAGE
    lists = report.blockers(profile)
    print(f"{profile.name} r{profile.revision}: {len(profile.limits)} limit{'' if len(profile.limits) == 1 else 's'}, "
          "each with its source; "
          f"{len(lists['inspect'])} blockers of doctor, {len(lists['stress'])} of certify; no mistakes")
    return 0


def coverage() -> list[str]:
    """Limits that somebody declared for nothing: that no check reads, or that no shipped profile sets."""
    discover()
    read = {name for check in CHECKS.values() for name in check.limits}
    known = set().union(*(load_profile(name).limits for name in shipped_profiles()))
    return [
        *(f"no check reads the limit {name}" for name in sorted(set(LIMITS) - read)),
        *(f"no shipped profile sets the limit {name}" for name in sorted(set(LIMITS) - known)),
    ]


def profile_detect(sysroot: str | None, json: str | None) -> int:
    """0 when one profile matches, 3 when none or more than one does."""
    from boxcheck.commands.doctor import open_host
    from boxcheck.engine.inspect import read_facts
    from boxcheck.probes.cpu import Cpu
    from boxcheck.probes.dmi import Dmi
    from boxcheck.probes.gpus import Gpus
    from boxcheck.probes.memory import Memory
    from boxcheck.profile_detect import detect

    found = detect(read_facts(open_host(sysroot), (Dmi, Cpu, Gpus, Memory)))
    write_output(json or "-", report.detect_json(found) if json else report.detect_text(found))
    return 0 if found.name else INCOMPLETE


def profile_draft(sysroot: str | None) -> int:
    """A profile of the machine as it is, on standard output; what doctor finds wrong with it on standard error too."""
    from boxcheck.commands.doctor import open_host
    from boxcheck.commands.profile_doubts import comments, doubts_about
    from boxcheck.engine.inspect import read_facts
    from boxcheck.profile_draft import draft

    facts = read_facts(open_host(sysroot))
    drafted = draft(facts)  # before the doubts: judging puts the slot names of the nearest profile on the links
    doubts = doubts_about(facts)
    write_output("-", drafted if not doubts else drafted.replace("\n", "\n" + comments(doubts), 1))
    for doubt in doubts:
        print(doubt, file=sys.stderr)
    return 0
