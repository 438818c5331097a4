"""A GPU that is the host: boxcheck's own `DriverGpu` over a driver whose memory a vendor's library can reach.

Portable kernels run as numpy computes them; what is written for a vendor does not compile. Work is done when it is asked
for, and marks are the host's clock.
"""

from __future__ import annotations

import ctypes
import struct
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcheck.gpu import Backend, GpuError, GpuInfo
from boxcheck.gpu.arguments import FORMATS, Packer
from boxcheck.gpu.cache import Compiled
from boxcheck.gpu.cpu_kernels import KERNELS
from boxcheck.gpu.device import DriverGpu
from boxcheck.kernels import Kernel, Source

ALIGNMENT = 256
STREAM = 0x5700


class HostCalls:
    """See `boxcheck.gpu.calls.Calls`."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.memory: dict[int, npt.NDArray[np.uint8]] = {}
        self.pauses: dict[str, float] = {}
        """How many seconds longer a product by the kernels of a source takes, by its name."""
        self.fails: GpuError | None = None
        """What waiting for the device raises."""

    def compile(self, source: Source) -> Compiled:
        if source.language != "portable":
            raise GpuError("unsupported", f"{source.name} is no text for the host")
        self.sources.append(source)
        return Compiled(str(len(self.sources) - 1).encode())

    def enter(self) -> None: ...

    def free_and_total_bytes(self) -> tuple[int, int]:
        return 1 << 33, 1 << 34

    def allocate(self, size_bytes: int) -> int:
        whole = np.zeros(size_bytes + ALIGNMENT, np.uint8)
        first = -int(whole.ctypes.data) % ALIGNMENT
        made = whole[first:first + size_bytes]
        self.memory[int(made.ctypes.data)] = made
        return int(made.ctypes.data)

    def release(self, address: int) -> None:
        del self.memory[address]

    def allocate_host(self, size_bytes: int) -> int:
        return self.allocate(size_bytes)

    def release_host(self, address: int) -> None:
        self.release(address)

    def make_queue(self) -> int:
        return STREAM

    def drop_queue(self, queue: int) -> None: ...

    def make_event(self) -> list[float]:
        return [0.0]

    def drop_event(self, event: list[float]) -> None: ...

    def record(self, event: list[float], queue: int) -> None:
        event[0] = time.perf_counter()

    def hold(self, queue: int, event: list[float]) -> None: ...

    def milliseconds(self, first: list[float], second: list[float]) -> float:
        return 1000 * (second[0] - first[0])

    def finish_event(self, event: list[float]) -> None: ...

    def finish_queue(self, queue: int) -> None:
        if self.fails is not None:
            raise self.fails

    def finish_all(self) -> None: ...

    def _at(self, address: int, size_bytes: int) -> npt.NDArray[np.uint8]:
        start, array = next((at, one) for at, one in self.memory.items() if at <= address < at + len(one))
        return array[address - start:address - start + size_bytes]

    def copy_in(self, target: int, host: int, size_bytes: int, queue: int) -> None:
        self._at(target, size_bytes)[:] = _host(host, size_bytes)

    def copy_out(self, host: int, source: int, size_bytes: int, queue: int) -> None:
        _host(host, size_bytes)[:] = self._at(source, size_bytes)

    def copy_within(self, target: int, source: int, size_bytes: int, queue: int) -> None:
        self._at(target, size_bytes)[:] = self._at(source, size_bytes)

    def copy_between(
        self, target: int, to: HostCalls, source: int, of: HostCalls, size_bytes: int, queue: int
    ) -> None:
        to._at(target, size_bytes)[:] = of._at(source, size_bytes)

    def can_access(self, other: HostCalls) -> bool:
        return True

    def enable_peer(self, other: HostCalls) -> None: ...

    def load(self, code: bytes) -> Source:
        return self.sources[int(code)]

    def unload(self, module: Source) -> None: ...

    def function(self, module: Source, kernel: Kernel) -> Source:
        return module

    def launch(self, function: Source, kernel: Kernel, groups: int, packer: Packer, queue: int) -> None:
        packed = packer.packed()
        values: list[Any] = []
        for param, offset in zip(kernel.params, packer.offsets, strict=True):
            (value,) = struct.unpack_from("<" + FORMATS[param][0], packed, offset)
            values.append(self.memory[value] if param == "buffer" else value)
        KERNELS[kernel.name](function, *values)
        if kernel.name == "bc_matmul":
            time.sleep(self.pauses.get(function.name, 0.0))

    def close(self, broken: bool) -> None: ...


def _host(address: int, size_bytes: int) -> npt.NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))


def host_gpu(backend: Backend = "cuda", arch: str = "sm_89", index: int = 0) -> DriverGpu:
    """A device that says that it is a GPU of this architecture."""
    calls = HostCalls()
    info = GpuInfo(
        backend=backend, index=index, name="GPU of paper", arch=arch, bdf=None, memory_bytes=1 << 34, free_bytes=1 << 33,
        compute_units=4, unified=False, is_gpu=True, driver="CUDA 13.1, driver 590.44" if backend == "cuda" else "HIP 6.4.1")
    return DriverGpu(info, calls, calls.compile)  # type: ignore[arg-type]
