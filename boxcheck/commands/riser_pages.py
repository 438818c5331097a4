"""Pages of `boxcheck riser` in every form that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boxcheck.commands.riser import Options
    from boxcheck.report.document import Document


def write_page(make: Callable[[], Document], started: float, options: Options) -> None:
    """The page as HTML and PDF; nothing where neither is asked for. `started`: seconds since the epoch."""
    if not options.html and not options.pdf:
        return
    from boxcheck.report.forms import write_pieces

    document = make()
    if options.html:
        from boxcheck.report.html import html_of

        write_pieces(options.html, (html_of(document).encode("utf-8", "replace"),))
    if options.pdf:
        from boxcheck.report.pdf import asked_paper, document_pdf

        write_pieces(options.pdf, (document_pdf(document, started, asked_paper()),))
