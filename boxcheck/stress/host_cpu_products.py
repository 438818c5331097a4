"""Exact matrix products by the matrix library that numpy brings, and their proof.

Inputs are integers that are hashes of their place, so small that every product and every partial sum is an integer that
the type holds exactly: each element has one right value, and one right pattern of bits, in any order of work.

The first product of each kind is proven by integers alone: every element is whole, and two weighted sums of each row
are those that follow from the inputs (C r = A (B r), modulo 2^64), which no unit for floating-point numbers computes.
From then on each product must have the same two weighted sums of the *bits* of each row, taken as words of 64 bits. A
single wrong word always changes both, since the weights are odd; several hide about once in 2^62.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from boxcheck.kernels import reference
from boxcheck.stress import WrongWord, bits_word

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Element = Literal["fp64", "fp32"]
MOST_ROWS = 16
"""Wrong rows that are compared element by element; each of the others counts as one wrong element."""
MOST_WORDS = 16
BITS = {"fp64": 21, "fp32": 9}
"""Of an input, with its sign. fp64: |A| |B| K <= 2^20 * 2^20 * 2^10 = 2^50, below the 2^53 up to which every integer is
exact, whatever the signs. fp32: K values of at most 255 make sums whose limit, 2^24, is 24 standard deviations away for
K = 1024 (computed: 2^24 / (sqrt(K) * var), var = (511^2 - 1) / 12)."""


class Kind(msgspec.Struct, frozen=True):
    """How an element type is stored and seen as integers."""

    name: Element
    real: type
    bits: type
    """Unsigned integers of the same size."""


KINDS = {
    "fp64": Kind("fp64", np.float64, np.uint64),
    "fp32": Kind("fp32", np.float32, np.uint32),
}


def integers(element: Element, side: int, rows: npt.NDArray[Any], depth: int, seed: int) -> I64:
    """Rows of an input matrix, shape (len(rows), depth). `side` is 0 for A, 1 and 2 for the two B."""
    key = (seed * 0x9E3779B9 + side * 0x85EBCA6B) & 0xFFFFFFFF
    h = reference.hashes(key, min(side, 1), rows, np.arange(depth))
    bits = BITS[element]
    most = (1 << (bits - 1)) - (1 if element == "fp32" else 0)
    values = (h.astype(np.uint64) * np.uint64(2 * most + 1)) >> np.uint64(32)
    return values.astype(np.int64) - most


class Products:
    """A times B0 and A times B1, by turns, into one C: a product that was left out leaves the other one."""

    def __init__(self, element: Element, side: int, seed: int) -> None:
        self.kind = KINDS[element]
        self.side = side
        self.seed = seed
        self.a: Any = self._input(0)
        self.b: list[Any] = [self._input(1), self._input(2)]
        self.c: Any = np.zeros((side, side), self.kind.real)
        self.r, self.s = (reference.weights((seed ^ more) & 0xFFFFFFFF, side) for more in (0x510E527F, 0x68F3C1A5))
        self._sums: list[tuple[U64, U64] | None] = [None, None]
        """The weighted sums of the bits of each row, once they are proven."""

    def _integers(self, which: int, rows: npt.NDArray[Any] | None = None) -> I64:
        rows = np.arange(self.side) if rows is None else rows
        return integers(self.kind.name, which, rows, self.side, self.seed)

    def _input(self, which: int) -> Any:
        return self._integers(which).astype(self.kind.real)

    @property
    def operations(self) -> float:
        return 2.0 * self.side ** 3

    def multiply(self, number: int) -> None:
        np.matmul(self.a, self.b[number % 2].T, out=self.c)

    def _bits(self) -> Any:
        return self.c.view(self.kind.bits)

    def _bit_sums(self) -> tuple[U64, U64]:
        words = self.c.view(np.uint64)
        width = words.shape[1]
        return np.einsum("ij,j->i", words, self.r[:width]), np.einsum("ij,j->i", words, self.s[:width])

    def verify(self, number: int) -> npt.NDArray[Any]:
        """Numbers of the rows of the stored product that are wrong."""
        known = self._sums[number % 2]
        if known is None:
            return self._prove(number)
        first, second = self._bit_sums()
        return np.flatnonzero((first != known[0]) | (second != known[1]))

    def _prove(self, number: int) -> npt.NDArray[Any]:
        """Proves a product by integers. When it is right its sums are those of all to come."""
        with np.errstate(invalid="ignore", over="ignore"):
            whole = self.c.astype(np.int64)
            bad = (whole.astype(self.kind.real) != self.c).any(axis=1)
            a, b = self._integers(0), self._integers(1 + number % 2)
            for weights in (self.r, self.s):
                folded = np.einsum("nk,n->k", b.view(np.uint64), weights)
                wanted = np.einsum("mk,k->m", a.view(np.uint64), folded)
                bad |= np.einsum("mn,n->m", whole.view(np.uint64), weights) != wanted
        if not bad.any():
            self._sums[number % 2] = self._bit_sums()
        return np.flatnonzero(bad)

    def expected(self, number: int, row: int) -> Any:
        """Bits that a row of a product must have, by integers alone. Shape (side,)."""
        a, b = self._integers(0, np.array([row]))[0], self._integers(1 + number % 2)
        return np.einsum("nk,k->n", b, a).astype(self.kind.real).view(self.kind.bits)

    def locate(self, number: int, rows: npt.NDArray[Any], where: str) -> tuple[int, list[WrongWord]]:
        """How many elements of these rows are wrong, at least, and the first of them."""
        count, words = max(0, len(rows) - MOST_ROWS), []
        for row in rows[:MOST_ROWS].tolist():
            wanted, other, found = self.expected(number, row), self.expected(number + 1, row), self._bits()[row]
            columns = np.flatnonzero(found != wanted)
            count += max(1, len(columns))
            if not len(columns):
                words.append(WrongWord(
                    index=row * self.side, expected=int(wanted[0]), found=int(found[0]), where=f"{where}, row {row}",
                    kind="its sum was wrong, its elements are right when read again"))
            old = bool(len(columns)) and bool((found == other).all())
            for column in columns[:MOST_WORDS].tolist():
                bits = int(wanted[column]), int(found[column])
                words.append(WrongWord(
                    index=row * self.side + column, expected=bits[0], found=bits[1],
                    where=f"{where}, row {row}, column {column}",
                    kind="the result of the time before" if old else bits_word(*bits)))
        return count, words[:MOST_WORDS]

    def damaged_inputs(self, where: str) -> tuple[int, list[WrongWord]]:
        """How many elements of the stored inputs are not what their seed makes, and the first of them; they are made
        anew then."""
        count, words = 0, []
        inputs = (("A", self.a), ("B", self.b[0]), ("B of the other product", self.b[1]))
        for which, (name, stored) in enumerate(inputs):
            wanted = self._input(which)
            found, right = stored.view(self.kind.bits).reshape(-1), wanted.view(self.kind.bits).reshape(-1)
            places = np.flatnonzero(found != right)
            count += len(places)
            words += [WrongWord(
                index=place, expected=int(right[place]), found=int(found[place]),
                where=f"{where}, input {name}, element {place}", kind=bits_word(int(right[place]), int(found[place])))
                for place in places[:MOST_WORDS].tolist()]
            if len(places):
                stored[...] = wanted
        return count, words[:MOST_WORDS]

    @property
    def input_words(self) -> int:
        return 3 * self.side * self.side

    def digest(self) -> str:
        """Digest of all bytes of the stored product, by other means than the sums."""
        import hashlib

        return hashlib.blake2b(self.c.tobytes(), digest_size=8).hexdigest()
