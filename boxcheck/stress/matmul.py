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
from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING

from boxcheck.gpu import Gpu, GpuError
from boxcheck.model import Unread
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.kernels.matrix import ElementName, MatrixKernel
    from boxcheck.stress.engine_choice import Chosen
    from boxcheck.stress.library_proof import Candidates
    from boxcheck.stress.products import Engine, Random, Shape

ELEMENT_ORDER: tuple[ElementName, ...] = ("bf16", "fp16", "int8", "tf32", "e4m3", "fp32")
EXACT_PART = 0.4
"""Of the time; the power phase gets the rest."""
CHOICE_PART = 0.15
"""Of the time at most goes into timing what can multiply, where there is a choice."""
DIGEST_PART = 0.03
"""Of the power phase's time at most goes into digests: it decides how many products are digested."""
BATCH_SECONDS = 0.3
LONGEST_BATCH_SECONDS = 1.0
MOST_PRODUCTS = 1000
"""In a batch: what waits in a queue cannot be stopped."""
TEST_SHAPE: Shape = (256, 256, 256)
FULL_SHAPES: tuple[Shape, ...] = ((8192, 8192, 8192), (16384, 16384, 8192))
DEEPER = 8
"""Random products are deeper by this, over the bytes of an element: the digest of C takes as long as before, the
product longer. Computed for bf16 from data sheets, 8 bytes of C over the bandwidth and 2 k operations over the rate:
digesting every product takes 2.2 % of an RTX 4090 and of an H200; at a depth of 8192 it would take 8 %. Random data has
no bound on the depth."""
EVERY_ROW = 64
"""Of exact products each so-manieth has a row compared by numpy as well, and the first: for the comparing kernel."""


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
            unseen = product.verify(done) == 0
            words = product.wrong_in_row(done, _row_of(done, m)) if unseen and done % EVERY_ROW == 0 else []
            if words or not unseen:
                wrong = len(words)
                if not unseen:
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
            rig.beat(f"{kernel.element} exact: {done} products", _part(began, seconds))
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


