from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Bdf, Finding, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Link, LinkEnd, Links
from boxcheck.probes.nvme import Nvme, NvmeDrive
from boxcheck.probes.sensors import Chip, LinkCooling, Sensors, Temperature
from tests.checks.cards import chip, gpu, sensors, temperature
from tests.checks.judging import DENIED, GONE, judge, outcome, outcomes

LIMITS = {"thermal.cpu_celsius": {"should": 85, "must": 90}}
CPU_CHIP = Chip(
    hwmon="hwmon0", name="k10temp", bdf=Bdf("0000:00:18.3"), device="0000:00:18.3", temperatures=(), fans=(),
    power=None, busy_percent=None)
ASLEEP = Unread("the card sleeps", "unsupported")
DRIVE = Bdf("0000:01:00.0")
NO_LINKS = Links({}, {}, None)


def cpu_chip(*temperatures: Temperature, **changes: Any) -> Chip:
    return msgspec.structs.replace(CPU_CHIP, temperatures=temperatures, **changes)


def drive_chip(*temperatures: Temperature) -> Chip:
    return cpu_chip(*temperatures, name="nvme", bdf=DRIVE, device="nvme0")


@pytest.mark.parametrize(("chips", "wanted"), [
    ((cpu_chip(temperature("Tctl", 85.0)),), ["pass"]), ((cpu_chip(temperature("Tctl", 85.1)),), ["marginal"]),
    ((cpu_chip(temperature("Tctl", 90.1)),), ["fail"]),
    ((cpu_chip(temperature("Tctl", 95.0), temperature("Tdie", 68.0)),), ["pass"]),  # Tctl is offset, the die counts
    ((cpu_chip(temperature("Tccd1", 40.0)),), ["unknown"]), ((cpu_chip(temperature("Tctl", GONE)),), ["unknown"]),
    ((cpu_chip(temperature("Package id 0", 40.0), name="coretemp"), cpu_chip(
        temperature("Package id 1", 91.0), name="coretemp")), ["pass", "fail"]),
    ((), ["unknown"])])
def test_cpu(chips: Any, wanted: list[str]) -> None:
    assert outcomes(judge("thermal.cpu", sensors(*chips), limits=LIMITS)) == wanted


def test_the_chip_of_another_socket_may_be_the_one_that_nobody_could_read() -> None:
    one = Sensors((cpu_chip(temperature("Tctl", 50.0)),), (), DENIED)
    assert outcomes(judge("thermal.cpu", one, limits=LIMITS)) == ["unknown", "pass"]


def test_cpu_is_asked_by_the_profile_and_unknown_where_nobody_looked() -> None:
    assert outcome("thermal.cpu", sensors()) == "skip"
    assert outcome("thermal.cpu", Sensors(GONE, ()), limits=LIMITS) == "unknown"


@pytest.mark.parametrize(("chips", "wanted"), [
    ((cpu_chip(temperature("Tctl", 50.0, alarm=False)),), "pass"),
    ((cpu_chip(temperature("Tctl", 50.0, alarm=True)),), "fail"),
    ((cpu_chip(temperature("Tctl", 99.9, critical_celsius=100.0)),), "pass"),
    ((cpu_chip(temperature("Tctl", 100.0, critical_celsius=100.0)),), "fail"),
    ((cpu_chip(temperature("AUXTIN3", 50.0, alarm=True), name="nct6798"),), "skip"),  # an input that is not wired
    ((cpu_chip(temperature("Tctl", GONE, critical_celsius=100.0)),), "unknown"), ((), "skip"),
    ((cpu_chip(temperature("edge", ASLEEP, critical_celsius=100.0), name="amdgpu"),), "skip")])
def test_critical_alarm(chips: Any, wanted: str) -> None:
    assert outcome("thermal.critical-alarm", sensors(*chips), Gpus(())) == wanted


def test_critical_alarm_of_a_gpu_joins_what_else_is_hot_about_it() -> None:
    card = gpu()
    hot = chip(card, temperatures=(temperature("edge", 101.0, critical_celsius=100.0),))
    finding = judge("thermal.critical-alarm", sensors(hot), Gpus((card,)))[0]
    assert finding.cause == f"gpu-hot:{card.bdf}"
    assert finding.subject == card.subject
    assert finding.title == "GPU 0 in slot PCIE1 is past its critical temperature"
    assert finding.says == "edge of amdgpu 0000:03:00.0: 101 °C, critical limit 100 °C"
    assert outcome("thermal.critical-alarm", Sensors(GONE, ()), Gpus(())) == "unknown"


def drives(*names: str) -> Nvme:
    return Nvme(tuple(
        NvmeDrive(name=name, bdf=DRIVE, transport="pcie", model=None, serial=None, firmware=None, state="live",
                  namespaces=(), smart=GONE) for name in names), ())


