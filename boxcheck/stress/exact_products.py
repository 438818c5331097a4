"""Products of integer data on one device, each element of which is right or wrong, verified without another product.

Two of them, A B0 and A B1, alternate, so that a result of the time before is wrong too. What is stored is folded into
two weighted 64-bit sums a row, which must be those of A (B r) and A (B s), made from the seeds alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from boxcheck.gpu import Buffer, Gpu
from boxcheck.kernels import reference
from boxcheck.stress import WrongWord, bits_word
from boxcheck.stress.products import Engine, Product, Shape, groups_of
from boxcheck.stress.transfers import counted_records

MOST_RECORDS = 64
HOST_COLUMNS = 32
"""Elements of a row that numpy compares now and then."""


class Exact(Product):
    """Products of exact data, each element of which is right or wrong."""

    def __init__(self, gpu: Gpu, kernel: Engine, shape: Shape, seed: int) -> None:
        super().__init__(gpu, kernel, shape, seed)
        m, n, k = shape
        self.b = [self._allocate(n * k * self.element.bytes) for _ in range(2)]
        self._errors = self._allocate(16 + 32 * MOST_RECORDS)
        self._fill(self.a, m, self.seeds["a"], 0, False)
        folded = [self._allocate(8 * k) for _ in range(2)]
        self._sums: list[tuple[Buffer, Buffer]] = []
        for number, b in enumerate(self.b):
            seed_b = self.seeds[f"b{number}"]
            self._fill(b, n, seed_b, 1, False)
            sums = (self._allocate(8 * m), self._allocate(8 * m))
            self._sums.append(sums)
            gpu.launch(
                self._make, "bc_fold_b", groups_of(k, 256), [*folded, n, k, seed_b, self.seeds["r"], self.seeds["s"]])
            gpu.launch(self._make, "bc_fold_a", groups_of(m, 256), [*sums, *folded, m, k, self.seeds["a"]])

    def clear(self) -> None:
        self.gpu.write(self._errors, np.zeros(4, np.uint32))

    def multiply(self, number: int) -> None:
        """Starts product A B0 or A B1, by the parity of `number`, into poisoned memory."""
        self.poison()
        self._launch(self.b[number % 2])

    def verify(self, number: int) -> int:
        """How many rows of the stored product are wrong. Reads all of it."""
        n = self.shape[1]
        self.gpu.launch(
            self._make, "bc_check_rows", self.shape[0],
            [self.c, *self._sums[number % 2], n, self.seeds["r"], self.seeds["s"], self._errors, MOST_RECORDS])
        return int(self.gpu.read(self._errors, 4).view(np.uint32)[0])

    def wrong_rows(self) -> list[tuple[int, int, int, int]]:
        """Of each wrong row that was recorded: row, count of elements that are no integers, both sums' differences."""
        header = self.gpu.read(self._errors, 16 + 32 * MOST_RECORDS).view(np.uint32)
        found = []
        for at in range(min(int(header[0]), MOST_RECORDS)):
            record = header[4 + 8 * at:12 + 8 * at]
            first, second = record[2:6].copy().view(np.uint64)
            found.append((int(record[0]), int(record[1]), int(first), int(second)))
        return sorted(found)

    def row(self, row: int) -> Any:
        """A stored row of C as bits, shape (n,)."""
        n = self.shape[1]
        return self.gpu.read(self.c, 4 * n, 4 * n * row).view(np.uint32)

    def expected(self, number: int, row: int, columns: Any) -> Any:
        """Bits that these elements of a row must have, from numpy and the seeds alone."""
        depth = np.arange(self.shape[2])
        a = reference.exact(self.kernel.element, self.seeds["a"], 0, np.array([row]), depth)[0]
        b = reference.exact(self.kernel.element, self.seeds[f"b{number % 2}"], 1, columns, depth)
        sums = b @ a
        if self.kernel.element == "int8":
            return sums.astype(np.int32).view(np.uint32)
        return sums.astype(np.float32).view(np.uint32)

    def wrong_in_row(self, number: int, row: int) -> list[WrongWord]:
        """What numpy finds wrong in a stored row: `HOST_COLUMNS` elements, each compared, and both sums of the whole
        row, which the device folded. For what the comparing kernel called right."""
        n = self.shape[1]
        stored = self.row(row)
        chance = np.random.default_rng(self.seeds["a"] ^ number)
        columns = np.unique(np.concatenate(([0, n - 1], chance.integers(n, size=HOST_COLUMNS - 2))))
        wanted = self.expected(number, row, columns)
        found = [
            WrongWord(
                index=row * n + column, expected=want, found=have, where=f"row {row}, column {column}",
                kind="not seen by the comparing kernel")
            for column, want, have in zip(columns.tolist(), wanted.tolist(), stored[columns].tolist(), strict=True)
            if want != have]
        if found:
            return found
        values = stored.view(np.int32) if self.kernel.element == "int8" else stored.view(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            whole = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0).astype(np.int64).view(np.uint64)
            for name, sums in zip("rs", self._sums[number % 2], strict=True):
                mine = int((whole * reference.weights(self.seeds[name], n)).sum(dtype=np.uint64))
                folded = int(self.gpu.read(sums, 8, 8 * row).view(np.uint64)[0])
                if mine != folded:
                    found.append(WrongWord(
                        index=row * n, expected=folded & 0xFFFFFFFF, found=mine & 0xFFFFFFFF,
                        where=f"row {row}, its sum by the weights {name}", kind="not seen by the comparing kernel"))
        return found

    def wrong_inputs(self) -> tuple[int, list[WrongWord]]:
        """How many stored words of the inputs are not what they must be, and the first of them. Compares every word."""
        m, n, k = self.shape
        sides = (
            ("A", self.a, m, "a", 0), ("B", self.b[0], n, "b0", 1), ("B of the other product", self.b[1], n, "b1", 1))
        count, words = 0, []
        errors = self.gpu.allocate(16 + 24 * MOST_RECORDS)
        for name, buffer, rows, seed, side in sides:
            self.gpu.write(errors, np.zeros(4, np.uint32))
            total = rows * k * self.element.bytes // 4
            self.gpu.launch(
                self._make, "bc_check_matrix", groups_of(total, 256), [
                    buffer, rows, k, self.seeds[seed], side, 0, int(self.kernel.layout == "k-outer"), errors,
                    MOST_RECORDS])
            number, found = counted_records(self.gpu, errors, MOST_RECORDS)
            count += number
            words += [WrongWord(
                index=index, expected=expected, found=bits, again=again, where=f"input {name}, word {index}",
                kind=bits_word(expected, bits)) for index, expected, bits, again in found]
        errors.free()
        return count, words

    def refill(self) -> None:
        """Makes the inputs anew, after they were found damaged."""
        m, n, _ = self.shape
        self._fill(self.a, m, self.seeds["a"], 0, False)
        for number, b in enumerate(self.b):
            self._fill(b, n, self.seeds[f"b{number}"], 1, False)
