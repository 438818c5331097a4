"""The forms in which a stored run is reported: which function makes which, and how its bytes reach a file.

A form is made by `function(path, profile, acceptance)`: path of the store, name or file of a profile or None for the
run's own, the Acceptance of the folder it lies in or None. It gives text, bytes, or an iterable of texts.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.host.owner import as_caller
from boxcheck.report.output import HELP, refuse_place, write_whole
from boxcheck.riser.evidence import Notebook
from boxcheck.usage import UsageError


class Form(msgspec.Struct, frozen=True):
    name: str
    """Of its option."""
    what: str
    module: str
    function: str
    file: str
    """In the folder of an attempt; empty where it has none."""
    riser: bool = False
    """It can show the notebook of a riser experiment: its function takes one as `notebook`."""
    judges: bool = True
    """It says a verdict: its function takes `strict`, by which a marginal one fails."""


FORMS = (
    Form("html", "HTML", "boxcheck.report.html", "run_html", "report.html", riser=True),
    Form("pdf", "PDF", "boxcheck.report.pdf", "run_pdf", "report.pdf", riser=True),
    Form("junit", "JUnit XML", "boxcheck.report.junit_run", "run_junit", "junit.xml"),
    Form("ocptv", "OCP Test & Validation JSONL", "boxcheck.report.ocptv_run", "run_ocptv", "run.ocptv.jsonl"),
    Form("csv", "CSV", "boxcheck.report.csv", "run_csv", "telemetry.csv", judges=False),
    Form("openmetrics", "OpenMetrics", "boxcheck.report.openmetrics", "run_openmetrics", ""),
)

SIGNED_FORMS = ("html", "pdf", "junit", "ocptv")
"""Those that say whether an acceptance is self-signed."""


def form(name: str) -> Form:
    return next(one for one in FORMS if one.name == name)


def is_made(one: Form) -> bool:
    """Whether this boxcheck makes it."""
    there = importlib.util.find_spec(one.module) is not None
    return there and hasattr(importlib.import_module(one.module), one.function)


def made(
    one: Form, path: str, profile: str | None, acceptance: Acceptance | None, notebook: Notebook | None = None,
    strict: bool = False,
) -> Iterator[bytes]:
    """The bytes of a form. `notebook`: of a riser experiment at that box, shown by the forms that can. UsageError where
    this boxcheck does not make it."""
    if not is_made(one):
        raise UsageError(f"this boxcheck makes no {one.what} of a run", "boxcheck judge gives its account")
    found: Any = getattr(importlib.import_module(one.module), one.function)(
        path, profile, acceptance, **({"notebook": notebook} if notebook is not None and one.riser else {}),
        **({"strict": True} if strict and one.judges else {}))
    pieces: Iterable[Any] = (found,) if isinstance(found, str | bytes) else found
    for piece in pieces:
        yield piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace")


def write_form(
    one: Form, place: str, path: str, profile: str | None, acceptance: Acceptance | None,
    notebook: Notebook | None = None, strict: bool = False,
) -> None:
    """Writes a form to a file, whole or not at all, or for `-` to standard output."""
    write_pieces(place, made(one, path, profile, acceptance, notebook, strict))


def write_pieces(place: str, pieces: Iterable[bytes]) -> None:
    """Writes bytes to a file, whole or not at all, or for `-` to standard output. UsageError where that cannot be."""
    if place != "-":
        refuse_place(place)
    try:
        if place == "-":
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        elif os.path.exists(place) and not os.path.isfile(place):  # /dev/stderr, a named pipe
            with as_caller(lambda: open(place, "wb")) as stream:
                stream.writelines(pieces)
        else:
            write_whole(place, pieces)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "standard output" if place == "-" else place
        raise UsageError(f"{where}: {os.strerror(error.errno or 0).lower()}", HELP) from None
