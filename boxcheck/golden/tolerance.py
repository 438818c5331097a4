"""One-sided tolerance limits of a normal distribution: below which value at most 1 % of all such parts lie, said with
95 % confidence, from the few that were measured. Pure.

Sources: G. J. Hahn and W. Q. Meeker, Statistical Intervals (1991), section 4.6 and table A.12: the limit is the mean
less k standard deviations, k sqrt(n) a quantile of the noncentral t distribution (ISO 16269-6:2014, annex D, has the
same k). K. Krishnamoorthy and T. Mathew, One-sided tolerance limits in balanced and unbalanced one-way random models
based on generalized confidence intervals, Technometrics 46 (2004) 44-52: parts in groups (GPUs in boxes), where the
boxes differ too. A simulation in the tests holds the coverage of both against what is said here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist, fmean

CONTENT = 0.99
"""Part of all such parts that a limit lets pass."""
CONFIDENCE = 0.95
"""How often a limit that is made this way lets at least that part pass."""
DRAWS = 200_000
"""Of the generalized pivotal quantity: its 5 % quantile is then known to about half a percent of the margin."""
SEED = 20040201
"""Always the same, so that the same runs give the same limit."""


@cache
def k_factor(count: int, content: float = CONTENT, confidence: float = CONFIDENCE) -> float:
    """Standard deviations below the mean, for a sample of that many (2 at least). 3.981 for 10 (Hahn and Meeker)."""
    if count < 2:
        raise ValueError(f"{count} values have no spread")
    low, high = 0.0, 1e4
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _covered(middle, count, content) < confidence else (low, middle)
    return high


def _covered(k: float, count: int, content: float) -> float:
    """P(mean - k s <= quantile): P(Z + z sqrt(n) <= k sqrt(n) w), over the distribution of w = s / sigma."""
    degrees, root = count - 1, math.sqrt(count)
    normal, z = NormalDist(), NormalDist().inv_cdf(content)
    constant = math.log(2) + degrees / 2 * math.log(degrees / 2) - math.lgamma(degrees / 2)
    top = 1 + 10 / math.sqrt(2 * degrees)
    steps = 1000  # Simpson
    total = 0.0
    for step in range(steps + 1):
        w = top * step / steps
        if w == 0.0:
            density = math.exp(constant) if degrees == 1 else 0.0
        else:
            density = math.exp(constant + (degrees - 1) * math.log(w) - degrees * w * w / 2)
        weight = 1 if step in (0, steps) else 4 if step % 2 else 2
        total += weight * density * normal.cdf(root * (k * w - z))
    return total * top / steps / 3


def margin_of_one(values: Sequence[float], more: float = 0.0) -> float:
    """How far below the mean the limit lies, of parts that differ independently. `more`: a standard deviation that
    comes on top of theirs (over time)."""
    return k_factor(len(values)) * math.hypot(deviation(values), more)


def margin_of_groups(groups: Sequence[Sequence[float]]) -> float:
    """The same of parts in two groups or more, below the mean of the groups' means, so that a box with more parts
    counts as much as another."""
    if max(map(len, groups)) == 1:
        return margin_of_one([group[0] for group in groups])
    import numpy as np

    means = [fmean(group) for group in groups]
    boxes, parts = len(groups), sum(map(len, groups))
    within = sum((value - mean) ** 2 for group, mean in zip(groups, means, strict=True) for value in group)
    between = sum((mean - fmean(means)) ** 2 for mean in means)
    share = fmean(1 / len(group) for group in groups)  # one over the harmonic mean of the sizes
    normal, of_boxes, of_parts = _pivots(boxes - 1, parts - boxes)
    variance = between / of_boxes + (1 - share) * within / of_parts
    margins = normal * np.sqrt(between / (boxes * of_boxes)) + NormalDist().inv_cdf(CONTENT) * np.sqrt(variance)
    return float(np.quantile(margins, CONFIDENCE))


@cache
def _pivots(of_boxes: int, of_parts: int):  # type: ignore[no-untyped-def]
    """Draws of a standard normal and of two chi-square variables with these degrees of freedom."""
    import numpy as np

    random = np.random.default_rng(SEED)
    return random.standard_normal(DRAWS), random.chisquare(of_boxes, DRAWS), random.chisquare(of_parts, DRAWS)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample of two at least."""
    mean = fmean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
