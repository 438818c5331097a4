"""A document with every kind of block, for the renderers' tests: long tables, shades, drawings, hostile words."""

from __future__ import annotations

from boxcheck.model import Outcome
from boxcheck.report.document import (
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

HOSTILE = "<b onload=x>&amp; \u202egpj.exe\u202c \x1b[31m\x07 \ud800 (a\\) {nb} %s /JS"
"""Markup, a change of direction, control characters, half a character, and what a PDF reads as its own."""
OUTCOMES = (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN, Outcome.PASS, Outcome.SKIP)


def row(*words: str, outcome: Outcome | None = None) -> Row:
    *first, last = words
    return Row(cells=(*(Cell(words=one) for one in first), Cell(words=last, outcome=outcome)))


def requirements(rows: int = 90) -> Table:
    """Over two pages and more."""
    columns = (Column(head="Check", share=2), Column(head="Subject", share=2), Column(head="Measured", numeric=True),
               Column(head="Limit", numeric=True), Column(head="Outcome"))
    return Table(caption="Requirements", columns=columns, note="Margin 0.25 of each limit.", rows=tuple(
        row("pcie.link-width", f"slot {number} 0000:{number:02x}:00.0", f"{number * 1.25:.2f}", f"{1000 + number}",
            OUTCOMES[number % 5].value, outcome=OUTCOMES[number % 5]) for number in range(rows)))


def matrix(count: int = 8) -> Table:
    return Table(
        caption="Copies, GB/s", columns=(Column(head="from"), *(
            Column(head=f"to {other}", numeric=True) for other in range(count))),
        rows=tuple(Row(head=True, cells=(Cell(words=f"GPU {one}"), *(
            Cell(words="-") if one == other else Cell(words=f"{20 + one + other / 8:.3f}", shade=f"heat{other % 8}")  # type: ignore[arg-type]
            for other in range(count)))) for one in range(count)))


def plot() -> Figure:
    return Figure(
        width=480, height=120, caption="Rate over time", says="Between 30 and 110 TFLOP/s on 2 GPUs.", shapes=(
            Box(x=40, y=10, width=420, height=90, edge="grid"),
            Box(x=60, y=20, width=40, height=30, fill="heat3", hatched=True),
            Line(points=((40, 80), (200, 30), (460, 60)), role="series0"),
            Line(points=((40, 70), (200, 35), (460, 50)), role="series1", dash=True, width=1.5),
            Line(points=((40, 70),)),
            Label(x=36, y=14, text="118", anchor="end"), Label(x=250, y=114, text="24.5 hours", anchor="middle"),
            Label(x=60, y=64, text="PCIE3", strong=True, size=7)))


def document(title: str = "Acceptance of W-0007", hostile: str = HOSTILE) -> Document:
    return Document(title=title, footer=f"W-0007 {hostile}, report 0198c0de", blocks=(
        Heading(level=1, text=title, anchor="cover"),
        VerdictWord(word="FAIL", outcome=Outcome.FAIL, reason="2 of 143 required checks failed", with_waivers=True),
        Facts(rows=(("Serial", "W-0007"), (hostile, hostile), ("Profile", (
            Span("wopr-7x4090 "), Span("revision 3", manner="strong"), Span(" sha256 ", manner="dim"),
            Span("0123456789abcdef" * 4, manner="code"))))),
        Heading(level=2, text="What this says", anchor="scope"),
        Paragraph(words="A pass applies to these checks on this day; it is not a general statement. " * 5),
        Items(items=("first of 12 items", (Span("run "), Span("boxcheck judge run.sqlite", manner="code")), hostile)),
        Items(items=tuple(f"step of {number * 7}" for number in range(12)), ordered=True),
        NewPage(), NewPage(),
        Heading(level=2, text="Requirements", anchor="requirements"),
        Heading(level=3, text=hostile, anchor="failures"),
        requirements(),
        Fold(title="83 passes", blocks=(
            Table(caption="", columns=(Column(head="Check"), Column(head="sha256")), rows=(
                row("capture", "fedcba9876543210" * 12), row(hostile, "word " * 40 + "4711"))),
            Paragraph(words="within the fold: 8.125"))),
        matrix(), plot(),
        Figure(width=2400, height=1800, shapes=(Box(x=0, y=0, width=2400, height=1800), Label(
            x=1200, y=900, text="wide 42", anchor="middle", size=60)), caption="Larger than a page", says="A box."),
        Table(caption="Empty", columns=(Column(head="Nothing"),), rows=()),
        SignatureLines(roles=("Operator", "Quality"))))
