from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
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


@pytest.mark.parametrize(("state", "wanted"), [(0, "pass"), (1, "marginal"), (GONE, "unknown")])
def test_a_link_slowed_down_to_stay_cool(state: Any, wanted: str) -> None:
    cooling = (LinkCooling(Bdf("0000:40:01.1"), state, 3, "/sys/class/thermal/cooling_device0/cur_state"),)
    found = judge("pcie.thermal-link-limit", sensors(cooling=cooling), NO_LINKS)
    assert outcomes(found) == [wanted]
    if wanted == "marginal":
        assert found[0].cause == "link:0000:40:01.1"


def test_links_without_a_cooling_device() -> None:
    assert outcome("pcie.thermal-link-limit", sensors(), NO_LINKS) == "skip"
    assert outcome("pcie.thermal-link-limit", Sensors((), GONE), NO_LINKS) == "unknown"


def test_a_limit_that_was_not_read_is_not_a_missing_limit() -> None:
    blind = temperature("Tctl", 50.0, limits_unread=DENIED)
    assert outcome("thermal.critical-alarm", sensors(cpu_chip(blind)), Gpus(())) == "unknown"
    seen = temperature("Tctl", 50.0, critical_celsius=100.0)
    assert outcomes(judge("thermal.critical-alarm", sensors(cpu_chip(seen, blind)), Gpus(()))) == ["unknown"]
    assert outcome("thermal.critical-alarm", Sensors((), (), DENIED), Gpus(())) == "unknown"
    rung = temperature("Tctl", 50.0, alarm=True, limits_unread=DENIED)
    assert outcome("thermal.critical-alarm", sensors(cpu_chip(rung)), Gpus(())) == "fail"


def test_a_cooling_device_that_was_not_told_is_not_a_missing_one() -> None:
    assert outcome("pcie.thermal-link-limit", Sensors((), (), None, DENIED), NO_LINKS) == "unknown"
    held = LinkCooling(Bdf("0000:40:01.1"), 2, 3, "/sys/class/thermal/cooling_device1/cur_state")
    found = judge("pcie.thermal-link-limit", Sensors((), (held,), None, DENIED), NO_LINKS)
    assert outcomes(found) == ["unknown", "marginal"]
