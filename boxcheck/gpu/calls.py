"""What `DriverGpu` needs of a driver: the calls of CUDA and HIP under one set of names.

Each method is one call of the driver, or two, and raises GpuError: a `DriverError` where the driver gave a code.
Addresses are integers; queues, events, modules and functions are whatever the binding makes of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from boxcheck.gpu import GpuError, GpuErrorKind
from boxcheck.gpu.arguments import Packer
from boxcheck.kernels import Kernel

Handle: TypeAlias = Any


class DriverError(GpuError):
    """A code of the driver, in words. `lasts` where nothing works on the device any more in this process."""

    def __init__(self, kind: GpuErrorKind, says: str, help: str = "", *, code: int = 0, lasts: bool = False) -> None:
        super().__init__(kind, says, help)
        self.code = code
        self.lasts = lasts


class Fault(NamedTuple):
    """What one code means: its kind, one clause, what to do, and whether the context is broken for good."""

    kind: GpuErrorKind
    says: str
    help: str = ""
    lasts: bool = False


class Calls(Protocol):
    """A driver, for one device."""

    def enter(self) -> None:
        """Makes the device the one that this thread's calls are for."""
        ...

    def free_and_total_bytes(self) -> tuple[int, int]: ...

    def allocate(self, size_bytes: int) -> int: ...

    def release(self, address: int) -> None: ...

    def allocate_host(self, size_bytes: int) -> int:
        """Pinned memory that every device of the process may use."""
        ...

    def release_host(self, address: int) -> None: ...

    def make_queue(self) -> Handle: ...

    def drop_queue(self, queue: Handle) -> None: ...

    def make_event(self) -> Handle: ...

    def drop_event(self, event: Handle) -> None: ...

    def record(self, event: Handle, queue: Handle) -> None: ...

    def hold(self, queue: Handle, event: Handle) -> None:
        """Later work of the queue waits for the event."""
        ...

    def milliseconds(self, first: Handle, second: Handle) -> float: ...

    def finish_event(self, event: Handle) -> None: ...

    def finish_queue(self, queue: Handle) -> None: ...

    def finish_all(self) -> None: ...

    def copy_in(self, target: int, host: int, size_bytes: int, queue: Handle) -> None: ...

    def copy_out(self, host: int, source: int, size_bytes: int, queue: Handle) -> None: ...

    def copy_within(self, target: int, source: int, size_bytes: int, queue: Handle) -> None: ...

    def copy_between(
        self, target: int, to: Any, source: int, of: Any, size_bytes: int, queue: Handle
    ) -> None:
        """From a device's memory to another's; `to` and `of` are their Calls."""
        ...

    def load(self, code: bytes) -> Handle: ...

    def unload(self, module: Handle) -> None: ...

    def function(self, module: Handle, kernel: Kernel) -> Handle:
        """A kernel, ready to be started: on the device already, and allowed the shared memory that it asks for."""
        ...

    def launch(self, function: Handle, kernel: Kernel, groups: int, packer: Packer, queue: Handle) -> None: ...

    def can_access(self, other: Any) -> bool: ...

    def enable_peer(self, other: Any) -> None:
        """Twice is harmless."""
        ...

    def close(self, broken: bool) -> None:
        """Lets go of the device; with `broken`, of everything that was made on it too. May raise anything."""
        ...


GIB = float(1 << 30)


def with_room(error: GpuError, calls: Calls) -> GpuError:
    """An error of an allocation, with what is free where memory was short."""
    if error.kind != "out-of-memory":
        return error
    try:
        free, total = calls.free_and_total_bytes()
    except GpuError:
        return error
    return GpuError(error.kind, f"{error.says}; {free / GIB:.2f} of {total / GIB:.2f} GiB are free", error.help)
