"""The processor as a device of its own: portable kernels as numpy computes them, matrix products by its BLAS.

So that every stress module runs, and is proven, on any machine. BOXCHECK_CPU_DEVICES=N shows it as N devices, for
modules that need peers. Work is done when it is asked for, so every queue is empty.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcheck.gpu import Argument, Buffer, Gpu, GpuError, GpuInfo, Mark, Place
from boxcheck.kernels import Source

_MOST_DEVICES = 16


def devices() -> tuple[GpuInfo, ...]:
    """The processor, once or as often as BOXCHECK_CPU_DEVICES says."""
    word = os.environ.get("BOXCHECK_CPU_DEVICES", "1")
    if not word.isdecimal() or not 1 <= int(word) <= _MOST_DEVICES:
        raise GpuError("error", f"BOXCHECK_CPU_DEVICES must be a number from 1 to {_MOST_DEVICES}")
    count = int(word)
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = (os.sysconf(name) * page // count for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    cores = len(os.sched_getaffinity(0))
    return tuple(
        GpuInfo(
            backend="cpu", index=index, name=os.uname().machine, arch="cpu", bdf=None,
            memory_bytes=total, free_bytes=free, compute_units=cores, unified=True, is_gpu=False,
            driver=f"numpy {np.__version__}")
        for index in range(count))


def open_gpu(index: int) -> Gpu:
    found = devices()
    if not 0 <= index < len(found):
        raise GpuError("no-device", f"there is no CPU device {index}; BOXCHECK_CPU_DEVICES shows more than one")
    return CpuGpu(found[index])


class CpuBuffer:
    """Memory of the host; `pinned` is what the processor's own memory is to itself."""

    pinned = True

    def __init__(self, size_bytes: int) -> None:
        try:
            self.array: npt.NDArray[np.uint8] = np.zeros(size_bytes, np.uint8)
        except MemoryError:
            raise GpuError("out-of-memory", f"the host has no {size_bytes} bytes left") from None
        self.size_bytes = size_bytes

    def free(self) -> None:
        self.array = np.empty(0, np.uint8)


class CpuProgram:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.log = ""


class CpuMark:
    def __init__(self) -> None:
        self.at = time.perf_counter()


class CpuGpu:
    """See `boxcheck.gpu.Gpu`."""

    def __init__(self, info: GpuInfo) -> None:
        self.info = info
        self._buffers: list[CpuBuffer] = []

    def free_bytes(self) -> int:
        self._buffers = [buffer for buffer in self._buffers if len(buffer.array)]
        return max(0, self.info.free_bytes - sum(buffer.size_bytes for buffer in self._buffers))

    def allocate(self, size_bytes: int) -> CpuBuffer:
        if size_bytes > self.free_bytes():
            raise GpuError("out-of-memory", f"the host has {self.free_bytes()} bytes left, not {size_bytes}")
        buffer = CpuBuffer(size_bytes)
        self._buffers.append(buffer)
        return buffer

    def host_buffer(self, size_bytes: int, pinned: bool = True) -> CpuBuffer:
        return CpuBuffer(size_bytes)

    def write(self, buffer: Buffer, data: npt.NDArray[Any], offset_bytes: int = 0) -> None:
        assert isinstance(buffer, CpuBuffer)
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        buffer.array[offset_bytes:offset_bytes + len(flat)] = flat

    def read(self, buffer: Buffer, size_bytes: int, offset_bytes: int = 0) -> npt.NDArray[np.uint8]:
        assert isinstance(buffer, CpuBuffer)
        return buffer.array[offset_bytes:offset_bytes + size_bytes].copy()

    def copy(
        self, target: Place, source: Place, size_bytes: int, *, target_offset: int = 0, source_offset: int = 0,
        queue: int = 0,
    ) -> None:
        assert isinstance(target, CpuBuffer)
        assert isinstance(source, CpuBuffer)
        target.array[target_offset:target_offset + size_bytes] = source.array[source_offset:source_offset + size_bytes]

    def build(self, source: Source) -> CpuProgram:
        if source.language != "portable":
            raise GpuError("unsupported", f"{source.name} is no text for a processor")
        return CpuProgram(source)

    def launch(
        self, program: Any, kernel: str, groups: int, arguments: Sequence[Argument], *, queue: int = 0
    ) -> None:
        from boxcheck.gpu.cpu_kernels import KERNELS

        views = [one.array if isinstance(one, CpuBuffer) else one for one in arguments]
        KERNELS[kernel](program.source, *views)

    def mark(self, queue: int = 0) -> CpuMark:
        return CpuMark()

    def seconds_between(self, first: Mark, second: Mark) -> float:
        assert isinstance(first, CpuMark)
        assert isinstance(second, CpuMark)
        return second.at - first.at

    def wait_for(self, mark: Mark, queue: int) -> None:
        """Nothing is ever pending."""

    def finish(self, queue: int | None = None) -> None:
        """Nothing is ever pending."""

    def can_access(self, other: Gpu) -> bool:
        return isinstance(other, CpuGpu) and other is not self

    def enable_peer(self, other: Gpu) -> None:
        if not self.can_access(other):
            raise GpuError("unsupported", "this is no other CPU device")

    def release(self) -> None:
        for buffer in self._buffers:
            buffer.free()
        self._buffers = []

    def close(self) -> None:
        self.release()
