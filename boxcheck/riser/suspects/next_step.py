"""The step that tells most of which part is bad, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from boxcheck.riser.evidence import Notebook, Step

if TYPE_CHECKING:
    from boxcheck.riser.suspects.suspicion import Posterior

def next_step(notebook: Notebook) -> Step | None:
    """What to do next, with why, what each outcome would mean, and the expected information; None where no step that
    is possible tells anything."""
    from boxcheck.riser.suspects.posterior import posterior

    return step_after(posterior(notebook), notebook)


def step_after(known: Posterior, notebook: Notebook) -> Step | None:
    """The same where the probabilities are known."""
    from boxcheck.riser.suspects import step_words
    from boxcheck.riser.suspects.predict import best_plan

    plan = best_plan(known, notebook)
    if plan is None:
        return None
    return msgspec.structs.replace(
        plan.step, information_bits=round(plan.bits, 3), why=step_words.why(plan, known, notebook),
        expect=step_words.expectations(plan, known, notebook))
