"""Runs wmma.cu on the processor: builds its text with a work-group of fibers (machine.cpp) and gives it integers."""

from __future__ import annotations

import ctypes
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

from boxcheck.kernels.matrix import ELEMENTS, MatrixKernel

HERE = Path(__file__).parent
Integers = npt.NDArray[np.int64]
NO_INTEGER = 1 << 60
"""Stands in C for a fraction, an infinity and what is no number; no product has it."""
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-Wno-psabi")


@cache
def compiler() -> tuple[str, ...] | None:
    """The C++ compiler that is here: g++, clang++, or that of the ziglang wheel."""
    for name in ("g++", "clang++", "c++"):
        if shutil.which(name):
            return (name,)
    return (sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=undefined") if find_spec("ziglang") else None


class Lanes(msgspec.Struct, frozen=True):
    """One kernel, built for the processor."""

    kernel: MatrixKernel
    run_kernel: Callable[..., bytes | None]

    def run(self, a: Integers, b: Integers, *, backwards: bool = False, races: bool = True) -> tuple[Integers, str]:
        """C of these A [k][m] and B [k][n], and what the kernel did wrong (empty for nothing).

        `backwards` runs the last group, wave and lane first; without `races` those for LDS are not looked for.
        """
        kernel, (k, m), n = self.kernel, a.shape, b.shape[1]
        stored_a, stored_b = (aligned(ENCODERS[kernel.element](matrix)) for matrix in (a, b))
        c = aligned(np.full((m, n), -1, np.int32))
        threads = kernel.source.kernel(kernel.entry).group
        # Two buffers of a step, 32 bytes of each row, with 16 bytes more after every 8 rows.
        lds_bytes = 2 * 32 * (kernel.tile[0] + kernel.tile[1]) * 9 // 8
        wrong = self.run_kernel(
            *(value for matrix in (stored_a, stored_b, c) for value in (matrix.ctypes.data, matrix.nbytes)),
            m, n, k, m // kernel.tile[0] * (n // kernel.tile[1]), threads, lds_bytes, backwards, races)
        found = c if kernel.element == "int8" else c.view(np.float32)
        integers = np.where(np.mod(found, 1) == 0, found, NO_INTEGER)
        return integers.astype(np.int64), (wrong or b"").decode()


def build(kernel: MatrixKernel, folder: Path, change: tuple[str, str] | None = None) -> Lanes:
    """Compiles the kernel's text, or one where the words `change[0]`, which are there once, are `change[1]`."""
    text = kernel.source.text
    if change:
        assert text.count(change[0]) == 1, f"{change[0]!r} is not there once"
        text = text.replace(*change)
    machine = folder.parent / "machine.o"
    if not machine.exists():
        _compile("-O2", "-Wall", "-Wextra", "-Werror", "-c", HERE / "machine.cpp", "-o", machine)
    folder.mkdir()
    (folder / "kernel.cpp").write_text(text)
    defines = [f"-D{name}={value}" for name, value in kernel.source.defines]
    library = folder / "kernel.so"
    _compile(
        *defines, f'-DBC_EMULATE="{HERE / "machine.h"}"', "-shared", folder / "kernel.cpp", machine, "-o", library)
    function = ctypes.CDLL(str(library)).run_kernel
    function.restype = ctypes.c_char_p
    matrix = (ctypes.c_void_p, ctypes.c_size_t)
    function.argtypes = (*matrix, *matrix, *matrix, *[ctypes.c_uint] * 6, ctypes.c_int, ctypes.c_int)
    return Lanes(kernel, function)


def _compile(*words: str | Path) -> None:
    found = compiler()
    assert found
    done = subprocess.run([*found, *FLAGS, *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def exact(kernel: MatrixKernel, rows: int, depth: int, side: int, seed: int = 1) -> Integers:
    """A (side 0) or B (side 1) as data.h has it: the bound changes with the parity of k and the side. [k][row]."""
    element = ELEMENTS[kernel.element]
    bounds = np.where((np.arange(depth) ^ side) & 1, element.odd, element.even)[:, None]
    drawn = np.random.default_rng((seed, side)).integers(-bounds, bounds + (element.name != "int8"), (depth, rows))
    return np.asarray(drawn, np.int64)


def aligned(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy that begins at a multiple of 256 bytes, as a GPU's memory does."""
    room = np.empty(matrix.nbytes + 256, np.uint8)
    start = -room.ctypes.data % 256
    copy = room[start:start + matrix.nbytes].view(matrix.dtype).reshape(matrix.shape)
    copy[...] = matrix
    return copy


def _bf16(values: Integers) -> npt.NDArray[Any]:
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def _e4m3(values: Integers) -> npt.NDArray[Any]:
    """OCP OFP8: sign, exponent of bias 7, three bits behind the leading one."""
    codes = np.arange(0x7f)
    numbers = np.where(codes < 8, codes / 512, (1 + codes % 8 / 8) * 2.0 ** (codes // 8 - 7))
    found = np.searchsorted(numbers, np.abs(values))
    assert (numbers[found] == np.abs(values)).all()
    return (found | np.where(values < 0, 0x80, 0)).astype(np.uint8)


ENCODERS: dict[str, Callable[[Integers], npt.NDArray[Any]]] = {
    "fp16": lambda values: values.astype(np.float16), "bf16": _bf16,
    "int8": lambda values: values.astype(np.int8), "e4m3": _e4m3,
}
