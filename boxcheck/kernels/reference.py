"""The numpy oracle of the data functions and of every portable kernel: written from their description, not their text.

Arrays are 1-D unless said. All integer arithmetic is modulo 2^32 or 2^64, as on the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from boxcheck.kernels.matrix import ELEMENTS, ElementName, Layout

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@np.errstate(over="ignore")
def mix(x: Any) -> U32:
    """The bijection of 32-bit words that all data comes from."""
    x = np.asarray(x, np.uint32)
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return np.asarray(x ^ (x >> np.uint32(16)), np.uint32)


@np.errstate(over="ignore")
def unmix(x: Any) -> U32:
    """The inverse of `mix`: which word a value was made from."""
    x = np.asarray(x, np.uint32)
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(pow(0x846CA68B, -1, 1 << 32))
    x = x ^ (x >> np.uint32(15)) ^ (x >> np.uint32(30))
    x = x * np.uint32(pow(0x7FEB352D, -1, 1 << 32))
    return np.asarray(x ^ (x >> np.uint32(16)), np.uint32)


def weights(seed: int, count: int) -> U64:
    """Odd weights of the columns, shape (count,)."""
    return (mix(np.arange(count, dtype=np.uint32) ^ np.uint32(seed)) | np.uint32(1)).astype(np.uint64)


def hashes(seed: int, side: int, rows: npt.NDArray[Any], depth: npt.NDArray[Any]) -> U32:
    """Element hashes, shape (len(rows), len(depth))."""
    inner = mix(np.asarray(rows, np.uint32) + np.uint32(seed))
    return mix((np.asarray(depth, np.uint32)[None, :] ^ inner[:, None]) + np.uint32(side * 0x9E3779B9))


def exact(element: ElementName, seed: int, side: int, rows: npt.NDArray[Any], depth: npt.NDArray[Any]) -> I64:
    """The integers of exact data, shape (len(rows), len(depth)). `side` is 0 for A, 1 for B."""
    h = hashes(seed, side, rows, depth)
    if element == "int8":
        return (h >> np.uint32(24)).astype(np.int64) - 128
    kind = ELEMENTS[element]
    most = np.where((np.asarray(depth, np.int64) ^ side) & 1, kind.odd, kind.even).astype(np.uint64)
    return (((h.astype(np.uint64) * (2 * most + np.uint64(1))) >> _32).astype(np.int64)) - most.astype(np.int64)


def narrow(element: ElementName, bits: U32) -> U32:
    """Bits of fp32 (zero or normal there) to those of the element, cut off behind its mantissa."""
    sign, rest = bits >> np.uint32(31), bits & np.uint32(0x7FFFFFFF)
    if element == "fp16":
        small = np.where(rest == 0, 0, (rest - np.uint32(112 << 23)) >> np.uint32(13))
        return ((sign << np.uint32(15)) | small).astype(np.uint32)
    if element == "bf16":
        return np.asarray(bits >> np.uint32(16), np.uint32)
    if element == "e4m3":
        small = np.where(rest == 0, 0, (rest - np.uint32(120 << 23)) >> np.uint32(20))
        return ((sign << np.uint32(7)) | small).astype(np.uint32)
    return np.asarray(bits & np.uint32(0xFFFFE000), np.uint32) if element == "tf32" else bits


def widen(element: ElementName, bits: U32) -> npt.NDArray[np.float32]:
    """The element's bits to fp32. int8 is not a float."""
    if element == "fp16":
        rest = bits & np.uint32(0x7FFF)
        wide = np.where(rest == 0, 0, (rest << np.uint32(13)) + np.uint32(112 << 23)) | ((bits >> np.uint32(15)) << 31)
    elif element == "bf16":
        wide = bits << np.uint32(16)
    elif element == "e4m3":
        rest = bits & np.uint32(0x7F)
        wide = np.where(rest == 0, 0, (rest << np.uint32(20)) + np.uint32(120 << 23)) | ((bits >> np.uint32(7)) << 31)
    else:
        wide = bits
    return np.ascontiguousarray(wide, np.uint32).view(np.float32)


