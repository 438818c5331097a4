"""What memory is filled with: patterns of 32-bit words that any place can be asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from boxcheck.kernels import reference

POISON = 0xD15EA5ED
"""What memory holds before the test writes to it."""
ADDRESS, WORD, WALKING_ONE, WALKING_ZERO = range(4)
"""Kinds of patterns, as memory.cu numbers them."""


class Pattern(msgspec.Struct, frozen=True):
    """What every word of the region must hold."""

    kind: int
    key: int

    def words(self, granule: int, count: int) -> Any:
        """The words of some granules, shape (4 * count,)."""
        return reference.pattern(granule, count, self.kind, self.key)

    def word(self, index: int) -> int:
        return int(self.words(index // 4, 1)[index % 4])

    def __str__(self) -> str:
        name = ("address-keyed", "the word", "walking ones", "walking zeros")[self.kind]
        return f"{name} 0x{self.key:08x}" if self.kind < WALKING_ONE else f"{name} from bit {self.key % 32}"
