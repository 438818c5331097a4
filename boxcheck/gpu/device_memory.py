"""The memory of a GPU behind a driver, and its life: opened, perhaps broken, closed.

An error that breaks the context is kept and raised again by every later call, so that what follows names the cause.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from boxcheck.gpu import Buffer, GpuError, GpuInfo, HostBuffer
from boxcheck.gpu.calls import Calls, DriverError, Handle
from boxcheck.gpu.device_parts import DriverBuffer, DriverHostBuffer, DriverProgram
from boxcheck.kernels import Source


class DriverMemory:
    """What a `DriverGpu` is built on."""

    def __init__(self, info: GpuInfo, calls: Calls) -> None:
        self.info = info
        self.calls = calls
        self.spare_events: list[Handle] = []
        self._events: list[Handle] = []
        self._queues: dict[int, Handle] = {}
        self._memory: dict[int, DriverBuffer] = {}
        self._pinned: dict[int, DriverHostBuffer] = {}
        self._programs: dict[Source, DriverProgram] = {}
        self._broken: GpuError | None = None
        self.closed = False

    @contextlib.contextmanager
    def _entered(self) -> Iterator[Calls]:
        """The driver's calls, for this device. What broke it is kept, and raised by whatever is tried later."""
        if self.closed:
            raise GpuError("error", f"{self.info.key} was used after it was closed")
        if self._broken is not None:
            raise GpuError(self._broken.kind, self._broken.says, self._broken.help)
        try:
            self.calls.enter()
            yield self.calls
        except GpuError as error:
            if error.kind == "lost" or (isinstance(error, DriverError) and error.lasts):
                self._broken = error
            raise

    def _queue(self, number: int) -> Handle:
        if number not in self._queues:
            self._queues[number] = self.calls.make_queue()
        return self._queues[number]

    # Memory.

    def free_bytes(self) -> int:
        with self._entered() as calls:
            return calls.free_and_total_bytes()[0]

    def allocate(self, size_bytes: int) -> Buffer:
        if size_bytes <= 0:
            raise ValueError(f"a buffer of {size_bytes} bytes was asked for")
        with self._entered() as calls:
            made = DriverBuffer(self, calls.allocate(size_bytes), size_bytes)
            self._memory[made.address] = made
        return made

    def host_buffer(self, size_bytes: int, pinned: bool = True) -> HostBuffer:
        if size_bytes <= 0:
            raise ValueError(f"a buffer of {size_bytes} bytes was asked for")
        if pinned:
            try:
                with self._entered() as calls:
                    made = DriverHostBuffer(self, size_bytes, calls.allocate_host(size_bytes))
            except GpuError as error:
                if error.kind != "out-of-memory":
                    raise
            else:
                self._pinned[made.address] = made
                return made
        return DriverHostBuffer(self, size_bytes, None)

    def give_back(self, address: int, pinned: bool = False) -> None:
        """Frees memory of this device or pinned memory of the host, after the work that may still use it."""
        (self._pinned if pinned else self._memory).pop(address, None)
        if self._broken is None and not self.closed:
            with self._entered() as calls:
                calls.finish_all()
                (calls.release_host if pinned else calls.release)(address)

    def release(self) -> None:
        with contextlib.suppress(GpuError), self._entered() as calls:
            calls.finish_all()
        for made in self._all_memory():
            with contextlib.suppress(GpuError):
                made.free()

    def _all_memory(self) -> list[DriverBuffer | DriverHostBuffer]:
        return [*self._memory.values(), *self._pinned.values()]

    # The end.

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        broken = self._broken is not None
        if not broken:
            broken = not self._free_all()
        with contextlib.suppress(Exception):
            self.calls.close(broken)
        for made in self._all_memory():
            made.forget()
        self._memory.clear()
        self._pinned.clear()

    def _free_all(self) -> bool:
        """Frees what is left, one by one; False when the driver refused some of it."""
        calls = self.calls
        steps: list[tuple[Callable[..., None], Any]] = [
            *((calls.unload, program.module) for program in self._programs.values()),
            *((calls.drop_event, event) for event in self._events),
            *((calls.drop_queue, queue) for queue in self._queues.values()),
            *((calls.release_host, address) for address in self._pinned),
            *((calls.release, address) for address in self._memory),
        ]
        try:
            calls.enter()
            calls.finish_all()
            for step, handle in steps:
                step(handle)
        except Exception:  # noqa: BLE001  # whatever the driver says now, the device is let go of
            return False
        return True
