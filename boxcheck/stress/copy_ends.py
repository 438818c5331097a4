"""Both ends of copies between a host and one GPU, and pieces of copying between them.

The host holds one pattern, made once. Other keys come for free: a granule's value is a bijection of (number xor
mix(key)), so the slices of the pattern in another order, slice i for slice i xor j, are the pattern under another key,
which the GPU's kernels know. So no round waits for the host to make data.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from boxcheck.gpu import GpuError, HostBuffer
from boxcheck.kernels import reference
from boxcheck.stress import Rig, Sample, WrongWord
from boxcheck.stress.copy import FULL_BYTES, KINDS, TEST_BYTES
from boxcheck.stress.host_look import Seen, look, same
from boxcheck.stress.transfers import (
    GRANULE,
    MOST_WORDS,
    POISON,
    Record,
    Tally,
    Verifier,
    differences,
    explain,
    key_of,
    megabytes,
    power_of_two,
    rate_of,
)

SLICES = 16
MOST_ROUNDS = 256
WHOLE = 3.5
"""A piece's time with verification, in times of its copying, at most: the host compares about as fast as a fast link
copies, or slower."""
LEAST_BYTES = SLICES * 4096


class Ends:
    """Memory at both ends. Left to the worker to free."""

    def __init__(self, rig: Rig) -> None:
        gpu = self.gpu = rig.gpu
        self.stopping = rig.stopping
        self.together = "no" if rig.options.get("together") == "no" else "yes"
        self.verifier = Verifier(gpu)
        self.size_bytes = min(
            power_of_two(megabytes(rig, FULL_BYTES, TEST_BYTES)), power_of_two(gpu.free_bytes() // 4))
        if self.size_bytes < LEAST_BYTES:
            raise GpuError("out-of-memory", f"{gpu.free_bytes() >> 10} KiB are free, too little to copy to")
        self.slice_bytes = self.size_bytes // SLICES
        self.granules = self.size_bytes // GRANULE
        self.key = key_of(rig.seed, gpu.info.index, 3)
        self.pattern = reference.pattern(0, self.granules, 0, self.key).view(np.uint8)
        self.sent, self.got = gpu.allocate(self.size_bytes), gpu.allocate(self.size_bytes)
        self.tally = Tally(self.verifier)
        self.refused: list[Sample] = []
        self.kinds: list[str] = []
        self._host: dict[str, tuple[HostBuffer, HostBuffer]] = {}
        for kind in KINDS:
            pinned = kind == "pinned"
            pair = (gpu.host_buffer(self.size_bytes, pinned), gpu.host_buffer(self.size_bytes, pinned))
            if pinned and not (pair[0].pinned and pair[1].pinned):
                self.refused.append(Sample(
                    what="copy.refused", gpu=gpu.info.key, peer="host", seconds=0.0, checked=0, wrong=0,
                    notes={"says": f"{self.size_bytes >> 20} MiB of pinned memory could not be had twice"}))
                for buffer in pair:
                    buffer.free()
                continue
            self._host[kind] = pair
            self.kinds.append(kind)
        self._pieces = 0

    def key_number(self, number: int) -> int:
        """The key under which the pattern is the host's, with its slices in the order i xor `number`."""
        shift = number * (self.slice_bytes // GRANULE)
        return int(reference.unmix(reference.mix(np.uint32(self.key)) ^ np.uint32(shift)))

    def slice_of(self, array: npt.NDArray[np.uint8], number: int) -> npt.NDArray[np.uint8]:
        return array[number * self.slice_bytes:(number + 1) * self.slice_bytes]

    def piece(self, kind: str, directions: Sequence[str], seconds: float) -> Iterator[Sample]:
        """Copies for about these seconds, verifies every round, and gives a sample for each direction."""
        source, target = self._host[kind]
        self._pieces += 1
        order = self._pieces % SLICES
        loads = {name: Load(name, queue) for queue, name in enumerate(directions, 1)}
        down, up = loads.get("host-to-device"), loads.get("device-to-host")
        if down is not None:
            for at in range(SLICES):
                np.copyto(self.slice_of(source.array, at), self.slice_of(self.pattern, at ^ order))
            self.tally.clear()
            self.verifier.poison(self.got, self.granules)
        if up is not None:
            target.array.view(np.uint32).fill(POISON)
        began = time.monotonic()
        keys: list[int] = []
        while not keys or self._goes_on(loads, began, len(keys), seconds):
            turn = len(keys) % SLICES
            keys.append(self.key_number(order ^ turn))
            if up is not None:
                self.verifier.fill(self.sent, 0, self.granules, keys[-1])
            self._round(list(loads.values()), source, target, turn)
            if down is not None:
                since = time.monotonic()
                down.unseen.add(self._read_back(order ^ turn, keys[-1]))
                down.verify_seconds += time.monotonic() - since
                self.verifier.check_and_poison(self.got, 0, self.granules, keys[-1], self.tally)
            since = time.monotonic()
            if up is not None:
                self._compare_host(up, target, order ^ turn, keys[-1])
                up.verify_seconds += time.monotonic() - since
        if down is not None:
            since = time.monotonic()
            down.wrong, down.records = self.tally.read()
            if not down.wrong:
                down.wrong, down.words = down.unseen.wrong, down.unseen.words
            down.verify_seconds += time.monotonic() - since
        for load in loads.values():
            yield self._sample(load, kind, "both." if len(loads) > 1 else "", keys)

    def _goes_on(self, loads: dict[str, Load], began: float, rounds: int, seconds: float) -> bool:
        return (
            max(load.seconds for load in loads.values()) < seconds and time.monotonic() - began < WHOLE * seconds
            and rounds < MOST_ROUNDS and not self.stopping())

    def _round(self, loads: Sequence[Load], source: HostBuffer, target: HostBuffer, turn: int) -> None:
        """Every slice once in each direction, started together and waited for."""
        gpu, size = self.gpu, self.slice_bytes
        ready = self.verifier.gpu.mark(0)
        for load in loads:
            gpu.wait_for(ready, load.queue)
        begun = [gpu.mark(load.queue) for load in loads]
        for at in range(SLICES):
            for load in loads:
                if load.name == "host-to-device":
                    ends = {"source_offset": (at ^ turn) * size, "target_offset": at * size}
                    gpu.copy(self.got, source, size, queue=load.queue, **ends)
                else:
                    ends = {"source_offset": at * size, "target_offset": at * size}
                    gpu.copy(target, self.sent, size, queue=load.queue, **ends)
        done = [gpu.mark(load.queue) for load in loads]
        for load, first, last in zip(loads, begun, done, strict=True):
            load.times.append(gpu.seconds_between(first, last))
            self.verifier.gpu.wait_for(last, 0)

    def _compare_host(self, load: Load, target: HostBuffer, number: int, key: int) -> None:
        """Compares all that arrived on the host with the pattern that was made there."""
        for at in range(SLICES):
            found, expected = self.slice_of(target.array, at), self.slice_of(self.pattern, at ^ number)
            if not same(found, expected):
                first = at * self.slice_bytes // 4
                wrong = differences(found.view(np.uint32), expected.view(np.uint32))
                load.wrong += len(wrong)
                left = MOST_WORDS - len(load.records)
                load.records += [(first + word, want, have, have) for word, want, have in wrong[:left]]

    def _read_back(self, number: int, key: int) -> Seen:
        """Compares parts of what arrived on the GPU, as the host reads them, with the pattern that was made here: it
        sees what a GPU's own comparison that sees nothing does not."""
        each = self.slice_bytes // GRANULE

        def expected(granule: int, count: int) -> npt.NDArray[np.uint32]:
            parts = []
            while count:
                at, inside = divmod(granule, each)
                some = min(count, each - inside)
                words = self.slice_of(self.pattern, at ^ number).view(np.uint32)
                parts.append(words[4 * inside:4 * (inside + some)])
                granule, count = granule + some, count - some
            return np.concatenate(parts)

        return look(
            self.verifier.gpu, self.got, self.granules, expected, key,
            where=lambda word: f"byte 0x{4 * word:x} (copy {4 * word // self.slice_bytes} of {SLICES})")

    def _sample(self, load: Load, kind: str, both: str, keys: Sequence[int]) -> Sample:
        device, rounds = self.gpu.info.key, len(keys)
        moved = rounds * self.size_bytes
        way = f"host>{device}" if load.name == "host-to-device" else f"{device}>host"
        return Sample(
            what=f"copy.{both}{load.name}.{kind}", gpu=device, peer="host", seconds=load.seconds,
            value=rate_of(self.size_bytes, load.times), unit="GB/s", checked=moved // 4, wrong=load.wrong,
            words=tuple(load.words or (self._explain(record, keys) for record in load.records[:MOST_WORDS])),
            moved={way: moved},
            notes={
                "bytes": self.size_bytes, "rounds": rounds, "copies": rounds * SLICES, "together": self.together,
                "verify_seconds": round(load.verify_seconds, 4)})

    def _explain(self, record: Record, keys: Sequence[int]) -> WrongWord:
        return explain(
            record, 0, keys, lambda granule: f"byte 0x{16 * granule:x}" if granule < self.granules else None,
            moved=lambda word: f" (copy {4 * word // self.slice_bytes} of {SLICES})")


class Load:
    """Copies in one direction: the queue that they are on, and what came of them."""

    def __init__(self, name: str, queue: int) -> None:
        self.name = name
        self.queue = queue
        self.times: list[float] = []
        """Device time of each round."""
        self.verify_seconds = 0.0
        self.wrong = 0
        self.records: list[Record] = []
        self.unseen = Seen()
        """What the host read back wrong from the GPU."""
        self.words: list[WrongWord] = []
        """Those that the sample names, where nothing else tells of them."""

    @property
    def seconds(self) -> float:
        return sum(self.times)
