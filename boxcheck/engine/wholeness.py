"""What of a burn-in was not run: steps that did not come to their end, loads and devices that somebody left out, no
doctor after the load. Such a run is a part of one, and no verdict on the box. As it ends, or from its store alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from boxcheck.engine.plan import LOADS, Plan, Step
from boxcheck.model import Outcome, Verdict
from boxcheck.profile import Profile
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Phase, RunState
from boxcheck.store.verify import in_words, missing_rows

PASSED = (Outcome.PASS, Outcome.MARGINAL)


class Lacks(msgspec.Struct, frozen=True, kw_only=True):
    """What a run lacks. Empty: it is whole."""

    steps: tuple[str, ...] = ()
    """Names of planned steps that did not come to their end."""
    unbegun: tuple[str, ...] = ()
    """Those of them that never began."""
    loads: tuple[str, ...] = ()
    """Loads that `--only` left out."""
    devices: tuple[str, ...] = ()
    """Keys of devices that `--gpu` left out."""
    others: tuple[str, ...] = ()
    """A clause each."""

    @property
    def number(self) -> int:
        return len(self.steps) + len(self.loads) + len(self.devices) + len(self.others)

    @property
    def words(self) -> str:
        cut = [name for name in self.steps if name not in self.unbegun]
        did = f"{', '.join(cut)} did not come to {'its' if len(cut) == 1 else 'their'} end"
        return "; ".join([
            *self.others, *([did] if cut else []),
            *([f"{', '.join(self.unbegun)} never began"] if self.unbegun else []),
            *([f"--only left out {', '.join(self.loads)}"] if self.loads else []),
            *([f"{', '.join(self.devices)} got no load"] if self.devices else [])])


def came_to_its_end(phase: Phase) -> bool:
    """Ended, and not because somebody stopped it."""
    return phase.end is not None and phase.state == "ended" and not (phase.end.results and phase.end.results.stopped)


def undone(steps: Sequence[Step], phases: Sequence[Phase]) -> list[int]:
    """Places of the steps that did not come to their end. In stores that do not keep the place of a phase, the first so
    many of a name are done as came to their ends: steps are run in order."""
    ended = [one for one in phases if came_to_its_end(one)]
    kept = {(one.start.step, one.plan.module) for one in ended if one.start is not None}
    by_name = Counter(
        (one.plan.name, one.plan.module) for one in ended if one.start is None or not one.start.step)
    seen: Counter[str] = Counter()
    found = []
    for at, step in enumerate(steps):
        seen[step.name] += 1
        if any((at + 1, module) not in kept and by_name[step.name, module] < seen[step.name]
               for module in step.modules or ("",)):
            found.append(at)
    return found


def last_look(steps: Sequence[Step]) -> str:
    """Name of the reading by doctor that decides: the last of a plan. Those before are for comparison."""
    return next((step.name for step in reversed(steps) if step.kind == "doctor"), "doctor after")


def plan_in(stored: Any) -> Plan | None:
    """The plan that a store holds; None where it holds none that is understood."""
    try:
        return msgspec.convert(stored, Plan)
    except msgspec.ValidationError:
        return None


def lacks_of(reader: RunReader, want: Profile, ended: str | None = None) -> Lacks:
    """What a burn-in lacks, judged by that profile. `ended`: by who ends it now, why it was stopped, empty where it
    came to its end; None: as its store says."""
    run, phases = reader.run(), reader.phases()
    state: RunState = run.state if ended is None else "stopped" if ended else "finished"
    stored = run.info.plan if isinstance(run.info.plan, dict) else {}
    plan = plan_in(stored)
    steps = plan.steps if plan is not None else ()
    missing = [steps[at].name for at in undone(steps, phases)]
    begun = {one.plan.name for one in phases if one.about is not None}
    others = [_STATES[state]] if state in _STATES else []
    if plan is None:
        others.append("the store does not hold what was planned")
    if not _looked_after(phases) and not any(
            step.kind == "doctor" and step.name in missing for step in steps[_last_load(steps):]):
        others.append("doctor did not look at the box after the load")
    others += no_gpu(phases, want)
    if not (want.inspect or want.stress or want.faults):
        others.append(f"profile {want.name} requires nothing")
    job = stored.get("job")
    left_out = job.get("left_out", ()) if isinstance(job, dict) else ()
    return Lacks(
        steps=tuple(dict.fromkeys(missing)),
        unbegun=tuple(dict.fromkeys(name for name in missing if name not in begun)),
        loads=plan.not_asked if plan is not None else (),
        devices=tuple(map(str, left_out)) if isinstance(left_out, (list, tuple)) else (), others=tuple(others))


_STATES = {"running": "it goes on", "stopped": "it was stopped before its end", "crashed": "it did not come to its end"}


def no_gpu(phases: Sequence[Phase], want: Profile) -> list[str]:
    """That no GPU worked, as doctor says that none was judged: a box that lost all of its own passes by no profile but
    one that says that it has none. The graphics of a processor are one where the profile names them."""
    worked = [info for one in phases if one.start is not None for info in one.start.gpus]
    if not worked or want.gpus.none:
        return []
    if not any(info.is_gpu for info in worked):
        return ["no GPU worked, the processor alone"]
    if not want.gpus.parts and all(info.unified for info in worked):
        return ["no GPU but the processor's own graphics worked, which the profile does not name"]
    return []


def _looked_after(phases: Sequence[Phase]) -> bool:
    load = max((one.plan.number for one in phases if one.plan.module and one.about is not None), default=0)
    return any(
        one.plan.name.startswith("doctor") and not one.plan.module and one.plan.number > load and came_to_its_end(one)
        for one in phases)


def _last_load(steps: Sequence[Step]) -> int:
    return max((at for at, step in enumerate(steps) if step.kind in (*LOADS, "until-ber")), default=0)


def lacks_at(path: str, want: Profile, ended: str) -> Lacks:
    """Of a run that ends now. A store that cannot be read is one of them."""
    try:
        with RunReader(path) as reader:
            return lacks_of(reader, want, ended)
    except StoreError as error:
        return Lacks(others=(f"its store cannot be read: {error}",))


def as_part(verdict: Verdict, lacks: Lacks) -> Verdict:
    """The verdict on a run that lacks something: what failed has failed, and nothing passes. It says what is
    lacking."""
    if not lacks.number:
        return verdict
    if verdict.outcome not in PASSED:
        # A verdict that boxcheck's own fault leaves open is no part of one.
        part = verdict.outcome is Outcome.UNKNOWN and not verdict.crashed
        return msgspec.structs.replace(
            verdict, partial=verdict.partial or part, not_run=lacks.number, reason=f"{verdict.reason}; {lacks.words}")
    what = "what was run passed" if verdict.outcome is Outcome.PASS else "nothing that was run failed"
    return msgspec.structs.replace(
        verdict, outcome=Outcome.UNKNOWN, partial=True, not_run=lacks.number,
        reason=f"{what}; this is no verdict on the box: {lacks.words}")


def rows_gone_at(path: str) -> tuple[str, ...]:
    """Rows that are missing from the store of a run that ends now, a clause for each table; of one that cannot be read,
    `lacks_at` tells."""
    try:
        with RunReader(path) as reader:
            return in_words(missing_rows(reader))
    except StoreError:
        return ()


def without_rows(verdict: Verdict, missing: Sequence[str]) -> Verdict:
    """The verdict from a store of which rows are gone: any of them may be what would have failed it."""
    if not missing:
        return verdict
    says = f"the store is not whole: {', '.join(missing)}"
    if verdict.outcome is Outcome.FAIL:
        return msgspec.structs.replace(verdict, reason=f"{verdict.reason} ({says})")
    before = f"; {verdict.reason}" if verdict.outcome is Outcome.UNKNOWN else ""
    return msgspec.structs.replace(verdict, outcome=Outcome.UNKNOWN, partial=False, reason=f"{says}{before}")
