"""The portable sources, ready to be built: one function a file, with the parameters of its kernels."""

from __future__ import annotations

from functools import cache

from boxcheck.kernels import Kernel, Param, Source, portable
from boxcheck.kernels.matrix import ELEMENTS, Element, ElementName, MatrixKernel

_MATRIX: tuple[Param, ...] = ("buffer", "u32", "u32", "u32", "u32", "u32", "u32")
_REGION: tuple[Param, ...] = ("buffer", "u64", "u64", "u32", "u32")
_ERRORS: tuple[Param, ...] = ("buffer", "u32")
GRANULES_A_GROUP = 1024
"""Granules of 16 bytes that a group of the memory kernels works on."""
DIGEST_WORDS = 4096
"""Words of 4 bytes that a group of bc_digest and bc_digest_fill works on."""


def _defines(element: Element) -> dict[str, str]:
    return {"BC_ELEMENT": str(element.code), "BC_EVEN": f"{element.even}u", "BC_ODD": f"{element.odd}u"}


@cache
def product(element: ElementName) -> Source:
    """The portable matrix product."""
    kernels = (Kernel("bc_matmul", ("buffer", "buffer", "buffer", "u32", "u32", "u32")),)
    return portable("matmul.cu", kernels, **_defines(ELEMENTS[element]))


@cache
def verification(element: ElementName) -> Source:
    """Makes matrices, and verifies matrices and products."""
    kernels = (
        Kernel("bc_fill_matrix", _MATRIX), Kernel("bc_check_matrix", (*_MATRIX, *_ERRORS)),
        Kernel("bc_fold_b", ("buffer", "buffer", "u32", "u32", "u32", "u32", "u32")),
        Kernel("bc_fold_a", ("buffer", "buffer", "buffer", "buffer", "u32", "u32", "u32")),
        Kernel("bc_check_rows", ("buffer", "buffer", "buffer", "u32", "u32", "u32", *_ERRORS)),
    )
    return portable("verify.cu", kernels, **_defines(ELEMENTS[element]))


@cache
def digest() -> Source:
    """Digests of buffers."""
    return portable("digest.cu", (
        Kernel("bc_digest", ("buffer", "u64", "buffer")), Kernel("bc_digest_fill", ("buffer", "u64", "u32", "buffer")),
        Kernel("bc_digest_total", ("buffer", "u32", "buffer", "u32")),
    ))


@cache
def memory() -> Source:
    """Patterns in memory, copies by kernels, sums, and chains of loads."""
    return portable("memory.cu", (
        Kernel("bc_memory_fill", _REGION), Kernel("bc_memory_check", (*_REGION, *_ERRORS)),
        Kernel("bc_memory_check_fill", (*_REGION, "u32", "u32", "u32", *_ERRORS)),
        Kernel("bc_copy", ("buffer", "buffer", "u64")), Kernel("bc_add", ("buffer", "buffer", "u64")),
        Kernel("bc_sum_check", (*_REGION, *_ERRORS)), Kernel("bc_chase", ("buffer", "u32", "buffer")),
    ))


def portable_product(element: ElementName) -> MatrixKernel:
    """The witness: it runs everywhere."""
    return MatrixKernel(
        name=f"portable-{element}-64x64x16", source=product(element), entry="bc_matmul", element=element, archs=("*",),
        tile=(64, 64, 16), full_power=False, proof="emulator", proof_where="PoCL and Oclgrind (tests/kernels)")


def portable_sources() -> tuple[Source, ...]:
    """Every portable source, in every element."""
    names: tuple[ElementName, ...] = ("fp32", "tf32", "fp16", "bf16", "int8", "e4m3")
    return (digest(), memory(), *(make(name) for name in names for make in (product, verification)))
