"""Faults put into a device's work on purpose, to prove that the module finds them (`--inject`).

A `FaultyGpu` stands before a real device and lets everything through; at one moment it does what its fault says, on the
device's own memory. Results of such a run are marked and never pass.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from boxcheck.gpu import Argument, Gpu, Place
from boxcheck.stress import FaultName

FILLS = ("bc_memory_fill", "bc_memory_check_fill")
HANG_SECONDS = 3600.0
SLOWER = 9.0
"""Time added to a launch, as a multiple of what it took."""


class FaultyGpu:
    """A device with one fault, or none. What it does not name goes to the device as it is."""

    def __init__(
        self, gpu: Gpu, fault: FaultName | None, *, after: int = 2, seconds: float = 10.0, seed: int = 1
    ) -> None:
        self._gpu = gpu
        self._fault = fault
        self._after = after
        """The fault happens at this product, fill or copy, counted from 0."""
        self._seen: dict[str, int] = {}
        self._slow_from = time.monotonic() + seconds / 2
        self._random = np.random.default_rng(seed)
        self._kept: Any = None

    @property
    def fault(self) -> FaultName | None:
        """What this device does wrong, for modules whose work is not on the device itself."""
        return self._fault

    @property
    def after(self) -> int:
        """At which occasion, counted from 0."""
        return self._after

    @property
    def real(self) -> Gpu:
        """The device without the fault: for a module's own start, which no fault is meant to disturb."""
        return self._gpu

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def can_access(self, other: Any) -> bool:
        return self._gpu.can_access(getattr(other, "_gpu", other))

    def enable_peer(self, other: Any) -> None:
        self._gpu.enable_peer(getattr(other, "_gpu", other))

    def _now(self, what: str) -> bool:
        """Whether this is the moment, of the occasions of this name."""
        self._seen[what] = self._seen.get(what, -1) + 1
        return self._seen[what] == self._after

    def flip(self, buffer: Any, size_bytes: int | None = None, offset_bytes: int = 0) -> None:
        """Flips one bit of a buffer of the device, of a peer, or of the host."""
        size = (buffer.size_bytes if size_bytes is None else size_bytes) // 4
        word, bit = offset_bytes // 4 + int(self._random.integers(size)), int(self._random.integers(32))
        if hasattr(buffer, "array"):
            buffer.array[4 * word:4 * word + 4].view(np.uint32)[0] ^= np.uint32(1 << bit)
            return
        self._gpu.finish()
        owner = self._owner(buffer)
        value = owner.read(buffer, 4, 4 * word).view(np.uint32)
        owner.write(buffer, value ^ np.uint32(1 << bit), 4 * word)

    def _owner(self, buffer: Any) -> Gpu:
        """The device whose memory it is: a driver lets no other read and write it."""
        owner: Gpu = getattr(buffer, "gpu", self._gpu)
        return owner

    def launch(
        self, program: Any, kernel: str, groups: int, arguments: Sequence[Argument], *, queue: int = 0
    ) -> None:
        is_product = "matmul" in kernel or program.source.language != "portable"
        fault = self._fault
        if is_product:
            if fault == "hang" and self._now("product"):
                time.sleep(HANG_SECONDS)
            if fault == "flip-input" and self._now("product"):
                self.flip(arguments[0])
            if fault == "drop-write" and self._now("product"):
                return
            if fault == "stale":
                self._stale(program, kernel, groups, arguments, queue)
                return
        # Modules that multiply poison with the fill kernel; there the fault is in a product.
        fills = kernel in FILLS and "product" not in self._seen
        if fills and fault in ("drop-write", "hang") and self._now("fill"):
            if fault == "hang":
                time.sleep(HANG_SECONDS)
            if kernel == "bc_memory_fill":
                return
            # Compare as asked, and write back the old pattern: what was to be written is left out.
            arguments = [*arguments[:5], arguments[3], arguments[4], *arguments[7:]]
        began = time.monotonic()
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)
        if fault == "slow" and began > self._slow_from:
            self._gpu.finish(queue)
            time.sleep((time.monotonic() - began) * SLOWER)
        if is_product and fault == "flip-output" and self._now("product"):
            self.flip(arguments[2])
        if fills and fault == "flip-memory" and self._now("fill"):
            self.flip(arguments[0])

    def _stale(
        self, program: Any, kernel: str, groups: int, arguments: Sequence[Any], queue: int
    ) -> None:
        """Keeps each result, and at the moment gives the one before instead of computing."""
        if self._now("product") and self._kept is not None:
            self._gpu.write(arguments[2], self._kept)
            return
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)
        self._gpu.finish(queue)
        self._kept = self._gpu.read(arguments[2], arguments[2].size_bytes)

    def copy(
        self, target: Place, source: Place, size_bytes: int, *, target_offset: int = 0, source_offset: int = 0,
        queue: int = 0,
    ) -> None:
        fault = self._fault
        now = fault in ("hang", "drop-write", "flip-payload", "stale") and self._now("copy")
        if now and fault == "hang":
            time.sleep(HANG_SECONDS)
        if now and fault == "drop-write":
            return
        kept = None
        if now and fault == "stale":
            self._gpu.finish()
            kept = self._bytes(target, size_bytes, target_offset) if self._kept is None else self._kept[:size_bytes]
        began = time.monotonic()
        self._gpu.copy(
            target, source, size_bytes, target_offset=target_offset, source_offset=source_offset, queue=queue)
        if fault == "slow" and began > self._slow_from:
            self._gpu.finish(queue)
            time.sleep((time.monotonic() - began) * SLOWER)
        if fault == "stale":
            self._gpu.finish()
            if kept is not None:
                self._put(target, kept, target_offset)
            elif self._kept is None or len(self._kept) == size_bytes:
                self._kept = self._bytes(target, size_bytes, target_offset)
        if now and fault == "flip-payload":
            self._gpu.finish()
            self.flip(target, size_bytes, target_offset)

    def _bytes(self, place: Any, size_bytes: int, offset: int) -> Any:
        if hasattr(place, "array"):
            return place.array[offset:offset + size_bytes].copy()
        return self._owner(place).read(place, size_bytes, offset)

    def _put(self, place: Any, data: Any, offset: int) -> None:
        if hasattr(place, "array"):
            place.array[offset:offset + len(data)] = data
        else:
            self._owner(place).write(place, data, offset)
