"""What a step would tell: the links that would be damaged after it, under every hypothesis. numpy.

The outcome of a step is which of the links that it touches are damaged in the next boot. Its information is how much
of the doubt about the parts that takes away on the mean (mutual information, in bits); a step that is done wrongly one
time in ten is worth so much less.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from boxcheck.riser.evidence import NO_RISER, Notebook, Place
from boxcheck.riser.suspects import faults
from boxcheck.riser.suspects.along import carried
from boxcheck.riser.suspects.candidates import Now, Plan, candidates, is_possible, now_of, placed
from boxcheck.riser.suspects.reach import is_on
from boxcheck.riser.suspects.states import Array
from boxcheck.riser.suspects.suspicion import Hypothesis, Part, Posterior

CLEAN_LINK_SHOWS = 0.01
"""A link with nothing wrong on it that looks damaged in a boot."""
WORTH_BITS = 0.04
"""Below it a step is not worth a power cycle."""
WEIGHED_FROM = 2e-4
"""Hypotheses below it are left out."""
_Way: TypeAlias = tuple[float, Mapping[str, Place], set[str]]
"""(share, places, slots that were plugged anew): what may come of a step."""


def best_plan(known: Posterior, notebook: Notebook) -> Plan | None:
    """The step that tells most for its work, of those that are worth a power cycle; None where none is."""
    return next((plan for plan in ranked_plans(known, notebook) if plan.bits >= WORTH_BITS), None)


def ranked_plans(known: Posterior, notebook: Notebook) -> list[Plan]:
    """All steps that are possible, the best first."""
    if not known.past.sessions:
        return []
    now = now_of(known)
    hypotheses = [one for one in known.hypotheses if one.probability > WEIGHED_FROM]
    plans = [plan for plan in candidates(known, now, notebook) if is_possible(plan.step, notebook)]
    for plan in plans:
        _inform(plan, known, now, hypotheses)
    return sorted(plans, key=lambda plan: -(plan.bits - plan.cost))


def _after(now: Now, plan: Plan, true: Mapping[str, Place], done: bool) -> Mapping[str, Place]:
    """Where things really are after a step, from where they really are before it."""
    if not done:
        return {slot: placed(place, riser=true[slot].riser) for slot, place in plan.places.items()}
    risers = {slot: place.riser for slot, place in true.items()}
    for slot, place in plan.places.items():
        if place.riser != now.places[slot].riser:
            old = next((other for other, label in risers.items() if label == place.riser and label != NO_RISER), None)
            if old is not None:
                risers[old] = risers[slot]
            risers[slot] = place.riser
    return {slot: placed(place, riser=risers[slot]) for slot, place in plan.places.items()}


def _inform(plan: Plan, known: Posterior, now: Now, hypotheses: Sequence[Hypothesis]) -> None:
    """Fills in the outcomes of a plan and what they would tell."""
    moved_risers = any(move.part == "riser" for move in plan.step.moves)
    wrong = faults.NOT_DONE if moved_risers or plan.step.reseat else 0.0
    ways = [_ways(wrong, now, plan, true, faults.TOOK_ALONG_AGAIN if course.along else faults.TOOK_ALONG)
            for true, course in zip(now.true, known.past.courses, strict=True)]
    masks = list(itertools.product((False, True), repeat=len(plan.looked)))
    rows, weights, keys = [], [], []
    for one in [*hypotheses, Hypothesis((), known.healthy)]:
        row = np.zeros(len(masks))
        likely = [number for number, share in enumerate(one.courses) if share > 0.02] or [now.course]
        scale = sum(one.courses[number] for number in likely) if one.courses else 1.0
        for number in likely:
            of = one.courses[number] / scale if one.courses else 1.0
            for share, places, reseated in ways[number]:
                row += of * share * _outcomes(one, places, reseated, plan, known, now.true[number])
        rows.append(row)
        weights.append(one.probability)
        keys.append(one.parts)
    table, weight = np.array(rows), np.array(weights)
    weight = weight / weight.sum()
    index = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    joint = np.zeros((len(index), len(masks)))
    for number, key in enumerate(keys):
        joint[index[key]] += weight[number] * table[number]
    outcome = joint.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = joint * np.log2(joint / (joint.sum(axis=1, keepdims=True) * outcome[None, :]))
    plan.bits = max(0.0, float(np.nansum(terms)))
    plan.outcomes = tuple(
        (tuple(slot for slot, dirty in zip(plan.looked, mask, strict=True) if dirty), float(outcome[column]),
         _likeliest(joint[:, column] / outcome[column], list(index)), float(joint[index[()], column] / outcome[column]))
        for column, mask in enumerate(masks) if outcome[column] > 0)


def _ways(wrong: float, now: Now, plan: Plan, true: Mapping[str, Place], along_share: float) -> list[_Way]:
    """What may come of a step: (share, places, slots that were plugged anew). `along_share`: that cards which are to be
    moved alone take their risers along."""
    ways: list[_Way] = [(1 - wrong, _after(now, plan, true, True), set(plan.step.reseat))]
    if wrong:
        ways.append((wrong, _after(now, plan, true, False), set()))
    risers = {slot: place.riser for slot, place in true.items()}
    labels = {slot: place.riser for slot, place in now.places.items()}
    along = carried(risers, now.places, plan.places, labels)
    if along is not None:
        there = {slot: placed(place, riser=along[slot]) for slot, place in plan.places.items()}
        ways = [(share * (1 - along_share), places, anew) for share, places, anew in ways]
        ways.append((along_share, there, set()))
    return ways


def _likeliest(shares: Array, keys: Sequence[tuple[Part, ...]]) -> tuple[tuple[Part, float], ...]:
    found: dict[Part, float] = {}
    for share, key in zip(shares, keys, strict=True):
        for part in key:
            found[part] = found.get(part, 0.0) + float(share)
    return tuple(sorted(found.items(), key=lambda one: -one[1])[:3])


def _outcomes(one: Hypothesis, places: Mapping[str, Place], reseated: set[str], plan: Plan, known: Posterior,
              true: Mapping[str, Place]) -> Array:
    """Probability of each set of damaged links under a hypothesis, in the order of products of (False, True)."""
    clean = [1 - CLEAN_LINK_SHOWS] * len(plan.looked)
    for number, slot in enumerate(plan.looked):
        before, after = true[slot], places[slot]
        both = slot in reseated or before.riser != after.riser
        # What is plugged anew: contacts at the slot, and those at the card.
        slot_side = both or (before.card != after.card and after.riser == NO_RISER)
        card_side = both or before.card != after.card
        for bad in one.bad:
            part = bad.part
            if not is_on(part, slot, after):
                continue
            plain, plugged = known.damage[bad]
            plain *= known.touched.get((part, slot), 1.0)
            anew = {"slot": slot_side, "card": card_side, "riser": slot_side or card_side,
                    "seat": slot_side if bad.side == "slot" else card_side}.get(part.kind, False)
            shows = plain
            if anew:
                shows = plain * (1 - faults.CURED) if part.kind == "seat" else plugged
            clean[number] *= 1 - shows
    chances = [1.0]
    for keep in clean:  # the last link changes fastest, as in the masks
        chances = [chance * share for chance in chances for share in (keep, 1 - keep)]
    return np.array(chances)
