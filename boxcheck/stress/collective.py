"""Ring collectives over all GPUs, with exact sums: all-reduce, all-gather, reduce-scatter, and all of them in training.

Data is 32-bit integers, keyed by place, rank and round; their sums modulo 2^32 have one right value, which every rank
compares in full after every collective. The last part overlaps them with matrix products as training with ZeRO-3 does.
Where the vendor's library is found (NCCL, RCCL), it does the three of them too, over data of the same keys.

By hand  boxcheck stress run collective --seconds 60
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample
from boxcheck.stress.telling import sample_seconds, spread_of

if TYPE_CHECKING:
    from boxcheck.stress.collective_library import Beside
    from boxcheck.stress.collective_ring import Ring
    from boxcheck.stress.collective_round import Piece
    from boxcheck.stress.collective_train import Products, Step

NAMES = ("all-reduce", "all-gather", "reduce-scatter")
TRAINING = "zero3"
LIBRARY = "collective.library"
"""What the names of the library's samples begin with."""
PIECES_A_RUN = 50
"""At least so many pieces in a run, so that a rate that falls while it runs is seen."""
TRAINING_TIMES = 1.5
"""Time of training, as a multiple of that of the collectives alone."""


def bus_factor(name: str, count: int) -> float:
    """Bytes that a link carries for each byte of the vector (nccl-tests, doc/PERFORMANCE.md)."""
    return {"all-reduce": 2.0, TRAINING: 3.0}.get(name, 1.0) * (count - 1) / count


@stress("collective", scope="all", peers=2, faults=("flip-payload", "drop-write", "stale", "hang", "slow"))
def collective(rig: Rig) -> Iterator[Sample]:
    """Ring collectives over all GPUs, exact sums, alone and under matrix products as in training with ZeRO-3.

    Rates are bus bandwidths: what each link carries. Options: `megabytes` (of the vector, 256), `compute` (time of the
    products of a training step, as a multiple of that of its collectives, 1), `engine` (own: without the vendor's
    library; library: not without it), `size=test`.
    """
    from boxcheck.stress.collective_library import Beside
    from boxcheck.stress.collective_ring import Ring
    from boxcheck.stress.collective_train import prepare
    from boxcheck.stress.transfer_proof import Proofs

    if len(rig.gpus) < 2:
        raise GpuError("unsupported", "collectives need two GPUs")
    ratio = _ratio(rig)
    ring = Ring(rig)
    proofs = Proofs("collective", ring.verifiers)
    yield from proofs.all()
    products = yield from prepare(rig)  # where it is empty, the checks say that nothing was multiplied
    with Beside(rig, ring) as beside:
        rig.wait_for_start()
        for sample in _cycles(rig, ring, products, ratio, beside):
            yield sample
            yield from proofs.due()
    yield from proofs.all()


def _cycles(rig: Rig, ring: Ring, products: list[Products], ratio: float, beside: Beside) -> Iterator[Sample]:
    """Collectives alone, in training, and by the library, again and again; all of it once at least."""
    from boxcheck.stress.collective_library import run_all
    from boxcheck.stress.collective_ring import COLLECTIVES
    from boxcheck.stress.collective_round import repeat
    from boxcheck.stress.collective_train import GATHERS, counts
    from boxcheck.stress.transfers import during, key_of

    seconds = sample_seconds(rig.seconds, PIECES_A_RUN)
    began, pieces, steps = time.monotonic(), 0, 0
    alone: dict[str, float] = {}
    """Seconds of one collective, alone."""
    while not pieces or time.monotonic() - began < rig.seconds:
        since, seeds = time.monotonic(), list[int]()
        for name in COLLECTIVES:
            if rig.stopping():
                return
            rig.beat(name, (time.monotonic() - began) / max(rig.seconds, 1e-3))
            seeds.append(key_of(rig.seed, pieces))
            with during(name):
                piece = repeat(rig, ring, name, seconds, seeds[-1])
            pieces += 1
            alone[name] = min(piece.times)
            yield from _samples(ring, name, piece, library=beside.notes)
        number_of = counts(products, GATHERS * alone["all-gather"] + alone["reduce-scatter"], ratio)
        until = time.monotonic() + TRAINING_TIMES * (time.monotonic() - since)
        if products:
            steps = yield from _train(rig, ring, products, number_of, seconds, (began, until), steps)
        yield from run_all(
            beside, COLLECTIVES, seconds, seeds, (time.monotonic() - began) / max(rig.seconds, 1e-3), rig)


def _train(
    rig: Rig, ring: Ring, products: list[Products], number_of: list[int], seconds: float, span: tuple[float, float],
    done: int,
) -> Generator[Sample, None, int]:
    """Steps of training, one at least, until the end of `span`, which begins with the run; told every so many
    `seconds`. `done` are those before; gives how many there are with these."""
    from boxcheck.stress.collective_train import Steps, step
    from boxcheck.stress.transfers import during, key_of

    steps, together = done, Steps(seconds)
    try:
        while (steps == done or time.monotonic() < span[1]) and not rig.stopping():
            doing = f"training step {steps + 1}"
            rig.beat(doing, (time.monotonic() - span[0]) / max(rig.seconds, 1e-3))
            with during(doing):
                told = together.add(step(ring, products, number_of, key_of(rig.seed, steps, 17)))
            steps += 1
            yield from _training(ring, products, told)
    except GpuError:
        yield from _training(ring, products, together.rest())  # those before it were right
        raise
    yield from _training(ring, products, together.rest())
    return steps


def _ratio(rig: Rig) -> float:
    asked = rig.options.get("compute", "1")
    try:
        ratio = float(asked)
    except ValueError:
        ratio = 0.0
    if not 0.01 <= ratio <= 100:
        raise GpuError("unsupported", f"compute={asked} is no number from 0.01 to 100")
    return ratio


def _samples(
    ring: Ring, name: str, piece: Piece, step: Step | None = None, library: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Sample]:
    """A sample for each rank, and one for its hop to the next: its first copy, which waits for nobody."""
    from boxcheck.stress.transfers import GRANULE, rate_of

    vector = ring.granules * GRANULE
    for rank, one in enumerate(piece.ranks):
        after = ring.keys[ring.next_of(rank)]
        way = {f"{ring.keys[rank]}>{after}": one.moved_bytes}
        if not ring.direct[rank]:
            way = {f"{ring.keys[rank]}>host": one.moved_bytes, f"host>{after}": one.moved_bytes}
        notes: dict[str, str | int | float] = {
            "bytes": vector, "rounds": piece.rounds, "ranks": ring.count, "spread_percent": spread_of(piece.times),
            **library}
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


def _training(ring: Ring, products: list[Products], told: Iterable[Step]) -> Iterator[Sample]:
    for one in told:
        yield from _samples(ring, TRAINING, one.piece, one)
        yield from _products(ring, products, one)


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
