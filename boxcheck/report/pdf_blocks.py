"""Blocks of a document on pages, each kind in its own way."""

from __future__ import annotations

from collections.abc import Sequence

from boxcheck.report.document import (
    Block,
    Facts,
    Figure,
    Fold,
    Heading,
    Items,
    NewPage,
    Paragraph,
    SignatureLines,
    Table,
    VerdictWord,
)
from boxcheck.report.pdf_faces import visible
from boxcheck.report.pdf_figure import draw_figure, height
from boxcheck.report.pdf_ops import COLORS, OF_OUTCOME, Area, Entry, Path, pattern
from boxcheck.report.pdf_pages import ASCENT, LEADING, Pages, line_ops
from boxcheck.report.pdf_table import draw_table, least_height
from boxcheck.report.pdf_wrap import wrap

BODY = 9.5
HEADINGS = {1: 19.0, 2: 13.0, 3: 10.5}
ABOVE = {1: 18.0, 2: 16.0, 3: 10.0}


def draw_blocks(pages: Pages, blocks: Sequence[Block]) -> None:
    for number, block in enumerate(blocks):
        if isinstance(block, Heading):
            _heading(pages, block, blocks[number + 1:number + 4])
        elif isinstance(block, Paragraph) and number + 1 < len(blocks) and _leads(block):
            pages.skip(5)
            pages.need(BODY * LEADING + _follows(pages, blocks[number + 1:number + 3]))
            _block(pages, block)
        else:
            _block(pages, block)


def _block(pages: Pages, block: Block) -> None:
    match block:
        case Paragraph():
            pages.skip(5)
            with pages.content("P"):
                pages.lines(block.words, BODY)
        case Items():
            pages.skip(4)
            _items(pages, block)
        case VerdictWord():
            pages.skip(10)
            _verdict(pages, block)
        case Facts():
            pages.skip(6)
            _facts(pages, block)
        case Table():
            pages.skip(9)
            draw_table(pages, block)
        case Figure():
            pages.skip(9)
            draw_figure(pages, block)
        case Fold():
            pages.skip(9)
            pages.need(min(BODY * LEADING + 9 + _follows(pages, block.blocks), pages.height))
            first = block.blocks[0] if block.blocks else None
            if not (isinstance(first, Table) and first.caption == block.title):  # which says it as well
                with pages.content("P"):
                    pages.lines(block.title, BODY, face="bold")
            draw_blocks(pages, block.blocks)
        case NewPage():
            if not pages.is_fresh:
                pages.turn()
        case SignatureLines():
            _signatures(pages, block)
        case Heading():
            _heading(pages, block, ())


def _leads(block: Paragraph) -> bool:
    """Whether it is a line in strong letters that names what follows."""
    return not isinstance(block.words, str) and len(block.words) > 0 and all(
        span.manner == "strong" for span in block.words) and sum(len(span.text) for span in block.words) < 80


def _heading(pages: Pages, block: Heading, after: Sequence[Block]) -> None:
    size = HEADINGS[block.level]
    pages.skip(ABOVE[block.level])
    lines = wrap(pages.faces, block.text, pages.width / size, "bold")
    pages.need(min(len(lines) * size * LEADING + _follows(pages, after), pages.height))
    tag = {1: "H1", 2: "H2", 3: "H3"}[block.level]
    pages.put(Entry(block.level, visible(block.text), pages.y))
    with pages.content(tag):  # type: ignore[arg-type]
        pages.lines(block.text, size, face="bold")
        if block.level == 2:
            pages.put(Path(((pages.left, pages.y + 1), (pages.left + pages.width, pages.y + 1)), COLORS["ink"], 0.8))
            pages.y += 3
    pages.y += 1


def _follows(pages: Pages, after: Sequence[Block]) -> float:
    """Room that a heading keeps below itself, so that it never stands alone at the foot of a page."""
    if not after:
        return 0.0
    block = after[0]
    if isinstance(block, Heading):
        return HEADINGS[block.level] * LEADING + ABOVE[block.level] + _follows(pages, after[1:])
    if isinstance(block, Figure):
        return height(pages, block) + 12
    if isinstance(block, Table):
        return least_height(pages, block) + 12
    if isinstance(block, Fold):
        return BODY * LEADING + 9 + _follows(pages, block.blocks)
    if isinstance(block, SignatureLines):
        return 14 + SIGNATURE_TALL * len(block.roles)
    if isinstance(block, Paragraph) and len(after) > 1 and isinstance(after[1], Table | Figure | Fold | SignatureLines):
        return 40 + _follows(pages, after[1:])
    if isinstance(block, Facts):
        rows = (len(block.rows) * BODY if len(after) > 1 and isinstance(after[1], Figure) else 2 * BODY) * LEADING + 15
        return rows + (_follows(pages, after[1:]) if len(after) > 1 and isinstance(after[1], Figure) else 0.0)
    if isinstance(block, VerdictWord):
        return 110.0
    return 34.0


