"""The PDF of a document: what is on its pages, and that it does nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from boxcheck.model import Outcome
from boxcheck.report import pdf_east_asian
from boxcheck.report.document import (
    Cell,
    Column,
    Document,
    Facts,
    Figure,
    Fold,
    Heading,
    Label,
    Paragraph,
    Row,
    SignatureLines,
    Table,
    VerdictWord,
)
from boxcheck.report.pdf import EAST_ASIAN, NUMBERS, document_pdf
from boxcheck.report.pdf_columns import PAD, SIZE, SMALLER, grid_of
from boxcheck.report.pdf_faces import Faces
from boxcheck.report.pdf_wrap import lengths, wrap
from tests.report.every_block import HOSTILE, document, matrix, plot, requirements, row

MADE = 1_795_000_000.0


pytest.importorskip("fpdf", reason="fpdf2 is not installed: pip install -e '.[dev]'")
pytest.importorskip("pymupdf_fonts", reason="the fonts of PDFs are not installed: pip install -e '.[dev]'")
pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed: pip install -e '.[dev]'")


@pytest.fixture(autouse=True)
def _no_fonts_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_east_asian, "FOLDERS", ())


def pages_of(data: bytes) -> list[str]:
    """The text of each page, as another program reads it; lines joined, as a line may end within a word."""
    read = pdfium.PdfDocument(data)
    try:
        return [page.get_textpage().get_text_range() for page in read]
    finally:
        read.close()


def solid(text: str) -> str:
    """Without blanks and ends of lines. PDFium tells of a hyphen at the end of a line by U+FFFE."""
    return re.sub(r"\s", "", text.replace("\ufffe", "-"))


def made(*blocks: object, **fields: object) -> bytes:
    return document_pdf(Document(title="T", blocks=blocks, **fields), MADE)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def every() -> bytes:
    return document_pdf(document(), MADE)


def test_every_word_of_every_block_is_on_the_pages(every: bytes) -> None:
    text = solid("".join(pages_of(every)))
    for words in ("FAIL", "withwaivers", "2of143requiredchecksfailed", "0123456789abcdef" * 4, "boxcheckjudgerun.sqlite",
                  "12.stepof77", "Margin0.25ofeachlimit.", "83passes", "fedcba9876543210" * 12, "4711",
                  "withinthefold:8.125", "24.5hours", "PCIE3", "wide42", "Largerthanapage", "Nothing", "Operator:", "Quality:"):
        assert words in text, words


def test_hostile_words_are_seen_and_do_nothing(every: bytes) -> None:
    text = solid("".join(pages_of(every)))
    shown = "<bonload=x>&amp;[U+202E]gpj.exe[U+202C][U+001B][31m[U+0007][U+D800](a\\){nb}%s/JS"
    assert text.count(shown) >= 5
    assert not set("\u202e\x1b\x07") & set(text)
    for key in (b"/JavaScript", b"/OpenAction <<", b"/Launch", b"/URI", b"/EmbeddedFile", b"/AcroForm"):
        assert key not in every


def test_the_same_document_gives_the_same_bytes_in_another_process() -> None:
    code = ("import sys, hashlib; from boxcheck.report.pdf import NUMBERS, document_pdf; from tests.report.every_block import document;"
            f"print(hashlib.sha256(document_pdf(document(), {MADE})).hexdigest())")
    sums = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
                           env={"PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": ":".join(sys.path)}).stdout
            for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))}
    assert len(sums) == 1
    assert len(sums.pop()) == 65


def test_each_page_says_which_it_is_and_of_how_many(every: bytes) -> None:
    pages = pages_of(every)
    assert len(pages) == 5
    for number, text in enumerate(pages, start=1):
        assert f"page {number} of {len(pages)}" in text
        assert "W-0007" in text
        assert "report 0198c0de" in text


def test_a_name_of_a_thousand_letters_leaves_the_hash_in_the_footer() -> None:
    page = solid(pages_of(made(Paragraph(words="x"), footer="n" * 1000 + ", run 17, abcdef0123456789"))[0])
    assert "(shortened)" in page
    assert page.endswith("run17,abcdef0123456789page1of1")


@pytest.mark.parametrize(("paper", "size"), [("a4", (595.28, 841.89)), ("letter", (612, 792))])
def test_nothing_stands_beyond_the_margins(paper: str, size: tuple[float, float]) -> None:
    read = pdfium.PdfDocument(document_pdf(document(), MADE, paper))  # type: ignore[arg-type]
    for page in read:
        assert page.get_size() == pytest.approx(size, abs=0.1)
        for one in page.get_objects():
            left, bottom, right, top = one.get_bounds()
            assert left >= 40
            assert right <= size[0] - 40
            assert bottom >= 10
            assert top <= size[1] - 40
    read.close()


def test_the_head_of_a_table_stands_on_each_of_its_pages() -> None:
    pages = pages_of(made(requirements(200)))
    assert len(pages) >= 4
    assert all("Measured" in page and "Limit" in page for page in pages)


def test_a_row_is_not_split_between_pages() -> None:
    words = "a row of some more words than stand on one line of its column, so that it has lines, and a last one: "
    table = Table(caption="c", columns=(Column(head="A"), Column(head="B")), rows=tuple(
        row(f"begin{number:03}", f"{words}end{number:03}") for number in range(120)))
    pages = [solid(page) for page in pages_of(made(table))]
    for number in range(120):
        assert [f"begin{number:03}" in page for page in pages] == [f"end{number:03}" in page for page in pages]


def test_a_row_higher_than_a_page_goes_on_and_loses_nothing() -> None:
    table = Table(caption="c", columns=(Column(head="A"), Column(head="B")), rows=(
        row("one", " ".join(f"w{number}w" for number in range(4000))), row("two", "last")))
    text = "".join(pages_of(made(table)))
    assert set(re.findall(r"w(\d+)w", text)) == {str(number) for number in range(4000)}
    assert "last" in text


def test_a_heading_is_never_the_last_on_a_page() -> None:
    for lines in range(38, 54):
        pages = pages_of(made(*(Paragraph(words="x") for _ in range(lines)), Heading(
            level=2, text="Requirements", anchor="a"), requirements(5)))
        assert all("pcie.link-width" in page for page in pages if "Requirements" in page)


def test_the_title_of_a_fold_is_never_the_last_on_a_page() -> None:
    for lines in range(24, 54):
        pages = pages_of(made(*(Paragraph(words="x") for _ in range(lines)), Fold(
            title="Other matrices: 11", blocks=(matrix(),))))
        (page,) = (page for page in pages if "Other matrices" in page)
        assert matrix().caption.split()[0] in page


def test_what_a_card_is_stands_on_the_page_of_its_plots() -> None:
    for lines in range(10, 50, 3):
        pages = pages_of(made(*(Paragraph(words="x") for _ in range(lines)), Heading(level=3, text="PCIE1: card", anchor="a"),
                              Facts(rows=(("Bus", "c1:00.0"), ("Riser", "R1"))), plot()))
        (page,) = (page for page in pages if "PCIE1: card" in page)
        assert "c1:00.0" in page
        assert "24.5 hours" in page


def test_text_is_set_a_little_smaller_where_each_row_stands_in_one_line_then(tmp_path: Path) -> None:
    from fpdf import FPDF

    faces = Faces(FPDF(), str(tmp_path))
    words = ("copy both.device-to-host.pageable", "26.15", "TFLOPS", "104 %", "1.61e10 bytes")
    rates = Table(caption="c", columns=tuple(Column(head="h") for _ in words), rows=(row(*words),) * 9)
    whole = grid_of(faces, rates, 0.0, 1000.0)
    assert whole.size == SIZE
    needed = sum(lengths(faces, one)[1][0] for one in words) * SIZE + 2 * PAD * len(words)
    assert SMALLER <= grid_of(faces, rates, 0.0, needed * 0.95).size < SIZE
    assert grid_of(faces, rates, 0.0, needed * 0.8).size == SIZE, "what has to be wrapped anyhow is not made smaller"


def test_a_long_word_is_broken_after_a_mark_in_its_second_half(tmp_path: Path) -> None:
    from fpdf import FPDF

    faces = Faces(FPDF(), str(tmp_path))
    word = "accelerator-performance"
    lines = wrap(faces, word, faces.width(word, "regular") * 0.95)
    assert ["".join(run[1] for piece in line.pieces for run in piece.runs) for line in lines] == ["accelerator-", "performance"]


@pytest.mark.parametrize(("name", "shown"), [
    ("Łukasz Đặng Ωμέγα Щукин გიორგი", "ŁukaszĐặngΩμέγαЩукинგიორგი"), ("王伟", "[U+738B][U+4F1F]"),
    ("مح", "[U+0645][U+062D]"), ("ชิ", "ช[U+0E34]")])
def test_a_name_in_letters_that_the_fonts_lack_is_told_by_numbers_and_the_pdf_says_so(name: str, shown: str) -> None:
    text = solid("".join(pages_of(made(Paragraph(words=name)))))
    assert shown in text
    assert (solid(NUMBERS) in text) is ("U+" in shown)


def font_of(path: Path, chars: str) -> None:
    """A font that has a square for each of `chars`."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"u{ord(char):04X}" for char in chars)]
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(char): f"u{ord(char):04X}" for char in chars})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular", "fullName": path.stem})
    font.setupOS2()
    font.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    font.save(path)


