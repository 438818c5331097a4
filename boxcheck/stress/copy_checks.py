"""Judgements on copies between host and GPU: what arrived, how fast, alike both ways, as fast as at the start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding, Limit
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.copy import DIRECTIONS, names
from boxcheck.stress.judging import asks, copies_cause, judge_value, judge_wrong, middle, per_gpu, subject_of
from boxcheck.stress.kept import small_sizes
from boxcheck.stress.transfer_judging import good, judge_drop, listed

RATES = {
    direction: limit(
        f"copy.{direction.replace('-', '_')}_gbs", float, "ge", "GB/s",
        f"Rate of copies {direction.replace('-', ' ')} with pinned memory, one GPU at a time.", low=0.01, high=2000)
    for direction in DIRECTIONS
}
ASYMMETRY = Limit("copy.asymmetry", "ge", must=50.0, should=75.0, unit="%", source=(
    "both directions of a PCIe link have the same lanes and the same clock; measured: 28.4 of 29.0 GB/s (RX 7900 XTX, "
    "ROCm issue 2253), 23.9 of 27.1 at most apart (RTX 4090 at x8, nvbandwidth issue 15)"))
FASTEST_GBS = 128.0
"""What a PCIe 6.0 x16 link carries one way at most (PCI-SIG: 64 GT/s x 16): the fastest slot that there is."""
FASTEST_C2C_GBS = 450.0
"""NVLink-C2C between a Grace and its GPU, one way (NVIDIA: 900 GB/s both ways)."""
FASTEST_UNIFIED_GBS = 2650.0
"""A copy within one memory reads and writes it: half of the fastest of a unified device (AMD MI300A: 5.3 TB/s)."""
C2C = re.compile(r"\bG[HB]\d{3}\b")
"""GH200, GB200, GB300: the runtime does not call them integrated."""
LINK = (
    "boxcheck doctor pcie (ends in PARTIAL): width and speed of the link, under load",
    "reseat the card and its riser; try the card in another slot",
    "run it on this GPU alone: boxcheck stress run copy --gpu N",
)
WRONG = (
    "run it on this GPU alone: boxcheck stress run copy --gpu N",
    "try the card in another slot, without a riser: a fault that stays behind is the slot's or the riser's",
    "boxcheck stress run dram vram: memory of the host, or of the GPU",
)


@check("copy.wrong-words", reads=[StressResults], stress="copy")
def wrong_words(results: StressResults, want: Profile) -> Iterator[Finding]:
    """What was copied between the host and a GPU arrived damaged, late or not at all.

    Why it matters: packets on the link have checksums, so what gets through them is a fault of memory, of a bridge, of
    an IOMMU or of a driver; the owner's data takes the same way, and nothing tells them.
    What to do: run it on this GPU alone and in another slot; test the host's memory and the GPU's.
    Not a fault: corrected errors of the link, which cost time and no data; they are counted elsewhere.
    By hand: boxcheck stress run copy --seconds 60
    """
    for info, samples in per_gpu(results, "copy"):
        judged = judge_wrong(results, info.key, samples, "word", WRONG)
        compared = {one.what for one in samples if one.checked}
        impossible = too_fast(results, info, samples)
        missing = [name.removeprefix("copy.") for name in names() if name not in compared]
        if judged.outcome.value == "fail":
            yield judged
        elif impossible is not None:
            yield unknown(subject_of(results, info.key), impossible)
        elif not missing:
            yield judged
        else:
            refused = "; ".join(str(one.notes["says"]) for one in samples if one.what == "copy.refused")
            says = f"not compared: {listed(missing)}" + (f" ({refused})" if refused else "")
            yield unknown(subject_of(results, info.key), says)


def too_fast(results: StressResults, info: GpuInfo, samples: Sequence[Sample]) -> str | None:
    """Which copies took less time than any link can do them in, in words; None where none did."""
    if not info.is_gpu or not results.full_size:
        return None
    fastest = (
        FASTEST_UNIFIED_GBS if info.unified else FASTEST_C2C_GBS if C2C.search(info.name) else FASTEST_GBS)
    kinds: dict[str, list[float]] = {}
    for one in good(samples):
        if one.unit == "GB/s":
            kinds.setdefault(one.what.removeprefix("copy."), []).append(one.value or 0.0)
    found = [f"{what} {middle(values):.0f} GB/s" for what, values in kinds.items() if middle(values) > fastest]
    return f"{listed(found)}: faster than any link ({fastest:g} GB/s): nothing may have been copied" if found else None


def alone(results: StressResults, samples: Sequence[Sample]) -> list[Sample]:
    """Those that were taken while no other GPU copied."""
    return [one for one in good(samples) if one.notes.get("together") == "no" or len(results.gpus) == 1]


@check("copy.rate", reads=[StressResults], limits=tuple(RATES.values()), stress="copy")
def rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """Copies between the host and a GPU are slower than the profile asks.

    Why it matters: a link with half its lanes or at an older generation still carries everything, at half the speed;
    risers and slots are the usual cause.
    What to do: look at the link's width and speed under load, along the whole path from the root port.
    Not a fault: less speed while all GPUs copy at once, which share the host's memory; a rate is judged where a GPU
    copied alone, or where it is reached in spite of the others. A processor's rate. A rate that no link can have is
    unknown: nothing may have been copied.
    By hand: boxcheck stress run copy --gpu N
    """
    for info, samples in per_gpu(results, "copy"):
        subject = subject_of(results, info.key)
        if not info.is_gpu or not results.full_size:
            yield skipped(subject, "a processor's rate is not judged")
            continue
        impossible = too_fast(results, info, samples)
        if impossible is not None:
            yield unknown(subject, impossible)
            continue
        for direction, name in RATES.items():
            bound, words = want.limit(name), direction.replace("-", " ")
            named = [one for one in samples if one.what == f"copy.{direction}.pinned"]
            single = alone(results, named)
            taken = single or good(named)
            value = middle([one.value or 0.0 for one in taken]) if taken else None
            if bound is None:
                measured = "nothing was timed" if value is None else f"{value:.1f} GB/s"
                yield skipped(subject, f"the profile sets no rate {words}; {measured}")
            elif value is None:
                yield unknown(subject, f"{words}: no copy was timed and found right")
            else:
                found = judge_value(
                    results, info.key, value, bound, f"{words}: {value:.1f} GB/s, {asks(bound, value)}", LINK,
                    copies_cause(results, info.key))
                yield found if single or found.outcome.value == "pass" else unknown(
                    subject, f"{words}: {value:.1f} GB/s while all GPUs copied, not measured alone",
                    help=("run it on this GPU alone: boxcheck stress run copy --gpu N",))


@check("copy.asymmetry", reads=[StressResults], stress="copy")
def asymmetry(results: StressResults, want: Profile) -> Iterator[Finding]:
    """One direction between host and GPU is far slower than the other.

    Why it matters: a link is the same in both directions, so a slow one is repairing damaged packets, or something on
    its way holds it back: a lane pair, a retimer, an IOMMU, the host's memory of another socket.
    What to do: boxcheck doctor aer (ends in PARTIAL) says which end counts damaged packets; swap the riser.
    Not a fault: ten or twenty percent; an APU, which copies within one memory.
    By hand: boxcheck stress run copy --gpu N
    """
    for info, samples in per_gpu(results, "copy"):
        subject = subject_of(results, info.key)
        if not info.is_gpu or info.unified or not results.full_size:
            yield skipped(subject, "there is no link to a memory of its own")
            continue
        rates = {
            direction: middle(values) for direction in DIRECTIONS if (values := [
                one.value or 0.0 for one in alone(results, samples) if one.what == f"copy.{direction}.pinned"])}
        if len(rates) < 2:
            timed = len({one.what for one in good(samples)} & {f"copy.{name}.pinned" for name in DIRECTIONS}) == 2
            yield skipped(subject, "measured only while all GPUs copied") if timed else unknown(
                subject, "not both directions were timed and found right")
            continue
        slow, fast = sorted(rates, key=lambda direction: rates[direction])
        part = 100.0 * rates[slow] / rates[fast] if rates[fast] else 0.0
        yield judge_value(
            results, info.key, part, ASYMMETRY,
            f"{slow.replace('-', ' ')} {rates[slow]:.1f} GB/s, {fast.replace('-', ' ')} {rates[fast]:.1f} GB/s", LINK,
            copies_cause(results, info.key))


@check("copy.rate-drop", reads=[StressResults], stress="copy")
def rate_drop(results: StressResults, want: Profile) -> Iterator[Finding]:
    """Copies between the host and a GPU became slower while they ran.

    Why it matters: a link that warms up and begins to repair packets, or falls back to fewer lanes, does so under load.
    What to do: boxcheck doctor pcie aer (ends in PARTIAL), right after the run; watch the link while it runs.
    Not a fault: a few percent; what small sizes on a processor give, which other programs share: not judged.
    """
    if (small := small_sizes(results)) is not None:
        yield small
        return
    yield from judge_drop(results, "copy", lambda info, one: one.gpu == info.key, LINK)
