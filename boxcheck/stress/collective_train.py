"""Collectives under matrix products, in the proportions of training with ZeRO-3.

In each step every GPU gathers all parameters twice, for the forward and for the backward pass, and scatters its
gradients once: 3 (G - 1) / G times the model over each link, while it multiplies. This is the traffic under which
links fail that pass every benchmark of copies.

Source  S. Rajbhandari et al., ZeRO: memory optimizations toward training trillion parameter models, arXiv 1910.02054,
section 7.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

import msgspec

from boxcheck.gpu import Gpu, GpuError
from boxcheck.kernels.matrix import MatrixKernel
from boxcheck.stress import Rig, Sample
from boxcheck.stress.collective_ring import Ring
from boxcheck.stress.collective_round import Piece, Rank, add_times, compare, finish, look_too, new_piece, settle, start
from boxcheck.stress.matmul_exact import exact_phase
from boxcheck.stress.matmul_power import costs, spacing
from boxcheck.stress.products import Random, Shape
from boxcheck.stress.random_proof import learn
from boxcheck.stress.transfers import key_of, real

GATHERS = 2
MOST_PRODUCTS = 2000
FULL_SIDES = (8192, 4096)
TEST_SIDE = 128


class Products:
    """Products of random data on one device, two by turns, known by their digests, on queue 0."""

    def __init__(self, gpu: Gpu, kernel: MatrixKernel, shape: Shape, seed: int) -> None:
        self.gpu = gpu
        self.random = Random(gpu, kernel, shape, seed)
        self.name = kernel.name
        self.reference = learn(self.random)
        seconds, digesting = costs(self.random)
        self.seconds = max(seconds, 1e-7)
        """Of one product, alone."""
        self.every = spacing(seconds, digesting)
        """Each so-manieth product is digested, and the last of each step."""

    def start(self, count: int) -> list[int]:
        """Starts so many products; gives the numbers of those that are digested, in the order of their slots."""
        numbers: list[int] = []
        for number in range(count):
            self.random.multiply(number)
            if (number + 1) % self.every == 0 or number == count - 1:
                self.random.take(len(numbers))
                numbers.append(number)
        return numbers


class Step(msgspec.Struct, kw_only=True):
    """A step of training, or several told together: the collectives' piece, and what multiplied beside them, for each
    device."""

    piece: Piece
    products: list[int]
    product_seconds: list[float]
    checked: list[int]
    """Products that were digested."""
    wrong: list[list[int]]
    """Digests that are not what they must be."""


class Steps:
    """Steps that are told together, about as long as a piece of the other collectives. One with something wrong in it
    is told at once and by itself, after those before it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._steps: list[Step] = []
        self._since = time.monotonic()

    def add(self, step: Step) -> list[Step]:
        """What is to be told now."""
        if step.piece.wrong or any(step.wrong):
            return [*self.rest(), step]
        self._steps.append(step)
        return self.rest() if time.monotonic() - self._since >= self._seconds else []

    def rest(self) -> list[Step]:
        """One for all that were not told yet; none where there are none."""
        steps, self._steps, self._since = self._steps, [], time.monotonic()
        return [_sum(steps)] if steps else []


def _sum(steps: Sequence[Step]) -> Step:
    """Steps in which nothing was wrong, as one."""
    pieces, devices = [one.piece for one in steps], range(len(steps[0].piece.ranks))
    piece = Piece(times=[seconds for one in pieces for seconds in one.times], ranks=[
        Rank(
            checked=sum(one.ranks[at].checked for one in pieces),
            moved_bytes=sum(one.ranks[at].moved_bytes for one in pieces),
            hop_times=[seconds for one in pieces for seconds in one.ranks[at].hop_times])
        for at in devices])
    return Step(
        piece=piece, products=[sum(one.products[at] for one in steps) for at in devices],
        product_seconds=[sum(one.product_seconds[at] for one in steps) for at in devices],
        checked=[sum(one.checked[at] for one in steps) for at in devices], wrong=[[] for _ in devices])


