"""Products of random data at full power, known by digest, and how many of them are digested."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING

import msgspec

from boxcheck.gpu import Gpu, GpuError
from boxcheck.stress import Rig, Sample
from boxcheck.stress.matmul_exact import exact_once, part_of
from boxcheck.stress.telling import sample_seconds, spread_of

if TYPE_CHECKING:
    from boxcheck.stress.products import Engine, Random, Shape
    from boxcheck.stress.random_proof import Reference

DIGEST_PART = 0.03
"""Of the power phase's time at most goes into digests: it decides how many products are digested."""
BATCH_SECONDS = 0.3
LONGEST_BATCH_SECONDS = 1.0
SAMPLES = 20
"""At least so many in the power phase of a shape, where it has as many batches."""
MOST_PRODUCTS = 1000
"""In a batch: what waits in a queue cannot be stopped."""


def power_phase(
    rig: Rig, engine: Engine, shape: Shape, seconds: float, notes: Mapping[str, str | int | float] | None = None,
    verified: set[tuple[str, Shape]] | None = None,
) -> Iterator[Sample]:
    """Products of random data, back to back, in batches of about a third of a second; a sample about every second, and
    one for each batch with a wrong product, with these notes.

    `value` is the rate of the products alone. `verify_percent` of a sample is the part of its time in which no product
    ran, for C was digested and poisoned, by marks; `verified_percent` the part of its products that were digested. An
    exact product of the kernel comes first unless one of these rows and columns is among the `verified`.
    """
    from boxcheck.stress.library_proof import naming
    from boxcheck.stress.products import Random
    from boxcheck.stress.random_proof import learn

    m, n, k = shape
    gpu = rig.gpu
    yield from exact_once(rig, engine, shape, set() if verified is None else verified)
    with naming(rig, engine), Random(gpu, engine, shape, rig.seed) as product:
        reference = learn(product, rig.beat)
        fixed: dict[str, str | int | float] = {
            **(notes or {}), "kernel": engine.name, "shape": f"{m}x{n}x{k}", "digest": reference.text}
        began = time.monotonic()
        if reference.wrong:
            yield Sample(
                what=f"matmul.{engine.element}.power", gpu=gpu.info.key, seconds=0.0, checked=reference.checked,
                of="digests", wrong=reference.wrong, words=reference.words,
                notes={**fixed, "products": reference.checked, "doing": "the first products"})
        if not reference.usable:
            return
        told = Batches(product, fixed, sample_seconds(seconds, SAMPLES))
        one, verifying = costs(product)
        done = rounds = 0
        try:
            while rounds == 0 or (time.monotonic() - began < seconds and not rig.stopping()):
                batch = batch_after(product, reference, done, spacing(one, verifying), batch_of(one, verifying))
                rounds, done = rounds + 1, done + batch.products
                yield from told.add(batch)
                rig.beat(f"{engine.element} power: {done} products", part_of(began, seconds))
                one, verifying = batch.seconds / batch.products, batch.digesting_seconds / batch.digested
        except GpuError:
            yield from told.rest()  # those before it were right
            raise
        yield from told.rest()


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Products back to back, some of them digested, the last one always."""

    products: int
    digested: int
    wrong: list[int]
    """Digests that are not what they must be."""
    seconds: float
    """Of the products alone."""
    digesting_seconds: float


def batch_after(product: Random, reference: Reference, done: int, every: int, repeat: int) -> Batch:
    """So many products, after those that were `done`; each so-manieth is digested. Fewer where the call itself does the
    work, on a processor, and takes longer than it did before: else a busy host makes a batch of minutes."""
    gpu, began = product.gpu, time.monotonic()
    marks = [gpu.mark()]
    numbers: list[int] = []
    late = False
    for number in range(done, done + repeat):
        product.multiply(number)
        late = time.monotonic() - began > 2 * LONGEST_BATCH_SECONDS
        if (number - done + 1) % every == 0 or late:
            marks.append(gpu.mark())
            product.take(len(numbers))
            marks.append(gpu.mark())
            numbers.append(number)
        if late:
            break
    found = product.taken(len(numbers))
    spans = [gpu.seconds_between(*ends) for ends in pairwise(marks)]
    return Batch(
        products=number + 1 - done, digested=len(numbers), wrong=reference.wrong_of(numbers, found),
        seconds=sum(spans[0::2]), digesting_seconds=sum(spans[1::2]))


class Batches:
    """Batches that are told together. One with something wrong in it is told at once and by itself."""

    def __init__(self, product: Random, notes: Mapping[str, str | int | float], seconds: float) -> None:
        self._product, self._notes, self._seconds = product, notes, seconds
        self._batches: list[Batch] = []
        self._since = time.monotonic()

    def add(self, batch: Batch) -> Iterator[Sample]:
        if batch.wrong:
            yield from self.rest()
            yield self._sample([batch])
            return
        self._batches.append(batch)
        if time.monotonic() - self._since >= self._seconds:
            yield from self.rest()

    def rest(self) -> Iterator[Sample]:
        """What was not told yet."""
        batches, self._batches, self._since = self._batches, [], time.monotonic()
        if batches:
            yield self._sample(batches)

    def _sample(self, batches: Sequence[Batch]) -> Sample:
        product, wrong = self._product, [digest for one in batches for digest in one.wrong]
        products, digested = sum(one.products for one in batches), sum(one.digested for one in batches)
        spent, digesting = sum(one.seconds for one in batches), sum(one.digesting_seconds for one in batches)
        return Sample(
            what=f"matmul.{product.kernel.element}.power", gpu=product.gpu.info.key, seconds=spent,
            value=products * product.operations / max(spent, 1e-9) / 1e12, unit="TFLOPS", checked=digested,
            of="digests", wrong=len(wrong), notes={
                **self._notes, "products": products, "rate_of": "products alone",
                "spread_percent": spread_of([one.seconds / one.products for one in batches]),
                "verified_percent": round(100 * digested / products, 1),
                "verify_percent": round(100 * digesting / max(digesting + spent, 1e-9), 2),
                **({"found": f"{wrong[0]:016x}"} if wrong else {})})


def spacing(product_seconds: float, verify_seconds: float) -> int:
    """Each so-manieth product is digested: each one where digests then take at most `DIGEST_PART` of the time. An odd
    number, so that both products have their turn, and one that was left out leaves the other's bits."""
    needed = ceil(verify_seconds * (1 / DIGEST_PART - 1) / max(product_seconds, 1e-6))
    most = max(1, min(MOST_PRODUCTS, floor(LONGEST_BATCH_SECONDS / max(product_seconds, 1e-6))))
    every = max(1, min(needed, most))
    return every if every % 2 else min(every + 1, most - 1 + most % 2)


def batch_of(product_seconds: float, verify_seconds: float) -> int:
    """Products of a batch: about `BATCH_SECONDS` of them; the last one is digested."""
    every = spacing(product_seconds, verify_seconds)
    wanted = min(ceil(BATCH_SECONDS / max(product_seconds, 1e-6)), MOST_PRODUCTS)
    return every * max(1, min(ceil(wanted / every), MOST_PRODUCTS // every))


def costs(product: Random) -> tuple[float, float]:
    """Seconds of a product, and of digesting and poisoning it: the lesser of two each. C is full of poison after it."""
    multiplying = min(_seconds_of(product.gpu, product.multiply) for _ in range(2))
    digesting = min(_seconds_of(product.gpu, lambda: product.take(0)) for _ in range(2))
    product.taken(1)
    return multiplying, digesting


def _seconds_of(gpu: Gpu, work: Callable[[], object]) -> float:
    before = gpu.mark()
    work()
    return gpu.seconds_between(before, gpu.mark())
