"""AMD's binding for Python, loaded and started: every call of HIP goes through `call`.

hip-python 6.x, 7.x and 10.x. A call gives a tuple, the code first. Importing always works; the first call raises
RuntimeError where libamdhip64.so is missing or lacks the function. hip-python 6 holds Python's lock during a call, so a
call that hangs there stops every thread of the process.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Any

from boxcheck.gpu import GpuError
from boxcheck.gpu.calls import DriverError
from boxcheck.gpu.hip_absent import VAGUE, no_binding, no_library, why_no_gpu
from boxcheck.gpu.hip_errors import error_of


@cache
def hip() -> Any:
    """The module with HIP's functions. GpuError of kind `no-binding` or `version` where it cannot be had."""
    return part("hip")


def part(name: str) -> Any:
    """`hip` or `hiprtc` of hip-python: a module of `rocm.bindings` since 10, of `hip` before."""
    try:
        return getattr(import_module("hip"), name, None) or import_module(f"hip.{name}")
    except ImportError as error:
        raise no_binding(error) from None
    except Exception as error:  # noqa: BLE001  a binding that is half installed raises whatever it likes
        raise GpuError("version", f"AMD's binding for Python cannot be loaded: {error}") from None


def call(name: str, *arguments: Any, doing: str = "", help: str = "") -> Any:
    """What a function of HIP returns beside its code: None, one value, or a tuple of several.

    GpuError for every code but success. `doing` says what was tried, `help` goes before that of the code.
    """
    function = getattr(hip(), name, None)
    if function is None:
        raise GpuError("version", f"the hip-python that is installed has no {name}", "pip install -U hip-python")
    try:
        answer = function(*arguments)
    except ValueError as error:  # a code that the binding's list does not hold
        raise _unknown(name, error, doing) from None
    except RuntimeError as error:
        raise no_library(error) from None
    code = int(answer[0])
    if code:
        raise error_of(code, getattr(answer[0], "name", "code"), name, doing, help)
    if len(answer) <= 2:
        return answer[1] if len(answer) == 2 else None
    return answer[1:]


def start() -> str:
    """Starts HIP in this process, once or again, and gives its version: `6.4.43484`."""
    try:
        call("hipInit", 0, doing="starting HIP")
    except GpuError as error:
        raise explained(error) from None
    return version_text(int(call("hipRuntimeGetVersion")))


def properties(index: int) -> Any:
    """`hipDeviceProp_t` of a device. Before hip-python 10 the caller brings the memory."""
    doing = f"reading what hip:{index} is"
    try:
        return call("hipGetDeviceProperties", index, doing=doing)
    except TypeError:
        found = hip().hipDeviceProp_t()
        call("hipGetDeviceProperties", found, index, doing=doing)
        return found


def explained(error: GpuError) -> GpuError:
    """The error with a better reason, where its code is one that may mean a missing module or permission."""
    return why_no_gpu(error) if isinstance(error, DriverError) and error.code in VAGUE else error


def version_text(version: int) -> str:
    """`6.4.43484` for 60443484 (hip_version.h: major * 10000000 + minor * 100000 + patch)."""
    return f"{version // 10000000}.{version // 100000 % 100}.{version % 100000}"


def _unknown(name: str, error: ValueError, doing: str) -> GpuError:
    code = re.match(r"(\d+) is not a valid", str(error))
    if code is None:
        return GpuError("error", f"{doing + ': ' if doing else ''}{name}: {error}")
    return error_of(int(code[1]), "code", name, doing)
