"""Judgements on the common load step: products stay right through it, and it is common."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.model import Finding, Limit
from boxcheck.profile import Profile
from boxcheck.registry import check, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.judging import judge_value, judge_wrong, per_gpu, subject_of

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
        yield judge_wrong(results, info.key, samples, "digest", (
            "give each power connector a cable of its own, and spread the cards over the supplies",
            "boxcheck stress run power-pulse with one GPU at a time tells the card from the supply"))


@check("power-pulse.edges", reads=[StressResults], stress="power-pulse")
def edges(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU did not start its pulses with the others.

    Why it matters: the test is the common step. A worker that comes late, because the host is busy or swaps, makes it a
    ramp, and then it proves less.
    What to do: stop what else runs on the host.
    Not a fault: of the GPU; this judges whether the test was one.
    """
    for info, samples in per_gpu(results, "power-pulse.bf16"):
        late = [float(one.notes.get("late_percent", 0.0)) for one in samples]
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
