"""Copies in both directions, so that links leave their idle speed while doctor reads them.

Part of doctor and capture; `boxcheck stress run wake` runs it alone. Two payloads go up and down between host and GPU,
one up while the other comes down, and each trip up turns a payload by a part of it. So what a copy damages stays in the
payload, and one that is left out leaves other bytes than it must: the host compares now and then, longer than copying
takes, and still answers for every copy before. Both ends hold poison at first. No kernel is needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample, WrongWord

if TYPE_CHECKING:
    from boxcheck.gpu import Gpu

FULL_BYTES, TEST_BYTES = 64 << 20, 1 << 20
PARTS = 32
"""A trip up turns a payload by so much of it; after so many it lies as before."""
TRIPS = 15
"""Up and down again between two comparisons, less than half of PARTS: so no two states of a payload within this time,
and none of the two payloads, are the same."""
POISON, POISON_WORD = 0xA5, 0xA5A5A5A5


@stress("wake", faults=("flip-payload", "drop-write", "hang"))
def wake(rig: Rig) -> Iterator[Sample]:
    """Copies from and to the host without a pause, what doctor does to see links under load.

    Options: `way` (both, to, from), `pieces` (mixed: large copies and small packets), `size=test`.
    """
    if {"way", "pieces"} & rig.options.keys():
        from boxcheck.stress.link_traffic import link_traffic

        yield from link_traffic(rig)
        return
    gpu, key = rig.gpu, rig.gpu.info.key
    payloads = Payloads(gpu, FULL_BYTES if rig.full_size else TEST_BYTES, rig.seed)
    began, copies, done = time.monotonic(), 0, Compared()
    spent = 0.0
    while not copies or (time.monotonic() - began < rig.seconds and not rig.stopping()):
        since = time.monotonic()
        payloads.up_alone()
        copies, trips = copies + 1, 0
        while trips == 0 or (
                trips < TRIPS and time.monotonic() - began < rig.seconds and not rig.stopping()):
            for turn in (payloads.there, payloads.back):
                turn()
                copies += 1
                rig.beat(f"{copies} copies each way", (time.monotonic() - began) / max(rig.seconds, 1e-3))
            trips += 1
        payloads.down_alone()
        spent += time.monotonic() - since
        payloads.compare(done)
    moved = copies * payloads.size_bytes
    yield Sample(
        what="wake.copies", gpu=key, peer="host", seconds=spent, unit="GB/s", value=2 * moved / max(spent, 1e-9) / 1e9,
        checked=done.words, of="words", wrong=done.wrong, words=tuple(done.named), notes={"copies": copies},
        moved={f"host>{key}": moved, f"{key}>host": moved})


class Compared(msgspec.Struct):
    words: int = 0
    wrong: int = 0
    named: list[WrongWord] = []


class Payloads:
    """Two payloads, each in a buffer of its own at both ends. Both are one pattern, turned differently."""

    def __init__(self, gpu: Gpu, size_bytes: int, seed: int) -> None:
        from boxcheck.kernels import reference
        from boxcheck.stress.transfers import real

        self.gpu, self.size_bytes, self.part = gpu, size_bytes, size_bytes // PARTS
        self.pattern = reference.pattern(0, size_bytes // 16, 0, seed).view("u1")
        self.host = [gpu.host_buffer(size_bytes) for _ in range(2)]
        self.device = [gpu.allocate(size_bytes) for _ in range(2)]
        self.turned = [0, PARTS // 2]
        """By how many parts each is turned now."""
        for host, device in zip(self.host, self.device, strict=True):
            host.array[:] = POISON
            real(gpu).copy(device, host, size_bytes)
        real(gpu).finish()
        for which in range(2):
            self._write(which)

    def _pieces(self, which: int) -> Iterator[tuple[slice, slice]]:
        """Where the payload lies that must be there, and where in the pattern its words are."""
        cut, size = self.turned[which] * self.part, self.size_bytes
        yield slice(cut, size), slice(0, size - cut)
        if cut:
            yield slice(0, cut), slice(size - cut, size)

    def _write(self, which: int) -> None:
        for there, of in self._pieces(which):
            self.host[which].array[there] = self.pattern[of]

    def _up(self, which: int, queue: int) -> None:
        rest = self.size_bytes - self.part
        self.gpu.copy(self.device[which], self.host[which], rest, target_offset=self.part, queue=queue)
        self.gpu.copy(self.device[which], self.host[which], self.part, source_offset=rest, queue=queue)
        self.turned[which] = (self.turned[which] + 1) % PARTS

    def _down(self, which: int, queue: int) -> None:
        self.gpu.copy(self.host[which], self.device[which], self.size_bytes, queue=queue)

    def up_alone(self) -> None:
        """The second payload to the GPU; what the host holds of it is poison then."""
        self._up(1, 0)
        self.gpu.finish()
        self.host[1].array[:] = POISON

    def there(self) -> None:
        """The first to the GPU, the second back."""
        self._up(0, 0)
        self._down(1, 1)
        self.gpu.finish()

    def back(self) -> None:
        """The first back, the second to the GPU."""
        self._down(0, 0)
        self._up(1, 1)
        self.gpu.finish()

    def down_alone(self) -> None:
        """The second back, so that the host has both."""
        self._down(1, 0)
        self.gpu.finish()

    def compare(self, done: Compared) -> None:
        """Both, in full, by the host. One in which something was wrong is written anew."""
        import numpy as np

        from boxcheck.stress import bits_word
        from boxcheck.stress.host_look import same
        from boxcheck.stress.transfers import MOST_WORDS

        for which, host in enumerate(self.host):
            done.words += self.size_bytes // 4
            bad = False
            for there, of in self._pieces(which):
                if same(host.array[there], self.pattern[of]):
                    continue
                found, wanted = host.array[there].view("u4"), self.pattern[of].view("u4")
                at = np.flatnonzero(found != wanted)
                done.wrong, bad = done.wrong + len(at), True
                done.named += [
                    WrongWord(
                        index=there.start // 4 + word, expected=int(wanted[word]), found=int(found[word]),
                        where=f"payload {which + 1}, byte 0x{there.start + 4 * word:x}, after it went up and down",
                        kind="not written" if found[word] == POISON_WORD else bits_word(
                            int(wanted[word]), int(found[word])))
                    for word in at[:MOST_WORDS - len(done.named)].tolist()]
            if bad:
                self._write(which)
