"""The steps that are possible, with who would sit where after each. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from boxcheck.riser.evidence import NO_RISER, Move, Notebook, Place, Step
from boxcheck.riser.suspects.reach import is_on
from boxcheck.riser.suspects.suspicion import Part, Posterior

FOCI = 2
"""Links that are worked on: those with most suspicion on them."""
PARTNERS = 5
CALM = 0.25
"""A link on which something is bad with less than this probability serves as a partner."""
HAND = 0.03
"""What moving one part costs, in bits: of two steps that tell the same, that with less work."""
AWKWARD = 0.15
"""What it costs to put a card into a bare slot that had a riser, or a riser where there was none."""


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
class Now:
    """Who sits where in the last boot, and what is thought of it."""

    places: Mapping[str, Place]
    true: tuple[Mapping[str, Place], ...]
    """The same in each course of the risers."""
    course: int
    """The likeliest."""
    doubt: Mapping[str, float]
    """Slot -> probability that something on it is bad."""


def now_of(known: Posterior) -> Now:
    places = dict(known.past.sessions[-1].places)
    courses = known.past.courses
    true = tuple({slot: placed(place, riser=course.risers[-1].get(slot, place.riser)) for slot, place in places.items()}
                 for course in courses)
    doubt = {slot: sum(one.probability * share for one in known.hypotheses
                       for share, there in zip(one.courses, true, strict=True)
                       if share > 0.01 and any(is_on(part, slot, there[slot]) for part in one.parts))
             for slot in places}
    return Now(places, true, courses.index(known.course) if known.course is not None else 0, doubt)


def placed(place: Place, **changes: str | None) -> Place:
    return msgspec.structs.replace(place, **changes)


def is_possible(step: Step, notebook: Notebook) -> bool:
    names = {step.kind, *(move.name for move in step.moves), *(move.to for move in step.moves), *step.reseat}
    return not names & set(notebook.cannot)


def candidates(known: Posterior, now: Now, notebook: Notebook) -> Iterator[Plan]:
    foci = sorted(now.places, key=lambda slot: (-round(now.doubt[slot], 3), slot != notebook.slot))[:FOCI]
    yield Plan(Step(kind="cold-boot"), now.places, tuple(foci))
    damaged = {slot: _was_damaged(known, now, slot) for slot in now.places}
    # Links that were clean first; then those whose damage something else explains.
    calm = sorted((slot for slot in now.places if not damaged[slot] or now.doubt[slot] < CALM),
                  key=lambda slot: (damaged[slot], now.doubt[slot]))
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
                    places = {**now.places, focus: placed(here, riser=spare)}
                    yield Plan(Step(kind="replace-riser", moves=(Move(part="riser", name=spare, to=focus),)), places,
                               (focus,), cost=2 * HAND)


def _spread_over_supplies(slots: Sequence[str], now: Now, here: Place) -> list[str]:
    """Alternating between partners on another supply and on the same one, so that a supply can be told apart."""
    away = [slot for slot in slots if now.places[slot].supply != here.supply]
    near = [slot for slot in slots if now.places[slot].supply == here.supply]
    return [slot for pair in itertools.zip_longest(near, away) for slot in pair if slot is not None]


def _was_damaged(known: Posterior, now: Now, slot: str) -> bool:
    """Whether a link was seen damaged with any of the parts that are on it now."""
    place = now.true[now.course][slot]
    for at, dirty in known.dirty.items():
        then = known.past.sessions[at.session].places[at.slot]
        risers = known.course.risers[at.session] if known.course is not None else {}
        riser = risers.get(at.slot, then.riser)
        if dirty and (at.slot == slot or then.card == place.card or (riser == place.riser and riser != NO_RISER)):
            return True
    return False


def _plan(kind: str, now: Now, looked: tuple[str, ...], *, cards: tuple[tuple[str, str], ...] = (),
          risers: tuple[tuple[str, str], ...] = ()) -> Plan:
    places = dict(now.places)
    moves: list[Move] = []
    cost = 0.0
    for one, other in cards:
        first, second = now.places[one], now.places[other]
        places[one], places[other] = placed(places[one], card=second.card), placed(places[other], card=first.card)
        moves += [Move(part="card", name=place.card, to=to)
                  for place, to in ((first, other), (second, one)) if place.card is not None]
    for one, other in risers:
        first, second = now.places[one], now.places[other]
        places[one], places[other] = placed(places[one], riser=second.riser), placed(places[other], riser=first.riser)
        moves += [Move(part="riser", name=place.riser, to=to)
                  for place, to in ((first, other), (second, one)) if place.riser != NO_RISER]
        cost += AWKWARD * (NO_RISER in (first.riser, second.riser))
    step = Step(kind=kind, moves=tuple(moves))  # type: ignore[arg-type]
    return Plan(step, places, looked, cost=cost + HAND * len(moves))
