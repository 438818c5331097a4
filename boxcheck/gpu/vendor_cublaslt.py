"""NVIDIA's cuBLASLt, for products of fp8 (e4m3), which cublasGemmEx does not do.

The library that libcublas itself needs and brings. Sums are promoted to fp32 on the way: its fast accumulation, off
unless asked for, keeps 14 bits on Ada and Hopper. Factors of scale are left at 1 (null pointers). GPUs: 8.9 and newer.

Numbers of enums and the layout of the heuristic's answer: cublasLt.h of CUDA 13.1.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress

from boxcheck.gpu import Buffer, Gpu, GpuError
from boxcheck.gpu.vendor_cublas_status import must
from boxcheck.gpu.vendor_library import LibraryError, Shape, address, entered, function, operands

R_32F, R_8F_E4M3, COMPUTE_32F = 0, 28, 68
DESC_TRANSA, DESC_TRANSB = 3, 4
PREF_MAX_WORKSPACE_BYTES = 1
NO_TRANSPOSE, TRANSPOSE = 0, 1
WORKSPACE_BYTES = 32 << 20
"""What NVIDIA recommends for Hopper and newer; others need 4 MiB (cuBLAS documentation, cublasSetWorkspace)."""


class _Heuristic(ctypes.Structure):
    """`cublasLtMatmulHeuristicResult_t`; its first member is the algorithm itself, 64 opaque bytes."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8), ("workspace_bytes", ctypes.c_size_t), ("state", ctypes.c_int),
        ("waves", ctypes.c_float), ("reserved", ctypes.c_int * 4))


class _Plan:
    """How products of one shape are done. The handles live as long as the library."""

    def __init__(self, descriptor: ctypes.c_void_p, layouts: tuple[ctypes.c_void_p, ...], found: _Heuristic) -> None:
        self.descriptor = descriptor
        self.layouts = layouts
        self.found = found


class CublasLt:
    """cuBLASLt with a handle on one device."""

    @staticmethod
    def beside(gpu: Gpu, cublas: str) -> CublasLt | None:
        """The library that lies beside this libcublas, or that was loaded with it; None where it cannot be used."""
        name = os.path.basename(cublas).replace("libcublas.", "libcublasLt.")
        path = os.path.join(os.path.dirname(cublas), name)
        with suppress(OSError, GpuError):
            return CublasLt(gpu, ctypes.CDLL(path), path)
        return None

    def __init__(self, gpu: Gpu, library: ctypes.CDLL, path: str) -> None:
        pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
        out = ctypes.POINTER(pointer)

        def declare(name: str, *arguments: object) -> Callable[..., int]:
            return function(library, path, f"cublasLt{name}", *arguments)

        create = declare("Create", out)
        self._destroy = declare("Destroy", pointer)
        self._make_descriptor = declare("MatmulDescCreate", out, number, number)
        self._set_descriptor = declare("MatmulDescSetAttribute", pointer, number, pointer, size)
        self._make_layout = declare("MatrixLayoutCreate", out, number, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64)
        self._make_preference = declare("MatmulPreferenceCreate", out)
        self._set_preference = declare("MatmulPreferenceSetAttribute", pointer, number, pointer, size)
        self._choose = declare(
            "MatmulAlgoGetHeuristic", *[pointer] * 7, number, ctypes.POINTER(_Heuristic), ctypes.POINTER(number))
        self._multiply = declare("Matmul", *[pointer] * 14, size, pointer)
        self._gpu = gpu
        self._plans: dict[Shape, _Plan] = {}
        self._workspace: Buffer | None = None
        self._one, self._zero = ctypes.c_float(1.0), ctypes.c_float(0.0)
        self._handle = pointer()
        with entered(gpu):
            self._must(create(ctypes.byref(self._handle)), "Create")

    def multiply(self, a: Buffer, b: Buffer, c: Buffer, shape: Shape) -> None:
        """Starts C = A B^T of e4m3, k-major, C row-major of fp32."""
        if self._workspace is None:
            self._workspace = self._gpu.allocate(WORKSPACE_BYTES)
        with entered(self._gpu) as stream:
            plan = self._plans.get(shape) or self._plan(shape)
            layout_b, layout_a, layout_c = plan.layouts
            self._must(self._multiply(
                self._handle, plan.descriptor, ctypes.addressof(self._one), address(b), layout_b, address(a), layout_a,
                ctypes.addressof(self._zero), address(c), layout_c, address(c), layout_c, ctypes.addressof(plan.found),
                address(self._workspace), WORKSPACE_BYTES, stream), "Matmul")

    def _plan(self, shape: Shape) -> _Plan:
        m, n, k = shape
        (b_turned, b_stride), (a_turned, a_stride) = operands("k-major", shape)
        descriptor, preference = ctypes.c_void_p(), ctypes.c_void_p()
        self._must(self._make_descriptor(ctypes.byref(descriptor), COMPUTE_32F, R_32F), "MatmulDescCreate")
        for which, turned in ((DESC_TRANSA, b_turned), (DESC_TRANSB, a_turned)):
            way = ctypes.c_int32(TRANSPOSE if turned else NO_TRANSPOSE)
            self._must(self._set_descriptor(descriptor, which, ctypes.addressof(way), 4), "MatmulDescSetAttribute")
        layouts = tuple(
            self._layout(kind, rows, columns, stride) for kind, rows, columns, stride in (
                (R_8F_E4M3, k, n, b_stride), (R_8F_E4M3, k, m, a_stride), (R_32F, n, m, n)))
        self._must(self._make_preference(ctypes.byref(preference)), "MatmulPreferenceCreate")
        most = ctypes.c_uint64(WORKSPACE_BYTES)
        self._must(self._set_preference(
            preference, PREF_MAX_WORKSPACE_BYTES, ctypes.addressof(most), 8), "MatmulPreferenceSetAttribute")
        found, count = _Heuristic(), ctypes.c_int()
        layout_b, layout_a, layout_c = layouts
        self._must(self._choose(
            self._handle, descriptor, layout_b, layout_a, layout_c, layout_c, preference, 1, ctypes.byref(found),
            ctypes.byref(count)), "MatmulAlgoGetHeuristic")
        if not count.value or found.state:
            raise LibraryError("unsupported", "cublasLt: it has no product of e4m3 for this GPU")
        self._plans[shape] = _Plan(descriptor, layouts, found)
        return self._plans[shape]

    def _layout(self, kind: int, rows: int, columns: int, stride: int) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self._must(self._make_layout(ctypes.byref(made), kind, rows, columns, stride), "MatrixLayoutCreate")
        return made

    def _must(self, status: int, call: str) -> None:
        must(status, "cublasLt", f"cublasLt{call}")

    def close(self) -> None:
        if self._workspace is not None:
            with suppress(GpuError):
                self._workspace.free()
            self._workspace = None
        with suppress(GpuError), entered(self._gpu):
            if self._handle:
                self._destroy(self._handle)
        self._handle = ctypes.c_void_p()
