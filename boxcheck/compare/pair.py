"""Two sides beside each other: what differs, the gravest first, and what nobody read. Pure.

What is alike is only counted. Nothing is alike that one of them did not read: it is told as unread, or counted as read
by neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boxcheck.compare.difference import SECTIONS, Comparison, Difference, Tally, Value, is_worse
from boxcheck.compare.matching import boxes, matches, told
from boxcheck.compare.pair_judged import judgements
from boxcheck.compare.pair_machine import devices, items
from boxcheck.compare.pair_measured import measured
from boxcheck.compare.side import Input, Side
from boxcheck.engine.figures import Card
from boxcheck.model import Limit, Outcome
from boxcheck.store.texts import decode_plain

VERDICT = "verdict"


def compare(a: Side, b: Side, version: str) -> Comparison:
    """The differences from `a` to `b`."""
    same, says = boxes(a.input.box, b.input.box, a.cards, b.cards, a.redacted or b.redacted)
    hashed = a.redacted or b.redacted
    cards = [_bare(side.cards) if hashed else side.cards for side in (a, b)]
    found = matches(cards[0], cards[1], same)
    tally = Tally()
    tally.told += told(found, a.cards, b.cards, same) if not hashed else []
    if a.input.began is not None and b.input.began is not None and b.input.began < a.input.began:
        tally.told.append("B is older than A: what is told is the way from A to B all the same")
    _verdicts(tally, a.input, b.input)
    judgements(tally, a, b, found, same)
    devices(tally, a, b, found)
    items(tally, a, b, found, same)
    measured(tally, a, b, found)
    _limits(tally, a, b)
    tally.found.sort(key=_gravity)
    made = Comparison(
        version=version, a=a.input, b=b.input, box=same, box_says=says, told=tuple(dict.fromkeys(tally.told)),
        differences=tuple(tally.found), same=tally.same, unread_in_both=tally.unread,
        not_compared=tally.not_compared)
    plain: Comparison = decode_plain(msgspec.json.encode(made), Comparison)  # names come from elsewhere
    return plain


def _bare(cards: Sequence[Card]) -> tuple[Card, ...]:
    return tuple(msgspec.structs.replace(card, uuid=None, serial=None) for card in cards)


def _gravity(one: Difference) -> tuple[int, bool, bool, float]:
    """By section, the verdict first; what got worse before what got better; then the largest change first."""
    ranks = [Outcome(side.outcome).rank for side in (one.a, one.b) if side.outcome is not None]
    size = 0.0
    if isinstance(one.a.value, (int, float)) and isinstance(one.b.value, (int, float)) and one.a.value:
        size = abs(one.b.value - one.a.value) / abs(one.a.value)
    rank = min(ranks, default=9) - min(size, 1e9) / 1e10
    return SECTIONS.index(one.section), one.what != VERDICT, one.worse is not True, rank


def _verdicts(tally: Tally, a: Input, b: Input) -> None:
    one, other = (_verdict(side) for side in (a, b))
    if a.judged == b.judged and one.state == other.state == "read":
        tally.same += 1
        return
    if one.state == other.state == "unread":
        tally.unread += 1
        return
    tally.found.append(Difference(section="outcome", what=VERDICT, where="", a=one, b=other, worse=is_worse(
        one.outcome, other.outcome), says=b.reason if other.state == "read" else ""))


def _verdict(side: Input) -> Value:
    if side.outcome is None and side.disposition is None:
        return Value(text=f"no verdict: {side.reason or side.state or 'none is there'}", state="unread")
    return Value(text=side.disposition or side.outcome or "", value=side.disposition or side.outcome,
                 outcome=side.outcome)


def _limits(tally: Tally, a: Side, b: Side) -> None:
    one, other = a.input, b.input
    if one.profile is None and other.profile is None:
        tally.unread += 1
    elif one.profile_sha256 and one.profile_sha256 == other.profile_sha256 and one.profile == other.profile:
        tally.same += 1
    else:
        values = tuple(Value(text="not known", state="unread") if side.profile is None else Value(
            text=f"{side.profile} r{side.revision}", value=side.profile) for side in (one, other))
        if values[0].text != values[1].text or "" in (one.profile_sha256 or "", other.profile_sha256 or "") or (
                one.profile_sha256 != other.profile_sha256):
            tally.found.append(Difference(
                section="unread" if "unread" in (values[0].state, values[1].state) else "setup", what="profile",
                where="", a=values[0], b=values[1], says="its limits are others" if values[0].text == values[1].text
                else ""))
    if a.limits is None or b.limits is None:
        if not (one.profile_sha256 and one.profile_sha256 == other.profile_sha256):
            which = " and ".join(name for name, side in (("A", a), ("B", b)) if side.limits is None)
            tally.leave_out(f"limits are not compared: those of {which} are not known")
        return
    for name in sorted({*a.limits, *b.limits}):
        was, now = a.limits.get(name), b.limits.get(name)
        if was is not None and now is not None and (was.compare, was.must, was.should) == (
                now.compare, now.must, now.should):
            tally.same += 1
            continue
        tally.found.append(Difference(
            section="setup", what=f"limit {name}", where="", a=_limit(was), b=_limit(now),
            unit=(now or was).unit))  # type: ignore[union-attr]


def _limit(one: Limit | None) -> Value:
    if one is None:
        return Value(text="none", state="none")
    signs = {"ge": ">=", "le": "<=", "eq": "=", "in": "one of", "not-in": "none of", "info": ""}
    bounds = [f"{word} {signs[one.compare]} {_bound(value)} {one.unit}".replace("  ", " ").strip()
              for word, value in (("must", one.must), ("should", one.should)) if value is not None]
    return Value(text="; ".join(bounds) or "none")


def _bound(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list, set, frozenset)) else str(value)
