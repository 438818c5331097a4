"""Judgements on device memory: every word right, nearly all tested, as fast as the profile asks and as at the start."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding, Limit, Outcome
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, marginal, passed, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.ceilings import IMPOSSIBLE
from boxcheck.stress.judging import asks, judge_value, judge_wrong, per_gpu, subject_of
from boxcheck.stress.kept import judge_kept, percent, small_sizes
from boxcheck.stress.vram_ceiling import COPIES, too_fast

COPY = limit(
    "vram.copy_gbs", float, "ge", "GB/s",
    "Rate of a copy within one GPU's memory, bytes read and bytes written counted together (copy_rw).",
    low=1, high=100_000)
FAMILIES = ("address", "retention", "inversion", "random", "walking")
HELD_PERCENT = 95.0
FREE_PERCENT = 80.0
"""Driver, context and a desktop take up to 1.5 of 8 GiB; more is another program's."""
SPILLED_PERCENT = 50.0
"""Over its link, both ways together, every GPU of gpus.toml reaches at most 46 % of its own memory's rate (computed:
RX 9060 XT, PCIe 5.0 x16; most reach a tenth)."""
DROP = Limit("vram.drop", "ge", must=50.0, should=85.0, unit="%", source=(
    "half the rate is a memory clock that fell; 15 % is twice the spread between GPUs of one box (SuperBench's "
    "published spread of 5 to 8 %)"))
DROP_PROCESSOR = Limit("vram.drop", "ge", must=25.0, unit="%", source=(
    "other programs share a processor, so only a collapse counts"))
ALONE = "run it on this GPU alone: boxcheck stress run vram --gpu N"
COOLER = (
    "cool it, lower its power limit and undo overclocking of its memory: a fault that goes away with that is heat or "
    "clock")
REPLACE = "a fault that stays with the card in another slot is the card's memory: replace the card"
HELP: dict[str, tuple[str, ...]] = {
    "read": (ALONE, COOLER, REPLACE),
    "lost-write": (ALONE, "boxcheck triage on the kernel log: did the driver reset the GPU?", REPLACE),
    "address-line": (ALONE, REPLACE),
    "misplaced": (ALONE, "update driver and firmware of the GPU: page tables are theirs", REPLACE),
    "data-line": (ALONE, COOLER, REPLACE),
    "range": (ALONE, "boxcheck triage on the kernel log: ECC, page retirement, a reset at that time", REPLACE),
    "cell": (ALONE, "a cell that is wrong again at the same place is bad: replace the card, or have its page retired"),
    "cells": (ALONE, COOLER, REPLACE),
    "scattered": (COOLER, ALONE, REPLACE),
    "garbled": (ALONE, COOLER, REPLACE),
    "unseen": (
        "boxcheck stress run matmul copy --gpu N: does the GPU still do what it is told?",
        "boxcheck triage on the kernel log: did the driver reset the GPU?"),
}


def _families(samples: tuple[Sample, ...]) -> dict[str, int]:
    """Words compared, by family of patterns."""
    sums = dict.fromkeys(FAMILIES, 0)
    for one in samples:
        family = one.what.removeprefix("vram.")
        if family in sums:
            sums[family] += one.checked
    return sums


