"""Copies between GPUs: every ordered pair, by copy engine and by kernel, alone and in patterns, every byte verified.

What a driver says of peer access proves nothing: there were drivers that moved wrong data at full speed. So each
payload goes into poisoned memory, is keyed by pair, place and round, and is compared in full on the GPU that received
it, and in part by the host as well. A pair without peer access is copied by way of the host and named so.

By hand  boxcheck stress run p2p --seconds 60
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.stress.p2p_fabric import Carried, Fabric, Pace
    from boxcheck.stress.p2p_plan import Piece
    from boxcheck.stress.transfer_proof import Proofs

PIECE_SECONDS = 0.25
CYCLES = 5
"""How many cycles a run should have at least, where its time allows."""
FIRST_ROUNDS = 8
"""At full size, so that most of them find the link awake."""


@stress("p2p", scope="all", peers=2, faults=("flip-payload", "drop-write", "stale", "hang", "slow"))
def p2p(rig: Rig) -> Iterator[Sample]:
    """Copies between every two GPUs, every byte verified.

    Small payloads first: each pair in each way. Then, in cycles: one way by copy engine and by kernel, writing and
    reading; both ways; in a ring, all to all, one to all, all to one; latency. The first cycle is done whole, whatever
    time it takes. Options: `megabytes` (of one payload, 64), `size=test`.
    """
    from boxcheck.stress.p2p_fabric import Fabric
    from boxcheck.stress.transfer_proof import Proofs

    count = len(rig.gpus)
    if count < 2:
        raise GpuError("unsupported", "p2p needs two GPUs")
    fabric = Fabric(rig)
    proofs = Proofs("p2p", fabric.verifiers)
    yield from proofs.all()
    for (one, other), (answer, says) in fabric.connect().items():
        yield Sample(
            what="p2p.access", gpu=fabric.keys[one], peer=fabric.keys[other], seconds=0.0, checked=0, wrong=0,
            notes={"access": answer, **({"says": says} if says else {})})
    fabric.allocate()
    yield from _cycles(rig, fabric, proofs)
    yield from proofs.all()


def _cycles(rig: Rig, fabric: Fabric, proofs: Proofs) -> Iterator[Sample]:
    """Small payloads, and then the cycles."""
    from boxcheck.stress.p2p_fabric import Pace
    from boxcheck.stress.p2p_latency import Latency
    from boxcheck.stress.p2p_plan import cycle, latencies, small
    from boxcheck.stress.transfers import during

    count = len(fabric.gpus)
    for piece in small(count, fabric.reach):
        if rig.stopping():
            return
        yield from _carry(rig, fabric, piece, fabric.small_bytes, 1, 0.0)
    rig.wait_for_start()
    pieces, chases = cycle(count, fabric.reach), latencies(count, fabric.reach)
    pace = Pace(min(PIECE_SECONDS, rig.seconds / (CYCLES * len(pieces))), FIRST_ROUNDS if rig.full_size else 1)
    latency = Latency(fabric, rig.full_size)
    began, cycles = time.monotonic(), 0
    while cycles == 0 or time.monotonic() - began < rig.seconds:
        for piece in pieces:
            if rig.stopping() or (cycles and time.monotonic() - began > rig.seconds):
                return
            done = (time.monotonic() - began) / max(rig.seconds, 1e-3)
            yield from _carry(rig, fabric, piece, fabric.size_bytes, pace.rounds(piece), done, pace)
            yield from proofs.due()
        for piece in chases:
            if rig.stopping():
                return
            (ends,) = piece.links
            doing = f"{fabric.links[ends].name} {piece.what.removeprefix('p2p.')}"
            rig.beat(doing, (time.monotonic() - began) / max(rig.seconds, 1e-3))
            with during(doing):
                yield latency.load(ends) if piece.what.endswith("load") else latency.round_trip(ends)
        cycles += 1


def _carry(
    rig: Rig, fabric: Fabric, piece: Piece, size_bytes: int, rounds: int, done: float, pace: Pace | None = None
) -> Iterator[Sample]:
    """One piece, and a sample for each of its links."""
    from boxcheck.stress.transfers import during

    names = [fabric.links[ends].name for ends in piece.links]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    doing = f"{names[0]}{more} {piece.what.removeprefix('p2p.')}"
    rig.beat(doing, done)
    began = time.monotonic()
    with during(doing):
        carried = fabric.carry(piece, size_bytes, rounds)
    if pace is not None:
        pace.took(piece, rounds, time.monotonic() - began)
    for one in carried:
        yield _sample(fabric, piece, one, size_bytes, timed=pace is not None)


def _sample(fabric: Fabric, piece: Piece, one: Carried, size_bytes: int, timed: bool) -> Sample:
    from boxcheck.stress.p2p_fabric import moved_of

    source, target = (fabric.keys[end] for end in one.ends)
    return Sample(
        what=piece.what, gpu=source, peer=target, seconds=one.seconds,
        value=one.gigabytes_per_second if timed else None, unit="GB/s" if timed else "",
        checked=one.moved_bytes // 4, wrong=one.wrong, words=one.words,
        moved=moved_of(fabric.keys, one.ends, piece.way, one.moved_bytes),
        notes={"bytes": size_bytes, "rounds": one.rounds, "links": len(piece.links)})
