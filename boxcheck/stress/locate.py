"""Which elements of a wrong product are wrong, and how."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boxcheck.kernels import reference
from boxcheck.stress import WrongWord, bits_word
from boxcheck.stress.exact_products import Exact
from boxcheck.stress.products import POISON

MOST_ROWS = 4
"""Rows looked into; the others are counted."""
MOST_WORDS = 16
_CHUNK = 256


def locate(product: Exact, number: int, beat: Callable[[str, float], None]) -> tuple[int, list[WrongWord]]:
    """How many elements are wrong at least (one for each wrong row, all of those looked into), and the first of them.

    A row's two weighted sums name the column where one element is wrong: the difference d of that element gives d r_j
    and d s_j, and only its own column has that ratio. A row where that fits no single column, or where elements are no
    integers, is compared with numpy's, which takes seconds for a large product.
    """
    rows = product.wrong_rows()
    total = len(rows)
    words: list[WrongWord] = []
    for row, odd, first, second in rows[:MOST_ROWS]:
        beat(f"looking for the wrong element of row {row}", 0.0)
        columns = _single_column(product, first, second) if odd == 0 else _odd_columns(product, row, odd)
        if columns is None:
            columns = _compared(product, number, row, beat)
        total += max(0, len(columns) - 1)
        words += _words(product, number, row, columns[:MOST_WORDS - len(words)])
    return total, words


def _single_column(product: Exact, first: int, second: int) -> list[int] | None:
    n = product.shape[1]
    r, s = (reference.weights(product.seeds[name], n) for name in "rs")
    with np.errstate(over="ignore"):
        fits = np.flatnonzero(np.uint64(first) * s == np.uint64(second) * r)
    return [int(fits[0])] if len(fits) == 1 else None


def _odd_columns(product: Exact, row: int, odd: int) -> list[int] | None:
    """Columns whose value is no integer; None when these may not be all: then the sums do not tell."""
    if product.kernel.element == "int8":
        return None
    values = product.row(row).view(np.float32)
    with np.errstate(invalid="ignore"):
        found = np.flatnonzero(~((np.abs(values) <= 16777216.0) & (np.trunc(values) == values)))
    return [int(column) for column in found] if len(found) == odd == len(values) else None


def _compared(product: Exact, number: int, row: int, beat: Callable[[str, float], None]) -> list[int]:
    stored, n = product.row(row), product.shape[1]
    found: list[int] = []
    for at in range(0, n, _CHUNK):
        columns = np.arange(at, min(n, at + _CHUNK))
        expected = product.expected(number, row, columns)
        found += [int(column) for column in columns[stored[columns] != expected]]
        beat(f"comparing row {row} with the reference", at / n)
    return found


def _words(product: Exact, number: int, row: int, columns: list[int]) -> list[WrongWord]:
    n = product.shape[1]
    found, again = product.row(row), product.row(row)
    expected = product.expected(number, row, np.array(columns, np.int64)) if columns else []
    other = product.expected(number + 1, row, np.array(columns, np.int64)) if columns else []
    words = []
    for column, want, old in zip(columns, expected, other, strict=True):
        have = int(found[column])
        if have == POISON:
            kind = "not written"
        elif have == int(old):
            kind = "the result of the time before"
        else:
            kind = bits_word(int(want), have)
        words.append(WrongWord(
            index=row * n + column, expected=int(want), found=have, again=int(again[column]),
            where=f"row {row}, column {column}", kind=kind))
    return words
