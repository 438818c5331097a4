"""Grades, each limit by a notch on both sides; contacts of lanes; drawings and sentences of at most 80 columns."""

from __future__ import annotations

from typing import Any

import pytest

from boxcheck.model import Bdf
from boxcheck.riser.evidence import LaneMargin
from boxcheck.riser.margining import outline
from boxcheck.riser.margining.capabilities import Capabilities
from boxcheck.riser.margining.draw import drawn, large, sentences, shape, table
from boxcheck.riser.margining.eye import LaneEye, Margins, ReceiverEyes, Side
from boxcheck.riser.margining.grades import graded, weakest, weakest_of
from boxcheck.riser.margining.pins import contacts, place
from boxcheck.riser.margining.receivers import receivers, toward, where


def capabilities(**more: Any) -> Capabilities:
    """50 timing steps of 1 % (0.625 ps at 16 GT/s), 100 voltage steps of 1 mV."""
    return Capabilities(**({"voltage": True, "independent_up_down": True, "independent_left_right": True,
                            "counts_samples": False, "independent_sampler": True, "timing_steps": 50,
                            "voltage_steps": 100, "timing_percent": 50, "voltage_percent": 10, "timing_rate": 63,
                            "voltage_rate": 63} | more))


def side(steps: int, **more: Any) -> Side:
    return Side(**({"steps": steps, "ceiling": steps + 1, "stop": "errors"} | more))


def eyes_of(*lanes: LaneEye, speed: float = 16.0, receiver: Any = "F", **more: Any) -> ReceiverEyes:
    return ReceiverEyes(receiver=receiver, toward=toward(receiver), where=where(receiver, 0), speed_gts=speed,
                        capabilities=capabilities(**more), lanes=lanes)


def eye(left: int = 20, right: int = 20, up: int = 30, down: int = 30, lane: int = 0, **more: Any) -> LaneEye:
    return LaneEye(lane=lane, sides={"left": side(left), "right": side(right), "up": side(up), "down": side(down)}, **more)


def grade(one: LaneEye, **more: Any) -> str:
    eyes = eyes_of(one, **more)
    return graded(eyes, one).grade


@pytest.mark.parametrize(("left", "right", "speed", "expected"), [
    # 16 GT/s: at least 18.75 ps (30 steps of 0.625), recommended 23.75 (38).
    (15, 15, 16.0, "marginal"), (15, 14, 16.0, "fail"), (19, 19, 16.0, "pass"), (19, 18, 16.0, "marginal"),
    # 32 GT/s: at least 9.375 ps (30 steps of 0.3125), recommended 10.157 (32.5).
    (15, 15, 32.0, "marginal"), (15, 14, 32.0, "fail"), (17, 16, 32.0, "pass"), (16, 16, 32.0, "marginal"),
    # No limits are known there.
    (20, 20, 64.0, "unknown"), (1, 1, 64.0, "unknown"),
])
def test_the_width_by_a_notch(left: int, right: int, speed: float, expected: str) -> None:
    assert grade(eye(left, right), speed=speed) == expected


@pytest.mark.parametrize(("up", "down", "speed", "expected"), [
    (8, 7, 16.0, "marginal"), (7, 7, 16.0, "fail"), (11, 10, 16.0, "pass"), (10, 10, 16.0, "marginal"),
    (8, 7, 32.0, "marginal"), (7, 7, 32.0, "fail"), (10, 10, 32.0, "pass"), (10, 9, 32.0, "marginal"),
])
def test_the_height_by_a_notch(up: int, down: int, speed: float, expected: str) -> None:
    assert grade(eye(up=up, down=down), speed=speed) == expected


