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
    silence.py     whether silence says that nothing is at fault
    words.py       all of it in words

Those with numpy are loaded when something is weighed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxcheck.riser.evidence import Notebook, Step, Suspect, Weighed
from boxcheck.riser.suspects.faults import CLEARED, FOUND

if TYPE_CHECKING:
    from boxcheck.riser.suspects.suspicion import Posterior


def weigh(notebook: Notebook) -> Weighed:
    """What a notebook says of the parts. Never raises for a notebook that holds no boots or no looks: then nothing is
    told apart."""
    from boxcheck.riser.suspects import words
    from boxcheck.riser.suspects.next_step import step_after
    from boxcheck.riser.suspects.posterior import posterior
    from boxcheck.riser.suspects.silence import silence_lacks

    known = posterior(notebook)
    if not known.dirty:
        says = "nothing was looked at yet"
        return Weighed(suspects=(), healthy=known.healthy, verdict="not-yet", says=says,
                       next=Step(kind="cold-boot", why=says))
    suspects = words.suspects_of(known, notebook)
    accused = proven(suspects, known)
    if accused:
        return Weighed(suspects=suspects, healthy=known.healthy, verdict="found", accused=accused,
                       says=words.found_words(accused, known, notebook))
    if known.healthy >= CLEARED and not silence_lacks(known, notebook.slot):
        return Weighed(suspects=suspects, healthy=known.healthy, verdict="healthy",
                       says=words.healthy_words(known, notebook))
    step = step_after(known, notebook)
    return Weighed(
        suspects=suspects, healthy=known.healthy, verdict="not-yet" if step is not None else "exhausted", next=step,
        says=words.open_words(suspects, known, notebook, exhausted=step is None))


def proven(suspects: tuple[Suspect, ...], known: Posterior) -> tuple[Suspect, ...]:
    """Those that are accused: the likeliest, and a second one where it damaged a link on which the first was not. Two
    parts that were on the damaged links together are not proven to be both bad."""
    from boxcheck.riser.suspects.suspicion import Part
    from boxcheck.riser.suspects.words import links_of

    above = [one for one in suspects if one.probability >= FOUND]
    if len(above) < 2:
        return tuple(above)
    damaged = [{at for at in links_of(Part(one.kind, one.name), known) if known.dirty[at]} for one in above[:2]]
    return tuple(above[:2]) if damaged[1] - damaged[0] else (above[0],)
