"""Wrong words of memory with all that is known of each, and the faults that they are signs of."""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.stress.vram_patterns import Pattern
from boxcheck.stress.vram_region import Pass

FaultKind = Literal[
    "read",  # stored right, read wrong
    "lost-write",  # holds what was there before
    "address-line",  # holds what was meant for an address that differs in one bit
    "misplaced",  # holds what was meant for another address
    "data-line",  # the same few bits of the word at many addresses
    "range",  # whole sectors of 32 bytes and more
    "cell",  # one bit of one word
    "cells",  # single bits at few addresses
    "scattered",  # single bits, all over
    "garbled",  # many bits of single words
]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One wrong word of one pass."""

    index: int
    """Of the word in the region."""
    expected: int
    found: int
    again: int | None = None
    """Read again at once, past the compiler and the nearest cache."""
    pattern: Pattern
    """What it was compared with."""
    before: Pattern | None = None
    """What the region held before that pattern was written."""
    after: Pattern | None = None
    """What the pass wrote over it when it had compared."""
    number: int = 0
    """Of the pass."""
    block_first: int = 0
    """Index of the first word of its block."""
    block_wrong: int = 1
    """How many words of its block this pass found wrong."""
    later: tuple[int, ...] = ()
    """Whether later reads, after other traffic, were wrong: 1 or 0 each."""
    rewritten: bool = False
    """Whether another pattern was written before those later reads."""
    retests: tuple[int, int] | None = None
    """How often it was wrong again when its neighbourhood was written and read anew, of how many times."""

    @property
    def flipped(self) -> int:
        return self.expected ^ self.found


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What some of the records have in common."""

    kind: FaultKind
    words: int
    says: str
    """In words for a person."""


def records_of(
    done: Pass, number: int, pattern: Pattern, before: Pattern, after: Pattern | None
) -> list[Record]:
    """Of a pass: what its blocks noted."""
    return [
        Record(
            index=index, expected=expected, found=found, again=again, pattern=pattern, before=before, after=after,
            number=number, block_first=4 * wrong.block.first, block_wrong=wrong.count)
        for wrong in done.wrong for index, expected, found, again in wrong.records]


def spread(records: list[Record], most: int) -> list[Record]:
    """At most so many, from all blocks alike."""
    by_block: dict[int, list[Record]] = {}
    for record in records:
        by_block.setdefault(record.block_first, []).append(record)
    each = max(1, most // len(by_block))
    return [record for mine in by_block.values() for record in mine[:each]][:most]
