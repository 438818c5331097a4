"""A stored run and the verdict on it, as `boxcheck judge` gives it: what forms of a run for machines are made from."""

from __future__ import annotations

import os

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.engine.stress import StressRun
from boxcheck.judge import strictly
from boxcheck.model import Verdict
from boxcheck.profile import Profile
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Phase, Run


class JudgedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run beside its verdict."""

    id: str
    run: Run
    phases: tuple[Phase, ...]
    judged: StressRun
    want: Profile
    own: bool = True
    """Whether it was judged by the profile that it was begun with."""
    told: str = ""
    """What is to be said of the profile and of the verdict that the run ended with; empty where nothing is."""

    strict: bool = False
    """Whether `--strict` fails a marginal verdict: here, or since the attempt that it is the load of began."""

    @property
    def verdict(self) -> Verdict:
        return self.judged.verdict

    @property
    def finished(self) -> float:
        """Seconds since the epoch: when it ended, else when something was last heard of it."""
        return self.run.started + self.judged.seconds

    @property
    def exit_code(self) -> int:
        """As `judge` exits: a run that did not come to its end is no pass."""
        from boxcheck.judge import ExitCode, exit_code

        code = exit_code(self.verdict)
        over = self.run.state == "finished"
        return int(ExitCode.INCOMPLETE if code is ExitCode.PASSED and not over else code)


def judge_stored(
    path: str, profile: str | None, acceptance: Acceptance | None = None, strict: bool = False,
) -> JudgedRun:
    """Judges a store by its own profile, or by one that is named; the load of an acceptance must then be that which the
    profile asks for. StoreError, UsageError or ProfileError where that cannot be."""
    from boxcheck.engine.aftermath import look_after
    from boxcheck.engine.agreed_load import as_agreed
    from boxcheck.engine.kept_profile import profile_named, profile_of
    from boxcheck.engine.rejudge import rejudge
    from boxcheck.engine.stored_verdict import with_stored
    from boxcheck.store.results import no_collections

    look_after(path)
    with RunReader(path) as reader:
        run, phases = reader.run(), reader.phases()
        want, told = profile_of(reader) if profile is None else (profile_named(profile), "")
        with no_collections():
            judged = rejudge(reader, want, profile is not None)
        before = ""
        if profile is None and run.end is not None:
            verdict, before = with_stored(judged.verdict, reader.verdict(), want)
            judged = msgspec.structs.replace(judged, verdict=verdict)
        if acceptance is not None and profile is not None:
            judged = msgspec.structs.replace(judged, verdict=as_agreed(judged.verdict, reader, want))
    if strict := strict or (acceptance is not None and acceptance.strict):
        judged = msgspec.structs.replace(judged, verdict=strictly(judged.verdict))
    return JudgedRun(
        id=id_of(path), strict=strict, run=run, phases=phases, judged=judged, want=want, own=profile is None,
        told="; ".join(filter(None, (told, before))))


def forced_in(run: Run) -> str:
    """What says that the box is not the profile's, where `--force-profile` had it taken all the same."""
    from boxcheck.store.texts import plain_line

    job = run.info.plan.get("job") if isinstance(run.info.plan, dict) else None
    return plain_line(str(job.get("forced") or "")) if isinstance(job, dict) else ""


def id_of(path: str) -> str:
    """The name of a run: its file without the ending."""
    from boxcheck.store.texts import plain_line

    name = os.path.basename(path)
    return plain_line(name.rpartition(".")[0] or name)


def slots_of(phases: tuple[Phase, ...]) -> dict[str, str]:
    """Address of each GPU -> label of its slot, as far as a run knows."""
    found: dict[str, str] = {}
    for phase in phases:
        if phase.start is not None:
            for info in phase.start.gpus:
                if info.bdf is not None and info.key in phase.start.slots:
                    found[info.bdf] = phase.start.slots[info.key]
    return found
