"""Matrix products on every GPU: exact ones, each element of which is verified, and full-power ones, verified by digest.

Exact phase: integer data whose products and sums are exact in every order of work; each product goes into poisoned
memory, is read back and proven by two weighted 64-bit sums a row, and the inputs are compared with their seeds. Rates
of this phase are not judged. Power phase: full-range random data, the most switching that inputs cause; every product
must have the bits of the first one, and those of GPUs of the same model. There the vendor's library takes over where it
is faster (`engine_choice`).

By hand  boxcheck stress run matmul --seconds 30
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

from boxcheck.gpu import Gpu, GpuError
from boxcheck.model import Unread
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.kernels.matrix import ElementName, MatrixKernel
    from boxcheck.stress.engine_choice import Chosen
    from boxcheck.stress.library_proof import Candidates
    from boxcheck.stress.products import Engine, Shape

ELEMENT_ORDER: tuple[ElementName, ...] = ("bf16", "fp16", "int8", "tf32", "e4m3", "fp32")
EXACT_PART = 0.4
"""Of the time; the power phase gets the rest."""
CHOICE_PART = 0.15
"""Of the time at most goes into timing what can multiply, where there is a choice."""
DIGEST_PART = 0.03
"""Of the power phase's time goes less into digests: batches are made long enough for two thirds of it."""
BATCH_SECONDS = 0.3
LONGEST_BATCH_SECONDS = 1.0
MOST_PRODUCTS = 1000
"""In a batch: what waits in a queue cannot be stopped."""
TEST_SHAPE: Shape = (256, 256, 256)
FULL_SHAPES: tuple[Shape, ...] = ((8192, 8192, 8192), (16384, 16384, 8192))


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
    for candidates in found:
        chosen.append((yield from _chosen(rig, candidates, rig.seconds * CHOICE_PART / len(found))))
    seconds = max(rig.seconds - (time.monotonic() - began), rig.seconds / 2)
    phase = rig.options.get("phase")
    exact = 0.0 if phase == "power" else seconds if phase == "exact" else seconds * EXACT_PART
    for one in chosen:
        if exact and not rig.stopping():
            yield from exact_phase(rig, one.own, shapes_for(rig, one.own)[0], exact / len(chosen))
    for one in chosen:
        shapes = shapes_for(rig, one.own)
        for shape in shapes if seconds > exact else ():
            if not rig.stopping():
                each = (seconds - exact) / len(chosen) / len(shapes)
                yield from power_phase(rig, one.engine, shape, each, one.notes)
    if library is not None and not isinstance(library, Unread):
        library.close()


def _chosen(rig: Rig, candidates: Candidates, seconds: float) -> Generator[Sample, None, Chosen]:
    """What an element is multiplied with: at full size the fastest, else the preferred kernel, with no timing."""
    from boxcheck.stress.engine_choice import Chosen, settle

    own = candidates.own[0]
    if not rig.full_size or rig.options.get("phase") == "exact" or rig.stopping():
        return Chosen(engine=own, own=own, notes={"engine": "own"})
    return (yield from settle(rig, candidates, shapes_for(rig, own), seconds))


def _elements(rig: Rig) -> list[ElementName]:
    """What was asked for; by default what the device computes fastest, and on a processor two of them."""
    asked = rig.options.get("elements")
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


