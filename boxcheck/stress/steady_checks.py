"""Judgements on how a long run went: whether a GPU that is warm stays as fast, and whether it comes to rest in heat.

Both look away from the first WARM_SECONDS: a GPU that warms up becomes hotter and a little slower, as it must.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from boxcheck.model import Finding, Outcome
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import judge_value, middle, subject_of
from boxcheck.stress.kept import judge_kept, percent
from boxcheck.stress.tally import Watching

KEPT = limit(
    "stress.kept_percent", float, "ge", "%",
    "Rate of a GPU at the end of a long run, of its rate once it was warm.", low=1, high=100)
CLIMB = limit(
    "stress.climb_celsius_per_minute", float, "le", "°C/min",
    "How fast a GPU may still become hotter at the end of a long run.", low=0.01, high=60)
WARM_SECONDS = 600.0
"""Until a GPU counts as warm. A heat sink of 1.5 kg of aluminium (1.35 kJ/K) at 0.1 to 0.15 K/W, as cards of 350 to
450 W have it, comes to rest with a time constant of 135 to 200 s (computed): after 600 s at most a twentieth is left.
A water loop takes twice as long, for which the limits leave room."""
LEAST_SECONDS = 900.0
"""A run below it is not judged: no third of it lies behind the warm-up."""
STEADY_POWER = 0.05
"""Part by which power may change in the last third, for its heat to say something of the cooling."""
LEAST_SAMPLES = 4
"""Of each end: a median of fewer is one piece of work."""


@check("stress.kept-rate", reads=[StressResults, Watching], limits=[KEPT], stress="*")
def kept_rate(results: StressResults, watching: Watching, want: Profile) -> Iterator[Finding]:
    """A GPU that was warm became slower still.

    Why it matters: after ten minutes a sound GPU is as hot as it gets and keeps its rate to the day's end. One that
    goes on losing some percent gathers heat somewhere that no sensor shows, or its supply gives way.
    What to do: look at what held its clock down (stress.throttled) and at the temperatures of junction and memory; then
    boxcheck doctor thermal power (ends in PARTIAL).
    Not a fault: what is lost in the first ten minutes (the rate-drop checks judge that), a run below 15 minutes, a
    processor's rate, which other programs share.
    By hand: boxcheck stress run matmul --seconds 1800 --json -, the values in order
    """
    bound, good = want.limit(KEPT), _good(results)
    for info in results.gpus:
        subject, own = subject_of(results, info.key), good.get(info.key, [])
        total = sum([one.seconds for one in own])
        length = max(total, watching.seconds)
        if not info.is_gpu or not results.full_size:
            yield skipped(subject, "a processor's rate is not judged" if not info.is_gpu else "test sizes")
        elif length < LEAST_SECONDS:
            yield skipped(subject, f"it ran for {length:.0f} s; {LEAST_SECONDS:.0f} s tell")
        elif bound is None:
            yield skipped(subject, f"the profile sets no {KEPT}")
        elif (ends := kept_after(own, WARM_SECONDS / length)) is None:
            yield unknown(subject, "too few pieces of work were timed after it was warm")
        else:
            yield judge_kept(
                results, info, ends, bound,
                f"at the end {ends:.1f} % of its rate when it was warm, {(length - WARM_SECONDS) / 60:.0f} min before",
                ("watch temperatures, power and throttle reasons while it runs: heat that no sensor shows, or the "
                 "supply",))


def _good(results: StressResults) -> dict[str, list[Sample]]:
    """By device, those whose rate counts. In one go: a day has hundreds of thousands."""
    found: dict[str, list[Sample]] = {}
    for one in results.samples:
        if one.value and one.checked and not one.wrong and one.unit != "us":
            found.setdefault(one.gpu, []).append(one)
    return found


def kind_of(one: Sample) -> tuple[object, ...]:
    """What makes two rates comparable within a run."""
    return (one.what, one.peer, one.unit, *(
        one.notes.get(name) for name in ("engine", "kernel", "shape", "bytes", "together", "links", "accounting")))


def kept_after(samples: Sequence[Sample], warm: float) -> float | None:
    """The rate of the last third of what is left after a part `warm` of the work, in percent of that of its first
    third. Samples of several kinds are each taken as a part of the median of their kind. None for too few."""
    values: dict[tuple[object, ...], list[float]] = {}
    # Notes of a stored run are mostly one object, so that few are looked into.
    known: dict[tuple[object, ...], tuple[object, ...]] = {}
    kinds: list[tuple[object, ...]] = []
    for one in samples:
        alike = (one.what, one.peer, one.unit, id(one.notes))
        if alike not in known:
            known[alike] = kind_of(one)
        kinds.append(known[alike])
    for one, kind in zip(samples, kinds, strict=True):
        values.setdefault(kind, []).append(one.value or 0.0)
    medians = {kind: middle(some) for kind, some in values.items() if len(some) >= 2}
    ends = list(accumulate([one.seconds for one in samples]))
    if not ends or not medians:
        return None
    third = (1 - warm) / 3
    first: list[float] = []
    last: list[float] = []
    for one, kind, end in zip(samples, kinds, ends, strict=True):
        own = medians.get(kind)
        place = end / ends[-1]
        if own and warm <= place <= warm + third:
            first.append((one.value or 0.0) / own)
        elif own and place > 1 - third:
            last.append((one.value or 0.0) / own)
    if len(first) < LEAST_SAMPLES or len(last) < LEAST_SAMPLES:
        return None
    return percent(last, first)


@check("stress.still-heating", reads=[StressResults, Watching], limits=[CLIMB], stress="*")
def still_heating(results: StressResults, watching: Watching, want: Profile) -> Iterator[Finding]:
    """A GPU was still becoming hotter when a long run ended.

    Why it matters: its temperature at the end is not the one that it will have after an hour. A fan that slows down,
    air that goes in a circle, a room that is too small: the run ended before the heat was where it is going.
    What to do: run it for longer, and look at the fans and at the air between the cards; a profile's limit of heat is
    met when the temperature has come to rest below it.
    Not a fault: the first ten minutes, a run below 15 minutes, a rise for which power rose too.
    By hand: watch -n 10 nvidia-smi -q -d TEMPERATURE; sensors 'amdgpu-*'
    """
    bound = want.limit(CLIMB)
    for info in results.gpus:
        subject, course = subject_of(results, info.key), watching.courses.get(info.key)
        climb = course.climb if course is not None else None
        if not info.is_gpu and climb is None:
            yield skipped(subject, "a processor; doctor judges its temperature")
        elif watching.seconds < LEAST_SECONDS:
            yield skipped(subject, f"it was watched for {watching.seconds:.0f} s; {LEAST_SECONDS:.0f} s tell")
        elif bound is None:
            yield skipped(subject, f"the profile sets no {CLIMB}")
        elif course is None or climb is None or course.seconds < 0.9 * watching.seconds:
            why = watching.silent.get(info.key, "too few temperatures were read")
            yield unknown(subject, f"whether it came to rest was not read: {why}")
        else:
            found = judge_value(
                results, info.key, climb.celsius_per_minute, bound,
                f"{climb.sensor} {climb.celsius_per_minute:+.2f} °C a minute in the last {climb.seconds / 60:.0f} "
                f"minutes, {climb.celsius:g} °C at the end",
                ("run it for longer, and look at fans and at the air between the cards",))
            yield found if found.outcome is Outcome.PASS else _by_power(found, climb.watts)


def _by_power(found: Finding, watts: tuple[float, float] | None) -> Finding:
    """The same; unknown where the power is not known, skipped where it rose as well."""
    if watts is None:
        return unknown(found.subject, f"{found.says}; whether its power rose was not read")
    before, after = watts
    if after > before * (1 + STEADY_POWER):
        return skipped(found.subject, f"{found.says}; its power rose from {before:.0f} to {after:.0f} W")
    return msgspec.structs.replace(found, says=f"{found.says}, at a steady {after:.0f} W")
