"""Judgements on the common load step: products stay right through it, and it is common."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.model import Finding, Limit
from boxcheck.profile import Profile
from boxcheck.registry import check, passed, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import judge_value, per_gpu, subject_of
from boxcheck.stress.product_judging import judge_digests, judge_self_test

PART = 0.8
"""Of the pulses of each GPU, and of the time in which any GPU pulsed: less is no common step."""
EXACTNESS = 1e-6
"""Seconds: what arithmetic on times loses."""
LATE = Limit("power-pulse.late", "le", should=10.0, must=25.0, unit="%", source=(
    "computed: at a tenth of the half period the GPUs still rise together; at a quarter the step is no step"))


@check("power-pulse.repeatability", reads=[StressResults], stress="power-pulse")
def repeatability(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A product came out with other bits while all GPUs switched their load together.

    Why it matters: the step from rest to full power makes every supply voltage dip. A GPU that computes wrongly then
    gets too little voltage, from the supply, its cables or its own regulators.
    What to do: spread the cards over the supplies, a cable of its own for each connector; then a lower power limit.
    Not a fault: rounding; the same kernel on the same data gives the same bits.
    By hand: boxcheck stress run power-pulse --seconds 60
    """
    for info, samples in per_gpu(results, "power-pulse.bf16"):
        yield judge_digests(results, info, samples, samples, (
            "give each power connector a cable of its own, and spread the cards over the supplies",
            "boxcheck stress run power-pulse with one GPU at a time tells the card from the supply"))


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
    What to do: stop what else runs on the host, and repeat it for longer; the first run on a machine also compiles.
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
    spans: dict[str, tuple[float, float]] = {}
    for one in results.named("power-pulse.bf16"):
        if one.notes.get("hertz") == hertz and "first_pulse" in one.notes:
            spans[one.gpu] = float(one.notes["first_pulse"]), float(one.notes["last_pulse"]) + 1 / hertz
    absent = [info.key for info in results.gpus if info.key not in spans]
    if absent:
        return f"{hertz:g} Hz: no pulse of {', '.join(absent)}"
    first, last = max(one[0] for one in spans.values()), min(one[1] for one in spans.values())
    whole = max(one[1] for one in spans.values()) - min(one[0] for one in spans.values())
    common = max(0.0, last - first)
    if common < PART * whole - EXACTNESS:
        return f"{hertz:g} Hz: all GPUs pulsed together for {common:.1f} of {whole:.1f} s"
    return None


@check("power-pulse.edges", reads=[StressResults], stress="power-pulse")
def edges(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU did not start its pulses with the others.

    Why it matters: the test is the common step. A worker that comes late, because the host is busy or swaps, makes it a
    ramp, and then it proves less.
    What to do: stop what else runs on the host.
    Not a fault: of the GPU; this judges whether the test was one.
    """
    for info, samples in per_gpu(results, "power-pulse.bf16"):
        late = [float(one.notes["late_percent"]) for one in samples if "late_percent" in one.notes]
        if not late:
            yield unknown(subject_of(results, info.key), "no pulse was made")
            continue
        found = judge_value(
            results, info.key, max(late), LATE, f"at most {max(late):.1f} % of a pulse late",
            ("stop what else runs on the host, and run it once more",))
        if found.outcome.value == "fail":
            yield unknown(found.subject, f"{found.says}: no common step", help=found.help)
        else:  # no fault of the GPU's
            yield msgspec.structs.replace(found, cause="host-busy:pulses" if found.help else None, title=(
                "the host is too busy for a common load step" if found.help else None))
