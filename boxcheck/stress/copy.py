"""Copies between the host and a GPU: pinned and pageable memory, each direction alone and both at once.

Every byte that is moved is compared: what arrives on the GPU by a kernel there, what arrives on the host by the host.
The host also reads back, in each round, a few KiB at changing places of what arrived on the GPU, and compares them.
Each copy has a slice of its own, and from round to round every slice brings other data, so that a copy that was left
out, or brought what was there before, is seen whichever it was. The target holds poison when a piece begins.

By hand  boxcheck stress run copy --seconds 30
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.stress.copy_ends import Ends
    from boxcheck.stress.transfer_proof import Proofs

FULL_BYTES = 256 << 20
TEST_BYTES = 256 << 10
PIECE_SECONDS = 0.25
"""Time of copying that a sample is of."""
PIECES_A_RUN = 100
"""At least so many pieces in a run, so that a rate that falls while it runs is seen."""
DIRECTIONS = ("host-to-device", "device-to-host")
KINDS = ("pinned", "pageable")


def names() -> tuple[str, ...]:
    """`Sample.what` of everything that a whole run compares."""
    alone = [f"copy.{direction}.{kind}" for kind in KINDS for direction in DIRECTIONS]
    return (*alone, *(f"copy.both.{direction}.{kind}" for kind in KINDS for direction in DIRECTIONS))


@stress("copy", alone_first=True, faults=("flip-payload", "drop-write", "stale", "hang", "slow"))
def copy(rig: Rig) -> Iterator[Sample]:
    """Copies between the host and each GPU, every byte verified.

    First each GPU alone (`together=no`), when rates are judged; then all at once, when they share the host's memory.
    Options: `megabytes` (of one round, 256), `size=test`.
    """
    from boxcheck.stress.copy_ends import Ends
    from boxcheck.stress.transfer_proof import Proofs
    from boxcheck.stress.transfers import Verifier

    proofs = Proofs("copy", [Verifier(rig.gpu)])
    yield from proofs.all()
    ends = Ends(rig)
    yield from ends.refused
    rig.wait_for_start()
    yield from _cycles(rig, ends, proofs)
    yield from proofs.all()


def _cycles(rig: Rig, ends: Ends, proofs: Proofs) -> Iterator[Sample]:
    piece = min(PIECE_SECONDS, rig.seconds / PIECES_A_RUN)
    began, cycles = time.monotonic(), 0
    while cycles == 0 or time.monotonic() - began < rig.seconds:
        for kind in ends.kinds:
            for directions in ((DIRECTIONS[0],), (DIRECTIONS[1],), DIRECTIONS):
                if rig.stopping():
                    return
                rig.beat(
                    f"{' and '.join(directions)}, {kind} memory", (time.monotonic() - began) / max(rig.seconds, 1e-3))
                yield from ends.piece(kind, directions, piece)
                yield from proofs.due()
        cycles += 1
