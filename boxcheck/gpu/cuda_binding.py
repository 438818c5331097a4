"""NVIDIA's binding for Python, loaded and started: every call of CUDA goes through `call`.

`cuda.bindings` 12.9 and 13.x. A call gives a tuple, the code first. Where the driver's library or a function is missing
it raises RuntimeError instead (cuda.pathfinder's DynamicLibNotFoundError is one), at the first call and not at import.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from boxcheck.gpu import GpuError
from boxcheck.gpu.calls import DriverError
from boxcheck.gpu.cuda_absent import OLDEST_CUDA, VAGUE, no_binding, no_library, old_driver, why_no_gpu
from boxcheck.gpu.cuda_errors import error_of


@cache
def driver() -> ModuleType:
    """`cuda.bindings.driver`. GpuError of kind `no-binding` or `version` where it cannot be had."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module("cuda.bindings.driver")
    except ImportError as error:
        raise no_binding(error) from None
    except Exception as error:  # noqa: BLE001  a binding that is half installed raises whatever it likes
        raise GpuError("version", f"NVIDIA's binding for Python cannot be loaded: {error}") from None


def call(name: str, *arguments: Any, doing: str = "", help: str = "") -> Any:
    """What a function of the driver API returns beside its code: None, one value, or a tuple of several.

    GpuError for every code but success. `doing` says what was tried, `help` goes before that of the code.
    """
    function = getattr(driver(), name, None)
    if function is None:
        raise GpuError(
            "version", f"the cuda-python that is installed has no {name}", "pip install -U 'boxcheck[cuda13]'")
    try:
        answer = function(*arguments)
    except ValueError as error:  # a code that the binding's list does not hold
        raise GpuError("error", f"{doing + ': ' if doing else ''}{name}: {error}") from None
    except RuntimeError as error:
        raise no_library(error) from None
    code = int(answer[0])
    if code:
        raise error_of(code, getattr(answer[0], "name", "code"), name, doing, help)
    if len(answer) <= 2:
        return answer[1] if len(answer) == 2 else None
    return answer[1:]


def start() -> int:
    """Starts CUDA in this process, once or again, and gives the driver's CUDA version, as 13000 for 13.0.

    GPUs are numbered by their place on the bus, as nvidia-smi does; CUDA's own order is by guessed speed.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    version = int(call("cuDriverGetVersion"))
    if version < OLDEST_CUDA:
        raise old_driver(version)
    try:
        call("cuInit", 0, doing="starting CUDA")
    except GpuError as error:
        raise explained(error) from None
    return version


def explained(error: GpuError) -> GpuError:
    """The error with a better reason, where its code is one that may mean a missing module or permission."""
    return why_no_gpu(error) if isinstance(error, DriverError) and error.code in VAGUE else error
