"""A GPU behind a driver: the `Gpu` protocol over the calls of CUDA or HIP, with the bookkeeping that both need.

What is checked here and not left to the driver: that a copy stays within its buffers, that a buffer is used on its own
device or on one that was given access, that arguments fit their kernel. A driver answers such mistakes with silence or
with a broken context, and a copy without peer access goes through the host's memory and looks like a slow link.

Memory and life of the device are `DriverMemory`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from boxcheck.gpu import Argument, Buffer, Gpu, GpuError, GpuInfo, Mark, Place, Program
from boxcheck.gpu.arguments import Packer
from boxcheck.gpu.cache import Compiled
from boxcheck.gpu.calls import Calls, Handle
from boxcheck.gpu.device_memory import DriverMemory
from boxcheck.gpu.device_parts import DriverBuffer, DriverHostBuffer, DriverMark, DriverProgram, device_of, span
from boxcheck.kernels import Source

MOST_GROUPS = (1 << 31) - 1
"""Groups along x (CUDA C++ Programming Guide, technical specifications; HIP has the same bound)."""


class DriverGpu(DriverMemory):
    """One device, opened."""

    def __init__(self, info: GpuInfo, calls: Calls, compile: Callable[[Source], Compiled]) -> None:
        super().__init__(info, calls)
        self.compile = compile
        self._peers: set[DriverMemory] = set()

    # Copies.

    def write(self, buffer: Buffer, data: npt.NDArray[Any], offset_bytes: int = 0) -> None:
        flat = np.ascontiguousarray(data)
        target = self._within(buffer, offset_bytes, flat.nbytes)
        if flat.nbytes:
            with self._entered() as calls:
                queue = self._queue(0)
                calls.copy_in(target, int(flat.ctypes.data), flat.nbytes, queue)
                calls.finish_queue(queue)

    def read(self, buffer: Buffer, size_bytes: int, offset_bytes: int = 0) -> npt.NDArray[np.uint8]:
        source = self._within(buffer, offset_bytes, size_bytes)
        found = np.empty(size_bytes, np.uint8)
        if size_bytes:
            with self._entered() as calls:
                queue = self._queue(0)
                calls.copy_out(int(found.ctypes.data), source, size_bytes, queue)
                calls.finish_queue(queue)
        return found

    def copy(
        self, target: Place, source: Place, size_bytes: int, *, target_offset: int = 0, source_offset: int = 0,
        queue: int = 0,
    ) -> None:
        to, of = span(target, target_offset, size_bytes), span(source, source_offset, size_bytes)
        target_gpu, source_gpu = device_of(target), device_of(source)
        if self not in (target_gpu, source_gpu):
            raise ValueError(f"neither end of the copy is memory of {self.info.key}")
        for other in (target_gpu, source_gpu):
            if other is not None and other is not self and other not in self._peers:
                raise GpuError("unsupported", f"{self.info.key} was not given access to the memory of {other.info.key}")
        if not size_bytes:
            return
        with self._entered() as calls:
            handle = self._queue(queue)
            if source_gpu is None:
                calls.copy_in(to, of, size_bytes, handle)
            elif target_gpu is None:
                calls.copy_out(to, of, size_bytes, handle)
            elif target_gpu is source_gpu:
                calls.copy_within(to, of, size_bytes, handle)
            else:
                calls.copy_between(to, target_gpu.calls, of, source_gpu.calls, size_bytes, handle)

    def _within(self, buffer: Buffer, offset_bytes: int, size_bytes: int) -> int:
        """The address of a part of one of this device's own buffers."""
        if device_of(buffer) is not self:
            raise ValueError(f"the buffer is not memory of {self.info.key}")
        return span(buffer, offset_bytes, size_bytes)

    # Kernels.

    def build(self, source: Source) -> Program:
        """One source is built once; later calls give the same program."""
        if source not in self._programs:
            compiled = self.compile(source)
            with self._entered() as calls:
                module = calls.load(compiled.code)
                program = DriverProgram(self, source, compiled, module)
                try:
                    for kernel in source.kernels:
                        program.kernels[kernel.name] = (calls.function(module, kernel), Packer(kernel))
                except GpuError:
                    with contextlib.suppress(GpuError):
                        calls.unload(module)
                    raise
                self._programs[source] = program
        return self._programs[source]

    def launch(
        self, program: Program, kernel: str, groups: int, arguments: Sequence[Argument], *, queue: int = 0
    ) -> None:
        if not isinstance(program, DriverProgram) or program.gpu is not self:
            raise ValueError(f"the program was not built for {self.info.key}")
        if kernel not in program.kernels:
            raise ValueError(f"{program.source.name} has no kernel {kernel}")
        function, packer = program.kernels[kernel]
        if not 0 < groups <= MOST_GROUPS or groups % packer.kernel.cluster:
            raise ValueError(f"{kernel} cannot run as {groups} groups in clusters of {packer.kernel.cluster}")
        for argument in arguments:
            if isinstance(argument, (DriverBuffer, DriverHostBuffer)):
                self._check_reach(argument)
        packer.pack(arguments)
        with self._entered() as calls:
            calls.launch(function, packer.kernel, groups, packer, self._queue(queue))

    def _check_reach(self, argument: DriverBuffer | DriverHostBuffer) -> None:
        """Whether kernels here can use the memory: this device's own, a peer's, or pinned memory of the host."""
        if isinstance(argument, DriverHostBuffer):
            if not argument.pinned:
                raise ValueError("a kernel cannot use memory of the host that is not pinned")
        elif argument.gpu is not self and argument.gpu not in self._peers:
            raise GpuError(
                "unsupported", f"{self.info.key} was not given access to the memory of {argument.gpu.info.key}")

    # Time and order.

    def mark(self, queue: int = 0) -> Mark:
        with self._entered() as calls:
            if self.spare_events:
                event = self.spare_events.pop()
            else:
                event = calls.make_event()
                self._events.append(event)
            mark = DriverMark(self, event)
            calls.record(event, self._queue(queue))
        return mark

    def seconds_between(self, first: Mark, second: Mark) -> float:
        one, two = self._own(first), self._own(second)
        with self._entered() as calls:
            calls.finish_event(one)
            calls.finish_event(two)
            return calls.milliseconds(one, two) / 1000.0

    def wait_for(self, mark: Mark, queue: int) -> None:
        if not isinstance(mark, DriverMark) or mark.gpu.info.backend != self.info.backend:
            raise ValueError(f"{self.info.key} cannot wait for a mark of another backend")
        if mark.gpu.closed:
            raise ValueError(f"the mark is of {mark.gpu.info.key}, which was closed")
        with self._entered() as calls:
            calls.hold(self._queue(queue), mark.event)

    def finish(self, queue: int | None = None) -> None:
        with self._entered() as calls:
            if queue is None:
                calls.finish_all()
            else:
                calls.finish_queue(self._queue(queue))

    def _own(self, mark: Mark) -> Handle:
        if not isinstance(mark, DriverMark) or mark.gpu is not self:
            raise ValueError(f"the mark is not of {self.info.key}")
        return mark.event

    @contextlib.contextmanager
    def lent(self, queue: int = 0) -> Iterator[int]:
        """The device made current for this thread, and a queue's stream as a vendor's library takes it: what the
        library starts there is in order with kernels and copies."""
        with self._entered():
            yield int(self._queue(queue))

    # Peers.

    def can_access(self, other: Gpu) -> bool:
        if other is self:
            return True
        if not isinstance(other, DriverGpu) or other.info.backend != self.info.backend:
            return False
        with self._entered() as calls:
            return calls.can_access(other.calls)

    def enable_peer(self, other: Gpu) -> None:
        if other is self:
            return
        if not isinstance(other, DriverGpu) or not self.can_access(other):
            raise GpuError("unsupported", f"{self.info.key} cannot read and write the memory of {other.info.key}")
        with self._entered() as calls:
            calls.enable_peer(other.calls)
        self._peers.add(other)


if TYPE_CHECKING:
    _is_a_gpu: type[Gpu] = DriverGpu  # so that the type checker compares it with the protocol