def test_no_scale_means_no_grade_however_large_the_steps_look() -> None:
    assert grade(eye(50, 50), timing_percent=0) == "unknown"
    assert grade(eye(50, 50), voltage_percent=0) == "unknown"
    assert grade(eye(5, 5), voltage_percent=0) == "fail", "too narrow is too narrow, whatever its height"
    eyes = eyes_of(eye(), timing_percent=0, voltage_percent=0)
    assert graded(eyes, eyes.lanes[0]).margin == LaneMargin(
        receiver="F", lane=0, left_steps=20, right_steps=20, up_steps=30, down_steps=30)
    assert "only steps are known" in (graded(eyes, eyes.lanes[0]).why or "")


def test_without_voltage_margining_16_gts_is_graded_by_width_and_32_gts_is_not() -> None:
    narrow = LaneEye(lane=0, sides={"left": side(20), "right": side(20)})
    assert grade(narrow, voltage=False) == "pass"
    assert grade(narrow, voltage=False, speed=32.0) == "unknown"


def test_one_side_is_doubled_unless_it_is_the_whole_eye() -> None:
    one = LaneEye(lane=0, sides={"left": side(19), "up": side(20)})
    eyes = eyes_of(one, independent_left_right=False, independent_up_down=False)
    assert graded(eyes, one).width_ps == pytest.approx(23.75)
    assert graded(eyes, one).height_mv == pytest.approx(40)
    assert graded(eyes, one).grade == "pass"
    whole = eyes_of(one, independent_left_right=False, independent_up_down=False, whole_eye=True)
    assert graded(whole, one).width_ps == pytest.approx(11.875)
    assert graded(whole, one).grade == "fail"


def test_what_is_not_known_to_be_small_is_not_called_small() -> None:
    beyond = LaneEye(lane=0, sides={"left": side(10, ceiling=None, stop="range"), "right": side(10), "up": side(30), "down": side(30)})
    assert grade(beyond) == "unknown"
    coarse = LaneEye(lane=0, sides={"left": side(14, ceiling=18), "right": side(14, ceiling=18), "up": side(30), "down": side(30)})
    assert grade(coarse) == "unknown"
    refused = LaneEye(lane=0, sides={"left": side(3, stop="nak"), "right": side(3), "up": side(30), "down": side(30)})
    assert grade(refused) == "unknown"
    assert grade(eye(20, 20, why="not measured to its end")) == "unknown"


def test_a_lane_that_was_cut_short_can_still_be_too_small() -> None:
    assert grade(eye(5, 5, why="no answer")) == "fail"
    assert grade(LaneEye(lane=0, sides={"left": side(2)}, why="no answer")) == "unknown"


def test_the_margin_of_a_lane_is_in_parts_of_a_ui_and_volts() -> None:
    eyes = eyes_of(eye(20, 18, 30, 28, lane=7))
    margin = graded(eyes, eyes.lanes[0]).margin
    assert (margin.receiver, margin.lane, margin.grade) == ("F", 7, "pass")
    assert (margin.left_ui, margin.right_ui) == (pytest.approx(0.20), pytest.approx(0.18))
    assert (margin.up_volts, margin.down_volts) == (pytest.approx(0.030), pytest.approx(0.028))


def test_the_weakest_lane_is_compared_in_steps_so_that_it_is_known_without_a_scale() -> None:
    lanes = [eye(lane=lane) for lane in range(8)]
    lanes[3] = eye(12, 12, lane=3)
    for scale in ({}, {"timing_percent": 0, "voltage_percent": 0}):
        weak = weakest(eyes_of(*lanes, **scale))
        assert weak is not None
        assert (weak.lane, weak.of, weak.stands_out, weak.share) == (3, "width", True, pytest.approx(0.6))
    assert weakest(eyes_of(*[eye(lane=lane) for lane in range(8)])) is None, "alike"
    assert weakest(eyes_of(eye())) is None, "alone"
    lanes[3] = eye(15, 15, lane=3)
    weak = weakest(eyes_of(*lanes))
    assert weak is not None
    assert not weak.stands_out
    other = eyes_of(*[eye(lane=lane, up=30 if lane else 10) for lane in range(8)], receiver="A")
    worst = weakest_of((eyes_of(*lanes), other))
    assert worst is not None
    assert (worst.eyes.receiver, worst.lane, worst.of) == ("F", 3, "width"), "it is marginal, the other passes"
    lanes[3] = eye(19, 19, lane=3)
    worst = weakest_of((eyes_of(*lanes), other))
    assert worst is not None
    assert (worst.eyes.receiver, worst.lane, worst.of) == ("A", 0, "height")


