"""Pictures of screens as SVG: the toolkit's own, without what changes from run to run and without fonts of other sites."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from boxcheck.tui.app import BoxcheckApp
from boxcheck.tui.start import StartApp
from tests.tui.showing import on_screen, press, settled

FONT = 'font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;'


GROUND = re.compile(
    r'<rect fill="(#\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" shape-rendering="crispEdges"/>')
GROUNDS = re.compile(rf"(?:{GROUND.pattern})+")


def grounds(rects: str) -> str:
    """Rectangles of one colour that touch as one, first along lines and then from line to line."""
    found: list[list[float | str]] = []
    for fill, *numbers in GROUND.findall(rects):
        x, y, width, height = map(float, numbers)
        last = found[-1] if found else None
        if last and (last[0], last[2]) == (fill, y) and abs(float(last[1]) + float(last[3]) - x) < 0.11:
            last[3] = x + width - float(last[1])
        elif last and (last[0], last[1]) == (fill, x) and abs(float(last[3]) - width) < 0.11 and _below(last, y):
            last[4] = y + height - float(last[2])
        else:
            found.append([fill, x, y, width, height])
    whole: list[list[float | str]] = []
    for one in found:  # lines that became whole only at their end
        last = whole[-1] if whole else None
        same = last is not None and (last[0], last[1]) == (one[0], one[1]) and abs(float(last[3]) - float(one[3])) < 0.11
        if last is not None and same and _below(last, float(one[2])):
            last[4] = float(one[2]) + float(one[4]) - float(last[2])
        else:
            whole.append(one)
    return "\n".join(
        f'<rect fill="{fill}" x="{x:.10g}" y="{y:.10g}" width="{width:.6g}" height="{height:.6g}"'
        ' shape-rendering="crispEdges"/>' for fill, x, y, width, height in whole) + "\n"


def _below(above: list[float | str], y: float) -> bool:
    """Lines overlap by a little."""
    return 0.0 <= float(above[2]) + float(above[4]) - y < 0.5


def plain_svg(svg: str) -> str:
    """Short names for what is counted, no fonts to fetch, no marks of whoever made it; a line an element."""
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family:[^;]*;", FONT, svg)
    svg = re.sub(r"terminal-\d+-", "t-", svg)
    svg = re.sub(r'<clipPath id="t-line-\d+">.*?</clipPath>\s*', "", svg, flags=re.DOTALL)
    svg = re.sub(r' clip-path="url\(#t-line-\d+\)"', "", svg)  # text has its length, and needs no clipping
    svg = re.sub(r'<text [^>]*>\n</text>', "\n", svg)
    svg = GROUNDS.sub(lambda found: grounds(found.group()), svg)
    svg = re.sub(r"[ \t]+\n", "\n", svg)
    return re.sub(r"\n\s*\n+", "\n", svg).replace("&#160;", "\u00a0").strip() + "\n"


@contextmanager
def colours(color: bool) -> Iterator[None]:
    """The environment as somebody who wants no colour has it, or as somebody who says nothing."""
    before = os.environ.pop("NO_COLOR", None)
    if not color:
        os.environ["NO_COLOR"] = "1"
    try:
        yield
    finally:
        os.environ.pop("NO_COLOR", None)
        if before is not None:
            os.environ["NO_COLOR"] = before


async def picture(
    app: BoxcheckApp | StartApp, size: tuple[int, int], keys: tuple[str, ...], *, title: str, wait: float = 0.0,
) -> str:
    return (await pictures(app, (size,), keys, titles=(title,), wait=wait))[0]


async def pictures(
    app: BoxcheckApp | StartApp, sizes: Sequence[tuple[int, int]], keys: tuple[str, ...], *, titles: Sequence[str],
    wait: float = 0.0,
) -> list[str]:
    """The same screen in terminals of several sizes, one after the other: it is drawn anew each time."""
    found = []
    async with on_screen(app, sizes[0]) as pilot:
        for key in keys:
            await press(pilot, key)
        if wait:
            await pilot.pause(wait)
        for number, (size, title) in enumerate(zip(sizes, titles, strict=True)):
            if number:
                await pilot.resize_terminal(*size)
            await settled(pilot)
            app.clear_notifications()
            await pilot.pause()
            found.append(plain_svg(app.export_screenshot(title=title)))
    return found
