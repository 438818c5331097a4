"""What a step would tell: the links that would be damaged after it, under every hypothesis. numpy.

The outcome of a step is which of the links that it touches are damaged in the next boot. Its information is how much
of the doubt about the parts that takes away on the mean (mutual information, in bits); a step that is done wrongly one
time in ten is worth so much less.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from boxcheck.riser import faults
from boxcheck.riser.evidence import NO_RISER, Move, Notebook, Place, Step
from boxcheck.riser.likelihood import Array
from boxcheck.riser.reach import is_on
from boxcheck.riser.suspicion import Hypothesis, Part, Posterior

CLEAN_LINK_SHOWS = 0.01
"""A link with nothing wrong on it that looks damaged in a boot."""
FOCI = 2
"""Links that are worked on: those with most suspicion on them."""
PARTNERS = 5
WEIGHED_FROM = 2e-4
"""Hypotheses below it are left out."""
HAND = 0.03
"""What moving one part costs, in bits: of two steps that tell the same, that with less work."""
AWKWARD = 0.4
"""What it costs to put a card into a bare slot that had a riser, or a riser where there was none."""


_Way: TypeAlias = tuple[float, Mapping[str, Place], set[str]]


@dataclass
class Plan:
    step: Step
    places: Mapping[str, Place]
    """As it would be."""
    looked: tuple[str, ...]
    """Links by whose looks it is told."""
    bits: float = 0.0
    cost: float = 0.0
    outcomes: tuple[tuple[tuple[str, ...], float, tuple[tuple[Part, float], ...], float], ...] = ()
    """(damaged links, probability, the likeliest parts then, probability of no bad part then)."""


@dataclass
class _Now:
    """Who sits where in the last boot, and what is thought of it."""

    places: Mapping[str, Place]
    true: tuple[Mapping[str, Place], ...]
    """The same in each course of the risers."""
    course: int
    """The likeliest."""
    doubt: Mapping[str, float]
    """Slot -> probability that something on it is bad."""


def best_plan(known: Posterior, notebook: Notebook) -> Plan | None:
    """The step that tells most for its work; None where none is possible."""
    plans = ranked_plans(known, notebook)
    return plans[0] if plans else None


def ranked_plans(known: Posterior, notebook: Notebook) -> list[Plan]:
    """All steps that are possible, the best first."""
    if not known.past.sessions:
        return []
    now = _now(known)
    hypotheses = [one for one in known.hypotheses if one.probability > WEIGHED_FROM]
    plans = [plan for plan in _candidates(known, now, notebook) if _is_possible(plan.step, notebook)]
    for plan in plans:
        _inform(plan, known, now, hypotheses)
    return sorted(plans, key=lambda plan: -(plan.bits - plan.cost))


def _now(known: Posterior) -> _Now:
    places = dict(known.past.sessions[-1].places)
    courses = known.past.courses
    true = tuple({slot: _with(place, riser=course.risers[-1].get(slot, place.riser)) for slot, place in places.items()}
                 for course in courses)
    doubt = {slot: sum(one.probability * share for one in known.hypotheses
                       for share, there in zip(one.courses, true, strict=True)
                       if share > 0.01 and any(is_on(part, slot, there[slot]) for part in one.parts))
             for slot in places}
    return _Now(places, true, courses.index(known.course) if known.course is not None else 0, doubt)


def _with(place: Place, **changes: str | None) -> Place:
    import msgspec

    return msgspec.structs.replace(place, **changes)


def _is_possible(step: Step, notebook: Notebook) -> bool:
    names = {step.kind, *(move.name for move in step.moves), *(move.to for move in step.moves), *step.reseat}
    return not names & set(notebook.cannot)


def _candidates(known: Posterior, now: _Now, notebook: Notebook) -> Iterator[Plan]:
    foci = sorted(now.places, key=lambda slot: (-round(now.doubt[slot], 3), slot != notebook.slot))[:FOCI]
    yield Plan(Step(kind="cold-boot"), now.places, tuple(foci))
    calm = sorted((slot for slot in now.places if not _was_damaged(known, now, slot)), key=lambda slot: now.doubt[slot])
    repeated = tuple(f"{label} in " for label in known.past.repeated)

    def fixed(slot: str) -> bool:
        return now.places[slot].riser.startswith(repeated) if repeated else False

    for focus in foci:
        here = now.places[focus]
        yield Plan(Step(kind="reseat", reseat=(focus,)), now.places, (focus,), cost=HAND)
        others = [slot for slot in calm if slot != focus] or [slot for slot in now.places if slot != focus]
        others = _spread_over_supplies(others, now, here)[:PARTNERS]
        bare = here.riser == NO_RISER
        for other in others:
            yield _plan("swap-cards", now, (focus, other), cards=((focus, other),))
            if not (bare and now.places[other].riser == NO_RISER) and not fixed(focus) and not fixed(other):
                yield _plan("swap-risers", now, (focus, other), risers=((focus, other),))
                yield _plan("swap-both", now, (focus, other), cards=((focus, other),), risers=((focus, other),))
        if not bare and not fixed(focus):
            for card_to, riser_to in itertools.permutations(others, 2):
                if now.places[riser_to].riser != NO_RISER and not fixed(riser_to):
                    yield _plan("rotate", now, (focus, card_to, riser_to), cards=((focus, card_to),),
                                risers=((focus, riser_to),))
            used = {place.riser for session in known.past.sessions for place in session.places.values()}
            for spare in notebook.spares:
                if spare not in used:
                    places = {**now.places, focus: _with(here, riser=spare)}
                    yield Plan(Step(kind="replace-riser", moves=(Move(part="riser", name=spare, to=focus),)), places,
                               (focus,), cost=2 * HAND)


def _spread_over_supplies(slots: Sequence[str], now: _Now, here: Place) -> list[str]:
    """Alternating between partners on another supply and on the same one, so that a supply can be told apart."""
    away = [slot for slot in slots if now.places[slot].supply != here.supply]
    near = [slot for slot in slots if now.places[slot].supply == here.supply]
    return [slot for pair in itertools.zip_longest(near, away) for slot in pair if slot is not None]


def _was_damaged(known: Posterior, now: _Now, slot: str) -> bool:
    """Whether a link was seen damaged with any of the parts that are on it now."""
    place = now.true[now.course][slot]
    for at, dirty in known.dirty.items():
        then = known.past.sessions[at.session].places[at.slot]
        risers = known.course.risers[at.session] if known.course is not None else {}
        riser = risers.get(at.slot, then.riser)
        if dirty and (at.slot == slot or then.card == place.card or (riser == place.riser and riser != NO_RISER)):
            return True
    return False


def _plan(kind: str, now: _Now, looked: tuple[str, ...], *, cards: tuple[tuple[str, str], ...] = (),
          risers: tuple[tuple[str, str], ...] = ()) -> Plan:
    places = dict(now.places)
    moves: list[Move] = []
    cost = 0.0
    for one, other in cards:
        first, second = now.places[one], now.places[other]
        places[one], places[other] = _with(places[one], card=second.card), _with(places[other], card=first.card)
        moves += [Move(part="card", name=place.card, to=to)
                  for place, to in ((first, other), (second, one)) if place.card is not None]
    for one, other in risers:
        first, second = now.places[one], now.places[other]
        places[one], places[other] = _with(places[one], riser=second.riser), _with(places[other], riser=first.riser)
        moves += [Move(part="riser", name=place.riser, to=to)
                  for place, to in ((first, other), (second, one)) if place.riser != NO_RISER]
        cost += AWKWARD * (NO_RISER in (first.riser, second.riser))
    step = Step(kind=kind, moves=tuple(moves))  # type: ignore[arg-type]
    return Plan(step, places, looked, cost=cost + HAND * len(moves))


def _after(now: _Now, plan: Plan, true: Mapping[str, Place], done: bool) -> Mapping[str, Place]:
    """Where things really are after a step, from where they really are before it."""
    if not done:
        return {slot: _with(place, riser=true[slot].riser) for slot, place in plan.places.items()}
    risers = {slot: place.riser for slot, place in true.items()}
    for slot, place in plan.places.items():
        if place.riser != now.places[slot].riser:
            old = next((other for other, label in risers.items() if label == place.riser and label != NO_RISER), None)
            if old is not None:
                risers[old] = risers[slot]
            risers[slot] = place.riser
    return {slot: _with(place, riser=risers[slot]) for slot, place in plan.places.items()}


def _inform(plan: Plan, known: Posterior, now: _Now, hypotheses: Sequence[Hypothesis]) -> None:
    """Fills in the outcomes of a plan and what they would tell."""
    moved_risers = any(move.part == "riser" for move in plan.step.moves)
    wrong = faults.NOT_DONE if moved_risers or plan.step.reseat else 0.0
    ways = [_ways(wrong, now, plan, true) for true in now.true]
    masks = list(itertools.product((False, True), repeat=len(plan.looked)))
    rows, weights, keys = [], [], []
    for one in [*hypotheses, Hypothesis((), known.healthy)]:
        row = np.zeros(len(masks))
        likely = [number for number, share in enumerate(one.courses) if share > 0.02] or [now.course]
        scale = sum(one.courses[number] for number in likely) if one.courses else 1.0
        for number in likely:
            of = one.courses[number] / scale if one.courses else 1.0
            for share, places, reseated in ways[number]:
                row += of * share * _outcomes(one, places, reseated, plan, known, now.true[number], masks)
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


def _ways(wrong: float, now: _Now, plan: Plan, true: Mapping[str, Place]) -> list[_Way]:
    """What may come of a step: (share, places, slots that were plugged anew)."""
    ways: list[_Way] = [(1 - wrong, _after(now, plan, true, True), set(plan.step.reseat))]
    if wrong:
        ways.append((wrong, _after(now, plan, true, False), set()))
    return ways


def _likeliest(shares: Array, keys: Sequence[tuple[Part, ...]]) -> tuple[tuple[Part, float], ...]:
    found: dict[Part, float] = {}
    for share, key in zip(shares, keys, strict=True):
        for part in key:
            found[part] = found.get(part, 0.0) + float(share)
    return tuple(sorted(found.items(), key=lambda one: -one[1])[:3])


def _outcomes(one: Hypothesis, places: Mapping[str, Place], reseated: set[str], plan: Plan, known: Posterior,
              true: Mapping[str, Place], masks: Sequence[tuple[bool, ...]]) -> Array:
    """Probability of each set of damaged links under a hypothesis."""
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
    return np.array([math.prod(1 - keep if dirty else keep for keep, dirty in zip(clean, mask, strict=True))
                     for mask in masks])
