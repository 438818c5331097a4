"""A rate at the end of a run in percent of that before: as a number, and judged. What no device does is unknown."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding, Limit, Subject
from boxcheck.registry import skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.ceilings import IMPOSSIBLE
from boxcheck.stress.judging import judge_value, middle, subject_of

MOST_PERCENT = 200.0
"""A GPU that is twice as fast at the end, by medians of parts of a run, did not do the work at the end, or something
else had the GPU before: clocks rise within the first second, and fall from there on."""
MOST_PERCENT_PROCESSOR = 1000.0
"""Other programs share a processor."""


def percent(last: Sequence[float], first: Sequence[float]) -> float:
    """The median of the last rates in percent of that of the first. Both must hold one at least."""
    return 100.0 * middle(last) / max(middle(first), 1e-9)


def first_and_last(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Those of the first half of the time that they took together, one at least, and those of its last quarter."""
    ends = list(accumulate([one.seconds for one in samples]))
    half, rest = bisect_right(ends, ends[-1] / 2), bisect_right(ends, ends[-1] * 0.75)
    return samples[:half or 1], samples[rest:]


def percent_of(samples: Sequence[Sample]) -> float:
    """The rate of the last quarter of the time in percent of that of its first half."""
    first, last = first_and_last(samples)
    return percent([one.value or 0.0 for one in last], [one.value or 0.0 for one in first])


def implausible(info: GpuInfo, kept: float) -> bool:
    """Whether no device keeps so much; a number that is none is not plausible either."""
    return not kept <= (MOST_PERCENT if info.is_gpu else MOST_PERCENT_PROCESSOR)


def small_sizes(results: StressResults) -> Finding | None:
    """The one finding where the work was too small for rates to say anything (processors, which other programs share);
    None where rates are judged: at full size, and where a fault was put in, which must be found at any."""
    if results.full_size or results.injected is not None:
        return None
    return skipped(Subject("group", f"{len(results.gpus)} devices"), "small sizes: rates are not judged")


def judge_kept(
    results: StressResults, info: GpuInfo, kept: float, limit: Limit, says: str, help: tuple[str, ...],
    cause: str | None = None,
) -> Finding:
    """Whether enough was kept; unknown where more was kept than can be."""
    if implausible(info, kept):
        return unknown(
            subject_of(results, info.key),
            f"{says}: work was left out, a clock lies, or another program held it back at the start", help=IMPOSSIBLE)
    return judge_value(results, info.key, kept, limit, says, help, cause)
