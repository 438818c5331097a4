"""Every hop that findings name is blamed on the screen, and no other."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.checks.places import link_subject
from boxcheck.model import Bdf, Finding, Outcome, Subject, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.profile import load_profile
from boxcheck.tui.found import Found
from boxcheck.tui.frame import Frame, GpuRow, LinkView
from boxcheck.tui.look import UNICODE
from boxcheck.tui.screens.gpu_texts import link as link_text
from boxcheck.tui.screens.link import tree
from boxcheck.tui.widgets.panes import LedgerPane
from tests.tui.box import facts_of
from tests.tui.conftest import Frames
from tests.tui.runs import PCIE3

WANT = load_profile("tinybox-red")


def hops(slots: bool) -> tuple[Bdf, list[tuple[Bdf, Bdf, Subject]]]:
    """The two links of a card with a switch of its own: both ends, and how findings call it; with or without names of
    slots."""
    facts, _ = facts_of("tinybox-red")
    gpus, links = facts.of(Gpus), facts.of(Links)
    assert not isinstance(gpus, Unread)
    assert not isinstance(links, Unread)
    gpu = gpus.gpus[0]
    found = []
    for link in links.chain(gpu.bdf):
        assert link.upstream is not None
        named = link if slots else msgspec.structs.replace(link, slot=None)
        found.append((link.id, link.upstream.bdf, link_subject(named, gpu)))
    return gpu.bdf, found


def finding(check: str, subject: Subject, cause: str | None, outcome: Outcome = Outcome.MARGINAL) -> Finding:
    return Finding(check=check, subject=subject, outcome=outcome, says="412 BadTLP", blocker=True, cause=cause)


def shown(stills: Frames, *findings: Finding) -> tuple[GpuRow, Frame]:
    """A frame of these findings, and a GPU on whose four functions errors were counted."""
    card, every = hops(True)
    chain = tuple(
        LinkView(bdf=bdf, speed_gts=16.0, width=16, best_gts=16.0, best_width=16, errors=(("BadTLP", 412),), counted=True,
                 gone=False, age_seconds=0.5)
        for port, end, _ in every for bdf in (port, end))
    base = stills("all-well").frame
    row = msgspec.structs.replace(base.gpus[0], bdf=card, chain=chain, slot="PCIE1")
    found = Found(WANT, certain=True)
    found.take(findings)
    return row, msgspec.structs.replace(base, gpus=(row,), problems=found.problems())


def blamed(row: GpuRow, frame: Frame) -> list[str]:
    """Addresses of the functions that the tree blames."""
    lines = [line.plain for line in tree(row, frame, UNICODE, 117)]
    return [one.bdf for one in row.chain if any(one.bdf in line and "blamed," in line for line in lines)]


@pytest.mark.parametrize("slots", [True, False])
def test_two_hops_of_one_card_are_both_blamed_with_and_without_names_of_slots(stills: Frames, slots: bool) -> None:
    _, every = hops(slots)
    ports = [port for port, _, _ in every]
    row, frame = shown(stills, *(
        finding("aer.correctable", subject, f"link:{port}") for port, _, subject in every))
    assert len(frame.problems) == 2
    assert blamed(row, frame) == ports
    lines = [line.plain for line in tree(row, frame, UNICODE, 117)]
    assert sum("the other end of the link that is blamed" in line for line in lines) == 2
    assert sum("(aer.correctable)" in line for line in lines) == 2
    assert all(line.count("blamed, marginal") <= 1 for line in lines)
    assert sum("blamed, marginal" in line for line in link_text(row, frame, UNICODE).plain.splitlines()) == 2


def test_each_end_that_counted_is_blamed_where_findings_name_each(stills: Frames) -> None:
    _, every = hops(False)
    ends = [end for port, card, _ in every for end in (port, card)]
    row, frame = shown(stills, *(
        finding("stress.link-errors", Subject("function", f"port {end}", bdf=end), f"link-errors:{end}")
        for end in ends))
    assert blamed(row, frame) == ends


def test_two_directions_of_one_link_blame_both_of_its_ends(stills: Frames) -> None:
    _, every = hops(False)
    port, end, subject = every[0]
    row, frame = shown(stills, *(
        finding("burn.until-ber", subject, f"link-errors:{one}", Outcome.FAIL) for one in (port, end)))
    assert blamed(row, frame) == [port, end]


def test_errors_that_no_finding_names_blame_nobody(stills: Frames) -> None:
    row, frame = shown(stills)
    assert blamed(row, frame) == []
    assert "blamed" not in link_text(row, frame, UNICODE).plain


def test_what_is_only_not_known_blames_nobody_on_any_screen(stills: Frames) -> None:
    _, every = hops(False)
    port, _, subject = every[0]
    row, frame = shown(stills, finding("aer.live", subject, f"link:{port}", Outcome.UNKNOWN))
    assert len(frame.problems) == 1
    assert blamed(row, frame) == []
    assert not any("blamed" in line.plain for line in LedgerPane().rows(frame, UNICODE, 100))


def test_the_ledger_and_the_tree_blame_the_same(stills: Frames) -> None:
    frame = stills("failing").frame
    row = frame.gpus[PCIE3]
    ledger = [line.plain for line in LedgerPane().rows(frame, UNICODE, 100)]
    assert blamed(row, frame) == [
        one.bdf for one in row.chain if any(one.bdf.removeprefix("0000:") in line and "blamed" in line for line in ledger)]
    assert len(blamed(row, frame)) == 2


def test_of_one_part_and_cause_the_gravest_and_latest_is_shown_once(stills: Frames) -> None:
    _, every = hops(False)
    port, _, subject = every[0]
    cause = f"link:{port}"
    for before, after, kept in (
            (Outcome.MARGINAL, Outcome.FAIL, [Outcome.FAIL]), (Outcome.FAIL, Outcome.MARGINAL, [Outcome.FAIL]),
            (Outcome.UNKNOWN, Outcome.UNKNOWN, [Outcome.UNKNOWN])):
        _, frame = shown(stills, finding("a.b", subject, cause, before), finding("a.b", subject, cause, after))
        assert [one.outcome for one in frame.problems] == kept
    _, frame = shown(stills, finding("a.b", subject, None, Outcome.UNKNOWN), finding("a.b", subject, cause, Outcome.FAIL))
    assert [one.cause for one in frame.problems] == [cause]
    _, frame = shown(
        stills, finding("a.b", subject, None, Outcome.UNKNOWN), finding("a.b", subject, cause, Outcome.MARGINAL))
    assert len(frame.problems) == 2, "what could not be looked at is graver, and is not hidden by what was"
