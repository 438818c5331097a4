"""Triad and copy over arrays of doubles, each word of which has one right value.

triad  a = b + s c, as in STREAM (J. McCalpin): 24 bytes a word, the same count as there. A part of s c at a time is
       made in the cache; memory sees two reads and a write, and the read of a line before it is written, not counted.
copy   a = c, 16 bytes a word, by the C library, which writes past the caches where that is faster.
"""

from __future__ import annotations

import numpy as np

from boxcheck.stress import WrongWord, bits_word
from boxcheck.stress.host_memory_pages import fresh, where
from boxcheck.stress.host_memory_patterns import CHUNK_WORDS, splitmix

MOST_WORDS = 16
SCALES = (3.0, 5.0)
"""Of triad, by turns: a pass that was left out leaves other words."""
PRODUCT_WORDS = 4 * CHUNK_WORDS
"""Of s c at a time: 512 KiB stay in the cache, and calls of numpy are rare enough. One core reaches 83 % of
a triad in C then (34 of 41 GB/s on a Zen 5 that has the memory for itself; 75 % with a quarter of that)."""
STEP = float(1 << 37)
"""Between chunks of b and c. Their words are integers below 2^36 + 2^37 * 2^11, so a < 2^48 * (1 + 5) is exact."""
MOST_CHUNKS = 1 << 11


class Streams:
    """Three arrays of doubles, and what is done to them."""

    def __init__(self, words: int, seed: int) -> None:
        self.chunks = min(MOST_CHUNKS, max(1, words // CHUNK_WORDS))
        size = self.chunks * CHUNK_WORDS
        self.a, self.b, self.c = (fresh(8 * size)[1].view(np.float64) for _ in range(3))
        base = splitmix(np.arange(2 * CHUNK_WORDS, dtype=np.uint64) ^ np.uint64(seed & 0xFFFFFFFF)) >> np.uint64(28)
        self._b, self._c = base.astype(np.float64).reshape(2, CHUNK_WORDS)
        self._temporary = np.empty(CHUNK_WORDS, np.float64)
        products = np.empty(PRODUCT_WORDS, np.float64)
        self._parts = [
            (a, self.b[at:at + PRODUCT_WORDS], self.c[at:at + PRODUCT_WORDS], products[:len(a)])
            for at in range(0, size, PRODUCT_WORDS) for a in (self.a[at:at + PRODUCT_WORDS],)]
        for at in self._slices():
            number = at.start // CHUNK_WORDS
            np.add(self._b, number * STEP, out=self.b[at])
            np.add(self._c, number * STEP, out=self.c[at])
            self.a[at] = 0.0

    def _slices(self) -> list[slice]:
        return [slice(at, at + CHUNK_WORDS) for at in range(0, self.chunks * CHUNK_WORDS, CHUNK_WORDS)]

    def triad(self, scale: float) -> None:
        for a, b, c, product in self._parts:
            np.multiply(c, scale, out=product)
            np.add(b, product, out=a)

    def copy(self) -> None:
        np.copyto(self.a, self.c)

    def wrong(self, scale: float | None) -> tuple[int, list[WrongWord]]:
        """How many words of the three arrays are not what they must be after triad (or copy, for None)."""
        if scale is None:
            template, step = self._c, STEP
        else:
            template, step = self._b + scale * self._c, STEP * (1.0 + scale)
        count, words = 0, []
        for name, array, made, far in (
                ("a", self.a, template, step), ("b", self.b, self._b, STEP), ("c", self.c, self._c, STEP)):
            for at in self._slices():
                np.add(made, at.start // CHUNK_WORDS * far, out=self._temporary)
                if np.array_equal(array[at], self._temporary):
                    continue
                wanted, found = self._temporary.view(np.uint64), array[at].view(np.uint64)
                places = np.flatnonzero(wanted != found)
                count += len(places)
                words += [WrongWord(
                    index=at.start + place, expected=int(wanted[place]), found=int(found[place]),
                    where=f"array {name}, {where(array, at.start + place)}",
                    kind=bits_word(int(wanted[place]), int(found[place])))
                    for place in places[:MOST_WORDS].tolist()]
        return count, words[:MOST_WORDS]
