"""AMD's GPUs through the HIP runtime and hiprtc of an installed ROCm.

Needs ROCm's runtime (6.0 or newer) and, of Python, `boxcheck[rocm]` with the hip-python of that ROCm. Numbers are
HIP's, among the GPUs that ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES leave.

By hand: rocminfo | grep -e gfx -e Marketing; ls -l /dev/kfd /dev/dri
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from boxcheck.gpu import GpuError, GpuInfo, each_device
from boxcheck.gpu.device import DriverGpu
from boxcheck.gpu.hip_absent import why_no_gpu
from boxcheck.gpu.hip_binding import call, explained, properties, start
from boxcheck.gpu.hip_calls import HipCalls, text_of
from boxcheck.gpu.hip_compile import compile_source
from boxcheck.model import Bdf


def devices() -> tuple[GpuInfo, ...]:
    """What HIP shows. Starting HIP opens every GPU, so that asking each for its free memory costs nothing more."""
    version = start()
    return each_device(_count(), lambda index: _info(index, version))


def open_gpu(index: int) -> DriverGpu:
    """The GPU of this number. GpuError says what prevents it."""
    version = start()
    calls = HipCalls(index)
    info = _info(index, version)
    return DriverGpu(info, calls, lambda source: compile_source(source, info.arch, version))


def _count() -> int:
    try:
        count = int(call("hipGetDeviceCount", doing="counting GPUs"))
    except GpuError as error:
        raise explained(error) from None
    if not count:
        raise why_no_gpu(GpuError("no-device", "HIP shows no GPU"))
    return count


def _info(index: int, version: str) -> GpuInfo:
    told = properties(index)
    arch = text_of(told.gcnArchName).split(":", 1)[0]  # `gfx90a:sramecc+:xnack-`
    free_bytes = 0  # of a GPU that cannot be used, none is free for this process
    with suppress(GpuError):
        free_bytes = HipCalls(index).free_and_total_bytes()[0]
    return GpuInfo(
        backend="hip", index=index, name=text_of(told.name) or arch, arch=arch,
        # HIP tells no function; the GPU is function 0 of its slot, the others are audio and USB.
        bdf=Bdf(f"{told.pciDomainID:04x}:{told.pciBusID:02x}:{told.pciDeviceID:02x}.0"),
        uuid=uuid_text(told.uuid), memory_bytes=int(told.totalGlobalMem), free_bytes=free_bytes,
        compute_units=int(told.multiProcessorCount), unified=bool(told.integrated), is_gpu=True,
        driver=f"HIP {version}",
    )


def uuid_text(value: Any) -> str | None:
    """`GPU-4d1b8a9dc2f1e5a7` as rocminfo prints it: HIP keeps the 16 digits. None for a GPU without (`GPU-XX`)."""
    raw = getattr(value, "bytes", value)
    text = text_of(raw)[:16] if isinstance(raw, (bytes, str)) else ""
    return f"GPU-{text}" if re.fullmatch(r"[0-9a-f]{16}", text) else None
