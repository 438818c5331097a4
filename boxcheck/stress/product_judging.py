"""What the checks of all modules that multiply share: kernels that proved themselves, bits alike among GPUs, shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding
from boxcheck.registry import failed, passed, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import by_gpu, by_kind, cause_of, judge_wrong, many, subject_of

REPLACE = (
    "run it on this GPU alone: boxcheck stress run matmul --gpu N",
    "cool it and lower its power limit: a fault that goes away with that is power or heat",
    "a fault that stays with the card in another slot is the card's: replace it")


def is_own(sample: Sample) -> bool:
    """Whether one of boxcheck's kernels multiplied, and not a library."""
    return sample.notes.get("engine", "own") == "own"


def judge_self_test(results: StressResults, info: GpuInfo, whole: bool = False) -> Finding:
    """Whether the kernels of a module were right on small products, and its comparisons saw what was damaged for them.
    With `whole` also on the exact product of full size, for modules that make it only as a proof."""
    subject = subject_of(results, info.key)
    own_samples = by_gpu(results, "matmul").get(info.key, ())
    proofs = [one for one in own_samples if one.what.endswith(".self-test")]
    by: dict[object, list[str]] = {}
    for one in proofs:
        by.setdefault(one.notes.get("verdict"), []).append(str(one.notes.get("kernel")))
    blind = sorted({str(one.notes.get("blind", "")) for one in proofs if one.notes.get("verdict") == "blind"})
    unnamed = [one for one in proofs if one.wrong and one.notes.get("verdict") in (None, "right")]
    exact = [one for one in own_samples if one.what.endswith((".exact", ".inputs"))] if whole else []
    if not proofs:
        return unknown(subject, "no kernel was proven")
    if any(one.wrong for one in exact):
        return judge_wrong(results, info.key, exact, "element", REPLACE)
    if bad := by.get("wrong on this device") or [str(one.notes.get("kernel")) for one in unnamed]:
        return failed(
            subject, f"wrong on a small product already, the portable kernel too: {', '.join(bad)}", help=REPLACE,
            cause=cause_of(results, info.key), title=f"{subject}: wrong results", where=str(subject))
    if blind:
        return unknown(
            subject, f"a comparison kernel sees nothing on this device, or not what it should: {', '.join(blind)}; "
            "what it called right was not compared")
    if own := by.get("own defect"):
        return unknown(subject, f"left out, a defect of boxcheck: {', '.join(own)}; the portable kernel is right")
    return passed(subject, f"{many(len(proofs), 'kernel')} agree{'s' if len(proofs) == 1 else ''} with numpy")


def _ground(sample: Sample) -> tuple[object, ...]:
    """On what products must agree for their bits to be compared."""
    notes = sample.notes.get
    return notes("engine"), notes("kernel"), notes("shape")


def unlike(results: StressResults, mine: GpuInfo, sample: Sample) -> str | None:
    """How a digest differs from what most GPUs of the same architecture have for that kernel and shape.

    A library promises the same bits on GPUs with as many multiprocessors alone (cuBLAS documentation, results
    reproducibility), so its products are compared within a model.
    """
    alike = {
        info.key for info in results.gpus if info.arch == mine.arch and mine.arch not in ("cpu", "opencl") and (
            is_own(sample) or (info.name, info.compute_units) == (mine.name, mine.compute_units))}
    what, same = sample.what, _ground(sample)
    digests: dict[str, object] = {}
    for (name, key, _), some in by_kind(results).items():
        if name == what and key in alike:
            last = next((one for one in reversed(some) if _ground(one) == same), None)
            if last is not None:
                digests[key] = last.notes.get("digest")
    (most, count), *_ = Counter(digests.values()).most_common() or [(None, 0)]
    own = digests.get(sample.gpu)
    if own is None or len(set(digests.values())) == 1 or (own == most and count > len(digests) / 2):
        return None
    others = "the other" if len(digests) == 2 else f"{count} others of its model"
    return f"{sample.what}: its product has other bits than that of {others}"


def judge_digests(
    results: StressResults, info: GpuInfo, samples: Sequence[Sample], compared: Sequence[Sample], help: tuple[str, ...]
) -> Finding:
    """Products known by digest: the same bits each time on this GPU, and on those that are alike for what is
    `compared`. A pass says how many of the products were digested."""
    alone = judge_wrong(results, info.key, samples, "digest", help)
    if alone.outcome.value == "fail":
        return alone
    # What `unlike` looks at is the same for all samples of one kind; a day has hundreds of thousands of them.
    # Notes of a stored run are mostly one object, so that few are looked into.
    kinds = {(one.what, *_ground(one)): one for one in {(one.what, id(one.notes)): one for one in compared}.values()}
    odd = next((why for one in kinds.values() if (why := unlike(results, info, one))), None)
    if odd is not None:
        subject = subject_of(results, info.key)
        return failed(
            subject, odd, cause=cause_of(results, info.key), where=str(subject), help=help,
            title=f"{subject}: wrong results")
    told = [one for one in samples if "products" in one.notes]
    if alone.outcome.value != "pass" or len(told) < len(samples):
        return alone
    checked, products = sum([one.checked for one in told]), sum([int(one.notes["products"]) for one in told])
    return msgspec.structs.replace(
        alone, says=f"{checked} of {many(max(checked, products), 'product')} compared, none wrong")
