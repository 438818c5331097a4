"""Which way the damaged packets went, and what zero is worth: on built boxes, by the bytes that a kernel shows."""

from __future__ import annotations

import pytest

from boxcheck.model import Finding, Outcome
from tests.boxes.verdicts import judge_box


def correctable(name: str, slot: str = "PCIE3") -> Finding:
    verdict, _ = judge_box(name)
    return next(
        finding for finding in verdict.findings
        if finding.check == "aer.correctable" and finding.subject.slot == slot)


def test_bad_tlps_at_the_root_port_came_from_the_card() -> None:
    found = correctable("wopr-7x4090+badtlp-root-port")
    assert found.outcome is Outcome.MARGINAL
    assert "at the port 40:01.1" in found.says
    assert "counted at the port, so damaged on the way from the card to the processor" in found.notes


def test_bad_tlps_at_the_card_came_from_the_processor() -> None:
    found = correctable("wopr-7x4090+badtlp-card")
    assert "at the card 41:00.0" in found.says
    assert "counted at the card, so damaged on the way from the processor to the card" in found.notes


def test_a_rollover_fails_whatever_the_rate() -> None:
    found = correctable("wopr-7x4090+timeout-rollover")
    assert found.outcome is Outcome.FAIL
    assert "Rollover" in found.says


@pytest.mark.parametrize(
    "name", ["aer-firmware-owned", "noaer", "pcie-ports-compat", "aer-masked", "aer-reporting-off", "card-without-aer"])
def test_zero_is_unknown_where_nobody_counts(name: str) -> None:
    found = correctable(f"wopr-7x4090+{name}")
    assert found.outcome is Outcome.UNKNOWN
    assert "proves nothing" in found.says


def test_advisory_errors_do_not_count_against_the_link() -> None:
    assert correctable("wopr-7x4090+advisory-only").outcome is Outcome.PASS
