"""Which card of one side is which card of the other. Pure.

One box before and after: by UUID or serial number where both sides tell them, else by slot, else by address, which is
numbered anew when cards are added. Two boxes: by slot, else by position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from boxcheck.engine.box import same_box
from boxcheck.engine.figures import Card
from boxcheck.engine.history_cards import has_moved, is_another

Sameness = Literal["one", "two", "unknown"]
By = Literal["number", "slot", "address", "position"]


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A card of the first side, a card of the second, or both."""

    a: Card | None
    b: Card | None
    by: By | None = None

    @property
    def where(self) -> str:
        """`PCIE3`, or `PCIE3 -> PCIE5` for a card that moved."""
        if self.a is None or self.b is None:
            return (self.a or self.b or _NOBODY).place
        if has_moved(self.a, self.b) and self.by != "position":
            return f"{self.a.place} -> {self.b.place}"
        return self.a.slot or self.b.slot or self.a.place

    @property
    def moved(self) -> bool:
        return self.by == "number" and self.a is not None and self.b is not None and has_moved(self.a, self.b)

    @property
    def exchanged(self) -> bool:
        """Whether their numbers prove that another card is in this place."""
        return self.a is not None and self.b is not None and is_another(self.a, self.b)


_NOBODY = Card(key="?", name="", backend="")


def boxes(one: str, other: str, a: Sequence[Card], b: Sequence[Card], hashed: bool) -> tuple[Sameness, str]:
    """Whether both sides are of one box, and what says so. `hashed`: names and numbers are those of a redacted
    capture, whose hashes are others each time."""
    if hashed:
        return "unknown", "one of them is redacted, so its names and numbers cannot be compared"
    named = same_box(one, other)
    if named is not None:
        return ("one" if named else "two"), f"by its name, {one}" if named else f"{one} and {other}"
    common = _numbers(a) & _numbers(b)
    if common and 2 * len(common) >= min(len(a), len(b)):
        return "one", f"{len(common)} of its GPUs are those of before"
    return "unknown", "nothing names the box on both sides"


def matches(a: Sequence[Card], b: Sequence[Card], same: Sameness) -> list[Match]:
    """Every card of both sides once, in the order of the first."""
    left, right = list(a), list(b)
    found: list[Match] = []

    def take(by: By, key: Callable[[Card], str | None]) -> None:
        one, other = Counter(map(key, left)), Counter(map(key, right))
        for card in list(left):
            name = key(card)
            if name is None or one[name] != 1 or other[name] != 1:
                continue
            twin = next(other for other in right if key(other) == name)
            found.append(Match(a=card, b=twin, by=by))
            left.remove(card)
            right.remove(twin)

    if same != "two":
        take("number", lambda card: card.uuid)
        take("number", lambda card: card.serial)
    take("slot", lambda card: card.slot)
    if same != "two":
        take("address", lambda card: card.bdf or card.key)
    else:
        found += [Match(a=one, b=other, by="position") for one, other in zip(left, right, strict=False)]
        both = min(len(left), len(right))
        left, right = left[both:], right[both:]
    found += [Match(a=one, b=None) for one in left] + [Match(a=None, b=one) for one in right]
    order = {id(card): at for at, card in enumerate(a)}
    return sorted(found, key=lambda one: order.get(id(one.a), len(a)))


def told(found: Sequence[Match], a: Sequence[Card], b: Sequence[Card], same: Sameness) -> list[str]:
    """What moved, what was exchanged, and what is told by its place alone."""
    lines = [f"{one.a.name} moved: {one.where}" for one in found if one.a is not None and one.moved]
    for one in found:
        if one.a is not None and one.b is not None and one.exchanged and same != "two":
            lines.append(f"{one.where}: another card is there: {_name(one.a)} in A, {_name(one.b)} in B")
    if same == "two":
        for number in sorted(_numbers(a) & _numbers(b)):
            places = [next(card.place for card in cards if number in (card.uuid, card.serial)) for cards in (a, b)]
            lines.append(f"the card {number} was in both boxes: {places[0]} of A, {places[1]} of B")
    else:
        unnamed = [one.where for one in found if one.a and one.b and one.by != "number" and not one.exchanged]
        if unnamed:
            lines.append(f"no serial number or UUID on both sides: {', '.join(unnamed)}; that it is the same card is "
                         "told by its place alone")
    return lines


def _name(card: Card) -> str:
    number = card.serial or card.uuid
    return f"{card.name} ({number})" if number else card.name


def _numbers(cards: Sequence[Card]) -> set[str]:
    return {number for card in cards for number in (card.uuid, card.serial) if number}


def physical(card: Card) -> str:
    """One card has one address, whichever runtime drives it."""
    return card.bdf or card.key
