"""What the boxes of two sides have: cards, links, memory, versions. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from boxcheck.compare.difference import Difference, Section, Tally, Value
from boxcheck.compare.judged import readable
from boxcheck.compare.matching import Match, Sameness, physical
from boxcheck.compare.side import Item, Side
from boxcheck.model import Unread


def devices(tally: Tally, a: Side, b: Side, found: Sequence[Match]) -> None:
    for one in found:
        card = one.a or one.b
        assert card is not None
        if one.a is not None and one.b is not None:
            tally.same += 1
            continue
        lost = one.b is None
        why = b.cards_unread if lost else a.cards_unread
        there = Value(text=card.name, value=card.name)
        gone = Value(text=f"not read: {why}", state="unread") if why else Value(text="not there", state="none")
        tally.found.append(Difference(
            section="unread" if why else "machine", what="GPU", where=one.where, a=there if lost else gone,
            b=gone if lost else there, worse=None if why else lost,
            says=f"{card.serial or card.uuid}" if card.serial or card.uuid else ""))
    for side, name in ((a, "A"), (b, "B")):
        if side.cards_unread:
            tally.leave_out(f"which GPUs there are in {name} was not all read: {side.cards_unread}")


def items(tally: Tally, a: Side, b: Side, found: Sequence[Match], same: Sameness) -> None:
    for side, name in ((a, "A"), (b, "B")):
        if side.items_unread:
            tally.leave_out(f"what the machine of {name} has was not read: {side.items_unread}")
    if a.items_unread or b.items_unread:
        return
    left, right = _by_place(a.items, found, "a", same), _by_place(b.items, found, "b", same)
    lost = {one.where for one in found if one.a is None or one.b is None}
    for what, where in {**left, **right}:
        one, other = left.get((what, where)), right.get((what, where))
        item = one or other
        assert item is not None
        if (one is None or other is None) and where in lost:
            continue  # it went with its card, which is told
        values = _item(one), _item(other)
        if values[0].state == values[1].state == "unread":
            tally.unread += 1
        elif one is not None and other is not None and not isinstance(one.value, Unread) and one.value == other.value:
            tally.same += 1
        else:
            tally.found.append(_differs(item, where, *values))


def _by_place(
    items: Iterable[Item], found: Sequence[Match], side: Literal["a", "b"], same: Sameness
) -> dict[tuple[str, str], Item]:
    cards = {physical(card): one for one in found if (card := one.a if side == "a" else one.b) is not None}
    places = {}
    for one in found:
        if one.a is not None and one.b is not None and (same == "two" or not (one.a.slot and one.b.slot)):
            card = one.a if side == "a" else one.b
            places[card.place] = one.where
    named = {}
    for item in items:
        where = ""
        if item.card is not None:
            where = cards[item.card].where if item.card in cards else item.card
        elif item.place is not None:
            where = places.get(item.place, item.place)
        named[item.what, where] = item
    return named


def _item(one: Item | None) -> Value:
    if one is None:
        return Value(text="-", state="none")
    if isinstance(one.value, Unread):
        return Value(text=f"not read: {one.value.why}", state="unread")
    if isinstance(one.value, float) and not math.isfinite(one.value):
        return Value(text="not read: it is no number", state="unread")
    if one.value is None:
        return Value(text="none", state="none")
    if isinstance(one.value, bool):
        return Value(text="on" if one.value else "off", value=one.value)
    if isinstance(one.value, (int, float)):
        shown = f"x{one.value}" if one.unit == "lanes" else readable(one.value, one.unit)
        return Value(text=shown, value=one.value)
    return Value(text=one.value, value=one.value)


def _differs(item: Item, where: str, a: Value, b: Value) -> Difference:
    numbers = isinstance(a.value, (int, float)) and isinstance(b.value, (int, float))
    worse = None
    if item.kind == "capacity" and numbers:
        worse = b.value < a.value  # type: ignore[operator]
    section: Section = "machine" if item.kind == "capacity" else "setup"
    if "unread" in (a.state, b.state):
        section = "unread"
    elif "none" in (a.state, b.state) and (a.text == "-" or b.text == "-"):
        section = "one-sided"
    if numbers and a.text == b.text:  # rounded to be told
        a, b = (msgspec.structs.replace(side, text=f"{side.value} {item.unit}") for side in (a, b))
    return Difference(section=section, what=item.what, where=where, unit=item.unit, a=a, b=b, worse=worse)
