"""Eyes drawn with letters: all lanes of a link in a table of 80 columns, and one large. Pure; plain ASCII.

What is drawn are four points that a receiver told, joined by lines: how far the sampling point can be moved to each
side. The true eye is rounder, and is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

import msgspec

from boxcheck.decode.eye_limits import EYE_LIMITS, SOURCE, Grade
from boxcheck.poisson import upper
from boxcheck.riser.margining.capabilities import Capabilities
from boxcheck.riser.margining.eye import (
    Direction,
    LaneEye,
    Margins,
    ReceiverEyes,
    Side,
    height_steps,
    millivolts,
    picoseconds,
    width_steps,
)
from boxcheck.riser.margining.grades import graded, weakest, weakest_of
from boxcheck.riser.margining.pins import place

BAR = 7
"""Characters to each side of a bar."""
COLUMNS = 80
GRADE_WORDS: dict[Grade, str] = {"pass": "ok", "marginal": "low", "fail": "FAIL", "unknown": "?"}


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The four corners of an eye in units, for a drawing elsewhere. In steps where the receiver gives no scale."""

    left: float
    right: float
    up: float | None
    down: float | None
    width_unit: str
    """`ps` or `steps`."""
    height_unit: str
    """`mV` or `steps`."""
    minimum_width: float | None = None
    """Of the whole eye, where a limit is known."""
    minimum_height: float | None = None


def shape(eyes: ReceiverEyes, eye: LaneEye) -> Shape | None:
    """None where its width was not measured. A receiver without sides has the same to both."""
    found = eyes.capabilities
    if found is None or width_steps(found, eye) is None:
        return None
    limits = EYE_LIMITS.get(eyes.speed_gts)
    left, right = (_side(eye, name) for name in ("left", "right"))
    up, down = (_side(eye, name) for name in ("up", "down"))
    assert left is not None
    scaled = picoseconds(found, 1, eyes.speed_gts)
    volts = millivolts(found, 1, eyes.speed_gts)
    across = scaled if scaled is not None else 1.0
    along = volts if volts is not None else 1.0
    whole = 0.5 if found.whole_eye else 1.0
    to_right = right if right is not None else left
    to_down = down if down is not None else up
    return Shape(
        left=whole * left.steps * across, right=(1.0 if right is not None else whole) * to_right.steps * across,
        up=None if up is None else up.steps * along, down=None if to_down is None else to_down.steps * along,
        width_unit="steps" if scaled is None else "ps", height_unit="steps" if volts is None else "mV",
        minimum_width=limits.width_minimum if limits and scaled is not None else None,
        minimum_height=limits.height_minimum if limits and volts is not None else None)


def _side(eye: LaneEye, name: Direction) -> Side | None:
    return eye.sides.get(name)


def table(margins: Margins) -> list[str]:
    """All lanes, one a line, two receivers beside each other: bars of the width, its amount, the height, the grade."""
    shown = [eyes for eyes in margins.receivers if eyes.lanes]
    lines = []
    for at in range(0, len(shown), 2):
        pair = shown[at:at + 2]
        lines += _pair(pair)
        lines.append("")
    for sentence in skipped(margins):
        lines += wrapped(sentence)
    return lines


def skipped(margins: Margins) -> list[str]:
    """Receivers that were not measured, or not to their last lane, and why: one sentence each."""
    return [f"{eyes.where}: not measured{' further' if eyes.lanes else ''}, {eyes.skipped}"
            for eyes in margins.receivers if eyes.skipped is not None]


def left_out(margins: Margins) -> list[str]:
    """Why there is nothing, or not all."""
    lines = [f"not margined: {one.says}" + (f" ({one.help})" if one.help else "") for one in margins.obstacles
             if one.end is None]
    if margins.stopped:
        lines.append(f"ended early: {margins.stopped}; what was not measured by then is unknown")
    return lines + skipped(margins)


