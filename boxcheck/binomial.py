"""Exact bounds on a share from a count, two-sided. Pure arithmetic.

Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the binomial",
Biometrika 26, doi 10.1093/biomet/26.4.404. The bounds are quantiles of the beta distribution; here they are found by
bisection on the binomial distribution itself. They hold at least as often as they promise, also for small counts.
"""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def interval(count: int, of: int, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Smallest and largest share that is compatible with `count` of `of`: 10 of 10 give 0.692 to 1. None for 0 of 0,
    which says nothing. ValueError for what is no count of that many."""
    if not 0 <= count <= of:
        raise ValueError(f"{count} of {of}")
    if of == 0:
        return None
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else _solve(count - 1, of, 1 - tail)
    high = 1.0 if count == of else _solve(count, of, tail)
    return low, high


def _solve(count: int, of: int, target: float) -> float:
    """The share at which P(X <= count) equals target; P falls as the share grows."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(count, of, middle) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(count: int, of: int, share: float) -> float:
    """P(X <= count) of `of` tries with that share."""
    if share <= 0.0:
        return 1.0
    if share >= 1.0:
        return 1.0 if count >= of else 0.0
    whole, logs, rest = math.lgamma(of + 1), math.log(share), math.log1p(-share)
    return min(1.0, math.fsum(
        math.exp(whole - math.lgamma(one + 1) - math.lgamma(of - one + 1) + one * logs + (of - one) * rest)
        for one in range(count + 1)))
