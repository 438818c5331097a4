"""The vendor's own matrix products, as a second engine beside boxcheck's kernels.

cuBLAS (and cuBLASLt for fp8) on NVIDIA, rocBLAS on AMD: whichever the machine has; none is needed, and none is shipped.
Their products are verified like those of kernels.
"""

from __future__ import annotations

import ctypes

from boxcheck.gpu import Buffer, Gpu, GpuError
from boxcheck.gpu.vendor_library import Library, LibraryError, Shape, opened
from boxcheck.kernels.matrix import ElementName, Layout
from boxcheck.model import Unread

__all__ = ["Library", "LibraryError", "LibraryProduct", "open_library"]


def open_library(gpu: Gpu) -> Library | Unread:
    """The library of the GPU's vendor, with a handle on it; or why not: `absent` where there is none, `unsupported` for
    a backend whose vendor has none, `error` where one is there and cannot be used. Never raises."""
    try:
        if gpu.info.backend == "cuda":
            from boxcheck.gpu import vendor_cublas

            def cublas(library: ctypes.CDLL, path: str) -> Library:
                return vendor_cublas.Cublas(gpu, library, path)

            return opened(vendor_cublas.paths(gpu.info.driver), cublas, "cuBLAS", vendor_cublas.INSTALL)
        if gpu.info.backend == "hip":
            from boxcheck.gpu import vendor_rocblas

            def rocblas(library: ctypes.CDLL, path: str) -> Library:
                return vendor_rocblas.Rocblas(gpu, library, path)

            return opened(vendor_rocblas.paths(), rocblas, "rocBLAS", vendor_rocblas.INSTALL)
    except GpuError as error:
        return Unread(error.says, "error")
    except Exception as error:  # noqa: BLE001  looking for a library must not end a run
        return Unread(f"looking for the vendor's library failed: {error}", "error")
    return Unread(f"the backend {gpu.info.backend} has no library of a vendor", "unsupported")


class LibraryProduct:
    """One element's products by a library: what a `MatrixKernel` is among boxcheck's kernels."""

    tile: tuple[int, int, int] = (64, 128, 64)
    """Multiples for shapes; of unequal sides, so that a proof on two tiles shows sides that were swapped."""

    def __init__(self, library: Library, element: ElementName, narrow: bool = False) -> None:
        """With `narrow` C is of the element itself, as most programs want it. LibraryError for what it does not do."""
        if element not in library.elements or (narrow and element not in ("fp16", "bf16")):
            raise LibraryError("unsupported", f"{library.name} {library.version} has no such products of {element}")
        self._library = library
        self._narrow = narrow
        self.element = element
        self.layout: Layout = library.layout
        self.name = f"{library.name}-{element}{'-narrow' if narrow else ''}"
        self.engine = f"{library.name} {library.version}"

    def multiply(self, a: Buffer, b: Buffer, c: Buffer, shape: Shape) -> None:
        """Starts C = A B^T on queue 0; does not wait. LibraryError when the library refuses."""
        self._library.multiply(self.element, a, b, c, shape, self._narrow)

    def narrowed(self) -> LibraryProduct | None:
        """The same with a narrow C; None for elements that have none."""
        return LibraryProduct(self._library, self.element, True) if self.element in ("fp16", "bf16") else None
