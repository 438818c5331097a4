"""What one link does is one problem, with the slow copies that follow from it; what another link or the card does is not."""

from __future__ import annotations

import tempfile

from boxcheck.model import Bdf, Finding, Outcome, Subject
from boxcheck.problems import group
from boxcheck.store.reader import RunReader
from tests.report.scenes import made

PORT, CARD = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")
OTHER_PORT, OTHER_CARD = Bdf("0000:40:03.1"), Bdf("0000:42:00.0")
UPPER, LOWER, BEHIND = Bdf("0000:41:00.0"), Bdf("0000:42:00.0"), Bdf("0000:43:00.0")
"""A card with a switch: the switch's upper port, its lower port, the GPU behind it."""


def found(check: str, cause: str, bdf: Bdf = CARD, outcome: Outcome = Outcome.FAIL, ends: tuple[Bdf, ...] = (),
          slot: str | None = "PCIE3") -> Finding:
    return Finding(check=check, subject=Subject("link", slot=slot, bdf=bdf), outcome=outcome, says="bad", cause=cause,
                   ends=ends)


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


def test_errors_alone_do_not_slow_copies() -> None:
    assert together(DIRTY, SLOW) == [["stress.link-rate"], ["copy.rate"]]


def test_a_card_that_computes_wrongly_is_its_own_problem_beside_its_link() -> None:
    assert together(WRONG, NARROW, SLOW) == [["matmul.wrong-elements"], ["pcie.link-width", "copy.rate"]]


def test_slow_copies_are_the_cards_where_no_link_lost_anything() -> None:
    assert together(SLOW, WRONG) == [["matmul.wrong-elements", "copy.rate"]]


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
