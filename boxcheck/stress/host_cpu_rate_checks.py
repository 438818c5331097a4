"""Judgements on how fast the processor's cores compute: as the profile asks, all alike, and to the end.

A core's own rate is that of the time in which it was the test's own: what other programs took of it does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.checks.wording import broken_bound, judged
from boxcheck.model import Finding, Limit, Outcome, Quantity
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, outcome_of, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.host_cpu_checks import by_core, core_cause, core_subject, keys, named
from boxcheck.stress.judging import many, middle, subject_of
from boxcheck.stress.kept import first_and_last

RATE = limit(
    "cpu.fp64_gflops", float, "ge", "GFLOPS", "Rate of fp64 matrix products, all cores of the box together.",
    low=1, high=1_000_000)
SPREAD = limit(
    "cpu.spread_percent", float, "le", "%", "How far the slowest core may stay behind the middle one of its kind.",
    low=1, high=90)
KEPT = Limit("cpu.rate-drop", "ge", must=25.0, unit="%", source=(
    "the power limit of a laptop falls to less than half after its first half minute, which is no fault; a quarter is "
    "a clock at its emergency floor"))
LEAST_BUSY_PERCENT = 80.0
"""Of the time the cores must have been the test's own, for a rate below the limit to be the processor's."""
LEAST_PIECES = 4
LEAST_CORES = 3
"""To say which of them is slow: of two nobody knows."""
SMALL = "small sizes; their rate is not judged"


@check("cpu.rate", reads=[StressResults], limits=[RATE], stress="cpu")
def rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """All cores together multiply more slowly than the profile asks.

    Why it matters: a processor that is held at a low clock (heat, a power limit, a power-saving governor, cores that
    are switched off) gives right results late, and holds up the GPUs that it feeds.
    What to do: boxcheck doctor cpu thermal power (ends in PARTIAL); look at the cooler, and at the power limits of the
    BIOS (cTDP, PPT).
    Not a fault: a processor that other programs use at the same time; the check is unknown then. Another matrix
    library than the limit was measured with: the finding names it.
    By hand: boxcheck stress run cpu --seconds 60; cpupower frequency-info
    """
    bound = want.limit(RATE)
    for key in keys(results):
        subject, value, says = subject_of(results, key), 0.0, ""
        sample = next((one for one in named(results, key, ".together") if one.what == "cpu.fp64.together"), None)
        if sample is not None and sample.value is not None and sample.checked and not sample.wrong:
            value = sample.value
            by = f"{sample.notes.get('library')} ({sample.notes.get('core_name')})"
            says = f"fp64: {value:.0f} GFLOPS on {sample.notes.get('cores')} cores by {by}"
        if not results.full_size:
            yield skipped(subject, SMALL)
        elif not says:
            yield unknown(subject, "fp64: no rate with right results")
        elif bound is None:
            yield skipped(subject, f"the profile sets no rate; {says}")
        else:
            busy = busy_percent(_timed(results, key))
            says = f"{says}, {broken_bound(value, bound)}"
            spared = sample.notes.get("spared_cores") if sample is not None else None
            if outcome_of(value, bound) is not Outcome.PASS and spared:
                yield skipped(subject, f"not judged beside GPUs, to which {spared} cores were left; {says}")
            elif outcome_of(value, bound) is not Outcome.PASS and busy < LEAST_BUSY_PERCENT:
                yield unknown(
                    subject, f"{says}; other programs took {100 - busy:.0f} % of the cores' time", limit=bound,
                    measured=Quantity(value, bound.unit), help=("stop what else runs, and repeat",))
            else:
                yield judged(subject, value, bound, says, cause="cpu-slow:", help=(
                    "boxcheck doctor cpu thermal power (ends in PARTIAL)",
                    "look at the cooler, and at the power limits of the BIOS (cTDP, PPT)"))


def _timed(results: StressResults, key: str) -> list[Sample]:
    """What tells a core's rate in fp64."""
    return [one for one in named(results, key, ".exact") if one.what == "cpu.fp64.exact"]


def busy_percent(samples: Sequence[Sample]) -> float:
    """How much of the time the cores were the test's own."""
    spent = sum(one.seconds for one in samples)
    return sum(one.seconds * float(one.notes.get("busy_percent", 0.0)) for one in samples) / spent if spent else 0.0


