"""Figures on pages, as lines and text: each whole on a page, made smaller where it is larger than one."""

from __future__ import annotations

from boxcheck.report.document import Box, Figure, Label, Line
from boxcheck.report.pdf_ops import COLORS, Area, Op, Path, stripes
from boxcheck.report.pdf_pages import LEADING, Pages, line_ops
from boxcheck.report.pdf_wrap import Line as TextLine
from boxcheck.report.pdf_wrap import wrap

CAPTION = 9.0


def draw_figure(pages: Pages, figure: Figure) -> None:
    caption = wrap(pages.faces, figure.caption, pages.width / CAPTION, "bold") if figure.caption else ()
    above = _above(pages, len(caption))
    factor = _factor(pages, figure, above)
    pages.need(above + figure.height * factor)
    if figure.caption:
        with pages.content("P"):
            pages.lines(figure.caption, CAPTION, face="bold")
    pages.y += 3
    pages.need(figure.height * factor)  # below a caption of many lines
    with pages.content("Figure", figure.says or figure.caption):
        for shape in figure.shapes:
            pages.put(*_ops(pages, shape, factor))
    pages.y += figure.height * factor


def height(pages: Pages, figure: Figure) -> float:
    lines = len(wrap(pages.faces, figure.caption, pages.width / CAPTION, "bold")) if figure.caption else 0
    above = _above(pages, lines)
    return above + figure.height * _factor(pages, figure, above)


def _above(pages: Pages, lines: int) -> float:
    """Of the caption; one that takes more than a third of a page may stand on another than its drawing."""
    return min(lines * CAPTION * LEADING, pages.height / 3) + 3


def _factor(pages: Pages, figure: Figure, above: float) -> float:
    return min(1.0, pages.width / max(figure.width, 1), (pages.height - above) / max(figure.height, 1))


def _ops(pages: Pages, shape: Line | Box | Label, factor: float) -> list[Op]:
    left, top = pages.left, pages.y
    if isinstance(shape, Line):
        points = tuple((left + x * factor, top + y * factor) for x, y in shape.points)
        return [Path(points, COLORS[shape.role], shape.width * factor, shape.dash)] if len(points) > 1 else []
    if isinstance(shape, Box):
        x, y = left + shape.x * factor, top + shape.y * factor
        width, tall = shape.width * factor, shape.height * factor
        fill = COLORS[shape.fill] if shape.fill else None
        edge = COLORS[shape.edge] if shape.edge else None
        ops: list[Op] = [Area(x, y, width, tall, fill=fill, edge=None if shape.hatched else edge)]
        if shape.hatched:
            mark = edge or COLORS["ink"]
            ops += [Path(ends, mark, 0.4) for ends in stripes(x, y, width, tall, 5)]
            ops += [Area(x, y, width, tall, edge=edge)] if edge else []
        return ops
    size = shape.size * factor
    line = _label(pages, shape)
    width = line.width * size
    x = left + shape.x * factor - {"start": 0.0, "middle": width / 2, "end": width}[shape.anchor]
    return list(line_ops(line, x, top + shape.y * factor, size))


def _label(pages: Pages, label: Label) -> TextLine:
    """Its text as a line; cut where it is wider than it may be, as one is whose characters stand as numbers."""
    text = label.text.replace("\n", " ")

    def line(shown: str) -> TextLine:
        return wrap(pages.faces, shown, 1e9, "bold" if label.strong else "regular", label.role)[0]

    whole = line(text)
    if not label.room or whole.width * label.size <= label.room:
        return whole
    cut = (line(f"{text[:count].rstrip('…')}…") for count in range(len(text) - 1, -1, -1))
    return next((one for one in cut if one.width * label.size <= label.room), line(""))
