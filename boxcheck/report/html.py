"""A Document as one HTML file: no script, no network; for screens light, dark, wide and narrow, and for paper.

    page = run_html("RUN.sqlite", None, None)

Accessible: a language, headings in order, heads of tables with their scope, a text for each drawing. The same document
gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from boxcheck.report.document import (
    Block,
    Cell,
    Document,
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
from boxcheck.report.html_shapes import HATCH, figure_svg
from boxcheck.report.html_text import css_string, escaped, inline, plain, words_html

if TYPE_CHECKING:
    from boxcheck.certify.acceptance import Acceptance
    from boxcheck.riser.evidence import Notebook

LONG = 16
"""Characters beyond which an outcome's words may be broken."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page asks for nothing, and a browser holds it to that."""


def run_html(
    path: str, profile: str | None = None, acceptance: Acceptance | None = None, notebook: Notebook | None = None,
    strict: bool = False,
) -> str:
    """The report of a stored run. Raises StoreError, UsageError, ProfileError."""
    from boxcheck.report.acceptance import document_of_run

    return html_of(document_of_run(path, profile, acceptance, notebook, strict))


def html_of(document: Document) -> str:
    return "".join(_Page(document).parts())


@cache
def _style() -> str:
    """The style sheet without what only its authors read."""
    text = (Path(__file__).parent / "report.css").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r" ?([{};,]) ?", r"\1", text).strip()


