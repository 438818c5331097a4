"""What the engine found so far. Of doctor's readings the newest counts, as in the engine; those of load all count."""

from __future__ import annotations

from collections.abc import Iterable

from boxcheck.judge import judge
from boxcheck.model import Finding, Outcome, Subject
from boxcheck.profile import Profile
from boxcheck.tui.frame import LinkSays, Problem

SHOWN = (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN)
RATE = "stress.link-rate"
NO_WORK = ("gpu.in-runtime",)
"""Checks that a device passes without having worked."""


class Found:
    def __init__(self, want: Profile, *, certain: bool) -> None:
        """`certain`: whether it is sure that the profile is the box's; where it is not, nothing can pass."""
        self._want, self._certain = want, certain
        self._load: list[Finding] = []
        self._doctor: list[Finding] = []
        self._changed = True
        self._judged: tuple[Outcome, str] = (Outcome.UNKNOWN, "nothing was judged yet")

    def take(self, findings: Iterable[Finding], *, doctor: bool = False) -> None:
        found = list(findings)
        if doctor:
            self._doctor = found
        else:
            self._load += found
        self._changed = self._changed or doctor or bool(found)

    @property
    def every(self) -> list[Finding]:
        return [*self._doctor, *self._load]

    @property
    def of_work(self) -> list[Finding]:
        """Those that are required and come of load: what doctor reads is how a machine is, and not what it can do."""
        return [
            one for one in self._load
            if one.blocker and one.outcome is not Outcome.SKIP and one.check not in NO_WORK]

    def verdict(self) -> tuple[Outcome, str]:
        """`boxcheck.judge` over them, and its one reason; no reason beside a pass."""
        if self._changed and (every := self.every):
            verdict = judge(every, self._want, profile_certain=self._certain)
            self._judged = (
                verdict.outcome,
                "" if verdict.outcome is Outcome.PASS else self.leading(verdict.outcome) or verdict.reason)
        self._changed = False
        return self._judged

    def leading(self, outcome: Outcome) -> str:
        """What leads to that outcome: the title of the first problem, else the words of a finding that decides; empty
        where nothing does."""
        found = judge(self.every, self._want, profile_certain=self._certain)
        titles = [one.title for one in found.problems if one.outcome is outcome]
        words = [f"{one.subject}: {one.says}" for one in self.every if one.outcome is outcome and one.blocker]
        return next(iter((*titles, *words)), "")

    def problems(self) -> tuple[Problem, ...]:
        """All that did not pass, what is required first; of each check, part and cause the gravest and then the latest.
        Two hops of one card may be one part by its name, and are two causes: each is to be mended by itself."""
        latest: dict[tuple[tuple[str, Subject, str], str], Finding] = {}
        for one in self.every:
            key = ((one.check, one.subject, way_of(one)), one.cause or "")
            if one.outcome in SHOWN and (key not in latest or one.outcome.rank <= latest[key].outcome.rank):
                latest[key] = one
        ranks: dict[tuple[str, Subject, str], int] = {}
        for (part, cause), one in latest.items():
            if cause:
                ranks[part] = min(one.outcome.rank, ranks.get(part, one.outcome.rank))
        for (part, cause), one in list(latest.items()):  # what names a cause, and is as grave, says it better
            if not cause and ranks.get(part, one.outcome.rank + 1) <= one.outcome.rank:
                del latest[part, cause]
        return tuple(
            Problem(
                outcome=one.outcome, check=one.check, subject=str(one.subject), says=one.says, blocker=one.blocker,
                help=one.help, notes=one.notes, bdf=one.subject.bdf,
                slot=one.subject.slot, name=one.subject.name, cause=one.cause or "", where=one.where or "")
            for one in sorted(latest.values(), key=lambda one: (not one.blocker, one.outcome.rank, one.check)))

    def link_says(self) -> tuple[LinkSays, ...]:
        """The last word on the error rate of each direction of each link."""
        latest = {
            (one.subject.bdf, way_of(one)): LinkSays(bdf=one.subject.bdf, outcome=one.outcome, says=one.says)
            for one in self._load if one.check == RATE and one.subject.bdf is not None}
        return tuple(latest.values())


def way_of(one: Finding) -> str:
    """`to the card` or `from the card`, with which a judgement on a direction begins."""
    return one.says.partition(":")[0] if one.check == RATE else ""