def _row_of(number: int, rows: int) -> int:
    """Some row, another for each product: steps of the golden section come everywhere (Knuth, TAOCP 3, 6.4)."""
    return int(number // EVERY_ROW * 0.6180339887 * rows + rows // 2) % rows


def _part(began: float, seconds: float) -> float:
    return min(1.0, (time.monotonic() - began) / max(seconds, 1e-9))


def _exact_sample(
    rig: Rig, what: str, shape: Shape, notes: dict[str, str | int | float], products: int, since: float
) -> Sample:
    return Sample(
        what=what, gpu=rig.gpu.info.key, seconds=time.monotonic() - since, checked=products * shape[0] * shape[1],
        of="elements", wrong=0, notes={**notes, "products": products})


def power_phase(
    rig: Rig, engine: Engine, shape: Shape, seconds: float, notes: Mapping[str, str | int | float] | None = None,
    verified: set[tuple[str, Shape]] | None = None,
) -> Iterator[Sample]:
    """Products of random data, back to back; a sample for each batch of about a third of a second, with these notes.

    `value` is the rate of the products alone. `verify_percent` of a sample is the part of its time in which no product
    ran, for C was digested and poisoned, by marks; `verified_percent` the part of its products that were digested. An
    exact product of the kernel comes first unless one of these rows and columns is among the `verified`.
    """
    from boxcheck.stress.library_proof import naming
    from boxcheck.stress.products import Random
    from boxcheck.stress.random_proof import learn

    m, n, k = shape
    gpu = rig.gpu
    yield from _exact_once(rig, engine, shape, set() if verified is None else verified)
    with naming(engine), Random(gpu, engine, shape, rig.seed) as product:
        reference = learn(product, rig.beat)
        fixed: dict[str, str | int | float] = {
            **(notes or {}), "kernel": engine.name, "shape": f"{m}x{n}x{k}", "digest": reference.text}
        began = time.monotonic()
        if reference.wrong:
            yield Sample(
                what=f"matmul.{engine.element}.power", gpu=gpu.info.key, seconds=0.0, checked=reference.checked,
                of="digests", wrong=reference.wrong, words=reference.words,
                notes={**fixed, "products": reference.checked, "doing": "the first products"})
        if not reference.usable:
            return
        one, verifying = costs(product)
        done = rounds = 0
        while rounds == 0 or (time.monotonic() - began < seconds and not rig.stopping()):
            every, repeat = spacing(one, verifying), batch_of(one, verifying)
            marks = [gpu.mark()]
            numbers: list[int] = []
            for number in range(done, done + repeat):
                product.multiply(number)
                if (number - done + 1) % every == 0:
                    marks.append(gpu.mark())
                    product.take(len(numbers))
                    marks.append(gpu.mark())
                    numbers.append(number)
            found = product.taken(len(numbers))
            spans = [gpu.seconds_between(*ends) for ends in pairwise(marks)]
            spent, digesting = sum(spans[0::2]), sum(spans[1::2])
            rounds, done = rounds + 1, done + repeat
            rig.beat(f"{engine.element} power: {done} products", _part(began, seconds))
            wrong = reference.wrong_of(numbers, found)
            yield Sample(
                what=f"matmul.{engine.element}.power", gpu=gpu.info.key, seconds=spent,
                value=repeat * product.operations / max(spent, 1e-9) / 1e12, unit="TFLOPS", checked=len(numbers),
                of="digests", wrong=len(wrong), notes={
                    **fixed, "products": repeat, "rate_of": "products alone",
                    "verified_percent": round(100 * len(numbers) / repeat, 1),
                    "verify_percent": round(100 * digesting / max(digesting + spent, 1e-9), 2),
                    **({"found": f"{wrong[0]:016x}"} if wrong else {})})
            one, verifying = spent / repeat, digesting / len(numbers)


def _exact_once(rig: Rig, engine: Engine, shape: Shape, verified: set[tuple[str, Shape]]) -> Iterator[Sample]:
    """One exact product of a kernel of boxcheck, of these rows and columns, as deep as exact data can be. Libraries
    made theirs before they were chosen (`library_proof.at_full_size`)."""
    from boxcheck.kernels.matrix import ELEMENTS, MatrixKernel

    m, n, k = shape
    exact = (m, n, min(k, ELEMENTS[engine.element].longest_k))
    if isinstance(engine, MatrixKernel) and (engine.name, exact) not in verified:
        yield from exact_phase(rig, engine, exact, 0.0)
        verified.add((engine.name, exact))


def spacing(product_seconds: float, verify_seconds: float) -> int:
    """Each so-manieth product is digested: each one where digests then take at most `DIGEST_PART` of the time. An odd
    number, so that both products have their turn, and one that was left out leaves the other's bits."""
    needed = ceil(verify_seconds * (1 / DIGEST_PART - 1) / max(product_seconds, 1e-6))
    most = max(1, min(MOST_PRODUCTS, floor(LONGEST_BATCH_SECONDS / max(product_seconds, 1e-6))))
    every = max(1, min(needed, most))
    return every if every % 2 else min(every + 1, most - 1 + most % 2)


def batch_of(product_seconds: float, verify_seconds: float) -> int:
    """Products of a batch: about `BATCH_SECONDS` of them; the last one is digested."""
    every = spacing(product_seconds, verify_seconds)
    wanted = min(ceil(BATCH_SECONDS / max(product_seconds, 1e-6)), MOST_PRODUCTS)
    return every * max(1, min(ceil(wanted / every), MOST_PRODUCTS // every))


def costs(product: Random) -> tuple[float, float]:
    """Seconds of a product, and of digesting and poisoning it: the lesser of two each. C is full of poison after it."""
    multiplying = min(_seconds_of(product.gpu, product.multiply) for _ in range(2))
    return multiplying, min(_seconds_of(product.gpu, lambda: product.take(0)) for _ in range(2))


def _seconds_of(gpu: Gpu, work: Callable[[], object]) -> float:
    before = gpu.mark()
    work()
    return gpu.seconds_between(before, gpu.mark())
