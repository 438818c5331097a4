"""How each portable kernel is launched under Oclgrind: small, and at every kind of end that its loops have.

A function gets a bench for one source, launches one kernel, and compares all that it wrote with the numpy oracle. Sizes:
less than a group's work, just a group's, some groups with an end that is not full.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from boxcheck.kernels import reference
from boxcheck.kernels.matrix import ELEMENTS
from tests.kernels.oclgrind_bench import Bench

Case: TypeAlias = Callable[[Bench], None]
CASES: dict[str, Case] = {}
"""By the kernel's name."""
GRANULES = ((0, 1), (3, 1024), ((1 << 32) - 2, 1300), ((5 << 32) + 7, 2100))
"""First granule of a buffer in its region, and how many: a group of the memory kernels works on 1024."""
KEY = 0xDEADBEE5


def case(kernel: str) -> Callable[[Case], Case]:
    def keep(function: Case) -> Case:
        assert kernel not in CASES
        CASES[kernel] = function
        return function

    return keep


def groups_of(count: int, each: int) -> int:
    return (count + each - 1) // each


def random_words(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32)


# Digests.


@case("bc_digest")
def digest(bench: Bench) -> None:
    for words in (1, 255, 4096, 4097, 8500):
        data, groups = random_words(words), groups_of(words, 4096)
        parts = bench.room(8 * groups)
        bench.launch("bc_digest", groups, bench.put(data), words, parts)
        # A digest is a sum: each part is the digest of the words before its end, less that of those before its start.
        until = [reference.digest(data[:4096 * group]) for group in range(groups + 1)]
        bench.expect(f"digest of {words} words", parts, np.diff(np.array(until, np.uint64)))


@case("bc_digest_fill")
def digest_fill(bench: Bench) -> None:
    for words in (1, 255, 4096, 4097, 8500):
        content, groups = random_words(words), groups_of(words, 4096)
        parts, data = bench.room(8 * groups), bench.put(content)
        bench.launch("bc_digest_fill", groups, data, words, KEY, parts)
        until = [reference.digest(content[:4096 * group]) for group in range(groups + 1)]
        bench.expect(f"digest of {words} words", parts, np.diff(np.array(until, np.uint64)))
        bench.expect(f"what is left in {words} words", data, np.full(words, KEY, np.uint32))


@case("bc_digest_total")
def digest_total(bench: Bench) -> None:
    for count in (1, 256, 700):
        parts = random_words(2 * count).view(np.uint64)
        out = bench.put(np.array([7, 8, 9], np.uint64))
        bench.launch("bc_digest_total", 1, bench.put(parts), count, out, 2)
        bench.expect(f"total of {count} parts", out, np.array([7, 8, parts.sum(dtype=np.uint64)], np.uint64))


# Memory.


@case("bc_memory_fill")
def memory_fill(bench: Bench) -> None:
    for kind, (first, count) in enumerate(GRANULES):
        memory = bench.room(16 * count)
        bench.launch("bc_memory_fill", groups_of(count, 1024), memory, first, count, kind, KEY)
        bench.expect(f"pattern {kind} of {count}", memory, reference.pattern(first, count, kind, KEY))


def spoilt(expected: np.ndarray, first: int) -> tuple[np.ndarray, set[tuple[int, ...]]]:
    """A buffer with wrong words in its first granule (all four), in the first of the second group, and in its last; and
    their records."""
    found, last = expected.copy(), len(expected) - 1
    places = [at for at in (0, 1, 2, 3, 4096) if at < last] + [last]
    found[places] ^= np.uint32(1 << 31)
    return found, {
        ((4 * first + at) & 0xFFFFFFFF, (4 * first + at) >> 32, int(expected[at]), int(found[at]), int(found[at]), 0)
        for at in places}


@case("bc_memory_check")
def memory_check(bench: Bench) -> None:
    for kind, (first, count) in enumerate(GRANULES):
        expected = reference.pattern(first, count, kind, KEY)
        bad, records = spoilt(expected, first)
        for content, wrong, most in ((expected, set(), 1), (bad, records, 9), (bad, records, 2)):
            errors, memory = bench.errors(most), bench.put(content)
            bench.launch(
                "bc_memory_check", groups_of(count, 1024), memory, first, count, kind, KEY, errors, most)
            bench.expect_records(f"check of {count}", errors, most, wrong)
            bench.expect(f"what was checked of {count}", memory, content)


