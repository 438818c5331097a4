"""Grades of lanes by the specification's smallest eyes, and lanes against each other where a receiver gives no scale.

The limits, and what they are worth: boxcheck/decode/eye_limits.py.
"""

from __future__ import annotations

from statistics import median
from typing import Literal

import msgspec

from boxcheck.decode.eye_limits import (
    EYE_LIMITS,
    VOLTAGE_REQUIRED_GTS,
    WEAK_SHARE,
    Grade,
    grade_of,
    worst_grade,
)
from boxcheck.riser.evidence import LaneMargin
from boxcheck.riser.margining import outline
from boxcheck.riser.margining.eye import (
    LaneEye,
    ReceiverEyes,
    height_steps,
    millivolts,
    picoseconds,
    width_steps,
)


class Graded(msgspec.Struct, frozen=True, kw_only=True):
    """A lane with its grade."""

    margin: LaneMargin
    width_ps: float | None = None
    """The whole eye."""
    height_mv: float | None = None
    width_at_least: bool = False
    """The receiver's steps ended before the eye did."""
    height_at_least: bool = False
    width_grade: Grade = "unknown"
    height_grade: Grade | None = "unknown"
    """None: the receiver has no voltage margining, and need not have."""
    why: str | None = None
    """Why it is unknown."""

    @property
    def grade(self) -> Grade:
        return self.margin.grade


def graded(eyes: ReceiverEyes, eye: LaneEye) -> Graded:
    """The grade of one lane at one receiver."""
    found, speed = eyes.capabilities, eyes.speed_gts
    if found is None:
        return Graded(margin=LaneMargin(receiver=eyes.receiver, lane=eye.lane), why=eyes.skipped or eye.why)
    limits = EYE_LIMITS.get(speed)
    width, height = width_steps(found, eye), height_steps(found, eye)
    width_grade: Grade = "unknown"
    height_grade: Grade | None = "unknown"
    why = eye.why
    width_ps = height_mv = None
    if width is not None:
        width_ps = picoseconds(found, width[0], speed)
        if width_ps is not None and limits is not None:
            most = None if width[1] is None else picoseconds(found, width[1], speed)
            width_grade = grade_of(width_ps, most, limits.width_minimum, limits.width_recommended)
    if not found.voltage and speed < VOLTAGE_REQUIRED_GTS:
        height_grade = None
    elif height is not None:
        height_mv = millivolts(found, height[0], speed)
        if height_mv is not None and limits is not None:
            most = None if height[1] is None else millivolts(found, height[1], speed)
            height_grade = grade_of(height_mv, most, limits.height_minimum, limits.height_recommended)
    grade = worst_grade([width_grade, *([height_grade] if height_grade is not None else [])])
    if why is not None and grade != "fail":
        grade = "unknown"
    if grade == "unknown" and why is None:
        why = _why(eyes, limits is None, width is None, height is None)
    half = 0.5 if found.whole_eye else 1.0
    left, right, up, down = (eye.sides.get(name) for name in ("left", "right", "up", "down"))
    return Graded(
        margin=LaneMargin(
            receiver=eyes.receiver, lane=eye.lane, grade=grade,
            left_ui=_times(half, found.ui(left.steps)) if left else None,
            right_ui=found.ui(right.steps) if right else None,
            up_volts=found.volts(up.steps, speed) if up else None,
            down_volts=found.volts(down.steps, speed) if down else None,
            left_steps=round(half * left.steps) if left else None, right_steps=right.steps if right else None,
            up_steps=up.steps if up else None, down_steps=down.steps if down else None),
        width_ps=width_ps, height_mv=height_mv, width_at_least=width is not None and width[1] is None,
        height_at_least=height is not None and height[1] is None, width_grade=width_grade, height_grade=height_grade,
        why=why if grade == "unknown" or eye.why else None)


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _why(eyes: ReceiverEyes, no_limits: bool, no_width: bool, no_height: bool) -> str:
    found = eyes.capabilities
    assert found is not None
    if no_limits:
        return f"no smallest eye is known for {eyes.speed_gts:g} GT/s"
    if no_width or (no_height and found.voltage):
        return "not measured in all directions"
    if not found.timing_reported:
        return "the receiver does not report how far its steps go, so only steps are known"
    if found.voltage and not found.voltage_reported:
        return "the receiver does not report how far its voltage steps go"
    if not found.voltage:
        return f"no voltage margining, which {eyes.speed_gts:g} GT/s asks for"
    return "the smallest allowed eye lies between what it has at least and at most"


class Weakest(msgspec.Struct, frozen=True, kw_only=True):
    """The lane with the smallest eye of a receiver, or of a link."""

    eyes: ReceiverEyes
    lane: int
    of: Literal["width", "height"]
    share: float
    """Of the median of this receiver's lanes."""
    stands_out: bool
    """Below `WEAK_SHARE` of the median."""
    says: str


def weakest(eyes: ReceiverEyes) -> Weakest | None:
    """The lane that `outline.weakest_of` names, compared in steps, so that it needs no scale. None where fewer than two
    lanes were measured, or all are alike."""
    found = eyes.capabilities
    if found is None:
        return None
    named = outline.weakest_of([graded(eyes, eye).margin for eye in eyes.lanes])
    best: Weakest | None = None
    for of, measure in (("width", width_steps), ("height", height_steps)):
        steps = {eye.lane: value[0] for eye in eyes.lanes if (value := measure(found, eye)) is not None}
        middle = median(steps.values()) if len(steps) > 1 else 0
        if middle <= 0 or named is None or named.lane not in steps:
            continue
        lane, share = named.lane, steps[named.lane] / middle
        if share < 1 and (best is None or share < best.share):
            best = Weakest(eyes=eyes, lane=lane, of=of, share=share,  # type: ignore[arg-type]
                           stands_out=share < WEAK_SHARE, says=_weakest_says(eyes, lane, of, steps[lane], middle))
    return best


def _weakest_says(eyes: ReceiverEyes, lane: int, of: str, steps: int, middle: float) -> str:
    found = eyes.capabilities
    assert found is not None
    amount = f"{steps} steps"
    if of == "width" and (ps := picoseconds(found, steps, eyes.speed_gts)) is not None:
        amount = f"{ps:.1f} ps ({steps} steps)"
    if of == "height" and (mv := millivolts(found, steps, eyes.speed_gts)) is not None:
        amount = f"{mv:.0f} mV ({steps} steps)"
    return (f"lane {lane} has the smallest eye at Rx {eyes.receiver}: {of} {amount}, "
            f"{steps / middle:.0%} of the median lane's {middle:g}")


def weakest_of(all_eyes: tuple[ReceiverEyes, ...]) -> Weakest | None:
    """Of all receivers of a link: the lane that its page names too."""
    named = outline.weakest_of([graded(eyes, eye).margin for eyes in all_eyes for eye in eyes.lanes])
    return None if named is None else next(
        (weakest(eyes) for eyes in all_eyes if eyes.receiver == named.receiver), None)
