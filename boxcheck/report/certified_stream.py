"""The lines of the run of an acceptance: those of the run, the disposition before the last, and a last one that passes
only where that does; where there is none yet, it passes nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.find_acceptance import says_alone
from boxcheck.engine.stream import Stream, line
from boxcheck.model import Outcome, Verdict
from boxcheck.report.certified import OUTCOMES
from boxcheck.store.rows import Run


class CertifiedStream(Stream):
    def __init__(self, strict: bool, decided: Callable[[], Acceptance | None]) -> None:
        """`decided` gives the acceptance when the run is over; None where it is not, or goes on later."""
        super().__init__(strict)
        self._decided = decided

    def end(self, run: Run, verdict: Verdict, history: Any = None) -> list[str]:
        told = self._decided()
        if told is None:
            alone = says_alone(run)
            if alone and verdict.outcome in (Outcome.PASS, Outcome.MARGINAL):
                verdict = msgspec.structs.replace(verdict, outcome=Outcome.UNKNOWN, reason=alone)
            return super().end(run, verdict, history)
        if told.exit_code and verdict.outcome in (Outcome.PASS, Outcome.MARGINAL):
            verdict = msgspec.structs.replace(verdict, outcome=OUTCOMES[told.disposition], reason=told.reason)
        *before, last = super().end(run, verdict, history)
        return [*before, line("disposition", {
            "id": told.id, "serial": told.identity.serial, "attempt": told.attempt, "disposition": told.disposition,
            "reason": told.reason, "with_waivers": told.with_waivers, "exit_code": told.exit_code}), last]
