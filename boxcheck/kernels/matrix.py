"""Matrix kernels: which there are, for which element and architecture, and how each was proven.

All compute C[i][j] = sum over k of A(i,k) * B(j,k), C row-major of fp32 (int32 for int8), m = n unless said. Inputs lie
`k-major` (A as [m][k], B as [n][k]: what CUDA's tensor cores read best) or `k-outer` (A as [k][m], B as [k][n]: what
WMMA of RDNA reads best).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from boxcheck.kernels import Source

ElementName = Literal["fp32", "tf32", "fp16", "bf16", "int8", "e4m3"]
Layout = Literal["k-major", "k-outer"]


class Element(msgspec.Struct, frozen=True):
    """A type of inputs, and the integers that make every product and every partial sum exact."""

    name: ElementName
    bytes: int
    code: int
    """Its number in data.h."""
    even: int
    """|A(i,k)| at most this for even k, |B(j,k)| for odd k."""
    odd: int
    """|A(i,k)| at most this for odd k, |B(j,k)| for even k."""
    longest_k: int
    """Up to this K the exact range of the narrowest accumulator that is known is at least eight standard deviations of
    a sum away (computed: K * var(A) * var(B)); a result beyond it is reported as such by the check of the rows."""
    exact_below: int
    """Partial sums must stay below this. 2^24 for accumulators of 24 bits and more (fp32); 2^14 for the fp8 units of
    Ada and Hopper, whose sums have 14 bits (arXiv 2511.10909)."""


ELEMENTS: dict[str, Element] = {
    element.name: element for element in (
        Element("fp32", 4, 0, 255, 255, 8192, 1 << 24),
        Element("tf32", 4, 1, 255, 255, 8192, 1 << 24),
        Element("fp16", 2, 2, 2047, 31, 8192, 1 << 24),
        Element("bf16", 2, 3, 255, 255, 8192, 1 << 24),
        Element("int8", 1, 4, 128, 128, 1 << 17, 1 << 31),
        Element("e4m3", 1, 5, 7, 7, 8192, 1 << 14),
    )
}

Proof = Literal["hardware", "emulator", "compiled"]


class MatrixKernel(msgspec.Struct, frozen=True, kw_only=True):
    """One matrix kernel. `call` says what it is given: `pointers` are A, B, C (buffers), m, n, k (u32); `maps` are two
    tensor maps of A and B, C, m, n, k."""

    name: str
    """`mma-bf16-128x128x32`: family, element, tile of C and depth of a step."""
    source: Source
    entry: str
    element: ElementName
    archs: tuple[str, ...]
    """Globs over `GpuInfo.arch`: `sm_8?`, `gfx11*`; `*` for the portable kernel."""
    layout: Layout = "k-major"
    tile: tuple[int, int, int]
    """m, n and k must be multiples of these; one group makes one tile of C, groups = (m / tile[0]) * (n / tile[1]),
    unless `persistent`."""
    call: Literal["pointers", "maps"] = "pointers"
    map_boxes: tuple[tuple[int, int], tuple[int, int]] | None = None
    """For `maps`: (rows, columns of k) of the box that is loaded of A, and of B; swizzle is 128 B."""
    persistent: bool = False
    """Whether groups loop over tiles: then as many groups are launched as the device has compute units."""
    full_power: bool = True
    """False where another way to compute is known to reach more on this architecture."""
    proof: Proof = "compiled"
    proof_where: str = ""
    """`H200, 2026-12-02`; `warp emulator (tests/kernels)`."""

    def runs_on(self, arch: str) -> bool:
        return any(fnmatchcase(arch, pattern) for pattern in self.archs)
