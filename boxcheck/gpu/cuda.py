"""NVIDIA's GPUs through CUDA's driver API and NVRTC.

Needs the driver (525 or newer) and, of Python, `boxcheck[cuda13]` or `boxcheck[cuda12]`; no toolkit. Numbers are those
of nvidia-smi (CUDA_DEVICE_ORDER=PCI_BUS_ID), among the GPUs that CUDA_VISIBLE_DEVICES leaves.

By hand: nvidia-smi -L; nvidia-smi --query-gpu=index,pci.bus_id,compute_cap,memory.total --format=csv
"""

from __future__ import annotations

from contextlib import suppress

from boxcheck.gpu import Buffer, GpuError, GpuInfo, each_device
from boxcheck.gpu.cuda_binding import call, driver, start
from boxcheck.gpu.cuda_calls import CudaCalls
from boxcheck.gpu.cuda_compile import compile_source
from boxcheck.gpu.cuda_info import free_by_opening, info_of
from boxcheck.gpu.cuda_nvml import ask
from boxcheck.gpu.device import DriverGpu
from boxcheck.kernels import tensor_map
from boxcheck.kernels.tensor_map import TensorMap


def devices() -> tuple[GpuInfo, ...]:
    """What CUDA shows. No GPU is opened for it where NVML tells its free memory; else each is, for a moment."""
    version = start()
    count = int(call("cuDeviceGetCount", doing="counting GPUs"))
    if not count:
        raise GpuError("no-device", "CUDA shows no GPU")
    told = ask()
    return each_device(count, lambda index: info_of(index, version, told, free_by_opening))


def open_gpu(index: int) -> CudaGpu:
    """The GPU of this number, with its primary context. GpuError says what prevents it."""
    version = start()
    calls = CudaCalls(index)
    try:
        calls.enter()
        free_bytes = calls.free_and_total_bytes()[0]
        info = info_of(index, version, ask()._replace(free_bytes={}), lambda _: free_bytes)
    except GpuError:
        with suppress(GpuError):
            calls.close(broken=True)
        raise
    return CudaGpu(info, calls, lambda source: compile_source(source, info.arch, version))


class CudaGpu(DriverGpu):
    """A GPU of NVIDIA."""

    def tensor_map(self, buffer: Buffer, wanted: TensorMap) -> bytes:
        """The 128 bytes that describe the matrix at the buffer's beginning, for a parameter of kind `map`.

        GpuError where the GPU or the driver knows no tensor maps (before 9.0, before CUDA 12).
        """
        address = self._within(buffer, 0, wanted.size_bytes)
        with self._entered():
            made = call(
                "cuTensorMapEncodeTiled", *tensor_map.arguments(driver(), wanted, address),
                doing="describing a matrix to the copy engine")
        return tensor_map.content(made)
