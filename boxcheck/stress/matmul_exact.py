"""Products of exact data, each element of which is verified on the device, and a row now and then by numpy.

Then an element is damaged on purpose as well, of which the comparing kernel must tell, and at the end a word of each
input: so that "0 wrong" is known to be an answer. With three more comparisons of C for each EVERY_ROW products this
takes less than 1 % of the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from boxcheck.stress import Rig, Sample, WrongWord

if TYPE_CHECKING:
    from boxcheck.kernels.matrix import MatrixKernel
    from boxcheck.stress.exact_products import Exact
    from boxcheck.stress.products import Engine, Shape

EVERY_ROW = 63
"""Of exact products each so-manieth is doubted, and the first and the last: a row is compared by numpy as well, and
damage there must be seen. An odd number, so that both products have their turn."""
NOT_AGAIN = "counted as wrong on the device; its records were right when they were read again"
NOT_SEEN = "damaged on purpose; the comparing kernel saw nothing or too much"


def exact_phase(rig: Rig, kernel: MatrixKernel, shape: Shape, seconds: float) -> Iterator[Sample]:
    """Products of exact data until the time is over; a sample about every second, and one for each wrong product."""
    from boxcheck.stress.comparators import sees_inputs
    from boxcheck.stress.exact_products import Exact
    from boxcheck.stress.locate import locate

    m, n, k = shape
    what = f"matmul.{kernel.element}.exact"
    notes: dict[str, str | int | float] = {"kernel": kernel.name, "shape": f"{m}x{n}x{k}"}
    began = time.monotonic()
    with Exact(rig.gpu, kernel, shape, rig.seed) as product:
        product.clear()
        done, reported, since, last = 0, 0, began, False
        while not last:
            product.multiply(done)
            counted = product.verify(done)
            unseen = counted == 0
            last = time.monotonic() - began >= seconds or rig.stopping()
            words = _doubted(product, done) if unseen and (last or done % EVERY_ROW == 0) else []
            if words or not unseen:
                wrong = len(words)
                if not unseen:
                    located, words = locate(product, done, rig.beat)
                    wrong = max(counted, located)  # what is right when it is read again was wrong all the same
                    words = words or [WrongWord(index=0, expected=0, found=counted, where="a row", kind=NOT_AGAIN)]
                inputs, damaged = product.wrong_inputs()
                yield Sample(
                    what=what, gpu=rig.gpu.info.key, seconds=time.monotonic() - since, checked=m * n, of="elements",
                    wrong=wrong, words=(*damaged[:8], *words),
                    notes={**notes, "product": done, "wrong_input_words": inputs})
                if inputs:
                    product.refill()
                product.clear()
                reported, since = done + 1, time.monotonic()
            done += 1
            rig.beat(f"{kernel.element} exact: {done} products", part_of(began, seconds))
            if time.monotonic() - since > 1.0:
                yield _exact_sample(rig, what, shape, notes, done - reported, since)
                reported, since = done, time.monotonic()
        if done > reported:
            yield _exact_sample(rig, what, shape, notes, done - reported, since)
        inputs, damaged = product.wrong_inputs()
        if not inputs and not sees_inputs(product):
            inputs, damaged = 1, [WrongWord(index=0, expected=1, found=0, where="an input", kind=NOT_SEEN)]
        yield Sample(
            what=f"matmul.{kernel.element}.inputs", gpu=rig.gpu.info.key, seconds=time.monotonic() - began,
            checked=k * (m + 2 * n) * product.element.bytes // 4, of="words", wrong=inputs, words=tuple(damaged[:16]),
            notes=notes)


def _doubted(product: Exact, number: int) -> list[WrongWord]:
    """What numpy finds wrong in a row of a product that the comparing kernel called right; where that is nothing,
    whether this kernel sees damage in that row."""
    from boxcheck.stress.comparators import sees_a_row

    row = _row_of(number, product.shape[0])
    words = product.wrong_in_row(number, row)
    stored = product.row(row) & 0x7FFFFFFF
    column = int(stored.argmax())  # not 0, where any is not
    if words or sees_a_row(product, number, row, column):
        return words
    return [WrongWord(
        index=row * product.shape[1] + column, expected=1, found=0, where=f"row {row}, column {column}",
        kind=NOT_SEEN)]


def _row_of(number: int, rows: int) -> int:
    """Some row, another for each product: steps of the golden section come everywhere (Knuth, TAOCP 3, 6.4)."""
    return int(number // EVERY_ROW * 0.6180339887 * rows + rows // 2) % rows


def _exact_sample(
    rig: Rig, what: str, shape: Shape, notes: dict[str, str | int | float], products: int, since: float
) -> Sample:
    return Sample(
        what=what, gpu=rig.gpu.info.key, seconds=time.monotonic() - since, checked=products * shape[0] * shape[1],
        of="elements", wrong=0, notes={**notes, "products": products})


def exact_once(rig: Rig, engine: Engine, shape: Shape, verified: set[tuple[str, Shape]]) -> Iterator[Sample]:
    """One exact product of a kernel of boxcheck, of these rows and columns, as deep as exact data can be. Libraries
    made theirs before they were chosen (`library_proof.at_full_size`)."""
    from boxcheck.kernels.matrix import ELEMENTS, MatrixKernel

    m, n, k = shape
    exact = (m, n, min(k, ELEMENTS[engine.element].longest_k))
    if isinstance(engine, MatrixKernel) and (engine.name, exact) not in verified:
        yield from exact_phase(rig, engine, exact, 0.0)
        verified.add((engine.name, exact))


def part_of(began: float, seconds: float) -> float:
    return min(1.0, (time.monotonic() - began) / max(seconds, 1e-9))
