"""`boxcheck riser --all --html F --pdf F`: every link with its error rates, bounds and margins, the worst first."""

from __future__ import annotations

import re
from typing import Any

import pytest

from boxcheck.commands.riser import Options, riser
from boxcheck.model import Outcome
from boxcheck.report.document import Figure, Table, VerdictWord
from boxcheck.report.html import html_of
from boxcheck.report.riser_ranking import ranking_page, ranking_text
from boxcheck.report.text import Style
from boxcheck.riser.evidence import LaneMargin, Look, Way
from boxcheck.riser.measuring.rank import rank
from boxcheck.usage import UsageError
from tests.riser.showing import FULL, look, ranking, way

MARGINS = tuple(LaneMargin(receiver="F", lane=lane, left_ui=0.06 if lane == 5 else 0.2, right_ui=0.2, up_volts=0.03,
                           down_volts=0.03, grade="fail" if lane == 5 else "pass") for lane in range(16))


def verdict_of(*looks: Look) -> VerdictWord:
    (word,) = (one for one in ranking_page(ranking(rank(looks))).blocks if isinstance(one, VerdictWord))
    return word


def unread(slot: str) -> Look:
    ways: Any = (way("card"), Way(toward="host", unread="the port counts no errors", bits=1e13, seconds=60.0))
    return Look(slot=slot, width=16, speed_gts=16.0, ways=ways, **FULL)  # type: ignore[arg-type]


def rows_of(*looks: Look, **more: Any) -> list[list[str]]:
    (table,) = (one for one in ranking_page(ranking(rank(looks), **more)).blocks
                if isinstance(one, Table) and one.caption == "Links")
    return [["".join(span if isinstance(span, str) else span.text for span in cell.words) for cell in row.cells]
            for row in table.rows]


def test_the_worst_stands_first_with_rates_and_bounds_each_way() -> None:
    rows = rows_of(look("PCIE1"), look("PCIE3", 4066), look("PCIE5", width=8))
    assert [row[1] for row in rows] == ["PCIE3", "PCIE5", "PCIE1"]
    assert rows[0][3:5] == ["3.4k (3.0k-3.5k)", "<2.5"]
    assert rows[2][3:5] == ["<2.5", "<2.5"]
    assert rows[1][2] == "x8 of x16, 16 GT/s"
    assert [row[-1] for row in rows] == ["failing", "short", "bounded"]


@pytest.mark.parametrize(("looks", "word", "outcome"), [
    ((look("PCIE1"), look("PCIE3", 4066)), "FAILING", Outcome.FAIL),
    ((look("PCIE1"), look("PCIE3", width=8)), "FAILING", Outcome.FAIL),
    ((look("PCIE1"), unread("PCIE3")), "NOT ALL SHOWN", Outcome.UNKNOWN),
    ((look("PCIE1"), look("PCIE3", cut_short="Ctrl-C")), "NOT ALL SHOWN", Outcome.UNKNOWN),
    ((look("PCIE1"), Look(slot="PCIE3", present=False, active=False)), "NOT ALL SHOWN", Outcome.UNKNOWN),
    ((look("PCIE1"), look("PCIE3", margins=MARGINS)), "FAILING", Outcome.FAIL),
    ((look("PCIE1"), look("PCIE3")), "ALL BOUNDED", Outcome.PASS),
    ((look("PCIE1"), Look(slot="PCIE3", width=16, speed_gts=16.0, ways=(way("card", 0, 0.1), way("host", 0, 0.1)), **FULL)),  # type: ignore[arg-type]
     "NOT ALL SHOWN", Outcome.UNKNOWN),
    ((), "NOT ALL SHOWN", Outcome.UNKNOWN),
])
def test_the_page_passes_only_what_was_read_whole(looks: tuple[Look, ...], word: str, outcome: Outcome) -> None:
    said = verdict_of(*looks)
    assert (said.word, said.outcome) == (word, outcome)


def test_margins_are_drawn_and_the_weakest_lane_is_named() -> None:
    shown = ranking(rank([look("PCIE1"), look("PCIE3", margins=MARGINS)]), margins={"PCIE3": MARGINS},
                    left_out={"PCIE1": "the port cannot be margined"})
    page = ranking_page(shown)
    assert [one.width > 0 for one in page.blocks if isinstance(one, Figure)] == [True]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html_of(page)))
    for says in ("PCIE3: Weakest is lane 5 at receiver F", "not taken of PCIE1: the port cannot be margined", "F5, fail",
                 "boxcheck riser PCIE3 finds the part"):
        assert says in text, says
        assert says in re.sub(r"\s+", " ", ranking_text(shown, Style(columns=200))) or says == "F5, fail"


def test_names_from_tables_are_shown_and_not_obeyed() -> None:
    text = html_of(ranking_page(ranking(rank([look("<script>alert(1)</script>", 40)]), box="<b>")))
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_pages_belong_to_measurements_and_to_no_list() -> None:
    with pytest.raises(UsageError, match="--html belongs to the experiment on one link"):
        riser(Options(listing=True, html="x.html"))


def test_of_a_capture_nothing_is_said_of_errors() -> None:
    text = html_of(ranking_page(ranking(rank([unread("PCIE1")]), of_capture=True)))
    assert "a capture: errors were not counted" in text
    assert "no error was counted" not in text
