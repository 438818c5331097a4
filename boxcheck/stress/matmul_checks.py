"""Judgements on matrix products: right, repeatable, as fast as the profile asks, as fast as at the start, alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from boxcheck.model import Finding, Limit, Quantity
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import asks, cause_of, judge_value, judge_wrong, middle, per_gpu, subject_of
from boxcheck.stress.product_judging import REPLACE, is_own, judge_digests, judge_self_test

ELEMENTS = ("bf16", "fp16", "tf32", "fp32", "int8", "e4m3")
RATES = {
    element: limit(
        f"matmul.{element}_tflops", float, "ge", "TFLOPS",
        f"Rate of {element} matrix products of one GPU, the best of several shapes.", low=0.01, high=100_000)
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

@check("matmul.wrong-elements", reads=[StressResults], stress="matmul")
def wrong_elements(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU computed a wrong product.

    Why it matters: every element of these products has one right value, in any order of work; a wrong one is a fault of
    the GPU's arithmetic, its caches or its memory, and it will be silent in the owner's work.
    What to do: repeat it on this GPU alone, then with a lower power limit, then with the card in another slot.
    Not a fault: rounding; the data is integers for which every sum is exact.
    By hand: boxcheck stress run matmul --seconds 60
    """
    for info, samples in per_gpu(results, "matmul"):
        exact = [one for one in samples if one.what.endswith(".exact")]
        yield judge_wrong(results, info.key, exact, "element", REPLACE)


@check("matmul.damaged-inputs", reads=[StressResults], stress="matmul")
def damaged_inputs(results: StressResults, want: Profile) -> Iterator[Finding]:
    """What a GPU held in its memory changed while it multiplied.

    Why it matters: the inputs were written once and only read; a changed bit is a fault of the memory or of a write
    that went astray.
    What to do: boxcheck stress run vram says which cells.
    Not a fault: nothing else may write there.
    """
    for info, samples in per_gpu(results, "matmul"):
        inputs = [one for one in samples if one.what.endswith(".inputs")]
        found = [one for one in samples if one.what.endswith(".exact") and one.notes.get("wrong_input_words")]
        if not found:
            yield judge_wrong(results, info.key, inputs, "word", ("boxcheck stress run vram --gpu N",))
            continue
        number = sum(int(one.notes["wrong_input_words"]) for one in found)
        subject = subject_of(results, info.key)
        yield failed(
            subject, f"{number} words of the inputs changed while they were in use",
            measured=Quantity(number, "wrong words"), cause=cause_of(results, info.key), where=str(subject),
            title=f"{subject}: wrong results", help=("boxcheck stress run vram --gpu N says which cells",))


@check("matmul.repeatability", reads=[StressResults], stress="matmul")
def repeatability(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The same product of the same data came out with other bits.

    Why it matters: a kernel does the same operations in the same order each time, on every GPU of a model; other bits
    are a fault, at the highest power that matrix products draw.
    What to do: lower the power limit and repeat; look at temperatures and at the supply.
    Not a fault: another kernel or shape, which is never compared; a library that is not alike from one time to the next
    from the start, which is left out (matmul.library).
    """
    for info, samples in per_gpu(results, "matmul"):
        power = [one for one in samples if one.what.endswith(".power")]
        trials = [one for one in samples if one.what.endswith(".trial") and is_own(one)]
        yield judge_digests(results, info, [*trials, *power], power, REPLACE)


@check("matmul.rate", reads=[StressResults], limits=tuple(RATES.values()), stress="matmul")
def rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU multiplies more slowly than it must.

    Why it matters: a card that is too hot, short of power, or held at a low clock still gives right results, late.
    What to do: boxcheck doctor power thermal (ends in PARTIAL); nvidia-smi -q -d PERFORMANCE says what holds the
    clock down.
    Not a fault: a processor's rate, which is not judged; a portable kernel's, where no tuned one runs.
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
        best = _best(samples)
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


def _best(samples: tuple[Sample, ...]) -> dict[str, Sample]:
    best: dict[str, Sample] = {}
    for one in samples:
        if one.what.endswith(".power") and one.value is not None and not one.wrong:
            element = one.what.split(".")[1]
            if element not in best or (best[element].value or 0.0) < one.value:
                best[element] = one
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
    Not a fault: a few percent; a processor's, which other programs share, unless it collapses.
    """
    for info, samples in per_gpu(results, "matmul"):
        subject = subject_of(results, info.key)
        series: dict[tuple[str, object], list[Sample]] = {}
        for one in samples:
            if one.what.endswith(".power") and one.value is not None:
                series.setdefault((one.what, one.notes.get("shape")), []).append(one)
        worst = min(((kept(some), what) for (what, _), some in series.items() if len(some) >= 4), default=None)
        if worst is None:
            yield skipped(subject, "it ran too briefly to tell") if series else unknown(subject, "nothing was timed")
            continue
        part, what = worst
        yield judge_value(
            results, info.key, part, DROP if info.is_gpu else DROP_PROCESSOR,
            f"{what}: at the end {part:.0f} % of the rate at the start",
            ("watch temperatures and power while it runs: heat, a power cap, or the supply",))


def kept(samples: Sequence[Sample]) -> float:
    """The rate of the last quarter of the time in percent of that of its first half."""
    ends = list(accumulate(one.seconds for one in samples))
    first = [one.value or 0.0 for one, end in zip(samples, ends, strict=True) if end <= ends[-1] / 2]
    last = [one.value or 0.0 for one, end in zip(samples, ends, strict=True) if end > ends[-1] * 0.75]
    return 100.0 * middle(last) / middle(first or [samples[0].value or 0.0])


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
        best = _best(samples)
        if info.is_gpu and "bf16" in best:
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
            yield skipped(subject_of(results, info.key), "nothing to compare")


@check("matmul.self-test", reads=[StressResults], stress="matmul")
def self_test(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A matrix kernel of boxcheck is wrong on this GPU.

    Why it matters: before it judges a GPU, each kernel computes a small product that numpy checks element by element. A
    tuned kernel that is wrong where the portable one is right is a defect of boxcheck: it is left out, and the run ends
    with exit code 4 whatever else it found. Then a result, inputs and a digest are damaged on purpose: a comparison
    that does not report just that is blind here, and nothing that it compared counts.
    What to do: please report it, with the output of `boxcheck stress run matmul --json -`.
    Not a fault: of the GPU, unless the portable kernel is wrong as well; then matmul.wrong-elements says so.
    """
    for info in results.gpus:
        yield judge_self_test(results, info)
