"""Goes on with a run that was cut off or stopped, in its own store: steps that came to their end stay, the others are
run, the interrupted one from its beginning. What was found before stays in the verdict.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from boxcheck import __version__
from boxcheck.engine.inspect import Facts
from boxcheck.engine.job import Job
from boxcheck.engine.plan import WARM_UP, Plan, Step
from boxcheck.engine.rejudge import judge_phases
from boxcheck.engine.survival import RESUMED, survival_of
from boxcheck.engine.told_troubles import crashes_in
from boxcheck.engine.wholeness import came_to_its_end, undone
from boxcheck.gpu import GpuInfo
from boxcheck.model import Crash, Finding
from boxcheck.profile import Profile
from boxcheck.store.creating import reopen_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Phase
from boxcheck.store.writer import RunWriter
from boxcheck.stress.survived_checks import Survival
from boxcheck.usage import UsageError

MOST_CRASHES = 3
"""A box that went down so often in one phase goes down in it again: it is not hammered further, unless somebody names
the run."""
MOST_CRASHES_IN_ALL = 10


class Resumption(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run goes on."""

    steps: tuple[Step, ...]
    """What is to be done, doctor first."""
    places: tuple[int, ...] = ()
    """Of these steps in the plan."""
    number: int
    """The last phase that has a number."""
    survival: Survival


def machine_name() -> str:
    """A name of this installation that tells nothing of it; empty where there is none. machine-id(5) is not to be
    shown, so it is hashed."""
    with suppress(OSError):
        text = Path("/etc/machine-id").read_text().strip()
        return hashlib.sha256(f"boxcheck {text}".encode()).hexdigest()[:16] if text else ""
    return ""


def stored_plan(job: Job) -> dict[str, object]:
    """What a store keeps of what was asked for: the plan for people and reports, all of it to go on with."""
    if os.path.isfile(job.profile):  # whoever goes on with it may stand elsewhere
        job = msgspec.structs.replace(job, profile=os.path.abspath(job.profile))
    return {
        **msgspec.to_builtins(job.plan), "certain": job.certain, "profile_why": job.profile_why,
        "machine": machine_name(), "job": msgspec.to_builtins(job)}


def stored_job(reader: RunReader) -> Job:
    """What the run was asked to do. UsageError where its store does not hold that."""
    plan = reader.run().info.plan
    found = plan.get("job") if isinstance(plan, dict) else None
    if found is None:
        raise UsageError("this run does not hold what it was asked to do, so nobody can go on with it",
                         "start a new one: boxcheck burn")
    try:
        return msgspec.convert(found, Job)
    except msgspec.ValidationError as error:
        raise UsageError(f"what this run was asked to do is not understood: {error}", "start a new one: boxcheck burn"
                         ) from None


def is_this_machine(reader: RunReader) -> bool | None:
    """Whether the run was made on this machine; None where nobody knows."""
    plan = reader.run().info.plan
    there = plan.get("machine", "") if isinstance(plan, dict) else ""
    here = machine_name()
    return there == here if there and here else None


def refuse(reader: RunReader, *, named: bool, box: str = "") -> None:
    """UsageError where the run cannot be gone on with. `named`: a person named it; `box`: what this box is called."""
    from boxcheck.engine.box import same_box

    run = reader.run()
    if run.state == "running":
        raise UsageError("the run is going on", "boxcheck attach follows it")
    if run.state == "finished":
        raise UsageError("the run came to its end", "boxcheck judge gives its account, boxcheck burn begins a new one")
    if run.salvaged is not None:
        raise UsageError("the run's file was put together from a damaged one", "begin a new one: boxcheck burn")
    if run.info.kind != "burn":
        raise UsageError(f"the run is of `boxcheck {run.info.kind}`, not a burn-in", "boxcheck runs lists them")
    if is_this_machine(reader) is False or same_box(run.info.box, box) is False:
        raise UsageError(
            f"the run is of another box{f' ({run.info.box})' if run.info.box else ''}", "go on with it over there")
    downs = survival_of(reader).downs
    if downs and not named:
        phase, times = Counter(one.phase for one in downs).most_common(1)[0]
        if times >= MOST_CRASHES or len(downs) >= MOST_CRASHES_IN_ALL:
            raise UsageError(
                f"the run went down {max(times, 1)} times in {f'phase {phase}' if phase else 'its start'}, "
                f"{len(downs)} times in all", "boxcheck judge says why; who names the run goes on with it all the same")