class _Page:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._ids: set[str] = {"hatch"}
        self._number = 0
        self._new_page = False

    def parts(self) -> Iterator[str]:
        document = self._document
        look = "font:7.5pt sans-serif;color:#55606c"
        foot = (f"@page{{@bottom-left{{content:{css_string(document.footer)};{look}}}"
                f"@bottom-right{{content:counter(page) \" / \" counter(pages);{look}}}}}")
        yield (f'<!DOCTYPE html>\n<html lang="{escaped(document.language)}"><head><meta charset="utf-8">'
               f'<meta http-equiv="Content-Security-Policy" content="{escaped(POLICY)}">'
               f'<meta name="viewport" content="width=device-width,initial-scale=1">'
               f'<title>{escaped(document.title)}</title><style>{_style()}{foot}</style></head>\n<body>\n')
        if any(_has_hatch(block) for block in document.blocks):
            yield HATCH
        body, rest = self._cover(document.blocks)
        yield "<main>\n"
        yield from self._blocks(body)
        yield self._contents(rest)
        yield from self._blocks(rest)
        yield f"</main>\n<footer>{inline(document.footer)}</footer>\n</body></html>\n"

    def _cover(self, blocks: Sequence[Block]) -> tuple[Sequence[Block], Sequence[Block]]:
        """What stands before the first heading of a section, and the rest."""
        at = next((at for at, one in enumerate(blocks) if isinstance(one, Heading) and one.level == 2), len(blocks))
        return blocks[:at], blocks[at:]

    def _contents(self, blocks: Sequence[Block]) -> str:
        heads = [one for one in blocks if isinstance(one, Heading) and one.level == 2]
        if len(heads) < 2:
            return ""
        links = "".join(f'<li><a href="#{_anchor(one.anchor)}">{inline(one.text)}</a></li>' for one in heads)
        return f'<nav aria-label="Sections"><ol>{links}</ol></nav>\n'

    def _blocks(self, blocks: Sequence[Block]) -> Iterator[str]:
        for block in blocks:
            if isinstance(block, NewPage):
                self._new_page = True
                continue
            if self._new_page:
                self._new_page = False
                yield '<div class="page"></div>\n'
            yield from self._block(block)

    def _block(self, block: Block) -> Iterator[str]:
        match block:
            case Heading():
                yield f'<h{block.level} id="{self._id(block.anchor)}">{inline(block.text)}</h{block.level}>\n'
            case Paragraph():
                yield f"<p>{words_html(block.words)}</p>\n"
            case Items():
                tag = "ol" if block.ordered else "ul"
                yield f"<{tag}>{''.join(f'<li>{words_html(one)}</li>' for one in block.items)}</{tag}>\n"
            case VerdictWord():
                waived = '<span class="waived">with waivers</span>' if block.with_waivers else ""
                yield (f'<div class="verdict {block.outcome.value}"><div class="band"></div><div class="text"><strong>'
                       f'{inline(block.word)}</strong>{waived}<span class="why">{inline(block.reason)}</span>'
                       "</div></div>\n")
            case Facts():
                named: dict[str, list[str]] = {}
                for name, words in block.rows:  # a name once, with all its values
                    named.setdefault(name, []).append(f"<dd>{words_html(words)}</dd>")
                if named:
                    rows = "".join(f"<dt>{inline(name)}</dt>{''.join(values)}" for name, values in named.items())
                    yield f"<dl>{rows}</dl>\n"
            case Table() if not block.rows:
                yield f"<p><b>{inline(block.caption)}</b>: none</p>\n"
            case Table():
                yield from self._table(block)
            case Figure():
                name = self._name()
                yield (f'<figure><div class="wide" role="group" tabindex="0" aria-label="{escaped(block.caption)}">'
                       f"{figure_svg(block, name)}</div><figcaption>{inline(block.caption)}</figcaption></figure>\n")
            case Fold():
                yield f"<details><summary>{inline(block.title)}</summary>\n"
                yield from self._blocks(block.blocks)
                yield "</details>\n"
            case SignatureLines():
                lines = "".join(f"<p>{inline(role)}<span>date</span></p>" for role in block.roles)
                yield f'<div class="lines">{lines}</div>\n'

    def _table(self, table: Table) -> Iterator[str]:
        whole = sum(column.share for column in table.columns) or 1.0
        classes = [*(["few"] if len(table.columns) <= 3 else []), *(["short"] if _is_matrix(table) else [])]
        few = f' class="{" ".join(classes)}"' if classes else ""
        yield (f'<div class="wide" role="group" tabindex="0" aria-label="{escaped(table.caption)}"><table{few}>'
               f"<caption>{inline(table.caption)}</caption><colgroup>")
        yield "".join(f'<col style="width:{100 * column.share / whole:.1f}%">' for column in table.columns)
        yield "</colgroup><thead><tr>"
        for column in table.columns:
            number = ' class="n"' if column.numeric else ""
            # An empty head would be a head of nothing.
            yield f'<th scope="col"{number}>{inline(column.head)}</th>' if column.head.strip() else "<td></td>"
        yield "</tr></thead><tbody>\n"
        for row in table.rows:
            cells = (self._cell(cell, table.columns[at].numeric, row.head and at == 0)
                     for at, cell in enumerate(row.cells[:len(table.columns)]))
            yield f"<tr>{''.join(cells)}</tr>\n"
        yield "</tbody></table></div>\n"
        if plain(table.note):
            yield f'<p class="note">{words_html(table.note)}</p>\n'

    def _cell(self, cell: Cell, numeric: bool, head: bool) -> str:
        classes = [*(["n"] if numeric else []), *(["o", cell.outcome.value] if cell.outcome is not None else []),
                   *([cell.shade.replace("heat", "h")] if cell.shade is not None else [])]
        if cell.outcome is not None and len(plain(cell.words)) > LONG:
            classes.append("long")
        named = f' class="{" ".join(classes)}"' if classes else ""
        head = head and bool(plain(cell.words).strip())
        tag = "th" if head else "td"
        scope = ' scope="row"' if head else ""
        return f"<{tag}{scope}{named}>{words_html(cell.words)}</{tag}>"

    def _id(self, anchor: str) -> str:
        """Once in the page, whatever the document says."""
        wanted = _anchor(anchor)
        found, number = wanted, 2
        while found in self._ids:
            found, number = f"{wanted}-{number}", number + 1
        self._ids.add(found)
        return found

    def _name(self) -> str:
        self._number += 1
        return self._id(f"drawing-{self._number}")


MATRIX_ROWS = 16


def _is_matrix(table: Table) -> bool:
    """Numbers in all columns but the first: small ones are not parted on paper."""
    return len(table.rows) <= MATRIX_ROWS and all(one.numeric for one in table.columns[1:])


def _anchor(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", text) or "part"


def _has_hatch(block: Block) -> bool:
    if isinstance(block, Fold):
        return any(map(_has_hatch, block.blocks))
    return isinstance(block, Figure) and any(getattr(shape, "hatched", False) for shape in block.shapes)
