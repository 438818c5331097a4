"""How certain a verdict may be called: never more than simulated boxes bear out. Pure.

    python -m tests.bench.riser_swaps --boxes 1000 --seed N

prints how many of the suspects that were given so much were guilty. Arithmetic alone would say `over 99.9 %` of many.
"""

from __future__ import annotations

MOST = 0.98
"""Of the suspects that the arithmetic is surest of, 332 of 334 were guilty in simulated boxes (last row of the second
table in docs/explanation/riser-suspects.md), so 97.9 % at least, at 95 %."""
MOST_HEALTHY = 0.91
"""Of 80 simulated boxes that were called healthy 78 were: 91 % at least, at 95 %."""


def told(probability: float) -> float:
    """As it may be told of a suspect: at most `MOST`."""
    return min(probability, MOST)


def told_healthy(probability: float) -> float:
    """As it may be told of nothing being at fault: at most `MOST_HEALTHY`."""
    return min(probability, MOST_HEALTHY)


def percent(probability: float) -> str:
    """`97 %`, `< 1 %`: never 0, and never more than `MOST`."""
    return "< 1 %" if probability < 0.005 else f"{100 * told(probability):.0f} %"
