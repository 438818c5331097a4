"""Kernels of HIP through clang, and what its assembly tells of them. No GPU, no ROCm and no header is needed.

In three steps, since clang of the ziglang wheel does not link for AMD's GPUs by itself.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from boxcheck.gpu import GpuError
from boxcheck.kernels import Kernel, Source
from boxcheck.kernels.compile_report import Row, output_of


@cache
def clang() -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Compiler and linker that make code for gfx11 and gfx12: clang 19 and newer."""
    for version in (22, 21, 20, 19):
        names = f"clang-{version}", f"ld.lld-{version}"
        if all(map(shutil.which, names)):
            return (names[0],), (names[1],)
    if find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "clang"), (sys.executable, "-m", "ziglang", "ld.lld")
    return None


def rows(name: str, source: Source, arch: str) -> list[Row]:
    """One for each entry point. GpuError: `compile` with what the compiler says, `no-binding` where there is none."""
    if not (found := clang()):
        raise GpuError("no-binding", "no clang for AMD's GPUs is installed", "pip install ziglang")
    compiler, linker = found
    options = source.options if source.language == "hip" else ()
    defines = [f"-D{name}={value}" for name, value in source.defines]
    with tempfile.TemporaryDirectory() as folder:
        text, assembly, binary, linked = (str(Path(folder) / f"k.{suffix}") for suffix in ("cu", "s", "o", "hsaco"))
        Path(text).write_text(source.text)
        target = (f"--offload-arch={arch}", "-nogpulib", "-nogpuinc", "--cuda-device-only", "-mcode-object-version=5")
        output_of((*compiler, "-x", "hip", *target, "-O3", *options, *defines, "-S", text, "-o", assembly))
        output_of((*compiler, "-target", "amdgcn-amd-amdhsa", f"-mcpu={arch}", "-c", assembly, "-o", binary))
        output_of((*linker, "-shared", binary, "-o", linked))
        return [clang_row(name, kernel, arch, Path(assembly).read_text()) for kernel in source.kernels]


def clang_row(name: str, kernel: Kernel, arch: str, assembly: str) -> Row:
    """The metadata at the end describes each kernel (LLVM, "User Guide for AMDGPU Backend", code object metadata);
    `Occupancy` stands in a comment behind its code."""
    kernels = re.split(r"^  - \.", assembly, flags=re.MULTILINE)
    about = next((text for text in kernels if re.search(rf"^ +\.name: +{kernel.name}$", text, re.MULTILINE)), "")
    numbers = {key: int(value) for key, value in re.findall(r"\.(\w+):\s+(\d+)$", about, re.MULTILINE)}
    code = assembly.partition(f"\n{kernel.name}:")[2]
    body, waves = code.partition(".Lfunc_end")[0], re.search(r"; Occupancy: (\d+)", code)
    registers, scratch = numbers.get("vgpr_count"), numbers.get("private_segment_fixed_size")
    spilled = numbers.get("vgpr_spill_count", 0) + numbers.get("sgpr_spill_count", 0)
    return Row(
        kernel=name, entry=kernel.name, arch=arch, registers=registers,
        shared_bytes=numbers.get("group_segment_fixed_size", 0) + kernel.shared_bytes,
        spill_bytes=None if scratch is None else max(scratch, 4 * spilled), groups=int(waves[1]) if waves else None,
        tensor=dict(Counter(re.findall(r"\b(v_wmma|v_swmmac|v_mfma)_", body))))
