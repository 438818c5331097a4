"""Devices that compute: one protocol over CUDA, HIP, OpenCL and the processor itself.

Nothing here imports a vendor's library; a backend does when it is opened, and only in a worker process. `backend(name)`
gives its module, which has `devices() -> tuple[GpuInfo, ...]` and `open_gpu(index) -> Gpu`. Whatever goes wrong in a
library becomes a `GpuError` whose `kind` says what, in words for a person.

A device is used by one thread. `queue` numbers name streams of one device (0 is there from the start, others are made
when first named); work on one queue runs in order, work on two runs side by side where the hardware can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec

from boxcheck.model import Bdf

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from boxcheck.kernels import Source

Backend = Literal["cuda", "hip", "opencl", "cpu"]
BACKENDS: tuple[Backend, ...] = ("cuda", "hip", "opencl", "cpu")
"""In the order in which they are asked; a GPU that one of them drives is left alone by those after it."""

GpuErrorKind = Literal[
    "no-binding",  # the Python package is not installed
    "no-driver",  # the driver or its library is not here
    "no-device",  # the driver is here and shows no device
    "version",  # driver, binding or compiler do not go together
    "forbidden",  # this user may not open the device node
    "busy",  # another process holds the GPU
    "out-of-memory",
    "compile",  # the kernel did not compile: boxcheck's own defect, or a compiler's
    "unsupported",  # the device has no such function or type
    "lost",  # the device was there and is gone, or its context is broken for good
    "too-hot",  # it was stopped for safety
    "timeout",  # a library call or a kernel did not come back in time
    "error",
]


class GpuError(Exception):
    """What a device or its library refused. `says` is one clause, `help` what to do about it (may be empty)."""

    def __init__(self, kind: GpuErrorKind, says: str, help: str = "") -> None:
        super().__init__(says)
        self.kind: GpuErrorKind = kind
        self.says = says
        self.help = help


class GpuInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime tells of one device. None where it tells nothing."""

    backend: Backend
    index: int
    """The runtime's own number: `cuda:0`."""
    name: str
    arch: str
    """`sm_89`, `gfx1100`; for OpenCL the same where the driver tells it, else `opencl`; `cpu`."""
    bdf: Bdf | None
    pci_id: str | None = None
    """`10de:2684`, lower case, as the bus tells; with the revision it names a card of gpus.toml."""
    pci_revision: int | None = None
    uuid: str | None = None
    serial: str | None = None
    memory_bytes: int
    free_bytes: int
    compute_units: int
    """Streaming multiprocessors, compute units or cores."""
    unified: bool
    """Whether the device computes in the host's memory."""
    is_gpu: bool
    """False for processors that an OpenCL platform or the CPU backend shows."""
    driver: str
    """Driver and runtime with versions: `CUDA 13.0, driver 580.65`."""

    @property
    def key(self) -> str:
        return f"{self.backend}:{self.index}"


class Buffer(Protocol):
    """Memory of one device."""

    size_bytes: int

    def free(self) -> None:
        """Gives it back. Twice is harmless."""
        ...


class HostBuffer(Protocol):
    """Memory of the host that the device can copy from and to; pinned where that was asked for and can be had."""

    size_bytes: int
    pinned: bool
    array: npt.NDArray[np.uint8]
    """The bytes themselves, shape (size_bytes,)."""

    def free(self) -> None: ...


class Program(Protocol):
    """Kernels of one source, compiled for one device and loaded there."""

    source: Source
    log: str
    """What the compiler said; empty where it said nothing."""


class Mark(Protocol):
    """A point in a queue: the moment when all work before it is done."""


Place: TypeAlias = "Buffer | HostBuffer"
Argument: TypeAlias = "Buffer | int | float | bytes"


class Gpu(Protocol):
    """One device, opened. Every method may raise GpuError; after kind `lost` only `close` may be called."""

    info: GpuInfo

    def free_bytes(self) -> int:
        """Memory that can still be allocated, as the driver tells it."""
        ...

    def allocate(self, size_bytes: int) -> Buffer:
        """Uninitialised memory, aligned to 256 bytes. GpuError of kind `out-of-memory` when there is not enough."""
        ...

    def host_buffer(self, size_bytes: int, pinned: bool = True) -> HostBuffer: ...

    def write(self, buffer: Buffer, data: npt.NDArray[Any], offset_bytes: int = 0) -> None:
        """Copies an array into the buffer, after all work on queue 0, and waits for it."""
        ...

    def read(self, buffer: Buffer, size_bytes: int, offset_bytes: int = 0) -> npt.NDArray[np.uint8]:
        """The bytes of a part of the buffer, after all work on queue 0. Shape (size_bytes,)."""
        ...

    def copy(
        self, target: Place, source: Place, size_bytes: int, *, target_offset: int = 0, source_offset: int = 0,
        queue: int = 0,
    ) -> None:
        """Starts a copy by the copy engine; does not wait. At least one place is this device's; the other may be the
        host's, or another device's that `enable_peer` succeeded for."""
        ...

    def build(self, source: Source) -> Program:
        """Compiles (or takes from the cache) and loads. GpuError of kind `compile` holds the compiler's words."""
        ...

    def launch(
        self, program: Program, kernel: str, groups: int, arguments: Sequence[Argument], *, queue: int = 0
    ) -> None:
        """Starts a kernel over `groups` work-groups of the size that its declaration says; does not wait. Arguments
        are packed by the declared parameters."""
        ...

    def mark(self, queue: int = 0) -> Mark: ...

    def seconds_between(self, first: Mark, second: Mark) -> float:
        """Device time between two marks, waiting for the second."""
        ...

    def wait_for(self, mark: Mark, queue: int) -> None:
        """Work that is put on `queue` from now on starts after the mark, which may be another device's."""
        ...

    def finish(self, queue: int | None = None) -> None:
        """Waits for a queue, or for all. Errors of kernels surface here."""
        ...

    def can_access(self, other: Gpu) -> bool:
        """Whether this device can read and write the other's memory itself, as the runtime tells it."""
        ...

    def enable_peer(self, other: Gpu) -> None:
        """Maps the other's memory for this device. Twice is harmless. GpuError of kind `unsupported` when not."""
        ...

    def release(self) -> None:
        """Waits for all work, then frees all memory that was allocated and not freed; the device stays open, programs
        stay built. Never raises."""
        ...

    def close(self) -> None:
        """Frees everything that was made. Never raises."""
        ...


def each_device(count: int, read: Callable[[int], GpuInfo]) -> tuple[GpuInfo, ...]:
    """What `count` devices tell. One that fails is left out, so that it does not hide the others: the PCI bus shows it
    still, and that no runtime does is a finding. GpuError of the first when every one failed."""
    found: list[GpuInfo] = []
    refused: list[GpuError] = []
    for index in range(count):
        try:
            found.append(read(index))
        except GpuError as error:
            refused.append(error)
    if refused and not found:
        raise refused[0]
    return tuple(found)


def backend(name: Backend) -> ModuleType:
    """The module of a backend: it has `devices()` and `open_gpu(index)`."""
    from importlib import import_module

    if name not in BACKENDS:
        raise ValueError(f"no backend is called {name}")
    return import_module(f"boxcheck.gpu.{name}")


def devices(name: Backend) -> tuple[GpuInfo, ...]:
    """What a backend shows. GpuError says why it shows nothing."""
    found: Callable[[], tuple[GpuInfo, ...]] = backend(name).devices
    return found()


def open_gpu(name: Backend, index: int) -> Gpu:
    opened: Gpu = backend(name).open_gpu(index)
    return opened
