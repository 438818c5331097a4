"""Digests of a device's memory, taken by the device, which can poison the memory in the same pass.

A slot holds poison whenever none is awaited in it: a device that takes orders and does nothing leaves it there, and not
the right digest of the batch before.
"""

from __future__ import annotations

import numpy as np

from boxcheck.gpu import Buffer, Gpu, GpuError
from boxcheck.kernels.catalogue import DIGEST_WORDS, digest

SLOTS = 2048
"""Digests that are kept on the device until they are read, all at once."""
BLANK = 0xBAD0DA7A_0DDBA115
"""What a slot holds before a digest: no more likely than any other."""


class Digests:
    """Digests of buffers of so many 32-bit words of one device."""

    def __init__(self, gpu: Gpu, words: int) -> None:
        self.gpu = gpu
        self.words = words
        self._program = gpu.build(digest())
        self._groups = (words + DIGEST_WORDS - 1) // DIGEST_WORDS
        self._parts = gpu.allocate(8 * self._groups)
        self._out = gpu.allocate(8 * (SLOTS + 1))
        self._poison(0, SLOTS + 1)

    @property
    def buffers(self) -> tuple[Buffer, Buffer]:
        """What it holds on the device; whoever made it frees them."""
        return self._parts, self._out

    def of(self, buffer: Buffer) -> int:
        """The buffer's digest, now. Reads all of it, and waits."""
        self._poison(SLOTS, 1)
        self.gpu.launch(self._program, "bc_digest", self._groups, [buffer, self.words, self._parts])
        self._total(SLOTS)
        return int(self.gpu.read(self._out, 8, 8 * SLOTS).view(np.uint64)[0])

    def take(self, buffer: Buffer, slot: int, poison: int) -> None:
        """Starts the digest of the buffer into a slot, and fills the buffer with `poison` in the same pass."""
        self.gpu.launch(self._program, "bc_digest_fill", self._groups, [buffer, self.words, poison, self._parts])
        self._total(slot)

    def taken(self, count: int) -> list[int]:
        """What the first slots hold; they hold poison then. GpuError where what the host writes does not arrive."""
        if not count:
            return []
        found = [int(one) for one in self.gpu.read(self._out, 8 * count).view(np.uint64)]
        self._poison(0, count)
        return found

    def _poison(self, first: int, count: int) -> None:
        self.gpu.write(self._out, np.full(count, BLANK, np.uint64), 8 * first)
        if (self.gpu.read(self._out, 8 * count, 8 * first).view(np.uint64) != BLANK).any():
            raise GpuError("error", "what the host writes does not arrive in the device's memory")

    def _total(self, slot: int) -> None:
        self.gpu.launch(self._program, "bc_digest_total", 1, [self._parts, self._groups, self._out, slot])