@pytest.mark.parametrize(("temperatures", "wanted"), [
    ((temperature("Composite", 81.8, max_celsius=81.9, critical_celsius=84.9),), "pass"),
    ((temperature("Composite", 81.9, max_celsius=81.9, critical_celsius=84.9),), "marginal"),
    ((temperature("Composite", 84.9, max_celsius=81.9, critical_celsius=84.9),), "fail"),
    ((temperature("Composite", 99.0),), "skip"), ((temperature("Composite", GONE, max_celsius=80.0),), "unknown"),
    ((), "unknown")])
def test_nvme(temperatures: Any, wanted: str) -> None:
    assert outcome("thermal.nvme", drives("nvme0"), sensors(drive_chip(*temperatures))) == wanted


def test_nvme_without_drive_or_reading() -> None:
    assert outcome("thermal.nvme", drives(), sensors()) == "skip"
    assert outcome("thermal.nvme", Nvme((), (), GONE), sensors()) == "unknown"
    assert outcome("thermal.nvme", drives("nvme0"), sensors()) == "unknown"


PORT = Bdf("0000:40:01.1")
COOLING = LinkCooling(PORT, 1, 3, "/sys/class/thermal/cooling_device0/cur_state", ("acpitz",))
END = LinkEnd(PORT, 8.0, 16, 16.0, 16, 8.0)


def slowed(port: LinkEnd = END, **changes: Any) -> list[Finding]:
    link = Link(downstream=port, upstream=None, slot="PCIE3", on_card=False, presence_detect=None, dll_active=None,
                under_load=GONE)
    held = msgspec.structs.replace(COOLING, **changes)
    return judge("pcie.thermal-link-limit", sensors(cooling=(held,)), Links({PORT: link}, {}, None), Gpus(()))


@pytest.mark.parametrize(("changes", "wanted"), [
    ({}, "marginal"), ({"state": 0}, "pass"), ({"state": GONE}, "unknown"),
    ({"zones": ()}, "pass"),  # nobody can slow it down: a card at rest, or a slower card, makes the state
    ({"zones": DENIED}, "unknown")])
def test_a_link_slowed_down_to_stay_cool(changes: dict[str, Any], wanted: str) -> None:
    found = slowed(**changes)
    assert outcomes(found) == [wanted]
    if wanted == "marginal":
        assert found[0].cause == f"link-throttled:{PORT}"
        assert not any("BIOS" in text for text in found[0].not_)  # the zone is not known to be hot


@pytest.mark.parametrize(("hot", "excluded"), [(True, True), (False, False), (None, False)])
def test_a_bios_cap_is_excluded_where_the_zone_is_hot(hot: bool | None, excluded: bool) -> None:
    (finding,) = slowed(hot=hot)
    assert any("BIOS" in text for text in finding.not_) is excluded
    assert any("BIOS" in step for step in finding.help) is not excluded


@pytest.mark.parametrize(("target", "wanted"), [(8.0, "marginal"), (16.0, "pass"), (None, "pass"), (DENIED, "unknown")])
def test_only_a_lowered_target_speed_shows_that_somebody_slowed_the_link(target: Any, wanted: str) -> None:
    """cur_state is computed from the speed that the link has, so an idle card under a bound zone shows it too."""
    found = slowed(msgspec.structs.replace(END, target_speed_gts=target))
    assert outcomes(found) == [wanted]
    assert found[0].needs_root == (target is DENIED)


def test_links_without_a_cooling_device() -> None:
    assert outcome("pcie.thermal-link-limit", sensors(), NO_LINKS, Gpus(())) == "skip"
    assert outcome("pcie.thermal-link-limit", Sensors((), GONE), NO_LINKS, Gpus(())) == "unknown"


def test_a_limit_that_was_not_read_is_not_a_missing_limit() -> None:
    blind = temperature("Tctl", 50.0, limits_unread=DENIED)
    assert outcome("thermal.critical-alarm", sensors(cpu_chip(blind)), Gpus(())) == "unknown"
    seen = temperature("Tctl", 50.0, critical_celsius=100.0)
    assert outcomes(judge("thermal.critical-alarm", sensors(cpu_chip(seen, blind)), Gpus(()))) == ["unknown"]
    assert outcome("thermal.critical-alarm", Sensors((), (), DENIED), Gpus(())) == "unknown"
    rung = temperature("Tctl", 50.0, alarm=True, limits_unread=DENIED)
    assert outcome("thermal.critical-alarm", sensors(cpu_chip(rung)), Gpus(())) == "fail"


def test_a_cooling_device_that_was_not_told_is_not_a_missing_one() -> None:
    assert outcome("pcie.thermal-link-limit", Sensors((), (), None, DENIED), NO_LINKS, Gpus(())) == "unknown"
    found = judge("pcie.thermal-link-limit", Sensors((), (COOLING,), None, DENIED), NO_LINKS, Gpus(()))
    assert outcomes(found) == ["unknown", "unknown"]  # the second: no such port was seen
    calm = msgspec.structs.replace(COOLING, state=0)
    assert outcome("pcie.thermal-link-limit", Sensors((), (calm,), None, DENIED), NO_LINKS, Gpus(())) == "unknown"
