"""How often modules tell of work in which nothing is wrong: about once a second of each kind and device.

Pieces of work are shorter, so that a module can be stopped between them; those of a kind are told together. What is
wrong is told at once, and by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

SAMPLE_SECONDS = 1.0
"""Time that a sample is of. A day of 8 GPUs then has some hundred thousand samples of each kind, which a store holds
and a judge reads."""


def sample_seconds(seconds: float, least: int) -> float:
    """The same in a run of so many seconds, which has `least` samples at least, so that a rate that falls is seen."""
    return min(SAMPLE_SECONDS, seconds / least)


def spread_of(times: Sequence[float]) -> float:
    """How much longer the slowest of some pieces took than the fastest, in percent of the median."""
    return round(100 * (max(times) - min(times)) / max(sorted(times)[len(times) // 2], 1e-9), 1)
