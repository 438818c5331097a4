"""What memory holds between two passes, compared by the host in part: see `host_look`.

A pass that compares nothing, or writes nothing, says "0 wrong". What the host finds wrong before a pass, that pass must
find as well; where it finds nothing at all, it did not look.
"""

from __future__ import annotations

from functools import partial

import msgspec

from boxcheck.stress.host_look import Seen, look, place_of
from boxcheck.stress.vram_patterns import Pattern
from boxcheck.stress.vram_region import Block, Region

BLOCKS, BLOCK_BYTES = 4, 16 << 10
"""Blocks that are looked at before each pass, and how much of each: 0.4 ms with numpy's part, of passes of 50 ms and
more (8 GiB at 300 GB/s, or 24 GiB at 1000 GB/s)."""


def look_at(region: Region, pattern: Pattern, turn: int) -> Seen:
    """What the host finds wrong in the region, which holds this pattern. Words are numbered through the region."""
    found = Seen()
    for place in range(BLOCKS):
        block = region.blocks[place_of(turn, 8 + place, len(region.blocks))]
        seen = look(
            region.real, block.buffer, block.granules, lambda first, count, block=block: (  # type: ignore[misc]
                pattern.words(block.first + first, count)), turn + place, places=1, place_bytes=BLOCK_BYTES,
            where=partial(_where, region, block))
        found.add(Seen(seen.wrong, [
            msgspec.structs.replace(word, index=4 * block.first + word.index) for word in seen.words]))
    return found


def _where(region: Region, block: Block, word: int) -> str:
    return region.where(4 * block.first + word)