def test_terminal_and_page_name_the_same_lane() -> None:
    """By its grade first: a share of the median says little between receivers."""
    wide = eyes_of(*[eye(30, 30, lane=lane) if lane != 5 else eye(24, 24, lane=5) for lane in range(8)], receiver="A")
    failing = eyes_of(*[eye(6, 6, lane=lane) if lane != 2 else eye(5, 6, lane=2) for lane in range(8)])
    cut = eyes_of(*[eye(19, 19, lane=3) if lane == 3 else eye(lane=lane, why="no answer" if lane == 7 else None)
                    for lane in range(8)])
    for link, lane in (((wide, failing), ("F", 2)), ((failing, wide), ("F", 2)), ((cut,), ("F", 3))):
        worst = weakest_of(link)
        named = outline.weakest_of([graded(eyes, one).margin for eyes in link for one in eyes.lanes])
        assert worst is not None
        assert named is not None
        assert (worst.eyes.receiver, worst.lane) == (named.receiver, named.lane) == lane


def test_contacts_are_those_of_the_connector() -> None:
    """Rows of the public table, typed from it: lane, side B of bits toward the card, side A of bits toward the host."""
    rows = [(0, 14, 16), (1, 19, 21), (2, 23, 25), (3, 27, 29), (4, 33, 35), (5, 37, 39), (6, 41, 43), (7, 45, 47),
            (8, 50, 52), (9, 54, 56), (10, 58, 60), (11, 62, 64), (12, 66, 68), (13, 70, 72), (14, 74, 76), (15, 78, 80)]
    for lane, side_b, side_a in rows:
        down, up = contacts(lane, "card"), contacts(lane, "host")
        assert down is not None
        assert up is not None
        assert (down.side, down.first, down.signal) == ("B", side_b, f"PETp{lane}/PETn{lane}")
        assert (up.side, up.first, up.signal) == ("A", side_a, f"PERp{lane}/PERn{lane}")
    assert contacts(16, "card") is None
    assert place(16, "card") is None


def test_the_place_of_a_lane_is_said_with_its_mirror() -> None:
    assert place(15, "host") == ("contacts A80/A81 (PERp15/PERn15), 68 mm behind the key; on a board that reverses its lanes "
                                 "A16/A17, 4 mm behind it")
    assert place(1, "card", 4) == ("contacts B19/B20 (PETp1/PETn1), 8 mm behind the key; on a board that reverses its lanes "
                                   "B23/B24, 12 mm behind it")


def test_receivers_lie_in_order_and_get_bits_from_where_they_look() -> None:
    assert receivers(0) == ("A", "F")
    assert receivers(1) == ("A", "B", "C", "F")
    assert receivers(2) == ("A", "B", "C", "D", "E", "F")
    assert [toward(one) for one in receivers(2)] == ["host", "card", "host", "card", "host", "card"]
    assert where("F", 0) == "Rx F, in the card: bits toward the card"
    assert where("F", 1) == "Rx F, in the card: bits toward the card from the retimer"
    assert where("C", 1) == "Rx C, in the retimer: bits toward the host from the card"
    assert where("C", 2) == "Rx C, in the first retimer: bits toward the host from the second retimer"
    assert where("A", 2) == "Rx A, in the port: bits toward the host from the first retimer"


def a_link(**more: Any) -> Margins:
    lanes = [eye(lane=lane) for lane in range(16)]
    weak = [eye(lane=lane) for lane in range(16)]
    weak[5] = eye(9, 8, 6, 5, lane=5)
    return Margins(port=Bdf("0000:40:01.1"), card=Bdf("0000:41:00.0"), slot="PCIE3", speed_gts=16.0, width=16, max_width=16,
                   receivers=(eyes_of(*lanes, receiver="A", **more), eyes_of(*weak, **more)))


