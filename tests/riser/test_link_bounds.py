"""Confidence bounds of link error rates over simulated links: 95 % means 95 %, and how soon a verdict comes."""

from __future__ import annotations

import pytest

from tests.riser.boxes.links import coverage, verdicts

CASES = 300
ALLOWED = 0.05 + 2 * (0.05 * 0.95 / CASES) ** 0.5


@pytest.mark.parametrize("events", [False, True], ids=["damaged bits", "visible events"])
@pytest.mark.parametrize("rate", [1e-13, 1e-12, 1e-11, 1e-9])
def test_each_bound_is_false_in_at_most_5_per_cent(rate: float, events: bool) -> None:
    found = coverage(5, rate, CASES, events=events)
    assert found.upper_false <= ALLOWED * CASES
    assert found.lower_false <= ALLOWED * CASES
    assert found.within >= 0.9
    assert found.upper > 0.7 * CASES or rate > 1e-12  # what came often is "at least", and has no upper bound
    assert found.lower > 0.6 * CASES


def test_the_bounds_are_those_of_errors_that_come_by_themselves() -> None:
    """In bursts of four an upper bound is false more often than it says: a limit of what the bound means."""
    found = coverage(5, 1e-12, CASES, events=True, burst=4.0)
    assert found.upper_false > 0.07 * CASES
    assert found.lower_false <= ALLOWED * CASES


@pytest.mark.parametrize("payload", [0.2, 0.4])
def test_a_minute_of_gen4_x16_tells_failing_marginal_and_clean_apart(payload: float) -> None:
    bad, weak, clean = (verdicts(5, rate, payload, 25) for rate in (1e-11, 1e-12, 0.0))
    assert bad.failing == bad.directions
    assert weak.failing + weak.marginal == weak.directions
    assert clean.bounded == clean.directions
    assert clean.failing + clean.marginal == 0


def test_with_a_tenth_of_the_wire_a_minute_does_not_show_1e_12() -> None:
    """What verified copies put on a link (docs/explanation/what-zero-errors-means.md): 3.0e12 bits need two minutes."""
    assert verdicts(5, 0.0, 0.1, 5).bounded == 0
