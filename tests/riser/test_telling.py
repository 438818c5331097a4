"""What the account of an experiment says of a boot: the worst first, and all that is to be known of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boxcheck.binomial import interval
from boxcheck.report.acceptance_riser import riser
from boxcheck.report.html import html_of
from boxcheck.report.riser import as_used, riser_text
from boxcheck.report.riser_page import page
from boxcheck.report.text import Style
from boxcheck.riser.account import RiserAccount
from boxcheck.riser.advice import tape
from boxcheck.riser.certainty import MOST, MOST_HEALTHY, percent, told_healthy
from boxcheck.riser.evidence import Boot, Conditions, Look, Notebook, Place, Suspect, Way
from boxcheck.riser.notebook import Stored
from boxcheck.riser.suspects.weigh import weigh
from tests.riser.showing import FULL, look, places, way

LOADED = Conditions(neighbours="loaded")
STUCK = "the counters of 0000:41:00.0 are stuck"


def account(*looks: Look) -> RiserAccount:
    book = Notebook(id="r-20261121-1", slot="PCIE3", started=0.0, boots=(
        Boot(id="a", started=0.0, places=places(), looks=looks),))
    return RiserAccount(
        version="0.1", started=0.0, seconds=1.0, stored=Stored(notebook=book, box="W-0007"), weighed=weigh(book),
        state="waiting")


def text_of(*looks: Look) -> str:
    return riser_text(account(*looks), Style(columns=200, color=False))


def unread() -> Look:
    return Look(slot="PCIE3", width=16, speed_gts=16.0, conditions=LOADED, ways=(
        way("card", unread=STUCK), way("host", unread=STUCK)), **FULL)  # type: ignore[arg-type]


@pytest.mark.parametrize(("worse", "word"), [
    (look("PCIE3", conditions=LOADED, dropped=2), "FAILING"), (look("PCIE3", conditions=LOADED, wrong_words=12), "FAILING"),
    (unread(), "unread"), (look("PCIE3", 3, conditions=LOADED), "marginal")])
def test_the_row_of_a_boot_says_the_worst_that_was_seen(worse: Look, word: str) -> None:
    row = next(line for line in text_of(look("PCIE3"), worse).splitlines() if line.startswith("  1  "))
    assert row.split()[-1] == word


def test_what_was_not_loaded_does_not_hide_what_was_read() -> None:
    idle = Look(slot="PCIE3", width=16, speed_gts=16.0, conditions=LOADED, ways=(
        Way(toward="card", seconds=60.0), Way(toward="host", seconds=60.0)), **FULL)  # type: ignore[arg-type]
    clean = look("PCIE3")
    boot = account(clean, idle).stored.notebook.boots[0]
    assert as_used(boot, "PCIE3") == clean


def test_why_a_look_fails_stands_beside_it() -> None:
    cut = "load was ended for safety: GPU 2: junction at 110 C"
    note = "cuda:0: 12 words arrived wrong, which is no fault of the wire alone"
    used = look("PCIE3", conditions=LOADED, dropped=2, wrong_words=12, notes=(note, cut), cut_short=cut)
    forced = look("PCIE3", conditions=Conditions(speed_gts=8.0), dropped=1)
    text = text_of(look("PCIE3"), used, forced)
    assert "FAILING   all cards loaded: it went down 2 times; 12 words arrived wrong" in text
    assert "FAILING   at 8 GT/s, this card alone: it went down once; " in text
    assert note in text
    assert text.count(cut) == 1
    assert f"cut short: {cut}" in text
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html_of(page(account(look("PCIE3"), used, forced)))))
    assert "it went down 2 times; 12 words arrived wrong; cut short: load was ended for safety" in shown


def test_one_of_a_thing_is_told_in_the_singular() -> None:
    single = Look(slot="PCIE3", width=16, speed_gts=16.0, ways=(
        Way(toward="card", received={"BadTLP": 1}, seconds=60.0), Way(toward="host", seconds=60.0)), **FULL)  # type: ignore[arg-type]
    assert "1 error " in text_of(single)
    assert "1 errors" not in text_of(single)
    shown = repr(list(riser(account(single).stored.notebook)))
    assert ", 1 boot. " in shown
    assert "'1 error'" in shown
    assert "1 errors" not in shown


def test_nothing_is_told_surer_than_simulated_boxes_were() -> None:
    """The table on the page is where the most that may be told comes from."""
    table = (Path(__file__).parents[2] / "docs" / "explanation" / "riser-suspects.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| (?:\d+) %, the most that is told \| \d+ \| (\d+) % \|$", table, re.MULTILINE)
    assert int(row) >= 100 * MOST
    assert percent(1.0) == f"{100 * MOST:.0f} %"
    book = account(look("PCIE3", 4066)).stored.notebook
    sure, less = (tape(Suspect(kind="riser", name="R3", probability=given), book) for given in (0.999, 0.96))
    assert sure.splitlines()[-1] == f"Replace. ({percent(MOST)} by experiment r-20261121-1)"
    assert less.splitlines()[-1] == "Replace. (96 % by experiment r-20261121-1)"


def test_what_is_weighed_is_capped_in_numbers_too() -> None:
    book = Notebook(id="r-1", slot="PCIE3", started=0.0, boots=tuple(
        Boot(id=f"b{at}", started=float(at), places=(
            Place(slot="PCIE3", riser="R3" if at % 2 else "R5", card="GPU-3", supply="A"),
            Place(slot="PCIE5", riser="R5" if at % 2 else "R3", card="GPU-5", supply="A")),
            looks=tuple(look(slot, 4066 if (slot == "PCIE3") == bool(at % 2) else 0) for slot in ("PCIE3", "PCIE5")))
        for at in range(5)))
    (first, *_) = weigh(book).suspects
    assert (first.kind, first.name, first.probability) == ("riser", "R3", MOST)


def test_nothing_at_fault_is_told_no_surer_than_its_own_interval_allows() -> None:
    text = (Path(__file__).parents[2] / "docs" / "explanation" / "riser-suspects.md").read_text(encoding="utf-8")
    ((called, were),) = re.findall(r"Of the (\d+) boxes that were called healthy (\d+)\s+were", text)
    low = interval(int(were), int(called))
    assert low is not None
    assert round(low[0], 2) == MOST_HEALTHY == told_healthy(0.999)
