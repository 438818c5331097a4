"""Judges a stored run, by its own profile or another, from the store alone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boxcheck.engine.inspect import Facts, name_slots
from boxcheck.engine.link_course import enter, judge_ledger, ledger_of
from boxcheck.engine.stress import StressRun, decides
from boxcheck.engine.survival import findings_of_survival, survival_of
from boxcheck.engine.told_troubles import crashes_in, troubles_in
from boxcheck.engine.watch_judging import BEFORE, facts_in, judge_phase, judge_whole
from boxcheck.engine.wholeness import as_part, lacks_of, last_look, plan_in, without_rows
from boxcheck.judge import judge
from boxcheck.model import Crash, Finding, Outcome
from boxcheck.profile import Profile
from boxcheck.registry import discover, discover_stress
from boxcheck.report.measured import Measured, measured_of
from boxcheck.store.reader import RunReader
from boxcheck.store.results import Seen, results_of, watching_of
from boxcheck.store.rows import Phase
from boxcheck.store.verify import in_words, missing_rows
from boxcheck.stress import StressResults
from boxcheck.stress.judging import forget
from boxcheck.stress.link_ledger import Ledger
from boxcheck.stress.runtime import RuntimeGpus
from boxcheck.stress.watched import Watching


def rejudge(
    reader: RunReader, want: Profile, chosen: bool, *, ledger: Ledger | None = None, seen: Seen | None = None
) -> StressRun:
    """Every check of every module over what the store holds. Equal to the run's own verdict where the profile is the
    run's; `chosen`: somebody named another, which is then certain. `ledger`: gets what crossed the links; `seen`: gets
    every piece of records on the way."""
    discover()
    discover_stress()
    run, phases = reader.run(), reader.phases()
    facts = facts_in(reader, BEFORE) or Facts()
    name_slots(facts, want)
    if ledger is None and run.info.kind == "burn":
        ledger = ledger_of(phases, facts)
    judged = judge_phases(reader, phases, facts, want, ledger=ledger, seen=seen)
    every, findings, crashes = judged.every, judged.findings, judged.crashes
    planned = plan_in(run.info.plan)
    look = last_look(planned.steps if planned is not None else ())
    doctor = [phase.plan.number for phase in phases if not phase.plan.module and phase.plan.name == look and phase.end]
    # What doctor found is as it was judged then: a store holds its account, not the machine.
    inspected = tuple(reader.findings(doctor[-1])) if doctor else ()
    crashes += crashes_in(reader, (0, *doctor[-1:]))
    plan = run.info.plan if isinstance(run.info.plan, dict) else {}
    certain = chosen or bool(plan.get("certain", True))
    why = "chosen with --profile" if chosen else str(plan.get("profile_why", ""))
    survival = survival_of(reader)
    survived = findings_of_survival(survival, want, crashes) if survival.kind == "burn" or survival.downs else []
    around = judge_whole(reader, run.info.kind, facts, want, crashes)
    of_links = judge_ledger(reader, ledger, want, crashes) if ledger is not None and run.info.kind == "burn" else []
    verdict = judge(
        [*findings, *inspected, *survived, *around, *of_links], want, crashes=crashes, profile_certain=certain)
    lacks = lacks_of(reader, want) if run.info.kind == "burn" else None
    verdict = without_rows(as_part(verdict, lacks) if lacks is not None else verdict, in_words(missing_rows(reader)))
    began = run.sessions[0].began.wall if run.sessions else 0.0
    last = max((phase.ended.seconds for phase in phases if phase.ended), default=0.0)
    ended = run.end.at.seconds if run.end else last
    return StressRun(
        results=tuple(one for one, _, _ in every), watching=tuple(one for _, one, _ in every),
        measured=tuple(one for _, _, one in every),
        runtime=RuntimeGpus(every[0][0].gpus if every else (), {}, ()), verdict=verdict, started=began, seconds=ended,
        profile=f"{want.name} r{want.revision}", profile_why=why, profile_certain=certain,
        left_out=lacks.devices if lacks is not None else ())


class Judged(msgspec.Struct, kw_only=True):
    """What the checks of all modules found."""

    every: list[tuple[StressResults, Watching, Measured]]
    """Without samples: a day has two million, and those of one phase are let go before those of the next are read."""
    findings: list[Finding]
    crashes: list[Crash]


def judge_phases(
    reader: RunReader, phases: Sequence[Phase], facts: Facts, want: Profile, *, going_on: bool = False,
    ledger: Ledger | None = None, seen: Seen | None = None,
) -> Judged:
    """Every check over these phases. `going_on`: those that did not come to their end are about to be run again.
    `ledger`: what crossed the links is added to it."""
    findings: list[Finding] = []
    for one in reader.findings(0):  # once for each time that the run was begun or gone on with
        if one.check == "gpu.in-runtime" and one not in findings:
            findings.append(one)
    made = Judged(every=[], crashes=[], findings=[
        msgspec.structs.replace(one, blocker=decides(one, want)) for one in findings])
    for phase in phases:
        if not phase.plan.module:
            continue
        results = results_of(reader, phase.plan.number, only_judged=True, seen=seen)
        watching = watching_of(reader, phase.plan.number, seen=seen)
        if phase.end is None:  # else they are in its end
            results = msgspec.structs.replace(
                results, troubles=(*troubles_in(reader, phase.plan.number), *results.troubles))
        found, broken = judge_phase(results, watching, facts, want)
        if ledger is not None:
            enter(ledger, phase, results, watching)
        measured, results = measured_of(results), msgspec.structs.replace(results, samples=())
        made.every.append((results, watching, measured))
        facts.put(StressResults, results)
        forget()
        if is_run_again(phase, phases, going_on):
            # That it is not complete is no fault, since it was run once more; what was found in it was found.
            found = [one for one in found if one.outcome is Outcome.FAIL or (
                one.outcome is Outcome.MARGINAL and one.check != "stress.completed")]
        made.findings += [msgspec.structs.replace(one, blocker=decides(one, want)) for one in found]
        made.crashes += broken
    return made


def is_run_again(phase: Phase, phases: Sequence[Phase], going_on: bool) -> bool:
    """Whether a phase was cut off or stopped, and another took its place."""
    stopped = phase.end is not None and phase.end.results is not None and phase.end.results.stopped
    if phase.state == "ended" and not stopped:
        return False
    return going_on or any(
        one.plan.number > phase.plan.number and (one.plan.name, one.plan.module) == (phase.plan.name, phase.plan.module)
        for one in phases)



