"""The first products of random data: what must be true of them before their digests are what others are compared with.

A product that never ran has a digest as well, and the same one each time. So the first two products, A B0 and A B1, are
looked at: each leaves another digest than the poison under it, the same one when it is repeated, and not that of the
other; and elements at some places are compared with numpy's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import sqrt
from typing import Any

import msgspec
import numpy as np

from boxcheck.kernels import reference
from boxcheck.stress import WrongWord
from boxcheck.stress.products import POISON, Random

SPOTS = 16
"""Elements of each product that are compared with numpy's, the corners among them."""
ATTEMPTS = 3
FRACTION_BITS = {"e4m3": 13}
"""Bits behind the leading one that an accumulator keeps at least, where it is not 23 as in all others that were
measured: 13 in the fp8 units of Ada and Hopper (arXiv 2511.10909)."""
TERMS_OF_A_STEP = 32
"""Products that an fp8 unit of so few bits adds in one step (PTX ISA, mma.m16n8k32, wgmma of k = 32)."""
DEVIATIONS = 8.0
"""A sum of random signs stays within so many standard deviations: one in 10^14 does not."""
MEAN_DEVIATIONS = 3.0
"""The mean partial sum stays within so many deviations of the whole: the integral of a random walk has a deviation of
1/sqrt(3), so that one in 10^7 does not."""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of A B0 and A B1, and what was wrong with the products that they were taken of."""

    digests: tuple[int, int]
    checked: int
    """Products."""
    wrong: int
    words: tuple[WrongWord, ...] = ()
    usable: bool
    """Whether products can be compared with these digests."""

    @property
    def text(self) -> str:
        """As it stands in the notes of samples."""
        return "-".join(f"{one:016x}" for one in self.digests)

    def wrong_of(self, numbers: list[int], found: list[int]) -> list[int]:
        """Of digests, each with the number of its product, those that are wrong."""
        return [one for number, one in zip(numbers, found, strict=True) if one != self.digests[number % 2]]


def learn(product: Random, beat: Callable[[str, float], None] = lambda text, done: None) -> Reference:
    """Multiplies both products until each has come out twice with the same bits, three times at most. C is left full of
    poison."""
    product.poison()
    blank = product.digest()
    digests: list[int] = []
    checked = wrong = 0
    usable = True
    words: list[WrongWord] = []
    for number in (0, 1):
        found: list[int] = []
        bad: list[WrongWord] = []
        while len(found) < ATTEMPTS and len(found) == len(set(found)):
            beat(f"{product.kernel.element}: the first products of {product.kernel.name}", 0.0)
            product.poison()
            product.multiply(number)
            found.append(product.digest())
            bad = wrong_spots(product, number)
        (common, times), *_ = Counter(found).most_common()
        checked += len(found)
        wrong += len(found) if common == blank or bad else sum(one != common for one in found)
        usable = usable and times > 1 and common != blank and not bad
        words += bad
        digests.append(common)
    if usable and digests[0] == digests[1]:  # other data with the same bits: one of them was not computed
        usable, wrong = False, wrong + 1
    product.poison()
    return Reference(
        digests=(digests[0], digests[1]), checked=checked, wrong=wrong if usable else max(1, wrong),
        words=tuple(words[:SPOTS]), usable=usable)


def wrong_spots(product: Random, number: int) -> list[WrongWord]:
    """Elements of the stored product, of a few, that are further from numpy's than rounding can bring them."""
    if product.kernel.name.endswith("-narrow"):  # C is of 16 bits there, for timing alone
        return []
    m, n, _ = product.shape
    chance = np.random.default_rng(product.seeds["a"])
    rows = np.array([0, 0, m - 1, m - 1, *chance.integers(m, size=SPOTS - 4)])
    columns = np.array([0, n - 1, 0, n - 1, *chance.integers(n, size=SPOTS - 4)])
    bits = np.array([
        product.gpu.read(product.c, 4, 4 * (row * n + column)).view(np.uint32)[0]
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)], np.uint32)
    wanted, off = expected(product, number, rows, columns)
    if product.kernel.element == "int8":
        right, want = bits == wanted, wanted
    else:
        want = wanted.astype(np.float32).view(np.uint32)
        with np.errstate(invalid="ignore"):
            right = np.abs(bits.view(np.float32).astype(np.float64) - wanted) <= off
    return [
        WrongWord(
            index=int(rows[at] * n + columns[at]), expected=int(want[at]), found=int(bits[at]),
            where=f"row {rows[at]}, column {columns[at]} of random data",
            kind="not written" if bits[at] == POISON else "beyond rounding")
        for at in np.flatnonzero(~right)]


def expected(product: Random, number: int, rows: Any, columns: Any) -> tuple[Any, Any]:
    """What elements at these places must be, and how far rounding may bring them off: both of shape (len(rows),).

    int8 is exact: bits of int32. Of the others each of k terms that is added may lose what lies below the last bit that
    the accumulator keeps, of a partial sum of at most `DEVIATIONS` standard deviations of the whole. With as few bits
    as fp8 units have that bound says nothing. So there the loss of a step counts whole, for it has one sign, those of
    its terms as chance adds them up, and partial sums as large as they are in the mean.
    """
    element, depth = product.kernel.element, np.arange(product.shape[2])
    seeds = product.seeds["a"], product.seeds[f"b{number % 2}"]
    if element == "int8":
        a = reference.exact(element, seeds[0], 0, rows, depth)
        b = reference.exact(element, seeds[1], 1, columns, depth)
        return (a * b).sum(axis=1).astype(np.int32).view(np.uint32), None
    a = reference.widen(element, reference.elements(element, seeds[0], 0, rows, depth, True)).astype(np.float64)
    b = reference.widen(element, reference.elements(element, seeds[1], 1, columns, depth, True)).astype(np.float64)
    terms = a * b
    deviation, k = np.sqrt((terms * terms).sum(axis=1)), len(depth)
    if element in FRACTION_BITS:
        off = (k / TERMS_OF_A_STEP + DEVIATIONS * sqrt(k)) * MEAN_DEVIATIONS * 2.0 ** -FRACTION_BITS[element]
    else:
        off = k * DEVIATIONS * 2.0 ** -23
    return terms.sum(axis=1), off * deviation