def elements(
    element: ElementName, seed: int, side: int, rows: npt.NDArray[Any], depth: npt.NDArray[Any], random: bool
) -> U32:
    """Bits of the elements, shape (len(rows), len(depth))."""
    if element == "int8":
        return (exact(element, seed, side, rows, depth) & 0xFF).astype(np.uint32)
    if random:
        h = hashes(seed, side, rows, depth)
        exponent = (np.uint32(124) + ((h >> np.uint32(23)) & np.uint32(3))) << np.uint32(23)
        return narrow(element, (h & np.uint32(0x807FFFFF)) | exponent)
    values = exact(element, seed, side, rows, depth).astype(np.float32)
    return narrow(element, values.view(np.uint32))


def matrix(
    element: ElementName, rows: int, depth: int, seed: int, side: int, random: bool = False, layout: Layout = "k-major"
) -> U32:
    """A stored matrix as 32-bit words, in the order in which it lies in memory. Shape (rows * depth * bytes / 4,)."""
    bits = elements(element, seed, side, np.arange(rows), np.arange(depth), random)
    if layout == "k-outer":
        bits = bits.T
    kinds: dict[int, type[np.unsignedinteger[Any]]] = {1: np.uint8, 2: np.uint16, 4: np.uint32}
    return np.ascontiguousarray(bits).astype(kinds[ELEMENTS[element].bytes]).reshape(-1).view(np.uint32)


def product(element: ElementName, m: int, n: int, k: int, seed_a: int, seed_b: int) -> I64:
    """The exact product of exact data, shape (m, n)."""
    a = exact(element, seed_a, 0, np.arange(m), np.arange(k))
    b = exact(element, seed_b, 1, np.arange(n), np.arange(k))
    return np.asarray(a.astype(np.float64) @ b.T.astype(np.float64)).astype(np.int64)


def row_sums(element: ElementName, m: int, n: int, k: int, seeds: tuple[int, int, int, int]) -> tuple[U64, U64]:
    """The two weighted row sums of the exact product, modulo 2^64; seeds of A, B, r and s. Shapes (m,)."""
    a = exact(element, seeds[0], 0, np.arange(m), np.arange(k)).astype(np.uint64)
    b = exact(element, seeds[1], 1, np.arange(n), np.arange(k)).astype(np.uint64)
    first, second = (a @ (b.T @ weights(seed, n)) for seed in seeds[2:])
    return np.asarray(first, np.uint64), np.asarray(second, np.uint64)


def digest(words: U32) -> int:
    """Digest of a buffer."""
    index = np.arange(len(words), dtype=np.uint64)
    place = (index & _LOW).astype(np.uint32) + np.uint32(0x9E3779B9) * (index >> _32).astype(np.uint32)
    low = mix(words ^ mix(place))
    each = (mix(low ^ np.uint32(0x5BD1E995)).astype(np.uint64) << _32) | low
    return int(each.sum(dtype=np.uint64))


def pattern(first: int, count: int, kind: int, key: int) -> U32:
    """Words of `count` granules of memory from the region's granule `first` on. Shape (4 * count,)."""
    granule = np.arange(count, dtype=np.uint64) + np.uint64(first)
    low, high = (granule & _LOW).astype(np.uint32), (granule >> _32).astype(np.uint32)
    out = np.empty((count, 4), np.uint32)
    if kind == 0:
        m = mix(low ^ mix(high ^ np.uint32(key)))
        for lane, (factor, more) in enumerate(LANES):
            out[:, lane] = m * np.uint32(factor) + np.uint32(more)
    elif kind == 1:
        out[:] = np.uint32(key)
    else:
        for lane in range(4):
            shift = (low * np.uint32(4) + np.uint32(key) + np.uint32(lane)) & np.uint32(31)
            out[:, lane] = np.uint32(1) << shift
        if kind == 3:
            out = ~out
    return out.reshape(-1)


LANES = ((1, 0), (0x9E3779B1, 0x165667B1), (0x85EBCA77, 0x27D4EB2F), (0xC2B2AE3D, 0x61C88647))
"""How each word of a granule follows from the granule's value: factor and addend modulo 2^32."""


def meant_for(word_index: int, value: int, key: int) -> int:
    """The granule, below 2^32 and in the same 2^32 as `word_index`, whose word in this lane holds `value` under `key`:
    where a misplaced address-keyed word was meant to be."""
    factor, more = LANES[word_index % 4]
    granule = word_index // 4
    made = ((value - more) * pow(factor, -1, 1 << 32)) & 0xFFFFFFFF
    high = granule >> 32
    low = int(unmix(np.uint32(made))) ^ int(mix(np.uint32(high ^ key)))
    return (high << 32) | low
