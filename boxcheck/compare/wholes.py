"""Checks that passed for all parts at once: such a pass names the box, or so many GPUs, where a failure names the part.
Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from boxcheck.compare.judged import Row, change_of
from boxcheck.engine.figures import Card
from boxcheck.model import Finding, Outcome


class WithCards(Protocol):
    """What is known of the GPUs of a side (compare/side.py)."""

    @property
    def cards(self) -> Sequence[Card]: ...
    @property
    def cards_unread(self) -> str: ...


def passed_as_whole(found: Sequence[Finding], side: WithCards, others: Sequence[WithCards]) -> Finding | None:
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


ByCheck = Mapping[tuple[str, str], Sequence[Finding]]
"""By phase and check."""


def beside_whole(
    row: Row, left: ByCheck, right: ByCheck, a: WithCards, b: WithCards
) -> tuple[Row, Sequence[Finding]]:
    """A fault at a part beside the pass of its check for all parts at once, where the other side has that; and what
    that side found, which is told with it."""
    if row.outcome not in (Outcome.FAIL, Outcome.MARGINAL) or (row.a is not None and row.b is not None):
        return row, ()
    found, side, other = (left, a, b) if row.a is None else (right, b, a)
    some = found.get(row.base[:2], ())
    whole = passed_as_whole(some, side, (other,))
    if whole is None:
        return row, ()
    one, two = (whole, row.b) if row.a is None else (row.a, whole)
    return msgspec.structs.replace(row, a=one, b=two, change=change_of(one, two)), some
