"""A notebook in, suspects with probabilities, a verdict and the next step out. Pure: it works on a stored notebook.

    faults.py      how bad parts behave and how often they are bad, with reasons
    history.py     what was where in each boot, and in which ways a step may have gone wrong
    reach.py       which parts there are, on which links each of them was, when it was plugged anew
    states.py      what a bad part may be like, as arrays
    counts.py, symptoms.py, likelihood.py
                   how well that explains what was seen of one link in one boot
    explain.py     how well one bad part, or two, explain all boots
    posterior.py   their probabilities
    predict.py     what each possible step would tell
    whole_box.py   what all links have alike, which is no part's doing
    proof.py       whether a likely part may be accused
    silence.py     whether silence says that nothing is at fault
    words.py       all of it in words

Those with numpy are loaded when something is weighed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from boxcheck.riser.certainty import told_healthy
from boxcheck.riser.evidence import Notebook, Step, Weighed
from boxcheck.riser.suspects.faults import CLEARED

if TYPE_CHECKING:
    from boxcheck.riser.suspects.suspicion import Posterior


def weigh(notebook: Notebook) -> Weighed:
    """What a notebook says of the parts. Never raises for a notebook that holds no boots or no looks: then nothing is
    told apart."""
    from boxcheck.riser.suspects import words
    from boxcheck.riser.suspects.posterior import posterior
    from boxcheck.riser.suspects.proof import proven
    from boxcheck.riser.suspects.silence import silence_lacks
    from boxcheck.riser.suspects.whole_box import alike, look_first

    known = posterior(notebook)
    if not known.dirty:
        says = "nothing was looked at yet"
        return Weighed(suspects=(), healthy=known.healthy, verdict="not-yet", says=says,
                       next=Step(kind="cold-boot", why=says))
    suspects, healthy = words.suspects_of(known, notebook), told_healthy(known.healthy)
    common = alike(known)
    accused = proven(suspects, known) if common is None or common.sign == "errors" else ()
    if accused:
        return Weighed(suspects=suspects, healthy=healthy, verdict="found", accused=accused,
                       says=words.found_words(accused, known, notebook))
    if known.healthy >= CLEARED and not silence_lacks(known, notebook.slot):
        return Weighed(suspects=suspects, healthy=healthy, verdict="healthy",
                       says=words.healthy_words(known, notebook))
    step = (look_first(common, notebook) if common is not None else None) or _next(known, notebook)
    return Weighed(
        suspects=suspects, healthy=healthy, verdict="not-yet" if step is not None else "exhausted", next=step,
        says=words.open_words(suspects, known, notebook, exhausted=step is None))


def _next(known: Posterior, notebook: Notebook) -> Step | None:
    """The step that tells most of which part is bad, with why, what each outcome would mean, and the expected
    information; None where no step that is possible tells anything."""
    from boxcheck.riser.suspects import step_words
    from boxcheck.riser.suspects.predict import best_plan

    plan = best_plan(known, notebook)
    if plan is None:
        return None
    return msgspec.structs.replace(
        plan.step, information_bits=round(plan.bits, 3), why=step_words.why(plan, known, notebook),
        expect=step_words.expectations(plan, known, notebook))
