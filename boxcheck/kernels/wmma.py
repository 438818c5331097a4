"""Matrix kernels by WMMA, for AMD's RDNA3 (gfx11) and RDNA4 (gfx12).

One text, `wmma.cu`, in the tilings below. Inputs lie k-outer, which RDNA reads best: on a 7900 GRE one library reaches
78 TFLOP/s that way and 54 with k-major inputs (github.com/adelj88/rocm_wmma_gemm, docs/gfx1100_square.md); tiles and
their order are those that it was tuned to. No time was measured yet. Where an architecture has several tilings, the
first is the one to begin with; trying each for a moment and keeping the one that draws the most is better.

In which order and width RDNA adds up within a WMMA nobody documents (arXiv 2511.10909 covers CDNA alone): the exact
data of `ELEMENTS` has one sum in any order.

By hand: python -m boxcheck.kernels.compile_matrix --arch gfx1100 --only 'wmma-*'
"""

from __future__ import annotations

import msgspec

from boxcheck.kernels import Kernel, Param, Source, text_of
from boxcheck.kernels.matrix import ELEMENTS, ElementName, MatrixKernel

ENTRY = "bc_wmma_product"
STEP_BYTES = 32
"""Of each row of A and column of B that a step takes: 16 k of 16 bits, 32 of 8 bits."""
OPTIONS = ("-O3", "-mcumode")
"""In mode CU a group stays on one compute unit, whose two SIMDs have half of the processor's LDS for themselves (LLVM,
"User Guide for AMDGPU Backend", cumode). Right without it too."""
PROOF = "lane emulator (tests/kernels/test_wmma.py); machine code of clang 19 in tinygrad's RDNA emulator (a9069c1)"
MENDED = ", in which the conversion of fp8 operands had to be mended"


class Tiling(msgspec.Struct, frozen=True):
    """How a product is cut."""

    group: tuple[int, int]
    """Rows and columns of C that a group makes; a wave of it makes 64 x 64."""
    band: int
    """Tiles that are done side by side, so that they find in L2 what they read."""

    @property
    def threads(self) -> int:
        return 32 * (self.group[0] // 64) * (self.group[1] // 64)


class Family(msgspec.Struct, frozen=True):
    """An encoding of WMMA."""

    gfx: int
    elements: tuple[ElementName, ...]
    tilings: tuple[tuple[Tiling, tuple[str, ...]], ...]
    """With the architectures that each is for."""


SQUARE = Tiling((128, 128), 16)
WIDE = Tiling((128, 256), 8)
"""Tuned for gfx1151 by the same library. It is for architectures with 1536 registers on a SIMD (LLVM, "1.5x VGPRs"),
where two groups of eight waves with 192 registers each fit; on the others one would be alone."""

FAMILIES = (
    Family(11, ("bf16", "fp16", "int8"), (
        (SQUARE, ("gfx110?", "gfx115?")), (WIDE, ("gfx1100", "gfx1101", "gfx1151")),
    )),
    # gfx125x is no RDNA, and has other instructions.
    Family(12, ("bf16", "fp16", "int8", "e4m3"), ((SQUARE, ("gfx120?",)), (WIDE, ("gfx120?",)))),
)


def kernels() -> tuple[MatrixKernel, ...]:
    """Those for the data of `ELEMENTS`; what to begin with on an architecture comes before what else it may try."""
    return tuple(
        _kernel(family, element, tiling, archs)
        for family in FAMILIES for element in family.elements for tiling, archs in family.tilings
    )


def _kernel(family: Family, name: ElementName, tiling: Tiling, archs: tuple[str, ...]) -> MatrixKernel:
    element = ELEMENTS[name]
    tile = (*tiling.group, STEP_BYTES // element.bytes)
    params: tuple[Param, ...] = ("buffer", "buffer", "buffer", "u32", "u32", "u32")
    defines = {
        "BC_BAND": tiling.band, "BC_ELEMENT": element.code, "BC_GFX": family.gfx,
        "BC_TILE_M": tile[0], "BC_TILE_N": tile[1],
    }
    source = Source(
        "wmma.cu", text_of("wmma.cu"), (Kernel(ENTRY, params, group=tiling.threads),),
        tuple((define, str(value)) for define, value in defines.items()), "hip", OPTIONS)
    return MatrixKernel(
        name=f"wmma-gfx{family.gfx}-{name}-{'x'.join(map(str, tile))}", source=source, entry=ENTRY, element=name,
        archs=archs, layout="k-outer", tile=tile, proof="emulator", proof_where=PROOF + MENDED * (name == "e4m3"))
