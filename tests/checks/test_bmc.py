from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.probes.bmc import Bmc, BmcEvent, BmcInfo, BmcSensor
from tests.checks.judging import DENIED, GONE, judge, outcome, outcomes

HEALTHY = Bmc(
    node="/dev/ipmi0", announced=True, info=BmcInfo("2.02", "ASRock"), supplies=(),
    fans=(BmcSensor("FAN1", "ok", "29.1", "1400 RPM"), BmcSensor("FAN2", "ns", "29.2", "No Reading")), events=())
ABSENT = Unread("there is no /dev/ipmi0", "absent")


def bmc(**changes: Any) -> Bmc:
    return msgspec.structs.replace(HEALTHY, **changes)


NONE = bmc(node=None, announced=False, info=ABSENT, supplies=ABSENT, fans=ABSENT, events=ABSENT)
UNDRIVEN = bmc(node=None, info=ABSENT, supplies=ABSENT, fans=ABSENT, events=ABSENT)


def event(text: str, asserted: bool = True) -> BmcEvent:
    return BmcEvent("08/30/2026 10:11:12", "Sensor", text, asserted)


@pytest.mark.parametrize(("facts", "limit", "wanted"), [
    (HEALTHY, True, "pass"), (NONE, True, "fail"), (NONE, {"should": True}, "marginal"), (UNDRIVEN, True, "marginal"),
    (bmc(node=GONE), True, "unknown"), (bmc(node=None, announced=GONE), True, "unknown"), (NONE, None, "skip")])
def test_present(facts: Bmc, limit: Any, wanted: str) -> None:
    assert outcome("bmc.present", facts, limits={"bmc.present": limit} if limit else None) == wanted


@pytest.mark.parametrize(("events", "wanted"), [
    ((), "pass"), ((event("Presence detected"), event("Upper Non-critical going high")), "pass"),
    ((event("PCI PERR"),), "marginal"), ((event("Fault Status"),), "marginal"),
    ((event("Slot / Connector Ready"),), "pass"),
    ((event("Power Supply AC lost"),), "marginal"), ((event("Power Supply AC lost", asserted=False),), "pass"),
    ((event("Lower Critical going low "),), "marginal"), ((event("Uncorrectable ECC"),), "marginal"),
    ((event("Correctable ECC"),), "pass"), (DENIED, "unknown"), (GONE, "unknown")])
def test_event_log(events: Any, wanted: str) -> None:
    assert outcome("bmc.sel-critical", bmc(events=events)) == wanted


def test_event_log_without_root_says_so_and_without_bmc_is_skipped() -> None:
    assert judge("bmc.sel-critical", bmc(events=DENIED))[0].needs_root
    assert outcome("bmc.sel-critical", NONE) == "skip"
    assert outcome("bmc.sel-critical", UNDRIVEN) == "unknown"


@pytest.mark.parametrize(("fans", "wanted"), [
    (HEALTHY.fans, ["pass"]), ((BmcSensor("FAN1", "cr", "29.1", "200 RPM"),), ["fail"]),
    ((BmcSensor("FAN1", "nc", "29.1", "500 RPM"),), ["marginal"]),
    ((BmcSensor("FAN1", "nr", "29.1", "0 RPM"),), ["fail"]),
    ((BmcSensor("FAN2", "ns", "29.2", "No Reading"),), ["skip"]), (DENIED, ["unknown"]), (GONE, ["unknown"])])
def test_case_fans(fans: Any, wanted: list[str]) -> None:
    assert outcomes(judge("fan.case", bmc(fans=fans))) == wanted


def test_case_fans_without_bmc_are_skipped() -> None:
    assert outcome("fan.case", NONE) == "skip"
    assert outcome("fan.case", UNDRIVEN) == "unknown"
