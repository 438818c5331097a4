"""Judgements on the rates of matrix products: as fast as the profile asks, as fast as at the start, alike, possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding, Limit, Outcome
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, outcome_of, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.ceilings import IMPOSSIBLE, too_fast
from boxcheck.stress.judging import asks, judge_value, middle, once, per_gpu, subject_of
from boxcheck.stress.kept import implausible, judge_kept, percent_of, small_sizes
from boxcheck.stress.product_judging import is_own

ELEMENTS = ("bf16", "fp16", "tf32", "fp32", "int8", "e4m3")
RATES = {
    element: limit(
        f"matmul.{element}_tflops", float, "ge", "TFLOPS",
        f"Rate of {element} matrix products of one GPU: the median of each shape, of these the best.", low=0.01,
        high=100_000)
    for element in ELEMENTS
}
SPREAD = limit(
    "matmul.spread_percent", float, "le", "%", "How far the slowest GPU may stay behind the fastest of its model.",
    low=1, high=90)
DROP = Limit("matmul.drop", "ge", must=50.0, should=85.0, unit="%", source=(
    "a clock that halves is a hardware slowdown (NVML documentation, HW slowdown); 15 % is twice the spread between "
    "GPUs of one box (SuperBench's published spread of 5 to 8 %)"))
DROP_PROCESSOR = Limit("matmul.drop", "ge", must=25.0, unit="%", source=(
    "other programs share a processor, so only a collapse counts"))
LEAST_PART = 0.25
"""A shape that had less than this part of the time of another, in a run that was cut short, does not tell the rate."""


@check("matmul.rate", reads=[StressResults], limits=tuple(RATES.values()), stress="matmul")
def rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU multiplies more slowly than it must.

    Why it matters: a card that is too hot, short of power, or held at a low clock still gives right results, late.
    What to do: boxcheck doctor power thermal (ends in PARTIAL); nvidia-smi -q -d PERFORMANCE says what holds the
    clock down.
    Not a fault: a processor's rate, which is not judged; a portable kernel's, where no tuned one runs. A rate that the
    GPU cannot reach is unknown: work was left out, or a clock lies.
    """
    yield from _rates_of(results, want, required=True)


