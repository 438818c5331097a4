from __future__ import annotations

from typing import Any

import pytest

from boxcheck.probes.nvml import Nvml
from tests.checks.cards import NO_NVML, card, gpu, gpus, nvidia, nvml
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


@pytest.mark.parametrize(("facts", "answers", "wanted"), [
    (gpus(), NO_NVML, ["skip"]), (gpus(gpu()), NO_NVML, ["skip"]), (gpus(CARD), NO_NVML, ["unknown"]),
    (gpus(unreadable=GONE), NO_NVML, ["unknown"]), (gpus(CARD), nvml(), ["unknown"]),
    (gpus(CARD), nvml(card(CARD, error="GPU is lost")), ["unknown"]),
    (gpus(CARD, nvidia(1)), nvml(card(CARD), card(nvidia(1), event_reasons=None)), ["unknown", "pass"])])
def test_where_there_is_nothing_to_read(facts: Any, answers: Nvml, wanted: list[str]) -> None:
    assert outcomes(judge("power.throttle", facts, answers)) == wanted
