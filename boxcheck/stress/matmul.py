"""Matrix products on every GPU: exact ones, each element of which is verified, and full-power ones, verified by digest.

Exact phase: integer data whose products and sums are exact in every order of work; each product goes into poisoned
memory, is read back and proven by two weighted 64-bit sums a row, and the inputs are compared with their seeds. Rates of
this phase are not judged. Power phase: full-range random data, the most switching that inputs cause; every product must
have the bits of the first one, and those of GPUs of the same model.

By hand  boxcheck stress run matmul --seconds 30
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from boxcheck.gpu import Gpu, GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.kernels.matrix import ElementName, MatrixKernel
    from boxcheck.stress.products import Shape

ELEMENT_ORDER: tuple[ElementName, ...] = ("bf16", "fp16", "int8", "tf32", "e4m3", "fp32")
EXACT_PART = 0.4
"""Of the time; the power phase gets the rest."""
DIGEST_PART = 0.03
"""Of the power phase's time at most goes into digests, where products are long enough."""
TEST_SHAPE: Shape = (256, 256, 256)
FULL_SHAPES: tuple[Shape, ...] = ((8192, 8192, 8192), (16384, 16384, 8192))


@stress("matmul", faults=("flip-input", "flip-output", "drop-write", "stale", "hang", "slow", "hot"))
def matmul(rig: Rig) -> Iterator[Sample]:
    """Matrix products of every type, each verified: exact, then at full power.

    Each kernel first proves itself on a small product against numpy. Options: `elements` (a list of bf16, fp16, int8, tf32,
    e4m3, fp32), `phase` (exact or power), `kernel` (a name from `stress list`), `size=test`.
    """
    from boxcheck.stress.kernel_choice import choose

    gpu = rig.gpu
    chosen = []
    for element in _elements(rig):
        kernel, proofs = choose(getattr(gpu, "real", gpu), element, rig.options.get("kernel"))
        yield from proofs
        if kernel is not None:
            chosen.append(kernel)
    if not chosen:
        raise GpuError("unsupported", "no matrix kernel runs on this device")
    rig.wait_for_start()
    phase = rig.options.get("phase")
    exact = 0.0 if phase == "power" else rig.seconds if phase == "exact" else rig.seconds * EXACT_PART
    for kernel in chosen:
        if exact and not rig.stopping():
            yield from exact_phase(rig, kernel, shapes_for(rig, kernel)[0], exact / len(chosen))
    for kernel in chosen:
        shapes = shapes_for(rig, kernel)
        for shape in shapes if rig.seconds > exact else ():
            if not rig.stopping():
                yield from power_phase(rig, kernel, shape, (rig.seconds - exact) / len(chosen) / len(shapes))


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


def shapes_for(rig: Rig, kernel: MatrixKernel) -> list[Shape]:
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


def power_phase(rig: Rig, kernel: MatrixKernel, shape: Shape, seconds: float) -> Iterator[Sample]:
    """Products of random data, back to back; a sample for each batch of about a quarter of a second."""
    from boxcheck.stress.products import Random

    m, n, k = shape
    gpu = rig.gpu
    with Random(gpu, kernel, shape, rig.seed) as product:
        product.poison()
        product.multiply()
        first = product.digest()
        began = time.monotonic()
        one = _seconds_of(gpu, product.multiply)
        repeat = max(1, min(1000, round(0.25 / max(one, 1e-6))))
        notes: dict[str, str | int | float] = {
            "kernel": kernel.name, "shape": f"{m}x{n}x{k}", "digest": f"{first:016x}", "products": repeat}
        rounds = 0
        while rounds == 0 or (time.monotonic() - began < seconds and not rig.stopping()):
            product.poison()
            before = gpu.mark()
            for _ in range(repeat):
                product.multiply()
            after = gpu.mark()
            digest = product.digest()
            spent = gpu.seconds_between(before, after)
            rounds += 1
            rig.beat(f"{kernel.element} power: {rounds * repeat} products", (time.monotonic() - began) / seconds)
            yield Sample(
                what=f"matmul.{kernel.element}.power", gpu=gpu.info.key, seconds=spent,
                value=repeat * product.operations / max(spent, 1e-9) / 1e12, unit="TFLOPS", checked=1, of="digests",
                wrong=int(digest != first), notes=notes if digest == first else {**notes, "found": f"{digest:016x}"})


def _seconds_of(gpu: Gpu, work: object) -> float:
    assert callable(work)
    before = gpu.mark()
    work()
    return gpu.seconds_between(before, gpu.mark())
