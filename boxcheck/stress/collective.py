"""Ring collectives over all GPUs, with exact sums: all-reduce, all-gather, reduce-scatter, and all of them in training.

Data is 32-bit integers, keyed by place, rank and round; their sums modulo 2^32 have one right value, which every rank
compares in full after every collective. The last part overlaps them with matrix products as training with ZeRO-3 does.

By hand  boxcheck stress run collective --seconds 60
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.stress.collective_ring import Ring
    from boxcheck.stress.collective_round import Piece
    from boxcheck.stress.collective_train import Products, Step

NAMES = ("all-reduce", "all-gather", "reduce-scatter")
TRAINING = "zero3"
PIECE_SECONDS = 0.25
PIECES_A_RUN = 50
TRAINING_TIMES = 1.5
"""Time of training, as a multiple of that of the collectives alone."""


def bus_factor(name: str, count: int) -> float:
    """Bytes that a link carries for each byte of the vector (nccl-tests, doc/PERFORMANCE.md)."""
    return {"all-reduce": 2.0, TRAINING: 3.0}.get(name, 1.0) * (count - 1) / count


@stress("collective", scope="all", peers=2, faults=("flip-payload", "drop-write", "stale", "hang", "slow"))
def collective(rig: Rig) -> Iterator[Sample]:
    """Ring collectives over all GPUs, exact sums, alone and under matrix products as in training with ZeRO-3.

    Rates are bus bandwidths: what each link carries. Options: `megabytes` (of the vector, 256), `compute` (time of the
    products of a training step, as a multiple of that of its collectives, 1), `size=test`.
    """
    from boxcheck.stress.collective_ring import COLLECTIVES, Ring
    from boxcheck.stress.collective_round import repeat
    from boxcheck.stress.collective_train import GATHERS, counts, prepare, step
    from boxcheck.stress.transfers import during, key_of, self_test

    if len(rig.gpus) < 2:
        raise GpuError("unsupported", "collectives need two GPUs")
    ratio = _ratio(rig)
    ring = Ring(rig)
    for verifier in ring.verifiers:
        with during(verifier.gpu.info.key):
            yield self_test("collective", verifier)
    products = yield from prepare(rig)  # where it is empty, the checks say that nothing was multiplied
    rig.wait_for_start()
    seconds = min(PIECE_SECONDS, rig.seconds / PIECES_A_RUN)
    began, pieces, steps = time.monotonic(), 0, 0
    alone: dict[str, float] = {}
    """Seconds of one collective, alone."""
    while not pieces or time.monotonic() - began < rig.seconds:
        since = time.monotonic()
        for name in COLLECTIVES:
            if rig.stopping():
                return
            rig.beat(name, (time.monotonic() - began) / max(rig.seconds, 1e-3))
            with during(name):
                piece = repeat(rig, ring, name, seconds, key_of(rig.seed, pieces))
            pieces += 1
            alone[name] = min(piece.times)
            yield from _samples(ring, name, piece)
        number_of = counts(products, GATHERS * alone["all-gather"] + alone["reduce-scatter"], ratio)
        until = time.monotonic() + TRAINING_TIMES * (time.monotonic() - since)
        first = steps
        while products and (steps == first or time.monotonic() < until):
            if rig.stopping():
                return
            doing = f"training step {steps + 1}"
            rig.beat(doing, (time.monotonic() - began) / max(rig.seconds, 1e-3))
            with during(doing):
                done = step(ring, products, number_of, key_of(rig.seed, steps, 17))
            steps += 1
            yield from _samples(ring, TRAINING, done.piece, done)
            yield from _products(ring, products, done)


def _ratio(rig: Rig) -> float:
    asked = rig.options.get("compute", "1")
    try:
        ratio = float(asked)
    except ValueError:
        ratio = 0.0
    if not 0.01 <= ratio <= 100:
        raise GpuError("unsupported", f"compute={asked} is no number from 0.01 to 100")
    return ratio


def _samples(ring: Ring, name: str, piece: Piece, step: Step | None = None) -> Iterator[Sample]:
    """A sample for each rank, and one for its hop to the next: its first copy, which waits for nobody."""
    from boxcheck.stress.transfers import GRANULE, rate_of

    vector = ring.granules * GRANULE
    for rank, one in enumerate(piece.ranks):
        after = ring.keys[ring.next_of(rank)]
        way = {f"{ring.keys[rank]}>{after}": one.moved_bytes}
        if not ring.direct[rank]:
            way = {f"{ring.keys[rank]}>host": one.moved_bytes, f"host>{after}": one.moved_bytes}
        notes: dict[str, str | int | float] = {"bytes": vector, "rounds": piece.rounds, "ranks": ring.count}
        if step is not None:
            notes |= {"products": step.products[rank], "product_seconds": round(step.product_seconds[rank], 6)}
        if one.hop:
            notes["hop"] = one.hop
        kind = "staged." if ring.staged else ""
        yield Sample(
            what=f"collective.{kind}{name}", gpu=ring.keys[rank], seconds=sum(piece.times),
            value=rate_of(bus_factor(name, ring.count) * vector, piece.times), unit="GB/s",
            checked=one.checked, wrong=one.wrong, words=one.words, moved=way, notes=notes)
        if ring.direct[rank] and one.hop_times and not piece.wrong:  # among those above, moved and compared there
            size = ring.sizes[rank] * GRANULE
            yield Sample(
                what=f"collective.hop.{name}", gpu=ring.keys[rank], peer=after, seconds=sum(one.hop_times),
                value=rate_of(size, one.hop_times), unit="GB/s", checked=size // 4 * len(one.hop_times),
                wrong=0, notes={"bytes": vector, "rounds": piece.rounds})


def _products(ring: Ring, products: list[Products], step: Step) -> Iterator[Sample]:
    for rank, one in enumerate(products):
        spent, count = step.product_seconds[rank], step.products[rank]
        yield Sample(
            what="collective.product", gpu=ring.keys[rank], seconds=spent,
            value=count * one.random.operations / max(spent, 1e-9) / 1e12, unit="TFLOPS",
            checked=step.checked[rank], of="digests", wrong=len(step.wrong[rank]),
            notes={
                "kernel": one.name, "shape": "x".join(map(str, one.random.shape)), "products": count,
                "digest": one.reference.text, "verified_percent": round(100 * step.checked[rank] / count, 1),
                "rate_of": "products with verification",
                **({"found": f"{step.wrong[rank][0]:016x}"} if step.wrong[rank] else {})})