@check("matmul.rate-advised", reads=[StressResults], limits=tuple(RATES.values()), stress="matmul")
def rate_advised(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU multiplies more slowly than it should, in a type of which the profile demands nothing.

    Why it matters: as of matmul.rate; these are rates that few have measured, or that only a vendor's library reaches.
    What to do: boxcheck doctor power thermal (ends in PARTIAL); nvidia-smi -q -d PERFORMANCE.
    Not a fault: a portable kernel's rate, where no tuned one runs.
    """
    yield from _rates_of(results, want, required=False)


def _rates_of(results: StressResults, want: Profile, required: bool) -> Iterator[Finding]:
    bounds = {
        element: bound for element, name in RATES.items()
        if (bound := want.limit(name)) is not None and (bound.must is not None) is required}
    for info, samples in per_gpu(results, "matmul"):
        subject = subject_of(results, info.key)
        best = once(results, ("matmul.best", info.key), partial(_best, samples))
        impossible = impossible_rate(results, info, samples)
        if impossible is not None:
            yield unknown(subject, impossible, help=IMPOSSIBLE)
            continue
        if not info.is_gpu or not results.full_size:
            yield skipped(subject, "a processor's rate is not judged")
        elif not bounds:
            told = f"the profile {'demands' if required else 'advises'} no rate"
            yield skipped(subject, f"{told}; best: {_rates(best)}" if best else told)
        for element, bound in bounds.items() if info.is_gpu and results.full_size else ():
            sample = best.get(element)
            if sample is None or sample.value is None:
                yield unknown(subject, f"{element}: nothing was timed")
            elif str(sample.notes.get("kernel", "")).startswith("portable"):
                yield unknown(subject, f"{element}: only the portable kernel ran, whose rate says nothing of the GPU")
            else:
                yield judge_value(
                    results, info.key, sample.value, bound,
                    f"{element}: {sample.value:.1f} TFLOPS by {_by(sample)}, {asks(bound, sample.value)}",
                    ("nvidia-smi -q -d PERFORMANCE, or sensors, while it runs: heat, power cap or a low clock",))


def impossible_rate(results: StressResults, info: GpuInfo, samples: Sequence[Sample]) -> str | None:
    """Which rate at full power no GPU of its model can reach, in words; None where none is, and where none is judged.
    """
    if not info.is_gpu or not results.full_size:
        return None
    return once(results, ("matmul.impossible", info.key), lambda: too_fast(info, [
        one for one in samples if one.what.endswith(".power") and not one.wrong]))


def _best(samples: tuple[Sample, ...]) -> dict[str, Sample]:
    """For each element the best of its shapes, as a sample whose `value` is the median of that shape: a single one may
    be a moment before the heat, or a clock that lies."""
    names = dict.fromkeys([one.what for one in samples])  # in the order in which they came
    elements = {what: what.split(".")[1] for what in names if what.endswith(".power")}
    shapes: dict[str, dict[object, list[Sample]]] = {element: {} for element in elements.values()}
    for one in samples:
        if one.what in elements and one.value is not None and not one.wrong:
            of, shape = shapes[elements[one.what]], one.notes.get("shape")
            if shape in of:
                of[shape].append(one)
            else:
                of[shape] = [one]
    best: dict[str, Sample] = {}
    for element, of in shapes.items():
        seconds = {shape: sum(one.seconds for one in some) for shape, some in of.items()}
        told = [some for shape, some in of.items() if seconds[shape] >= LEAST_PART * max(seconds.values())]
        rates = [(middle([one.value or 0.0 for one in some]), some[-1]) for some in told]
        if rates:
            value, last = max(rates, key=lambda rate: rate[0])
            best[element] = msgspec.structs.replace(last, value=value)
    return best


def _by(sample: Sample) -> str:
    """What multiplied; of a library its version, and what boxcheck's own kernel reached."""
    if is_own(sample):
        return str(sample.notes.get("kernel"))
    own = sample.notes.get("own_tflops")
    return f"{sample.notes['engine']}" + (f" ({own:.4g} by {sample.notes.get('own_kernel')})" if own else "")


def _rates(best: dict[str, Sample]) -> str:
    return ", ".join(f"{element} {one.value:.4g} TFLOPS" for element, one in best.items())


@check("matmul.rate-drop", reads=[StressResults], stress="matmul")
def rate_drop(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU became slower while it ran.

    Why it matters: the first seconds run cool; what falls off after them is heat, a power cap or a supply that gives
    way.
    What to do: look at fans and at the temperature of junction and memory;
    boxcheck doctor thermal power (ends in PARTIAL).
    Not a fault: a few percent; what small sizes on a processor give, which other programs share: not judged.
    """
    if (small := small_sizes(results)) is not None:
        yield small
        return
    for info, samples in per_gpu(results, "matmul"):
        subject = subject_of(results, info.key)
        series: dict[tuple[str, object], list[Sample]] = {}
        for one in samples:
            if one.what.endswith(".power") and one.value is not None:
                series.setdefault((one.what, one.notes.get("shape")), []).append(one)
        parts = [(percent_of(some), what) for (what, _), some in series.items() if len(some) >= 4]
        if not parts:
            yield skipped(subject, "it ran too briefly to tell") if series else unknown(subject, "nothing was timed")
            continue
        bound = DROP if info.is_gpu else DROP_PROCESSOR
        fell = outcome_of(min(parts)[0], bound) is not Outcome.PASS
        part, what = max(parts) if implausible(info, max(parts)[0]) and not fell else min(parts)
        yield judge_kept(
            results, info, part, bound,
            f"{what}: at the end {part:.0f} % of the rate at the start",
            ("watch temperatures and power while it runs: heat, a power cap, or the supply",))


@check("matmul.spread", reads=[StressResults], limits=[SPREAD], stress="matmul")
def spread(results: StressResults, want: Profile) -> Iterator[Finding]:
    """One GPU multiplies more slowly than the others of its model beside it.

    Why it matters: cards of one model in one box differ by some percent. One that stays far behind is hotter, gets less
    power, or is not what its label says.
    What to do: swap it with a fast one: what stays with the slot is air or power, what moves with the card is the card.
    Not a fault: different models, which are never compared; processors.
    """
    bound = want.limit(SPREAD)
    models: dict[str, dict[str, float]] = {}
    for info, samples in per_gpu(results, "matmul"):
        best = once(results, ("matmul.best", info.key), partial(_best, samples))
        impossible = impossible_rate(results, info, samples)
        if impossible is not None:
            yield unknown(subject_of(results, info.key), impossible, help=IMPOSSIBLE)
        elif info.is_gpu and "bf16" in best:
            models.setdefault(info.name, {})[info.key] = best["bf16"].value or 0.0
    for rates in models.values():
        fastest = max(rates.values())
        for key, value in rates.items():
            behind = 100.0 * (1 - value / fastest) if fastest else 0.0
            if len(rates) < 2:
                yield skipped(subject_of(results, key), "there is no second GPU of its model")
            elif bound is None:
                says = f"the profile sets no spread; {behind:.1f} % behind the fastest"
                yield skipped(subject_of(results, key), says)
            else:
                yield judge_value(
                    results, key, behind, bound, f"bf16: {behind:.1f} % behind the fastest of its model",
                    ("swap it with the fastest: slot or card?",))
    if not models:
        for info in results.gpus:
            if impossible_rate(results, info, results.of_gpu(info.key)) is None:
                yield skipped(subject_of(results, info.key), "nothing to compare")
