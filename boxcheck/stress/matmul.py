"""Matrix products on every GPU: exact ones, each element of which is verified, and full-power ones, verified by digest.

Exact phase: integer data whose products and sums are exact in every order of work; each product goes into poisoned
memory, is read back and proven by two weighted 64-bit sums a row, and the inputs are compared with their seeds. Rates
of this phase are not judged. Power phase: full-range random data, the most switching that inputs cause; two products by
turns, each of which must have the bits of its first time, and those of GPUs of the same model. Each is digested, and
poisoned in the same pass, as long as that takes at most 3 % of the time; else as many as that allows, and samples say
which part (`verified_percent`). Before its digests are trusted a kernel makes an exact product of these rows and
columns, and elements of its first random ones are compared with numpy's (`random_proof`). There the vendor's library
takes over where it is faster (`engine_choice`).

By hand  boxcheck stress run matmul --seconds 30
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from boxcheck.gpu import Gpu, GpuError
from boxcheck.model import Unread
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample
from boxcheck.stress.matmul_exact import exact_phase
from boxcheck.stress.matmul_power import power_phase

if TYPE_CHECKING:
    from boxcheck.kernels.matrix import ElementName
    from boxcheck.stress.engine_choice import Chosen
    from boxcheck.stress.library_proof import Candidates
    from boxcheck.stress.products import Engine, Shape

ELEMENT_ORDER: tuple[ElementName, ...] = ("bf16", "fp16", "int8", "tf32", "e4m3", "fp32")
EXACT_PART = 0.4
"""Of the time; the power phase gets the rest."""
CHOICE_PART = 0.15
"""Of the time at most goes into timing what can multiply, where there is a choice."""
TEST_SHAPE: Shape = (256, 256, 256)
FULL_SHAPES: tuple[Shape, ...] = ((8192, 8192, 8192), (16384, 16384, 8192))
DEEPER = 8
"""Random products are deeper by this, over the bytes of an element: the digest of C takes as long as before, the
product longer. Computed for bf16 from data sheets, 8 bytes of C over the bandwidth and 2 k operations over the rate:
digesting every product takes 2.2 % of an RTX 4090 and of an H200; at a depth of 8192 it would take 8 %. Random data has
no bound on the depth."""


@stress("matmul", faults=("flip-input", "flip-output", "drop-write", "stale", "hang", "slow", "hot"))
def matmul(rig: Rig) -> Iterator[Sample]:
    """Matrix products of every type, each verified: exact, then at full power.

    Each kernel first proves itself on a small product against numpy. Options: `elements` (a list of bf16, fp16, int8,
    tf32, e4m3, fp32), `phase` (exact or power), `engine` (own or library: the vendor's, for full power), `kernel` (a
    name from `stress list`), `size=test`.
    """
    from boxcheck.stress.kernel_choice import proven
    from boxcheck.stress.library_proof import look_for_library, with_library

    gpu = rig.gpu
    library = look_for_library(rig)
    found: list[Candidates] = []
    for element in _elements(rig):
        own, proofs = proven(getattr(gpu, "real", gpu), element, rig.options.get("kernel"))
        yield from proofs
        if own:
            found.append((yield from with_library(rig, own, library)))
    if not found:
        raise GpuError("unsupported", "no matrix kernel runs on this device")
    rig.wait_for_start()
    began = time.monotonic()
    chosen: list[Chosen] = []
    verified: set[tuple[str, Shape]] = set()
    for candidates in found:
        chosen.append((yield from _chosen(rig, candidates, rig.seconds * CHOICE_PART / len(found))))
    seconds = max(rig.seconds - (time.monotonic() - began), rig.seconds / 2)
    phase = rig.options.get("phase")
    exact = 0.0 if phase == "power" else seconds if phase == "exact" else seconds * EXACT_PART
    for one in chosen:
        if exact and not rig.stopping():
            shape = shapes_for(rig, one.own)[0]
            yield from exact_phase(rig, one.own, shape, exact / len(chosen))
            verified.add((one.own.name, shape))
    for one in chosen:
        shapes = power_shapes(rig, one)
        for shape in shapes if seconds > exact else ():
            if not rig.stopping():
                each = (seconds - exact) / len(chosen) / len(shapes)
                yield from power_phase(rig, one.engine, shape, each, one.notes, verified)
    if library is not None and not isinstance(library, Unread):
        rig.working("the vendor's library")
        library.close()
        rig.working(None)


def _chosen(rig: Rig, candidates: Candidates, seconds: float) -> Generator[Sample, None, Chosen]:
    """What an element is multiplied with: at full size the fastest, else the preferred kernel, with no timing."""
    from boxcheck.stress.engine_choice import Chosen, settle

    own = candidates.own[0]
    if not rig.full_size or rig.options.get("phase") == "exact" or rig.stopping():
        return Chosen(engine=own, own=own, notes={"engine": "own"})
    return (yield from settle(rig, candidates, shapes_for(rig, own), seconds))


def _elements(rig: Rig) -> list[ElementName]:
    """What was asked for, or the one of the kernel that was; by default what the device computes fastest, and on a
    processor two of them."""
    from boxcheck.stress.kernel_choice import kernel_names

    asked, kernel = rig.options.get("elements"), rig.options.get("kernel")
    if kernel is not None:
        own = kernel_names().get(kernel)
        if own is None:
            raise GpuError("unsupported", f"no kernel is called {kernel!r}", "boxcheck stress list names them")
        if asked and own not in asked.split(","):
            raise GpuError("unsupported", f"{kernel} multiplies {own}, and elements={asked} leaves that out")
        return [own]
    if asked:
        wrong = [name for name in asked.split(",") if name not in ELEMENT_ORDER]
        if wrong:
            raise GpuError("unsupported", f"there is no element {wrong[0]!r}; known are {', '.join(ELEMENT_ORDER)}")
        return [name for name in ELEMENT_ORDER if name in asked.split(",")]
    if not rig.full_size:
        return ["bf16", "int8"]
    return [name for name in ELEMENT_ORDER if name != "e4m3" or _has_fp8(rig.gpu)]


def _has_fp8(gpu: Gpu) -> bool:
    """Tensor cores of Ada, Hopper and later, matrix units of RDNA4."""
    from boxcheck.stress.kernel_choice import candidates

    return any(kernel.name.split("-")[0] != "portable" for kernel in candidates(gpu.info.arch, "e4m3"))


def shapes_for(rig: Rig, kernel: Engine) -> list[Shape]:
    """Shapes that fill the device and fit into its memory (A, two B, C and some)."""
    from boxcheck.kernels.matrix import ELEMENTS

    if not rig.full_size:
        tile = kernel.tile
        return [tuple(max(side, 2 * of) for side, of in zip(TEST_SHAPE, tile, strict=True))]  # type: ignore[list-item]
    size, free = ELEMENTS[kernel.element].bytes, rig.gpu.free_bytes()
    fit = [
        (m, n, k) for m, n, k in FULL_SHAPES if size * k * (m + 2 * n) + 4 * m * n < 0.8 * free
        and all(side % of == 0 for side, of in zip((m, n, k), kernel.tile, strict=True))]
    if not fit:
        raise GpuError("out-of-memory", f"{free >> 20} MiB are free, too little for a product that fills the GPU")
    return fit


def power_shapes(rig: Rig, chosen: Chosen) -> list[Shape]:
    """Shapes for random data: as deep as `DEEPER` says where a tuned kernel multiplies and memory allows. A library has
    other code for other shapes, so it keeps those on which its exact products were right."""
    from boxcheck.kernels.matrix import ELEMENTS

    shapes, size = shapes_for(rig, chosen.own), ELEMENTS[chosen.own.element].bytes
    if not rig.full_size or chosen.engine is not chosen.own or chosen.own.name.startswith("portable"):
        return shapes
    deep = [(m, n, k * DEEPER // size) for m, n, k in shapes]
    free = rig.gpu.free_bytes()
    return [
        long if size * long[2] * (long[0] + 2 * long[1]) + 4 * long[0] * long[1] < 0.8 * free else short
        for long, short in zip(deep, shapes, strict=True)]
