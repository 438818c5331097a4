"""What a device should reach: by the profile, else the least that others measured on the same card. As in the table of
rates and in the line of progress, and from there."""

from __future__ import annotations

from boxcheck.engine import progress
from boxcheck.gpu import GpuInfo
from boxcheck.profile import Profile
from boxcheck.report.matrices import MAIN
from boxcheck.report.stress_rates import rows_of
from boxcheck.stress import Sample, StressResults
from boxcheck.tui.matrix import one_way
from boxcheck.tui.state import Expected


def expected_by(want: Profile) -> Expected:
    """None for a processor, whose rate nobody judges, and where nobody says anything."""
    known: dict[tuple[str, str], float | None] = {}

    def of(sample: Sample, info: GpuInfo) -> float | None:
        if sample.notes.get("together") == "yes":  # what is asked is asked of one alone
            return None
        key = (sample.what, info.key)
        if key not in known:
            known[key] = _of(sample, info, want)
        return known[key]

    return of


def _of(sample: Sample, info: GpuInfo, want: Profile) -> float | None:
    if not info.is_gpu:
        return None
    asked = one_way(want) if sample.what == MAIN else progress.expected(sample.what, want)
    if asked is not None:
        return asked
    rows = rows_of(StressResults(
        module=sample.what.partition(".")[0], gpus=(info,), samples=(sample,), troubles=(), ended=()))
    return rows[0].expected if rows else None
