"""Checks that passed for all parts at once: such a pass names the box, or so many GPUs, where a failure names the part.
Pure."""

from __future__ import annotations

from collections.abc import Sequence

from boxcheck.compare.side import Side
from boxcheck.model import Finding, Outcome


def passed_as_whole(found: Sequence[Finding], side: Side, others: Sequence[Side]) -> Finding | None:
    """The pass of a check by all that it found on a side, where that holds for every part that other sides have too.
    None where it named a part, as it does of what fails, and where it was of other GPUs than theirs."""
    if not found or any(one.outcome is not Outcome.PASS for one in found):
        return None
    if all(one.subject.kind == "box" for one in found):
        return found[0]
    every = {f"{len(side.cards)} GPUs"}
    if any(one.subject.kind not in ("box", "group") for one in found) or {
            one.subject.name for one in found if one.subject.kind == "group"} != every or side.cards_unread:
        return None
    places = {card.place for card in side.cards}
    if any(one.cards_unread or not places.issuperset(card.place for card in one.cards) for one in others):
        return None
    return next(one for one in found if one.subject.kind == "group")
