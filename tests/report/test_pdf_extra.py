"""Where the extra `pdf` is not installed, or does not load: one sentence, and nothing else is slower or breaks."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys

import pytest

from boxcheck.report.pdf import document_pdf
from boxcheck.usage import UsageError
from tests.report.every_block import document

MADE = 1_795_000_000.0


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "fpdf" else find(name, *more))
    with pytest.raises(UsageError, match=r"a PDF needs fpdf2.* not installed") as caught:
        document_pdf(document(), MADE)
    assert caught.value.help == "pip install 'boxcheck[pdf]'"


def test_a_library_that_cannot_be_loaded_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise OSError("libjpeg.so.62: cannot open shared object file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: object())
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(UsageError, match=r"fpdf2 cannot be loaded: libjpeg.so.62"):
        document_pdf(document(), MADE)


def test_no_font_and_no_library_is_loaded_before_a_pdf_is_asked_for() -> None:
    code = "import sys, boxcheck.report.pdf; print([m for m in sys.modules if m.startswith(('fpdf', 'PIL', 'pymupdf'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          check=True).stdout == "[]\n"
