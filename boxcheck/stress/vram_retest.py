"""What became wrong, looked at again: later reads after other traffic, and its neighbourhood written and read anew.

A word that is right later was read wrong; one that is wrong again when it is written anew is a bad cell; one that is
not was disturbed once.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from boxcheck.stress.transfers import GRANULE
from boxcheck.stress.vram_patterns import Pattern
from boxcheck.stress.vram_records import Record
from boxcheck.stress.vram_region import Block, Region

LATER_READS = 3
RETESTS = 4
"""Two of the pattern that failed and two of its opposite."""
MOST_WORDS = 16
MOST_NEIGHBOURHOODS = 4
NEIGHBOURHOOD_BYTES = 64 << 10
"""As much as lies in a few rows of one bank of a memory chip (rows hold 1 to 2 KiB)."""


def look_again(region: Region, records: Sequence[Record], held: Pattern) -> list[Record]:
    """The records of one pass, some with what later reads and tries showed. `held` is what the region holds now, and
    holds again afterwards."""
    chosen = list(records[:: max(1, -(-len(records) // MOST_WORDS))])
    later = _read_later(region, chosen, held)
    retests = _retest(region, chosen, held)
    return [
        msgspec.structs.replace(
            record, later=later.get(record.index, ()), rewritten=record.pattern != held,
            retests=retests.get(record.index))
        for record in records]


def _read_later(region: Region, records: Sequence[Record], held: Pattern) -> dict[int, tuple[int, ...]]:
    """Of each word: whether later reads were wrong."""
    wrong: dict[int, list[int]] = {record.index: [] for record in records}
    for number in range(LATER_READS):
        fresh: Block | None = None
        for index in sorted(wrong):
            block = region.block_of(index)
            if block is not fresh:
                region.traffic(block, held)
                fresh = block
            offset = 4 * index - block.first * GRANULE
            found = int(region.gpu.read(block.buffer, 4, offset).view(np.uint32)[0])
            wrong[index].append(int(found != held.word(index)))
            region.pulse.beat(f"reading again, {number + 1} of {LATER_READS}")
    return {index: tuple(seen) for index, seen in wrong.items()}


def _retest(region: Region, records: Sequence[Record], held: Pattern) -> dict[int, tuple[int, int]]:
    """Of each word: how often it was wrong again, of how many tries."""
    windows: dict[tuple[int, int], list[Record]] = {}
    for record in records:
        block = region.block_of(record.index)
        offset = 4 * record.index - block.first * GRANULE
        key = (block.number, offset // NEIGHBOURHOOD_BYTES)
        if key in windows or len(windows) < MOST_NEIGHBOURHOODS:
            windows.setdefault(key, []).append(record)
    tried: dict[int, tuple[int, int]] = {}
    for (number, window), mine in windows.items():
        block = region.blocks[number]
        start = window * NEIGHBOURHOOD_BYTES
        count = min(NEIGHBOURHOOD_BYTES, block.size_bytes - start) // GRANULE
        first = block.first + start // GRANULE
        wrong = dict.fromkeys((record.index for record in mine), 0)
        for number_of_try in range(RETESTS):
            words = mine[0].pattern.words(first, count)
            words = ~words if number_of_try % 2 else words
            for index in _wrong_words(region, block, start, words, held):
                if 4 * first + index in wrong:
                    wrong[4 * first + index] += 1
            region.pulse.beat(f"writing the neighbourhood anew, {number_of_try + 1} of {RETESTS}")
        region.gpu.write(block.buffer, held.words(first, count), start)
        tried.update({index: (bad, RETESTS) for index, bad in wrong.items()})
    return tried


def _wrong_words(region: Region, block: Block, start: int, words: object, held: Pattern) -> list[int]:
    """Which words, from the start of the neighbourhood on, are wrong after they were written and left the caches."""
    data = np.asarray(words, np.uint32)
    region.gpu.write(block.buffer, data, start)
    region.traffic(block, held)
    found = region.gpu.read(block.buffer, data.nbytes, start).view(np.uint32)
    return [int(index) for index in np.flatnonzero(found != data)]
