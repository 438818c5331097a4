"""Draws from a seeded source. The standard library's alone, so that a seed gives the same box on any machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def poisson(source: Random, mean: float) -> int:
    """Exact up to a mean of 2 000 (a sum of small ones), normal beyond."""
    if mean <= 0:
        return 0
    if mean > 2000:
        return max(0, round(source.gauss(mean, math.sqrt(mean))))
    total = 0
    while mean > 25:
        total += _knuth(source, 25.0)
        mean -= 25.0
    return total + _knuth(source, mean)


def _knuth(source: Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), source.random(), 0
    while product > limit:
        product *= source.random()
        count += 1
    return count


def binomial(source: Random, tries: int, chance: float) -> int:
    """Exact up to 400 tries, normal beyond."""
    if tries <= 400:
        return sum(source.random() < chance for _ in range(tries))
    spread = math.sqrt(tries * chance * (1 - chance))
    return min(tries, max(0, round(source.gauss(tries * chance, spread))))


def geometric(source: Random, mean: float) -> int:
    """1, 2, 3... with this mean."""
    if mean <= 1:
        return 1
    return 1 + int(math.log(1 - source.random()) / math.log(1 - 1 / mean))


def weighted(source: Random, weights: Mapping[T, float]) -> T:
    names: Sequence[T] = list(weights)
    return source.choices(names, [weights[name] for name in names])[0]


def reflected(value: float, low: float, high: float) -> float:
    """A step that would leave the range goes back into it, so that a walk stays uniform over the range."""
    while not low <= value <= high:
        value = 2 * low - value if value < low else 2 * high - value
    return value
