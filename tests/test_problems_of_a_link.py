"""What one link does is one problem, with the slow copies that follow from it; what another link or the card does is not."""

from __future__ import annotations

import tempfile
from typing import Any

import msgspec
import pytest

from boxcheck.checks.steps import NO_FALL
from boxcheck.model import Bdf, Finding, Limit, Outcome, Quantity, Subject
from boxcheck.problems import group
from boxcheck.store.reader import RunReader
from tests.report.scenes import made

PORT, CARD = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")
OTHER_PORT, OTHER_CARD = Bdf("0000:40:03.1"), Bdf("0000:42:00.0")
UPPER, LOWER, BEHIND = Bdf("0000:41:00.0"), Bdf("0000:42:00.0"), Bdf("0000:43:00.0")
"""A card with a switch: the switch's upper port, its lower port, the GPU behind it."""


def found(check: str, cause: str, bdf: Bdf = CARD, outcome: Outcome = Outcome.FAIL, ends: tuple[Bdf, ...] = (),
          slot: str | None = "PCIE3", says: str = "bad", **options: Any) -> Finding:
    return Finding(check=check, subject=Subject("link", slot=slot, bdf=bdf), outcome=outcome, says=says, cause=cause,
                   ends=ends, **options)


def together(*findings: Finding) -> list[list[str]]:
    return [[findings[index].check for index in problem.findings] for problem in group(findings)[0]]


NARROW = found("pcie.link-width", f"link:{PORT}")
FELL_ABOVE = found("stress.link-speed", f"link-errors:{PORT}", PORT, ends=(PORT, CARD), slot=None)
FELL_BELOW = found("stress.link-speed", f"link-errors:{CARD}", CARD, ends=(PORT, CARD), slot=None)
DIRTY = found("stress.link-rate", f"link-errors:{PORT}", PORT, ends=(PORT, CARD))
REPLAYS = found("burn.link-counters", f"link-errors:{CARD}", CARD, Outcome.MARGINAL, slot=None)
SLOW = found("copy.rate", f"gpu-copies:{CARD}")
WRONG = found("matmul.wrong-elements", f"gpu-fault:{CARD}")


def test_a_bad_riser_is_one_problem_that_its_link_leads() -> None:
    assert together(SLOW, REPLAYS, FELL_BELOW, DIRTY, FELL_ABOVE, NARROW) == [[
        "pcie.link-width", "stress.link-speed", "stress.link-rate", "stress.link-speed", "burn.link-counters",
        "copy.rate"]]


def test_both_ends_are_one_problem_without_what_doctor_saw_in_either_order() -> None:
    assert len(together(FELL_ABOVE, FELL_BELOW, SLOW)) == 1
    assert len(together(SLOW, FELL_BELOW, FELL_ABOVE)) == 1
    assert len(together(REPLAYS, DIRTY)) == 1
    assert len(together(REPLAYS, NARROW)) == 2  # not known which link the driver tells of
    assert len(together(msgspec.structs.replace(REPLAYS, ends=(PORT, CARD)), NARROW)) == 1


def test_errors_alone_do_not_slow_copies() -> None:
    assert together(DIRTY, SLOW) == [["stress.link-rate"], ["copy.rate"]]


def test_a_card_that_computes_wrongly_is_its_own_problem_beside_its_link() -> None:
    assert together(WRONG, NARROW, SLOW) == [["matmul.wrong-elements"], ["pcie.link-width", "copy.rate"]]


def test_slow_copies_are_the_cards_where_no_link_lost_anything() -> None:
    assert together(SLOW, WRONG) == [["matmul.wrong-elements", "copy.rate"]]


def test_a_setting_that_is_marginal_does_not_lead_a_link_that_fails() -> None:
    frozen = found("pcie.speed-disable", f"link:{PORT}", outcome=Outcome.MARGINAL, title="frozen", help=("reboot",))
    dirty = msgspec.structs.replace(DIRTY, title="damaged packets", help=("reseat the card",))
    ((problem,), _) = group([frozen, dirty, FELL_ABOVE])
    assert (problem.title, problem.help) == ("damaged packets", ("reboot", "reseat the card"))


def rated(of: str, percent: float, **options: Any) -> Finding:
    return found(of, f"gpu-copies:{CARD}", measured=Quantity(percent / 4, "GB/s"), limit=Limit("x", "ge", 25.0), **options)


