"""Whether a run may be a pattern for others: it passed, it came to its end, and nothing was held down in it."""

from __future__ import annotations

import os

from boxcheck.engine.history_store import KINDS
from boxcheck.engine.kept_profile import profile_of
from boxcheck.engine.rejudge import rejudge
from boxcheck.engine.stored_verdict import with_stored
from boxcheck.golden.measure import Measurement, measurement_of
from boxcheck.model import Outcome, Verdict
from boxcheck.profile import Profile
from boxcheck.store.reader import RunReader
from boxcheck.store.results import no_collections
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError


class NotGood(UsageError):
    """A run that no limit is made of."""


def golden(path: str, *, accept_marginal: bool = False) -> tuple[Measurement, Profile]:
    """What a good run measured, and the profile that it passed. NotGood where it is none, StoreError where it cannot
    be read."""
    with RunReader(path) as reader:
        run = reader.run()
        name = _name(path, run.info.id)
        if run.info.kind not in KINDS:
            raise NotGood(
                f"run {name} is of the kind {plain_line(run.info.kind)!r}, which puts no load on the box by a plan",
                "boxcheck burn or certify makes runs that limits can come from")
        if run.state != "finished":
            raise NotGood(
                f"run {name} is {run.state}: it did not come to its end", "boxcheck burn --resume finishes it")
        if run.salvaged is not None:
            raise NotGood(
                f"run {name} was saved from a damaged store: what is missing nobody knows", "take another run")
        want, changed = profile_of(reader)
        if changed:
            raise NotGood(f"run {name}: {changed}", "judge it by the profile that is meant, or burn the box in again")
        for phase in reader.phases():
            if phase.start is not None and phase.start.injected:
                raise NotGood(
                    f"run {name}: the fault {phase.start.injected} was put in on purpose: it says nothing of the box",
                    "take another run")
        with no_collections():
            verdict, _ = with_stored(rejudge(reader, want, False).verdict, reader.verdict(), want)
        _refuse_verdict(name, verdict, accept_marginal)
        found = measurement_of(reader, want)
    if found.held:
        more = f", and {len(found.held) - 1} more" if len(found.held) > 1 else ""
        raise NotGood(
            f"run {name}: clocks were held down: {found.held[0]}{more}",
            "what it measured is less than such a box does: cure it, and burn it in again")
    return found, want


def _refuse_verdict(name: str, verdict: Verdict, accept_marginal: bool) -> None:
    judge_it = f"boxcheck judge {name} says all of it"
    if verdict.outcome is Outcome.PASS or (verdict.outcome is Outcome.MARGINAL and accept_marginal):
        return
    if verdict.outcome is Outcome.MARGINAL:
        raise NotGood(f"run {name} is marginal: {verdict.reason}",
                      f"{judge_it}; --accept-marginal takes it all the same")
    word = "failed" if verdict.outcome is Outcome.FAIL else "is incomplete"
    raise NotGood(f"run {name} {word}: {verdict.reason}", judge_it)


def _name(path: str, id: str) -> str:
    return plain_line(id or os.path.basename(path))