def prepare(rig: Rig) -> Generator[Sample, None, list[Products]]:
    """Products for each device, with the preferred kernel that is right there; and samples of what showed that it is.
    Empty where a device has none, and where its first products are not what others could be compared with."""
    from boxcheck.stress.kernel_choice import choose

    made = []
    for gpu in map(real, rig.gpus):
        rig.beat(f"matrix kernels of {gpu.info.key}", 0.0)
        kernel, proofs = choose(gpu, "bf16")
        yield from proofs
        if kernel is None or rig.stopping():
            return []
        shape = _shape(rig, gpu, kernel)
        yield from exact_phase(Rig([gpu], seconds=0.0, seed=rig.seed, beat=rig.beat), kernel, shape, 0.0)
        one = Products(gpu, kernel, shape, rig.seed)
        if one.reference.wrong:
            yield Sample(
                what="collective.product", gpu=gpu.info.key, seconds=0.0, checked=one.reference.checked, of="digests",
                wrong=one.reference.wrong, words=one.reference.words, notes={
                    "kernel": one.name, "products": one.reference.checked, "digest": one.reference.text,
                    "doing": "the first products"})
        if not one.reference.usable:
            return []
        made.append(one)
    return made


def _shape(rig: Rig, gpu: Gpu, kernel: MatrixKernel) -> Shape:
    if not rig.full_size:
        m, n, k = (max(TEST_SIDE, side) for side in kernel.tile)
        return m, n, k
    free = gpu.free_bytes()
    for side in FULL_SIDES:
        if 10 * side * side < free // 2 and all(side % of == 0 for of in kernel.tile):
            return side, side, side
    raise GpuError("out-of-memory", f"{free >> 20} MiB are free, too little for a product beside the collectives")


def counts(products: Sequence[Products], transfer_seconds: float, ratio: float) -> list[int]:
    """How many products take `ratio` times as long as the collectives of a step take alone."""
    return [max(1, min(MOST_PRODUCTS, round(ratio * transfer_seconds / one.seconds))) for one in products]


def step(ring: Ring, products: Sequence[Products], number_of: Sequence[int], seed: int) -> Step:
    """One step: products on queue 0 of every device, and beside them two all-gathers and one reduce-scatter."""
    piece = new_piece(ring)
    key, gradients = key_of(seed, 1), key_of(seed, 2)
    ring.give_shards(key)
    ring.give_data(gradients)
    begun, digested = [], []
    for one, count in zip(products, number_of, strict=True):
        one.random.poison()
        first = one.gpu.mark()
        digested.append(one.start(count))
        begun.append((first, one.gpu.mark()))
    spans = []
    for gather in range(GATHERS):
        spans.append(start(ring, "all-gather", key, fresh=False))
        compare(ring, piece, "all-gather", key, poison=gather < GATHERS - 1)
    spans.append(start(ring, "reduce-scatter", gradients, fresh=False))
    compare(ring, piece, "reduce-scatter", gradients)
    add_times(ring, piece, sum(ring.seconds(first, last) for first, last in spans))
    settle(ring, piece, {"all-gather": key, "reduce-scatter": gradients})
    seen_by_host = [seed % ring.count]  # one rank a step: 1 % of its time
    look_too(ring, piece, "all-gather", key, seen_by_host)
    look_too(ring, piece, "reduce-scatter", gradients, seen_by_host)
    return Step(
        piece=finish(ring, piece), products=list(number_of),
        product_seconds=[one.gpu.seconds_between(*marks) for one, marks in zip(products, begun, strict=True)],
        checked=[len(numbers) for numbers in digested],
        wrong=[
            one.reference.wrong_of(numbers, one.random.taken(len(numbers)))
            for one, numbers in zip(products, digested, strict=True)])