def _pair(pair: Sequence[ReceiverEyes]) -> list[str]:
    most = {id(eyes): max((_widest(eyes, eye) for eye in eyes.lanes), default=1.0) or 1.0 for eyes in pair}
    lines = ["     " + "  ".join(f"{f'Rx {eyes.receiver}, toward the {eyes.toward}':<36}" for eyes in pair).rstrip()]
    heads = [f"{'left    right':^{2 * BAR + 1}} {_unit(eyes, 'width'):>7} {_unit(eyes, 'height'):>7} {'':<4}"
             for eyes in pair]
    lines.append("lane " + "  ".join(heads).rstrip())
    numbers = sorted({eye.lane for eyes in pair for eye in eyes.lanes})
    for number in numbers:
        cells = [_cell(eyes, eyes.lane(number), most[id(eyes)]) for eyes in pair]
        lines.append((f"{number:>3}  " + "  ".join(cells)).rstrip())
    return lines


def _unit(eyes: ReceiverEyes, of: str) -> str:
    found = eyes.capabilities
    if of == "width":
        return "ps" if found is not None and found.timing_reported else "steps"
    return "" if found is None or not found.voltage else "mV" if found.voltage_reported else "steps"


def _widest(eyes: ReceiverEyes, eye: LaneEye) -> float:
    outline = shape(eyes, eye)
    return 0.0 if outline is None else max(outline.left, outline.right)


def _cell(eyes: ReceiverEyes, eye: LaneEye | None, most: float) -> str:
    found = eyes.capabilities
    outline = None if eye is None or found is None else shape(eyes, eye)
    if eye is None or found is None or outline is None:
        return f"{'not measured':<{2 * BAR + 1 + 8 + 8 + 5}}"
    bar = ("#" * _length(outline.left, most)).rjust(BAR) + "|" + ("#" * _length(outline.right, most)).ljust(BAR)
    judged = graded(eyes, eye)
    return (f"{bar} {_amount(found, eye, eyes, 'width'):>7} {_amount(found, eye, eyes, 'height'):>7} "
            f"{GRADE_WORDS[judged.grade]:<4}")


def _length(value: float, most: float) -> int:
    return min(BAR, round(BAR * value / most))


def _amount(found: Capabilities, eye: LaneEye, eyes: ReceiverEyes, of: str) -> str:
    """`>` before what ended with the receiver's last step."""
    steps = width_steps(found, eye) if of == "width" else height_steps(found, eye)
    if steps is None:
        return "-"
    value = picoseconds(found, steps[0], eyes.speed_gts) if of == "width" else millivolts(
        found, steps[0], eyes.speed_gts)
    text = f"{steps[0]}" if value is None else f"{value:.1f}" if of == "width" else f"{value:.0f}"
    return (">" if steps[1] is None else "") + text


def large(eyes: ReceiverEyes, lane: int, columns: int = 64, rows: int = 13) -> list[str]:
    """One eye, with the smallest that the specification allows inside it (dots) where that is known."""
    eye = eyes.lane(lane)
    outline = None if eye is None else shape(eyes, eye)
    if outline is None:
        return [f"lane {lane} at Rx {eyes.receiver} was not measured"]
    half, middle = (columns - 12) // 2, rows // 2
    least = (outline.minimum_width or 0.0) / 2
    least_high = (outline.minimum_height or 0.0) / 2
    across = max(outline.left, outline.right, least) or 1.0
    up, down = outline.up or 0.0, outline.down or 0.0
    along = max(up, down, least_high) or 1.0
    grid = [[" "] * (2 * half + 1) for _ in range(rows)]
    for column in range(2 * half + 1):
        grid[middle][column] = "-"
    for row in range(rows):
        grid[row][half] = "|"
    if outline.minimum_width and (outline.minimum_height or outline.up is None):
        _rhombus(grid, half, middle, least / across, least / across, least_high / along, least_high / along, ".")
    _rhombus(grid, half, middle, outline.left / across, outline.right / across, up / along, down / along, "#")
    grid[middle][half] = "+"
    unit = outline.height_unit
    lines = [f"lane {lane}, {eyes.where}"]
    top, bottom = middle - round(middle * up / along), middle + round(middle * down / along)
    if outline.up is not None:
        grid[top][half] = grid[bottom][half] = "#"
    for row, cells in enumerate(grid):
        label = f"{up:.0f} {unit}" if row == top and outline.up is not None else (
            f"-{down:.0f} {unit}" if row == bottom and outline.down is not None else "")
        lines.append(f"{label:>10} " + "".join(cells).rstrip())
    left, right = f"-{outline.left:.1f} {outline.width_unit}", f"+{outline.right:.1f} {outline.width_unit}"
    lines.append(" " * 11 + left + right.rjust(2 * half + 1 - len(left)))
    if outline.minimum_width:
        lines.append(f"{'':11}dots: the smallest allowed, {outline.minimum_width:g} ps"
                     + (f" by {outline.minimum_height:g} mV" if outline.minimum_height else ""))
    return lines


