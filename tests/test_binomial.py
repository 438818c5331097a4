"""Exact bounds on a share: against published values, and against their own definition."""

from __future__ import annotations

import math

import pytest

from boxcheck.binomial import interval


@pytest.mark.parametrize(("count", "of", "low", "high"), [
    (0, 10, 0.0, 0.30850), (10, 10, 0.69150, 1.0), (8, 10, 0.44390, 0.97479), (1, 1, 0.025, 1.0), (0, 1, 0.0, 0.975),
    (18, 20, 0.68302, 0.98765), (1, 100, 0.00025, 0.05446), (500, 1000, 0.46855, 0.53145)])
def test_the_bounds_are_those_of_clopper_and_pearson(count: int, of: int, low: float, high: float) -> None:
    found = interval(count, of)
    assert found is not None
    assert found == (pytest.approx(low, abs=2e-5), pytest.approx(high, abs=2e-5))


def test_they_are_where_the_tails_are_a_fortieth() -> None:
    """By the definition, with exact integers for the binomial coefficients."""
    def tail(share: float, counts: range) -> float:
        return sum(math.comb(37, one) * share**one * (1 - share)**(37 - one) for one in counts)

    for count in (1, 5, 19, 36):
        low, high = interval(count, 37) or (0.0, 0.0)
        assert tail(low, range(count, 38)) == pytest.approx(0.025, rel=1e-6)
        assert tail(high, range(count + 1)) == pytest.approx(0.025, rel=1e-6)


def test_nothing_of_nothing_says_nothing_and_more_than_all_is_a_mistake() -> None:
    assert interval(0, 0) is None
    for count, of in ((2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="of"):
            interval(count, of)
