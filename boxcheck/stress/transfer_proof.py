"""A positive control of the kernels that compare payloads: damage done on purpose, of which each must report just that.

A comparison that sees nothing would pass everything. So each kernel proves itself before the first payload, one device
about every second while the run lasts, and all of them after the last payload: whatever was compared lies between two
proofs. A proof takes some ten short launches and copies of 50 KB, about a millisecond: a thousandth of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import GRANULES_A_GROUP
from boxcheck.stress import Sample, WrongWord, bits_word
from boxcheck.stress.transfers import GRANULE, MOST_WORDS, POISON, Tally, Verifier, differences, during, key_of

GRANULES = 3 * GRANULES_A_GROUP + 5
FIRST = 1 << 20
RANKS = 3
"""Payloads whose sum is compared."""
DAMAGED = 3
"""Words that are damaged for each kernel."""
EVERY_SECONDS = 1.0


class Proof:
    """Of one device. Its memory is left to the worker to free."""

    def __init__(self, module: str, verifier: Verifier) -> None:
        self.module, self.verifier, self.gpu = module, verifier, verifier.gpu
        self._buffer = self.gpu.allocate(GRANULES * GRANULE)
        self._tally = Tally(verifier)
        self._turn = 0

    def run(self) -> Sample:
        """Whether this device makes the payload that numpy makes, and finds exactly the words that were damaged in
        it. Keys and places are others each time: the answers of the time before are wrong now."""
        began, verifier, tally = time.monotonic(), self.verifier, self._tally
        self._turn += 1
        key = key_of(7, self._turn)
        payload = reference.pattern(FIRST, GRANULES, 0, key)
        with np.errstate(over="ignore"):
            summed = sum((reference.pattern(FIRST, GRANULES, 0, key + rank) for rank in range(1, RANKS)), payload)
        verifier.fill(self._buffer, FIRST, GRANULES, key)
        words = self._differences(payload, "written")
        place = (self._buffer, FIRST, GRANULES, key)
        blind = self._blind("bc_memory_check", 0, payload, lambda: verifier.check(*place, tally))
        blind += self._blind("bc_memory_check_fill", 1, payload, lambda: verifier.check_and_poison(*place, tally))
        words += self._differences(np.full(4 * GRANULES, POISON, np.uint32), "written over")
        blind += self._blind("bc_sum_check", 2, summed, lambda: verifier.check_sum(*place, RANKS, tally))
        return Sample(
            what=f"{self.module}.self-test", gpu=self.gpu.info.key, seconds=time.monotonic() - began,
            checked=4 * GRANULES * 5, wrong=len(words) + sum(count for count, _ in blind),
            words=tuple(words[:MOST_WORDS]), notes={"says": "; ".join(says for _, says in blind)} if blind else {})

    def _differences(self, expected: np.ndarray[tuple[int], np.dtype[np.uint32]], how: str) -> list[WrongWord]:
        self.verifier.wait()
        found = self.gpu.read(self._buffer, GRANULES * GRANULE).view(np.uint32)
        return [
            WrongWord(
                index=at, expected=want, found=have, where=f"word {at} of the self-test, {how}",
                kind=bits_word(want, have))
            for at, want, have in differences(found, expected)]

    def _blind(
        self, kernel: str, step: int, right: np.ndarray[tuple[int], np.dtype[np.uint32]], compare: Callable[[], None]
    ) -> list[tuple[int, str]]:
        """How far a kernel's answer is from the damage, and in words; nothing where it is right."""
        shift = 3 * self._turn + step  # from the first word to the last one, and on
        damage = {
            (at * (len(right) - 1) // (DAMAGED - 1) + shift) % len(right): 1 << (at + shift) % 32
            for at in range(DAMAGED)}
        damaged = right.copy()
        for at, bit in damage.items():
            damaged[at] ^= np.uint32(bit)
        self.gpu.write(self._buffer, damaged)
        self._tally.clear()
        compare()
        count, records = self._tally.read()
        seen = {index - 4 * FIRST: expected ^ found for index, expected, found, _ in records}
        off = int(count != len(damage)) + len(seen.items() ^ damage.items())
        return [(off, f"of {DAMAGED} damaged words {kernel} found {count}")] if off else []


class Proofs:
    """Of all devices of a module, before, while and after they compare."""

    def __init__(self, module: str, verifiers: Sequence[Verifier]) -> None:
        self._proofs = [Proof(module, verifier) for verifier in verifiers]
        self._next, self._since = 0, time.monotonic()

    def all(self) -> Iterator[Sample]:
        """Before the first payload, and after the last one."""
        for proof in self._proofs:
            yield self._run(proof)

    def due(self) -> Iterator[Sample]:
        """One device's, by turns, where a second has passed. Told only where something is wrong."""
        if time.monotonic() - self._since >= EVERY_SECONDS:
            self._next = (self._next + 1) % len(self._proofs)
            sample = self._run(self._proofs[self._next])
            if sample.wrong:
                yield sample

    def _run(self, proof: Proof) -> Sample:
        with during(proof.gpu.info.key):
            sample = proof.run()
        self._since = time.monotonic()
        return sample
