"""A positive control of the kernels that compare: damage done on purpose, of which each must report just that.

A comparison that always says "right", for a compiler's mistake or a launch that does nothing, would pass any device.
The products of the control are small ones that numpy has found right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from boxcheck.gpu import Buffer, Gpu
from boxcheck.kernels import reference
from boxcheck.stress.digests import Digests
from boxcheck.stress.exact_products import Exact
from boxcheck.stress.products import POISON

RESULT_BIT = 1 << 20
"""In an fp32 that is an integer and not 0 this bit makes another number, whole or not, and no denormal, which some
units take for 0; in an int32 another integer."""
INPUT_BIT = 1 << 3
SLOT = 1


def blind_kernels(product: Exact, stored: Any) -> tuple[str, ...]:
    """The comparing kernels that did not report just the damage that was done. Product 0, whose bits are `stored`, of
    shape (m, n), lies in C; it does not afterwards."""
    blind = []
    if not sees_a_row(product, 0, *_damaged(stored)):
        blind.append("bc_check_rows")
    if not sees_inputs(product):
        blind.append("bc_check_matrix")
    return (*blind, *_blind_digests(product, stored))


def _flip(gpu: Gpu, buffer: Buffer, word: int, bit: int) -> None:
    """Flips a bit of a word; twice restores it."""
    gpu.write(buffer, gpu.read(buffer, 4, 4 * word).view(np.uint32) ^ np.uint32(bit), 4 * word)


def _damaged(stored: Any) -> tuple[int, int]:
    """Row and column of the last element that is not 0."""
    rows, columns = np.nonzero(stored & np.uint32(0x7FFFFFFF))
    return int(rows[-1]), int(columns[-1])


def sees_a_row(product: Exact, number: int, row: int, column: int) -> bool:
    """Whether damage to this element of the stored product `number`, which is right and not 0 there, is told as a wrong
    row, and nothing is before and after it. Takes three comparisons of C."""
    word = row * product.shape[1] + column
    product.clear()
    silent = product.verify(number) == 0
    _flip(product.gpu, product.c, word, RESULT_BIT)
    seen = product.verify(number) == 1 and [one[0] for one in product.wrong_rows()] == [row]
    _flip(product.gpu, product.c, word, RESULT_BIT)
    product.clear()
    return silent and seen and product.verify(number) == 0


def sees_inputs(product: Exact) -> bool:
    """Whether damage to a word of each input, which are right, is told, and nothing after it."""
    damage = [(buffer, buffer.size_bytes // 8 + at) for at, buffer in enumerate((product.a, *product.b))]
    for buffer, word in damage:
        _flip(product.gpu, buffer, word, INPUT_BIT)
    count, words = product.wrong_inputs()
    for buffer, word in damage:
        _flip(product.gpu, buffer, word, INPUT_BIT)
    seen = [(one.index, one.flipped) for one in words] == [(word, INPUT_BIT) for _, word in damage]
    return count == len(damage) and seen and product.wrong_inputs() == (0, [])


def _blind_digests(product: Exact, stored: Any) -> tuple[str, ...]:
    gpu, (row, column) = product.gpu, _damaged(stored)
    words = np.ascontiguousarray(stored).reshape(-1).copy()
    digests = Digests(gpu, len(words))
    try:
        whole = digests.of(product.c) == reference.digest(words)
        at = row * product.shape[1] + column
        _flip(gpu, product.c, at, RESULT_BIT)
        words[at] ^= np.uint32(RESULT_BIT)
        changed = reference.digest(words)
        alone = digests.of(product.c) == changed
        digests.take(product.c, SLOT, POISON)
        taken = digests.taken(SLOT + 1)[SLOT] == changed
        filled = bool((gpu.read(product.c, 4 * len(words)).view(np.uint32) == POISON).all())
    finally:
        for buffer in digests.buffers:
            buffer.free()
    blind = (("bc_digest", whole and alone), ("bc_digest_fill", taken and filled))
    return tuple(name for name, right in blind if not right)
