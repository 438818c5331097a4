"""`boxcheck riser --all`: margins of every link that has them, and that they were not taken where they were not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxcheck.commands.riser import Options, riser
from boxcheck.commands.riser_all import BY_WRITES, code_of, margins_of, rank_all
from boxcheck.report.riser_json import ranking_json
from boxcheck.report.riser_ranking import ranking_text
from boxcheck.report.text import Style
from boxcheck.riser.evidence import LaneMargin, Look
from boxcheck.riser.experiments import Bench
from boxcheck.riser.links.hold import NotRestored, holding
from boxcheck.riser.links.restore import Restored
from boxcheck.riser.measuring.rank import rank
from boxcheck.usage import UsageError
from tests.riser.held_link import BOOT
from tests.riser.showing import look, ranking
from tests.riser.simulated.margin import CARD
from tests.riser.test_margin_holding import held_bench

SEATS: Any = tuple(SimpleNamespace(slot=slot) for slot in ("PCIE1", "PCIE2", "PCIE3"))


class Links:
    """PCIE1 and PCIE3 can be margined; PCIE2 has no registers that can be read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        self.machine, self.link, self.pair = held_bench()
        self.before = self.link.settings

    def bench(self, slot: str, seconds: float, **more: Any) -> Bench:
        self.asked.append(slot)
        return Bench(
            ports=self.machine, slot=slot, pair=None if slot == "PCIE2" else self.pair,
            pair_unread="the registers of this link were not read", measure=lambda *args, **given: (), seconds=seconds,
            hold=lambda what: holding(self.machine, self.pair, str(self.folder), boot=BOOT, what=what), **more)


def taken(links: Any, **options: Any) -> tuple[Sequence[Look], dict[str, str], bool]:
    looks, left_out = list[Look](), dict[str, str]()
    lost = margins_of(Options(every=True, **options), links, SEATS, looks, left_out)
    return looks, left_out, lost


def test_every_link_that_can_be_is_margined_and_put_back(tmp_path: Path) -> None:
    links = Links(tmp_path)
    looks, left_out, lost = taken(links, writes=True)
    assert [one.slot for one in looks] == ["PCIE1", "PCIE3"]
    assert all(len(one.margins) == 4 for one in looks)  # two lanes at two receivers
    assert left_out == {"PCIE2": "the registers of this link were not read; sudo boxcheck riser --all --allow-writes"}
    assert not lost
    assert links.link.settings == links.before


@pytest.mark.parametrize("options", [{}, {"writes": True, "margining": False}])
def test_without_leave_to_write_no_link_is_touched_and_that_is_said(tmp_path: Path, options: dict[str, Any]) -> None:
    links = Links(tmp_path)
    looks, left_out, _ = taken(links, **options)
    assert (looks, links.asked, set(left_out)) == ([], [], {"PCIE1", "PCIE2", "PCIE3"})
    text = ranking_text(ranking(rank([look("PCIE1")]), box="W-0007", left_out=left_out), Style(columns=80))
    assert "Lane margins" in text
    assert "not taken of PCIE1, PCIE2 and PCIE3" in text
    assert ("--all --allow-writes" in text) is (options == {})


def test_a_link_that_does_not_come_back_ends_the_tour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    links = Links(tmp_path)

    def broken(slot: str, seconds: float, **more: Any) -> Bench:
        raise NotRestored(Restored(outcome="down", says="the link of PCIE1 is down", help="shut down, and start again"))

    links.bench = broken  # type: ignore[method-assign]
    looks, left_out, lost = taken(links, writes=True)
    assert lost
    assert looks == []
    assert "was not put back, so no other was touched" in left_out["PCIE3"]
    assert "! the link of PCIE1 is down; shut down, and start again" in capsys.readouterr().err


def test_margining_that_is_broken_off_is_told_and_is_no_pass(tmp_path: Path) -> None:
    links = Links(tmp_path)
    links.link.at_step[40] = lambda lane: links.link.drop(0.4)
    looks, left_out = list[Look](), dict[str, str]()
    margins_of(Options(every=True, writes=True), links, SEATS[:1], looks, left_out)  # type: ignore[arg-type]
    (taken_of,) = looks
    assert taken_of.cut_short.startswith("margining ended early: ")
    assert left_out["PCIE1"].startswith("ended early: ")
    ranked = rank([look("PCIE1"), *looks])
    assert code_of(ranked) == 3
    text = re.sub(r"\s+", " ", ranking_text(ranking(ranked, left_out=left_out), Style(columns=100)))
    assert "of PCIE1: ended early: " in text
    assert "PCIE1: not looked at as a whole: margining ended early: " in text


def test_a_receiver_that_was_skipped_is_told_beside_those_that_were_taken(tmp_path: Path) -> None:
    links = Links(tmp_path)
    links.link.ports[CARD].kinds[6] = replace(links.link.ports[CARD].kinds[6], ind_sampler=False)
    looks, left_out = list[Look](), dict[str, str]()
    margins_of(Options(every=True, writes=True), links, SEATS[:1], looks, left_out)  # type: ignore[arg-type]
    assert {one.receiver for one in looks[0].margins} == {"A"}
    assert "it has no error sampler of its own" in left_out["PCIE1"]
    text = re.sub(r"\s+", " ", ranking_text(ranking(rank([look("PCIE1"), *looks]), left_out=left_out), Style(columns=100)))
    assert "not all taken of PCIE1: " in text


