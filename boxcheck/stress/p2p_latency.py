"""Latency between two devices: dependent loads from the other's memory, and small copies there and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from boxcheck.gpu import Buffer
from boxcheck.stress import Sample, WrongWord, bits_word
from boxcheck.stress.p2p_fabric import Fabric
from boxcheck.stress.p2p_plan import Ends
from boxcheck.stress.transfers import GRANULE, MOST_WORDS, Tally, explain, key_of

LINE_WORDS = 64
"""Distance of two links of the chain: 256 bytes, more than a line of any cache, so that none is loaded twice."""
TRIP_BYTES = 256


class Latency:
    """A chain of loads in each device's memory, and room for small copies."""

    def __init__(self, fabric: Fabric, full_size: bool) -> None:
        self.fabric = fabric
        self.lines, self.steps, self.trips = (1 << 14, 4096, 200) if full_size else (512, 256, 16)
        self._chains: dict[int, tuple[Buffer, int]] = {}
        self._outs: dict[int, Buffer] = {}
        self._rooms: dict[tuple[int, str], Buffer] = {}
        self._tallies: dict[int, Tally] = {}
        self._pieces = 0

    def _chain(self, owner: int) -> tuple[Buffer, int]:
        """A cycle through all lines in random order, and where so many steps from line 0 end."""
        if owner not in self._chains:
            order = np.random.default_rng(self.fabric.seed + owner).permutation(self.lines).astype(np.uint32)
            words = np.zeros(self.lines * LINE_WORDS, np.uint32)
            words[order * LINE_WORDS] = np.roll(order, -1) * LINE_WORDS
            start = int(np.flatnonzero(order == 0)[0])
            gpu = self.fabric.verifiers[owner].gpu
            buffer = gpu.allocate(words.nbytes)
            gpu.write(buffer, words)
            self._chains[owner] = (buffer, int(order[(start + self.steps) % self.lines]) * LINE_WORDS)
        return self._chains[owner]

    def load(self, ends: Ends) -> Sample:
        """Microseconds of one load by the first device from the second's memory."""
        reader, owner = ends
        chain, end = self._chain(owner)
        gpu, verifier = self.fabric.gpus[reader], self.fabric.verifiers[reader]
        if reader not in self._outs:
            self._outs[reader] = verifier.gpu.allocate(GRANULE)
        out, queue = self._outs[reader], 1 + owner
        verifier.poison(out, 1)
        gpu.wait_for(verifier.gpu.mark(0), queue)
        gpu.launch(verifier.program, "bc_chase", 1, [chain, 1, out], queue=queue)
        first = gpu.mark(queue)
        gpu.launch(verifier.program, "bc_chase", 1, [chain, self.steps, out], queue=queue)
        last = gpu.mark(queue)
        seconds = gpu.seconds_between(first, last)
        found = int(verifier.gpu.read(out, 4).view(np.uint32)[0])
        words = () if found == end else (WrongWord(
            index=0, expected=end, found=found, where=f"the end of {self.steps} loads", kind=bits_word(end, found)),)
        return Sample(
            what="p2p.latency.load", gpu=gpu.info.key, peer=self.fabric.keys[owner], seconds=seconds,
            value=seconds / self.steps * 1e6, unit="us", checked=1, wrong=len(words), words=words,
            notes={"steps": self.steps})

    def _room(self, device: int, name: str) -> Buffer:
        if (device, name) not in self._rooms:
            self._rooms[device, name] = self.fabric.verifiers[device].gpu.allocate(self.trips * TRIP_BYTES)
        return self._rooms[device, name]

    def round_trip(self, ends: Ends) -> Sample:
        """Microseconds of a small copy to the other device and back, one after the other. All of them are compared."""
        source, target = ends
        gpu, home, away = self.fabric.gpus[source], self.fabric.verifiers[source], self.fabric.verifiers[target]
        sent, there, back = self._room(source, "sent"), self._room(target, "there"), self._room(source, "back")
        if source not in self._tallies:
            self._tallies[source] = Tally(home)
        tally, queue = self._tallies[source], 1 + target
        granules = self.trips * TRIP_BYTES // GRANULE
        self._pieces += 1
        key = key_of(self.fabric.seed, self._pieces, 11)
        tally.clear()
        home.fill(sent, 0, granules, key)
        home.poison(back, granules)
        away.poison(there, granules)
        for ready in (home.gpu.mark(0), away.gpu.mark(0)):
            gpu.wait_for(ready, queue)
        first = gpu.mark(queue)
        for trip in range(self.trips):
            at: dict[str, Any] = {
                "target_offset": trip * TRIP_BYTES, "source_offset": trip * TRIP_BYTES, "queue": queue}
            gpu.copy(there, sent, TRIP_BYTES, **at)
            gpu.copy(back, there, TRIP_BYTES, **at)
        last = gpu.mark(queue)
        seconds = gpu.seconds_between(first, last)
        for verifier in (home, away):
            verifier.gpu.wait_for(last, 0)
        home.check(back, 0, granules, key, tally)
        wrong, records = tally.read()
        keys, moved = self.fabric.keys, self.trips * TRIP_BYTES
        return Sample(
            what="p2p.latency.round-trip", gpu=keys[source], peer=keys[target], seconds=seconds,
            value=seconds / self.trips * 1e6, unit="us", checked=4 * granules, wrong=wrong,
            words=tuple(explain(record, 0, [key], lambda _: None) for record in records[:MOST_WORDS]),
            moved={f"{keys[source]}>{keys[target]}": moved, f"{keys[target]}>{keys[source]}": moved},
            notes={"bytes": TRIP_BYTES, "trips": self.trips})
