"""The statistics: k factors as they are printed in tables, and by simulation that limits cover what they say."""

from __future__ import annotations

import math
from statistics import NormalDist, fmean

import numpy as np
import pytest

from boxcheck.golden import tolerance
from boxcheck.golden.tolerance import CONFIDENCE, CONTENT, k_factor, margin_of_groups, margin_of_one

QUANTILE = NormalDist().inv_cdf(1 - CONTENT)


@pytest.mark.parametrize(("count", "k"), [
    (2, 37.094), (3, 10.553), (4, 7.042), (5, 5.741), (6, 5.062), (7, 4.642), (8, 4.354), (10, 3.981), (20, 3.295),
    (50, 2.862)])
def test_k_is_that_of_published_tables(count: int, k: float) -> None:
    """Hahn and Meeker, table A.12d: 99 % of the population, 95 % confidence."""
    assert k_factor(count) == pytest.approx(k, abs=6e-4 * k / 2)


def test_k_for_another_content_and_confidence() -> None:
    """The B-basis of MIL-HDBK-17 and the A-basis: 90 and 99 % with 95 %, ten values."""
    assert k_factor(10, 0.90, 0.95) == pytest.approx(2.355, abs=1e-3)
    assert k_factor(10, 0.95, 0.90) == pytest.approx(2.568, abs=1e-3)


def test_one_value_has_no_spread() -> None:
    with pytest.raises(ValueError, match="no spread"):
        k_factor(1)


@pytest.mark.parametrize("count", [3, 7, 21])
def test_limits_of_one_box_cover_what_they_say(count: int) -> None:
    """Of 4000 boxes of so many devices, 95 % give a limit that 99 % of all such devices pass."""
    samples = np.random.default_rng(11).normal(0.0, 1.0, (4000, count))
    covered = fmean(fmean(row) - margin_of_one(row) <= QUANTILE for row in samples.tolist())
    assert covered == pytest.approx(CONFIDENCE, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


@pytest.mark.parametrize(("boxes", "devices", "between"), [(3, 7, 0.0), (3, 7, 0.9), (5, 2, 0.5), (6, 7, 0.3), (10, 4, 0.8)])
def test_limits_of_several_boxes_cover_at_least_what_they_say(
        boxes: int, devices: int, between: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """`between`: the boxes' part of the variance. The limit is on the safe side where that is small."""
    monkeypatch.setattr(tolerance, "DRAWS", 10_000)
    tolerance._pivots.cache_clear()
    random = np.random.default_rng(12)
    covered = 0
    for _ in range(400):
        values = random.normal(0.0, math.sqrt(between), (boxes, 1)) + random.normal(
            0.0, math.sqrt(1 - between), (boxes, devices))
        covered += values.mean() - margin_of_groups(values.tolist()) <= QUANTILE
    tolerance._pivots.cache_clear()
    assert covered / 400 >= CONFIDENCE - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_boxes_of_different_sizes_are_covered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tolerance, "DRAWS", 10_000)
    tolerance._pivots.cache_clear()
    random = np.random.default_rng(13)
    covered = 0
    for _ in range(400):
        boxes = random.normal(0.0, math.sqrt(0.5), 5)
        groups = [(box + random.normal(0.0, math.sqrt(0.5), size)).tolist() for box, size in zip(
            boxes, (1, 2, 4, 7, 8), strict=True)]
        covered += fmean(map(fmean, groups)) - margin_of_groups(groups) <= QUANTILE
    tolerance._pivots.cache_clear()
    assert covered / 400 >= CONFIDENCE - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_one_device_in_each_box_is_the_simple_rule() -> None:
    values = [1.0, 1.1, 0.9, 1.05]
    assert margin_of_groups([[value] for value in values]) == margin_of_one(values)


def test_the_same_runs_give_the_same_limit() -> None:
    groups = [[1.0, 1.1], [0.9, 1.2], [1.05, 1.0]]
    first = margin_of_groups(groups)
    tolerance._pivots.cache_clear()
    assert margin_of_groups(groups) == first
