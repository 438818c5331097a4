"""Compiles the Hopper kernel for this processor, with the emulator around it, and runs it on numpy arrays."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcheck.kernels.matrix import ELEMENTS, MatrixKernel
from boxcheck.kernels.tensor_map import TensorMap, describe

HERE = Path(__file__).parent
PARTS = ("machine.cpp", "instructions.cpp", "products.cpp", "main.cpp")
FLAGS = ("-std=c++17", "-O2", "-Wno-unknown-pragmas", "-Wno-psabi", f"-I{HERE}")
ORDERS = {"forward": 0, "backward": 1, "random": 2}
Integers = npt.NDArray[np.int64]


def compiler() -> list[str] | None:
    """A C++ compiler's command, None when there is none."""
    for name in ("g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    return None


def compile_parts(command: list[str], folder: Path) -> Path:
    """The emulator without a kernel, as one object file."""
    whole = folder / "emulator.cpp"
    whole.write_text("".join(f'#include "{part}"\n' for part in PARTS))
    return _compile(command, whole, folder / "emulator.o")


def compile_kernel(command: list[str], emulator: Path, kernel: MatrixKernel, name: str) -> Path:
    """A program that runs this kernel, whose text may have been changed."""
    text = emulator.parent / f"{name}.cu"
    text.write_text(kernel.source.text)
    defines = [f"-D{key}={value}" for key, value in kernel.source.defines]
    made = _compile(
        command, HERE / "kernel.cpp", emulator.parent / f"{name}.o", f'-DBC_KERNEL_FILE="{text}"', *defines)
    program = emulator.parent / name
    subprocess.run([*command, str(made), str(emulator), "-o", str(program)], check=True, timeout=300)
    return program


def _compile(command: list[str], source: Path, target: Path, *more: str) -> Path:
    subprocess.run([*command, *FLAGS, *more, "-c", str(source), "-o", str(target)], check=True, timeout=300)
    return target


def run(
    program: Path, kernel: MatrixKernel, a: Integers, b: Integers, *, groups: int = 1, order: str = "random", seed: int = 1,
) -> subprocess.CompletedProcess[bytes]:
    """The program's end: C on standard output, or the kind of a fault and words on standard error."""
    assert kernel.map_boxes is not None
    (m, k), n = a.shape, len(b)
    entry = kernel.source.kernel(kernel.entry)
    maps = [describe(kernel.element, len(side), k, box) for side, box in zip((a, b), kernel.map_boxes, strict=True)]
    numbers = (
        ELEMENTS[kernel.element].code, m, n, k, groups, entry.group, entry.cluster, entry.shared_bytes, ORDERS[order], seed,
        *(number for wanted in maps for number in _of_map(kernel, wanted)))
    data = encoded(kernel.element, a).tobytes() + encoded(kernel.element, b).tobytes()
    return subprocess.run(
        [str(program), *map(str, numbers)], input=data, capture_output=True, timeout=60, check=False)


def _of_map(kernel: MatrixKernel, wanted: TensorMap) -> tuple[int, ...]:
    (k, rows), (box_k, box_rows) = wanted.dimensions, wanted.box
    return ELEMENTS[kernel.element].bytes, rows, k, wanted.row_bytes, box_rows, box_k


def product(done: subprocess.CompletedProcess[bytes], kernel: MatrixKernel, m: int, n: int) -> npt.NDArray[Any]:
    """C of a run that came to its end."""
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.int32 if kernel.element == "int8" else np.float32).reshape(m, n)


def encoded(element: str, values: Integers) -> npt.NDArray[Any]:
    """Integers in an element's own bits. They must be exact in it."""
    singles = values.astype(np.float32)
    match element:
        case "int8":
            return values.astype(np.int8)
        case "fp16":
            return singles.astype(np.float16)
        case "bf16":
            return (singles.view(np.uint32) >> 16).astype(np.uint16)
        case "e4m3":
            # Four bits of exponent with a bias of 7, three of mantissa: the bits of fp32, cut off and moved.
            bits = singles.view(np.uint32)
            rest = np.where(values == 0, 0, ((bits & 0x7FFFFFFF).astype(np.int64) - (120 << 23)) >> 20)
            return (rest | (bits >> 24 & 0x80)).astype(np.uint8)
    return singles
