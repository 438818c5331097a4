from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.probes.links import Link, LinkEnd, Links
from boxcheck.probes.nvme import Namespace, Nvme, NvmeDrive, SmartLog
from tests.checks.judging import DENIED, GONE, judge, outcome, outcomes

LOG = SmartLog(critical_warning=0, spare_percent=100, spare_threshold_percent=10, used_percent=1, media_errors=0,
               unsafe_shutdowns=3, power_on_hours=100, temperature_celsius=36.9)
PORT, CARD = Bdf("0000:00:01.1"), Bdf("0000:01:00.0")


def drive(number: int = 0, **changes: Any) -> NvmeDrive:
    made = NvmeDrive(name=f"nvme{number}", bdf=CARD, transport="pcie", model="990 PRO", serial=f"S{number}",
                     firmware="4B2QJXD7", state="live",
                     namespaces=(Namespace(f"nvme{number}n1", 2 << 40, False),), smart=LOG)
    return msgspec.structs.replace(made, **changes)


def drives(*found: NvmeDrive, undriven: tuple[Bdf, ...] = (), unreadable: Unread | None = None) -> Nvme:
    return Nvme(found, undriven, unreadable)


def links(speed: Any = 16.0, width: Any = 4, card_speed: Any = 16.0, card_width: Any = 4, port_speed: Any = 16.0,
          port_width: Any = 4) -> Links:
    above = LinkEnd(PORT, speed, width, port_speed, port_width, None)
    below = LinkEnd(CARD, speed, width, card_speed, card_width, None)
    link = Link(downstream=above, upstream=below, slot="M2_1", on_card=False, presence_detect=None, dll_active=None,
                under_load=Unread("once", "one-reading"))
    return Links(links={PORT: link}, above={CARD: (PORT,)}, slots_unread=None)


@pytest.mark.parametrize(("facts", "limit", "wanted"), [
    (drives(drive(0), drive(1)), 2, "pass"), (drives(drive(0)), 2, "fail"),
    (drives(drive(0), drive(1, transport="tcp")), 2, "fail"), (drives(), None, "skip"),
    (drives(unreadable=GONE), 2, "unknown"), (drives(undriven=(CARD,)), 1, "fail")])
def test_count(facts: Nvme, limit: int | None, wanted: str) -> None:
    assert outcome("disk.nvme-count", facts, limits={"disk.nvme_count": limit} if limit else None) == wanted


MUST = {"disk.nvme_link_speed_gts": 16.0, "disk.nvme_link_width": 4}


@pytest.mark.parametrize(("found", "limits", "wanted"), [
    (links(), MUST, ["pass"]),
    (links(width=2), MUST, ["fail"]),
    (links(speed=8.0), MUST, ["fail"]),
    (links(width=2, speed=8.0), MUST, ["fail", "fail"]),
    (links(speed=8.0, port_speed=8.0), MUST, ["fail"]),  # the slot cannot do what the profile demands
    (links(speed=8.0, card_speed=8.0), MUST, ["marginal"]),  # the drive cannot
    (links(width=2, card_width=2), MUST, ["marginal"]),
    (links(width=2), None, ["marginal"]),
    (links(width=2, port_width=2), None, ["pass"]),  # two lanes by design
    (links(speed=8.0, port_speed=8.0), None, ["pass"]),
    (links(speed=8.0), None, ["marginal"]),
    (links(width=GONE), MUST, ["unknown"]),
    (links(speed=None), MUST, ["unknown"]),
    (links(width=63), MUST, ["unknown"]),
    (links(card_width=0), None, ["unknown"]),  # what it could do is not known, and nobody demands anything
    (links(card_speed=None), None, ["unknown"]), (links(port_width=GONE), None, ["unknown"]),
    (links(card_width=0, card_speed=None), MUST, ["pass"]),
    (Links({}, {}, None), MUST, ["unknown"]),
])
def test_link(found: Links, limits: Any, wanted: list[str]) -> None:
    assert outcomes(judge("disk.nvme-link", drives(drive()), found, limits=limits)) == wanted


