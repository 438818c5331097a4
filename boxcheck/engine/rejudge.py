"""Judges a stored run, by its own profile or another, from the store alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from boxcheck.engine.burn import CAPTURE
from boxcheck.engine.inspect import Facts, name_slots, read_facts
from boxcheck.engine.stress import StressRun, decides, judge_results
from boxcheck.judge import judge
from boxcheck.model import Crash, Finding
from boxcheck.profile import Profile
from boxcheck.registry import discover, discover_stress
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.stress import StressResults
from boxcheck.stress.runtime import RuntimeGpus
from boxcheck.stress.watched import Watching


class Rejudged(msgspec.Struct, frozen=True, kw_only=True):
    run: StressRun
    inspected: tuple[Finding, ...]
    """What doctor found after the load, as it was judged then: a store holds its account, not the machine."""


def rejudge(reader: RunReader, want: Profile, chosen: bool) -> Rejudged:
    """Every check of every module over what the store holds. Equal to the run's own verdict where the profile is the
    run's; `chosen`: somebody named another, which is then certain."""
    discover()
    discover_stress()
    run, phases = reader.run(), reader.phases()
    every: list[tuple[StressResults, Watching]] = []
    findings: list[Finding] = [one for one in reader.findings(0) if one.check == "gpu.in-runtime"]
    findings = [msgspec.structs.replace(one, blocker=decides(one, want)) for one in findings]
    crashes: list[Crash] = []
    facts = _facts(reader)
    name_slots(facts, want)
    for phase in phases:
        if not phase.plan.module:
            continue
        results, watching = results_of(reader, phase.plan.number), watching_of(reader, phase.plan.number)
        every.append((results, watching))
        found, broken = judge_results(results, watching, facts, want)
        findings += [msgspec.structs.replace(one, blocker=decides(one, want)) for one in found]
        crashes += broken
    doctor = [phase for phase in phases if not phase.plan.module and phase.plan.name == "doctor after" and phase.end]
    inspected = tuple(reader.findings(doctor[-1].plan.number)) if doctor else ()
    planned = _planned(run.info.plan)
    done = [phase.plan.name for phase in phases if phase.end is not None]
    left_out = [name for name in planned if name not in done]
    plan = run.info.plan if isinstance(run.info.plan, dict) else {}
    certain = chosen or bool(plan.get("certain", True))
    why = "chosen with --profile" if chosen else str(plan.get("profile_why", ""))
    verdict = judge(
        [*findings, *inspected], want, left_out=left_out, crashes=crashes, profile_certain=certain)
    began = run.sessions[0].began.wall if run.sessions else 0.0
    last = max((phase.ended.seconds for phase in phases if phase.ended), default=0.0)
    ended = run.end.at.seconds if run.end else last
    return Rejudged(inspected=inspected, run=StressRun(
        results=tuple(one for one, _ in every), watching=tuple(one for _, one in every),
        runtime=RuntimeGpus(every[0][0].gpus if every else (), {}, ()), verdict=verdict, started=began, seconds=ended,
        profile=f"{want.name} r{want.revision}", profile_why=why))


def _facts(reader: RunReader) -> Facts:
    """What was read of the machine when the run began, from the capture in the store; nothing where there is none."""
    import tempfile

    from boxcheck.host.capture import CaptureHost

    packed = reader.attachment(CAPTURE)
    if packed is None:
        return Facts()
    with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
        path = Path(folder) / CAPTURE
        path.write_bytes(packed)
        return read_facts(CaptureHost(str(path)))


def _planned(plan: object) -> Sequence[str]:
    steps = plan.get("steps", ()) if isinstance(plan, dict) else ()
    return [str(step.get("name")) for step in steps if isinstance(step, dict)]