def own_rate(samples: Sequence[Sample]) -> float | None:
    """A core's rate while it was the test's own."""
    values = [
        100 * one.value / busy for one in samples
        if one.value is not None and not one.wrong and (busy := float(one.notes.get("busy_percent", 0.0))) > 0]
    return middle(values) if values else None


@check("cpu.slow-core", reads=[StressResults], limits=[SPREAD], stress="cpu")
def slow_core(results: StressResults, want: Profile) -> Iterator[Finding]:
    """One core multiplies more slowly than the others of its kind.

    Why it matters: with all cores busy they run at nearly one clock. A core that stays far behind is throttled by
    itself, or shares its power with something; the slowest one sets the pace of what runs on all.
    What to do: boxcheck doctor cpu (ends in PARTIAL); look for a cpufreq policy of its own, and for pinned interrupts
    or a busy guest.
    Not a fault: what other programs took of a core, which is not counted; the small cores of a processor with two
    kinds, which are compared among themselves.
    By hand: boxcheck stress run cpu --seconds 60; grep MHz /proc/cpuinfo
    """
    bound = want.limit(SPREAD)
    for key in keys(results):
        subject = subject_of(results, key)
        kinds: dict[str, dict[int, float]] = {}
        for core, mine in by_core(_timed(results, key)).items():
            value = own_rate(mine)
            if value is not None:
                kinds.setdefault(str(mine[0].notes.get("core_kind", "")), {})[core] = value
        if not kinds:
            yield unknown(subject, "no core was timed with right results")
        for kind, rates in kinds.items():
            core, slowest = min(rates.items(), key=lambda item: item[1])
            behind = round(100.0 * (1 - slowest / middle([*rates.values()])), 3)
            of = f"{len(rates)} {kind} cores" if kind else f"{len(rates)} cores"
            says = f"core {core}, the slowest of {of}, does {slowest:.1f} GFLOPS, {behind:.1f} % behind the middle one"
            if not results.full_size:
                yield skipped(subject, SMALL)
            elif len(rates) < LEAST_CORES:
                are = "is" if len(rates) == 1 else "are"
                yield skipped(subject, f"{many(len(rates), 'core')} {are} too few to say which one is slow")
            elif bound is None:
                yield skipped(subject, f"the profile sets no spread; {says}")
            else:
                slow = outcome_of(behind, bound) is not Outcome.PASS
                yield judged(
                    core_subject(core) if slow else subject, behind, bound, f"{says}, {broken_bound(behind, bound)}",
                    cause=core_cause(core), help=(
                        "boxcheck doctor cpu thermal (ends in PARTIAL)",
                        "look for interrupts or guests that are pinned to this core"))


@check("cpu.rate-drop", reads=[StressResults], stress="cpu")
def rate_drop(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The cores became much slower while they ran.

    Why it matters: a clock that falls to a quarter is an emergency: a cooler that came off, a pump that stopped, a
    voltage regulator that overheats (PROCHOT).
    What to do: boxcheck doctor thermal (ends in PARTIAL); look at the cooler, and at the temperatures while it runs.
    Not a fault: some percent, and up to half on a laptop, whose power limit falls after the first seconds.
    By hand: watch -n 1 sensors
    """
    for key in keys(results):
        subject, samples = subject_of(results, key), named(results, key, ".exact")
        series = {
            (core, what): mine for what in dict.fromkeys(one.what for one in samples)
            for core, mine in by_core([one for one in samples if one.what == what]).items()}
        parts = {place: kept for place, mine in series.items() if (kept := kept_percent(mine)) is not None}
        if not parts:
            yield skipped(subject, "it ran too briefly to tell") if samples else unknown(subject, "nothing was timed")
            continue
        (core, what), kept = min(parts.items(), key=lambda item: item[1])
        fell = outcome_of(kept, KEPT) is not Outcome.PASS
        yield judged(
            core_subject(core) if fell else subject, kept, KEPT,
            f"{what}: core {core} did at the end {kept:.0f} % of what it did at the start", cause=core_cause(core),
            help=("look at the cooler, and at the temperatures while it runs",
                  "boxcheck doctor thermal (ends in PARTIAL)"))


def kept_percent(samples: Sequence[Sample]) -> float | None:
    """A core's own rate in the last quarter of its time in percent of that in the first half; None for too few
    pieces."""
    good = [one for one in samples if one.value is not None and not one.wrong and one.notes.get("busy_percent")]
    if len(good) < LEAST_PIECES:
        return None
    start, end = (own_rate(some) for some in first_and_last(good))
    return 100.0 * end / start if start and end is not None else None