@check("vram.wrong-words", reads=[StressResults], stress="vram")
def wrong_words(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU's memory did not hold what was written to it.

    Why it matters: whatever lies in such a place is silently wrong: weights, activations, results. The finding says
    what the wrong words have in common: a data line, an address line, a lost write, a range, single cells, or reading.
    What to do: repeat it on this GPU alone, cooler, and without overclocked memory; what stays with the card is the
    card's.
    Not a fault: memory that other programs hold, which is not touched; what ECC corrected before it was read, which
    only the driver's counters tell. A pass faster than the memory can be is unknown: it did not look at every word.
    By hand: boxcheck stress run vram --seconds 60
    """
    for info, samples in per_gpu(results, "vram"):
        passes = tuple(one for one in samples if one.what.removeprefix("vram.") in FAMILIES)
        compared = (*passes, *(one for one in samples if one.what in COPIES))
        finding = judge_wrong(results, info.key, compared, "word", HELP["cells"])
        impossible = too_fast(results, info, samples)
        if finding.outcome is Outcome.FAIL:
            yield _explained(finding, compared)
        elif any(one.wrong for one in samples if one.what == "vram.self-test"):
            yield unknown(subject_of(results, info.key), "its kernels do not see all damage done: vram.self-test")
        elif impossible is not None:
            yield unknown(subject_of(results, info.key), impossible, help=IMPOSSIBLE)
        elif not passes:
            yield unknown(subject_of(results, info.key), "no pattern was compared")
        else:
            done = [family for family, words in _families(passes).items() if words]
            yield msgspec.structs.replace(finding, notes=(f"patterns: {', '.join(done)}",))


def _explained(finding: Finding, samples: tuple[Sample, ...]) -> Finding:
    """The finding with what the wrong words have in common: the last failing pass tells it of all before it."""
    told = [one for one in samples if one.wrong and "looks_like" in one.notes]
    if not told:
        return msgspec.structs.replace(finding, says=f"{finding.says}, in copies within the memory")
    # Most words are named in the first failing passes, which were looked into.
    return msgspec.structs.replace(
        finding, says=f"{finding.says}: {told[-1].notes['looks_like']}", help=HELP[str(told[-1].notes["fault"])])


@check("vram.self-test", reads=[StressResults], stress="vram")
def self_test(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU does not see damage that was put into its memory, or writes other patterns than it should.

    Why it matters: each kernel of the test first works on a few thousand words that numpy compares, and must find the
    three that were damaged. A GPU that fails this would pass any memory, so nothing else of this run counts.
    What to do: boxcheck stress run matmul on the same GPU; if that is right, please report it.
    Not a fault: of the memory alone; it may be the GPU's arithmetic, or the driver's compiler.
    """
    for info, samples in per_gpu(results, "vram"):
        yield judge_wrong(
            results, info.key, tuple(one for one in samples if one.what == "vram.self-test"), "word",
            ("boxcheck stress run matmul --gpu N; if that is right, please report this",))


@check("vram.coverage", reads=[StressResults], stress="vram")
def coverage(results: StressResults, want: Profile) -> Iterator[Finding]:
    """Less than 95 % of a GPU's free memory was tested, or not by every pattern.

    Why it matters: what was not tested is not passed. Free is what the driver can still give out; of memory that a GPU
    shares with the host, what the host does not need itself.
    What to do: end other programs that use the GPU (nvidia-smi, fuser -v /dev/kfd); give the test more time.
    Not a fault: of the GPU. What driver and kernel hold for themselves is never tested.
    By hand: nvidia-smi --query-gpu=memory.free,memory.total --format=csv; rocm-smi --showmeminfo vram
    """
    for info, samples in per_gpu(results, "vram"):
        subject = subject_of(results, info.key)
        passes = tuple(one for one in samples if one.what.removeprefix("vram.") in FAMILIES)
        if not info.is_gpu or not results.full_size:
            yield skipped(subject, "of a processor's memory only a little is tested")
        elif not passes:
            yield unknown(subject, "no memory was tested")
        else:
            yield _covered(results, info, passes)


def _covered(results: StressResults, info: GpuInfo, passes: tuple[Sample, ...]) -> Finding:
    subject, notes = subject_of(results, info.key), passes[-1].notes
    held, usable = int(notes["held_bytes"]), int(notes["usable_bytes"])
    percent = 100.0 * held / usable if usable else 0.0
    missing = [family for family, words in _families(passes).items() if 4 * words < held]
    of = notes.get("usable")
    says = f"{percent:.1f} % of {_gib(usable)}{f' ({of})' if of else ' that were free'} was tested"
    slowest = float(notes.get("slowest_percent", 100.0))
    if percent < HELD_PERCENT:
        return unknown(subject, f"{says}, not {HELD_PERCENT:.0f} %", help=(
            "end other programs that use this GPU, and test again without megabytes=",))
    if missing:
        return unknown(subject, f"{says}, but not all of it by {' and '.join(missing)}: the time was too short", help=(
            "give it more time: boxcheck stress run vram --seconds 120",))
    if slowest < SPILLED_PERCENT and not info.unified:
        return unknown(
            subject, f"{says}, but block {notes['slowest_block']} runs at {slowest:.0f} % of the others' rate: the "
            "driver seems to have put it into the host's memory", help=("end other programs that use this GPU",))
    free = 100.0 * int(notes["free_bytes"]) / info.memory_bytes if info.memory_bytes else 0.0
    if free < FREE_PERCENT and not info.unified:
        return marginal(
            subject, f"{says}, but of the GPU's {_gib(info.memory_bytes)} only {free:.0f} % was free",
            help=("end other programs that use this GPU: nvidia-smi, or fuser -v /dev/kfd, names them",),
            cause=f"gpu-shared:{info.bdf or info.key}", where=str(subject),
            title=f"{subject}: other programs hold part of its memory")
    return passed(subject, f"{says}, by every pattern")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.1f} GiB"


