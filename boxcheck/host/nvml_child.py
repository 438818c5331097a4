"""Asks NVML about every GPU and prints one JSON object. A process of its own, so that a hung driver hangs only it.

Not imported by boxcheck: `boxcheck.host.nvml` starts this file. It imports nothing but nvidia-ml-py. A value that the
GPU does not support is left out; one that could not be read is left out and named under `failed`, with the reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

READ = 0
"""NVML_P2P_CAPS_INDEX_READ; nvidia-ml-py has a tuple in its place."""
MOST_PEERS = 16
NOT_SUPPORTED = 3
"""NVML_ERROR_NOT_SUPPORTED, the one error that says that the GPU has no such thing."""


def main() -> int:
    """Prints the answer. Exit status 0 also where NVML refuses: then `error` and `says` tell why."""
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
    """The answer for `probes.nvml.parse_nvml`. NVML has been started."""
    def get(name: str, *arguments: Any) -> Any:
        """The answer of a call, None when there is none, whatever the reason."""
        return one_call(pynvml, name, *arguments)[0]

    try:
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        return {"error": int(error.value), "says": str(error)}
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
        gpus.append({"index": index, **one_gpu(pynvml, handle)})
    return {
        "driver": get("nvmlSystemGetDriverVersion"), "nvml": get("nvmlSystemGetNVMLVersion"),
        "cuda": get("nvmlSystemGetCudaDriverVersion_v2"), "count": count, "gpus": gpus,
        "p2p_read": peers(get, handles),
    }


CALLS = (
    ("name", "Name", ()), ("uuid", "UUID", ()), ("serial", "Serial", ()), ("vbios", "VbiosVersion", ()),
    ("persistence", "PersistenceMode", ()), ("power_limit_milliwatts", "PowerManagementLimit", ()),
    ("power_default_milliwatts", "PowerManagementDefaultLimit", ()), ("temperature_celsius", "Temperature", (0,)),
    ("pcie_replays", "PcieReplayCounter", ()), ("event_reasons", "CurrentClocksEventReasons", ()),
    ("ecc", "EccMode", ()), ("ecc_uncorrected", "TotalEccErrors", (1, 1)),
    ("ecc_uncorrected_volatile", "TotalEccErrors", (1, 0)), ("retired_pending", "RetiredPagesPendingStatus", ()),
    ("remapped_rows", "RemappedRows", ()),
)
"""(value, end of the call's name after nvmlDeviceGet, arguments after the handle). Temperature sensor 0 is the core; of
ECC errors, type 1 are the uncorrected ones, counter 1 counts for life and 0 since the driver was loaded (nvml.h)."""
PARTS = (
    ("bdf", "PciInfo", "busId"), ("memory_bytes", "MemoryInfo", "total"), ("bar1_bytes", "BAR1MemoryInfo", "bar1Total"))
"""(value, end of the call's name after nvmlDeviceGet, field of its answer)."""
OLDER = {"CurrentClocksEventReasons": "CurrentClocksThrottleReasons"}
"""Names before driver 535.54, for a driver or a binding of that age."""


def one_gpu(pynvml: Any, handle: Any) -> dict[str, Any]:
    """Values of one GPU by the names of `PARTS` and `CALLS`, with `failed` where one was not read."""
    values: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for value, call, field in PARTS:
        answer, why = one_call(pynvml, f"nvmlDeviceGet{call}", handle)
        part = getattr(answer, field, None)
        values[value] = part.decode("ascii", "replace") if isinstance(part, bytes) else part
        if why is not None:
            failed[value] = why
    for value, call, arguments in CALLS:
        for name in (call, OLDER.get(call)):
            if name is None:
                break
            answer, why = one_call(pynvml, f"nvmlDeviceGet{name}", handle, *arguments)
            if why is None:
                values[value] = answer
                failed.pop(value, None)
                break
            failed[value] = why
    if isinstance(values.get("ecc"), (list, tuple)):
        values["ecc"] = next(iter(values["ecc"]), None)
    if isinstance(values.get("remapped_rows"), tuple):
        values["remapped_rows"] = list(values["remapped_rows"])
    kept: dict[str, Any] = {name: value for name, value in values.items() if isinstance(value, (str, int, float, list))}
    return {**kept, "failed": failed} if failed else kept


def one_call(pynvml: Any, name: str, *arguments: Any) -> tuple[Any, str | None]:
    """The answer, or why there is none. (None, None) where the GPU has no such thing."""
    call: Callable[..., Any] | None = getattr(pynvml, name, None)
    if call is None:
        return None, f"nvidia-ml-py has no {name}"
    try:
        answer = call(*arguments)
    except pynvml.NVMLError as error:
        return None, None if error.value == NOT_SUPPORTED else str(error) or f"error {error.value}"
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer, None


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
