"""What NVML tells of GPUs that the CUDA driver API does not, or only to a process that takes memory of each.

`cuMemGetInfo` needs a context: hundreds of milliseconds and of megabytes on each GPU, and none to be had on a GPU in
exclusive mode. NVML needs none. Where it gives no answer nothing is told.

By hand: nvidia-smi --query-gpu=uuid,memory.free,driver_version --format=csv
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple


class Told(NamedTuple):
    """The driver's version, and the free memory of each GPU in bytes by its UUID."""

    driver: str | None
    free_bytes: Mapping[str, int]


def ask() -> Told:
    """NVML's answers; nothing where it is not there or fails."""
    driver: str | None = None
    free: dict[str, int] = {}
    with suppress(Exception):  # not installed, no library, no permission
        import pynvml

        pynvml.nvmlInit()
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        for index in range(pynvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):  # a GPU that is lost
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                free[_text(pynvml.nvmlDeviceGetUUID(handle))] = int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
        pynvml.nvmlShutdown()
    return Told(driver, free)


def _text(value: bytes | str) -> str:
    """Bytes in some releases of nvidia-ml-py, str in others."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
