"""How certain a verdict may be called: never more than simulated boxes bear out. Pure.

    python -m tests.bench.riser_swaps --boxes 1000 --seed N

prints how many of the suspects that were given so much were guilty. Arithmetic alone would say `over 99.9 %` of many.
"""

from __future__ import annotations

MOST = 0.98
"""Of the simulated boxes in which a suspect was given 99 % and more, those in which it was guilty: the last row of the
second table in docs/explanation/riser-suspects.md."""


def told(probability: float) -> float:
    """As it may be told: at most `MOST`."""
    return min(probability, MOST)


def percent(probability: float) -> str:
    """`97 %`, `under 1 %`: never 0, and never more than `MOST`."""
    return "under 1 %" if probability < 0.005 else f"{100 * told(probability):.0f} %"
