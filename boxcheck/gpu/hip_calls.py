"""HIP's runtime for one device, under the names of `calls.Calls`.

HIP has no contexts: the device is set for the thread before each call. Queues are streams that do not wait for the
default stream. Everything that hip-python would copy out of a Python object is given as an address instead: releases 6
and 7 free such copies before the call that uses them.

Source  HIP runtime API reference.
"""

from __future__ import annotations

import ctypes
from typing import Any

from boxcheck.gpu import GpuError
from boxcheck.gpu.arguments import Packer
from boxcheck.gpu.calls import GIB, Handle, with_room
from boxcheck.gpu.hip_binding import call, hip
from boxcheck.kernels import Kernel

NON_BLOCKING = 1
"""hipStreamNonBlocking."""
PORTABLE_MAPPED = 1 | 2
"""hipHostMallocPortable and hipHostMallocMapped: pinned for every device; kernels use it under the same address."""
MOST_SHARED_BYTES = 64 << 10
"""Local memory that a group may have on gfx9 to gfx12; gfx950 has more (AMDGPU backend guide, LDS)."""
ALREADY_ENABLED = 704
LAUNCH_PARAM_BUFFER_POINTER, LAUNCH_PARAM_BUFFER_SIZE, LAUNCH_PARAM_END = 1, 2, 3
"""Of hipModuleLaunchKernel's `extra` (hip_runtime_api.h)."""


class HipCalls:
    """The runtime, for the device of one number."""

    def __init__(self, index: int) -> None:
        self.index = index
        call("hipSetDevice", index, doing=f"opening hip:{index}")

    def enter(self) -> None:
        call("hipSetDevice", self.index)

    # Memory.

    def free_and_total_bytes(self) -> tuple[int, int]:
        free, total = call("hipMemGetInfo")
        return int(free), int(total)

    def allocate(self, size_bytes: int) -> int:
        try:
            return int(call("hipMalloc", size_bytes, doing=f"allocating {size_bytes / GIB:.2f} GiB"))
        except GpuError as error:
            raise with_room(error, self) from None

    def release(self, address: int) -> None:
        call("hipFree", address)

    def allocate_host(self, size_bytes: int) -> int:
        doing = f"pinning {size_bytes / GIB:.2f} GiB of the host's memory"
        return int(call("hipHostMalloc", size_bytes, PORTABLE_MAPPED, doing=doing))

    def release_host(self, address: int) -> None:
        call("hipHostFree", address)

    # Queues and events.

    def make_queue(self) -> Handle:
        return call("hipStreamCreateWithFlags", NON_BLOCKING)

    def drop_queue(self, queue: Handle) -> None:
        call("hipStreamDestroy", queue)

    def make_event(self) -> Handle:
        return call("hipEventCreateWithFlags", 0)  # with times; a thread that waits for it spins

    def drop_event(self, event: Handle) -> None:
        call("hipEventDestroy", event)

    def record(self, event: Handle, queue: Handle) -> None:
        call("hipEventRecord", event, queue)

    def hold(self, queue: Handle, event: Handle) -> None:
        call("hipStreamWaitEvent", queue, event, 0)

    def milliseconds(self, first: Handle, second: Handle) -> float:
        return float(call("hipEventElapsedTime", first, second, doing="reading the time between two marks"))

    def finish_event(self, event: Handle) -> None:
        call("hipEventSynchronize", event, doing="waiting for the GPU")

    def finish_queue(self, queue: Handle) -> None:
        call("hipStreamSynchronize", queue, doing="waiting for the GPU")

    def finish_all(self) -> None:
        call("hipDeviceSynchronize", doing="waiting for the GPU")

    # Copies.

    def copy_in(self, target: int, host: int, size_bytes: int, queue: Handle) -> None:
        self._copy("HostToDevice", target, host, size_bytes, queue, "copying to the GPU")

    def copy_out(self, host: int, source: int, size_bytes: int, queue: Handle) -> None:
        self._copy("DeviceToHost", host, source, size_bytes, queue, "copying from the GPU")

    def copy_within(self, target: int, source: int, size_bytes: int, queue: Handle) -> None:
        self._copy("DeviceToDevice", target, source, size_bytes, queue, "copying within the GPU")

    def _copy(self, way: str, target: int, source: int, size_bytes: int, queue: Handle, doing: str) -> None:
        kind = getattr(hip().hipMemcpyKind, f"hipMemcpy{way}")
        call("hipMemcpyAsync", target, source, size_bytes, kind, queue, doing=doing)

    def copy_between(
        self, target: int, to: HipCalls, source: int, of: HipCalls, size_bytes: int, queue: Handle
    ) -> None:
        ends = (target, to.index, source, of.index)
        call("hipMemcpyPeerAsync", *ends, size_bytes, queue, doing="copying between GPUs")

    # Kernels.

    def load(self, code: bytes) -> Handle:
        return call("hipModuleLoadData", code, doing="loading a kernel")

    def unload(self, module: Handle) -> None:
        call("hipModuleUnload", module)

    def function(self, module: Handle, kernel: Kernel) -> Handle:
        if kernel.cluster > 1:
            raise GpuError("unsupported", f"{kernel.name} runs in clusters, which AMD's GPUs have not")
        if kernel.shared_bytes > MOST_SHARED_BYTES:
            says = f"{kernel.name} needs {kernel.shared_bytes >> 10} KiB of shared memory, and a group has 64"
            raise GpuError("unsupported", says)
        name = kernel.name.encode()
        return call("hipModuleGetFunction", module, name, doing=f"finding the kernel {kernel.name}")

    def launch(self, function: Handle, kernel: Kernel, groups: int, packer: Packer, queue: Handle) -> None:
        size = ctypes.c_size_t(packer.size_bytes)
        extra = (ctypes.c_void_p * 5)(
            LAUNCH_PARAM_BUFFER_POINTER, packer.address, LAUNCH_PARAM_BUFFER_SIZE, ctypes.addressof(size),
            LAUNCH_PARAM_END)
        call(
            "hipModuleLaunchKernel", function, groups, 1, 1, kernel.group, 1, 1, kernel.shared_bytes, queue, None,
            ctypes.addressof(extra) if packer.size_bytes else None, doing=f"starting {kernel.name}")

    # Peers.

    def can_access(self, other: HipCalls) -> bool:
        return bool(call("hipDeviceCanAccessPeer", self.index, other.index))

    def enable_peer(self, other: HipCalls) -> None:
        try:
            call("hipDeviceEnablePeerAccess", other.index, 0, doing="giving a GPU access to another's memory")
        except GpuError as error:
            if getattr(error, "code", 0) != ALREADY_ENABLED:
                raise

    # The end.

    def close(self, broken: bool) -> None:
        """There is nothing to let go of but, where freeing did not work, all that this process made on the device."""
        if broken:
            self.enter()
            call("hipDeviceReset")


def text_of(value: Any) -> str:
    """A text of a struct: bytes in some releases of hip-python, str in others."""
    raw = value if isinstance(value, bytes) else str(value).encode()
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
