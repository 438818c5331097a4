"""Beside the passes: do the kernels see damage at all, and how fast is a copy, which passes are measured by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import GRANULES_A_GROUP
from boxcheck.stress import Sample, WrongWord, bits_word
from boxcheck.stress.judging import middle
from boxcheck.stress.products import groups_of
from boxcheck.stress.transfers import GRANULE, counted_records
from boxcheck.stress.vram_patterns import ADDRESS, POISON, WORD
from boxcheck.stress.vram_region import MOST_RECORDS, PROOF_GRANULES, Block, Region

FIRST = (1 << 32) - 1500
"""Number of the self-test's first granule: its numbers go from 32 bits to 33, as in regions of more than 64 GiB."""
COPIES = 3
MOST_WORDS = 16


def self_test(region: Region, turn: int = 0) -> Sample:
    """Whether this device writes what numpy says, and finds exactly the words that were damaged, by each kernel.

    A device that compares nothing would pass everything. Keys and damage are others in each turn: the answers of the
    time before are wrong now. Takes a millisecond, by a dozen short launches and copies of 50 KB.
    """
    began = time.monotonic()
    assert region.proof is not None
    gpu, (buffer, errors), granules = region.real, region.proof, PROOF_GRANULES
    wrong, words = 0, []
    for step, down in enumerate((None, 0, 1)):
        key, shift = 0x5EED0001 + 3 * turn + step, 3 * turn + step
        damage = {
            4 * FIRST + (at + shift) % (4 * granules): 1 << (at + shift) % 32
            for at in (0, 4 * (granules // 2) + 1, 4 * granules - 1)}
        _launch(region, "bc_memory_fill", granules, [buffer, FIRST, granules, ADDRESS, key])
        stored = gpu.read(buffer, granules * GRANULE).view(np.uint32)
        words += _differences(stored, reference.pattern(FIRST, granules, ADDRESS, key), "written")
        for index, bit in damage.items():
            at = index - 4 * FIRST
            gpu.write(buffer, stored[at:at + 1] ^ np.uint32(bit), 4 * at)
        gpu.write(errors, np.zeros(4, np.uint32))
        rest = [errors, MOST_RECORDS]
        same = [buffer, FIRST, granules, ADDRESS, key]
        if down is None:
            _launch(region, "bc_memory_check", granules, [*same, *rest])
        else:
            _launch(region, "bc_memory_check_fill", granules, [*same, WORD, POISON, down, *rest])
            stored = gpu.read(buffer, granules * GRANULE).view(np.uint32)
            words += _differences(stored, np.full(4 * granules, POISON, np.uint32), "written over")
        count, records = counted_records(gpu, errors, MOST_RECORDS)
        seen = {index: expected ^ found for index, expected, found, _ in records}
        wrong += int(count != len(damage)) + len(seen.items() ^ damage.items())
    return Sample(
        what="vram.self-test", gpu=gpu.info.key, seconds=time.monotonic() - began, checked=20 * granules,
        wrong=len(words) + wrong, words=tuple(words[:MOST_WORDS]), notes={"not_seen": wrong})


def _launch(region: Region, kernel: str, granules: int, arguments: list[object]) -> None:
    region.real.launch(
        region.program, kernel, groups_of(granules, GRANULES_A_GROUP), arguments)  # type: ignore[arg-type]


def _differences(found: object, expected: object, how: str) -> list[WrongWord]:
    have, want = np.asarray(found, np.uint32), np.asarray(expected, np.uint32)
    return [
        WrongWord(
            index=int(at), expected=int(want[at]), found=int(have[at]), where=f"self-test, {how}: word {at}",
            kind=bits_word(int(want[at]), int(have[at])))
        for at in np.flatnonzero(have != want)[:MOST_WORDS]]


def copies(region: Region) -> Iterator[Sample]:
    """Copies of one block to another, by a kernel and by the copy engine, every one verified. Nothing where no two
    blocks are alike."""
    pair = next(((one, other) for one, other in zip(region.blocks, region.blocks[1:], strict=False)
                 if one.granules == other.granules), None)
    if pair is None:
        return
    source, target = pair
    gpu = region.gpu

    def by_kernel() -> None:
        gpu.launch(region.program, "bc_copy", source.groups, [target.buffer, source.buffer, source.granules])

    def by_engine() -> None:
        gpu.copy(target.buffer, source.buffer, source.size_bytes)

    yield _copied(region, "vram.copy", source, target, by_kernel)
    yield _copied(region, "vram.copy.engine", source, target, by_engine)


def _copied(region: Region, what: str, source: Block, target: Block, copy: Callable[[], None]) -> Sample:
    gpu, granules = region.gpu, source.granules
    seconds, wrong, words = [], 0, []
    for number in range(COPIES):
        key = 0xC0B10000 + number
        _launch(region, "bc_memory_fill", granules, [source.buffer, source.first, granules, ADDRESS, key])
        _launch(region, "bc_memory_fill", granules, [target.buffer, target.first, granules, WORD, POISON])
        before = gpu.mark()
        copy()
        seconds.append(gpu.seconds_between(before, gpu.mark()))
        _launch(
            region, "bc_memory_check", granules,
            [target.buffer, source.first, granules, ADDRESS, key, target.errors, MOST_RECORDS])
        count, records = counted_records(region.real, target.errors, MOST_RECORDS)
        if count:
            region.real.write(target.errors, np.zeros(4, np.uint32))
        wrong += count
        words += [
            WrongWord(
                index=index, expected=expected, found=found, again=again,
                where=(
                    f"copy {number + 1} to block {target.number + 1}, byte offset "
                    f"0x{4 * index - GRANULE * source.first:x}"),
                kind="not written" if found == POISON else bits_word(expected, found))
            for index, expected, found, again in records[:MOST_WORDS]]
        region.pulse.beat("copying")
    rates = [2 * granules * GRANULE / max(each, 1e-9) / 1e9 for each in seconds]
    return Sample(
        what=what, gpu=gpu.info.key, seconds=sum(seconds), value=middle(rates), unit="GB/s",
        checked=4 * granules * COPIES, wrong=wrong, words=tuple(words[:MOST_WORDS]),
        notes={"accounting": "copy_rw", "copies": COPIES, "megabytes": source.size_bytes >> 20})