def test_a_narrow_link_explains_no_more_slowness_than_it_makes() -> None:
    half = found("pcie.link-width", f"link:{PORT}", measured=Quantity(8, "lanes"), limit=Limit("x", "ge", 16))
    one_way, slowing = found("copy.asymmetry", f"gpu-copies:{CARD}"), found("copy.rate-drop", f"gpu-copies:{CARD}")
    assert len(together(half, rated("copy.rate", 55))) == 1
    assert len(together(half, rated("copy.rate", 20))) == 2, "less than half of what eight lanes give"
    assert len(together(half, rated("copy.rate", 55), one_way)) == 2, "a link is the same both ways"
    assert len(together(half, DIRTY, REPLAYS, rated("copy.rate", 55), one_way)) == 1, "but for what it sends again"
    assert len(together(half, rated("copy.rate", 55), slowing)) == 2, "it was narrow from the start"
    assert len(together(FELL_ABOVE, FELL_BELOW, rated("copy.rate", 55), slowing)) == 1
    unsteady = found("stress.link-speed", f"link:{PORT}", outcome=Outcome.MARGINAL)
    assert len(together(unsteady, rated("copy.rate", 4))) == 2


def test_two_slots_are_two_problems() -> None:
    other = found("stress.link-speed", f"link-errors:{OTHER_PORT}", OTHER_PORT, ends=(OTHER_PORT, OTHER_CARD), slot="PCIE4")
    slow = found("copy.rate", f"gpu-copies:{OTHER_CARD}", OTHER_CARD, slot="PCIE4")
    assert together(NARROW, FELL_ABOVE, other, SLOW, slow) == [
        ["pcie.link-width", "stress.link-speed", "copy.rate"], ["stress.link-speed", "copy.rate"]]


def test_two_cards_in_one_slot_are_two_problems() -> None:
    other = found("stress.link-rate", f"link-errors:{OTHER_PORT}", OTHER_PORT, ends=(OTHER_PORT, OTHER_CARD))
    slow = found("copy.rate", f"gpu-copies:{OTHER_CARD}", OTHER_CARD)
    assert together(NARROW, other, slow) == [["pcie.link-width"], ["stress.link-rate"], ["copy.rate"]]


def test_the_link_within_a_card_is_not_that_of_its_slot() -> None:
    slot = found("pcie.link-speed", f"link:{PORT}", BEHIND)
    within = found("stress.link-rate", f"link-errors:{LOWER}", LOWER, ends=(LOWER, BEHIND), slot=None)
    at_slot = found("stress.link-errors", f"link-errors:{UPPER}", UPPER, ends=(PORT, UPPER), slot=None)
    slow = found("copy.rate", f"gpu-copies:{BEHIND}", BEHIND)
    assert together(slot, within, at_slot, slow) == [
        ["pcie.link-speed", "stress.link-errors", "copy.rate"], ["stress.link-rate"]]


def link(slot: int, check: str = "pcie.link-width", **options: Any) -> Finding:
    """Of the link of one of several slots."""
    return found(check, f"link:0000:{slot}0:01.1", Bdf(f"0000:{slot}1:00.0"), slot=f"PCIE{slot}", **options)


def capped(slot: int, **options: Any) -> Finding:
    return link(slot, "pcie.link-speed", outcome=Outcome.MARGINAL, title=f"PCIE{slot} is capped", not_=(NO_FALL,),
                help=("set the speed in the BIOS setup",), **options)


def damaged(slot: int, outcome: Outcome = Outcome.FAIL, says: str = "counted Rollover 2") -> Finding:
    port, card = Bdf(f"0000:{slot}0:01.1"), Bdf(f"0000:{slot}1:00.0")
    return found("stress.link-errors", f"link-errors:{card}", card, outcome, (port, card), f"PCIE{slot}", says=says,
                 title=f"PCIE{slot}: damaged packets", help=("reseat the riser",))


def test_a_bad_riser_is_not_lost_among_links_that_are_capped_alike() -> None:
    problems, _ = group([capped(1), capped(2), capped(3), damaged(2)])
    assert [(one.title, one.help[-1]) for one in problems] == [
        ("PCIE2: damaged packets", "reseat the riser"), ("3 links alike: bad", "set the speed in the BIOS setup")]


