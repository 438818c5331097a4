"""Lane margins: how far each lane's sampling point can go before errors come."""

from __future__ import annotations

from typing import Literal

from boxcheck.riser.evidence import LaneMargin
from tests.riser.boxes.box import Box
from tests.riser.boxes.faults import Toward
from tests.riser.boxes.physics import Trained, live

RECEIVER: dict[Toward, Literal["A", "F"]] = {"host": "A", "card": "F"}
WIDTH_UI, WIDTH_SPREAD_UI = 0.48, 0.025
"""Of a healthy lane's eye."""
HEIGHT_VOLTS, HEIGHT_SPREAD_VOLTS = 0.075, 0.008
AT_LIMIT, UI_A_DECADE = 0.33, 0.035
"""Eye of a lane whose link has an error rate of 1e-12, and what a decade more takes away."""
LEAST_UI, WANTED_UI = 0.30, 0.38
"""18.75 and 23.75 ps at 16 GT/s, 9.375 and about 11 ps at 32 GT/s."""
LEAST_VOLTS = 0.015


def lane_margins(box: Box, slot: str, trained: Trained) -> tuple[LaneMargin, ...]:
    """Both receivers, every lane in use."""
    found = []
    for toward, receiver in RECEIVER.items():
        bad: dict[int, float] = {}
        for fault in live(box, slot):
            log = fault.log_ber.get(toward)
            if log is None or fault.nature != "signal" or fault.needs == "hot":
                continue
            eye = AT_LIMIT - UI_A_DECADE * (log + 12)
            for lane in ([fault.lane] if fault.one_lane else range(box.lanes)):
                bad[lane] = min(bad.get(lane, 1.0), eye)
            if eye < WANTED_UI:
                fault.traced_in.add(box.boot)
        found += [_lane(box, receiver, lane, bad.get(lane)) for lane in range(trained.width)]
    return tuple(found)


def _lane(box: Box, receiver: Literal["A", "F"], lane: int, bad: float | None) -> LaneMargin:
    source = box.source
    eye = source.gauss(WIDTH_UI if bad is None else min(bad, WIDTH_UI), WIDTH_SPREAD_UI)
    eye = max(0.02, eye + (box.margin_bias if receiver == "A" else 0.0))
    height = max(0.002, source.gauss(HEIGHT_VOLTS, HEIGHT_SPREAD_VOLTS) * min(1.0, eye / WIDTH_UI + 0.1))
    left = eye * source.uniform(0.44, 0.56)
    grade: Literal["pass", "marginal", "fail"] = (
        "fail" if eye < LEAST_UI or height < LEAST_VOLTS else "marginal" if eye < WANTED_UI else "pass")
    volts = box.generation >= 5 or box.index % 2 == 0  # optional at 16 GT/s
    return LaneMargin(
        receiver=receiver, lane=lane, left_ui=round(left, 4), right_ui=round(eye - left, 4),
        up_volts=round(height / 2, 4) if volts else None, down_volts=round(height / 2, 4) if volts else None, grade=grade)
