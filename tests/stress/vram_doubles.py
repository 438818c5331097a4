"""Devices with broken memory, for the tests: each stands before the processor's device and damages what it holds; and a
host with some files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from boxcheck.gpu import GpuError
from boxcheck.gpu.cpu import CpuBuffer
from boxcheck.model import Unread

FILL, CHECK, CHECK_FILL = "bc_memory_fill", "bc_memory_check", "bc_memory_check_fill"
KERNELS = (FILL, CHECK, CHECK_FILL)


def view(buffer: Any, granule: int, granules: int) -> CpuBuffer:
    """A part of a buffer of the processor, as a buffer."""
    part = CpuBuffer(0)
    part.array = buffer.array[16 * granule:16 * (granule + granules)]
    part.size_bytes = 16 * granules
    return part


class Double:
    """Everything goes to the device as it is."""

    def __init__(self, gpu: Any) -> None:
        self._gpu = gpu
        self.on = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)


class AsGpu(Double):
    """Says that it is a GPU with so much free memory, and gives out no more than `most_bytes`."""

    def __init__(self, gpu: Any, free_bytes: int, most_bytes: int | None = None, *, lazy: bool = False) -> None:
        super().__init__(gpu)
        self.info = msgspec.structs.replace(
            gpu.info, is_gpu=True, unified=False, name="Test GPU", memory_bytes=free_bytes, free_bytes=free_bytes)
        self._most, self._lazy = most_bytes, lazy
        self._given: dict[int, int] = {}

    def free_bytes(self) -> int:
        return int(self.info.free_bytes)

    def _full(self) -> bool:
        return self._most is not None and sum(self._given.values()) > self._most

    def allocate(self, size_bytes: int) -> Any:
        buffer = self._gpu.allocate(size_bytes)
        self._given[id(buffer)] = size_bytes
        free = buffer.free

        def gone() -> None:
            self._given.pop(id(buffer), None)
            free()

        buffer.free = gone
        if self._full() and not self._lazy:
            gone()
            raise GpuError("out-of-memory", "no more")
        return buffer

    def launch(self, program: Any, kernel: str, groups: int, arguments: Any, *, queue: int = 0) -> None:
        if self._full():  # a driver that gives memory out when it is first used
            raise GpuError("out-of-memory", "no more")
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)


class IgnoresAddressBit(Double):
    """Granules of a block whose number has this bit set lie where those without it lie."""

    def __init__(self, gpu: Any, bit: int) -> None:
        super().__init__(gpu)
        self._apart = 1 << bit

    def launch(self, program: Any, kernel: str, groups: int, arguments: Any, *, queue: int = 0) -> None:
        if kernel not in KERNELS:
            self._gpu.launch(program, kernel, groups, arguments, queue=queue)
            return
        buffer, first, count, *rest = arguments
        starts = range(0, count, self._apart)
        for at in starts if kernel != CHECK_FILL or not rest[4] else reversed(starts):
            some = min(self._apart, count - at)
            part = view(buffer, at & ~self._apart, some)
            self._gpu.launch(program, kernel, groups, [part, first + at, some, *rest], queue=queue)

    def _stored(self, offset_bytes: int, size_bytes: int) -> Any:
        at = np.arange(offset_bytes, offset_bytes + size_bytes)
        return at & ~(16 * self._apart)

    def read(self, buffer: Any, size_bytes: int, offset_bytes: int = 0) -> Any:
        return buffer.array[self._stored(offset_bytes, size_bytes)].copy()

    def write(self, buffer: Any, data: Any, offset_bytes: int = 0) -> None:
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        buffer.array[self._stored(offset_bytes, len(flat))] = flat


class Stuck(Double):
    """Bits that are always set, or never, in words of a block: where, in words, is a slice of the block."""

    def __init__(self, gpu: Any, mask: int, *, at: slice, high: bool = True, block_bytes: int = 0) -> None:
        super().__init__(gpu)
        self._mask, self._at, self._high, self._bytes = np.uint32(mask), at, high, block_bytes
        self._seen: list[Any] = []

    def _force(self, buffer: Any) -> None:
        if buffer.size_bytes != self._bytes:
            return
        if not self._seen:
            self._seen.append(buffer)
        if buffer is self._seen[0]:
            words = buffer.array.view(np.uint32)[self._at]
            words[...] = words | self._mask if self._high else words & ~self._mask

    @property
    def real(self) -> Any:
        """The module's own start is not disturbed."""
        return self._gpu

    def launch(self, program: Any, kernel: str, groups: int, arguments: Any, *, queue: int = 0) -> None:
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)
        if kernel in (FILL, CHECK_FILL):
            self._force(arguments[0])

    def write(self, buffer: Any, data: Any, offset_bytes: int = 0) -> None:
        self._gpu.write(buffer, data, offset_bytes)
        self._force(buffer)


class ReadsWrong(Double):
    """Holds everything right; now and then a word is read with a wrong bit, and right when it is read again."""

    def __init__(self, gpu: Any, every: int, words: Sequence[int]) -> None:
        super().__init__(gpu)
        self._every, self._words, self._count = every, list(words), 0

    @property
    def real(self) -> Any:
        return self._gpu

    def launch(self, program: Any, kernel: str, groups: int, arguments: Any, *, queue: int = 0) -> None:
        self._count += kernel in (CHECK, CHECK_FILL)
        if kernel not in (CHECK, CHECK_FILL) or self._count % self._every:
            self._gpu.launch(program, kernel, groups, arguments, queue=queue)
            return
        stored = arguments[0].array.view(np.uint32)
        stored[self._words] ^= np.uint32(1 << 9)
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)
        if kernel == CHECK:
            stored[self._words] ^= np.uint32(1 << 9)
        errors = arguments[-2].array.view(np.uint32)
        for at in range(min(int(errors[0]), 64)):
            errors[4 + 6 * at + 4] = errors[4 + 6 * at + 2]


class Blind(Double):
    """Compares nothing."""

    def launch(self, program: Any, kernel: str, groups: int, arguments: Any, *, queue: int = 0) -> None:
        if kernel != CHECK:
            self._gpu.launch(program, kernel, groups, arguments, queue=queue)


class Machine:
    """A host of some files; two underscores in a name stand for a slash."""

    def __init__(self, **files: Any) -> None:
        self.files = {
            "/proc/meminfo": meminfo(125.1, 120.0), **{path.replace("__", "/"): text for path, text in files.items()}}

    def text(self, path: str, limit_bytes: int = 0) -> str | Unread:
        return str(self.files[path]) if path in self.files else Unread(f"{path}: no such file", "absent")


def meminfo(total: float, available: float) -> str:
    return f"MemTotal: {int(total * 1048576)} kB\nMemFree: 1 kB\nMemAvailable: {int(available * 1048576)} kB\n"
