"""Marks of a page written into a PDF, tagged as content for readers that speak it (ISO 32000-1, 14.7 and 14.8)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from boxcheck.report.pdf_ops import COLORS, Area, Begin, End, Entry, Op, Path, Text
from boxcheck.report.pdf_pages import BOTTOM, LEADING, Pages, line_ops
from boxcheck.report.pdf_wrap import wrap

if TYPE_CHECKING:
    from fpdf import FPDF

FOOT = 7.5


def write_page(pdf: FPDF, ops: Sequence[Op]) -> None:
    """Writes the marks on the last page of `pdf`."""
    contents = 0
    empty = _empty(ops)
    for number, op in enumerate(ops):
        match op:
            case Text():
                pdf.set_font(op.font, "", op.size)
                pdf.set_text_color(*op.color)
                pdf.text(op.x, op.y, op.text)
            case Area():
                _area(pdf, op)
            case Path():
                pdf.set_draw_color(*op.color)
                pdf.set_line_width(op.width)
                if op.dash:
                    pdf.set_dash_pattern(3, 2)
                pdf.polyline(op.points)
                if op.dash:
                    pdf.set_dash_pattern()
            case Begin() if number not in empty:
                if op.tag == "Artifact":
                    pdf._out("/Artifact BMC")
                else:
                    pdf._add_marked_content(struct_type=f"/{op.tag}", mcid=contents, alt_text=op.alt or None)
                    pdf._out(f"/{op.tag} <</MCID {contents}>> BDC")
                    contents += 1
            case End() if number not in empty:
                pdf._out("EMC")
            case Entry():
                last = pdf._outline[-1].level if pdf._outline else -1
                pdf.set_y(op.y)
                pdf.start_section(op.title, min(op.level - 1, last + 1))


def footer(pages: Pages, words: str, number: int) -> list[Op]:
    """`words` at the left, which page this is at the right; known once all pages are laid out."""
    count = f"page {number} of {len(pages.pages)}"
    right = wrap(pages.faces, count, 1e9, role="dim")[0]
    room = (pages.width - right.width * FOOT - 24) / FOOT
    lines = wrap(pages.faces, words.replace("\n", " "), room, role="dim")
    if len(lines) > 3:  # a long name; the end holds the id and the hash
        lines = (*wrap(pages.faces, "(shortened)", room, role="dim"), *lines[-2:])
    y = pages.paper_height - BOTTOM + 20
    ops: list[Op] = [Begin("Artifact"), Path(((pages.left, y - 4), (pages.left + pages.width, y - 4)),
                                             COLORS["grid"], 0.5)]
    for line in lines:
        y += FOOT * LEADING
        ops += line_ops(line, pages.left, y - 2, FOOT)
    ops += line_ops(right, pages.left + pages.width - right.width * FOOT,
                    pages.paper_height - BOTTOM + 20 + FOOT * LEADING - 2, FOOT)
    return [*ops, End()]


def _area(pdf: FPDF, op: Area) -> None:
    if op.width <= 0 or op.height <= 0 or (op.fill is None and op.edge is None):
        return
    if op.fill is not None:
        pdf.set_fill_color(*op.fill)
    if op.edge is not None:
        pdf.set_draw_color(*op.edge)
        pdf.set_line_width(op.edge_width)
    pdf.rect(op.x, op.y, op.width, op.height, "DF" if op.fill and op.edge else "F" if op.fill else "D")


def _empty(ops: Sequence[Op]) -> set[int]:
    """Indices of each Begin that its End follows at once: content whose first line went to the next page."""
    found: set[int] = set()
    for number, (one, other) in enumerate(pairwise(ops)):
        if isinstance(one, Begin) and isinstance(other, End):
            found |= {number, number + 1}
    return found
