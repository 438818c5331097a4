"""The page of a riser experiment: by itself, in the report of a run, with the eyes of its lanes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from boxcheck.commands.riser import Options
from boxcheck.commands.riser_experiment import write
from boxcheck.report.document import Figure, Label, Line
from boxcheck.report.drawing_eyes import eyes, weakest_words
from boxcheck.report.html import html_of
from boxcheck.report.riser_page import page
from boxcheck.riser.account import RiserAccount
from boxcheck.riser.evidence import LaneMargin, Look
from boxcheck.riser.margining.eye import Margins
from boxcheck.riser.margining.outline import outline, weakest_of
from tests.riser.margin_bench import bench, run
from tests.riser.story import accounts, wopr


def margined(**link: object) -> Margins:
    machine, made, pair = bench(**link)
    return run(machine, made, pair)


@pytest.fixture(scope="module")
def margins() -> Margins:
    """Sixteen lanes at both receivers; lane 11 of the card's is half as open as the others."""
    return margined()


@pytest.fixture(scope="module")
def told() -> RiserAccount:
    return list(accounts(wopr()))[-1]


def narrowed(margins: Margins, lane: int, receiver: str, grade: str = "fail") -> tuple[LaneMargin, ...]:
    return tuple(
        msgspec.structs.replace(
            one, left_ui=(one.left_ui or 0) / 3, right_ui=(one.right_ui or 0) / 3, grade=grade)
        if (one.lane, one.receiver) == (lane, receiver) else one for one in margins.lane_margins())


def with_margins(account: RiserAccount, lanes: tuple[LaneMargin, ...]) -> RiserAccount:
    book = account.stored.notebook
    boots = (*book.boots[:-1], msgspec.structs.replace(
        book.boots[-1], looks=(*book.boots[-1].looks, Look(slot=book.slot, margins=lanes))))
    return msgspec.structs.replace(account, stored=msgspec.structs.replace(
        account.stored, notebook=msgspec.structs.replace(book, boots=boots)))


def test_the_page_has_the_verdict_the_boots_and_the_card_for_the_part(told: RiserAccount) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html_of(page(told))))
    for word in ("FOUND", "riser R7", "r-20261121-1", "18 errors per TB in PCIE7", "Replace.", "What helps, cheapest first",
                 "Training: 2 of 2 cold boots full"):
        assert word in text, word


def test_every_lane_has_an_eye_and_the_weakest_is_named_with_its_contacts(margins: Margins, told: RiserAccount) -> None:
    lanes = narrowed(margins, 11, "F")
    weakest = weakest_of(lanes)
    assert weakest is not None
    assert (weakest.lane, weakest.receiver) == (11, "F")
    figures = eyes(lanes, 16.0)
    assert [figure.caption.partition(",")[0] for figure in figures] == ["Eyes at receiver A", "Eyes at receiver F"]
    for figure in figures:
        labels = [one.text for one in figure.shapes if isinstance(one, Label)]
        assert len(labels) == 16
        assert sum("weakest" in one for one in labels) == ("receiver F" in figure.caption)
    page_text = html_of(page(with_margins(told, lanes)))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page_text))
    assert page_text.count("<svg") == 2
    assert "Weakest is lane 11 at receiver F, of bits toward the card:" in text
    assert "contacts B62/B63 (PETp11/PETn11)" in text
    assert "grade fail" in text


def test_an_eye_is_drawn_as_far_as_it_was_measured(margins: Margins) -> None:
    """The corners of the line are in the proportion of what the receiver told."""
    lanes = narrowed(margins, 11, "F")
    figure = next(one for one in eyes(lanes, 16.0) if "receiver F" in one.caption)
    eyes_drawn = [one for one in figure.shapes if isinstance(one, Line) and one.role != "grid" and not one.dash]
    wide = [one.points[2][0] - one.points[0][0] for one in eyes_drawn]
    mine = sorted((one for one in lanes if one.receiver == "F"), key=lambda one: one.lane)
    widths = [found.width for one in mine if (found := outline(one)) is not None]
    assert len(wide) == len(widths) == 16
    assert wide[11] / max(wide) == pytest.approx(widths[11] / max(widths), rel=0.01)
    assert inside(figure)


def inside(figure: Figure) -> bool:
    points = [point for one in figure.shapes if isinstance(one, Line) for point in one.points]
    return all(0 <= x <= figure.width and 0 <= y <= figure.height for x, y in points)


def test_a_receiver_without_scales_is_drawn_in_steps() -> None:
    lanes = tuple(LaneMargin(receiver="F", lane=lane, left_steps=4 if lane == 2 else 12, right_steps=12) for lane in range(4))
    (figure,) = eyes(lanes, 16.0)
    assert inside(figure)
    assert not any(isinstance(one, Line) and one.dash for one in figure.shapes)  # no limit is known in steps
    assert weakest_words(lanes, 16.0).startswith(
        "Weakest is lane 2 at receiver F, of bits toward the card: 16 steps wide, grade unknown; contacts B23/B24")


def test_a_lane_that_was_not_measured_is_no_eye() -> None:
    lanes = (LaneMargin(receiver="A", lane=0, left_ui=0.2, right_ui=0.2, grade="pass"), LaneMargin(receiver="A", lane=1))
    (figure,) = eyes(lanes, 16.0)
    assert "lane 1 not measured" in figure.says
    assert any(isinstance(one, Label) and one.text == "not measured" for one in figure.shapes)
    assert eyes((LaneMargin(receiver="A", lane=1),), 16.0) == ()
    assert weakest_words((LaneMargin(receiver="A", lane=1),), 16.0) == ""


def test_the_command_writes_the_page_in_both_forms(
        told: RiserAccount, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fpdf")
    write(told, Options(slot="PCIE7", html=str(tmp_path / "r.html"), pdf=str(tmp_path / "r.pdf")))
    assert "riser R7" in (tmp_path / "r.html").read_text()
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF-")
    assert "Tape this to the part" in capsys.readouterr().out
    write(told, Options(slot="PCIE7", html="-"))
    shown = capsys.readouterr()
    assert shown.out.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("make", [lambda path: Options(slot="PCIE3", html=path), lambda path: Options(slot="PCIE3", pdf=path)])
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(
        tmp_path: Path, make: Callable[[str], Options]) -> None:
    from boxcheck.commands.riser import riser
    from boxcheck.usage import UsageError

    with pytest.raises(UsageError, match="no such directory"):
        riser(make(str(tmp_path / "none" / "r")))
