"""What pcilmr measured, as this package's lane margins: graded by the same limits, whatever pcilmr graded by."""

from __future__ import annotations

from boxcheck.decode.pcilmr import Lane, Link, Receiver, grade
from boxcheck.riser.evidence import LaneMargin
from boxcheck.riser.margining.commands import RECEIVERS


def lane_margins(link: Link) -> tuple[LaneMargin, ...]:
    """Of one link's results. Without those of receivers that the text does not name."""
    return tuple(margin for one in link.receivers for lane in one.lanes
                 if (margin := _margin(one, lane, link.speed_gts)) is not None)


def _margin(one: Receiver, lane: Lane, speed_gts: float | None) -> LaneMargin | None:
    letter = next((known for known in RECEIVERS if known == one.letter), None)
    if letter is None:
        return None
    left, right, up, down = (lane.edges.get(name) for name in ("left", "right", "up", "down"))
    timing, voltage = one.timing_reported, one.voltage_reported
    half = 0.5 if one.whole_timing and right is None else 1.0
    half_up = 0.5 if one.whole_voltage and down is None else 1.0
    return LaneMargin(
        receiver=letter, lane=lane.lane, grade=grade(one, lane, speed_gts),
        left_ui=half * left.ui if left is not None and left.ui is not None and timing else None,
        right_ui=right.ui if right is not None and timing else None,
        up_volts=half_up * up.millivolts / 1000 if up is not None and up.millivolts is not None and voltage else None,
        down_volts=down.millivolts / 1000 if down is not None and down.millivolts is not None and voltage else None)
