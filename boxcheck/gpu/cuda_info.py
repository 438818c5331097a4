"""What CUDA tells of a GPU that is not opened: name, architecture, place on the bus, memory, UUID."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.gpu.cuda_absent import version_text
from boxcheck.gpu.cuda_binding import call, driver
from boxcheck.gpu.cuda_calls import CudaCalls
from boxcheck.gpu.cuda_nvml import Told
from boxcheck.model import Bdf

NAME_BYTES = 128
BUS_ID_BYTES = 32


def info_of(index: int, version: int, told: Told, free_bytes: Callable[[int], int]) -> GpuInfo:
    """One device. `free_bytes` is asked where NVML did not tell."""
    doing = f"reading what cuda:{index} is"
    device = call("cuDeviceGet", index, doing=doing)
    attributes = driver().CUdevice_attribute

    def attribute(name: str) -> int:
        which = getattr(attributes, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(call("cuDeviceGetAttribute", which, device, doing=doing))

    name = _text(call("cuDeviceGetName", NAME_BYTES, device, doing=doing))
    uuid = uuid_text(_uuid(device), name)
    free = told.free_bytes.get(uuid)
    return GpuInfo(
        backend="cuda", index=index, name=name,
        arch=f"sm_{attribute('COMPUTE_CAPABILITY_MAJOR')}{attribute('COMPUTE_CAPABILITY_MINOR')}",
        bdf=bdf_of(_text(call("cuDeviceGetPCIBusId", BUS_ID_BYTES, device, doing=doing))), uuid=uuid,
        memory_bytes=int(call("cuDeviceTotalMem", device, doing=doing)),
        free_bytes=free_bytes(index) if free is None else free,
        compute_units=attribute("MULTIPROCESSOR_COUNT"), unified=bool(attribute("INTEGRATED")), is_gpu=True,
        driver=f"CUDA {version_text(version)}{f', driver {told.driver}' if told.driver else ''}",
    )


def free_by_opening(index: int) -> int:
    """Free memory, by opening the GPU for a moment. A GPU that cannot be opened has none for this process: 0."""
    try:
        calls = CudaCalls(index)
    except GpuError:
        return 0
    try:
        calls.enter()
        return calls.free_and_total_bytes()[0]
    except GpuError:
        return 0
    finally:
        with suppress(GpuError):
            calls.close(broken=False)


def bdf_of(text: str) -> Bdf | None:
    """`0000:41:00.0`, as the kernel writes it, of what CUDA calls a bus id: `00000000:41:00.0`, `0000:41:00`."""
    match = re.fullmatch(r"([0-9a-fA-F]{4,8}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.([0-7]))?", text.strip())
    if match is None:
        return None
    domain, bus, device, function = (int(part or "0", 16) for part in match.groups())
    return Bdf(f"{domain:04x}:{bus:02x}:{device:02x}.{function:x}")


def uuid_text(value: bytes, name: str) -> str:
    """The UUID as nvidia-smi prints it; a part of a GPU (MIG) has its own."""
    digits = value.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return ("MIG-" if " MIG " in f"{name} " else "GPU-") + "-".join(parts)


def _uuid(device: Any) -> bytes:
    # In cuda-python 12 the plain name gives the whole GPU's UUID also for a part of it; 13 has the plain name alone.
    name = "cuDeviceGetUuid_v2" if hasattr(driver(), "cuDeviceGetUuid_v2") else "cuDeviceGetUuid"
    return bytes(call(name, device).bytes)[:16]


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
