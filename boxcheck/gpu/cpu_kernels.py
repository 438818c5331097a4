"""The portable kernels for the CPU backend, by the numpy oracle: same names, same arguments, buffers as bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcheck.kernels import Source, reference
from boxcheck.kernels.matrix import ELEMENTS, ElementName

Bytes = npt.NDArray[np.uint8]
_BLOCK = 1 << 13
"""Granules worked on at once. Temporary arrays stay in the cache, and below the 128 KiB from which malloc maps each one
anew (mallopt(3), M_MMAP_THRESHOLD): four times as fast as blocks of 1 << 18."""
_ROWS = 512


def _element(source: Source) -> ElementName:
    code = int(dict(source.defines)["BC_ELEMENT"])
    return next(element.name for element in ELEMENTS.values() if element.code == code)


def _note(errors: Bytes, most: int, index: Any, expected: Any, found: Any) -> None:
    """Counts wrong words and keeps the first ones, laid out as prelude.h says."""
    if not len(index):
        return
    out = errors.view(np.uint32)
    at = int(out[0])
    out[:2] = ((at + len(index)) & 0xFFFFFFFF, 1)
    room = max(0, most - at)
    for word, want, have in zip(
            index[:room].tolist(), expected[:room].tolist(), found[:room].tolist(), strict=True):
        out[4 + 6 * at:10 + 6 * at] = (word & 0xFFFFFFFF, word >> 32, want, have, have, 0)
        at += 1


def _matrix(source: Source, rows: int, depth: int, seed: int, side: int, random: int, outer: int) -> Any:
    layout: Any = "k-outer" if outer else "k-major"
    return reference.matrix(_element(source), rows, depth, seed, side, bool(random), layout)


def _fill_matrix(source: Source, out: Bytes, *shape: int) -> None:
    words = _matrix(source, *shape)
    out[:words.nbytes] = words.view(np.uint8)


def _check_matrix(source: Source, stored: Bytes, *rest: Any) -> None:
    *shape, errors, most = rest
    expected = _matrix(source, *shape)
    found = stored[:expected.nbytes].view(np.uint32)
    wrong = np.flatnonzero(found != expected)
    _note(errors, most, wrong, expected[wrong], found[wrong])


def _values(element: ElementName, stored: Bytes, rows: int, depth: int) -> npt.NDArray[np.float32]:
    kind: Any = {1: np.uint8, 2: np.uint16, 4: np.uint32}[ELEMENTS[element].bytes]
    bits = stored[:rows * depth * ELEMENTS[element].bytes].view(kind)
    values: npt.NDArray[np.float32] = (
        bits.view(np.int8).astype(np.float32) if element == "int8" else
        reference.widen(element, bits.astype(np.uint32)))
    return values.reshape(rows, depth)


def _matmul(source: Source, a: Bytes, b: Bytes, c: Bytes, m: int, n: int, k: int) -> None:
    element = _element(source)
    left, right = _values(element, a, m, k), _values(element, b, n, k)
    if element == "int8":  # sums of more than 2^24 need the wider type
        sums = (left.astype(np.float64) @ right.T.astype(np.float64)).astype(np.int32)
        c[:4 * m * n].view(np.int32)[:] = sums.reshape(-1)
    else:
        with np.errstate(invalid="ignore", over="ignore"):  # a flipped bit may be an infinity
            np.matmul(left, right.T, out=c[:4 * m * n].view(np.float32).reshape(m, n))


def _fold_b(source: Source, t: Bytes, u: Bytes, n: int, k: int, seed_b: int, seed_r: int, seed_s: int) -> None:
    for out, seed in ((t, seed_r), (u, seed_s)):
        weights, sums = reference.weights(seed, n), np.zeros(k, np.uint64)
        for at in range(0, n, _ROWS):
            rows = np.arange(at, min(n, at + _ROWS))
            values = reference.exact(_element(source), seed_b, 1, rows, np.arange(k)).astype(np.uint64)
            sums += weights[rows] @ values
        out[:8 * k].view(np.uint64)[:] = sums


def _fold_a(source: Source, y: Bytes, z: Bytes, t: Bytes, u: Bytes, m: int, k: int, seed_a: int) -> None:
    for at in range(0, m, _ROWS):
        rows = np.arange(at, min(m, at + _ROWS))
        values = reference.exact(_element(source), seed_a, 0, rows, np.arange(k)).astype(np.uint64)
        for out, folded in ((y, t), (z, u)):
            out.view(np.uint64)[rows] = values @ folded[:8 * k].view(np.uint64)


@lru_cache(maxsize=4)
def _weights(seed: int, count: int) -> Any:
    return reference.weights(seed, count)


def _check_rows(
    source: Source, c: Bytes, y: Bytes, z: Bytes, n: int, seed_r: int, seed_s: int, errors: Bytes, most: int
) -> None:
    rows = len(c) // (4 * n)
    if _element(source) == "int8":
        values = c[:4 * rows * n].view(np.int32).reshape(rows, n).astype(np.int64)
        odd = np.zeros(rows, np.int64)
    else:
        real = c[:4 * rows * n].view(np.float32).reshape(rows, n)
        with np.errstate(invalid="ignore"):
            good = (np.abs(real) <= 16777216.0) & (np.trunc(real) == real)
        values, odd = np.where(good, real, 0).astype(np.int64), (~good).sum(axis=1)
    first, second = (values.astype(np.uint64) @ _weights(seed, n) for seed in (seed_r, seed_s))
    first, second = first - y[:8 * rows].view(np.uint64), second - z[:8 * rows].view(np.uint64)
    out = errors.view(np.uint32)
    for row in np.flatnonzero((first != 0) | (second != 0) | (odd != 0)).tolist():
        at = int(out[0])
        out[:2] = ((at + 1) & 0xFFFFFFFF, 1)
        if at < most:
            out[4 + 8 * at:6 + 8 * at] = (row, odd[row])
            out[6 + 8 * at:10 + 8 * at] = np.array([first[row], second[row]], np.uint64).view(np.uint32)


def _digest(source: Source, data: Bytes, words: int, parts: Bytes) -> None:
    out = parts.view(np.uint64)
    out[:(words + 4095) // 4096] = 0
    out[0] = reference.digest(data[:4 * words].view(np.uint32))


def _digest_fill(source: Source, data: Bytes, words: int, fill: int, parts: Bytes) -> None:
    _digest(source, data, words, parts)
    data[:4 * words].view(np.uint32)[:] = fill


def _digest_total(source: Source, parts: Bytes, count: int, out: Bytes, slot: int) -> None:
    out.view(np.uint64)[slot] = parts.view(np.uint64)[:count].sum(dtype=np.uint64)


def _blocks(count: int) -> list[tuple[int, int]]:
    return [(at, min(_BLOCK, count - at)) for at in range(0, count, _BLOCK)]


def _memory_fill(source: Source, memory: Bytes, first: int, count: int, kind: int, key: int) -> None:
    for at, some in _blocks(count):
        memory[16 * at:16 * (at + some)].view(np.uint32)[:] = reference.pattern(first + at, some, kind, key)


def _compare(memory: Bytes, first: int, at: int, expected: Any, errors: Bytes, most: int) -> None:
    found = memory[16 * at:16 * at + expected.nbytes].view(np.uint32)
    wrong = np.flatnonzero(found != expected)
    _note(errors, most, wrong + 4 * (first + at), expected[wrong], found[wrong])


def _memory_check(
    source: Source, memory: Bytes, first: int, count: int, kind: int, key: int, errors: Bytes, most: int
) -> None:
    for at, some in _blocks(count):
        _compare(memory, first, at, reference.pattern(first + at, some, kind, key), errors, most)


def _memory_check_fill(
    source: Source, memory: Bytes, first: int, count: int, kind: int, key: int, next_kind: int, next_key: int,
    down: int, errors: Bytes, most: int,
) -> None:
    for at, some in reversed(_blocks(count)) if down else _blocks(count):
        _compare(memory, first, at, reference.pattern(first + at, some, kind, key), errors, most)
        memory[16 * at:16 * (at + some)].view(np.uint32)[:] = reference.pattern(first + at, some, next_kind, next_key)


def _copy(source: Source, target: Bytes, origin: Bytes, count: int) -> None:
    target[:16 * count] = origin[:16 * count]


def _add(source: Source, target: Bytes, more: Bytes, count: int) -> None:
    target[:16 * count].view(np.uint32)[:] += more[:16 * count].view(np.uint32)


def _sum_check(
    source: Source, memory: Bytes, first: int, count: int, key: int, ranks: int, errors: Bytes, most: int
) -> None:
    for at, some in _blocks(count):
        total = np.zeros(4 * some, np.uint32)
        for rank in range(ranks):
            total += reference.pattern(first + at, some, 0, (key + rank) & 0xFFFFFFFF)
        _compare(memory, first, at, total, errors, most)


def _chase(source: Source, chain: Bytes, steps: int, out: Bytes) -> None:
    links, at = chain.view(np.uint32), 0
    for _ in range(steps):
        at = int(links[at])
    out.view(np.uint32)[0] = at


KERNELS: dict[str, Callable[..., None]] = {
    "bc_fill_matrix": _fill_matrix, "bc_check_matrix": _check_matrix, "bc_matmul": _matmul, "bc_fold_b": _fold_b,
    "bc_fold_a": _fold_a, "bc_check_rows": _check_rows, "bc_digest": _digest, "bc_digest_fill": _digest_fill,
    "bc_digest_total": _digest_total,
    "bc_memory_fill": _memory_fill, "bc_memory_check": _memory_check, "bc_memory_check_fill": _memory_check_fill,
    "bc_copy": _copy, "bc_add": _add, "bc_sum_check": _sum_check, "bc_chase": _chase,
}