def match_devices(
    then: Sequence[GpuInfo], now: Sequence[GpuInfo]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Keys that the devices of the run have now, and those that are not there: numbers change when a card is gone."""
    keys: list[str] = []
    missing: list[tuple[str, str]] = []
    for old in then:
        found = [
            one for one in now if one.backend == old.backend and one.name == old.name and (
                one.bdf == old.bdf if old.bdf else one.key == old.key)]
        if found:
            keys.append(found[0].key)
        else:
            missing.append((f"{old.name} ({old.key})", old.bdf or ""))
    return tuple(keys), tuple(missing)


# The engine's side.


def first_undone(plan: Plan, phases: Sequence[Phase]) -> int:
    """Index of the first step that has not come to its end."""
    return next(iter(undone(plan.steps, phases)), len(plan.steps))


def places_left(plan: Plan, phases: Sequence[Phase]) -> tuple[int, ...]:
    """Places of the steps that are to be run. Doctor before is made again, since the machine may be another by now, and
    so is a warm-up, since it is cold; doctor after ends every run."""
    first = first_undone(plan, phases)
    if plan.steps and plan.steps[-1].kind == "doctor":
        first = min(first, len(plan.steps) - 1)
    loads = any(one.kind not in ("doctor", "cool-down") for one in plan.steps[first:])
    again = [
        at for at, one in enumerate(plan.steps[:first])
        if (at == 0 and one.kind == "doctor") or (loads and one.name == WARM_UP)]
    return (*again, *range(first, len(plan.steps)))


def reopen(job: Job, want: Profile) -> tuple[RunWriter, Resumption]:
    """The run's store, to be written on, and where it goes on. UsageError where it cannot be."""
    store = reopen_run(job.resume, version=__version__, boot=job.boot)
    try:
        with RunReader(job.resume) as reader:
            phases, run = reader.phases(), reader.run()
            survival = survival_of(reader)
    except BaseException:
        store.close()
        raise
    places = places_left(job.plan, phases)
    left = tuple(job.plan.steps[at] for at in places)
    again = [one for one in phases if not came_to_its_end(one) and one.about is not None]
    says = f"gone on with after {len(phases)} phases" + (
        f", {again[-1].plan.name} is run again from its beginning" if again else "")
    store.event(RESUMED, says, severity="warn", data={
        "missing": job.missing, "steps": [one.name for one in left], "sessions": len(run.sessions)})
    known = run.info.profile
    if known is not None and known.sha256 != want.sha256:
        store.event("profile-changed", f"profile {want.name} is not what it was when the run began", severity="warn")
    number = max((one.plan.number for one in phases), default=0)
    missing = tuple(dict.fromkeys((*survival.missing, *job.missing)))
    downs = tuple(msgspec.structs.replace(one, resumed=True) for one in survival.downs)
    return store, Resumption(steps=left, places=places, number=number, survival=Survival(downs=downs, missing=missing))


def earlier(job: Job, resumption: Resumption, facts: Facts, want: Profile) -> tuple[list[Finding], list[Crash]]:
    """What was found before the run was gone on with."""
    with RunReader(job.resume) as reader:
        phases = tuple(one for one in reader.phases() if one.plan.number <= resumption.number)
        judged = judge_phases(reader, phases, facts, want, going_on=True)
        crashes = crashes_in(reader, (0,))
    return judged.findings, [*judged.crashes, *crashes]
