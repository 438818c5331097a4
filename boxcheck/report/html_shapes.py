"""A Figure as SVG inside a page: colours by class, so that light, dark and print differ; numbers to a tenth."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.report.document import Box, Figure, Label, Line
from boxcheck.report.html_text import escaped

HATCH = ('<svg width="0" height="0" style="position:absolute" aria-hidden="true" focusable="false"><defs>'
         '<pattern id="hatch" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
         '<path d="M0 0V4" class="kpaper" stroke-width="2.4"/></pattern></defs></svg>')
"""Lines over a colour, for print without colours. One for the whole page."""


def number(value: float) -> str:
    """To a tenth, without a zero that says nothing."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def figure_svg(figure: Figure, name: str) -> str:
    """`name` makes its ids differ from those of other figures."""
    inner = "".join(_shapes(figure))
    caption = figure.caption if figure.caption.strip() else "drawing"
    says = figure.says if figure.says.strip() else caption
    return (f'<svg viewBox="0 0 {number(figure.width)} {number(figure.height)}" role="img" '
            f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escaped(caption)}</title>'
            f'<desc id="{name}-d">{escaped(says)}</desc>{inner}</svg>')


def _shapes(figure: Figure) -> Iterator[str]:
    for shape in figure.shapes:
        if isinstance(shape, Line):
            if shape.points:
                dash = " d" if shape.dash else ""
                yield f'<path class="k{shape.role}{dash}" stroke-width="{shape.width:g}" d="{_path(shape)}"/>'
        elif isinstance(shape, Box):
            yield from _box(shape)
        else:
            yield _label(shape)


def _path(line: Line) -> str:
    """The first point, then steps: half as long as points. Steps are of rounded points, so errors do not add up."""
    tenths = [(round(10 * x), round(10 * y)) for x, y in line.points]
    x, y = tenths[0]
    parts = [f"M{number(x / 10)} {number(y / 10)}"]
    steps: list[str] = []
    for right, down in tenths[1:]:
        across, along = number((right - x) / 10), number((down - y) / 10)
        steps.append(f"{_short(across)}{'' if along.startswith('-') else ' '}{_short(along)}")
        x, y = right, down
    if steps:
        parts.append("l" + steps[0] + "".join(one if one.startswith("-") else f" {one}" for one in steps[1:]))
    return "".join(parts)


def _short(text: str) -> str:
    """`.5` for `0.5`."""
    return text[1:] if text.startswith("0.") else f"-{text[2:]}" if text.startswith("-0.") else text


def _box(box: Box) -> Iterator[str]:
    place = (f'x="{number(box.x)}" y="{number(box.y)}" width="{number(max(box.width, 0))}" '
             f'height="{number(max(box.height, 0))}"')
    edge = f" k{box.edge}" if box.edge is not None else ""
    yield f'<rect class="f{box.fill or "none"}{edge}" {place}/>'
    if box.hatched:
        yield f'<rect fill="url(#hatch)" {place}/>'


def _label(label: Label) -> str:
    anchor = "" if label.anchor == "start" else f' text-anchor="{label.anchor}"'
    strong = " w" if label.strong else ""
    return (f'<text class="f{label.role}{strong}" x="{number(label.x)}" y="{number(label.y)}" '
            f'font-size="{label.size:g}"{anchor}>{escaped(label.text)}</text>')
