"""Runs mma.cu on the processor: builds its text with the emulator, feeds it integers, and gives back C and what was counted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from boxcheck.kernels.matrix import MatrixKernel

HERE = Path(__file__).parent
Integers = npt.NDArray[np.int64]
FLAGS = ("-std=c++17", "-O2", "-U_FORTIFY_SOURCE", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Wno-unknown-pragmas")
"""No exceptions, no library of C++: a C++ compiler without one will do. Fortified longjmp refuses to leave a fiber."""


@cache
def compiler() -> tuple[str, ...] | None:
    """The C++ compiler that is here: g++, clang++, or that of the ziglang wheel."""
    for name in ("g++", "clang++", "c++"):
        if shutil.which(name):
            return (name,)
    return (sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=undefined") if find_spec("ziglang") else None


class Run(msgspec.Struct, frozen=True):
    c: Integers
    """As integers; UNWRITTEN and not-a-number as numbers that no product has."""
    counts: dict[str, int]
    complaints: str


class Emulated(msgspec.Struct, frozen=True):
    """One kernel, built for the processor."""

    kernel: MatrixKernel
    program: Path

    def tiles(self, tiles_m: int, tiles_n: int) -> list[tuple[int, int]]:
        """The tile of each group, in the order of groups."""
        lines = _output(str(self.program), "tiles", str(tiles_m), str(tiles_n)).stdout.split("\n")[:-1]
        return [(int(m), int(n)) for m, n in (line.split() for line in lines)]

    def run(
        self, a: Integers, b: Integers, *, order: int = 0, fraction: int = 23, first: tuple[int, int] = (0, 0),
        groups: slice | None = None,
    ) -> Run:
        """C of these A [m][k] and B [n][k], or, with `first`, of matrices whose last rows they are; `groups` are run.

        `order` 0 runs warps forward, 1 backward, others at random. `fraction` as in tensor.h.
        """
        kernel, folder = self.kernel, self.program.parent
        (rows, depth), columns = a.shape, b.shape[0]
        m, n = first[0] + rows, first[1] + columns
        assert m % kernel.tile[0] == n % kernel.tile[1] == depth % kernel.tile[2] == 0
        count = m // kernel.tile[0] * (n // kernel.tile[1])
        begin, end, _ = (groups or slice(None)).indices(count)
        bits = ENCODERS[kernel.element]
        bits(a).tofile(folder / "a.bin")
        bits(b).tofile(folder / "b.bin")
        entry = kernel.source.kernel(kernel.entry)
        numbers = (entry.group, entry.shared_bytes, m, n, depth, bits(a).itemsize, fraction, order, *first, begin, end)
        done = _output(
            str(self.program), "run", *map(str, numbers), *(str(folder / f"{name}.bin") for name in "abc"))
        stored = np.fromfile(folder / "c.bin", np.int32 if kernel.element == "int8" else np.float32)
        if kernel.element != "int8":
            stored = np.where(np.isfinite(stored) & (np.abs(stored) < 2.0**60), stored, np.float32(2.0**60))
            assert (stored == np.trunc(stored)).all(), "a sum of integers has a fraction"
        return Run(stored.astype(np.int64).reshape(rows, columns), json.loads(done.stdout), done.stderr)


def build(kernel: MatrixKernel, folder: Path, change: tuple[str, str] | None = None) -> Emulated:
    """Compiles the kernel's text, or one where the words `change[0]`, which are there once, are `change[1]`."""
    text = kernel.source.text
    if change:
        assert text.count(change[0]) == 1, f"{change[0]!r} is not there once"
        text = text.replace(*change)
    machine = folder.parent / "emulator.o"
    if not machine.exists():
        _compile("-c", HERE / "emulator.cpp", "-o", machine)
    folder.mkdir()
    (folder / "kernel.cu").write_text(text)
    defines = [f"-D{name}={value}" for name, value in kernel.source.defines]
    program = folder / "emulated"
    _compile(*defines, f'-DKERNEL="{folder / "kernel.cu"}"', HERE / "kernel.cpp", machine, "-lm", "-o", program)
    return Emulated(kernel, program)


def _compile(*words: str | Path) -> None:
    found = compiler()
    assert found
    done = subprocess.run([*found, *FLAGS, *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def _output(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    if done.returncode == 3:
        raise MemoryError(done.stderr.strip())
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
    return done


def _bf16(values: Integers) -> npt.NDArray[Any]:
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def _e4m3(values: Integers) -> npt.NDArray[Any]:
    """Integers up to 16 in magnitude: sign, exponent of bias 7, three bits behind the leading one."""
    exponent = np.frexp(values)[1] - 1
    mantissa = np.ldexp(np.abs(values).astype(np.float64), 3 - exponent)
    code = np.where(values == 0, 0, (exponent + 7) * 8 + mantissa.astype(np.int64) - 8)
    return (code | np.where(values < 0, 0x80, 0)).astype(np.uint8)


ENCODERS: dict[str, Callable[[Integers], npt.NDArray[Any]]] = {
    "fp16": lambda values: values.astype(np.float16), "bf16": _bf16, "tf32": lambda values: values.astype(np.float32),
    "int8": lambda values: values.astype(np.int8), "e4m3": _e4m3,
}
