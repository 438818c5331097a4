"""Whether cards took their risers along to another slot, though nobody was asked that. Pure.

Where a card sits is read, where its riser is not. In many boxes a riser is screwed to its card's bracket, so that who
moves the card moves the riser too: then what goes with the card may be the riser's fault.
"""

from __future__ import annotations

from collections.abc import Mapping

from boxcheck.riser.evidence import NO_RISER, Place, Step
from boxcheck.riser.suspects.faults import (
    TOOK_ALONG,
    TOOK_ALONG_AGAIN,
    TOOK_ALONG_STRAYED,
    TOOK_ALONG_UNASKED,
)


def moved_cards(before: Mapping[str, Place], now: Mapping[str, Place]) -> dict[str, str]:
    """Slot that a card came to -> slot that it came from."""
    home = {place.card: slot for slot, place in before.items() if place.card is not None}
    return {slot: home[place.card] for slot, place in now.items()
            if place.card in home and home[place.card] != slot}


def carried(
    here: Mapping[str, str], before: Mapping[str, Place], now: Mapping[str, Place], labels: Mapping[str, str],
) -> dict[str, str] | None:
    """Where the risers are if every card that moved took its own along; None where that changes nothing, or where it
    was asked or told where these risers are. `here`: where they are if not. `labels`: slot -> label that was last
    said."""
    told = {slot for slot, place in now.items() if place.riser != labels.get(slot, place.riser)
            or (slot not in labels and place.riser not in (NO_RISER, f"R-{slot}"))}
    moves = {to: home for to, home in moved_cards(before, now).items() if not told & {to, home}}
    after = {**here, **dict.fromkeys(moves.values(), NO_RISER)}
    after |= {to: here.get(home, NO_RISER) for to, home in moves.items()}
    return None if after == here else after


def share_along(step: Step | None, before: Mapping[str, Place], now: Mapping[str, Place], again: bool) -> float:
    """Probability beforehand that the cards took their risers along. `again`: they did so before."""
    if again:
        return TOOK_ALONG_AGAIN
    asked = {(move.name, move.to) for move in step.moves if move.part == "card"} if step is not None else set()
    if not asked:
        return TOOK_ALONG_UNASKED
    done = {(now[to].card, to) for to in moved_cards(before, now)}
    return TOOK_ALONG if done <= asked else TOOK_ALONG_STRAYED
