"""The eye that is found is the simulated one, to a step, at every receiver and for every kind of receiver."""

from __future__ import annotations

import pytest

from boxcheck.riser.margining.grades import graded, weakest
from boxcheck.riser.margining.search import Edge, Search, screen, sweep
from tests.riser.margin_bench import bench, receiver, run, wrong_edges
from tests.riser.simulated.margin import PORT
from tests.riser.simulated.margin_lane import Kind


def drive(search: Search, edge: int) -> tuple[Edge, int]:
    tried = 0
    try:
        at = next(search)
        while True:
            tried += 1
            at = search.send(at <= edge)
    except StopIteration as done:
        return done.value, tried


@pytest.mark.parametrize("most", [6, 16, 63, 127])
def test_a_search_finds_every_edge_with_and_without_a_guess(most: int) -> None:
    for edge in range(most + 1):
        want = Edge(edge, edge + 1 if edge < most else None)
        assert drive(sweep(most), edge)[0] == want
        found, tried = drive(screen(most), edge)
        assert found == want
        assert tried <= most.bit_length() + 1
        for guess in {0, 1, edge, most, max(1, edge - 1), min(most, edge + 3)}:
            assert drive(screen(most, guess), edge)[0] == want


def test_a_lane_like_the_one_before_takes_two_steps() -> None:
    assert drive(screen(64, 20), 20)[1] == 2
    assert drive(screen(64, 20), 19)[1] == 2


def test_a_lane_far_from_the_one_before_is_found_by_doubling_strides() -> None:
    assert max(drive(screen(127, guess), edge)[1] for guess in (1, 64, 127) for edge in range(128)) <= 14


@pytest.mark.parametrize("resolution", [2, 4, 8])
def test_a_coarse_search_leaves_a_gap_no_wider_than_asked(resolution: int) -> None:
    for edge in range(65):
        for guess in (None, 20):
            found = drive(screen(64, guess, resolution), edge)[0]
            assert found.steps <= edge < (found.ceiling or 65)
            assert (found.ceiling or 65) - found.steps <= resolution


@pytest.mark.parametrize("link", [
    {}, {"retimers": 1}, {"retimers": 2}, {"speed_gts": 32.0}, {"speed_gts": 64.0}, {"width": 4, "max_width": 4},
    {"width": 8, "reversed_lanes": True}, {"reversed_lanes": True}, {"width": 8},
    {"kind": Kind(ind_left_right=False)}, {"kind": Kind(ind_up_down=False)},
    {"kind": Kind(ind_left_right=False, ind_up_down=False)}, {"kind": Kind(voltage=False)},
    {"kind": Kind(timing_percent=0, voltage_percent=0, timing_steps=15, voltage_steps=32, true_voltage_percent=10)},
    {"kind": Kind(reports_rate=False)}, {"kind": Kind(rate_timing=0, rate_voltage=0)}, {"kind": Kind(rate_timing=63, rate_voltage=63)},
    {"kind": Kind(timing_steps=63, voltage_steps=127, timing_percent=50, true_timing_percent=50)},
    {"kind": Kind(go_normal_first=True)}, {"wired_zero": True},
], ids=str)
def test_the_eye_is_found_to_a_step(link: dict[str, object]) -> None:
    link = {"width": 3, "max_width": 16} | link
    wired_zero = link.pop("wired_zero", False)
    machine, made, pair = bench(wear={(1, 1): 0.6, (6, 2): 0.45}, **link)
    made.wired_zero = bool(wired_zero)
    margins = run(machine, made, pair)
    assert [eyes.receiver for eyes in margins.receivers] == [*"ABCDE"[:1 + 2 * made.retimers], "F"]
    assert all(len(eyes.lanes) == made.width and eyes.skipped is None for eyes in margins.receivers)
    assert all(eye.why is None for eyes in margins.receivers for eye in eyes.lanes)
    assert wrong_edges(made, margins) == []


def test_a_full_run_tries_every_step_to_the_first_that_fails() -> None:
    machine, link, pair = bench(width=1, max_width=1)
    margins = run(machine, link, pair, mode="full")
    assert wrong_edges(link, margins) == []
    left = receiver(margins, "A").lanes[0].sides["left"]
    assert left.tried == left.ceiling


