"""Exact bounds on a Poisson mean from a count, one-sided, and the bits that a link moves. Pure arithmetic.

Source: Garwood 1936, "Fiducial limits for the Poisson distribution"; the bounds are chi-square quantiles,
lower(k) = chi2(1 - c, 2k)/2, upper(k) = chi2(c, 2k + 2)/2. Here they are found by bisection on the distribution itself.
"""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def _below(count: int, mean: float) -> float:
    """P(X <= count) for a Poisson mean, by the series from its largest term, so that large counts do not underflow."""
    if mean <= 0:
        return 1.0
    if count < 0:
        return 0.0
    logs = count * math.log(mean) - mean - math.lgamma(count + 1)
    term, total, k = 1.0, 1.0, count
    while k > 0 and term > 1e-17:
        term *= k / mean
        total += term
        k -= 1
        if total > 1e280:
            return 1.0
    return min(1.0, math.exp(min(0.0, logs + math.log(total))))


def _solve(count: int, target: float) -> float:
    """The mean at which P(X <= count) equals target; P falls as the mean grows."""
    low, high = 0.0, count + 10.0 * math.sqrt(count + 1.0) + 20.0
    for _ in range(200):
        middle = (low + high) / 2
        if _below(count, middle) > target:
            low = middle
        else:
            high = middle
        if high - low <= 1e-12 * max(1.0, high):
            break
    return (low + high) / 2


EXACT_UP_TO = 1000
"""Beyond it the Wilson-Hilferty cube root is right to six digits, and the series would take long."""


def _approximate(degrees: float, confidence: float) -> float:
    """Half a chi-square quantile (Wilson and Hilferty 1931, doi 10.1073/pnas.17.12.684)."""
    from statistics import NormalDist

    spread = 2.0 / (9.0 * degrees)
    return degrees / 2 * (1 - spread + NormalDist().inv_cdf(confidence) * math.sqrt(spread)) ** 3


def upper(count: int, confidence: float = CONFIDENCE) -> float:
    """Largest mean that is still compatible with `count` events: 0 events give 2.996 at 95 %."""
    if count > EXACT_UP_TO:
        return _approximate(2.0 * count + 2, confidence)
    return _solve(count, 1 - confidence)


def lower(count: int, confidence: float = CONFIDENCE) -> float:
    """Smallest mean that is still compatible with `count` events; 0 for none."""
    if count > EXACT_UP_TO:
        return _approximate(2.0 * count, 1 - confidence)
    return 0.0 if count <= 0 else _solve(count - 1, confidence)


def link_bits(speed_gts: float, width: int, seconds: float) -> float:
    """Bits that cross a link in one direction: an active link always transmits, also when idle."""
    return speed_gts * 1e9 * width * seconds
