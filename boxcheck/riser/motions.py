"""A step in the words of somebody who stands before the open box. Pure."""

from __future__ import annotations

from boxcheck.checks.wording import listed
from boxcheck.riser.evidence import Move, Notebook, Place, Step
from boxcheck.riser.parts import is_called, short_card


def step_words(step: Step, notebook: Notebook) -> str:
    """`Power off. Move card …4417 with its riser R3 from PCIE3 to PCIE5, and card …90ab with R5 from PCIE5 to PCIE3.
    Power on.` Every sentence is one motion."""
    places = notebook.boots[-1].places if notebook.boots else ()
    if step.kind == "cold-boot":
        return "power off, wait ten seconds, power on; move nothing."
    sentences = ["Power off."]
    together = _together(step, places)
    for move in step.moves:
        if move in together.values():
            continue  # told with its card
        with_riser = f" with its riser {together[move].name}" if move in together else ""
        come = _from(move, places) or (move.name.removeprefix("of ") if is_called(move.name) else None)
        away = f" from {come}" if come and come != move.to else ""
        name = f"riser {move.name}"
        if move.part == "card":
            name = "the card" if is_called(move.name) else f"card {short_card(move.name)}"
        if move.part == "riser" and not come:
            sentences.append(f"Put the spare riser {move.name} in {move.to}, in place of the one there.")
        else:
            sentences.append(f"Move {name}{with_riser}{away} to {move.to}.")
    if step.reseat:
        sentences.append(
            f"Unplug and plug again, at both ends of the riser, what sits in {listed(list(step.reseat))}.")
    if step.kind == "swap-cards":
        sentences.append("Leave every riser in its slot.")
    elif step.kind == "swap-risers":
        sentences.append("Leave every card at its slot.")
    sentences.append("Power on.")
    return " ".join(sentences)


def _together(step: Step, places: tuple[Place, ...]) -> dict[Move, Move]:
    """Moves of cards whose own riser goes the same way."""
    found: dict[Move, Move] = {}
    for card in step.moves:
        if card.part != "card":
            continue
        place = next((place for place in places if place.card == card.name), None)
        for riser in step.moves:
            if place is not None and riser.part == "riser" and riser.name == place.riser and riser.to == card.to:
                found[card] = riser
    return found


def _from(move: Move, places: tuple[Place, ...]) -> str | None:
    for place in places:
        if (place.card if move.part == "card" else place.riser) == move.name:
            return place.slot
    return None