def _rhombus(grid: list[list[str]], half: int, middle: int, left: float, right: float, up: float, down: float,
             mark: str) -> None:
    """Outline through four points, given as shares of the half axes."""
    for row in range(len(grid)):
        away = (middle - row) / middle
        reach = up if away >= 0 else down
        inside = 1.0 if away == 0 else 1 - abs(away) / reach if reach > 0 else -1.0
        if inside < 0:
            continue
        grid[row][half - round(half * left * inside)] = mark
        grid[row][half + round(half * right * inside)] = mark


def sentences(margins: Margins) -> list[str]:
    """What a person must know beside the table: what was not done, the weakest lane with its contacts, the source."""
    lines = [f"not margined: {one.says}" + (f" ({one.help})" if one.help else "") for one in margins.obstacles]
    if margins.stopped:
        lines.append(f"ended early: {margins.stopped}; what was not measured by then is unknown")
    if margins.not_restored:
        lines.append(f"NOT GIVEN BACK: {margins.not_restored}")
    worst = weakest_of(margins.receivers)
    for eyes in margins.receivers:
        failing = [eye.lane for eye in eyes.lanes if graded(eyes, eye).grade == "fail"]
        if failing:
            lines.append(f"Rx {eyes.receiver}: {_lanes(failing)} below the smallest eye that is allowed")
        weak = weakest(eyes)
        if weak is not None and (weak.stands_out or weak == worst):
            where = place(weak.lane, eyes.toward, margins.max_width or 0)
            if where is not None and margins.retimers:
                where = f"if this segment crosses the slot: {where}"
            lines.append(weak.says + (f"; {where}" if where is not None else ""))
        unknown = sorted({why for eye in eyes.lanes if (why := graded(eyes, eye).why) is not None})
        lines += [f"Rx {eyes.receiver}: not graded, {why}" for why in unknown[:3]]
        bits = [side.bits for eye in eyes.lanes for side in eye.sides.values() if side.bits is not None]
        if bits:
            bound = rounded_up(upper(margins.error_limit) / min(bits))
            lines.append(f"Rx {eyes.receiver}: inside its eyes fewer than {bound} of the bits are wrong (95 %; a step "
                         f"may have {margins.error_limit} errors in {min(bits):.1g} bits)")
        if eyes.resolution > 1:
            lines.append(f"Rx {eyes.receiver}: edges are known to {eyes.resolution} steps; a full run finds each")
        lines += [f"Rx {eyes.receiver}: {note}" for note in eyes.notes]
    lines += margins.notes
    if any(eyes.lanes for eyes in margins.receivers):
        lines.append(SOURCE)
    return lines


def rounded_up(value: float) -> str:
    """Two digits, so that a bound stays one."""
    scale = 10.0 ** (floor(log10(value)) - 1)
    return f"{ceil(value / scale - 1e-9) * scale:.1e}"


def _lanes(numbers: Sequence[int]) -> str:
    words = ", ".join(str(number) for number in numbers)
    return f"lane {words} is" if len(numbers) == 1 else f"lanes {words} are"


def drawn(margins: Margins) -> list[str]:
    """The table, the weakest lane's eye, the sentences: lines of at most 80 columns."""
    lines = table(margins)
    worst = weakest_of(margins.receivers)
    if worst is not None:
        lines += [*large(worst.eyes, worst.lane), ""]
    for sentence in sentences(margins):
        lines += wrapped(sentence)
    return lines


def wrapped(text: str, columns: int = COLUMNS) -> list[str]:
    from textwrap import wrap

    return wrap(text, columns, subsequent_indent="  ")