@pytest.mark.parametrize("more", [{}, {"timing_percent": 0, "voltage_percent": 0}, {"voltage": False}], ids=str)
def test_a_drawing_is_plain_letters_of_80_columns(more: dict[str, Any]) -> None:
    lines = drawn(a_link(**more))
    assert all(len(line) <= 80 and line.isascii() for line in lines)
    assert any(line.startswith(" 15  ") for line in lines)


def test_the_table_shows_both_ways_beside_each_other_and_what_fails() -> None:
    lines = table(a_link())
    assert lines[0].split() == ["Rx", "A,", "toward", "the", "host", "Rx", "F,", "toward", "the", "card"]
    row = next(line for line in lines if line.startswith("  5  "))
    assert row.split() == ["5", "#######|#######", "25.0", "60", "ok", "###|###", "10.6", "11", "FAIL"]


def test_the_large_eye_shows_the_smallest_that_is_allowed_around_it() -> None:
    eyes = a_link().receivers[1]
    lines = large(eyes, 5)
    assert "lane 5, Rx F, in the card: bits toward the card" in lines
    assert any("." in line and "#" in line for line in lines)
    assert lines[-1].strip() == "dots: the smallest allowed, 18.75 ps by 15 mV"
    assert lines[-2].split() == ["-5.6", "ps", "+5.0", "ps"]
    assert large(eyes, 16) == ["lane 16 at Rx F was not measured"]


def test_the_shape_for_other_drawings_has_units_and_limits() -> None:
    eyes = a_link().receivers[1]
    found = shape(eyes, eyes.lanes[5])
    assert found is not None
    assert (found.left, found.right, found.up, found.down) == pytest.approx((5.625, 5.0, 6.0, 5.0))
    assert (found.width_unit, found.height_unit, found.minimum_width, found.minimum_height) == ("ps", "mV", 18.75, 15.0)
    steps = eyes_of(eye(9, 8), timing_percent=0, voltage_percent=0)
    found = shape(steps, steps.lanes[0])
    assert found is not None
    assert (found.left, found.width_unit, found.minimum_width) == (9, "steps", None)


def test_sentences_name_the_weakest_lane_with_its_contacts_and_the_source() -> None:
    said = sentences(a_link())
    assert "Rx F: lane 5 is below the smallest eye that is allowed" in said
    weak = next(line for line in said if line.startswith("lane 5 has"))
    assert "contacts B37/B38 (PETp5/PETn5), 26 mm behind the key" in weak
    assert "on a board that reverses its lanes B58/B59" in weak
    assert any(line.startswith("minimum: PCI Express Base 5.0") for line in said)


def test_what_an_eye_means_in_bits_is_said_as_a_bound() -> None:
    """4 errors leave a mean of up to 9.154 at 95 %."""
    from msgspec.structs import replace

    looked = LaneEye(lane=0, sides={"left": side(20, bits=8e9), "right": side(20, bits=9e9)})
    said = sentences(replace(a_link(), receivers=(eyes_of(looked, voltage=False),), error_limit=4))
    assert "Rx F: inside its eyes fewer than 1.2e-09 of the bits are wrong (95 %; a step may have 4 errors in 8e+09 bits)" in said


def test_what_was_found_survives_being_stored() -> None:
    import msgspec

    found = a_link()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Margins) == found


def test_a_stopped_or_unrestored_run_says_so_first() -> None:
    from msgspec.structs import replace

    said = sentences(replace(a_link(), stopped="the link below 0000:40:01.1 went down", not_restored="LnkCtl of x"))
    assert said[0].startswith("ended early: the link below 0000:40:01.1 went down")
    assert said[1] == "NOT GIVEN BACK: LnkCtl of x"
