"""Traffic of `wake` that loads a link one way or both, in large copies and small packets, told piece by piece.

What error rates are measured by needs to know what crossed a link when, so samples are given all the time. Both ways at
once go as `wake` does it: each copy's payload is the next one's, so a comparison now and then answers for all. One way
alone goes as `copy` does it, every round compared: nothing but requests and acknowledgements goes the other way then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from boxcheck.stress import Rig, Sample
from boxcheck.stress.transfers import real
from boxcheck.stress.wake import FULL_BYTES, TEST_BYTES, TRIPS, Compared, Payloads

if TYPE_CHECKING:
    from boxcheck.gpu import Gpu, Place

SMALL_BYTES = (64, 4096, 256, 1024, 128, 2048, 512)
"""Of pieces, in turn: packets of less than a whole payload, and several of them."""
SMALL_PART = 1024
"""The last 1/1024 of a copy goes in small pieces: 64 KiB of 64 MiB, 56 of them. Each costs a driver some 5 to 15 us, so
together less than a third of the time of the large one on a fast link (an estimate)."""
ALIGNED_BYTES = 64
SAMPLE_SECONDS = 0.5
"""That one sample of both ways is of. What was compared in it is compared several times a second at full size."""
PIECE_SECONDS = 0.25
DIRECTION = {"to": "host-to-device", "from": "device-to-host"}


def cut(size_bytes: int) -> Iterator[tuple[int, int]]:
    """Where each piece of a copy begins, and its size: a large one, then small ones."""
    left = size_bytes // SMALL_PART // ALIGNED_BYTES * ALIGNED_BYTES
    yield 0, size_bytes - left
    turn = 0
    while left > 0:
        size = min(left, SMALL_BYTES[turn % len(SMALL_BYTES)])
        yield size_bytes - left, size
        left, turn = left - size, turn + 1


class Mixing:
    """A device whose every copy goes in a large piece and small ones."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.real = real(gpu)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def copy(
        self, target: Place, source: Place, size_bytes: int, *, target_offset: int = 0, source_offset: int = 0,
        queue: int = 0,
    ) -> None:
        for at, size in cut(size_bytes):
            self._gpu.copy(
                target, source, size, target_offset=target_offset + at, source_offset=source_offset + at, queue=queue)


def link_traffic(rig: Rig) -> Iterator[Sample]:
    """Samples of verified copies, `wake.both`, `wake.to` or `wake.from`, about two a second."""
    way = rig.options.get("way", "both")
    gpu: Any = Mixing(rig.gpu) if rig.options.get("pieces") == "mixed" else rig.gpu
    mixed = Rig([gpu], seconds=rig.seconds, seed=rig.seed, options=rig.options, stopping=rig.stopping, beat=rig.beat)
    yield from _both(mixed) if way == "both" else _alone(mixed, way)


def _both(rig: Rig) -> Iterator[Sample]:
    gpu, key = rig.gpu, rig.gpu.info.key
    size_bytes = FULL_BYTES if rig.full_size else TEST_BYTES
    payloads = Payloads(gpu, size_bytes, rig.seed)
    began, samples = time.monotonic(), 0
    while not samples or (time.monotonic() - began < rig.seconds and not rig.stopping()):
        since, done, copies, spent = time.monotonic(), Compared(), 0, 0.0
        until = min(since + SAMPLE_SECONDS, began + rig.seconds)
        while not copies or (time.monotonic() < until and not rig.stopping()):
            begun = time.monotonic()
            payloads.up_alone()
            copies, trips = copies + 1, 0
            # Less than half of the turns after which a payload lies as before, however fast they go.
            while trips == 0 or (trips < TRIPS and time.monotonic() < until and not rig.stopping()):
                for turn in (payloads.there, payloads.back):
                    turn()
                    copies += 1
                    rig.beat("copies both ways", (time.monotonic() - began) / max(rig.seconds, 1e-3))
                trips += 1
            payloads.down_alone()
            spent += time.monotonic() - begun
            payloads.compare(done)
        samples += 1
        moved = copies * size_bytes
        yield Sample(
            what="wake.both", gpu=key, peer="host", seconds=spent, unit="GB/s",
            value=2 * moved / max(spent, 1e-9) / 1e9, checked=done.words, of="words", wrong=done.wrong,
            words=tuple(done.named), notes={"copies": copies, "pieces": rig.options.get("pieces", "large")},
            moved={f"host>{key}": moved, f"{key}>host": moved})


def _alone(rig: Rig, way: str) -> Iterator[Sample]:
    from boxcheck.stress.copy_ends import Ends
    from boxcheck.stress.transfer_proof import Proofs
    from boxcheck.stress.transfers import Verifier

    proofs = Proofs("wake", [Verifier(rig.gpu)])
    yield from proofs.all()
    ends = Ends(rig)
    kind = ends.kinds[0]  # pinned memory, where that can be had
    began, pieces = time.monotonic(), 0
    while not pieces or (time.monotonic() - began < rig.seconds and not rig.stopping()):
        rig.beat(f"copies {way} the device", (time.monotonic() - began) / max(rig.seconds, 1e-3))
        for sample in ends.piece(kind, (DIRECTION[way],), min(PIECE_SECONDS, max(rig.seconds, 1e-3))):
            yield msgspec.structs.replace(sample, what=f"wake.{way}")
        yield from proofs.due()
        pieces += 1
    yield from proofs.all()
