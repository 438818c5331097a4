"""What crosses the network: blocks of which every byte is known to both ends, made and compared a block at a time.

A word of a block is T[place in the block] + K[stream, direction, number of the block], modulo 2^64. T and K are hashes
(splitmix64) of the seed that the connecting end chose, so a block of another stream, of another place or of the time
before is as wrong as a flipped bit. A block begins with a header of four words: what it is, its number, and how many
bytes its sender has verified and found wrong on the same stream until then, so that both ends know of both directions.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from boxcheck.stress import WrongWord
from boxcheck.stress.host_memory_patterns import U64, splitmix

BLOCK_BYTES = 1 << 18
"""256 KiB: with what it is compared with it fits a second-level cache."""
WORDS = BLOCK_BYTES // 8
HEADER_WORDS = 4
DATA, END = 0x626F7864617461, 0x626F78656E64
"""What a block is: data, or the last one of its sender."""
MOST_WORDS = 16
MASK = (1 << 64) - 1


class Keys:
    """One stream's payload in one direction."""

    def __init__(self, seed: int, stream: int, direction: int) -> None:
        """`direction`: 0 from the connecting end to the listening one, 1 the other way."""
        self._template: U64 = splitmix(np.arange(WORDS, dtype=np.uint64) ^ np.uint64(seed & MASK))
        self._base = int(splitmix(np.uint64((seed ^ (stream << 1) ^ direction ^ 0x5851F42D4C957F2D) & MASK)))
        self._expected: U64 = np.empty(WORDS, np.uint64)
        self._equal = np.empty(WORDS - HEADER_WORDS, np.bool_)

    def key(self, number: int) -> np.uint64:
        return np.uint64(int(splitmix(np.uint64((self._base + number) & MASK))))

    def fill(self, block: U64, number: int, kind: int, verified: int, wrong: int) -> None:
        """Makes a block in place."""
        np.add(self._template, self.key(number), out=block)
        block[0], block[1], block[2], block[3] = kind, number, verified, wrong

    def compare(self, block: U64, number: int) -> tuple[int, tuple[WrongWord, ...]]:
        """Bytes of a block that are wrong, of its number and its payload, and the first words of them."""
        np.subtract(block, self._template, out=self._expected)
        np.equal(self._expected[HEADER_WORDS:], self.key(number), out=self._equal)
        right = bool(self._equal.all()) and int(block[1]) == number and int(block[0]) in (DATA, END)
        return (0, ()) if right else self._differences(block, number)

    def _differences(self, block: U64, number: int) -> tuple[int, tuple[WrongWord, ...]]:
        wanted = self._template + self.key(number)
        # What a header says of the other direction cannot be known; that it is a header, and which, can.
        wanted[0] = block[0] if int(block[0]) in (DATA, END) else DATA
        wanted[1], wanted[2], wanted[3] = number, block[2], block[3]
        places = np.flatnonzero(block != wanted)
        wrong = int(np.count_nonzero(block.view(np.uint8) != wanted.view(np.uint8)))
        return wrong, tuple(_word(number, int(place), wanted, block) for place in places[:MOST_WORDS])


def _word(number: int, place: int, wanted: U64, block: U64) -> WrongWord:
    from boxcheck.stress import bits_word

    offset = number * BLOCK_BYTES + 8 * place
    expected, found = int(wanted[place]), int(block[place])
    return WrongWord(
        index=offset // 4, expected=expected, found=found, where=f"byte {offset} of the stream",
        kind="header" if place < HEADER_WORDS else bits_word(expected, found))


class Header(msgspec.Struct, frozen=True):
    """What a block says of itself and of the other direction."""

    kind: int
    number: int
    verified: int
    wrong: int


def header_of(block: Any) -> Header:
    return Header(*(int(word) for word in block[:HEADER_WORDS]))
