"""AMD's rocBLAS, as a library that is found on the machine: rocblas_gemm_ex.

Looked for in this order: the folder of the HIP runtime that this process uses, ROCM_PATH and ROCM_HOME, the wheels of
ROCm (rocm_sdk), /opt/rocm, the system's loader. hipBLASLt is not called itself: rocBLAS does where it thinks fit, and
where ROCBLAS_USE_HIPBLASLT=1 asks for it (rocBLAS documentation, environment variables). fp8 is not done.

rocBLAS ends the process with `Cannot read ... TensileLibrary.dat` on a GPU that it brings no kernels for
(tensile_host.cpp, rocBLAS issue 1339), so its files are looked at first. A rocBLAS that brings a HIP runtime of its own
beside the one that made the streams would crash; it is refused.

Numbers of enums: rocblas-types.h of ROCm 6.

By hand: ls /opt/rocm/lib/rocblas/library | grep gfx; rocblas-bench
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from boxcheck.gpu import Buffer, Gpu, GpuError, GpuErrorKind
from boxcheck.gpu.vendor_library import (
    LibraryError,
    Shape,
    address,
    entered,
    files_in,
    function,
    loaded_files,
    operands,
    say,
)
from boxcheck.kernels.matrix import ElementName, Layout

INSTALL = "install ROCm's package rocblas, of the ROCm that is here"
NAMES = ("librocblas.so.5", "librocblas.so.4", "librocblas.so", "librocblas.so.0")
"""ROCm 7 and later, ROCm 6, any that is installed for developers, ROCm 5 and Debian's."""
NO_TRANSPOSE, TRANSPOSE = 111, 112
STANDARD, SOLUTION, NO_FLAGS = 0, 0, 0
NO_ATOMICS = 0
VERSION_BYTES = 128


class _Kind(NamedTuple):
    """What rocblas_gemm_ex is told of an element: types of A and B, of C, of the sums."""

    operand: int
    result: int
    compute: int


F16, F32, I8, I32, BF16 = 150, 151, 160, 162, 168
KINDS: dict[ElementName, _Kind] = {
    "fp16": _Kind(F16, F32, F32), "bf16": _Kind(BF16, F32, F32), "fp32": _Kind(F32, F32, F32),
    "int8": _Kind(I8, I32, I32),
}

STATUSES: dict[int, tuple[GpuErrorKind, str]] = {
    1: ("error", "it refuses its own handle"),
    2: ("unsupported", "it has no such product"),
    3: ("error", "it refuses how it is called"),
    4: ("error", "it refuses how it is called"),
    5: ("out-of-memory", "it got no memory"),
    6: ("error", "it failed inside"),
    11: ("error", "it refuses how it is called"),
    14: ("unsupported", "it was built without such products"),
    15: ("unsupported", "it was not built for this GPU"),
}
"""rocblas_status, rocblas-types.h."""
SLOWER_FOR_MEMORY = 7
"""rocblas_status_perf_degraded: the product is done, by a slower way that needs less memory."""


def paths() -> Iterator[str]:
    return files_in(folders(), NAMES)


def folders(library: str = "rocblas") -> Iterator[Path]:
    """Where ROCm's libraries may lie beside where the system's loader looks. `library` as rocm_sdk names it."""
    yield from (Path(path).parent for path in loaded_files("libamdhip64.so") if os.path.dirname(path))
    for root in (os.environ.get("ROCM_PATH"), os.environ.get("ROCM_HOME")):
        if root:
            yield Path(root) / "lib"
    with suppress(Exception):  # not installed, or without its libraries
        from rocm_sdk import find_libraries  # type: ignore[import-not-found,unused-ignore]

        yield from (Path(path).parent for path in find_libraries(library))
    yield Path("/opt/rocm/lib")


