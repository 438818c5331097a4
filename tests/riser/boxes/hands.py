"""An operator with the box switched off: does what a step asks, and one time in ten something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from boxcheck.riser.evidence import Step
from tests.riser.boxes.box import NONE, WRONG_STEP, Box

Pairs = list[tuple[str | None, str]]
"""(slot that a part comes from, slot that it goes to); from None: a spare from outside."""


@dataclass
class Done:
    """What became of a step."""

    wanted: dict[str, str | None]
    """Slot -> card, had it been done as asked."""
    odd: list[str]
    """What of the step made no sense or was said to be impossible."""


def do(box: Box, step: Step) -> Done:
    """Moves parts, makes their contacts anew, and starts the next boot's rates."""
    odd = [f"{one} was said to be impossible" for one in box.cannot
           if one == step.kind or any(move.name == one for move in step.moves)]
    cards, risers, spares = _read(box, step, odd)
    wanted, _ = _shifted({slot: seat.card for slot, seat in box.seats.items()}, cards)
    reseat = [slot for slot in step.reseat if slot in box.seats]
    if len(reseat) != len(step.reseat):
        odd.append(f"reseat of {', '.join(step.reseat)}: no such slot")
    believed = {label: slot for slot, label in box.labels.items()}
    asked = [(believed.get(move.name), move.to) for move in step.moves
             if move.part == "riser" and move.to in box.seats and move.name != NONE]
    if box.source.random() < WRONG_STEP:
        cards, risers, reseat = _wrong(box, cards, risers, reseat)
    _plug(box, cards, risers, spares, reseat)
    labels, _ = _shifted(dict(box.labels), asked, spares)
    box.labels = {slot: label or NONE for slot, label in labels.items()}
    box.spares = [spare for spare in box.spares if spare not in spares.values()]
    box.boot += 1
    for fault in box.faults:
        fault.next_boot(box.source)
    return Done(wanted, odd)


def _read(box: Box, step: Step, odd: list[str]) -> tuple[Pairs, Pairs, dict[str, str]]:
    """Moves as the operator finds the parts: cards by their names, or by the slot in which they were."""
    cards: Pairs = []
    risers: Pairs = []
    spares: dict[str, str] = {}
    for move in step.moves:
        if move.to not in box.seats:
            odd.append(f"{move.name} to {move.to}: no such slot")
        elif move.part == "card":
            at = _card_slot(box, move.name)
            if at is None:
                odd.append(f"no card {move.name}")
            else:
                cards.append((at, move.to))
        elif move.name in box.outside:
            spares[move.to] = move.name
            risers.append((None, move.to))
        elif move.name != NONE:
            at = next((slot for slot, seat in box.seats.items() if seat.riser == move.name), None)
            if at is None:
                odd.append(f"no riser {move.name}")
            else:
                risers.append((at, move.to))
    return cards, risers, spares


def _card_slot(box: Box, name: str) -> str | None:
    card = box.card_named(name)
    return next((slot for slot, seat in box.seats.items() if seat.card == card), None) if card is not None else None


def _shifted(
    parts: dict[str, str | None], pairs: Sequence[tuple[str | None, str]], spares: dict[str, str] | None = None,
) -> tuple[dict[str, str | None], set[str]]:
    """Where parts are after the moves, and the slots that were touched. What is displaced and was not spoken of goes
    where there is room, or out of the box."""
    old, spares = dict(parts), spares or {}
    taken = [source for source, _ in pairs if source is not None]
    targets = [target for _, target in pairs]
    for slot in taken:
        parts[slot] = None
    for source, target in pairs:
        parts[target] = spares.get(target) if source is None else old[source]
    room = [slot for slot in taken if slot not in targets]
    for target in targets:
        lost = old[target]
        if target not in taken and lost not in (None, NONE) and room:
            parts[room.pop(0)] = lost
    return parts, {*taken, *targets}


def _wrong(box: Box, cards: Pairs, risers: Pairs, reseat: list[str]) -> tuple[Pairs, Pairs, list[str]]:
    """One of the mistakes that this step allows. A card in a wrong slot is seen, since cards tell who they are."""
    used = {slot for pair in (*cards, *risers) for slot in pair}
    others = [slot for slot in box.slots if slot not in used]
    can = []
    if cards and others:
        can.append("stray")
    if cards and not risers and any(box.seats[source].riser != NONE for source, _ in cards if source is not None):
        can.append("risers along")
    if risers:
        can.append("risers stay")
        if [slot for slot in others if box.seats[slot].riser != NONE]:
            can.append("wrong riser")
    if reseat:
        can.append("not reseated")
    if not can:
        return cards, risers, reseat
    what = box.source.choice(can)
    box.wrong_steps.append(what)
    if what == "stray":
        at = box.source.randrange(len(cards))
        third, (source, target) = box.source.choice(others), cards[at]
        cards = [*cards[:at], (source, third), *cards[at + 1:], (third, target)]
    elif what == "risers along":
        risers = list(cards)  # screwed to the card's bracket; the operator does not notice
    elif what == "risers stay":
        risers = []
    elif what == "wrong riser":
        third = box.source.choice([slot for slot in others if box.seats[slot].riser != NONE])
        source, target = risers[0]
        # The one that was meant stays where it is, and what was to come to its place goes to the third.
        risers = [(third, target), *((one, third if to == source else to) for one, to in risers[1:])]
    else:
        reseat = []
    return cards, risers, reseat


def _plug(box: Box, cards: Pairs, risers: Pairs, spares: dict[str, str], reseat: list[str]) -> None:
    before = {slot: (seat.riser, seat.card) for slot, seat in box.seats.items()}
    new_cards, upper = _shifted({slot: card for slot, (_, card) in before.items()}, cards)
    new_risers, lower = _shifted({slot: riser for slot, (riser, _) in before.items()}, risers, spares)
    lower |= set(reseat)
    upper |= lower
    for slot, seat in box.seats.items():
        seat.riser, seat.card = new_risers[slot] or NONE, new_cards[slot]
    labels = box.outside | {riser for riser, _ in before.values() if riser != NONE}
    box.outside = labels - {seat.riser for seat in box.seats.values()}
    lower |= {slot for slot in upper if NONE in (before[slot][0], box.seats[slot].riser)}
    touched = {"slot": lower, "riser": set[str](), "card": set[str]()}
    for slot in upper:
        touched["riser"] |= {before[slot][0], box.seats[slot].riser}
        touched["card"] |= {str(before[slot][1]), str(box.seats[slot].card)}
    for fault in box.faults:
        if fault.kind == "seat":
            anew = fault.name in (lower if fault.joint == "lower" else upper)
        else:
            anew = fault.name in touched.get(fault.kind, ())
        if anew:
            fault.plugged_anew(box.source)
