"""What collectives leave on a rank, compared by the host in part: see `host_look`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

from boxcheck.kernels import reference
from boxcheck.stress.collective_ring import Collective, Ring
from boxcheck.stress.host_look import PLACES, Seen, look, place_of
from boxcheck.stress.transfers import GRANULE


def look_at(
    ring: Ring, name: Collective, key: int, ranks: Iterable[int], places: int = PLACES
) -> dict[int, Seen]:
    """What the host finds wrong in the result of the last collective of this name and key, on these ranks. The ranks'
    own comparisons must be done. Where it looks goes by the key."""
    found = {}
    for rank in ranks:
        seen = found[rank] = Seen()
        for place in range(places):
            chunk = ring.next_of(rank) if name == "reduce-scatter" else place_of(key, 64 * rank + place, ring.count)
            first = ring.firsts[chunk]
            terms = [chunk] if name == "all-gather" else list(range(ring.count))
            buffers = ring.data if name == "reduce-scatter" else ring.out
            seen.add(look(
                ring.verifiers[rank].gpu, buffers[rank][chunk], ring.sizes[chunk],
                partial(_sum, first, [(key + term) & 0xFFFFFFFF for term in terms]), key + place, places=1,
                where=partial(_where, f"of {ring.granules * GRANULE}, chunk {chunk} of {name}", first)))
    return found


def _sum(first: int, keys: list[int], granule: int, count: int) -> npt.NDArray[np.uint32]:
    words = np.zeros(4 * count, np.uint32)
    for key in keys:
        words += reference.pattern(first + granule, count, 0, key)
    return words


def _where(of: str, first: int, word: int) -> str:
    return f"byte 0x{GRANULE * first + 4 * word:x} {of}"
