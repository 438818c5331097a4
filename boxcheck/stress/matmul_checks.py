"""Judgements on matrix products: right, repeatable, by proven kernels. Rates are in `matmul_rate_checks`."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Finding, Quantity
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.ceilings import IMPOSSIBLE
from boxcheck.stress.judging import cause_of, judge_wrong, per_gpu, subject_of
from boxcheck.stress.matmul_rate_checks import impossible_rate
from boxcheck.stress.product_judging import REPLACE, is_own, judge_digests, judge_self_test


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
    Not a fault: a rate that the GPU cannot reach, which is unknown: products were left out, or a clock lies. Another
    kernel or shape, which is never compared; a library that is not alike from one time to the next
    from the start, which is left out (matmul.library).
    """
    for info, samples in per_gpu(results, "matmul"):
        power = [one for one in samples if one.what.endswith(".power")]
        trials = [one for one in samples if one.what.endswith(".trial") and is_own(one)]
        found = judge_digests(results, info, [*trials, *power], power, REPLACE)
        impossible = impossible_rate(results, info, samples)
        if impossible is not None and found.outcome.value == "pass":  # were these products made?
            found = unknown(found.subject, impossible, help=IMPOSSIBLE)
        yield found


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
