"""Bounds on a Poisson mean, against tabled chi-square quantiles."""

import pytest

from boxcheck.poisson import EXACT_UP_TO, _approximate, link_bits, lower, upper


@pytest.mark.parametrize(
    ("count", "at_95", "at_99"),
    [(0, 2.996, 4.605), (1, 4.744, 6.638), (2, 6.296, 8.406), (5, 10.513, 13.108), (10, 16.962, 20.145)],
)
def test_upper_bounds_equal_the_tabled_ones(count: int, at_95: float, at_99: float) -> None:
    assert upper(count) == pytest.approx(at_95, abs=6e-4)
    assert upper(count, 0.99) == pytest.approx(at_99, abs=6e-4)


@pytest.mark.parametrize(("count", "at_95"), [(0, 0.0), (1, 0.05129), (2, 0.35536), (5, 1.97015), (10, 5.42541)])
def test_lower_bounds_equal_the_tabled_ones(count: int, at_95: float) -> None:
    assert lower(count) == pytest.approx(at_95, abs=1e-5)


def test_the_exact_and_the_approximate_bounds_meet() -> None:
    count = EXACT_UP_TO
    assert _approximate(2.0 * count + 2, 0.95) == pytest.approx(upper(count), rel=1e-5)
    assert _approximate(2.0 * count, 0.05) == pytest.approx(lower(count), rel=1e-5)


def test_huge_counts_are_answered_at_once() -> None:
    assert lower(1 << 62) < 1 << 62 < upper(1 << 62)


def test_twelve_seconds_of_gen4_x16_are_three_trillion_bits() -> None:
    assert link_bits(16.0, 16, 12) == pytest.approx(3.07e12, rel=1e-2)