def test_link_at_x2_says_both_numbers_and_names_the_port() -> None:
    finding = judge("disk.nvme-link", drives(drive()), links(width=2), limits=MUST)[0]
    assert finding.says == "runs at x2, profile requires 4 lanes"
    assert finding.cause == "link:0000:00:01.1"
    assert finding.where == "port 0000:00:01.1 > slot M2_1 > nvme0 0000:01:00.0"


@pytest.mark.parametrize(("state", "wanted"), [
    ("live", "pass"), ("resetting", "marginal"), ("dead", "fail"), ("deleting", "fail"),
    (GONE, "unknown"), (None, "unknown")])
def test_state(state: Any, wanted: str) -> None:
    assert outcome("disk.nvme-state", drives(drive(state=state))) == wanted


def test_a_size_that_nobody_read_is_no_live_drive() -> None:
    unread = drive(state="live", namespaces=(Namespace("nvme0n1", GONE, False),))
    assert outcome("disk.nvme-state", drives(unread)) == "unknown"


@pytest.mark.parametrize(("unread", "wanted"), [(None, "marginal"), (GONE, "unknown")])
def test_a_drive_without_namespaces_takes_no_data(unread: Unread | None, wanted: str) -> None:
    assert outcome("disk.nvme-state", drives(drive(namespaces=(), namespaces_unread=unread))) == wanted


@pytest.mark.parametrize(("log", "wanted"), [
    ({}, ["pass"]), ({"critical_warning": 4}, ["fail"]), ({"critical_warning": 2}, ["marginal"]),
    ({"critical_warning": 6}, ["fail"]), ({"critical_warning": 64}, ["fail"]), ({"media_errors": 1}, ["marginal"]),
    ({"used_percent": 90}, ["pass"]), ({"used_percent": 91}, ["marginal"]), ({"media_errors": None}, ["unknown"]),
    ({"used_percent": None}, ["unknown"]), ({"critical_warning": 1, "media_errors": 2}, ["fail", "marginal"])])
def test_health(log: dict[str, Any], wanted: list[str]) -> None:
    facts = drives(drive(smart=msgspec.structs.replace(LOG, **log)))
    assert outcomes(judge("disk.nvme-health", facts, limits={"disk.nvme_used_percent": {"should": 90}})) == wanted


def test_health_that_was_not_read_is_unknown_and_says_what_root_adds() -> None:
    finding = judge("disk.nvme-health", drives(drive(smart=DENIED)))[0]
    assert finding.outcome == "unknown"
    assert finding.needs_root


def test_firmware() -> None:
    assert outcome("disk.nvme-firmware-uniform", drives(drive(0), drive(1))) == "pass"
    assert outcome("disk.nvme-firmware-uniform", drives(drive(0), drive(1, firmware="X"))) == "marginal"
    assert outcome("disk.nvme-firmware-uniform", drives(drive(0), drive(1, model="980", firmware="X"))) == "skip"
    assert outcome("disk.nvme-firmware-uniform", drives(drive(0), drive(1, firmware=GONE))) == "unknown"
    assert outcome("disk.nvme-firmware-uniform", drives(drive(0, firmware=None), drive(1, firmware=None))) == "unknown"
    assert outcome("disk.nvme-firmware-uniform", drives(drive(0, model=None), drive(1))) == "unknown"


@pytest.mark.parametrize("check", ["disk.nvme-state", "disk.nvme-health", "disk.nvme-firmware-uniform"])
def test_no_drive_is_skipped_and_nobody_looked_is_unknown(check: str) -> None:
    assert outcome(check, drives()) == "skip"
    assert outcome(check, drives(unreadable=GONE)) == "unknown"
    assert outcome(check, drives(undriven=(CARD,))) == "unknown"


@pytest.mark.parametrize("speed", [None, GONE])
@pytest.mark.parametrize("limits", [None, MUST])
def test_a_drive_that_does_not_tell_its_speed_is_not_as_fast_as_its_port(speed: Any, limits: Any) -> None:
    found = links()
    link = found.links[PORT]
    assert link.upstream is not None
    silent = msgspec.structs.replace(link, upstream=msgspec.structs.replace(link.upstream, speed_gts=speed))
    facts = msgspec.structs.replace(found, links={PORT: silent})
    assert outcome("disk.nvme-link", drives(drive()), facts, limits=limits) == "unknown"
