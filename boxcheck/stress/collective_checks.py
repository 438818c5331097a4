"""Judgements on collectives over all GPUs: exact sums, bus bandwidth, products beside them."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Finding, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, outcome_of, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.collective import LIBRARY, NAMES, TRAINING
from boxcheck.stress.judging import SHOWN, asks, cause_of, in_words, judge_wrong, many, middle, per_gpu, subject_of
from boxcheck.stress.kept import small_sizes
from boxcheck.stress.product_judging import judge_digests, judge_self_test
from boxcheck.stress.transfer_judging import good, judge_drop, listed, pair_cause, pair_subject

ALL_REDUCE = limit(
    "collective.all_reduce_busbw_gbs", float, "ge", "GB/s",
    "Bus bandwidth of a ring all-reduce over all GPUs: 2 (G - 1) / G times the bytes of the vector over the time.",
    low=0.01, high=10_000)
HELP = (
    "boxcheck stress run p2p: which pair is it",
    "until it is mended, keep programs from peer access: NCCL_P2P_DISABLE=1",
)


@check("collective.wrong-words", reads=[StressResults], stress="collective")
def wrong_words(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A sum or a gathered vector came out wrong on some GPU.

    Why it matters: these are the collectives of training; one wrong word in a gradient spreads to every GPU in the same
    step, and nothing tells the owner.
    What to do: the finding names the hop after which a word was wrong; boxcheck stress run p2p tells more of that pair.
    Not a fault: rounding; the data is integers. What the vendor's library gets wrong is collective.library.
    By hand: boxcheck stress run collective --seconds 60
    """
    hops: dict[str, list[Sample]] = {}
    for one in results.named("collective"):
        if one.wrong and one.of == "words" and "hop" in one.notes:
            hops.setdefault(str(one.notes["hop"]), []).append(one)
    for hop, samples in hops.items():
        yield _wrong_hop(results, hop, samples)
    for info, taken in per_gpu(results, "collective"):
        words = [
            one for one in taken if one.of == "words" and not one.what.startswith(("collective.hop.", f"{LIBRARY}."))]
        mine = [one for one in words if not (one.wrong and "hop" in one.notes)]
        if len(mine) < len(words) and not any(one.wrong for one in mine):
            continue  # told with its hop
        judged = judge_wrong(results, info.key, mine, "word", HELP)
        compared = {one.what.removeprefix("collective.").removeprefix("staged.") for one in mine if one.checked}
        missing = [name for name in (*NAMES, TRAINING) if name not in compared]
        if judged.outcome.value == "pass" and missing:
            judged = unknown(subject_of(results, info.key), f"not compared: {listed(missing)}")
        yield judged


def _wrong_hop(results: StressResults, hop: str, samples: list[Sample]) -> Finding:
    one, _, other = hop.partition(">")
    subject = pair_subject(results, (one, other)) if other else subject_of(results, one)
    number = sum(sample.wrong for sample in samples)
    where = "after this hop" if other else "on this GPU already"
    return failed(
        subject, f"{many(number, 'word')} wrong on {many(len({sample.gpu for sample in samples}), 'GPU')}, "
        f"first {where}: {listed(sorted({sample.what.removeprefix('collective.') for sample in samples}))}",
        measured=Quantity(number, "wrong words"), help=HELP, where=str(subject),
        notes=tuple([in_words(word) for sample in samples for word in sample.words][:SHOWN]),
        cause=pair_cause((one, other)) if other else cause_of(results, one), title=f"{subject}: wrong sums")


@check("collective.wrong-products", reads=[StressResults], stress="collective")
def wrong_products(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A matrix product had other bits while collectives ran beside it.

    Why it matters: compute and communication at once are the highest load of memory and supply; a GPU that is right in
    each alone may fail in both.
    What to do: boxcheck stress run matmul vram on this GPU; lower its power limit and repeat.
    Not a fault: slower products; they share the memory's bandwidth.
    """
    for info, samples in per_gpu(results, "collective.product"):
        yield judge_digests(results, info, samples, samples, ("boxcheck stress run matmul vram --gpu N",))


@check("collective.self-test", reads=[StressResults], stress="collective")
def self_test(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A matrix kernel of boxcheck that multiplies beside collectives is wrong on this GPU.

    Why it matters: as of matmul.self-test: what multiplies, and what compares, must have proven itself on this GPU.
    What to do: please report it, with the output of `boxcheck stress run collective --json -`.
    Not a fault: of the GPU, unless the portable kernel is wrong as well: boxcheck stress run matmul says so too.
    """
    for info in results.gpus:
        yield judge_self_test(results, info, whole=True)


@check("collective.rate", reads=[StressResults], limits=[ALL_REDUCE], stress="collective")
def rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """An all-reduce over all GPUs is slower than the profile asks.

    Why it matters: it is what training with several GPUs waits for.
    What to do: boxcheck stress run p2p: the slowest hop of the ring sets the pace of all.
    Not a fault: a ring with staged hops, which is unknown here; p2p.access names the pairs. A processor's rate.
    By hand: all_reduce_perf of nccl-tests gives the same figure as busbw
    """
    bound, subject = want.limit(ALL_REDUCE), Subject("group", f"{len(results.gpus)} GPUs")
    samples = good(results.named("collective.all-reduce"))
    value = middle([one.value or 0.0 for one in samples]) if samples else None
    if not results.full_size or not all(info.is_gpu for info in results.gpus):
        yield skipped(subject, "a processor's rate is not judged")
    elif bound is None:
        yield skipped(subject, "the profile sets no rate; " + (
            "nothing was timed" if value is None else f"bus bandwidth {value:.1f} GB/s"))
    elif value is None:
        staged = results.named("collective.staged")
        yield unknown(subject, "no all-reduce was timed and found right" if not staged else (
            "the ring has hops without peer access; a staged copy is no rate between GPUs"))
    else:
        outcome = outcome_of(value, bound)
        low = outcome.value in ("fail", "marginal")
        yield Finding(
            check="", subject=subject, outcome=outcome, limit=bound, measured=Quantity(round(value, 3), bound.unit),
            says=f"bus bandwidth {value:.1f} GB/s, {asks(bound, value)}", help=HELP[:1] if low else (),
            cause="collective-rate:ring" if low else None, where=str(subject) if low else None,
            title="collectives between the GPUs are slow" if low else None)


@check("collective.rate-drop", reads=[StressResults], stress="collective")
def rate_drop(results: StressResults, want: Profile) -> Iterator[Finding]:
    """Collectives became slower while they ran.

    Why it matters: the slowest link sets the pace of all; one that loses lanes under load shows here.
    What to do: boxcheck stress run p2p says which link; boxcheck doctor pcie aer (ends in PARTIAL), right after it.
    Not a fault: a few percent; what small sizes on a processor give, which other programs share: not judged.
    """
    if (small := small_sizes(results)) is not None:
        yield small
        return
    # On one processor the ranks take turns, so only a rank's own copies tell of it.
    yield from judge_drop(
        results, "collective",
        lambda info, one: one.gpu == info.key and not one.what.startswith(f"{LIBRARY}.") and (
            info.is_gpu or one.what.startswith("collective.hop.")), HELP[:1])
