"""Which engine multiplies at full power: the best of boxcheck's kernels, or the vendor's library where it is faster.

At full size each candidate that proved itself is timed for a moment on the shape and the data of the power phase. The
library is proven as kernels are, on a small product, then on two of each full size, for which it may use other code.
What came of it stands in the notes of the power samples, so that the rate of boxcheck's own kernel is always known:

engine           `own`, or the library with its version, whichever multiplied
own_kernel       the best of boxcheck's own, with own_tflops where it was timed
library          the library with its version, or why there is none, with library_tflops where it was timed
library_state    see `library_proof.State`
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

import msgspec

from boxcheck.gpu.vendor_blas import LibraryError, LibraryProduct
from boxcheck.kernels.matrix import MatrixKernel
from boxcheck.stress import SLOW_LIBRARY_PERCENT, Rig, Sample
from boxcheck.stress.library_proof import Candidates, at_full_size, naming, state_of
from boxcheck.stress.products import Engine, Random, Shape
from boxcheck.stress.random_proof import learn

TRIAL_SECONDS = 0.25
MARGIN = 1.03
"""A candidate must be this much faster than one before it: within that a short timing tells nothing, and GPUs of one
model should choose alike."""
MOST_PRODUCTS = 1000

Notes = Mapping[str, str | int | float]


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What one element is multiplied with."""

    engine: Engine
    """For full power."""
    own: MatrixKernel
    """The best of boxcheck's own: for exact products."""
    notes: Notes = {}


def settle(
    rig: Rig, candidates: Candidates, shapes: Sequence[Shape], seconds: float
) -> Generator[Sample, None, Chosen]:
    """Verifies the library on every shape, times what can multiply on the first, for `seconds` at most, chooses."""
    shape = shapes[0]
    fit = tuple(one for one in candidates.own if _fits(one, shape)) or candidates.own[:1]
    rates: dict[str, float] = {}
    for one in shapes:
        candidates = yield from at_full_size(rig, candidates, one)
    if len(fit) > 1 or candidates.library is not None:
        each = min(TRIAL_SECONDS, seconds / (len(fit) + 2))
        trial(rig, fit[0], shape, each)  # a GPU that rested clocks low at first
        for kernel in fit:
            sample = trial(rig, kernel, shape, each)
            rates[kernel.name] = sample.value or 0.0
            yield sample
        candidates = yield from _library_trial(rig, candidates, shape, each, rates, max(rates.values()))
    own = fit[fastest([rates.get(one.name, 0.0) for one in fit])]
    product = candidates.library
    forced = rig.options.get("engine") == "library"
    engine: Engine = own
    # A run that was stopped before the library was timed has no rate of it.
    if product is not None and product.name in rates and (forced or fastest([rates[own.name], rates[product.name]])):
        engine = product
    return Chosen(engine=engine, own=own, notes=_notes(engine, own, candidates, rates))


def _fits(engine: Engine, shape: Shape) -> bool:
    return all(side % of == 0 for side, of in zip(shape, engine.tile, strict=True))


def fastest(rates: Sequence[float]) -> int:
    """Which rate is the best; one of those before it unless it is better by `MARGIN`."""
    best = 0
    for number, rate in enumerate(rates):
        if rate > rates[best] * MARGIN:
            best = number
    return best


def _notes(engine: Engine, own: MatrixKernel, candidates: Candidates, rates: Mapping[str, float]) -> Notes:
    notes: dict[str, str | int | float] = {
        "engine": engine.engine if isinstance(engine, LibraryProduct) else "own", "own_kernel": own.name}
    if own.name in rates:
        notes["own_tflops"] = _figure(rates[own.name])
    if candidates.state is not None:
        notes |= {"library": candidates.says, "library_state": candidates.state}
    if candidates.library is not None and candidates.library.name in rates:
        notes["library_tflops"] = _figure(rates[candidates.library.name])
    return notes


def _figure(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def _library_trial(
    rig: Rig, candidates: Candidates, shape: Shape, each: float, rates: dict[str, float], own: float
) -> Generator[Sample, None, Candidates]:
    """Times the library. Where it is slow with C of fp32, then with C of the element as well, as most programs ask for
    it: a library may have tuned that alone."""
    product = candidates.library
    if product is None or rig.stopping():
        return candidates
    try:
        sample = trial(rig, product, shape, each)
        yield sample
        if sample.wrong:
            return candidates.without_library(
                "unsteady", f"{product.engine} gives other bits from one product to the next of the same data")
        rates[product.name] = sample.value or 0.0
        narrowed = product.narrowed()
        if narrowed is not None and rates[product.name] * 100 < SLOW_LIBRARY_PERCENT * own:
            yield trial(rig, narrowed, shape, each)
    except LibraryError as error:
        return candidates.without_library(state_of(error), error.says)
    return candidates


def trial(rig: Rig, engine: Engine, shape: Shape, seconds: float) -> Sample:
    """A rate over about so many seconds, of products whose first ones were looked at (`random_proof`), and of which the
    last has the bits of its first time."""
    m, n, k = shape
    rig.beat(f"{engine.element}: timing {engine.name}", 0.0)
    with naming(rig, engine), Random(rig.gpu, engine, shape, rig.seed) as product:
        gpu = rig.gpu
        reference = learn(product)
        notes: dict[str, str | int | float] = {
            "kernel": engine.name, "engine": engine.engine if isinstance(engine, LibraryProduct) else "own",
            "shape": f"{m}x{n}x{k}"}
        spent, repeat, wrong = 0.0, 0, reference.wrong
        if reference.usable:
            start = gpu.mark()
            product.multiply()
            one = gpu.seconds_between(start, gpu.mark())
            repeat = max(2, min(MOST_PRODUCTS, round(seconds / max(one, 1e-6))))
            product.poison()
            start = gpu.mark()
            for number in range(repeat):
                product.multiply(number)
            spent = gpu.seconds_between(start, gpu.mark())
            product.take(0)
            wrong += len(reference.wrong_of([repeat - 1], product.taken(1)))
    return Sample(
        what=f"matmul.{engine.element}.trial", gpu=rig.gpu.info.key, seconds=spent,
        value=repeat * product.operations / max(spent, 1e-9) / 1e12 if repeat else None, unit="TFLOPS",
        checked=reference.checked + (1 if repeat else 0), of="digests", wrong=wrong, words=reference.words,
        notes={**notes, "products": reference.checked + repeat})
