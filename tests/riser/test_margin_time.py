"""Time, by the simulated clock: a screening takes 2 to 4 minutes, and hardly anything beside what must be waited for.

What must be waited for: the answer to each command as late as the port gives it, the set-up of each step, the look that
was asked for or the moment at which the receiver ended it, the training of the link. Measured: 0.6 % beyond that at looks
of 0.6 s, 7 % at the shortest looks there are (6 ms).
"""

from __future__ import annotations

from typing import Any

import pytest

from boxcheck.riser.margining.plan import expected_seconds
from tests.riser.margin_bench import bench, run, wrong_edges
from tests.riser.simulated.margin import MarginLink
from tests.riser.simulated.margin_lane import Kind


def needed_seconds(link: MarginLink, look: float) -> float:
    """What the port and the look took."""
    seconds = sum(seconds for _, seconds in link.waits)
    for *_, step in link.steps:
        trips = step.drawn_trip
        seconds += look if trips is None or trips > look else trips
    return seconds


@pytest.mark.parametrize("kind", [
    {}, {"rate_timing": 0, "rate_voltage": 0}, {"rate_timing": 63, "rate_voltage": 63}, {"reports_rate": False},
    {"timing_steps": 63, "voltage_steps": 127}, {"timing_steps": 6, "voltage_steps": 32, "true_voltage_percent": 10},
], ids=str)
@pytest.mark.parametrize("speed_gts", [16.0, 32.0])
def test_a_screening_of_16_lanes_both_ways_takes_2_to_4_minutes(kind: dict[str, Any], speed_gts: float) -> None:
    machine, link, pair = bench(speed_gts=speed_gts, kind=Kind(**kind), wear={(6, 7): 0.6})
    margins = run(machine, link, pair)
    assert 120 <= margins.seconds <= 240
    assert wrong_edges(link, margins) == []
    capabilities = tuple(eyes.capabilities for eyes in margins.receivers if eyes.capabilities)
    assert expected_seconds("screening", 16, capabilities, speed_gts) == pytest.approx(margins.seconds, rel=0.3)
    assert all(side.bits is None or side.bits >= 0.99e8 for eyes in margins.receivers for eye in eyes.lanes
               for side in eye.sides.values())


def test_a_port_that_takes_the_longest_set_up_there_is_still_ends_in_4_minutes() -> None:
    machine, link, pair = bench(kind=Kind(rate_timing=0, rate_voltage=0))
    for port in link.ports.values():
        port.setup_seconds, port.latency_seconds = (0.2, 0.2), (0.01, 0.01)
    margins = run(machine, link, pair)
    assert 120 <= margins.seconds <= 250
    assert wrong_edges(link, margins, within=max(eyes.resolution for eyes in margins.receivers)) == []


@pytest.mark.parametrize(("look", "rate"), [(0.6, 31), (0.4, 0), (0.0125, 31), (0.00625, 63)])
def test_at_most_a_tenth_is_wasted(look: float, rate: int) -> None:
    machine, link, pair = bench(kind=Kind(rate_timing=rate, rate_voltage=rate))
    margins = run(machine, link, pair, look_seconds=look)
    needed = needed_seconds(link, look)
    assert margins.seconds >= needed * 0.999
    assert margins.seconds / needed - 1 <= 0.10


def test_the_quicker_the_port_the_longer_the_looks_up_to_a_second() -> None:
    machine, link, pair = bench(width=4, max_width=16)
    margins = run(machine, link, pair)
    bits = {side.bits for eyes in margins.receivers for eye in eyes.lanes for side in eye.sides.values()}
    assert bits == {16e9 * 32 / 64 * 1.0}


def test_a_full_run_says_beforehand_how_long_it_takes() -> None:
    machine, link, pair = bench(width=2, max_width=2, kind=Kind(timing_steps=8, voltage_steps=32, true_voltage_percent=10))
    said: list[str] = []
    margins = run(machine, link, pair, mode="full", tell=said.append)
    assert any("about 5.3 min" in line for line in said)
    assert margins.seconds < 5.4 * 60
