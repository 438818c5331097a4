"""How late the pulses of a common load step began: what a sample tells of it, and what several samples tell together.

A night has a hundred thousand pulses, of which a host holds some up. So 99 of 100 are what counts, and a sample also
tells how many were beyond each bound of the check `power-pulse.edges`, which can be added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from boxcheck.stress import Sample

LATE_PERCENT, TOO_LATE_PERCENT = 10.0, 25.0
"""Of a pulse: the bounds of `power_pulse_checks.LATE`, which says why."""
LATE_PART = 0.01
"""Of the pulses may be later: the others are common steps all the same."""
FEWEST_FOR_A_PART = 100
"""Pulses of which that part is at least one."""


def lateness(late: Sequence[float]) -> dict[str, float | int]:
    """Notes of a sample, of lateness in percent of a pulse, one a pulse. 99 of 100 began at most `late_percent` late,
    the latest `latest_percent`."""
    ordered = sorted(late)
    return {
        "late_percent": round(ordered[ceil((1 - LATE_PART) * len(ordered)) - 1], 2),
        "latest_percent": round(ordered[-1], 2), "late_pulses": sum(one > LATE_PERCENT for one in ordered),
        "very_late_pulses": sum(one > TOO_LATE_PERCENT for one in ordered)}


def late_of(samples: Sequence[Sample]) -> tuple[float, str]:
    """How late 99 of 100 pulses began at most, over all samples, and that in words.

    On which side of each bound it lies is exact, by the numbers; where the 99th percentile of one sample is beyond a
    bound that all together keep, the bound is given.
    """
    value = max(float(one.notes["late_percent"]) for one in samples)
    if not all("late_pulses" in one.notes for one in samples):  # kept by a boxcheck that told the latest pulse alone
        return value, f"at most {value:.1f} % of a pulse late"
    made, late, too_late = (
        sum(int(one.notes[name]) for one in samples) for name in ("pulses", "late_pulses", "very_late_pulses"))
    if late <= LATE_PART * made:
        value = min(value, LATE_PERCENT)
    elif too_late <= LATE_PART * made:
        value = min(value, TOO_LATE_PERCENT)
    latest = max(float(one.notes["latest_percent"]) for one in samples)
    if not late:
        return value, f"at most {latest:.1f} % of a pulse late"
    if made < FEWEST_FOR_A_PART:  # one may be late only of a hundred: of these none, and the latest is what counts
        return value, f"at most {latest:.1f} % of a pulse late; {late} of {made} were later than {LATE_PERCENT:g} %"
    return value, (
        f"99 of 100 pulses at most {value:.1f} % of a pulse late; {late} of {made} were later than {LATE_PERCENT:g} %, "
        f"the latest by {latest:.1f} %")
