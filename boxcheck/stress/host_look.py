"""The host looks too: parts of what a device must hold, read by the host and compared with numpy's words.

A device's own comparison can go blind, and a driver can take orders and do nothing; both say "0 wrong". What the host
reads then is not what must be there. Read are a few KiB, at other places each time: 64 KiB over a link of 1 GB/s take
0.1 ms, so a look after each piece of work, of 50 ms and more at full size, costs less than 1 % of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from boxcheck.gpu import Buffer, Gpu
from boxcheck.kernels import reference
from boxcheck.stress import WrongWord, bits_word
from boxcheck.stress.transfers import GRANULE, MOST_WORDS, differences

PLACES, PLACE_BYTES = 4, 1024
"""Of a buffer, so many places of so many bytes are looked at where a caller names no others."""
UNSEEN = "the GPU's own comparison saw nothing wrong"
Expected: TypeAlias = Callable[[int, int], npt.NDArray[np.uint32]]
"""The words that must be there: of a buffer from this granule on, so many granules."""
_compare = ctypes.CDLL(None).memcmp
_compare.argtypes, _compare.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int


class Seen(msgspec.Struct):
    """What the host found wrong: all counted, the first named."""

    wrong: int = 0
    words: list[WrongWord] = []

    def add(self, other: Seen) -> None:
        self.wrong += other.wrong
        self.words = (self.words + other.words)[:MOST_WORDS]


def same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Whether two contiguous arrays of one size hold the same bytes. By the C library's memcmp: more than twice as fast
    as numpy, which makes an array of truth values first."""
    return bool(_compare(one.ctypes.data, other.ctypes.data, one.nbytes) == 0)


def look(
    gpu: Gpu, buffer: Buffer, granules: int, expected: Expected, turn: int, *, places: int = PLACES,
    place_bytes: int = PLACE_BYTES, where: Callable[[int], str] = lambda word: f"byte 0x{4 * word:x}",
) -> Seen:
    """Words of the first `granules` of a buffer that the host finds wrong, at places that change with the `turn`.

    For what the device's own comparison called right, or has yet to see. All work on the buffer must be done, or be on
    queue 0; `gpu` must be the one without a fault put in. `where` says of a word's index where it lies.
    """
    seen = Seen()
    size = min(place_bytes // GRANULE, granules)
    for place in range(places if size else 0):
        first = place_of(turn, place, granules - size + 1)
        found = gpu.read(buffer, size * GRANULE, first * GRANULE).view(np.uint32)
        wanted = expected(first, size)
        if not same(found, wanted):
            wrong = differences(found, wanted)
            seen.add(Seen(len(wrong), [
                WrongWord(
                    index=4 * first + word, expected=want, found=have, kind=f"{bits_word(want, have)}; {UNSEEN}",
                    where=f"{where(4 * first + word)}, read by the host")
                for word, want, have in wrong[:MOST_WORDS]]))
    return seen


def place_of(turn: int, place: int, count: int) -> int:
    """One of `count` places, another for each turn. Spread by the mixing of the kernels' patterns, twice."""
    mixed = reference.mix(int(reference.mix(turn & 0xFFFFFFFF)) ^ (place * 0x9E3779B9 & 0xFFFFFFFF))
    return int(mixed) * count >> 32