def test_lanes_together_are_found_as_well_and_never_more_than_the_receiver_allows() -> None:
    machine, link, pair = bench(width=8, wear={(6, 5): 0.5})
    margins = run(machine, link, pair, parallel=16)
    assert wrong_edges(link, margins) == []
    assert any("4 lanes at a time" in note for note in margins.notes)


def test_an_eye_beyond_the_last_step_is_at_least_so_large() -> None:
    machine, link, pair = bench(width=2, max_width=2, kind=Kind(timing_percent=20, true_timing_percent=20))
    margins = run(machine, link, pair)
    eyes = receiver(margins, "F")
    side = eyes.lanes[0].sides["left"]
    assert (side.steps, side.ceiling, side.stop) == (16, None, "range")
    assert graded(eyes, eyes.lanes[0]).width_at_least
    assert graded(eyes, eyes.lanes[0]).width_ps == pytest.approx(25.0)


def test_a_step_that_is_refused_ends_a_search_as_refused() -> None:
    machine, link, pair = bench(width=1, max_width=1, kind=Kind(naks=True))
    margins = run(machine, link, pair)
    side = receiver(margins, "A").lanes[0].sides["left"]
    assert (side.steps, side.ceiling, side.stop) == (0, 1, "nak")
    assert graded(receiver(margins, "A"), receiver(margins, "A").lanes[0]).grade == "unknown"


def test_an_ice_lake_port_reports_the_whole_eye_by_one_side() -> None:
    machine, link, pair = bench(width=2, max_width=2, retimers=1, kind=Kind(ind_left_right=False, voltage_percent=0))
    space = machine.space[PORT]
    space[0:4], space[8:9] = (0x347A_8086).to_bytes(4, "little"), b"\x04"
    margins = run(machine, link, pair)
    port, card = receiver(margins, "A"), receiver(margins, "F")
    assert port.capabilities is not None
    assert (port.capabilities.voltage_percent, port.capabilities.whole_eye) == (12, True)
    assert card.capabilities is not None
    assert not card.capabilities.whole_eye
    retimer = receiver(margins, "C").capabilities
    assert retimer is not None
    assert not retimer.whole_eye, "its own receiver alone; a retimer answers through the same port"
    ps = graded(port, port.lanes[0]).width_ps
    assert ps == pytest.approx(port.lanes[0].sides["left"].steps * 40 / 16 / 100 * 62.5)
    assert graded(card, card.lanes[0]).width_ps == pytest.approx(2 * card.lanes[0].sides["left"].steps * 40 / 16 / 100 * 62.5)
    assert graded(port, port.lanes[0]).margin.left_ui == pytest.approx((ps or 0) / 62.5 / 2)


def test_reversed_lanes_of_a_narrow_link_are_found_at_the_other_end_of_the_port() -> None:
    machine, link, pair = bench(width=4, max_width=16, reversed_lanes=True, wear={(6, 1): 0.4})
    margins = run(machine, link, pair)
    assert all(eyes.mirrored for eyes in margins.receivers)
    weak = weakest(receiver(margins, "F"))
    assert weak is not None
    assert (weak.lane, weak.stands_out) == (1, True)
    assert any("reversed" in note for note in receiver(margins, "A").notes)


def test_a_receiver_that_counts_samples_says_how_many_bits_a_step_compared() -> None:
    machine, link, pair = bench(width=1, max_width=1, kind=Kind(reports_rate=False, sample_count=45))
    eyes = receiver(run(machine, link, pair), "F")
    assert eyes.lanes[0].sides["left"].bits == pytest.approx(2 ** 15)
    assert any("3e+04 bits" in note for note in eyes.notes)
    machine, link, pair = bench(width=1, max_width=1, kind=Kind(reports_rate=False))
    margins = run(machine, link, pair, look_seconds=0.5)
    bits = [side.bits for side in receiver(margins, "F").lanes[0].sides.values()]
    assert all(one is not None and 0.75 * 4e9 <= one <= 1.05 * 4e9 for one in bits), "16 GT/s, every second bit, 0.5 s"
