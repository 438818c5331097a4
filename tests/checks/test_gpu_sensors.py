from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.probes.sensors import Chip
from boxcheck.problems import group
from tests.checks.cards import NO_NVML, card, chip, gpu, gpus, nvidia, nvidia_box, nvml, sensors, watts
from tests.checks.judging import GONE, judge, outcome, outcomes

CARD = gpu()


@pytest.mark.parametrize(("of", "wanted"), [
    (chip(CARD), "pass"),  # stands still and is cool
    (chip(CARD, edge=74.9), "pass"), (chip(CARD, edge=75.0), "fail"), (chip(CARD, junction=90.0), "fail"),
    (chip(CARD, edge=90.0, rpm=1500), "pass"), (chip(CARD, rpm=GONE), "unknown"),
    (chip(CARD, edge=GONE, junction=GONE), "unknown"), (chip(CARD, edge=GONE, junction=95.0), "fail"),
    (chip(CARD, fans=()), "skip")])
def test_fan(of: Chip, wanted: str) -> None:
    assert outcome("fan.gpu", gpus(CARD), sensors(of), NO_NVML) == wanted


def test_a_fan_at_rest_says_what_it_does_not_show() -> None:
    finding = judge("fan.gpu", gpus(CARD), sensors(chip(CARD)), NO_NVML)[0]
    assert finding.says == "fan1 at rest at edge 36 °C"
    assert "load" in finding.notes[0]


@pytest.mark.parametrize(("power", "wanted"), [
    (watts(), "pass"), (watts(cap=150.0), "marginal"), (watts(cap=325.0), "marginal"), (watts(cap=327.4), "pass"),
    (watts(cap=376.0), "marginal"), (watts(cap=GONE), "unknown"), (watts(default=GONE), "unknown"),
    (watts(default=None), "unknown"), (watts(cap=None, default=None), "skip")])
def test_cap(power: Any, wanted: str) -> None:
    assert outcome("power.gpu-cap", gpus(CARD), sensors(chip(CARD, power=power)), NO_NVML) == wanted


def test_the_single_outlet_setting_is_recognised() -> None:
    finding = judge("power.gpu-cap", gpus(CARD), sensors(chip(CARD, power=watts(cap=150.0))), NO_NVML)[0]
    assert finding.says == "capped at 150 W, its default is 327 W"
    assert "120 V" in finding.notes[0]


def test_six_capped_cards_are_one_problem() -> None:
    six = [gpu(index) for index in range(6)]
    found = judge("power.gpu-cap", gpus(*six), sensors(*(chip(one, power=watts(cap=150.0)) for one in six)), NO_NVML)
    assert len(found) == 6
    assert len(group(found)[0]) == 1


def test_fans_of_nvidia_are_not_measured_whatever_nvml_says() -> None:
    one = nvidia()
    for answers in (NO_NVML, nvml(card(one)), nvml(card(one, error="GPU is lost"))):
        assert outcome("fan.gpu", gpus(one, nvidia(1)), sensors(), answers) == "skip"


@pytest.mark.parametrize("check", ["fan.gpu", "power.gpu-cap"])
def test_where_there_is_nothing_to_read(check: str) -> None:
    assert outcome(check, gpus(), sensors(), NO_NVML) == "skip"
    assert outcome(check, gpus(unreadable=GONE), sensors(), NO_NVML) == "unknown"
    if check == "power.gpu-cap":
        two = gpus(nvidia(0), nvidia(1)), sensors(), NO_NVML
        assert outcome(check, *two, profile=nvidia_box()) == "unknown"
        assert outcome(check, *two) == "skip"  # a desktop that nobody computes on
    assert outcome(check, gpus(CARD), sensors(), NO_NVML) == "unknown"


@pytest.mark.parametrize(("changes", "wanted"), [
    ({}, "pass"), ({"power_limit_watts": 300.0}, "marginal"), ({"power_limit_watts": None}, "unknown"),
    ({"power_default_watts": None}, "unknown"), ({"error": "GPU is lost"}, "unknown"),
    ({"power_limit_watts": 450.9}, "pass"), ({"power_limit_watts": 451.1}, "marginal"),
    ({"power_limit_watts": None, "power_default_watts": None}, "skip"),
    ({"power_limit_watts": None, "power_default_watts": None, "unread": {"power_limit_watts": "Unknown Error"}},
     "unknown")])
def test_cap_through_nvml(changes: dict[str, Any], wanted: str) -> None:
    one = nvidia()
    assert outcome("power.gpu-cap", gpus(one), sensors(), nvml(card(one, **changes))) == wanted


def test_a_cap_through_nvml_is_set_back_with_nvidia_smi() -> None:
    one = nvidia()
    finding = judge("power.gpu-cap", gpus(one), sensors(), nvml(card(one, power_limit_watts=300.0)))[0]
    assert finding.help == ("where it is not meant: sudo nvidia-smi -i 0000:03:00.0 -pl 450",)
    assert outcome("fan.gpu", gpus(one), sensors(), nvml(card(one))) == "skip"


@pytest.mark.parametrize("goal", ["vm", "tinygrad"])
def test_without_a_driver_on_purpose_no_sensor_is_missed(goal: str) -> None:
    handed = gpus(msgspec.structs.replace(nvidia(), driver="vfio-pci"), gpu(1, driver=None))
    for answers in (NO_NVML, nvml()):
        found = judge("power.gpu-cap", handed, sensors(), answers, profile=nvidia_box(goal))
        assert outcomes(found) == ["skip", "skip"]
    kept = gpus(nvidia())  # NVIDIA's driver has it, so NVML must know it
    assert outcome("power.gpu-cap", kept, sensors(), nvml(), profile=nvidia_box(goal)) == "unknown"
