"""What `copy`, `p2p` and `collective` share: payloads, their verification, and what a wrong word looks like.

A payload is keyed by address: each of its granules (16 bytes) has a number that no other payload of the run has, and
the key changes with every round, so a wrong word tells whether it was not written, is an old value, or was meant for
another place. Payloads are made and compared by kernels of the device that holds them; only the transfer itself goes
through a device that may have a fault put in (`real` is the one without).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from boxcheck.gpu import Buffer, Gpu, GpuError
from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import GRANULES_A_GROUP, memory
from boxcheck.stress import Rig, WrongWord, bits_word
from boxcheck.stress.products import groups_of

GRANULE = 16
"""Bytes that the kernels of memory move as one."""
POISON = 0xBAD0DA7A
"""What a target holds before anything is sent to it. No more likely in a payload than any other word."""
MOST_RECORDS = 64
MOST_UNREAD = 1 << 31
"""Words that are compared before the count on the device, which wraps at 2^32, is read and cleared."""
MOST_WORDS = 16
"""Wrong words that a sample names; the others are counted."""
Record = tuple[int, int, int, int]
"""Of a wrong word: index in the numbering of payloads, expected, found, found when read again."""


def real(gpu: Gpu) -> Gpu:
    """The device without a fault put in."""
    device: Gpu = getattr(gpu, "real", gpu)
    return device


def key_of(*parts: int) -> int:
    """A key that differs in about half of its bits for any other parts."""
    key = 0x6A09E667
    for part in parts:
        key = int(reference.mix((key * 3 + part + 1) & 0xFFFFFFFF))
    return key


def power_of_two(at_most: int) -> int:
    """The largest power of two that is not larger; 0 for less than 1."""
    return 1 << (at_most.bit_length() - 1) if at_most > 0 else 0


def megabytes(rig: Rig, usual: int, test_bytes: int) -> int:
    """Bytes of a payload: option `megabytes` (MiB), else the usual size, on a processor a small one."""
    asked = rig.options.get("megabytes")
    if asked is None:
        return usual if rig.full_size else test_bytes
    if not asked.isdecimal() or not 1 <= int(asked) <= 16384:
        raise GpuError("unsupported", f"megabytes={asked} is no size from 1 to 16384")
    return int(asked) << 20


def rate_of(size_bytes: float, times: Sequence[float]) -> float:
    """GB/s of rounds that each move so many bytes, by the median of their times: a link that sleeps while it is idle is
    slow in the first of them."""
    return size_bytes / max(median(times), 1e-9) / 1e9


@contextmanager
def during(doing: str) -> Iterator[None]:
    """Says in a GpuError what was being done: a worker over many GPUs must name the pair."""
    try:
        yield
    except GpuError as error:
        raise GpuError(error.kind, f"{doing}: {error.says}", error.help) from error


def counted(gpu: Gpu, errors: Buffer) -> int:
    """How many wrong words kernels counted in a buffer that is laid out as prelude.h says.

    The count wraps at 2^32. Where it is 0 and yet words were wrong, 2^32 of them at least were.
    """
    count, any_wrong = (int(word) for word in gpu.read(errors, 8).view(np.uint32))
    return count or (1 << 32 if any_wrong else 0)


def counted_records(gpu: Gpu, errors: Buffer, most: int) -> tuple[int, list[Record]]:
    """How many wrong words kernels counted, and the first `most` of them, by index."""
    count = counted(gpu, errors)
    kept = min(count, most)
    rows = gpu.read(errors, 24 * kept, GRANULE).view(np.uint32).reshape(kept, 6).tolist() if kept else []
    return count, sorted((low | high << 32, want, have, again) for low, high, want, have, again, _ in rows)


class Tally:
    """Wrong words that kernels of one device found, all counted, and the first ones kept."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.buffer = verifier.gpu.allocate(GRANULE + 24 * MOST_RECORDS)
        self._forget()

    def _forget(self) -> None:
        self._count, self._records, self._unread = 0, list[Record](), 0

    def clear(self) -> None:
        self._verifier.write_word(self.buffer, 1, 0)
        self._forget()

    def expect(self, words: int) -> None:
        """Says that so many words are compared next. Takes over what the device has counted, before it can wrap."""
        if self._unread and self._unread + words > MOST_UNREAD:
            self._count, self._records = self.read()
            self._verifier.write_word(self.buffer, 1, 0)
            self._unread = 0
        self._unread += words

    def read(self) -> tuple[int, list[Record]]:
        """How many since it was cleared, and the first by index. Waits for the comparisons."""
        self._verifier.wait()
        count, records = counted_records(self._verifier.gpu, self.buffer, MOST_RECORDS)
        if not count:  # the device counts from 0 still
            self._unread = 0
        return self._count + count, sorted((self._records + records)[:MOST_RECORDS])


