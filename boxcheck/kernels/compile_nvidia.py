"""Kernels of CUDA through NVRTC, and what ptxas and nvdisasm tell of them. No GPU and no driver is needed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.kernels import Kernel, Source
from boxcheck.kernels.compile_report import Row, output_of


class Limit(msgspec.Struct, frozen=True):
    """What a multiprocessor has: CUDA C++ Programming Guide, "Compute Capabilities", technical specifications."""

    group_shared_bytes: int
    """Shared memory that a group may have, when it asks for it."""
    shared_bytes: int
    threads: int


_KIB = 1024
_AMPERE, _GEFORCE = Limit(163 * _KIB, 164 * _KIB, 2048), Limit(99 * _KIB, 100 * _KIB, 1536)
_HOPPER = Limit(227 * _KIB, 228 * _KIB, 2048)
LIMITS = {
    "sm_80": _AMPERE, "sm_86": _GEFORCE, "sm_87": Limit(163 * _KIB, 164 * _KIB, 1536), "sm_89": _GEFORCE,
    "sm_90": _HOPPER, "sm_100": _HOPPER, "sm_103": _HOPPER, "sm_120": _GEFORCE, "sm_121": _GEFORCE,
}


WARNING = re.compile(r"\bwarning\s*(?!#177-D)[:#]|\bC7\d{3}\b")
"""#177-D: a function of a shared header that this source has no use for. C7...: ptxas gives away speed (C7508, C7511:
products of wgmma one after the other)."""


def residency(arch: str, threads: int, registers: int, shared_bytes: int) -> int:
    """Groups that fit on a multiprocessor. Registers are given to a warp in blocks of 256, from a quarter of 65536;
    the system keeps 1 KiB of shared memory a group."""
    limit, warps = LIMITS[arch], -(-threads // 32)
    warps_by_registers = 4 * (16384 // (-(-registers * 32 // 256) * 256))
    by_shared = limit.shared_bytes // (shared_bytes + _KIB)
    return min(warps_by_registers // warps, by_shared, limit.threads // threads)


def nvrtc(name: str, *arguments: Any) -> Any:
    try:
        code, *values = getattr(import_module("cuda.bindings.nvrtc"), name)(*arguments)
    except Exception as error:  # noqa: BLE001  the library is looked for at the first call, and may be missing in many ways
        raise GpuError("no-binding", f"NVRTC cannot be used: {error}", "pip install 'boxcheck[cuda13]'") from None
    if int(code):
        raise GpuError("compile", f"{name}: {getattr(code, 'name', code)}")
    return values[0] if values else None


def rows(name: str, source: Source, arch: str) -> list[Row]:
    """One for each entry point. GpuError: `compile` with what NVRTC says, `no-binding` where NVRTC is missing."""
    from boxcheck.gpu.cuda_compile import options_of

    options = (*options_of(source, arch), "--ptxas-options=-v")
    program = nvrtc("nvrtcCreateProgram", source.text.encode(), source.name.encode(), 0, [], [])
    try:
        try:
            nvrtc("nvrtcCompileProgram", program, len(options), [option.encode() for option in options])
        except GpuError as error:
            raise GpuError(error.kind, f"{error.says}: {_text(program)}") from None
        log = _text(program)
        cubin = bytearray(int(nvrtc("nvrtcGetCUBINSize", program)))
        nvrtc("nvrtcGetCUBIN", program, cubin)
    finally:
        nvrtc("nvrtcDestroyProgram", program)
    tensor = _tensor_instructions(bytes(cubin))
    warnings = [line.strip() for line in log.splitlines() if WARNING.search(line)]
    return [
        ptxas_row(
            name, kernel, arch, log, None if tensor is None else tensor.get(kernel.name, {}),
            warnings[0] if warnings else "")
        for kernel in source.kernels
    ]


def _text(program: Any) -> str:
    text = bytearray(int(nvrtc("nvrtcGetProgramLogSize", program)))
    nvrtc("nvrtcGetProgramLog", program, text)
    return text.rstrip(b"\0").decode("utf-8", "replace").strip()


def ptxas_row(
    name: str, kernel: Kernel, arch: str, log: str, tensor: dict[str, int] | None, wrong: str
) -> Row:
    """ptxas -v reports each entry point in turn, beginning with `Compiling entry function 'name'`."""
    part = log.partition(f"Compiling entry function '{kernel.name}'")[2].partition("Compiling entry function")[0]
    used = re.search(r"Used (\d+) registers", part)
    memory = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
    static = re.search(r"(\d+) bytes smem", part)
    if not used or not memory:
        return Row(kernel=name, entry=kernel.name, arch=arch, wrong=wrong)
    registers, shared = int(used[1]), kernel.shared_bytes + (int(static[1]) if static else 0)
    return Row(
        kernel=name, entry=kernel.name, arch=arch, registers=registers, shared_bytes=shared,
        spill_bytes=sum(map(int, memory.groups())), tensor=tensor, wrong=wrong,
        groups=residency(arch, kernel.group, registers, shared) if arch in LIMITS else None)


@cache
def nvdisasm() -> str | None:
    """Where it is, of the system or of the wheel nvidia-cuda-nvdisasm."""
    if found := shutil.which("nvdisasm"):
        return found
    spec = find_spec("nvidia")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    return next((str(path) for place in places for path in sorted(place.glob("*/bin/nvdisasm"))), None)


def _tensor_instructions(cubin: bytes) -> dict[str, dict[str, int]] | None:
    """By entry point. None without nvdisasm."""
    if not (program := nvdisasm()):
        return None
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        listing = output_of((program, "-c", file.name))
    parts = re.split(r"^\s*\.section\s+\.text\.(\w+)", listing, flags=re.MULTILINE)
    return {
        name: dict(Counter(re.findall(r"\b((?:[HIQO]G?|UTC\w*)MMA)\b", code)))
        for name, code in zip(parts[1::2], parts[2::2], strict=True)
    }
