"""What differs between two sides, as it is told. Plain data; JSON is its form."""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.compare.matching import Sameness
from boxcheck.compare.side import Input
from boxcheck.model import Outcome, Scalar

SCHEMA = "boxcheck.comparison/1"
Section = Literal["outcome", "still", "machine", "measured", "setup", "unread", "one-sided"]
SECTIONS: tuple[Section, ...] = ("outcome", "still", "machine", "measured", "setup", "unread", "one-sided")
"""Judged otherwise; not passed on either side; what the box has; what was measured; profile, limits and versions; read
on one side alone; on one side alone."""
CHANGES: frozenset[Section] = frozenset(("outcome", "machine", "measured", "setup"))


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a difference."""

    text: str
    """`x16`, `fail  8 lanes`, `not read: needs root`."""
    state: Literal["read", "unread", "none"] = "read"
    """`none`: it has no such thing, or nobody looked there."""
    value: Scalar | None = None
    outcome: str | None = None
    samples: int | None = None
    deviation: float | None = None
    """Median absolute deviation of the samples."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    section: Section
    what: str
    where: str
    """Slot, address or name; empty: the box."""
    by: str = ""
    """What did the work, as far as that tells one rate from another."""
    unit: str = ""
    a: Value
    b: Value
    change: str = ""
    """`-4.0 %`."""
    says: str = ""
    """What makes it a difference, or why it is not known."""
    worse: bool | None = None
    """Whether B is worse off; null where neither is."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    version: str
    a: Input
    b: Input
    box: Sameness
    """`one`: one box twice; `two`: two boxes; `unknown`: nothing tells, and it is compared as one."""
    box_says: str
    told: tuple[str, ...]
    """Cards that moved or were exchanged, what could not be compared as a whole and why."""
    differences: tuple[Difference, ...]
    same: int
    """Values that are alike on both sides."""
    unread_in_both: int
    """Neither side read them: nobody knows whether they are alike."""
    not_compared: int
    """Judgements, phases and whole parts of a side that have nothing on the other side to be compared with: `told`
    says which."""

    @property
    def changes(self) -> int:
        return sum(1 for one in self.differences if one.section in CHANGES)

    @property
    def unread(self) -> int:
        """Of what nobody knows whether it is alike: not read or not compared, or there on one side alone."""
        alone = sum(1 for one in self.differences if one.section in ("unread", "one-sided"))
        return alone + self.unread_in_both + self.not_compared


class Tally:
    """What was found so far."""

    def __init__(self) -> None:
        self.found: list[Difference] = []
        self.told: list[str] = []
        self.same = self.unread = self.not_compared = 0

    def leave_out(self, text: str, count: int = 1) -> None:
        """Tells of so many things that were not compared."""
        self.told.append(text)
        self.not_compared += count


def is_worse(one: str | None, other: str | None) -> bool | None:
    """Whether the second outcome is the graver; None where neither is."""
    if one is None or other is None or one == other:
        return None
    return Outcome(other).rank < Outcome(one).rank
