"""CUDA's driver API for one device, under the names of `calls.Calls`.

The device's primary context is used, retained on opening: one context a GPU and process is what the driver is made for,
and a second opening shares it. It is made current before each call, so that one thread may use several GPUs. Queues are
streams that do not wait for the legacy default stream.

Source  CUDA Driver API reference.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from boxcheck.gpu import GpuError
from boxcheck.gpu.arguments import Packer
from boxcheck.gpu.calls import GIB, Handle, with_room
from boxcheck.gpu.cuda_binding import call, driver, explained
from boxcheck.kernels import Kernel

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING."""
PORTABLE = 1
"""CU_MEMHOSTALLOC_PORTABLE: pinned for every context of the process; kernels may use it under the same address."""
PLAIN_SHARED_BYTES = 48 << 10
"""Dynamic shared memory that a kernel gets without being asked (CUDA C++ Programming Guide, compute capabilities)."""
ALREADY_ENABLED = 704


class CudaCalls:
    """The driver, for the device of one number."""

    def __init__(self, index: int) -> None:
        self.device = call("cuDeviceGet", index, doing=f"opening cuda:{index}")
        try:
            self.context = call("cuDevicePrimaryCtxRetain", self.device, doing=f"opening cuda:{index}")
        except GpuError as error:
            raise explained(error) from None

    def enter(self) -> None:
        call("cuCtxSetCurrent", self.context)

    # Memory.

    def free_and_total_bytes(self) -> tuple[int, int]:
        free, total = call("cuMemGetInfo")
        return int(free), int(total)

    def allocate(self, size_bytes: int) -> int:
        try:
            return int(call("cuMemAlloc", size_bytes, doing=f"allocating {size_bytes / GIB:.2f} GiB"))
        except GpuError as error:
            raise with_room(error, self) from None

    def release(self, address: int) -> None:
        call("cuMemFree", address)

    def allocate_host(self, size_bytes: int) -> int:
        doing = f"pinning {size_bytes / GIB:.2f} GiB of the host's memory"
        return int(call("cuMemHostAlloc", size_bytes, PORTABLE, doing=doing))

    def release_host(self, address: int) -> None:
        call("cuMemFreeHost", address)

    # Queues and events.

    def make_queue(self) -> Handle:
        return call("cuStreamCreate", NON_BLOCKING)

    def drop_queue(self, queue: Handle) -> None:
        call("cuStreamDestroy", queue)

    def make_event(self) -> Handle:
        return call("cuEventCreate", 0)  # with times; a thread that waits for it spins

    def drop_event(self, event: Handle) -> None:
        call("cuEventDestroy", event)

    def record(self, event: Handle, queue: Handle) -> None:
        call("cuEventRecord", event, queue)

    def hold(self, queue: Handle, event: Handle) -> None:
        call("cuStreamWaitEvent", queue, event, 0)

    def milliseconds(self, first: Handle, second: Handle) -> float:
        return float(call("cuEventElapsedTime", first, second, doing="reading the time between two marks"))

    def finish_event(self, event: Handle) -> None:
        call("cuEventSynchronize", event, doing="waiting for the GPU")

    def finish_queue(self, queue: Handle) -> None:
        call("cuStreamSynchronize", queue, doing="waiting for the GPU")

    def finish_all(self) -> None:
        call("cuCtxSynchronize", doing="waiting for the GPU")

    # Copies.

    def copy_in(self, target: int, host: int, size_bytes: int, queue: Handle) -> None:
        call("cuMemcpyHtoDAsync", target, host, size_bytes, queue, doing="copying to the GPU")

    def copy_out(self, host: int, source: int, size_bytes: int, queue: Handle) -> None:
        call("cuMemcpyDtoHAsync", host, source, size_bytes, queue, doing="copying from the GPU")

    def copy_within(self, target: int, source: int, size_bytes: int, queue: Handle) -> None:
        call("cuMemcpyDtoDAsync", target, source, size_bytes, queue, doing="copying within the GPU")

    def copy_between(
        self, target: int, to: CudaCalls, source: int, of: CudaCalls, size_bytes: int, queue: Handle
    ) -> None:
        ends = (target, to.context, source, of.context)
        call("cuMemcpyPeerAsync", *ends, size_bytes, queue, doing="copying between GPUs")

    # Kernels.

    def load(self, code: bytes) -> Handle:
        return call("cuModuleLoadData", code, doing="loading a kernel")

    def unload(self, module: Handle) -> None:
        call("cuModuleUnload", module)

    def function(self, module: Handle, kernel: Kernel) -> Handle:
        attribute = driver().CUfunction_attribute
        function = call("cuModuleGetFunction", module, kernel.name.encode(), doing=f"finding the kernel {kernel.name}")
        # Since CUDA 12.2 a kernel's code is put on the device when it is first started, which waits for all that runs;
        # asking for an attribute does it now (CUDA Programming Guide, lazy loading).
        call("cuFuncGetAttribute", attribute.CU_FUNC_ATTRIBUTE_NUM_REGS, function, doing=f"loading {kernel.name}")
        if kernel.shared_bytes > PLAIN_SHARED_BYTES:
            limit = attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            try:
                call("cuFuncSetAttribute", function, limit, kernel.shared_bytes)
            except GpuError as error:
                says = f"{kernel.name} needs {kernel.shared_bytes >> 10} KiB of shared memory, more than this GPU gives"
                raise GpuError("unsupported", f"{says}; {error.says}") from None
        if kernel.shared_bytes:
            # Where cache and shared memory are one, as much of it as there is: else a second group may not fit.
            with suppress(GpuError):  # a hint, which the driver may refuse
                call("cuFuncSetAttribute", function, attribute.CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 100)
        return function

    def launch(self, function: Handle, kernel: Kernel, groups: int, packer: Packer, queue: Handle) -> None:
        doing = f"starting {kernel.name}"
        if kernel.cluster > 1:
            config = self._cluster_launch(kernel, groups, queue)
            call("cuLaunchKernelEx", config, function, packer.pointers_address, 0, doing=doing)
        else:
            call(
                "cuLaunchKernel", function, groups, 1, 1, kernel.group, 1, 1, kernel.shared_bytes, queue,
                packer.pointers_address, 0, doing=doing)

    def _cluster_launch(self, kernel: Kernel, groups: int, queue: Handle) -> Any:
        attribute = driver().CUlaunchAttribute()
        attribute.id = driver().CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        cluster = attribute.value.clusterDim
        cluster.x, cluster.y, cluster.z = kernel.cluster, 1, 1
        config = driver().CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = groups, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = kernel.group, 1, 1
        config.sharedMemBytes, config.hStream = kernel.shared_bytes, queue
        config.attrs, config.numAttrs = [attribute], 1
        return config

    # Peers.

    def can_access(self, other: CudaCalls) -> bool:
        return bool(call("cuDeviceCanAccessPeer", self.device, other.device))

    def enable_peer(self, other: CudaCalls) -> None:
        try:
            call("cuCtxEnablePeerAccess", other.context, 0, doing="giving a GPU access to another's memory")
        except GpuError as error:
            if getattr(error, "code", 0) != ALREADY_ENABLED:
                raise

    # The end.

    def close(self, broken: bool) -> None:
        if not broken:
            call("cuCtxSetCurrent", None)
        call("cuDevicePrimaryCtxRelease", self.device)