def exact_phase(rig: Rig, kernel: MatrixKernel, shape: Shape, seconds: float) -> Iterator[Sample]:
    """Products of exact data until the time is over; a sample about every second, and one for each wrong product."""
    from boxcheck.stress.locate import locate
    from boxcheck.stress.products import Exact

    m, n, k = shape
    what = f"matmul.{kernel.element}.exact"
    notes: dict[str, str | int | float] = {"kernel": kernel.name, "shape": f"{m}x{n}x{k}"}
    began = time.monotonic()
    with Exact(rig.gpu, kernel, shape, rig.seed) as product:
        product.clear()
        done, reported, since = 0, 0, began
        while done == 0 or (time.monotonic() - began < seconds and not rig.stopping()):
            product.multiply(done)
            if product.verify(done):
                wrong, words = locate(product, done, rig.beat)
                inputs, damaged = product.wrong_inputs()
                yield Sample(
                    what=what, gpu=rig.gpu.info.key, seconds=time.monotonic() - since, checked=m * n, of="elements",
                    wrong=wrong, words=(*damaged[:8], *words),
                    notes={**notes, "product": done, "wrong_input_words": inputs})
                if inputs:
                    product.refill()
                product.clear()
                reported, since = done + 1, time.monotonic()
            done += 1
            rig.beat(f"{kernel.element} exact: {done} products", (time.monotonic() - began) / seconds)
            if time.monotonic() - since > 1.0:
                yield _exact_sample(rig, what, shape, notes, done - reported, since)
                reported, since = done, time.monotonic()
        if done > reported:
            yield _exact_sample(rig, what, shape, notes, done - reported, since)
        inputs, damaged = product.wrong_inputs()
        yield Sample(
            what=f"matmul.{kernel.element}.inputs", gpu=rig.gpu.info.key, seconds=time.monotonic() - began,
            checked=k * (m + 2 * n) * product.element.bytes // 4, of="words", wrong=inputs, words=tuple(damaged[:16]),
            notes=notes)


def _exact_sample(
    rig: Rig, what: str, shape: Shape, notes: dict[str, str | int | float], products: int, since: float
) -> Sample:
    return Sample(
        what=what, gpu=rig.gpu.info.key, seconds=time.monotonic() - since, checked=products * shape[0] * shape[1],
        of="elements", wrong=0, notes={**notes, "products": products})


def power_phase(
    rig: Rig, engine: Engine, shape: Shape, seconds: float, notes: Mapping[str, str | int | float] | None = None
) -> Iterator[Sample]:
    """Products of random data, back to back; a sample for each batch of about a third of a second, with these notes.

    `verify_percent` of a sample is the part of its time in which no product ran: poisoning and digest, by marks.
    """
    from boxcheck.stress.library_proof import naming
    from boxcheck.stress.products import Random

    m, n, k = shape
    gpu = rig.gpu
    with naming(engine), Random(gpu, engine, shape, rig.seed) as product:
        product.poison()
        product.multiply()
        first = product.digest()
        began = time.monotonic()
        one = _seconds_of(gpu, product.multiply)
        repeat = batch_of(one, _seconds_of(gpu, product.poison) + _seconds_of(gpu, product.digest))
        fixed: dict[str, str | int | float] = {
            **(notes or {}), "kernel": engine.name, "shape": f"{m}x{n}x{k}", "digest": f"{first:016x}"}
        products = rounds = 0
        while rounds == 0 or (time.monotonic() - began < seconds and not rig.stopping()):
            marks = [gpu.mark()]
            product.poison()
            marks.append(gpu.mark())
            for _ in range(repeat):
                product.multiply()
            marks.append(gpu.mark())
            digest = product.digest()
            marks.append(gpu.mark())
            poisoning, spent, digesting = (gpu.seconds_between(*ends) for ends in pairwise(marks))
            verifying = poisoning + digesting
            rounds, products = rounds + 1, products + repeat
            rig.beat(f"{engine.element} power: {products} products", (time.monotonic() - began) / seconds)
            percent = round(100 * verifying / max(verifying + spent, 1e-9), 2)
            found = {} if digest == first else {"found": f"{digest:016x}"}
            yield Sample(
                what=f"matmul.{engine.element}.power", gpu=gpu.info.key, seconds=spent,
                value=repeat * product.operations / max(spent, 1e-9) / 1e12, unit="TFLOPS", checked=1, of="digests",
                wrong=int(digest != first),
                notes={**fixed, "products": repeat, "verify_percent": percent, **found})
            repeat = batch_of(spent / repeat, verifying)


def batch_of(product_seconds: float, verify_seconds: float) -> int:
    """Products between two digests: `BATCH_SECONDS` of them, more where verifying would take too much of the time."""
    wanted = max(BATCH_SECONDS, verify_seconds * (1.5 / DIGEST_PART - 1))
    products = ceil(min(wanted, LONGEST_BATCH_SECONDS) / max(product_seconds, 1e-6))
    return max(1, min(MOST_PRODUCTS, products))


def _seconds_of(gpu: Gpu, work: Callable[[], object]) -> float:
    before = gpu.mark()
    work()
    return gpu.seconds_between(before, gpu.mark())
