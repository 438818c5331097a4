"""What an operator was asked to move, and what was moved. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.riser.evidence import NO_RISER, Place, Step
from boxcheck.riser.parts import is_called, short_card


def arranged(places: Sequence[Place], step: Step) -> tuple[Place, ...]:
    """The places as they are when the step was done as asked. A part whose place is taken and that has no move of its
    own is left out of the box."""
    found = {place.slot: place for place in places}
    moved = {(move.part, move.name) for move in step.moves}
    for part, field in (("card", "card"), ("riser", "riser")):
        moves = [move for move in step.moves if move.part == part]
        for place in places:  # whoever leaves makes room first
            if (part, getattr(place, field)) in moved:
                found[place.slot] = msgspec.structs.replace(
                    found[place.slot], **{field: None if part == "card" else NO_RISER})
        for move in moves:
            if move.to in found:
                found[move.to] = msgspec.structs.replace(found[move.to], **{field: move.name})
    return tuple(found[place.slot] for place in places)


def seen_places(
    asked: Sequence[Place], cards: Mapping[str, str | None], risers: Mapping[str, str],
) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """The places as they were found, and what differs from what was asked.

    `cards`: slot -> what the card there tells of itself; a slot that is not there could not be asked, and what follows
    the operator's word (a card without a number) stays as it was asked. `risers`: labels that the operator told now.
    """
    strayed: list[str] = []
    found: list[Place] = []
    for place in asked:
        riser = risers.get(place.slot, place.riser)
        card = place.card
        if place.slot in cards:
            card, told = _seen_card(place, cards[place.slot], asked)
            strayed += told
        if riser != place.riser:
            strayed.append(f"riser {riser} is in {place.slot}, where {place.riser or 'none'} should be")
        found.append(msgspec.structs.replace(place, card=card, riser=riser))
    return tuple(found), tuple(strayed)


def _seen_card(place: Place, here: str | None, asked: Sequence[Place]) -> tuple[str | None, list[str]]:
    """The card of a place, and how that differs from what was asked."""
    if here is None:
        told = [f"nothing answers in {place.slot}, where card {short_card(place.card)} should be"] if place.card else []
        return None, told
    if here == place.card:
        return here, []
    if is_called(here):  # it tells no number: what was asked is all that is known, where something was asked
        return place.card or here, []
    home = next((other.slot for other in asked if other.card == here), None)
    should = f"where {short_card(place.card)} should be" if place.card else "which should be empty"
    of = f"it should be in {home}" if home else "it was not in the box before"
    return here, [f"card {short_card(here)} sits in {place.slot}, {should}; {of}"]


def changed_cards(before: Sequence[Place], after: Sequence[Place]) -> tuple[str, ...]:
    """Slots in which another card sits than before."""
    then = {place.slot: place.card for place in before}
    return tuple(place.slot for place in after if place.slot in then and place.card != then[place.slot])
