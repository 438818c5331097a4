"""Matrix kernels by mma.sync, for every NVIDIA GPU from sm_80 on.

One text, `mma.cu`, in the tilings below; each was compiled for its architectures with no spill (`python -m
boxcheck.kernels.compile_matrix`) and is run by the warp emulator of the tests. No time was measured yet: tiles, stages
and their order follow what others measured (github.com/spatters/mma-matmul for Ada, Bruce-Lee-LY/cuda_hgemm for Ampere,
waynehacking8/blackwell-tensorcore-kernels for sm_120). Where an architecture has several, the first is the one to begin
with; trying each for a moment and keeping the one that draws the most is better.

e4m3 is offered on sm_89 and sm_12x alone. Elsewhere the same instruction compiles to conversions and fp16 products,
which would leave the fp8 unit untested.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.kernels import Kernel, Param, Source, text_of
from boxcheck.kernels.matrix import ELEMENTS, Element, ElementName, MatrixKernel

ENTRY = "bc_mma"
BAND_ROWS = 2048
"""Rows of C that neighbouring groups share, so that they find in L2 what they read: the groups that run at one time
make a part of C about as high as it is wide."""


class Tiling(msgspec.Struct, frozen=True, kw_only=True):
    """How a product is cut. Sizes of rows are in bytes, so that one tiling serves all elements."""

    group: tuple[int, int]
    """Rows and columns of C that a group makes."""
    warp: tuple[int, int] = (64, 64)
    row_bytes: int = 64
    """Depth of a step, which is a row in shared memory."""
    stages: int
    resident: int
    """Groups on a multiprocessor; registers are bound by it (65536 of them, sm_80 to sm_121)."""
    archs: tuple[str, ...]
    full_power: bool = True
    suffix: str = ""

    @property
    def threads(self) -> int:
        return 32 * (self.group[0] // self.warp[0]) * (self.group[1] // self.warp[1])

    @property
    def shared_bytes(self) -> int:
        return self.stages * sum(self.group) * self.row_bytes


_TWO_STAGES = Tiling(group=(128, 128), stages=2, resident=2, archs=("sm_12?",))
_LARGE = Tiling(group=(256, 128), stages=4, resident=1, archs=("sm_80",))
_SMALL = Tiling(group=(128, 128), stages=3, resident=2, archs=("sm_8?", "sm_12?"))
_LARGE_GEFORCE = Tiling(group=(256, 128), stages=3, resident=1, archs=("sm_86", "sm_88", "sm_89"))
# Hopper reaches two thirds of its peak by mma.sync, B200 less than a third (arXiv 2501.12084, gau-nernst/learn-cuda).
_FALLBACK = Tiling(
    group=(256, 128), stages=4, resident=1, archs=("sm_9?", "sm_10?", "sm_11?"), full_power=False, suffix="-fallback")

TILINGS = (_TWO_STAGES, _LARGE, _SMALL, _LARGE_GEFORCE, _FALLBACK)

PROMOTED = Tiling(
    group=(128, 128), warp=(64, 32), row_bytes=128, stages=3, resident=1, archs=("sm_89",), suffix="-promoted")
"""fp8 units of Ada keep 14 bits of a sum (arXiv 2511.10909). Here they add up 128 products at a time, and registers of
fp32 the rest: exact for |values| <= 11 whatever the data (128 * 11 * 11 < 2^14), for all of -15..15 by ten standard
deviations. A warp's tile is half as large, to have room for the second set of sums."""
E4M3_TILINGS = (
    PROMOTED,
    _TWO_STAGES,
    msgspec.structs.replace(_SMALL, archs=("sm_89", "sm_12?")),
    msgspec.structs.replace(_LARGE_GEFORCE, archs=("sm_89",)),
)


def kernels() -> tuple[MatrixKernel, ...]:
    """Those for the data of `ELEMENTS`; what to begin with on an architecture comes before what else it may try."""
    names: tuple[ElementName, ...] = ("bf16", "fp16", "tf32", "int8")
    return (
        *(_kernel(ELEMENTS[name], tiling) for name in names for tiling in TILINGS),
        *(_kernel(ELEMENTS["e4m3"], tiling, promote=tiling is PROMOTED) for tiling in E4M3_TILINGS),
    )


def _kernel(element: Element, tiling: Tiling, *, promote: bool = False) -> MatrixKernel:
    tile = (*tiling.group, tiling.row_bytes // element.bytes)
    params: tuple[Param, ...] = ("buffer", "buffer", "buffer", "u32", "u32", "u32")
    entry = Kernel(ENTRY, params, group=tiling.threads, shared_bytes=tiling.shared_bytes)
    defines = tuple(sorted(_defines(element, tiling, tile, promote)))
    source = Source("mma.cu", text_of("mma.cu"), (entry,), defines, "cuda")
    return MatrixKernel(
        name=f"mma-{element.name}-{'x'.join(map(str, tile))}-s{tiling.stages}{tiling.suffix}", source=source,
        entry=ENTRY, element=element.name, archs=tiling.archs, tile=tile, full_power=tiling.full_power,
        proof="emulator", proof_where="warp emulator (tests/kernels/test_mma.py)")


def _defines(
    element: Element, tiling: Tiling, tile: tuple[int, int, int], promote: bool
) -> Iterator[tuple[str, str]]:
    sizes = {
        "BM": tile[0], "BN": tile[1], "BK": tile[2], "WM": tiling.warp[0], "WN": tiling.warp[1],
        "STAGES": tiling.stages, "RASTER": BAND_ROWS // tile[0],
    }
    yield from ((name, f"{size}u") for name, size in sizes.items())
    flags = {"ELEMENT": element.code, "RESIDENT": tiling.resident, "PROMOTE": promote}
    yield from ((name, str(int(value))) for name, value in flags.items())