class Rocblas:
    """rocBLAS with a handle on one device."""

    name = "rocblas"
    layout: Layout = "k-outer"
    elements: frozenset[ElementName] = frozenset(KINDS)

    def __init__(self, gpu: Gpu, library: ctypes.CDLL, path: str) -> None:
        pointer, number = ctypes.c_void_p, ctypes.c_int
        create = function(library, path, "rocblas_create_handle", ctypes.POINTER(pointer))
        set_stream = function(library, path, "rocblas_set_stream", pointer, pointer)
        set_atomics = function(library, path, "rocblas_set_atomics_mode", pointer, number)
        read_version = function(library, path, "rocblas_get_version_string", ctypes.c_char_p, ctypes.c_size_t)
        self._destroy = function(library, path, "rocblas_destroy_handle", pointer)
        self._gemm = function(
            library, path, "rocblas_gemm_ex", pointer, *[number] * 5, pointer, pointer, number, number, pointer, number,
            number, pointer, pointer, number, number, pointer, number, number, number, number, ctypes.c_int32,
            ctypes.c_uint32)
        check_runtime(path, "rocBLAS")
        check_kernels(path, gpu.info.arch)
        words = ctypes.create_string_buffer(VERSION_BYTES)
        if read_version(words, VERSION_BYTES):
            words.value = b"?"
        self.version = ".".join(words.value.decode("utf-8", "replace").split(".")[:3])
        say(f"trying rocblas {self.version} ({path}); --option engine=own leaves it out")
        self._gpu = gpu
        self._handle = pointer()
        self._one = (ctypes.c_float(1), ctypes.c_int32(1))
        self._zero = (ctypes.c_float(0), ctypes.c_int32(0))
        with entered(gpu) as stream:
            self._must(create(ctypes.byref(self._handle)), "rocblas_create_handle")
            self._must(set_stream(self._handle, stream), "rocblas_set_stream")
            # With atomics the order of sums, and so the bits, may change from one product to the next.
            self._must(set_atomics(self._handle, NO_ATOMICS), "rocblas_set_atomics_mode")

    def multiply(self, element: ElementName, a: Buffer, b: Buffer, c: Buffer, shape: Shape, narrow: bool) -> None:
        kind = KINDS[element]
        (b_turned, b_stride), (a_turned, a_stride) = operands(self.layout, shape)
        m, n, k = shape
        one, zero = self._one[element == "int8"], self._zero[element == "int8"]
        result = kind.operand if narrow else kind.result
        with entered(self._gpu):
            out = address(c)
            self._must(self._gemm(
                self._handle, TRANSPOSE if b_turned else NO_TRANSPOSE, TRANSPOSE if a_turned else NO_TRANSPOSE, n, m, k,
                ctypes.addressof(one), address(b), kind.operand, b_stride, address(a), kind.operand, a_stride,
                ctypes.addressof(zero), out, result, n, out, result, n, kind.compute, STANDARD, SOLUTION, NO_FLAGS),
                f"rocblas_gemm_ex, {element}")

    def _must(self, status: int, call: str) -> None:
        if status and status != SLOWER_FOR_MEMORY:
            kind, says = STATUSES.get(status, ("error", "it reports an error that boxcheck does not know"))
            raise LibraryError(kind, f"rocblas {self.version}: {says} ({call}: status {status})")

    def close(self) -> None:
        with suppress(GpuError), entered(self._gpu):
            if self._handle:
                self._destroy(self._handle)
        self._handle = ctypes.c_void_p()


def check_runtime(path: str, name: str) -> None:
    """LibraryError when the process now holds two HIP runtimes: streams of one mean nothing to the other."""
    runtimes = loaded_files("libamdhip64.so")
    if len(runtimes) > 1:
        raise LibraryError(
            "version", f"{path} belongs to another ROCm than the runtime in use: {' and '.join(sorted(runtimes))} are "
            "both loaded", f"install {name} and the HIP runtime of one ROCm")


def check_kernels(path: str, arch: str) -> None:
    """LibraryError when rocBLAS has no kernels for the architecture: creating a product would end the process."""
    found = loaded_files("librocblas.so")
    here = Path(path if os.path.dirname(path) else found[0] if found else path).parent
    given = os.environ.get("ROCBLAS_TENSILE_LIBPATH")
    near = (here / "../../Tensile/library", here / "library", here / "../rocblas/library", here / "rocblas/library")
    folder = Path(given) if given else next((one for one in near if one.is_dir()), near[-1])
    kinds = (f"TensileLibrary_lazy_{arch}.*", f"TensileLibrary_{arch}.*", "TensileLibrary.dat", "TensileLibrary.yaml")
    if not any(any(place.glob(kind)) for place in (folder / arch, folder) for kind in kinds):
        raise LibraryError(
            "unsupported", f"{path} brings no kernels for {arch}: there is no TensileLibrary of it in {folder}",
            "install a ROCm that supports this GPU")
