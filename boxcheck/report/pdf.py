"""A document as PDF, through fpdf2 (the extra `pdf`): the same words and numbers as in HTML, for paper.

Reads nothing but the document, and fonts. The same document, date, paper and fonts give the same bytes. By hand:
`boxcheck report RUN --pdf F`.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
import tempfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from boxcheck.report.document import Document, Paragraph, Span
from boxcheck.report.pdf_east_asian import PACKAGE
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.certify.acceptance import Acceptance
    from boxcheck.report.pdf_pages import Paper
    from boxcheck.riser.evidence import Notebook

NUMBERS = (
    "In this PDF a number in brackets that begins with U+ stands for a character that its fonts do not have, that is "
    "not shown, or that would turn the writing round: its number in Unicode. The HTML and the other files hold every "
    "name as it was given.")
EAST_ASIAN = (
    f"For Chinese, Japanese and Korean ones, install a font on the machine that makes the PDF ({PACKAGE} of Debian and "
    "Ubuntu), and make it again.")
INSTALL = "pip install 'boxcheck[pdf]'"


def document_pdf(document: Document, made: float, paper: Paper = "a4") -> bytes:
    """The bytes of a PDF. `made` is the date of what is reported, in seconds since the epoch; it stands in the file's
    properties. UsageError where fpdf2 or its fonts are not installed or cannot be loaded."""
    require()
    from fpdf import FPDF, ViewerPreferences

    from boxcheck import __version__
    from boxcheck.report.pdf_blocks import draw_blocks
    from boxcheck.report.pdf_faces import Faces, visible
    from boxcheck.report.pdf_pages import SIZES, Pages
    from boxcheck.report.pdf_write import footer, write_page

    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it tells of tables that it leaves out
    pdf = FPDF(unit="pt", format=SIZES[paper])
    pdf.set_auto_page_break(False)
    pdf.alias_nb_pages(None)  # type: ignore[arg-type]
    pdf.set_title(visible(document.title))
    pdf.viewer_preferences = ViewerPreferences(display_doc_title=True)
    pdf.set_lang(document.language if re.fullmatch(r"[A-Za-z0-9-]{2,35}", document.language) else "en")
    pdf.set_creator(f"boxcheck {__version__}")
    pdf.set_producer("fpdf2")
    pdf.set_creation_date(_date(made))
    with _folder() as folder:
        faces = Faces(pdf, folder)
        pages = Pages(paper, faces)
        draw_blocks(pages, document.blocks)
        if faces.replaced:
            more = f" {EAST_ASIAN}" if faces.lacks_east_asian else ""
            draw_blocks(pages, (Paragraph(words=(Span(NUMBERS + more, "dim"),)),))
        if len(pages.pages) > 1 and not pages.pages[-1]:
            pages.pages.pop()
        for number, ops in enumerate(pages.pages, start=1):
            pdf.add_page()
            write_page(pdf, [*ops, *footer(pages, document.footer, number)])
        return bytes(pdf.output())


def run_pdf(
    path: str, profile: str | None, acceptance: Acceptance | None, notebook: Notebook | None = None,
    strict: bool = False,
) -> bytes:
    """The report of a stored run. Dated when the run ended, so that it is the same whenever it is made; on the paper
    that PAPERSIZE names, as of libpaper: a4 or letter, else A4."""
    require()
    from boxcheck.report.acceptance import document_of_run
    from boxcheck.store.reader import RunReader

    document = document_of_run(path, profile, acceptance, notebook, strict)
    with RunReader(path) as reader:
        run = reader.run()
    moment = run.end.at if run.end else None
    made = acceptance.finished if acceptance else moment.wall if moment else max(
        (session.began.wall for session in run.sessions), default=0.0)
    return document_pdf(document, made, asked_paper())


def asked_paper() -> Paper:
    """By PAPERSIZE, as of libpaper."""
    return "letter" if os.environ.get("PAPERSIZE", "").lower() == "letter" else "a4"


def require() -> None:
    """UsageError where a library is missing that a PDF needs."""
    missing = [name for name, module in (("fpdf2", "fpdf"), ("pymupdf-fonts", "pymupdf_fonts"))
               if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"a PDF needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
                         "installed", INSTALL)
    try:
        importlib.import_module("fpdf")
    except Exception as error:  # noqa: BLE001 - a library's own trouble, whatever it is
        raise UsageError(f"fpdf2 cannot be loaded: {error}", INSTALL) from None


def _folder() -> tempfile.TemporaryDirectory[str]:
    """For the fonts, which fpdf2 reads from files."""
    try:
        return tempfile.TemporaryDirectory(prefix="boxcheck-")
    except OSError as error:
        raise UsageError(f"no folder for the fonts of a PDF can be made: {error.strerror}",
                         "set TMPDIR to one that can be written") from None


def _date(made: float) -> datetime:
    try:
        return datetime.fromtimestamp(int(made), UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)
