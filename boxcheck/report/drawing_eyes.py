"""Eyes of lanes as a drawing: one small diagram a lane, all of a receiver on the same axes, the weakest named. Pure.

What is drawn are the four points that a receiver told, joined by lines: how far the sampling point can be moved to each
side before bits are lost. The true eye is rounder, and is not known. Dashed: the smallest that the specification allows
(boxcheck/decode/eye_limits.py), where the receiver tells how far its steps go.
"""

from __future__ import annotations

from collections.abc import Sequence

from boxcheck.decode.eye_limits import EYE_LIMITS, UI_PICOSECONDS, Grade
from boxcheck.report.document import Figure, Label, Line, Role, Shape
from boxcheck.report.drawing import SMALL
from boxcheck.riser.evidence import LaneMargin
from boxcheck.riser.margining.outline import Outline, outline, weakest_of
from boxcheck.riser.margining.pins import place
from boxcheck.riser.margining.receivers import toward

WIDTH = 510.0
"""Points: what A4 and Letter have between their margins."""
ACROSS, CELL, TALL = 8, 63.0, 58.0
HALF_WIDE, HALF_HIGH = 26.0, 20.0
"""Of the widest and of the highest eye."""
ROLES: dict[Grade, Role] = {"pass": "ok", "marginal": "marginal", "fail": "fail", "unknown": "unknown"}


def width_words(found: Outline, speed_gts: float | None) -> str:
    """`0.31 UI (19.4 ps)`, `12 steps`."""
    if found.in_steps:
        return f"{found.width:.0f} steps"
    unit = UI_PICOSECONDS.get(speed_gts or 0.0)
    return f"{found.width:.2f} UI" + (f" ({found.width * unit:.1f} ps)" if unit else "")


def height_words(found: Outline) -> str:
    """`32 mV`, `20 steps`; empty where it was not measured."""
    if found.height is None:
        return ""
    return f"{found.height:.0f} steps" if found.height_in_steps else f"{1000 * found.height:.0f} mV"


def weakest_words(margins: Sequence[LaneMargin], speed_gts: float | None) -> str:
    """Which lane is the weakest, how far it is open, and where it lies in the slot. Empty where none was measured."""
    one = weakest_of(margins)
    found = None if one is None else outline(one)
    if one is None:
        return ""
    of = f"Weakest is lane {one.lane} at receiver {one.receiver}, of bits toward the {toward(one.receiver)}"
    if found is None:
        return f"{of}: its width was not measured, grade {one.grade}."
    high = height_words(found)
    lies = place(one.lane, toward(one.receiver))
    return (f"{of}: {width_words(found, speed_gts)} wide{f' and {high} high' if high else ''}, grade {one.grade}"
            f"{f'; {lies}' if lies else ''}.")


def eyes(margins: Sequence[LaneMargin], speed_gts: float | None) -> tuple[Figure, ...]:
    """One drawing for each receiver whose lanes were measured."""
    weakest = weakest_of(margins)
    found = []
    for receiver in sorted({one.receiver for one in margins}):
        mine = sorted((one for one in margins if one.receiver == receiver), key=lambda one: one.lane)
        if any(outline(one) is not None for one in mine):
            found.append(_figure(mine, weakest, speed_gts))
    return tuple(found)


def _figure(lanes: Sequence[LaneMargin], weakest: LaneMargin | None, speed_gts: float | None) -> Figure:
    known = [found for one in lanes if (found := outline(one)) is not None]
    limits = EYE_LIMITS.get(speed_gts or 0.0)
    unit = UI_PICOSECONDS.get(speed_gts or 0.0)
    least = limits.width_minimum / unit / 2 if limits and unit and not known[0].in_steps else None
    least_high = limits.height_minimum / 2000 if limits and not known[0].height_in_steps else None
    wide = max([least or 0.0, *(max(one.left, one.right) for one in known)]) or 1.0
    high = max([least_high or 0.0, *(max(one.up or 0.0, one.down or 0.0) for one in known)]) or 1.0
    shapes: list[Shape] = []
    for at, one in enumerate(lanes):
        x, y = (at % ACROSS + 0.5) * CELL, (at // ACROSS) * TALL + SMALL + 4 + HALF_HIGH
        shapes += _cell(one, x, y, (wide, high), (least, least_high), one is weakest)
    receiver, way = lanes[0].receiver, toward(lanes[0].receiver)
    scale = "all on the same axes" + ("" if least is None else "; dashed: the smallest that is allowed")
    told = [f"lane {one.lane} {width_words(found, speed_gts)}, {one.grade}" if found is not None
            else f"lane {one.lane} not measured" for one in lanes for found in (outline(one),)]
    return Figure(
        width=WIDTH, height=((len(lanes) - 1) // ACROSS + 1) * TALL, shapes=tuple(shapes),
        caption=f"Eyes at receiver {receiver}, bits toward the {way}: {scale}", says="; ".join(told))


def _cell(
    one: LaneMargin, x: float, y: float, most: tuple[float, float], least: tuple[float | None, float | None],
    is_weakest: bool,
) -> list[Shape]:
    role, found = ROLES[one.grade], outline(one)
    word = "weakest" if is_weakest else "" if one.grade == "pass" else one.grade
    shapes: list[Shape] = [Label(
        x=x, y=y - HALF_HIGH - 3, text=f"{one.lane}{f' {word}' if word else ''}", anchor="middle", size=SMALL,
        role=role if word and one.grade != "pass" else "dim", strong=is_weakest)]
    shapes += [Line(points=((x - HALF_WIDE, y), (x + HALF_WIDE, y)), role="grid", width=0.5),
               Line(points=((x, y - HALF_HIGH), (x, y + HALF_HIGH)), role="grid", width=0.5)]
    if found is None:
        return [*shapes, Label(x=x, y=y - 2, text="not measured", anchor="middle", size=SMALL, role="unknown")]
    if least[0] is not None and (found.up is None or least[1] is not None):
        shapes.append(_rhombus(x, y, (least[0], least[0]), (least[1] or 0.0, least[1] or 0.0)
                               if found.up is not None else None, most, "dim", dash=True))
    sides = None if found.up is None or found.down is None else (found.up, found.down)
    shapes.append(_rhombus(x, y, (found.left, found.right), sides, most, role, dash=False))
    return shapes


def _rhombus(
    x: float, y: float, sides: tuple[float, float], high: tuple[float, float] | None, most: tuple[float, float],
    role: Role, *, dash: bool,
) -> Line:
    """Without a height a stroke: nothing is known of how high it is."""
    left, right = (HALF_WIDE * side / most[0] for side in sides)
    if high is None:
        tick = 2.0 if dash else 4.0
        return Line(points=((x - left, y - tick), (x - left, y + tick), (x - left, y), (x + right, y),
                            (x + right, y - tick), (x + right, y + tick)), role=role, width=0.7 if dash else 1.2,
                    dash=dash)
    up, down = (HALF_HIGH * side / most[1] for side in high)
    points = ((x - left, y), (x, y - up), (x + right, y), (x, y + down), (x - left, y))
    return Line(points=points, role=role, width=0.7 if dash else 1.2, dash=dash)