class Interrupted:
    """A box of two links; Ctrl-C comes while the second is margined."""

    name = "W-0007"

    def __init__(self, links: Links) -> None:
        self.links = links

    def seats(self) -> Any:
        return (SEATS[0], SEATS[2])

    def folder(self) -> str:
        return ""

    def restore_pending(self) -> frozenset[str]:
        return frozenset()

    def live(self, seats: Any, folder: str) -> Any:
        return self

    def measure(self, *args: Any, **more: Any) -> tuple[Look, ...]:
        return (look("PCIE1"), look("PCIE3", 400))

    def bench(self, slot: str, seconds: float, **more: Any) -> Bench:
        if slot == "PCIE3":
            stopped = KeyboardInterrupt()
            stopped.add_note("the link of PCIE3 is not as it was")
            raise stopped
        return self.links.bench(slot, seconds, **more)


@pytest.mark.parametrize("quiet", [False, True])
def test_ctrl_c_while_lanes_are_margined_keeps_the_ranking(
    tmp_path: Path, quiet: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("boxcheck.commands.riser_all.whole_box", nullcontext)
    box: Any = Interrupted(Links(tmp_path))
    out = tmp_path / "ranking.json"
    with pytest.raises(KeyboardInterrupt):
        rank_all(Options(every=True, writes=True, quiet=quiet, json=str(out), html=str(tmp_path / "ranking.html")), box)
    told = capsys.readouterr()
    assert "! the link of PCIE3 is not as it was" in told.err
    assert "PCIE3: failing" in told.out if quiet else "not taken of PCIE3: it was interrupted" in told.out
    page = re.sub(r"<[^>]*>", " ", (tmp_path / "ranking.html").read_text())
    assert "Weakest is lane" in page
    assert "it was interrupted" in page
    document = json.loads(out.read_text())
    assert [one["slot"] for one in document["links"]] == ["PCIE3", "PCIE1"]
    assert document["links"][1]["weakest"] is not None
    assert document["not_margined"] == {"PCIE3": "it was interrupted"}


def margin(slot: str, ui: float, grade: Any) -> Look:
    return Look(slot=slot, margins=tuple(
        LaneMargin(receiver="F", lane=lane, left_ui=ui if lane == 5 else 0.3, right_ui=0.3, grade=grade if lane == 5 else "pass")
        for lane in range(16)))


def test_among_links_without_errors_the_narrower_eye_is_the_worse_link() -> None:
    looks = [look("wide"), look("narrow"), look("fails"), look("dirty", 40), margin("wide", 0.25, "pass"),
             margin("narrow", 0.2, "pass"), margin("fails", 0.05, "fail")]
    ranked = rank(looks)
    assert [(one.slot, one.standing) for one in ranked] == [
        ("dirty", "failing"), ("fails", "weak"), ("narrow", "bounded"), ("wide", "bounded")]
    weak = ranked[1]
    assert {way.call for way in weak.ways} == {"bounded"}
    assert (weak.width, weak.speed_gts) == (16, 16.0)
    assert code_of(ranked) == 1
    assert code_of(rank([look("low"), margin("low", 0.16, "marginal")])) == 0
    text = re.sub(r"\s+", " ", ranking_text(ranking(ranked, left_out={"dirty": BY_WRITES}), Style(columns=80)))
    assert "fails: Weakest is lane 5 at receiver F, of bits toward the card: 0.35 UI (21.9 ps) wide, grade fail" in text
    told = json.loads(ranking_json(ranked, looks, "0.1", 0.0, "", {"dirty": BY_WRITES}))
    assert told["not_margined"] == {"dirty": BY_WRITES}
    assert told["links"][1]["weakest"]["lane"] == 5


@pytest.mark.parametrize(("options", "says"), [
    ({"restore": True, "seconds": 5.0}, "--restore measures nothing, so --seconds has no meaning with it"),
    ({"restore": True, "margining": False}, "so --no-margining has no meaning"),
    ({"listing": True, "backend": "cuda"}, "--list measures nothing, so --backend has no meaning with it"),
    ({"close": True, "retrainings": 5}, "--close measures nothing, so --retrain has no meaning with it"),
    ({"every": True, "writes": True, "retrainings": 5}, "--retrain belongs to the experiment on one link"),
    ({"every": True, "force": True}, "--force changes nothing without --allow-writes"),
    ({"every": True, "full_margining": True}, "--full-margining changes nothing without --allow-writes"),
    ({"slot": "PCIE3", "force": True}, "--force changes nothing without --allow-writes"),
    ({"slot": "PCIE3", "retrainings": 5}, "--retrain changes nothing without --allow-writes"),
    ({"slot": "PCIE3", "writes": True, "full_margining": True, "margining": False}, "exclude each other")])
def test_an_option_that_would_change_nothing_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        riser(Options(**options))


@pytest.mark.parametrize("options", [{"listing": True, "writes": True}, {"restore": True, "force": True}])
def test_leave_to_write_belongs_to_what_writes(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="belongs to the experiment on one link"):
        riser(Options(**options))
