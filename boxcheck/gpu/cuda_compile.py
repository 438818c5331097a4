"""Sources to machine code of one GPU, by NVRTC, in this process.

NVRTC compiles without a GPU and makes a cubin, which the driver loads as it is. A cubin of CUDA 13 needs driver 580,
one of CUDA 12 driver 525 (CUDA compatibility, minor version compatibility: any driver of the same major version does).
Each NVRTC knows some architectures: 13 no longer Volta and older, 12.8 the first with Blackwell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from boxcheck.gpu import GpuError
from boxcheck.gpu.cache import Compiled, cached
from boxcheck.gpu.cuda_absent import version_text
from boxcheck.kernels import Source

LOG_LIMIT = 20_000
WORDS_LIMIT = 1500
"""Characters of the log in an error."""
_ARCH = ("--gpu-architecture", "-arch")


def compile_source(source: Source, arch: str, driver_version: int) -> Compiled:
    """A cubin, from the cache or from NVRTC. GpuError: `version`, `compile`, or `unsupported` for a source of HIP."""
    if source.language == "hip":
        raise GpuError("unsupported", f"{source.name} is written for HIP")
    options = options_of(source, arch)
    version, archs = compiler()
    check_versions(version, archs, driver_version, options[0].rpartition("=")[2])
    return cached(source, arch, options, f"nvrtc {version[0]}.{version[1]}", lambda: _compiled(source, options))


def options_of(source: Source, arch: str) -> tuple[str, ...]:
    """Architecture first, then defines, then what the source asks for. A source may name another architecture."""
    given = source.options if source.language == "cuda" else ()
    asked = [option for option in given if option.startswith(_ARCH)]
    first = f"--gpu-architecture={asked[-1].rpartition('=')[2]}" if asked else f"--gpu-architecture={arch}"
    rest = tuple(option for option in given if option not in asked)
    return (first, *(f"-D{name}={value}" for name, value in source.defines), *rest)


def check_versions(version: tuple[int, int], archs: Sequence[int], driver_version: int, arch: str) -> None:
    """GpuError of kind `version` unless this NVRTC makes code for the architecture that this driver loads.

    `driver_version` as cuDriverGetVersion gives it; `archs` are 75 for sm_75 and so on.
    """
    compiler_text, driver_text = f"NVRTC {version[0]}.{version[1]}", f"CUDA {version_text(driver_version)}"
    driver_major = driver_version // 1000
    extra = "pip install -U 'boxcheck[cuda13]'" if driver_major >= 13 else "pip install -U 'boxcheck[cuda12]'"
    alone = ", in an environment of its own: the two extras do not go together"
    if version[0] > driver_major:
        raise GpuError(
            "version", f"{compiler_text} makes code that the driver, which is for {driver_text}, does not load",
            f"{extra}{alone}; or update the driver")
    number = re.match(r"sm_(\d+)", arch)
    if not archs or number is None or int(number[1]) in archs:
        return
    wanted = int(number[1])
    if wanted > min(archs):
        raise GpuError(
            "version", f"{compiler_text} does not know this GPU ({arch})",
            extra if driver_major >= 13 else f"{extra}; where that is the newest, update the driver and take [cuda13]")
    if version[0] > 12:
        raise GpuError(
            "version", f"{compiler_text} no longer makes code for this GPU ({arch})",
            f"pip install 'boxcheck[cuda12]'{alone}")
    raise GpuError("unsupported", f"{compiler_text} no longer makes code for this GPU ({arch})")


@cache
def compiler() -> tuple[tuple[int, int], tuple[int, ...]]:
    """NVRTC's version and the architectures it knows."""
    major, minor = _call("nvrtcVersion")
    return (int(major), int(minor)), tuple(int(arch) for arch in _call("nvrtcGetSupportedArchs"))


def _compiled(source: Source, options: Sequence[str]) -> Compiled:
    program = _call("nvrtcCreateProgram", source.text.encode(), source.name.encode(), 0, [], [])
    try:
        try:
            _call("nvrtcCompileProgram", program, len(options), [option.encode() for option in options])
        except GpuError as error:
            log = " ".join(_log(program).split())[:WORDS_LIMIT]
            words = f"{source.name} does not compile for {options[0].rpartition('=')[2]}: {log or error.says}"
            raise GpuError("compile", words, "this is a defect of boxcheck, or of NVRTC: report it") from None
        code = bytearray(int(_call("nvrtcGetCUBINSize", program)))
        _call("nvrtcGetCUBIN", program, code)
        return Compiled(bytes(code), _log(program))
    finally:
        _call("nvrtcDestroyProgram", program)


def _log(program: Any) -> str:
    text = bytearray(int(_call("nvrtcGetProgramLogSize", program)))
    _call("nvrtcGetProgramLog", program, text)
    return text.rstrip(b"\0").decode("utf-8", "replace").strip()[:LOG_LIMIT]


def _call(name: str, *arguments: Any) -> Any:
    """What a function of NVRTC returns beside its code."""
    try:
        nvrtc = import_module("cuda.bindings.nvrtc")
        answer = getattr(nvrtc, name)(*arguments)
    except (RuntimeError, ImportError, AttributeError, ValueError) as error:
        if type(error).__name__ == "DynamicLibNotFoundError":  # of cuda.pathfinder
            raise GpuError(
                "no-binding", "NVRTC, CUDA's compiler, is not installed in the version that cuda-python asks for",
                "pip install 'boxcheck[cuda13]' for driver 580 and newer, 'boxcheck[cuda12]' for older") from None
        raise GpuError("version", f"NVRTC cannot be used: {error}", "pip install -U 'boxcheck[cuda13]'") from None
    if int(answer[0]):
        code = getattr(answer[0], "name", "error")
        raise GpuError("compile", f"NVRTC failed ({name}: {code} {int(answer[0])})")
    if len(answer) <= 2:
        return answer[1] if len(answer) == 2 else None
    return answer[1:]
