"""What a `DriverGpu` hands out: memory, loaded kernels, marks. They belong to the device that made them."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from boxcheck.gpu import Place
from boxcheck.gpu.arguments import Packer
from boxcheck.gpu.cache import Compiled
from boxcheck.gpu.calls import Handle
from boxcheck.kernels import Source

if TYPE_CHECKING:
    from boxcheck.gpu.device_memory import DriverMemory


class DriverBuffer:
    """Memory of a device, at `address` there; 0 once it is freed."""

    def __init__(self, gpu: DriverMemory, address: int, size_bytes: int) -> None:
        self.gpu = gpu
        self.address = address
        self.size_bytes = size_bytes

    def free(self) -> None:
        address = self.address
        self.forget()
        if address:
            self.gpu.give_back(address)

    def forget(self) -> None:
        """The memory is gone, or is about to be."""
        self.address = 0


class DriverHostBuffer:
    """The host's memory. Arrays that were cut from `array` must not be used after `free` or the device's `close`."""

    def __init__(self, gpu: DriverMemory, size_bytes: int, address: int | None) -> None:
        """`address` is that of pinned memory; None for memory as any program has it."""
        self.gpu = gpu
        self.size_bytes = size_bytes
        self.pinned = address is not None
        if address is None:
            self.array = np.empty(size_bytes, np.uint8)
            self.address = int(self.array.ctypes.data)
        else:
            self.array = np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))
            self.address = address

    def free(self) -> None:
        address = self.address
        self.forget()
        if address and self.pinned:
            self.gpu.give_back(address, pinned=True)

    def forget(self) -> None:
        """The memory is gone, or is about to be."""
        self.address = 0
        self.array = np.empty(0, np.uint8)


class DriverProgram:
    """Loaded kernels. The code is kept with them: nothing says that HIP does not go on reading it."""

    def __init__(self, gpu: DriverMemory, source: Source, compiled: Compiled, module: Handle) -> None:
        self.gpu = gpu
        self.source = source
        self.log = compiled.log
        self.code = compiled.code
        self.module = module
        self.kernels: dict[str, tuple[Handle, Packer]] = {}


class DriverMark:
    """A recorded event. The event goes back to the device's store with the last reference to the mark."""

    def __init__(self, gpu: DriverMemory, event: Handle) -> None:
        self.gpu = gpu
        self.event = event

    def __del__(self) -> None:
        self.gpu.spare_events.append(self.event)


def device_of(place: Place) -> DriverMemory | None:
    """Whose memory it is; None for the host's."""
    if isinstance(place, DriverBuffer):
        return place.gpu
    if isinstance(place, DriverHostBuffer):
        return None
    raise ValueError(f"a {type(place).__name__} of another backend cannot be copied")


def span(place: Place, offset_bytes: int, size_bytes: int) -> int:
    """The address of a part. ValueError when it is not within the buffer, or the buffer was freed."""
    address: int = getattr(place, "address", 0)
    if not address:
        raise ValueError("a buffer was used after it was freed")
    if offset_bytes < 0 or size_bytes < 0 or offset_bytes + size_bytes > place.size_bytes:
        raise ValueError(
            f"bytes {offset_bytes} to {offset_bytes + size_bytes} do not lie in a buffer of {place.size_bytes}")
    return address + offset_bytes
