"""Judgements on the common load step: products stay right through it, and it is common."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.model import Finding, Limit
from boxcheck.profile import Profile
from boxcheck.registry import check, passed, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.ceilings import IMPOSSIBLE, too_fast
from boxcheck.stress.judging import judge_value, once, per_gpu, subject_of
from boxcheck.stress.product_judging import judge_digests, judge_self_test
from boxcheck.stress.pulse_lateness import LATE_PERCENT, TOO_LATE_PERCENT, late_of

PART = 0.8
"""Of the pulses of each GPU, and of the time in which any GPU pulsed: less is no common step."""
EXACTNESS = 1e-6
"""Seconds: what arithmetic on times loses."""
LATE = Limit("power-pulse.late", "le", should=LATE_PERCENT, must=TOO_LATE_PERCENT, unit="%", source=(
    "computed: at a tenth of the half period the GPUs still rise together; at a quarter the step is no step"))


@check("power-pulse.repeatability", reads=[StressResults], stress="power-pulse")
def repeatability(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A product came out with other bits while all GPUs switched their load together.

    Why it matters: the step from rest to full power makes every supply voltage dip. A GPU that computes wrongly then
    gets too little voltage, from the supply, its cables or its own regulators.
    What to do: spread the cards over the supplies, a cable of its own for each connector; then a lower power limit.
    Not a fault: rounding; the same kernel on the same data gives the same bits. Pulses at a rate that the GPU cannot
    reach are unknown: products were left out, or a clock lies.
    By hand: boxcheck stress run power-pulse --seconds 60
    """
    for info, samples in per_gpu(results, "power-pulse.bf16"):
        found = judge_digests(results, info, samples, samples, (
            "give each power connector a cable of its own, and spread the cards over the supplies",
            "boxcheck stress run power-pulse with one GPU at a time tells the card from the supply"))
        impossible = too_fast(info, samples) if info.is_gpu and results.full_size else None
        if impossible is not None and found.outcome.value == "pass":
            found = unknown(found.subject, impossible, help=IMPOSSIBLE)
        yield found


@check("power-pulse.self-test", reads=[StressResults], stress="power-pulse")
def self_test(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A matrix kernel of boxcheck that makes the pulses is wrong on this GPU.

    Why it matters: as of matmul.self-test: what multiplies, and what compares, must have proven itself on this GPU.
    What to do: please report it, with the output of `boxcheck stress run power-pulse --json -`.
    Not a fault: of the GPU, unless the portable kernel is wrong as well: boxcheck stress run matmul says so too.
    """
    for info in results.gpus:
        yield judge_self_test(results, info, whole=True)


@check("power-pulse.together", reads=[StressResults], stress="power-pulse")
def together(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The GPUs did not make their pulses at the same time.

    Why it matters: a GPU that began late, or missed pulses, did not step with the others: the supplies did not see the
    load that the test is for.
    What to do: stop what else runs on the host, and repeat it for longer. A GPU that was not ready minutes after the
    others is left behind, and stress.completed says what it was at.
    Not a fault: of the GPU; this judges whether the test was one.
    By hand: boxcheck stress run power-pulse --seconds 60 --json - shows first_pulse, last_pulse, pulses and missed
    """
    for info, samples in per_gpu(results, "power-pulse.bf16"):
        subject, own = subject_of(results, info.key), [one for one in samples if "hertz" in one.notes]
        short = next((why for one in own if (why := _apart(results, one))), None)
        if not own:
            yield unknown(subject, "no pulse was made")
        elif short:
            yield unknown(subject, short, help=("stop what else runs on the host, and run it for longer",))
        else:
            number = sum(int(one.notes["pulses"]) for one in own)
            yield passed(subject, f"{number} pulses, with those of {len(results.gpus)} GPUs" if len(
                results.gpus) > 1 else f"{number} pulses")


def _apart(results: StressResults, mine: Sample) -> str | None:
    """Why the pulses of a frequency were not common ones of all GPUs; None where they were."""
    hertz = float(mine.notes["hertz"])
    pulses, planned, missed = (int(mine.notes.get(name, 0)) for name in ("pulses", "planned", "missed"))
    if not pulses:
        return f"{hertz:g} Hz: no pulse was made, {missed} missed"
    if pulses < PART * max(planned, pulses + missed):
        return f"{hertz:g} Hz: {pulses} of {max(planned, pulses + missed)} pulses were made"
    spans = once(results, ("power-pulse.spans", hertz), lambda: _spans(results, hertz))
    absent = [info.key for info in results.gpus if info.key not in spans]
    if absent:
        return f"{hertz:g} Hz: no pulse of {', '.join(absent)}"
    first, last = max(one[0] for one in spans.values()), min(one[1] for one in spans.values())
    whole = max(one[1] for one in spans.values()) - min(one[0] for one in spans.values())
    common = max(0.0, last - first)
    if common < PART * whole - EXACTNESS:
        return f"{hertz:g} Hz: all GPUs pulsed together for {common:.1f} of {whole:.1f} s"
    return None


def _spans(results: StressResults, hertz: float) -> dict[str, tuple[float, float]]:
    """From when to when each GPU pulsed, by its last sample."""
    spans: dict[str, tuple[float, float]] = {}
    for one in results.named("power-pulse.bf16"):
        if one.notes.get("hertz") == hertz and "first_pulse" in one.notes:
            spans[one.gpu] = float(one.notes["first_pulse"]), float(one.notes["last_pulse"]) + 1 / hertz
    return spans


@check("power-pulse.edges", reads=[StressResults], stress="power-pulse")
def edges(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU did not start its pulses with the others.

    Why it matters: the test is the common step. A worker that comes late, because the host is busy or swaps, makes it a
    ramp, and then it proves less.
    What to do: stop what else runs on the host.
    Not a fault: of the GPU; this judges whether the test was one. One pulse in a hundred may be late, and it is told.
    """
    for info, samples in per_gpu(results, "power-pulse.bf16"):
        own = [one for one in samples if "late_percent" in one.notes]
        if not own:
            yield unknown(subject_of(results, info.key), "no pulse was made")
            continue
        value, says = late_of(own)
        found = judge_value(
            results, info.key, value, LATE, says, ("stop what else runs on the host, and run it once more",))
        if found.outcome.value == "fail":
            yield unknown(found.subject, f"{found.says}: no common step", help=found.help)
        else:  # no fault of the GPU's
            yield msgspec.structs.replace(found, cause="host-busy:pulses" if found.help else None, title=(
                "the host is too busy for a common load step" if found.help else None))