def test_one_of_several_narrow_links_that_makes_errors_too_is_not_like_the_others() -> None:
    problems, _ = group([*map(link, (1, 2, 3, 4)), damaged(2)])
    assert [one.title for one in problems] == ["3 links alike: bad", "the path of slot PCIE2 is damaged"]


def test_narrow_links_that_all_make_errors_are_alike_however_many_errors() -> None:
    problems, _ = group([*map(link, (1, 2, 3)), damaged(1), damaged(2, says="counted Rollover 7"), damaged(3)])
    assert [(one.title, one.where, len(one.findings)) for one in problems] == [
        ("3 links alike: bad", "PCIE1, PCIE2, PCIE3", 6)]


def test_errors_do_not_come_from_a_setting_and_a_setting_is_no_damage() -> None:
    problems, _ = group([capped(1), damaged(1, Outcome.MARGINAL, "counted Timeout 1")])
    assert [(one.title, one.help) for one in problems] == [
        ("PCIE1 is capped", ("set the speed in the BIOS setup",)), ("PCIE1: damaged packets", ("reseat the riser",))]


def test_what_doctor_saw_of_one_link_is_one_problem_with_the_steps_of_both() -> None:
    counted = link(1, "aer.correctable", title="PCIE1 makes errors", help=("reseat the riser",))
    problems, _ = group([capped(1), counted, damaged(1)])
    assert [(one.title, len(one.findings)) for one in problems] == [("PCIE1 makes errors", 3)]
    assert problems[0].help == ("set the speed in the BIOS setup", "reseat the riser")
    failed = msgspec.structs.replace(capped(1), outcome=Outcome.FAIL)
    assert group([failed, counted])[0][0].title == "PCIE1 makes errors"


def test_slow_copies_follow_from_a_link_that_is_capped() -> None:
    slow = found("copy.rate", "gpu-copies:0000:11:00.0", Bdf("0000:11:00.0"), slot="PCIE1")
    assert together(capped(1), slow) == [["pcie.link-speed", "copy.rate"]]


def test_slow_copies_do_not_follow_from_a_link_at_full_speed() -> None:
    slow = found("copy.rate", "gpu-copies:0000:11:00.0", Bdf("0000:11:00.0"), slot="PCIE1")
    limit = Limit("link.speed_gts", "ge", must=16.0, unit="GT/s")
    full = link(1, "pcie.link-speed", outcome=Outcome.MARGINAL, measured=Quantity(16.0, "GT/s"), limit=limit)
    fell = link(1, "pcie.link-speed", outcome=Outcome.MARGINAL, measured=Quantity(8.0, "GT/s"), limit=limit)
    assert together(full, slow) == [["copy.rate"], ["pcie.link-speed"]]
    assert together(fell, slow) == [["pcie.link-speed", "copy.rate"]]


@pytest.mark.parametrize("other", ["kernel-too-old:", f"bar:{CARD}"])
def test_a_kernel_or_a_memory_window_is_no_cause_of_wrong_results_or_slow_copies(other: str) -> None:
    grave = Finding(check="other", subject=Subject("box", "box"), outcome=Outcome.MARGINAL, says="bad", cause=other)
    assert together(grave, WRONG) == [["matmul.wrong-elements"], ["other"]]
    assert together(grave, NARROW, SLOW) == [["pcie.link-width", "copy.rate"], ["other"]]


def test_a_replayed_box_with_a_bad_riser_names_its_path_once_and_counts_every_failure() -> None:
    with tempfile.TemporaryDirectory() as folder, RunReader(made("bad-riser", folder, 0.2).path) as reader:
        verdict = reader.verdict()
    assert verdict is not None
    assert [one.id for one in verdict.problems if one.outcome is Outcome.FAIL] == [f"link:{PORT}"]
    path = verdict.problems[0]
    assert path.title == "the path of slot PCIE3 is damaged"
    checks = {verdict.findings[index].check for index in path.findings}
    assert {"pcie.link-width", "stress.link-speed", "stress.link-rate", "copy.rate", "p2p.slow-pair"} <= checks
    failed = {index for index, one in enumerate(verdict.findings) if one.outcome is Outcome.FAIL}
    assert failed <= {*path.findings}
    assert verdict.counts["fail"] == len(failed)
