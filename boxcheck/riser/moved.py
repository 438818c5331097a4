"""What an operator was asked to move, and what was moved. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.checks.wording import natural
from boxcheck.riser.evidence import NO_RISER, Place, Step
from boxcheck.riser.parts import UNNAMED, is_called, short_card


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
    the operator's word (a card without a number) stays as it was asked, unless that card tells itself elsewhere. A
    slot of which nobody spoke and that holds a card is a place from now on. `risers`: labels that the operator told.
    """
    strayed: list[str] = []
    found: list[Place] = []
    new = _new_places(asked, cards, risers)
    gone = {place.card for place in new}
    for place in asked:
        riser = risers.get(place.slot, place.riser)
        card, here = place.card, cards.get(place.slot)
        if card in gone and here is None:  # told below, by where it is
            card = None
            if place.slot not in risers and riser in {one.riser for one in new}:
                riser = NO_RISER  # said to have gone with the card
        elif place.slot in cards:
            card, told = _seen_card(place, here, asked)
            strayed += told
        if place.slot in risers and riser != place.riser:
            strayed.append(f"riser {riser} is in {place.slot}, where {place.riser or 'none'} should be")
        found.append(msgspec.structs.replace(place, card=card, riser=riser))
    for place in new:
        home = next((other.slot for other in asked if other.card == place.card), None)
        of = f"it should be in {home}" if home else "it was not in the box before"
        strayed.append(f"card {short_card(place.card)} sits in {place.slot}, which was empty before; {of}")
    if new:
        found += new
        found.sort(key=lambda place: natural(place.slot))
    return tuple(found), tuple(strayed)


def _new_places(
    asked: Sequence[Place], cards: Mapping[str, str | None], risers: Mapping[str, str],
) -> list[Place]:
    """Slots that hold a card and had no place. A riser of which nothing is said is called after its slot, as in a first
    boot (parts.first_places)."""
    had = {place.slot for place in asked}
    # Cards without a number whose slots are empty now: where it is one, it is the one that came up elsewhere.
    left = [place.card for place in asked if place.card is not None and is_called(place.card)
            and place.slot in cards and cards[place.slot] is None]
    found: list[Place] = []
    for slot, card in cards.items():
        if card is None or slot in had:
            continue
        if card.startswith(UNNAMED):
            card = left[0] if len(left) == 1 and left[0] not in {one.card for one in found} else f"of {slot}"
        found.append(Place(slot=slot, riser=risers.get(slot) or f"R-{slot}", card=card, supply=_supply(card, asked)))
    return found


def _supply(card: str, asked: Sequence[Place]) -> str:
    """What feeds a card in a new place: its lead went with it; of a card that is new, the one supply that there is."""
    home = next((place.supply for place in asked if place.card == card), "")
    every = {place.supply for place in asked}
    return home or (next(iter(every)) if len(every) == 1 else "")


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
