"""What required checks found on three sides or more, where they did not find the same. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.compare.side import Side
from boxcheck.compare.wholes import passed_as_whole
from boxcheck.model import Finding, Outcome

GRAVE = (Outcome.FAIL, Outcome.MARGINAL)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One required check at one part that did not pass everywhere, and was not judged alike everywhere."""

    check: str
    where: str
    """Slot, name or address."""
    outcomes: Mapping[str, str]
    """By label of the side; of several findings the gravest, and `pass` where the check passed for all parts at once. A
    side that has none did not judge it."""


def judged_otherwise(sides: Sequence[Side]) -> tuple[Judged, ...]:
    """Checks that failed, or were marginal, on one side and not on all; whatever the phase that found it."""
    by_side = [(side, _gravest(side), _required(side)) for side in sides]
    made = []
    for check, where in sorted({key for _, some, _ in by_side for key in some}):
        there = [side for side, some, _ in by_side if (check, where) in some]
        outcomes = {
            side.input.label: some.get((check, where), Outcome.PASS) for side, some, found in by_side
            if (check, where) in some or passed_as_whole(found.get(check, ()), side, there) is not None}
        alike = len(outcomes) == len(sides) and len(set(outcomes.values())) == 1
        if not alike and any(one in GRAVE for one in outcomes.values()):
            made.append(Judged(check=check, where=where, outcomes={
                label: outcome.value for label, outcome in outcomes.items()}))
    return tuple(made)


def unjudged(sides: Sequence[Side]) -> dict[str, tuple[int, int]]:
    """By label of the side: required findings that it could not make, and required checks of other sides that it did
    not make at all."""
    required = {one.check for side in sides for some in side.found.values() for one in some if one.blocker}
    made = {}
    for side in sides:
        unread = sum(1 for outcome in _gravest(side).values() if outcome is Outcome.UNKNOWN)
        checks = {check for (_, check), some in side.found.items() if some}
        made[side.input.label] = unread, len(required - checks)
    return made


def _required(side: Side) -> dict[str, list[Finding]]:
    """By check, in whatever phase."""
    found: dict[str, list[Finding]] = {}
    for (_, check), some in side.found.items():
        found.setdefault(check, []).extend(one for one in some if one.blocker)
    return found


def _gravest(side: Side) -> dict[tuple[str, str], Outcome]:
    kept: dict[tuple[str, str], Outcome] = {}
    for check, some in _required(side).items():
        for one in some:
            key = check, str(one.subject)
            if key not in kept or one.outcome.rank < kept[key].rank:
                kept[key] = one.outcome
    return kept
