"""Patterns for main memory: what every word must hold, made a chunk at a time, and what a wrong word looks like.

A keyed word is T[place in its chunk] + K[chunk], modulo 2^64. T and K are hashes (splitmix64), new for each pass, and
chunks are counted over the whole test, so that no two words of a pass are alike but by chance (once in 2^64) and a word
that is out of place tells the place that it was meant for. It takes one addition a word to make, so that the memory and
not the arithmetic sets the pace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from boxcheck.stress import bits_word

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
CHUNK_WORDS = 1 << 14
CHUNK_BYTES = 8 * CHUNK_WORDS
"""128 KiB: two of them fit a second-level cache, beside what is being compared."""
Family = Literal["address", "retention", "inversion", "random"]


@np.errstate(over="ignore")
def splitmix(x: Any) -> U64:
    """A bijection of 64-bit words that spreads each bit (Steele, Lea, Flood: "Fast splittable pseudorandom number
    generators", OOPSLA 2014; Vigna's splitmix64)."""
    x = np.asarray(x, np.uint64) * np.uint64(1)
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)


class Pattern(msgspec.Struct, frozen=True):
    """What all words of a pass hold."""

    kind: Literal["keyed", "word"]
    key: int
    """Of the hashes; or the word itself."""

    def __str__(self) -> str:
        return f"0x{self.key:016x} everywhere" if self.kind == "word" else f"keyed by place, key 0x{self.key:x}"


class Maker:
    """Makes a pattern, chunk by chunk, into one buffer that stays in the cache."""

    def __init__(self, pattern: Pattern, first: int, chunks: int) -> None:
        """For `chunks` chunks from the test's chunk `first` on."""
        self.pattern = pattern
        self._first = first
        if pattern.kind == "keyed":
            self.template = splitmix(np.arange(CHUNK_WORDS, dtype=np.uint64) ^ np.uint64(pattern.key))
            numbers = np.arange(first, first + chunks, dtype=np.uint64)
            self.keys = splitmix(numbers ^ splitmix(np.uint64(pattern.key ^ 0x5851F42D4C957F2D)))
        else:
            self.template = np.full(CHUNK_WORDS, pattern.key, np.uint64)
            self.keys = np.zeros(chunks, np.uint64)

    def into(self, chunk: int, target: U64) -> None:
        """Writes what a chunk must hold. `chunk` counts from this part's first."""
        np.add(self.template, self.keys[chunk], out=target)

    @np.errstate(over="ignore")
    def meant_for(self, chunk: int, place: int, value: int) -> tuple[int, int] | None:
        """Chunk (of this part) and place whose word this value is; None where it is no word of the pattern that lies at
        the same place of another chunk, or in the same chunk: an address line that fails exchanges these."""
        if self.pattern.kind != "keyed":
            return None
        word = np.uint64(value)
        others = np.flatnonzero(self.keys == word - self.template[place])
        if len(others):
            return int(others[0]), place
        places = np.flatnonzero(self.template == word - self.keys[chunk])
        return (chunk, int(places[0])) if len(places) else None


def likeness(
    expected: int, found: int, before: int | None, elsewhere: Callable[[], tuple[int, int] | None]
) -> str:
    """What a wrong word looks like: `one bit`, `not written`, `meant for ...`, `12 bits`."""
    if (expected ^ found).bit_count() == 1:
        return "one bit"
    if before is not None and found == before:
        return "not written: what it held before"
    place = elsewhere()
    if place is not None:
        return f"meant for chunk {place[0]}, word {place[1]}"
    return bits_word(expected, found)