@case("bc_memory_check_fill")
def memory_check_fill(bench: Bench) -> None:
    for kind, (first, count) in enumerate(GRANULES):
        next_kind = 3 - kind
        following = reference.pattern(first, count, next_kind, KEY + 1)
        bad, records = spoilt(reference.pattern(first, count, kind, KEY), first)
        for down, most in ((0, 2), (1, 9)):
            errors, memory = bench.errors(most), bench.put(bad)
            bench.launch(
                "bc_memory_check_fill", groups_of(count, 1024), memory, first, count, kind, KEY, next_kind, KEY + 1,
                down, errors, most)
            bench.expect_records(f"check of {count} before the next pattern", errors, most, records)
            bench.expect(f"the next pattern of {count}", memory, following)


@case("bc_copy")
def copy(bench: Bench) -> None:
    for count in (1, 1024, 1300, 2100):
        data = random_words(4 * count)
        target, source = bench.room(16 * count), bench.put(data)
        bench.launch("bc_copy", groups_of(count, 1024), target, source, count)
        bench.expect(f"copy of {count}", target, data)
        bench.expect(f"what was copied of {count}", source, data)


@case("bc_add")
def add(bench: Bench) -> None:
    for count in (1, 1024, 1300, 2100):
        data = random_words(8 * count)
        one, other = data[:4 * count], data[4 * count:]
        target, source = bench.put(one), bench.put(other)
        bench.launch("bc_add", groups_of(count, 1024), target, source, count)
        bench.expect(f"sum of {count}", target, one + other)
        bench.expect(f"what was added of {count}", source, other)


@case("bc_sum_check")
def sum_check(bench: Bench) -> None:
    for ranks, (first, count) in zip((1, 5, 3, 2), GRANULES, strict=True):
        expected = np.zeros(4 * count, np.uint32)
        for rank in range(ranks):
            expected += reference.pattern(first, count, 0, KEY + rank)
        bad, records = spoilt(expected, first)
        for content, wrong, most in ((expected, set(), 1), (bad, records, 2)):
            errors = bench.errors(most)
            bench.launch(
                "bc_sum_check", groups_of(count, 1024), bench.put(content), first, count, KEY, ranks, errors, most)
            bench.expect_records(f"sum of {ranks} ranks", errors, most, wrong)


@case("bc_chase")
def chase(bench: Bench) -> None:
    order = np.random.default_rng(3).permutation(300).astype(np.uint32)
    links = np.empty(300, np.uint32)
    links[order] = np.roll(order, -1)
    for steps in (0, 1, 299):
        out = bench.room(4)
        bench.launch("bc_chase", 2, bench.put(links), steps, out)
        start = int(np.flatnonzero(order == 0)[0])
        bench.expect(f"chain of {steps}", out, order[[(start + steps) % 300]])


# Matrices and products.


SHAPES = ((4, 12), (20, 64), (36, 40))
"""Rows and depth: fewer words than a group's, and an end that is not full, whatever the element."""