def test_a_chinese_name_is_shown_in_a_font_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three that are known one is damaged; the next lacks a character, which the third has."""
    monkeypatch.setattr(pdf_east_asian, "FOLDERS", (str(tmp_path),))
    (tmp_path / "NotoSansCJK-Regular.ttc").write_bytes(b"ttcf" * 9)
    font_of(tmp_path / "wqy" / "wqy-zenhei.ttc", "王小\U00020BB7")
    font_of(tmp_path / "droid" / "DroidSansFallback.ttf", "王明ㅏ")
    name = "王小明 \U00020BB7"
    data = made(Heading(level=1, text=name, anchor="a"), Facts(rows=(("Operator", f"{name} (Anna)"),)))
    text = solid("".join(pages_of(data)))
    assert solid(f"Operator{name}(Anna)") in text
    assert text.count("王小明\U00020BB7") == 2
    assert "U+" not in text
    assert b"wqy-zenhei" in data
    assert b"DroidSansFallback" in data


def test_a_label_of_numbers_in_place_of_characters_stays_in_its_box() -> None:
    def drawn(label: str) -> str:
        shape = Label(x=0, y=10, text=label, size=8.5, strong=True, room=46)
        (text,) = pages_of(made(Figure(width=510, height=20, shapes=(shape,), caption="", says="s")))
        return solid(text).partition("page")[0].partition(solid(NUMBERS)[:20])[0]

    assert drawn("转接卡三…") == "[U+8F6C]…"
    assert drawn("R3") == "R3"


def test_what_turns_the_writing_round_is_taken_from_no_font_of_the_system(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_east_asian, "FOLDERS", (str(tmp_path),))
    font_of(tmp_path / "wqy-zenhei.ttc", "王م\u202e\u302a")
    text = solid("".join(pages_of(made(Paragraph(words="王م\u202e\u302a")))))
    assert "王[U+0645][U+202E][U+302A]" in text


def test_a_font_is_advised_only_for_letters_that_it_would_have() -> None:
    assert solid(EAST_ASIAN) in solid("".join(pages_of(made(Paragraph(words="王")))))
    others = solid("".join(pages_of(made(Paragraph(words="مح \U0001F600")))))
    assert solid(NUMBERS) in others
    assert solid(EAST_ASIAN) not in others


def test_headings_are_the_outline_and_the_title_is_in_the_properties(every: bytes) -> None:
    read = pdfium.PdfDocument(every)
    entries = [(entry.level, entry.get_title(), entry.get_dest().get_index()) for entry in read.get_toc()]
    assert [(level, title) for level, title, _ in entries][:3] == [
        (0, "Acceptance of W-0007"), (1, "What this says"), (1, "Requirements")]
    assert "[U+202E]" in entries[3][1]
    assert [page for _, _, page in entries] == sorted(page for _, _, page in entries)
    told = read.get_metadata_dict()
    assert told["Title"] == "Acceptance of W-0007"
    assert told["CreationDate"].startswith("D:20261118")
    assert read.is_tagged()
    assert b"/Lang (en)" in every
    assert b"/Alt " in every
    read.close()


def test_numbers_of_a_column_stand_below_each_other() -> None:
    table = Table(caption="c", columns=(Column(head="N", numeric=True), Column(head="B")), rows=tuple(
        row(value, "-") for value in ("1.25", "10.25", "1000.25")))
    read = pdfium.PdfDocument(made(table))
    page = read[0].get_textpage()
    rights = []
    search = page.search("0.25")
    while found := search.get_next():
        rights.append(page.get_charbox(sum(found) - 1)[2])
    search = page.search("1.25")
    first = search.get_next()
    rights.append(page.get_charbox(sum(first) - 1)[2])
    assert len(rights) == 3
    assert max(rights) - min(rights) < 0.1
    read.close()


def luminance(red: float, green: float, blue: float) -> float:
    """Relative, by WCAG 2.1."""
    parts = [part / 255 / 12.92 if part / 255 <= 0.03928 else ((part / 255 + 0.055) / 1.055) ** 2.4
             for part in (red, green, blue)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_colours_can_be_read_on_what_they_stand_on_and_in_grey() -> None:
    from boxcheck.report.pdf_ops import COLORS, OF_OUTCOME
    from boxcheck.report.pdf_table import FILLS

    def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
        lighter, darker = sorted((luminance(*one), luminance(*other)), reverse=True)
        return (lighter + 0.05) / (darker + 0.05)

    for outcome, role in OF_OUTCOME.items():
        assert contrast(COLORS[role], FILLS.get(outcome, COLORS["paper"])) >= 4.5, outcome
    heats = [COLORS[f"heat{number}"] for number in range(8)]  # type: ignore[index]
    assert all(contrast(COLORS["ink"], heat) >= 4.5 for heat in heats)
    assert all(luminance(*lighter) > luminance(*darker) + 0.02 for lighter, darker in pairwise(heats))
    assert all(contrast(COLORS[f"series{number}"], COLORS["paper"]) >= 3 for number in range(8))  # type: ignore[index]


def test_each_outcome_has_a_pattern_of_its_own_without_colours() -> None:
    from boxcheck.report.pdf_ops import Area, Path, pattern

    seen = set()
    for outcome in Outcome:
        ops = pattern(outcome, 0, 0, 40, 60)
        slants = frozenset((one.points[1][1] > one.points[0][1], one.points[1][1] == one.points[0][1],
                            one.points[1][0] > one.points[0][0]) for one in ops if isinstance(one, Path))
        seen.add((slants, any(isinstance(one, Area) and one.fill is not None for one in ops)))
    assert len(seen) == len(Outcome)


def test_bad_sizes_and_empty_things_give_a_page_and_no_traceback() -> None:
    wide = Table(caption="w", columns=tuple(Column(head=f"column{number}") for number in range(60)), rows=(
        Row(cells=tuple(Cell(words="123456789") for _ in range(60))), Row(cells=())))
    text = solid("".join(pages_of(made(
        VerdictWord(word="", outcome=Outcome.SKIP, reason=""), Paragraph(words=""), wide,
        VerdictWord(word="MARGINAL PASS WITH A VERY LONG WORD" * 3, outcome=Outcome.MARGINAL, reason="x " * 4000)))))
    assert text.count("123456789") == 60
    figure = msgspec.structs.replace(plot(), caption="caption " * 3000)
    text = solid("".join(pages_of(made(figure, Heading(level=3, text="heading " * 2000, anchor="h"), SignatureLines(
        roles=("role " * 60,))))))
    assert (text.count("caption"), text.count("heading"), text.count("role")) == (3000, 2000, 60)
    assert "24.5hours" in text
    assert "page1of" in solid("".join(pages_of(made())))


def test_a_clock_in_1970_or_beyond_all_calendars_gives_a_pdf() -> None:
    for moment in (0.0, -1e9, 1e18):
        assert document_pdf(Document(title=HOSTILE, blocks=()), moment).startswith(b"%PDF-")



def test_a_small_table_stands_whole_on_one_page() -> None:
    for lines in range(36, 46, 3):
        pages = [solid(page) for page in pages_of(made(*(Paragraph(words="x") for _ in range(lines)), matrix()))]
        assert [page for page in pages if "GPU0" in page] == [page for page in pages if "GPU7" in page]


def test_columns_give_way_to_the_one_whose_words_are_many() -> None:
    from boxcheck.report.pdf_columns import _lines, _lower

    own, least = [100.0, 100.0, 100.0], [40.0, 60.0, 40.0]
    rows = [((300.0,), (80.0,), (40.0, 20.0))] * 5
    given = _lower(own, least, [300.0, 80.0, 40.0], rows)
    assert _lines(own, rows) == 20
    assert _lines(given, rows) == 10
    assert sum(given) == pytest.approx(300)
    assert all(one >= low for one, low in zip(given, least, strict=True))


@pytest.mark.parametrize("lines", range(30, 62, 2))
def test_lines_to_sign_stand_below_their_heading(lines: int) -> None:
    pages = pages_of(made(
        *(Paragraph(words=f"line {number}") for number in range(lines)), Heading(level=2, text="Signatures", anchor="s"),
        Paragraph(words="On paper."), SignatureLines(roles=("Operator", "Quality", "Customer"))))
    (page,) = (page for page in map(solid, pages) if "Signatures" in page)
    assert "Onpaper." in page
    assert "Customer:nameandsignature" in page
