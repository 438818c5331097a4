"""Asks NVML about every GPU and prints one JSON object. A process of its own, so that a hung driver hangs only it.

Not imported by boxcheck: `boxcheck.host.nvml` starts this file. It imports nothing but nvidia-ml-py, and a call that
the driver does not know or the GPU does not support leaves its value out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

READ = 0
"""NVML_P2P_CAPS_INDEX_READ; nvidia-ml-py has a tuple in its place."""
MOST_PEERS = 16


def main() -> int:
    try:
        import pynvml
    except ImportError:
        print(json.dumps({"error": "no-binding", "says": "nvidia-ml-py is not installed"}))
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        print(json.dumps({"error": int(error.value), "says": str(error)}))
        return 0
    print(json.dumps(everything(pynvml)))
    return 0


def everything(pynvml: Any) -> dict[str, Any]:
    def get(name: str, *arguments: Any) -> Any:
        """The answer of a call, None when driver or GPU has none."""
        call: Callable[..., Any] | None = getattr(pynvml, name, None)
        if call is None:
            return None
        try:
            answer = call(*arguments)
        except pynvml.NVMLError:
            return None
        return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer

    count = get("nvmlDeviceGetCount") or 0
    handles: list[Any] = []
    gpus: list[dict[str, Any]] = []
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            gpus.append({"index": index, "error": int(error.value), "says": str(error)})
            handles.append(None)
            continue
        handles.append(handle)
        gpus.append({"index": index, **one_gpu(get, handle)})
    return {
        "driver": get("nvmlSystemGetDriverVersion"), "nvml": get("nvmlSystemGetNVMLVersion"),
        "cuda": get("nvmlSystemGetCudaDriverVersion_v2"), "count": count, "gpus": gpus,
        "p2p_read": peers(get, handles),
    }


def one_gpu(get: Callable[..., Any], handle: Any) -> dict[str, Any]:
    pci, memory, bar1 = (get(f"nvmlDeviceGet{name}", handle) for name in ("PciInfo", "MemoryInfo", "BAR1MemoryInfo"))
    bus = getattr(pci, "busId", None)
    remapped = get("nvmlDeviceGetRemappedRows", handle)
    ecc = get("nvmlDeviceGetEccMode", handle)
    values = {
        "bdf": bus.decode("ascii", "replace") if isinstance(bus, bytes) else bus,
        "name": get("nvmlDeviceGetName", handle), "uuid": get("nvmlDeviceGetUUID", handle),
        "serial": get("nvmlDeviceGetSerial", handle), "vbios": get("nvmlDeviceGetVbiosVersion", handle),
        "persistence": get("nvmlDeviceGetPersistenceMode", handle),
        "memory_bytes": getattr(memory, "total", None), "bar1_bytes": getattr(bar1, "bar1Total", None),
        "power_limit_milliwatts": get("nvmlDeviceGetPowerManagementLimit", handle),
        "power_default_milliwatts": get("nvmlDeviceGetPowerManagementDefaultLimit", handle),
        "temperature_celsius": get("nvmlDeviceGetTemperature", handle, 0),
        "pcie_replays": get("nvmlDeviceGetPcieReplayCounter", handle),
        "event_reasons": get("nvmlDeviceGetCurrentClocksEventReasons", handle),
        "ecc": ecc[0] if isinstance(ecc, (list, tuple)) and ecc else None,
        "ecc_uncorrected": get("nvmlDeviceGetTotalEccErrors", handle, 1, 1),
        "retired_pending": get("nvmlDeviceGetRetiredPagesPendingStatus", handle),
        "remapped_rows": list(remapped) if isinstance(remapped, (list, tuple)) else None,
    }
    if values["event_reasons"] is None:  # the name before 535.54
        values["event_reasons"] = get("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return {name: value for name, value in values.items() if isinstance(value, (str, int, float, list))}


def peers(get: Callable[..., Any], handles: list[Any]) -> list[list[int | None]]:
    """Row reads column: status of each ordered pair, 0 is OK; None on the diagonal and where nothing was answered."""
    if not 2 <= len(handles) <= MOST_PEERS:
        return []
    def status(first: Any, second: Any) -> int | None:
        if first is second or first is None or second is None:
            return None
        answer: int | None = get("nvmlDeviceGetP2PStatus", first, second, READ)
        return answer

    return [[status(first, second) for second in handles] for first in handles]


if __name__ == "__main__":
    sys.exit(main())