def shapes(bench: Bench) -> list[tuple[int, int, int]]:
    """Each shape, with the words that it has."""
    return [(rows, depth, rows * depth * ELEMENTS[bench.element].bytes // 4) for rows, depth in SHAPES]


@case("bc_fill_matrix")
def fill_matrix(bench: Bench) -> None:
    for side, (rows, depth, words) in zip((0, 1, 1), shapes(bench), strict=True):
        for random, outer in ((0, 0), (1, 0), (0, 1)):
            out = bench.room(4 * words)
            bench.launch("bc_fill_matrix", groups_of(words, 256), out, rows, depth, 0xFFFFFFF0, side, random, outer)
            expected = reference.matrix(
                bench.element, rows, depth, 0xFFFFFFF0, side, bool(random), "k-outer" if outer else "k-major")
            bench.expect(f"matrix of {rows} x {depth}, random {random}, outer {outer}", out, expected)


@case("bc_check_matrix")
def check_matrix(bench: Bench) -> None:
    for rows, depth, words in shapes(bench):
        expected = reference.matrix(bench.element, rows, depth, 5, 1)
        bad, records = spoilt(expected, 0)
        for content, wrong, most in ((expected, set(), 1), (bad, records, 9), (bad, records, 2)):
            errors, stored = bench.errors(most), bench.put(content)
            bench.launch(
                "bc_check_matrix", groups_of(words, 256), stored, rows, depth, 5, 1, 0, 0, errors, most)
            bench.expect_records(f"check of {rows} x {depth}", errors, most, wrong)


def folded(bench: Bench, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """t and u for seeds 22 of B, 23 of r, 24 of s."""
    b = reference.exact(bench.element, 22, 1, np.arange(n), np.arange(k)).astype(np.uint64)
    return b.T @ reference.weights(23, n), b.T @ reference.weights(24, n)


@case("bc_fold_b")
def fold_b(bench: Bench) -> None:
    for n, k in ((3, 16), (2, 256), (5, 300)):
        t, u = bench.room(8 * k), bench.room(8 * k)
        bench.launch("bc_fold_b", groups_of(k, 256), t, u, n, k, 22, 23, 24)
        for name, buffer, expected in zip("tu", (t, u), folded(bench, n, k), strict=True):
            bench.expect(f"{name} of {n} columns and depth {k}", buffer, expected)


@case("bc_fold_a")
def fold_a(bench: Bench) -> None:
    for m, n, k in ((1, 5, 7), (256, 5, 3), (300, 5, 2)):
        y, z = bench.room(8 * m), bench.room(8 * m)
        t, u = map(bench.put, folded(bench, n, k))
        bench.launch("bc_fold_a", groups_of(m, 256), y, z, t, u, m, k, 21)
        for name, buffer, sums in zip("yz", (y, z), reference.row_sums(bench.element, m, n, k, (21, 22, 23, 24)), strict=True):
            bench.expect(f"{name} of {m} rows", buffer, sums)


@case("bc_check_rows")
def check_rows(bench: Bench) -> None:
    k, seeds = 16, (21, 22, 23, 24)
    whole = np.int32 if bench.element == "int8" else np.float32
    for m, n in ((1, 7), (3, 256), (4, 300)):
        exact = reference.product(bench.element, m, n, k, seeds[0], seeds[1])
        y, z = map(bench.put, reference.row_sums(bench.element, m, n, k, seeds))
        bad = exact.copy()
        bad[:, n - 1] += np.arange(1, m + 1) * 3
        records = set()
        for row in range(m):
            sums = (int(reference.weights(seed, n)[n - 1]) * 3 * (row + 1) for seed in seeds[2:])
            records.add((row, 0, *(part for one in sums for part in (one & 0xFFFFFFFF, one >> 32)), 0, 0))
        for content, wrong, most in ((exact, set(), 1), (bad, records, 4), (bad, records, 2)):
            errors = bench.errors(most, 8)
            bench.launch(
                "bc_check_rows", m, bench.put(content.astype(whole)), y, z, n, seeds[2], seeds[3], errors, most)
            bench.expect_records(f"rows of {m} x {n}", errors, most, wrong, 8)
    if bench.element != "int8":
        stored = exact.astype(whole)
        stored[2, [0, 255, 299]] = np.nan, np.inf, 0.5
        errors = bench.errors(1, 8)
        bench.launch("bc_check_rows", m, bench.put(stored), y, z, n, seeds[2], seeds[3], errors, 1)
        sums = (sum(-int(exact[2, at]) * int(reference.weights(seed, n)[at]) for at in (0, 255, 299)) % (1 << 64) for seed in seeds[2:])
        record = (2, 3, *(part for one in sums for part in (one & 0xFFFFFFFF, one >> 32)), 0, 0)
        bench.expect_records("no integers", errors, 1, {record}, 8)


@case("bc_matmul")
def matmul(bench: Bench) -> None:
    for m, n, k in ((64, 64, 32), (128, 128, 16)):
        a, b = (bench.put(reference.matrix(bench.element, rows, k, 11 + side, side)) for side, rows in enumerate((m, n)))
        c = bench.room(4 * m * n)
        bench.launch("bc_matmul", m // 64 * (n // 64), a, b, c, m, n, k)
        exact = reference.product(bench.element, m, n, k, 11, 12)
        bench.expect(f"product of {m} x {n} x {k}", c, exact.astype(np.int32 if bench.element == "int8" else np.float32))