def _copy(samples: tuple[Sample, ...]) -> Sample | None:
    """The fastest copy that was right."""
    right = [one for one in samples if one.what in COPIES and one.value is not None and not one.wrong and one.checked]
    return max(right, key=lambda one: one.value or 0.0, default=None)


@check("vram.rate", reads=[StressResults], limits=[COPY], stress="vram")
def rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU's memory is slower than the profile asks.

    Why it matters: most work on a GPU waits for its memory. A low rate is a memory clock that does not rise, a bus that
    is narrower than it should be, or heat.
    What to do: nvidia-smi -q -d CLOCK,PERFORMANCE, or pp_dpm_mclk of the card, while it runs.
    Not a fault: a processor's rate, which is not judged. The rate counts bytes read and bytes written; tools that count
    the bytes of a copy once show half of it.
    """
    bound = want.limit(COPY)
    for info, samples in per_gpu(results, "vram"):
        subject, best = subject_of(results, info.key), _copy(samples)
        impossible = too_fast(results, info, samples)
        if impossible is not None:
            yield unknown(subject, impossible, help=IMPOSSIBLE)
        elif not info.is_gpu or not results.full_size:
            yield skipped(subject, "a processor's rate is not judged")
        elif best is None or best.value is None:
            yield unknown(subject, "no copy was timed and right")
        elif bound is None:
            yield skipped(subject, f"the profile sets no rate; copied at {best.value:.0f} GB/s")
        else:
            way = "the copy engine" if best.what == "vram.copy.engine" else "a kernel"
            yield judge_value(
                results, info.key, best.value, bound,
                f"copied at {best.value:.0f} GB/s by {way} (read and written), {asks(bound, best.value)}",
                ("nvidia-smi -q -d CLOCK,PERFORMANCE, or pp_dpm_mclk, while it runs: memory clock, heat, power",))


@check("vram.rate-drop", reads=[StressResults], stress="vram")
def rate_drop(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU's memory became slower while it was tested.

    Why it matters: memory that grows hot is refreshed more often, then clocked down; what falls off under test falls
    off under load.
    What to do: look at the temperature of the memory, at fans and pads;
    boxcheck doctor thermal power (ends in PARTIAL).
    Not a fault: a few percent; what small sizes on a processor give, which other programs share: not judged.
    """
    if (small := small_sizes(results)) is not None:
        yield small
        return
    for info, samples in per_gpu(results, "vram"):
        subject = subject_of(results, info.key)
        rates = [one.value for one in samples if one.what == "vram.inversion" and one.value is not None
                 and one.notes.get("accounting") == "read+write"]
        if len(rates) < 4:
            yield skipped(subject, "it ran too briefly to tell") if samples else unknown(subject, "nothing was timed")
            continue
        kept = kept_percent(rates)
        yield judge_kept(
            results, info, kept, DROP if info.is_gpu else DROP_PROCESSOR,
            f"at the end {kept:.0f} % of the rate at the start",
            ("watch the temperature of the memory while it runs: fans, pads, air",))


def kept_percent(rates: list[float]) -> float:
    """The last quarter's rate in percent of the first half's."""
    return percent(rates[-max(1, len(rates) // 4):], rates[:len(rates) // 2])


