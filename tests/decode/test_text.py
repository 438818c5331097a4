"""Text that a machine gave us: no control character gets through, placeholders are told apart."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcheck.decode.text import MAX_TEXT_CHARACTERS, clean_text, meaningful
from boxcheck.model import Unread


@pytest.mark.parametrize(("raw", "clean"), [
    (b"ROMED8-2T", "ROMED8-2T"),
    (b"AMD EPYC 7262 8-Core Processor    ", "AMD EPYC 7262 8-Core Processor    "),
    (b"\x1b[31mred\x1b[0m", "[31mred[0m"),
    (b"\x1b]0;title\x07text", "]0;titletext"),
    (b"one\r\ntwo\tthree", "one  two three"),
    (b"nul\x00del\x7fc1\xc2\x9b", "nuldelc1"),
    (b"\xff\xfeK\xf6ln", "��K�ln"),
    ("Köln, 東京".encode(), "Köln, 東京"),
    ("ab\u202ecd\u2066ef\u200bgh\ufeff", "abcdefgh"),
    ("line\u2028two", "line two"),
    ("lone\udc9bsurrogate", "lone�surrogate"),
    ("\U000e0041tag", "tag"),
    ("soft\u00adhyphen", "softhyphen"),
    ("<b>[bold]markup[/]</b>", "<b>[bold]markup[/]</b>"),
    (b"", ""),
])
def test_clean(raw: bytes | str, clean: str) -> None:
    assert clean_text(raw) == clean


def test_limit() -> None:
    assert clean_text("A" * MAX_TEXT_CHARACTERS) == "A" * MAX_TEXT_CHARACTERS
    assert clean_text("A" * (MAX_TEXT_CHARACTERS + 1)) == "A" * (MAX_TEXT_CHARACTERS - 1) + "…"
    assert clean_text(b"A" * 10_000_000, 5) == "AAAA…"
    assert clean_text("abc", 0) == ""
    assert clean_text("\0" * 5000 + "x", 4) == "…"


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)), st.integers(min_value=0, max_value=80))
def test_nothing_that_steers_a_terminal(raw: bytes | str, limit: int) -> None:
    text = clean_text(raw, limit)
    assert len(text) <= limit
    assert not {unicodedata.category(char) for char in text} & {"Cc", "Cs", "Zl", "Zp"}
    assert not any(unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
                   for char in text)
    text.encode()


@given(st.text(max_size=100))
def test_clean_twice_is_clean_once(raw: str) -> None:
    assert clean_text(clean_text(raw)) == clean_text(raw)


@pytest.mark.parametrize("text", [
    "", "   ", "To Be Filled By O.E.M.", "To be filled by O.E.M.", "TO BE FILLED BY O.E.M", "Not Specified",
    "Default string", "default string ", "0123456789", "1234567890", "123456789", "Unknown", "UNKNOWN", "NO DIMM",
    "No Module Installed", "None", "N/A", "NA", "Not Available", "Not Applicable", "System Product Name",
    "System Serial Number", "System Version", "System manufacturer", "SKU", "Asset-1234567890", "00000000", "0",
    "0x00000000", "FFFFFFFF", "xxxxxxxx", "--", "-", "......", "*", "OEM", "Empty", "Undefined", "INVALID",
    "<OUT OF SPEC>", "No Asset Tag", "SerNum0", "PartNum0", "Chassis Serial Number", None, 5, b"bytes",
    Unread("config space needs root", "permission"),
])
def test_placeholder(text: object) -> None:
    assert meaningful(text) is None


@pytest.mark.parametrize("text", [
    "ROMED8-2T", "ASRockRack", "Supermicro", "AS -4124GS-TNR", "M80-D2000100042", "P3.50", "2.0", "1.01A", "2", "A1",
    "DIMM 0", "P0 CHANNEL A", "DIMM_A1", "PCIE1", "7", "22222222", "1111", "NODE 1", "BANK 0", "Server", "Nonesuch",
    "0123456789AB", "000000001", "Oemga",
])
def test_meaningful(text: str) -> None:
    assert meaningful(f" {text} ") == text
