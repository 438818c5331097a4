from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.probes.nvml import Nvml
from tests.checks.cards import NO_NVML, card, gpu, gpus, nvidia, nvidia_box, nvml
from tests.checks.judging import GONE, judge, outcome, outcomes

CARD = nvidia()


@pytest.mark.parametrize(("reasons", "wanted"), [
    (0x1, "pass"), (0x0, "pass"), (0x4, "pass"), (0x2, "pass"), (0x20, "marginal"), (0x40, "fail"), (0x48, "fail"),
    (0x80, "fail"), (0x88, "fail"), (0x8, "fail"), (0x84, "fail"), (None, "unknown")])
def test_throttle(reasons: int | None, wanted: str) -> None:
    assert outcome("power.throttle", gpus(CARD), nvml(card(CARD, event_reasons=reasons))) == wanted


def test_the_power_brake_is_about_power_and_heat_about_heat() -> None:
    brake = judge("power.throttle", gpus(CARD), nvml(card(CARD, event_reasons=0x88)))[0]
    assert brake.cause == f"gpu-power:{CARD.bdf}"
    assert brake.says == "held down by hardware slowdown and power brake (0x88), must be none"
    heat = judge("power.throttle", gpus(CARD), nvml(card(CARD, event_reasons=0x48)))[0]
    assert heat.cause == f"gpu-hot:{CARD.bdf}"


def test_the_gravest_reason_is_the_title() -> None:
    capped = judge("power.throttle", gpus(CARD), nvml(card(CARD, event_reasons=0x84)))[0]
    assert capped.title == "GPU 0 is held down by power brake"
    hot = judge("power.throttle", gpus(CARD), nvml(card(CARD, event_reasons=0x25)))[0]
    assert (hot.outcome.value, hot.title) == ("marginal", "GPU 0 is held down by software thermal slowdown")
    assert hot.says == "held down by power cap and software thermal slowdown (0x25), must be none"


def test_reasons_that_were_not_read() -> None:
    unread = {"event_reasons": "nvidia-smi -q does not say"}
    (finding,) = judge("power.throttle", gpus(CARD), nvml(card(CARD, event_reasons=None, unread=unread)))
    assert (finding.outcome.value, finding.says) == ("unknown", "not read: nvidia-smi -q does not say")


def test_who_needs_the_driver_and_who_does_not() -> None:
    assert outcome("power.throttle", gpus(CARD), NO_NVML, profile=nvidia_box()) == "unknown"
    assert outcome("power.throttle", gpus(CARD), NO_NVML, profile=nvidia_box("tinygrad")) == "skip"
    handed = gpus(msgspec.structs.replace(CARD, driver="vfio-pci"))
    assert outcome("power.throttle", handed, nvml(), profile=nvidia_box("vm")) == "skip"
    assert outcome("power.throttle", gpus(CARD), nvml(), profile=nvidia_box("vm")) == "unknown"


@pytest.mark.parametrize(("facts", "answers", "wanted"), [
    (gpus(), NO_NVML, ["skip"]), (gpus(gpu()), NO_NVML, ["skip"]), (gpus(CARD), NO_NVML, ["skip"]),
    (gpus(unreadable=GONE), NO_NVML, ["unknown"]), (gpus(CARD), nvml(), ["unknown"]),
    (gpus(CARD), nvml(card(CARD, error="GPU is lost")), ["unknown"]),
    (gpus(CARD, nvidia(1)), nvml(card(CARD), card(nvidia(1), event_reasons=None)), ["unknown", "pass"])])
def test_where_there_is_nothing_to_read(facts: Any, answers: Nvml, wanted: list[str]) -> None:
    assert outcomes(judge("power.throttle", facts, answers)) == wanted
