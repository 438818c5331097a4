"""aer.uncorrectable: counters at both ends of a link, and what only the root port counted.

The facts are those of a built box with counters changed, so that links, capabilities and AER's owner are real.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import pytest

from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.model import Bdf, Finding, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.probes.nvme import Nvme
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer, RootTotals
from boxcheck.problems import group
from tests.boxes import build
from tests.boxes.memory import host
from tests.checks.judging import GONE, judge

ROOT, CARD = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")
SOUND = RootTotals(0, 0, 0)


@cache
def facts(name: str) -> Facts:
    return read_facts(host(build(name)), (Gpus, Links, Aer, PciInventory, KernelLogs, Nvme))


def of(name: str, kind: Any) -> Any:
    value = facts(name).of(kind)
    assert not isinstance(value, Unread)
    return value


def judged(
    totals: Mapping[Bdf, RootTotals] | None = None, counts: Mapping[Bdf, Mapping[str, Any]] | None = None,
    box: str = "wopr-7x4090",
) -> list[Finding]:
    aer = of(box, Aer)
    counters = {bdf: msgspec.structs.replace(one, **dict(counts.get(bdf, {})) if counts else {})
                for bdf, one in aer.counters.items()}
    changed = msgspec.structs.replace(aer, root_totals={**aer.root_totals, **(totals or {})}, counters=counters)
    return judge("aer.uncorrectable", of(box, Gpus), of(box, Links), changed, of(box, PciInventory), of(box, KernelLogs),
                 of(box, Nvme))


def bad(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.outcome.value, str(one.subject)) for one in found if one.outcome != "pass"]


def test_a_sound_box_passes_on_every_link() -> None:
    found = judged()
    assert [one.outcome.value for one in found] == ["pass"] * 7
    assert f"/sys/bus/pci/devices/{ROOT}/aer_rootport_total_err_fatal" in [path for one in found
                                                                          for path in one.evidence]


def test_a_fatal_error_that_only_the_root_port_counted_fails_its_link() -> None:
    found = judged({ROOT: RootTotals(0, 0, 1)})
    assert bad(found) == [("fail", "PCIE3")]
    finding = next(one for one in found if one.outcome == "fail")
    assert finding.says == (
        "since boot: 1 fatal error at root port 40:01.1 that no device below it shows")
    assert finding.cause == f"link:{ROOT}"
    assert finding.where == "root port 40:01.1 > slot PCIE3 > GPU 2 41:00.0"
    assert "does not ask" in finding.notes[0]


def test_a_fatal_error_that_a_device_shows_is_told_once() -> None:
    claimed = {CARD: {"fatal": {"SDES": 1, "TOTAL": 1}}}
    found = judged({ROOT: RootTotals(0, 0, 1)}, claimed)
    assert bad(found) == [("fail", "PCIE3")]
    assert next(one.says for one in found if one.outcome == "fail") == "since boot: 1 SDES (fatal) at 41:00.0"
    one_more = judged({ROOT: RootTotals(0, 0, 2)}, claimed)
    assert next(one.says for one in one_more if one.outcome == "fail") == (
        "since boot: 1 SDES (fatal) at 41:00.0; 1 fatal error at root port 40:01.1 that no device below it shows")


def test_one_message_with_several_bits_is_one_message() -> None:
    found = judged({ROOT: RootTotals(0, 0, 2)}, {CARD: {"fatal": {"SDES": 1, "DLP": 1, "TOTAL": 1}}})
    assert "1 fatal error at root port" in next(one.says for one in found if one.outcome == "fail")


def test_a_total_without_any_name_is_an_error() -> None:
    found = judged(None, {CARD: {"fatal": {"SDES": 0, "TOTAL": 3}}})
    assert next(one.says for one in found if one.outcome == "fail") == (
        "since boot: 3 unnamed (fatal) at 41:00.0")


def test_a_nonfatal_error_that_nobody_shows_is_marginal() -> None:
    assert bad(judged({ROOT: RootTotals(0, 1, 0)})) == [("marginal", "PCIE3")]


def test_correctable_totals_are_not_judged_here() -> None:
    assert bad(judged({ROOT: RootTotals(900, 0, 0)})) == []


@pytest.mark.parametrize("totals", [
    RootTotals(0, 0, Unread("not in this capture", "not-captured")), RootTotals(0, GONE, 0),
    RootTotals(0, Unread("no such file", "absent"), Unread("no such file", "absent"))])
def test_a_root_port_whose_totals_were_not_read_acquits_nobody(totals: RootTotals) -> None:
    found = judged({ROOT: totals})
    assert bad(found) == [("unknown", "PCIE3")]
    assert "aer_rootport_total_err" in next(one.says for one in found if one.outcome == "unknown")


def test_what_one_end_shows_stands_although_the_other_was_not_read() -> None:
    found = judged(None, {ROOT: {"fatal": {"SDES": 1, "TOTAL": 1}}, CARD: {"fatal": GONE}})
    assert bad(found) == [("fail", "PCIE3")]
    assert bad(judged(None, {CARD: {"fatal": GONE}})) == [("unknown", "PCIE3")]


def test_the_switch_on_an_rdna_card_is_no_second_card() -> None:
    found = judged({Bdf("0000:40:03.1"): RootTotals(0, 0, 1)}, box="tinybox-red")
    assert [outcome for outcome, _ in bad(found)] == ["fail"]
    assert next(one.cause for one in found if one.outcome == "fail") == "link:0000:40:03.1"


SWITCH = "wopr-7x4090+switch-x16"
"""Two GPUs below a switch below one root port."""


def test_below_a_switch_nobody_knows_whose_error_it_was() -> None:
    below = [gpu for gpu in of(SWITCH, Gpus).gpus if of(SWITCH, Links).above[gpu.bdf][0] == ROOT]
    assert len(below) == 2
    found = judged({ROOT: RootTotals(0, 0, 1)}, box=SWITCH)
    assert sorted(outcome for outcome, _ in bad(found)) == ["fail", "unknown", "unknown", "unknown"]
    finding = next(one for one in found if one.outcome == "fail")
    assert str(finding.subject) == "root port 40:01.1"
    assert finding.where == "somewhere below root port 40:01.1"
    assert finding.says.endswith("from somewhere below it")
    assert {one.subject.bdf for one in found if one.outcome == "unknown"} == {ROOT, *(gpu.bdf for gpu in below)}
    problems, _ = group(found)
    assert [problem.id for problem in problems] == [f"link:{ROOT}"]
    assert bad(judged({ROOT: SOUND}, box=SWITCH)) == []


def test_below_a_switch_a_card_that_shows_the_error_clears_the_other() -> None:
    first, second = (gpu.bdf for gpu in of(SWITCH, Gpus).gpus if of(SWITCH, Links).above[gpu.bdf][0] == ROOT)
    found = judged({ROOT: RootTotals(0, 0, 1)}, {first: {"fatal": {"SDES": 1, "TOTAL": 1}}}, box=SWITCH)
    assert [(one.outcome.value, one.subject.bdf) for one in found if one.outcome != "pass"] == [("fail", first)]
    assert next(one.outcome for one in found if one.subject.bdf == second) == "pass"


def test_below_a_switch_a_nonfatal_error_leaves_the_links_their_own_counters() -> None:
    found = judged({ROOT: RootTotals(0, 2, 0)}, box=SWITCH)
    assert bad(found) == [("marginal", "root port 40:01.1")]


def test_a_root_port_without_gpu_is_told_and_does_not_fail_the_box() -> None:
    aer, gpus = of("wopr-7x4090", Aer), of("wopr-7x4090", Gpus)
    other = next(bdf for bdf in aer.root_totals if bdf not in {gpu.slot_link for gpu in gpus.gpus})
    found = judged({other: RootTotals(0, 0, 1)})
    assert [outcome for outcome, _ in bad(found)] == ["marginal"]
    assert next(one.cause for one in found if one.outcome == "marginal") == f"function:{other}"


@pytest.mark.parametrize(("counts", "wanted"), [
    ({"nonfatal": {"UnsupReq": 1, "TOTAL": 1}}, "marginal"),
    ({"nonfatal": {"UnsupReq": 1, "CmpltTO": 1, "TOTAL": 2}}, "fail"),
    ({"nonfatal": {"UnsupReq": 1, "TOTAL": 3}}, "fail"),
    ({"fatal": {"UnsupReq": 1, "TOTAL": 1}}, "fail"),
    ({"nonfatal": {"UnsupReq": 1, "TOTAL": 1}, "fatal": GONE}, "unknown"),
])
def test_a_refused_request_alone_is_no_fault_of_the_link(counts: Mapping[str, Any], wanted: str) -> None:
    finding = next(one for one in judged(None, {CARD: counts}) if str(one.subject) == "PCIE3")
    assert finding.outcome.value == wanted, finding.says
    assert "1 UnsupReq" in finding.says


@pytest.mark.parametrize(("messages", "reported", "outcome"), [(0, 5, None), (1, 5, "fail"), (0, 4, "fail")])
def test_what_a_device_reported_as_advisory_is_no_uncorrectable_error(
    messages: int, reported: int, outcome: str | None,
) -> None:
    """Counted twice by Linux 7.3 (recorded in QEMU: 5 NonFatalErr, and 5 non-fatal errors by name). Not taken for it where the
    root port received a message of a non-fatal error, or the device reported fewer."""
    counts = {CARD: {"correctable": {"NonFatalErr": reported, "TOTAL": reported},
                     "nonfatal": {"UnsupReq": 2, "TLP": 1, "CmpltAbrt": 1, "UnxCmplt": 1, "TOTAL": 5}}}
    found = judged({ROOT: RootTotals(reported, messages, 0)}, counts)
    assert bad(found) == ([] if outcome is None else [(outcome, "PCIE3")])