class Verifier:
    """Kernels of one device that make payloads and compare them with what they must be, all on one queue."""

    def __init__(self, gpu: Gpu, queue: int = 0) -> None:
        self.gpu = real(gpu)
        self.queue = queue
        self.program = self.gpu.build(memory())

    def _launch(self, kernel: str, granules: int, arguments: Sequence[Any]) -> None:
        if granules:
            self.gpu.launch(
                self.program, kernel, groups_of(granules, GRANULES_A_GROUP), arguments, queue=self.queue)

    def wait(self) -> None:
        """Until all kernels are done; a device's `read` waits for queue 0 alone."""
        if self.queue:
            self.gpu.finish(self.queue)

    def write_word(self, buffer: Buffer, granules: int, word: int) -> None:
        """Starts to write one word everywhere."""
        self._launch("bc_memory_fill", granules, [buffer, 0, granules, 1, word])

    def poison(self, buffer: Buffer, granules: int) -> None:
        self.write_word(buffer, granules, POISON)

    def fill(self, buffer: Buffer, first: int, granules: int, key: int) -> None:
        self._launch("bc_memory_fill", granules, [buffer, first, granules, 0, key])

    def check(self, buffer: Buffer, first: int, granules: int, key: int, tally: Tally) -> None:
        tally.expect(4 * granules)
        self._launch("bc_memory_check", granules, [buffer, first, granules, 0, key, tally.buffer, MOST_RECORDS])

    def check_and_poison(self, buffer: Buffer, first: int, granules: int, key: int, tally: Tally) -> None:
        tally.expect(4 * granules)
        self._launch(
            "bc_memory_check_fill", granules,
            [buffer, first, granules, 0, key, 1, POISON, 0, tally.buffer, MOST_RECORDS])

    def check_sum(self, buffer: Buffer, first: int, granules: int, key: int, ranks: int, tally: Tally) -> None:
        """Compares with the sum, modulo 2^32, of the payloads of the keys from `key` on, one for each rank."""
        tally.expect(4 * granules)
        self._launch("bc_sum_check", granules, [buffer, first, granules, key, ranks, tally.buffer, MOST_RECORDS])


def differences(found: npt.NDArray[np.uint32], expected: npt.NDArray[np.uint32]) -> list[tuple[int, int, int]]:
    """Index, expected and found of every word that differs."""
    at = np.flatnonzero(found != expected)
    return list(zip(at.tolist(), expected[at].tolist(), found[at].tolist(), strict=True))


class Numbering(Protocol):
    """Where a granule of the run's numbering lies, in words; None where no payload has it."""

    def __call__(self, granule: int) -> str | None: ...


def explain(
    record: Record, first: int, keys: Sequence[int], place: Numbering, *, moved: Callable[[int], str] = lambda word: "",
) -> WrongWord:
    """A wrong word of a payload that begins with granule `first`; `keys` are those of the rounds, the last ones last.

    `moved` says which of several copies brought a word.
    """
    index, expected, found, again = record
    number = next((at for at, key in enumerate(keys) if word_at(index, key) == expected), len(keys) - 1)
    word = index - 4 * first
    where = f"byte 0x{4 * word:x}{moved(word)}{f', round {number + 1} of {len(keys)}' if len(keys) > 1 else ''}"
    return WrongWord(
        index=word, expected=expected, found=found, again=again, where=where,
        kind=_looks(index, expected, found, number, keys, place))


def word_at(index: int, key: int) -> int:
    """The right word, by its index in the numbering of payloads."""
    return int(reference.pattern(index // 4, 1, 0, key)[index % 4])


def _looks(index: int, expected: int, found: int, number: int, keys: Sequence[int], place: Numbering) -> str:
    if found == POISON:
        return "not written"
    if (expected ^ found).bit_count() == 1:
        return "one bit"
    old = next((at for at, key in enumerate(keys[:number]) if word_at(index, key) == found), None)
    if old is not None:
        return f"old value, of round {old + 1}"
    meant = place(reference.meant_for(index, found, keys[number]))
    return f"meant for {meant}" if meant is not None else bits_word(expected, found)
