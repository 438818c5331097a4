"""A document's PDF and its HTML carry the same numbers, in the same order: the text of both, as other programs read it,
is walked side by side. What one has and the other has not may be a word of its own, never one with a digit."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from boxcheck.report.document import Document
from boxcheck.report.html import html_of
from boxcheck.report.pdf import document_pdf
from tests.report.every_block import document

pytest.importorskip("fpdf", reason="fpdf2 is not installed: pip install -e '.[dev]'")
pytest.importorskip("pymupdf_fonts", reason="the fonts of PDFs are not installed: pip install -e '.[dev]'")
pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed: pip install -e '.[dev]'")

MADE = 1_795_000_000.0
SLACK = 60
"""Letters without a digit that one side may have of its own: `page`, `date`, `name and signature`."""


class Read(HTMLParser):
    """Texts of a page in the order of a PDF's: a figure's caption before its drawing; and the heads of its tables."""

    SILENT = ("style", "title", "nav", "footer", "desc", "metadata")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.heads: set[str] = set()
        self._open: list[str] = []
        self._figure = 0
        self._lists: list[int] = []
        self._head: list[str] = []
        self._summary = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "col", "link", "br"):
            return
        self._open.append(tag)
        if tag == "figure":
            self._figure = len(self.texts)
        elif tag in ("ol", "ul"):
            self._lists.append(0 if tag == "ol" else -1)
        elif tag == "li" and self._lists[-1] >= 0:
            self._lists[-1] += 1
            if not set(self.SILENT) & set(self._open):
                self.texts.append(f"{self._lists[-1]}.")
        elif tag == "thead":
            self._head = []

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if tag in ("ol", "ul"):
            self._lists.pop()
        elif tag == "thead":
            self.heads.add("".join(self._head))

    def handle_data(self, data: str) -> None:
        text = "".join(data.split())
        if not text or set(self.SILENT) & set(self._open):
            return
        if "thead" in self._open:
            self._head.append(text)
        if "caption" in self._open and text == self._summary:
            return  # the title of a fold and of the table in it: said once on paper
        self._summary = text if "summary" in self._open else ""
        if "figcaption" in self._open:
            self.texts.insert(self._figure, text)
            self._figure += 1
        else:
            self.texts.append(text)


def pdf_text(data: bytes, footer: str) -> str:
    """Of all pages, without blanks and without the footer of each."""
    read = pdfium.PdfDocument(data)
    count, parts = len(read), []
    for number, page in enumerate(read, start=1):
        text = bare(page.get_textpage().get_text_range().replace("\ufffe", "-"))
        end = f"page{number}of{count}"
        assert text.endswith(end), text[-80:]
        text = text.removesuffix(end)
        text, short, end = text.rpartition("(shortened)") if "(shortened)" in text else (text, "", text)
        assert end.endswith(bare(footer)) or (short and bare(footer).endswith(end)), (end[-80:], footer)
        parts.append(text if short else text.removesuffix(bare(footer)))
    read.close()
    return "".join(parts)


def bare(text: str) -> str:
    """Without blanks; characters that are told by their number alike in both."""
    return re.sub(r"\[(U\+[0-9A-F]{4,6})\]", r"\1", "".join(text.split())).replace("\ufffd", "U+FFFD")


def difference(texts: list[str], heads: set[str], text: str) -> str:
    """Where HTML's texts and the PDF's text first differ in more than words; empty where they do not."""
    at = 0
    for one in texts:
        one = bare(one)
        while not text.startswith(one, at) and (head := next((
                head for head in heads if head and text.startswith(head, at)), None)):
            at += len(head)
        found = text.find(one, at, at + len(one) + SLACK)
        between = text[at:found] if found >= 0 else ""
        if found >= 0 and not re.search(r"\d", between):
            at = found + len(one)
        elif re.search(r"\d", one):
            return f"HTML has {one!r}, PDF {text[at:at + 120]!r}"
    rest = text[at:]
    return f"PDF has {rest[:120]!r}" if re.search(r"\d", rest) else ""


def compared(one: Document) -> str:
    page = Read(html_of(one))
    assert len(page.texts) > 20
    footer = "".join(f"[U+{ord(char):04X}]" if not char.isprintable() else char for char in one.footer)
    return difference(page.texts, page.heads, pdf_text(document_pdf(one, MADE), footer))


def test_a_document_of_every_block_has_the_same_numbers_in_both() -> None:
    assert compared(document()) == ""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A crashed run of a WOPR whose link in PCIE3 fell to eight lanes."""
    from tests.tui.runs import RUNS

    burning = RUNS["failing"](str(tmp_path_factory.mktemp("run")))
    burning.store.flush()
    burning.close()
    return burning.path


def test_a_run_full_of_hostile_names_has_the_same_numbers_in_both(tmp_path: Path) -> None:
    from boxcheck.report.acceptance import document_of_run
    from tests.tui.runs import RUNS

    burning = RUNS["hostile"](str(tmp_path))
    burning.store.flush()
    burning.close()
    assert compared(document_of_run(burning.path)) == ""


def test_the_report_of_a_run_has_the_same_numbers_in_both(run: str) -> None:
    from boxcheck.report.acceptance import document_of_run

    assert compared(document_of_run(run)) == ""


def test_the_pdf_of_a_run_is_the_same_each_time_and_on_the_paper_that_is_asked_for(
        run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from boxcheck.report.pdf import run_pdf

    monkeypatch.delenv("PAPERSIZE", raising=False)
    first = run_pdf(run, None, None)
    assert run_pdf(run, None, None) == first
    monkeypatch.setenv("PAPERSIZE", "letter")
    letter = run_pdf(run, None, None)
    assert b"/MediaBox [0 0 595.28 841.89]" in first
    assert b"/MediaBox [0 0 612.00 792.00]" in letter
    began = run.rpartition("/")[2][:10].replace("-", "")
    assert f"(D:{began}".encode() in first


def test_one_digit_more_or_less_on_either_side_is_found() -> None:
    texts, heads = ["Checks", "1.25", "GPU", "0", "0", "end"], {"AB1"}
    assert difference(texts, heads, "Checks1.25AB1GPU00end") == ""
    for other in ("Checks1.25GPU0end", "Checks1.26GPU00end", "Checks1.25GPU000end", "ChecksGPU00end",
                  "Checks1.25GPU00end7", "Checks71.25GPU00end", "Checks1.25GPU00"[:-1] + "1end"):
        assert difference(texts, heads, other) != "", other