def _items(pages: Pages, block: Items) -> None:
    indent = 20.0 if block.ordered and len(block.items) > 9 else 14.0
    with pages.content("Div"):
        for number, words in enumerate(block.items, start=1):
            pages.need(BODY * LEADING)
            mark = wrap(pages.faces, f"{number}." if block.ordered else "•", 1e9)[0]
            pages.put(*line_ops(mark, pages.left + indent - 5 - mark.width * BODY, pages.y + BODY * ASCENT, BODY))
            pages.lines(words, BODY, indent=indent)
            pages.y += 1.5


def _verdict(pages: Pages, block: VerdictWord) -> None:
    """The word, large, beside a block whose pattern says the same without colours."""
    color = COLORS[OF_OUTCOME[block.outcome]]
    block_width, inner = 46.0, pages.width - 46.0 - 28.0
    one = wrap(pages.faces, block.word, 1e9, "bold")[0].width
    size = max(14.0, min(44.0, inner / max(one, 0.1)))
    word = wrap(pages.faces, block.word, inner / size, "bold")
    reason = wrap(pages.faces, block.reason, inner / 11) if block.reason else ()
    with_waivers = wrap(pages.faces, "with waivers", inner / 13, "bold") if block.with_waivers else ()
    tall = 20 + len(word) * size * 1.15 + len(with_waivers) * 13 * LEADING + len(reason) * 11 * LEADING
    tall = min(tall, pages.height)
    pages.need(tall)
    top = pages.y
    with pages.content("P"):
        pages.put(Area(pages.left, top, pages.width, tall, edge=color, edge_width=1.6))
        pages.put(*pattern(block.outcome, pages.left + 6, top + 6, block_width - 6, tall - 12, 8.0))
        x, y = pages.left + block_width + 14, top + 8
        for line in word:
            pages.put(*line_ops(line, x, y + size * 0.92, size, color))
            y += size * 1.15
        for line in with_waivers:
            pages.put(*line_ops(line, x, y + 13 * ASCENT, 13, COLORS["marginal"]))
            y += 13 * LEADING
        for line in reason:
            if y + 11 * LEADING > pages.floor:
                pages.turn()
                y = pages.y
            pages.put(*line_ops(line, x, y + 11 * ASCENT, 11))
            y += 11 * LEADING
    pages.y = max(y, top + tall) if y >= top else y
    pages.y = min(pages.y + 4, pages.floor)


def _facts(pages: Pages, block: Facts) -> None:
    names = [wrap(pages.faces, name, pages.width * 0.34 / BODY, role="dim") for name, _ in block.rows]
    widest = max((line.width for lines in names for line in lines), default=0.0) * BODY
    indent = min(max(widest + 16, 90.0), pages.width * 0.34 + 16)
    with pages.content("P"):
        for name, (_, value) in zip(names, block.rows, strict=True):
            lines = wrap(pages.faces, value, (pages.width - indent) / BODY)
            pages.need(min(max(len(name), len(lines)), 4) * BODY * LEADING)
            page, top = len(pages.pages), pages.y
            for number, line in enumerate(name):
                pages.put(*line_ops(line, pages.left, top + number * BODY * LEADING + BODY * ASCENT, BODY))
            for line in lines:
                pages.need(BODY * LEADING)
                pages.put(*line_ops(line, pages.left + indent, pages.y + BODY * ASCENT, BODY))
                pages.y += BODY * LEADING
            if page == len(pages.pages):
                pages.y = max(pages.y, top + len(name) * BODY * LEADING)
            pages.y += 0.8


SIGNATURE_TALL = 50.0


def _signatures(pages: Pages, block: SignatureLines) -> None:
    tall = SIGNATURE_TALL
    pages.skip(14)
    pages.need(min(tall * len(block.roles), pages.height))
    thirds = ((0.0, 0.56, "name and signature"), (0.62, 1.0, "date"))
    for role in block.roles:
        pages.need(tall)
        with pages.content("P"):
            base = pages.y + 30
            for start, end, below in thirds:
                x, until = pages.left + start * pages.width, pages.left + end * pages.width
                pages.put(Path(((x, base), (until, base)), COLORS["ink"], 0.7))
                words = f"{role}: {below}" if start == 0 else below
                for number, line in enumerate(wrap(pages.faces, words, (until - x) / 8, role="dim")):
                    pages.put(*line_ops(line, x, base + 10 + number * 8 * LEADING, 8))
        pages.y += tall

