"""Curves as lines of text: a title with lowest and highest, the curve beside its scale; reasons in one line each."""

from __future__ import annotations

from textual.content import Content

from boxcheck.store.series import Stretch
from boxcheck.tui.curves import Curve
from boxcheck.tui.look import figure
from boxcheck.tui.plot import JOINED_SECONDS, joined, plot

LABEL = 9
"""Columns of the scale."""


def curve_lines(
    curve: Curve, parts: list[Stretch], width: int, ascii: bool, *, room: int, title: str
) -> list[Content]:
    values = [value for one in parts for value in (one.low, one.high) if value is not None]
    unit = curve.unit.replace("°", "") if ascii else curve.unit
    if not values:
        return [Content.assemble((f" {title}", "bold"), ("   nothing was read between these moments", "$quiet"))]
    low, high = min(values), max(values)
    least = high - low < 0.02 * abs(high)
    floor, top = (low - 0.05 * abs(high), high + 0.05 * abs(high)) if least else (low, high)
    lines = [Content.assemble((f" {title}", "bold"), f"   {figure(low)} to {figure(high)} {unit}")]
    drawn = plot(joined(parts), floor, top, room, ascii=ascii)
    for at, line in enumerate(drawn):
        label = figure(top) if at == 0 else figure(floor) if at == len(drawn) - 1 else ""
        lines.append(Content.assemble((f"{label:>{LABEL - 1}} ", "$quiet"), (line, "$ok")))
    return lines


def held_lines(curve: Curve, parts: list[Stretch], width: int, ascii: bool) -> list[Content]:
    """One line: marked where it held the clocks, a dot where it was read and did not, blank where nothing was read."""
    per = 1 if ascii else 2
    parts = held_on(parts)
    cells = [parts[at:at + per] for at in range(0, len(parts), per)]
    marks = "".join(
        " " if all(one.high is None for one in cell) else "#" if any(one.high for one in cell) else "."
        for cell in cells)
    share = [one.high for one in parts if one.high is not None]
    says = f"{100 * sum(1 for one in share if one) / len(share):.0f} %" if share else ""
    style = "$marginal" if curve.grave else "$quiet"
    return [
        Content.assemble((f" {curve.name}", "bold"), f"   {says}"),
        Content.assemble(" " * LABEL, (marks[:width], style))]


def held_on(parts: list[Stretch]) -> list[Stretch]:
    """With what was read last between two readings, which come once a second; not in a gap."""
    found, last = list(parts), None
    for at, one in enumerate(parts):
        if one.read or one.unread:
            last = one if one.read else None
        elif last is not None and one.begin - last.end <= JOINED_SECONDS:
            found[at] = last
    return found
