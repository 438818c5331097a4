"""What the process of one core does to main memory: triad and copy, and patterns that are written and compared.

Memory comes from the core's own NUMA node: the process is pinned, and touches it first. It is in huge pages where the
kernel gives some, and locked where that is allowed (CAP_IPC_LOCK, or a large RLIMIT_MEMLOCK), so that it stays there.
"""

from __future__ import annotations

import mmap
import time

import numpy as np

from boxcheck.gpu import GpuError
from boxcheck.stress import WrongWord
from boxcheck.stress.host_child import Pulse
from boxcheck.stress.host_memory_pages import fresh, local, lock, swapped_kib, where
from boxcheck.stress.host_memory_patterns import CHUNK_BYTES, CHUNK_WORDS, U64, Maker, Pattern, likeness
from boxcheck.stress.host_memory_streams import SCALES, Streams
from boxcheck.stress.host_orders import Done, Job, Order

BLOCK_BYTES = 64 << 20
MOST_WORDS = 16


class Region:
    """Memory under test, in blocks."""

    def __init__(self, job: Job) -> None:
        self._share = int(job.settings["share_bytes"])
        self._first = job.number << 40
        """Number of its first chunk, over all processes of the test."""
        self.blocks: list[U64] = []
        self._mapped: list[mmap.mmap] = []
        self.locked = True

    @property
    def held_bytes(self) -> int:
        return sum(block.nbytes for block in self.blocks)

    @property
    def chunks(self) -> list[U64]:
        return [block[at:at + CHUNK_WORDS] for block in self.blocks for at in range(0, len(block), CHUNK_WORDS)]

    def maker(self, pattern: Pattern) -> Maker:
        return Maker(pattern, self._first, max(1, self._share // CHUNK_BYTES))

    def grow(self) -> U64 | None:
        """One block more; None when the share is held, or no more can be had."""
        size = min(BLOCK_BYTES, (self._share - self.held_bytes) // CHUNK_BYTES * CHUNK_BYTES)
        if size <= 0:
            return None
        try:
            mapped, block = fresh(size)
        except MemoryError:
            return None
        self.locked = self.locked and lock(block)
        self._mapped.append(mapped)
        self.blocks.append(block)
        return block


class Work:
    """See `host_child.Work`."""

    def __init__(self, job: Job, pulse: Pulse) -> None:
        self._job = job
        self._pulse = pulse
        self._streams: Streams | None = None
        self._region = Region(job)
        self._held: Maker | None = None
        """The pattern that the region holds."""
        self._before: Maker | None = None
        self._sweeps = 0
        self._node = int(job.settings["node"])
        self._random = np.random.default_rng(job.seed + job.number)

    def notes(self) -> dict[str, str | int | float]:
        return {}

    def do(self, order: Order) -> Done:
        match order.do:
            case "streams":
                self._streams = Streams(int(order.settings["words"]), self._job.seed)
                return Done()
            case "triad" | "copy":
                return self._stream(order)
            case "take":
                self._streams = None  # gives that memory back
                return self._take(_pattern(order), order.seconds)
            case "sweep":
                return self._sweep(_pattern(order) if "kind" in order.settings else None, bool(order.settings["down"]))
        raise AssertionError(order.do)

    def _stream(self, order: Order) -> Done:
        """Whole passes until the time is over, then every word of the three arrays compared."""
        streams = self._streams
        assert streams is not None
        began, cpu = time.perf_counter(), time.thread_time()
        passes = 0
        while not passes or (time.perf_counter() - began < order.seconds and not self._pulse.stopping):
            if order.do == "triad":
                streams.triad(SCALES[passes % 2])
            else:
                streams.copy()
            passes += 1
            self._pulse.alive()
        spent, busy = time.perf_counter() - began, time.thread_time() - cpu
        words = streams.chunks * CHUNK_WORDS
        wrong, found = streams.wrong(SCALES[(passes - 1) % 2] if order.do == "triad" else None)
        each = 24.0 if order.do == "triad" else 16.0
        return Done(
            seconds=spent, amount=passes * words * each, checked=3 * words, wrong=wrong, words=tuple(found),
            notes={"passes": passes, "busy_seconds": busy, **local(streams.a, self._node)})

    def _take(self, pattern: Pattern, seconds: float) -> Done:
        """Takes blocks and writes the first pattern, until the share is held or the time is over."""
        began = time.perf_counter()
        region = self._region
        maker = region.maker(pattern)
        while not region.blocks or (time.perf_counter() - began < seconds and not self._pulse.stopping):
            block = region.grow()
            if block is None:
                break
            first = (region.held_bytes - block.nbytes) // CHUNK_BYTES
            for number, at in enumerate(range(0, len(block), CHUNK_WORDS)):
                maker.into(first + number, block[at:at + CHUNK_WORDS])
            self._pulse.alive()
        if not region.blocks:
            raise GpuError("out-of-memory", "no block of memory could be had")
        self._held = maker
        self._written()
        return Done(
            seconds=time.perf_counter() - began, amount=float(region.held_bytes), notes={
                "held_bytes": region.held_bytes, "locked": int(region.locked), **local(region.blocks[0], self._node)})

    def _sweep(self, following: Pattern | None, down: bool) -> Done:
        """Compares what is held with its pattern and, chunk by chunk behind that, writes the following one."""
        held, region = self._held, self._region
        assert held is not None
        maker = None if following is None else region.maker(following)
        expected = np.empty(CHUNK_WORDS, np.uint64)
        order = list(enumerate(region.chunks))
        skipped = self._to_skip(len(order)) if maker is not None else None
        began = time.perf_counter()
        count, compared, words = 0, 0, list[WrongWord]()
        for number, chunk in reversed(order) if down else order:
            held.into(number, expected)
            if not np.array_equal(chunk, expected):
                places = np.flatnonzero(chunk != expected)
                count += len(places)
                if len(words) < MOST_WORDS:
                    words += self._told(number, chunk, expected, places[:MOST_WORDS].tolist())
            compared += 1
            if maker is not None and number != skipped:
                maker.into(number, chunk)
            if compared % 64 == 0:
                self._pulse.alive()
                if self._pulse.stopping:
                    break
        spent = time.perf_counter() - began
        whole = compared == len(order)
        if maker is not None:
            # After a sweep that was stopped the region holds two patterns; nothing is compared after that.
            self._before, self._held = held, maker
            self._written()
        return Done(
            seconds=spent, amount=float(compared * CHUNK_BYTES * (1 if maker is None else 2)),
            checked=compared * CHUNK_WORDS, wrong=count, words=tuple(words[:MOST_WORDS]), notes={
                "whole": int(whole), "swapped_kib": swapped_kib()})

    def _told(self, number: int, chunk: U64, expected: U64, places: list[int]) -> list[WrongWord]:
        held, before = self._held, None
        assert held is not None
        if self._before is not None:
            before = np.empty(CHUNK_WORDS, np.uint64)
            self._before.into(number, before)
        return [WrongWord(
            index=number * CHUNK_WORDS + place, expected=int(expected[place]), found=int(chunk[place]),
            where=f"{self._job.name}, {where(chunk, place)}",
            kind=likeness(
                int(expected[place]), int(chunk[place]), None if before is None else int(before[place]),
                lambda place=place: held.meant_for(number, place, int(chunk[place]))))  # type: ignore[misc]
            for place in places]

    # Faults that were asked for.

    def _to_skip(self, chunks: int) -> int | None:
        """The chunk that this sweep's writing leaves out."""
        if self._job.fault == "drop-write" and self._sweeps == self._job.after:
            return int(self._random.integers(chunks))
        return None

    def _written(self) -> None:
        """Called when a pattern has been written everywhere."""
        if self._job.fault == "flip-memory" and self._sweeps == self._job.after:
            block = self._region.blocks[int(self._random.integers(len(self._region.blocks)))]
            block[int(self._random.integers(len(block)))] ^= np.uint64(1 << int(self._random.integers(64)))
        self._sweeps += 1


def begin(job: Job, pulse: Pulse) -> Work:
    return Work(job, pulse)


def _pattern(order: Order) -> Pattern:
    kind = order.settings["kind"]
    return Pattern("word" if kind == "word" else "keyed", int(str(order.settings["key"]), 16))
