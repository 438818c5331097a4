"""What the process of one drive does: reads it past the page cache, twice, and compares.

A drive's content is not known beforehand, so what is read is known by a digest for each block, and read once more after
everything else of that piece. Equal digests are what proves it. Different ones are a fault only where it is certain
that nobody wrote in between; else the block is read again until two readings lie in a moment without writes, and when
those agree it was changed by somebody, and is counted as not provable. A scratch file's content is known to the byte.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
import numpy as np

from boxcheck.stress import WrongWord, bits_word
from boxcheck.stress.host_child import HANG_SECONDS, Pulse
from boxcheck.stress.host_memory_patterns import CHUNK_BYTES, I64, U64, splitmix
from boxcheck.stress.host_nvme_reading import Reading
from boxcheck.stress.host_nvme_source import Source, buffer, untouched
from boxcheck.stress.host_orders import Done, Job, Order
from boxcheck.stress.placement import place_near

MOST_LOOKS = 8
"""Blocks with another digest that are looked into; each of the others counts as its first word."""
MOST_WORDS = 16
TRIES = 5
SLOWER = 9.0
FASTEST_READ_SECONDS = 10e-6
"""Of a small read; no flash answers so soon."""
GOLDEN = 0.6180339887498949
"""Places at multiples of it are spread evenly, however many there are."""


class Block(msgspec.Struct):
    """A block whose second reading differed from the first."""

    offset: int
    first: int
    """Digests."""
    second: int
    payload: bytes
    """Of the second reading; empty after the first few."""


class Work:
    """See `host_child.Work`."""

    def __init__(self, job: Job, pulse: Pulse) -> None:
        settings = job.settings
        self._placed = place_near(str(settings["bdf"])) if settings["bdf"] else ""
        self.pulse = pulse
        self._job = job
        self._source = Source(
            str(settings["path"]), str(settings["kind"]), job.name, int(settings["scratch_bytes"]), job.seed)
        self._reads = count()
        self._slow_from = time.monotonic() + float(settings["seconds"]) / 2
        self._random = np.random.default_rng(job.seed)
        self._pieces = count()
        if self._source.expected is not None:
            self._source.fill(pulse)

    def notes(self) -> dict[str, str | int | float]:
        found: dict[str, str | int | float] = {
            "size_bytes": self._source.size_bytes, "direct": int(self._source.direct)}
        return {**found, "placed": self._placed} if self._placed else found

    def read(self, memory: Any, words: U64, offset: int) -> int:
        """One read, with the fault that was asked for."""
        now = next(self._reads) == self._job.after
        began = time.monotonic()
        if self._job.fault == "hang" and now:
            time.sleep(HANG_SECONDS)
        got = self._source.read(memory, offset)
        if self._job.fault == "slow" and began > self._slow_from:
            time.sleep((time.monotonic() - began) * SLOWER)
        if self._job.fault == "flip-payload" and now:
            words[int(self._random.integers(len(words)))] ^= np.uint64(1 << int(self._random.integers(64)))
        return got

    def do(self, order: Order) -> Done:
        size, threads = int(order.settings["block_bytes"]), int(order.settings["threads"])
        blocks = self._source.size_bytes // size
        if not blocks:
            return Done(notes={"errors": 0, "empty": 1})
        if order.do == "random":
            most = max(1, min(blocks, int(order.seconds / FASTEST_READ_SECONDS)))
            places = self._random.integers(blocks, size=most) * size
        else:
            start = int(blocks * (next(self._pieces) * GOLDEN % 1.0))
            places = np.roll(np.arange(blocks), -start) * size
        return self._twice(places, size, threads, order.seconds)

    def _twice(self, places: I64, size: int, threads: int, seconds: float) -> Done:
        """Reads for half of the time, then the same again."""
        weights = splitmix(np.arange(size // 8, dtype=np.uint64)) | np.uint64(1)
        wrong: dict[int, tuple[int, list[WrongWord]]] = {}
        odd: list[Block] = []
        first = Reading(self.read, self.pulse, places, size, threads)
        before = self._source.mark()
        self._source.forget()

        def keep(number: int, offset: int, words: U64) -> None:
            first.digests[number] = np.dot(words, weights)
            self._compare(offset, words, wrong)

        spent = first.run(time.perf_counter() + seconds / 2, keep)
        again = Reading(self.read, self.pulse, places[:first.done + len(first.errors)], size, threads)

        def compare(number: int, offset: int, words: U64) -> None:
            digest = int(np.dot(words, weights))
            self._compare(offset, words, wrong)
            if self._source.expected is None and digest != int(first.digests[number]) and not _failed(first, offset):
                odd.append(Block(
                    offset, int(first.digests[number]), digest, words.tobytes() if len(odd) < MOST_LOOKS else b""))

        self._source.forget()
        spent += again.run(None, compare)
        quiet = untouched(before, self._source.mark(), self._source.kind, time.time())
        unproven = 0
        for block in odd:
            verdict = self._look(block, size, weights, quiet)
            if verdict is None:
                unproven += 1
            else:
                wrong[block.offset] = verdict
        errors = [*first.errors, *again.errors]
        words = [word for _, found in wrong.values() for word in found]
        notes: dict[str, str | int | float] = {
            "blocks": first.done, "errors": len(errors), "unproven": unproven, "quiet": int(quiet),
            "zero_percent": round(100.0 * int((first.digests[:first.done] == 0).sum()) / max(1, first.done), 1),
            **(_percentiles([*first.latencies, *again.latencies]) if threads == 1 else {})}
        if errors:
            notes["first_error"] = f"{errors[0][1]} at byte {errors[0][0]}"
        return Done(
            seconds=spent, amount=float(size * (first.done + again.done)), words=tuple(words[:MOST_WORDS]),
            checked=size * max(0, again.done - unproven), wrong=sum(count for count, _ in wrong.values()), notes=notes)

    def _compare(self, offset: int, words: U64, wrong: dict[int, tuple[int, list[WrongWord]]]) -> None:
        """Compares a block of a scratch file with what it must be. Counts bytes."""
        expected = self._source.expected
        if expected is None:
            return
        words_each = CHUNK_BYTES // 8
        for at in range(0, len(words), words_each):
            part = words[at:at + words_each]
            chunk, place = divmod(offset + 8 * at, CHUNK_BYTES)
            wanted = expected.template[place // 8:place // 8 + len(part)] + expected.keys[chunk]
            if not np.array_equal(part, wanted):
                places = np.flatnonzero(part != wanted)
                known, named = wrong.get(offset, (0, []))
                wrong[offset] = known + 8 * len(places), [*named, *(
                    _word(self._source.path, offset + 8 * (at + one), int(wanted[one]), int(part[one]), "")
                    for one in places[:MOST_WORDS].tolist())]

    def _look(
        self, block: Block, size: int, weights: U64, quiet: bool
    ) -> tuple[int, list[WrongWord]] | None:
        """What is wrong with a block whose readings differed, in bytes; None when somebody may have written it."""
        path, offset = self._source.path, block.offset
        for _ in range(TRIES):
            before = self._source.mark()
            payloads = [self._once(offset, size) for _ in range(2)]
            still = untouched(before, self._source.mark(), self._source.kind, time.time())
            third, fourth = (np.frombuffer(one or b"", np.uint64) for one in payloads)
            if still and not np.array_equal(third, fourth):
                return _difference(path, offset, third, fourth, "every reading differs")
            if quiet:  # the first two differed while nobody wrote: what the others were only tells more
                second = np.frombuffer(block.payload, np.uint64)
                if still and len(second) and not np.array_equal(second, third):
                    return _difference(path, offset, third, second, "the second of four readings was another")
                return 8, [_word(
                    path, offset, block.second, block.first, "digests of the block, as first and then read")]
            if still:
                return None  # settled now: somebody may have written it between the first two readings
            self.pulse.alive()
        return None

    def _once(self, offset: int, size: int) -> bytes | None:
        with buffer(size) as memory:
            try:
                self._source.forget()
                return memory[:] if self._source.read(memory, offset) == size else None
            except OSError:
                return None


def _failed(reading: Reading, offset: int) -> bool:
    return any(offset == one for one, _ in reading.errors)


def _difference(path: str, offset: int, right: U64, found: U64, kind: str) -> tuple[int, list[WrongWord]]:
    """The words that differ between two readings of a block, and how many bytes they are."""
    if len(right) != len(found):
        return 8, [_word(path, offset, len(right), len(found), "bytes read / 8: it can no longer be read")]
    places = np.flatnonzero(right != found)
    return 8 * len(places), [
        _word(path, offset + 8 * place, int(right[place]), int(found[place]), kind)
        for place in places[:MOST_WORDS].tolist()]


def _word(path: str, offset: int, expected: int, found: int, kind: str) -> WrongWord:
    return WrongWord(
        index=offset // 4, expected=expected, found=found, where=f"{os.path.basename(path) or path}, byte {offset}",
        kind=kind or bits_word(expected, found))


def _percentiles(nanoseconds: Sequence[int]) -> dict[str, float]:
    """Latencies in microseconds."""
    if not nanoseconds:
        return {}
    ordered = np.sort(np.asarray(nanoseconds, np.float64)) / 1e3

    def at(percent: float) -> float:
        return round(float(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]), 1)

    return {
        "p50_us": at(50), "p99_us": at(99), "p999_us": at(99.9), "max_us": round(float(ordered[-1]), 1),
        "reads": len(ordered)}


def begin(job: Job, pulse: Pulse) -> Work:
    return Work(job, pulse)
