"""From a run that has ended to its acceptance: judged, waived, decided, written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boxcheck import __version__
from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.as_shipped import not_as_shipped
from boxcheck.certify.attempts import Asked
from boxcheck.certify.disposition import Decided, Ended, decide
from boxcheck.engine.agreed_load import short_of
from boxcheck.engine.history_store import stored_history
from boxcheck.engine.wholeness import Lacks, as_part, lacks_of, without_rows
from boxcheck.judge import judge
from boxcheck.model import Verdict
from boxcheck.profile import Profile
from boxcheck.report.history import account_json
from boxcheck.report.judged_run import JudgedRun, forced_in, id_of, judge_stored
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Phase, Run
from boxcheck.store.verify import in_words, missing_rows
from boxcheck.version import source_commit


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """An acceptance, and what its folder is made of."""

    told: Acceptance
    want: Profile
    verdict: Verdict
    verdict_json: str
    """The account of the run, as `boxcheck judge --json` gives it."""


def accept(
    asked: Asked, earlier: Sequence[str], *, now: float, clock_trusted: bool | None, machine: dict[str, str],
) -> Made:
    """Judges the run of an attempt by the profile that it was begun with. StoreError or UsageError where it cannot be
    read. `now`: by the box's clock."""
    judged = judge_stored(asked.run, None)  # the verdict is the run's; that `--strict` fails it is the disposition's
    with RunReader(asked.run) as reader:
        lacks, missing, history = lacks_of(reader, judged.want), in_words(missing_rows(reader)), stored_history(reader)
        # By the run itself: the profile's file may have changed between the question and the load.
        short = () if asked.shortened else short_of(reader, judged.want)
    started, finished = judged.run.started, _finished(judged)
    decided = _decide(asked, judged, lacks, missing, short, started=started, finished=finished, now=now)
    want = judged.want
    told = Acceptance(
        id=asked.id, version=__version__, commit=source_commit() or "", identity=asked.identity, attempt=asked.attempt,
        attempts=asked.attempt, earlier=tuple(earlier), profile=want.name, profile_revision=want.revision,
        profile_sha256=want.sha256 or (judged.run.info.profile.sha256 if judged.run.info.profile else ""),
        profile_note=not_as_shipped(want), forced=forced_in(judged.run),
        started=started, finished=finished, clock_trusted=clock_trusted, run=id_of(asked.run),
        disposition=decided.disposition, verdict=decided.verdict, reason=decided.reason,
        verdict_string=decided.verdict_string, waivers=decided.waivers, with_waivers=decided.with_waivers,
        exit_code=decided.exit_code, planned=asked.planned, shortened=asked.shortened, strict=asked.strict,
        machine=machine)
    return Made(told=told, want=want, verdict=judged.verdict, verdict_json=account_json(
        judged.judged, __version__, history))


def _finished(judged: JudgedRun) -> float:
    """By the wall clock, as it was then: one that went back shows here."""
    return judged.run.end.at.wall if judged.run.end is not None else judged.finished


def _decide(
    asked: Asked, judged: JudgedRun, lacks: Lacks, missing: Sequence[str], short: Sequence[str], *, started: float,
    finished: float, now: float,
) -> Decided:
    plan = judged.run.info.plan
    certain = bool(plan.get("certain", True)) if isinstance(plan, dict) else True

    def without(indices: frozenset[int]) -> Verdict:
        """Judged once more, as it was, with these findings as advice."""
        findings = [msgspec.structs.replace(one, blocker=one.blocker and index not in indices, problem=None)
                    for index, one in enumerate(judged.verdict.findings)]
        again = judge(findings, judged.want, crashes=judged.verdict.crashes, profile_certain=certain)
        return without_rows(as_part(again, lacks), missing)

    lacking = [*asked.without, *short, *_not_on_gpus(judged.want, judged.phases), *_salvaged(judged.run),
               *filter(None, (judged.told,))]
    state = judged.run.state
    ended = Ended(
        state="crashed" if state == "running" else state, reason=judged.run.end.reason if judged.run.end else "",
        started=started, finished=finished, now=now)
    return decide(
        judged.verdict, ended, asked.waivers, without, shortened=asked.shortened, lacking=lacking, strict=asked.strict)


def _not_on_gpus(want: Profile, phases: Sequence[Phase]) -> list[str]:
    """That the load was put on something else than the GPUs that the profile wants."""
    if not want.gpus.parts:
        return []
    worked = [info for phase in phases if phase.start for info in phase.start.gpus]
    others = sorted({info.backend for info in worked if not info.is_gpu})
    if not any(info.is_gpu for info in worked):
        return []  # that is said of the run already
    return [f"the load was put on devices of {', '.join(others)}, which are no GPUs"] if others else []


def _salvaged(run: Run) -> list[str]:
    return [] if run.salvaged is None else ["the store was saved from a damaged one"]
