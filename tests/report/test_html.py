"""A document as a page: every block, hostile words in every field, contrast, nothing from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boxcheck.report
from boxcheck.model import Outcome
from boxcheck.report.document import (
    Block,
    Box,
    Cell,
    Column,
    Document,
    Facts,
    Figure,
    Fold,
    Heading,
    Items,
    Label,
    Line,
    NewPage,
    Paragraph,
    Row,
    SignatureLines,
    Span,
    Table,
    VerdictWord,
)
from boxcheck.report.html import html_of
from boxcheck.report.html_shapes import figure_svg
from boxcheck.report.html_text import css_string, escaped, inline
from tests.report.pages import check, parsed, text_of, words

HOSTILE = (
    "<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>", '" onmouseover="alert(1)', "&lt;b&gt;", "]]>", "<!--",
    "\u202egnp.exe\u202c", "\u2066\u2069", "\x00\x07\x1b[2J", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 1", "a\u0301" * 3,
    "e" + "\u0301" * 500, "\ud800", "\U000e0041\ufeff", "x" * 3000, "javascript:alert(1)", "\u2028line", "'\\9 }body{display:none}")
STYLE = Path(boxcheck.report.__file__).parent / "report.css"


def document(text: str) -> Document:
    """With every block, and these words in all of their fields."""
    cells = (Cell(words=text), Cell(words=(Span(text, "code"), Span(text, "dim")), outcome=Outcome.FAIL),
             Cell(words=text, shade="heat7"))
    blocks: tuple[Block, ...] = (
        Heading(level=1, text=text or "x", anchor="a"), VerdictWord(word=text, outcome=Outcome.FAIL, reason=text, with_waivers=True),
        Paragraph(words=text), Facts(rows=((text, text), (text, (Span(text, "strong"),)), ("b", ""))),
        Heading(level=2, text="one", anchor=text or "b"), Items(items=(text, (Span(text),)), ordered=True), Items(items=(text,)),
        Heading(level=2, text="two", anchor=text or "b"),
        Table(caption=text, note=text, columns=(Column(head=text or "h"), Column(head="n", numeric=True), Column(head="")),
              rows=(Row(cells=cells), Row(cells=(Cell(words=f"r{text}"), *cells[1:]), head=True))),
        Table(caption="of nothing", columns=(Column(head="a"),), rows=()), NewPage(),
        Figure(width=10, height=10, caption=text or "c", says=text or "s", shapes=(
            Line(points=((0, 0), (1.26, 2), (0.5, 2))), Line(points=()), Box(x=0, y=0, width=1, height=-1, fill="fail", hatched=True),
            Label(x=1, y=2, text=text))),
        Fold(title=text, blocks=(Paragraph(words=text), Figure(width=1, height=1, caption="c", says="s", shapes=()))),
        SignatureLines(roles=(text, "Quality")))
    return Document(title=text, blocks=blocks, footer=text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_inert_wherever_they_stand(text: str) -> None:
    page = html_of(document(text))
    tree = check(page)
    assert not list(tree.iter("script"))
    assert not list(tree.iter("img"))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u2028\u2029\ufeff\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", page)
    assert page.count("</style>") == 1
    assert html_of(document(text)) == page
    page.encode()


def test_what_is_hidden_is_shown_by_its_number() -> None:
    assert inline("a\u202eb") == 'a<span class="ctl">U+202E</span>b'
    assert inline("\x1b[2J") == '<span class="ctl">U+001B</span>[2J'
    assert escaped("a\u200bb") == "a[U+200B]b"
    for end in range(0xffff, 0x10ffff + 1, 0x10000):
        assert inline(chr(end)) == f'<span class="ctl">U+{end:04X}</span>', "no character"


def test_a_rare_chinese_name_is_shown() -> None:
    """Beyond the first 65 536 characters, where names of people and places have theirs, and emoji."""
    assert inline("\U00020bb7野家 \U0002363a \U00030000 \U0001f600") == "\U00020bb7野家 \U0002363a \U00030000 \U0001f600"


def test_writing_from_right_to_left_is_by_itself() -> None:
    assert inline("\u05d0\u05d1 12") == "<bdi>\u05d0\u05d1 12</bdi>"
    assert inline("plain") == "plain"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(codec=None), max_size=40))
def test_any_words_give_a_page_that_parses(text: str) -> None:
    check(html_of(document(text)))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_a_string_of_a_style_sheet_cannot_end(text: str) -> None:
    made = css_string(text)
    assert re.fullmatch(r'"(?:[A-Za-z0-9 ]|\\[0-9a-f]+ )*"', made)


def test_words_are_all_there(tmp_path: Path) -> None:
    said = words(html_of(document("needle")))
    assert said.count("needle") >= 17


def test_nothing_is_asked_of_a_network_and_nothing_runs() -> None:
    page = html_of(document("x"))
    assert not re.search(r"<script|\son\w+=|\ssrc=|@import|@font-face|url\((?!#)|https?://", page)
    assert "default-src &#39;none&#39;" in page


def test_a_fold_is_open_on_paper() -> None:
    assert "details::details-content{content-visibility: visible" in html_of(document("x"))


def test_rows_of_heads_are_repeated_on_paper_and_rows_not_parted() -> None:
    style = STYLE.read_text()
    assert "thead { display: table-header-group; }" in style
    assert re.search(r"tr, figure, .verdict.*break-inside: avoid", style)


def test_a_line_is_its_points_whatever_their_number() -> None:
    shapes = (Line(points=tuple((at * 0.333, (at * 7) % 11 * 0.77) for at in range(400))),)
    drawn = figure_svg(Figure(width=200, height=20, shapes=shapes, caption="c", says="s"), "f")
    path = re.search(r' d="M([^"]+)"', drawn)
    assert path is not None
    head, _, steps = path[1].partition("l")
    x, y = map(float, head.split())
    numbers = [float(one) for one in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", steps)]
    for at in range(1, 400):
        x, y = x + numbers[2 * at - 2], y + numbers[2 * at - 1]
        assert x == pytest.approx(at * 0.333, abs=0.051)
        assert y == pytest.approx((at * 7) % 11 * 0.77, abs=0.051)


def colours(scheme: str) -> dict[str, tuple[float, float, float]]:
    """Variables of the style sheet, in the light or the dark."""
    style = STYLE.read_text()
    parts = re.findall(r":root \{([^}]*--ink[^}]*)\}", style)
    assert len(parts) == 2
    text = parts[0] if scheme == "light" else parts[1]
    found = {}
    for name, value in re.findall(r"--(\w[\w-]*): #([0-9a-f]{3,6});", text):
        full = "".join(one * 2 for one in value) if len(value) == 3 else value
        found[name] = tuple(int(full[at:at + 2], 16) / 255 for at in (0, 2, 4))
    return found  # type: ignore[return-value]


def luminance(colour: tuple[float, float, float]) -> float:
    """WCAG 2.2, relative luminance."""
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_text_is_four_and_a_half_or_more(scheme: str) -> None:
    known = colours(scheme)
    for name in ("ink", "dim", "ok", "marginal", "fail", "unknown"):
        assert contrast(known[name], known["paper"]) >= 4.5, name
        assert contrast(known[name], known["raised"]) >= 4.5, name
    for name in ("marginal", "fail", "unknown"):
        assert contrast(known[name], known[f"{name}-on"]) >= 4.5, name
    for number in range(8):
        assert contrast(known["ink"], known[f"h{number}"]) >= 4.5, number
        assert contrast(known[f"s{number}"], known["paper"]) >= 3, "lines of a plot: WCAG 1.4.11"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_outcomes_are_apart_for_those_who_do_not_tell_red_from_green(scheme: str) -> None:
    """By the matrix of Vienot, Brettel and Mollon 1999 for deuteranopia, on linear light; and each has its word."""
    known = colours(scheme)

    def seen(colour: tuple[float, float, float]) -> tuple[float, ...]:
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour]
        rows = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0))
        return tuple(max(0.0, sum(a * b for a, b in zip(row, linear, strict=True))) ** (1 / 2.2) for row in rows)

    names = ("ok", "marginal", "fail")
    for at, one in enumerate(names):
        for other in names[at + 1:]:
            away = sum((a - b) ** 2 for a, b in zip(seen(known[one]), seen(known[other]), strict=True)) ** 0.5
            assert away > 0.08, (one, other)


def test_a_page_is_made_without_the_engine() -> None:
    """A renderer needs the document alone: who has one needs no machine."""
    script = ("import sys; import boxcheck.report.html; "
              "print([name for name in sys.modules if name.startswith(('boxcheck.engine', 'boxcheck.store', 'numpy'))])")
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"


def test_the_html_is_what_a_strict_html_parser_accepts() -> None:
    html5lib = pytest.importorskip("html5lib")
    html5lib.HTMLParser(strict=True).parse(html_of(document("<b>x & y")))


def test_the_outline_is_that_of_the_document() -> None:
    tree = parsed(html_of(document("x")))
    assert [text_of(one) for one in tree.iter("a")] == ["one", "two"]
