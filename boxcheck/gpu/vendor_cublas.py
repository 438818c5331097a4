"""NVIDIA's cuBLAS, as a library that is found on the machine: cublasGemmEx, and cuBLASLt for fp8.

Looked for in this order: the wheel's folder beside the Python packages (nvidia-cublas: nvidia/cu13/lib,
nvidia-cublas-cu12: nvidia/cublas/lib), CUDA_HOME and CUDA_PATH, /usr/local/cuda, the system's loader. A library of
CUDA 13 is not tried under a driver of CUDA 12, which cannot run it.

Numbers of enums: cublas_api.h and library_types.h of CUDA 13.1; those of CUDA 12 are the same. Without a driver
cublasCreate_v2 gives 1 (seen with cuBLAS 13.10 on a machine without a GPU).

By hand: python -c "import ctypes; ctypes.CDLL('libcublas.so.13')"
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from boxcheck.gpu import Buffer, Gpu, GpuError
from boxcheck.gpu.vendor_cublas_status import must
from boxcheck.gpu.vendor_cublaslt import CublasLt
from boxcheck.gpu.vendor_library import Shape, address, entered, files_in, function, operands, say
from boxcheck.kernels.matrix import ElementName, Layout

INSTALL = "pip install nvidia-cublas for CUDA 13, nvidia-cublas-cu12 for CUDA 12"
MAJORS = (13, 12)
"""Of the library, newest first."""
NO_TRANSPOSE, TRANSPOSE = 0, 1
DEFAULT_ALGORITHM = -1


class _Kind(NamedTuple):
    """What cublasGemmEx is told of an element: types of A and B, of C, of the sums."""

    operand: int
    result: int
    compute: int


R_32F, R_16F, R_8I, R_32I, R_16BF = 0, 2, 3, 10, 14
COMPUTE_32F, COMPUTE_32F_PEDANTIC, COMPUTE_32I, COMPUTE_32F_FAST_TF32 = 68, 69, 72, 77
KINDS: dict[ElementName, _Kind] = {
    "fp16": _Kind(R_16F, R_32F, COMPUTE_32F),
    "bf16": _Kind(R_16BF, R_32F, COMPUTE_32F),
    "tf32": _Kind(R_32F, R_32F, COMPUTE_32F_FAST_TF32),
    # Pedantic: neither tensor cores nor emulation by narrower types, whatever variables of the environment ask for.
    "fp32": _Kind(R_32F, R_32F, COMPUTE_32F_PEDANTIC),
    "int8": _Kind(R_8I, R_32I, COMPUTE_32I),
}

def paths(driver: str) -> Iterator[str]:
    """Files to try, for a GPU whose `GpuInfo.driver` is this."""
    told = re.match(r"CUDA (\d+)\.", driver)
    newest = int(told[1]) if told else MAJORS[0]
    names = [f"libcublas.so.{major}" for major in MAJORS if major <= newest]
    return files_in(folders(), names)


def folders(parts: Sequence[str] = ("cu13", "cublas")) -> Iterator[Path]:
    """Where NVIDIA's libraries may lie beside where the system's loader looks. `parts` are the wheels' folders."""
    try:
        spec = find_spec("nvidia")
    except (ImportError, ValueError):
        spec = None
    for base in spec.submodule_search_locations or () if spec else ():
        yield from (Path(base) / part / "lib" for part in parts)
    for root in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"):
        for part in ("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib") if root else ():
            yield Path(str(root)) / part


class Cublas:
    """cuBLAS with a handle on one device."""

    name = "cublas"
    layout: Layout = "k-major"

    def __init__(self, gpu: Gpu, library: ctypes.CDLL, path: str) -> None:
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._gpu = gpu
        out_pointer, out_number = ctypes.POINTER(pointer), ctypes.POINTER(number)
        create = function(library, path, "cublasCreate_v2", out_pointer)
        set_stream = function(library, path, "cublasSetStream_v2", pointer, pointer)
        self._destroy = function(library, path, "cublasDestroy_v2", pointer)
        self._gemm = function(
            library, path, "cublasGemmEx", pointer, *[number] * 5, pointer, pointer, number, number, pointer, number,
            number, pointer, pointer, number, number, number, number)
        self.version = version_of(function(library, path, "cublasGetProperty", number, out_number))
        say(f"trying cublas {self.version} ({path}); --option engine=own leaves it out")
        self._handle = pointer()
        self._one, self._zero = _scalars(1), _scalars(0)
        with entered(gpu) as stream:
            must(create(ctypes.byref(self._handle)), f"cublas {self.version}", "cublasCreate_v2")
            must(set_stream(self._handle, stream), f"cublas {self.version}", "cublasSetStream_v2")
        self._fp8 = CublasLt.beside(gpu, path)
        self.elements: frozenset[ElementName] = frozenset(KINDS) | ({"e4m3"} if self._fp8 else set())

    def multiply(self, element: ElementName, a: Buffer, b: Buffer, c: Buffer, shape: Shape, narrow: bool) -> None:
        if element == "e4m3" and self._fp8 is not None:
            self._fp8.multiply(a, b, c, shape)
            return
        kind = KINDS[element]
        (b_turned, b_stride), (a_turned, a_stride) = operands(self.layout, shape)
        m, n, k = shape
        one, zero = self._one[element == "int8"], self._zero[element == "int8"]
        with entered(self._gpu):
            must(self._gemm(
                self._handle, TRANSPOSE if b_turned else NO_TRANSPOSE, TRANSPOSE if a_turned else NO_TRANSPOSE, n, m, k,
                ctypes.addressof(one), address(b), kind.operand, b_stride, address(a), kind.operand, a_stride,
                ctypes.addressof(zero), address(c), kind.operand if narrow else kind.result, n, kind.compute,
                DEFAULT_ALGORITHM), f"cublas {self.version}", f"cublasGemmEx, {element}")

    def close(self) -> None:
        if self._fp8 is not None:
            self._fp8.close()
        with suppress(GpuError), entered(self._gpu):
            if self._handle:
                self._destroy(self._handle)
        self._handle = ctypes.c_void_p()


def version_of(get_property: Callable[..., int]) -> str:
    """`13.1.0`: libraryPropertyType counts major 0, minor 1, patch 2 (library_types.h)."""
    value, parts = ctypes.c_int(), []
    for which in range(3):
        parts.append("?" if get_property(which, ctypes.byref(value)) else str(value.value))
    return ".".join(parts)


def _scalars(value: int) -> tuple[ctypes.c_float, ctypes.c_int32]:
    """A factor as fp32, and as int32 for products of int8; on the host, where cuBLAS looks unless told otherwise."""
    return ctypes.c_float(value), ctypes.c_int32(value)
