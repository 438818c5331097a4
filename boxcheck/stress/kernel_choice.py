"""Which matrix kernel a device uses for an element, after each candidate has proven itself there."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from boxcheck.gpu import Gpu, GpuError
from boxcheck.gpu.vendor_blas import LibraryProduct
from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import portable_product
from boxcheck.kernels.matrix import ElementName, MatrixKernel
from boxcheck.stress import Sample, WrongWord, bits_word
from boxcheck.stress.comparators import blind_kernels
from boxcheck.stress.exact_products import Exact
from boxcheck.stress.products import Engine


@cache
def tuned() -> tuple[MatrixKernel, ...]:
    """Every tuned kernel, the preferred ones of an architecture first."""
    from importlib import import_module
    from importlib.util import find_spec

    return tuple(
        kernel for name in ("wgmma", "mma", "wmma") if find_spec(f"boxcheck.kernels.{name}")
        for kernel in import_module(f"boxcheck.kernels.{name}").kernels())


def kernel_names() -> dict[str, ElementName]:
    """Name of every matrix kernel, and the element that it multiplies."""
    from boxcheck.kernels.matrix import ELEMENTS

    portable = [portable_product(element) for element in ELEMENTS]  # type: ignore[arg-type]
    return {kernel.name: kernel.element for kernel in (*tuned(), *portable)}


def candidates(arch: str, element: ElementName) -> tuple[MatrixKernel, ...]:
    """Kernels for an element on an architecture, the fastest first; the portable one is the last."""
    found = [kernel for kernel in tuned() if kernel.element == element and kernel.runs_on(arch)]
    return (*sorted(found, key=lambda kernel: not kernel.full_power), portable_product(element))


def choose(gpu: Gpu, element: ElementName, named: str | None = None) -> tuple[MatrixKernel | None, list[Sample]]:
    """The first candidate that proves itself on this device, and a sample for each that was tried; see `proven`."""
    right, samples = proven(gpu, element, named)
    return (right[0] if right else None), samples


def proven(
    gpu: Gpu, element: ElementName, named: str | None = None
) -> tuple[tuple[MatrixKernel, ...], list[Sample]]:
    """The candidates that prove themselves on this device, the preferred one first, and a sample for each tried.

    The portable kernel is among them only where no tuned one is right, and then even where it is wrong itself. A tuned
    kernel that is wrong where the portable one is right is boxcheck's own defect: it is dropped, and the sample says
    so. Where the portable one is wrong as well, the device is. Where a comparison did not see damage that was done for
    it, the verdict is `blind`. OpenCL and processors run portable kernels alone.
    """
    tried = candidates(gpu.info.arch if gpu.info.backend in ("cuda", "hip") else "", element)
    if named is not None:
        tried = tuple(kernel for kernel in tried if kernel.name in (named, tried[-1].name))
    proofs = {kernel.name: prove(gpu, kernel) for kernel in tried}
    witness = proofs[tried[-1].name]
    samples = []
    for kernel in tried:
        sample, refused = proofs[kernel.name]
        own = kernel is not tried[-1] and witness[0] is not None and _multiplies(witness[0])
        if sample is not None:
            verdict = (
                "blind" if "blind" in sample.notes else "right" if sample.wrong == 0 else
                "own defect" if own else "wrong on this device")
            samples.append(Sample(
                what=sample.what, gpu=sample.gpu, seconds=sample.seconds, checked=sample.checked, of=sample.of,
                wrong=sample.wrong, words=sample.words, notes={**sample.notes, "verdict": verdict}))
        elif refused is not None:
            if refused.kind not in ("compile", "unsupported"):
                raise refused
            samples.append(Sample(
                what=f"matmul.{element}.self-test", gpu=gpu.info.key, seconds=0.0, checked=0, of="elements", wrong=0,
                notes={"kernel": kernel.name, "verdict": "own defect", "says": refused.says[:2000]}))
    right = [kernel for kernel in tried if (one := proofs[kernel.name][0]) is not None and one.wrong == 0]
    wanted = [kernel for kernel in right if named in (None, kernel.name)]
    if named is not None and not wanted and right:
        raise GpuError("unsupported", f"{named} does not run on this device; {right[0].name} does")
    best = tuple(kernel for kernel in wanted if kernel is not tried[-1]) or tuple(wanted)
    # A device on which even the portable kernel is wrong is still run: every product will show it.
    return (best or ((tried[-1],) if witness[0] is not None else ())), samples


def _multiplies(proof: Sample) -> bool:
    """Whether the product of a proof was right, whatever comparing kernels made of it."""
    return proof.wrong == 0 or "blind" in proof.notes


def prove(gpu: Gpu, kernel: Engine) -> tuple[Sample | None, GpuError | None]:
    """A small product of exact data, every element compared with numpy's; or why the engine could not be started.
    Two tiles each way, and at least four steps of the depth, so that pipelines fill and drain. Where a kernel of
    boxcheck is right, the kernels that compare prove themselves on its product (`comparators`)."""
    m, n, k = 2 * kernel.tile[0], 2 * kernel.tile[1], max(4 * kernel.tile[2], 64)
    began = time.monotonic()
    try:
        with Exact(gpu, kernel, (m, n, k), 7) as product:
            product.multiply(0)
            found = gpu.read(product.c, 4 * m * n).view(np.uint32).reshape(m, n)
            exact = reference.product(kernel.element, m, n, k, product.seeds["a"], product.seeds["b0"])
            narrow = exact.astype(np.int32) if kernel.element == "int8" else exact.astype(np.float32)
            expected = narrow.view(np.uint32)
            rows, columns = np.nonzero(found != expected)
            own = not isinstance(kernel, LibraryProduct)
            blind = blind_kernels(product, expected) if own and not len(rows) else ()
    except GpuError as error:
        return None, error
    words = tuple(
        WrongWord(
            index=row * n + column, expected=int(expected[row, column]), found=int(found[row, column]),
            where=f"row {row}, column {column}", kind=bits_word(int(expected[row, column]), int(found[row, column])))
        for row, column in list(zip(rows.tolist(), columns.tolist(), strict=True))[:8])
    return Sample(
        what=f"matmul.{kernel.element}.self-test", gpu=gpu.info.key, seconds=time.monotonic() - began,
        checked=m * n, of="elements", wrong=len(rows) + len(blind), words=words,
        notes={"kernel": kernel.name, "shape": f"{m}x{n}x{k}", **({"blind": ", ".join(blind)} if blind else {})}), None
