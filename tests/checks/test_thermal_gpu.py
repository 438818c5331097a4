from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.probes.nvml import Nvml
from boxcheck.probes.sensors import Chip, Sensors
from tests.checks.cards import NO_NVML, card, chip, gpu, gpus, nvidia, nvidia_box, nvml, sensors
from tests.checks.judging import GONE, judge, outcome, outcomes

CARD = gpu()
IDLE = {"thermal.gpu_idle_celsius": {"should": 50, "must": 85}, "thermal.gpu_celsius": {"must": 95},
        "thermal.gpu_junction_idle_celsius": {"should": 60}}
SPREAD = {"thermal.gpu_spread_celsius": {"should": 12}}


@pytest.mark.parametrize(("of", "wanted"), [
    (chip(CARD), ["pass"]), (chip(CARD, edge=50.0), ["pass"]), (chip(CARD, edge=50.1), ["marginal"]),
    (chip(CARD, edge=85.0), ["marginal"]), (chip(CARD, edge=85.1), ["fail"]),
    (chip(CARD, edge=95.0, busy=80), ["unknown"]), (chip(CARD, junction=61.0), ["marginal"]),
    (chip(CARD, edge=51.0, junction=61.0), ["marginal", "marginal"]),
    (chip(CARD, memory=90.0), ["pass"]),  # the profile sets no limit for it
    (chip(CARD, edge=70.0, busy=80), ["unknown"]),  # not at rest
    (chip(CARD, edge=96.0, busy=80), ["fail"]),  # too hot whatever it does
    (chip(CARD, edge=40.0, busy=80), ["pass"]), (chip(CARD, edge=GONE), ["unknown"]),
    (chip(CARD, temperatures=()), ["unknown"])])
def test_idle(of: Chip, wanted: list[str]) -> None:
    assert outcomes(judge("thermal.gpu-idle", gpus(CARD), sensors(of), NO_NVML, limits=IDLE)) == wanted


def test_idle_says_both_numbers() -> None:
    found = judge("thermal.gpu-idle", gpus(CARD), sensors(chip(CARD, edge=62.0)), NO_NVML, limits=IDLE)
    assert found[0].says == "edge 62 °C at rest, profile asks for 50 °C or less"
    assert found[0].cause == f"gpu-hot:{CARD.bdf}"


def cards(*edges: Any, busy: Any = 0) -> tuple[Any, Sensors, Nvml]:
    found = [gpu(index) for index in range(len(edges))]
    chips = (chip(one, edge=edge, busy=busy) for one, edge in zip(found, edges, strict=True))
    return gpus(*found), sensors(*chips), NO_NVML


@pytest.mark.parametrize(("edges", "wanted"), [
    ((38.0, 40.0, 42.0, 52.0), ["pass"]),  # 12 above the median of the others
    ((38.0, 40.0, 42.0, 52.5), ["marginal"]), ((30.0, 43.0), ["marginal"]), ((30.0, 42.0), ["pass"]),
    ((40.0,), ["skip"]), ((40.0, GONE), ["unknown", "skip"]), ((40.0, 41.0, GONE), ["unknown", "pass"])])
def test_spread(edges: Any, wanted: list[str]) -> None:
    assert outcomes(judge("thermal.gpu-spread", *cards(*edges), limits=SPREAD)) == wanted


def test_spread_under_load_is_not_judged() -> None:
    assert outcomes(judge("thermal.gpu-spread", *cards(40.0, 40.0, 70.0, busy=90), limits=SPREAD)) == ["unknown"]


def test_different_cards_are_not_compared() -> None:
    other = gpu(1, pci_id="1002:7550", revision=0xC0)
    facts = gpus(CARD, other), sensors(chip(CARD, edge=30.0), chip(other, edge=60.0)), NO_NVML
    assert outcomes(judge("thermal.gpu-spread", *facts, limits=SPREAD)) == ["skip", "skip"]


@pytest.mark.parametrize(("check", "limits"), [("thermal.gpu-idle", IDLE), ("thermal.gpu-spread", SPREAD)])
def test_where_there_is_nothing_to_read(check: str, limits: Any) -> None:
    assert outcome(check, gpus(), sensors(), NO_NVML, limits=limits) == "skip"
    assert outcome(check, gpus(unreadable=GONE), sensors(), NO_NVML, limits=limits) == "unknown"
    assert outcome(check, gpus(nvidia(0), nvidia(1)), sensors(), NO_NVML, limits=limits) == "unknown"
    assert outcome(check, gpus(CARD), sensors(), NO_NVML, limits=limits) == "unknown"
    assert outcome(check, gpus(CARD), Sensors(Unread("x", "not-captured"), ()), NO_NVML, limits=limits) == "unknown"
    assert outcome(check, gpus(gpu(driver=None)), sensors(), NO_NVML, limits=limits) == "unknown"
    assert outcome(check, gpus(CARD), sensors(chip(CARD)), NO_NVML) == "skip"


def green(*celsius: Any, **changes: Any) -> tuple[Any, Sensors, Nvml]:
    found = [nvidia(index) for index in range(len(celsius))]
    answers = (card(one, temperature_celsius=value, **changes) for one, value in zip(found, celsius, strict=True))
    return gpus(*found), sensors(), nvml(*answers)


@pytest.mark.parametrize(("facts", "wanted"), [
    (green(50.0), ["pass"]), (green(51.0), ["marginal"]), (green(96.0), ["fail"]), (green(None), ["unknown"]),
    (green(51.0, event_reasons=0), ["unknown"]),  # the driver does not call it idle
    (green(51.0, event_reasons=None), ["unknown"]), (green(96.0, event_reasons=0), ["fail"]),
    (green(40.0, error="GPU is lost"), ["unknown"]), ((gpus(nvidia()), sensors(), nvml()), ["unknown"])])
def test_idle_through_nvml(facts: Any, wanted: list[str]) -> None:
    assert outcomes(judge("thermal.gpu-idle", *facts, limits=IDLE)) == wanted


def test_whether_a_card_is_at_rest_may_be_unread() -> None:
    (finding,) = judge("thermal.gpu-idle", *green(51.0, event_reasons=None), limits=IDLE)
    assert finding.says == "not read: core 51 °C, but whether the GPU is at rest was not read"
    assert outcomes(judge("thermal.gpu-idle", *green(50.0, event_reasons=None), limits=IDLE)) == ["pass"]
    (too_hot,) = judge("thermal.gpu-idle", *green(96.0, event_reasons=None), limits=IDLE)
    assert too_hot.says == "core 96 °C, profile requires 95 °C or less"
    spread = judge("thermal.gpu-spread", *green(34.0, 35.0, 60.0, event_reasons=None), limits=SPREAD)
    assert outcomes(spread) == ["unknown"]
    (busy,) = judge("thermal.gpu-idle", gpus(CARD), sensors(chip(CARD, edge=60.0, junction=50.0, busy=GONE)), NO_NVML,
                    limits=IDLE)
    assert busy.outcome == "unknown"


def test_a_temperature_that_was_not_read() -> None:
    unread = {"temperature_celsius": "Unknown Error"}
    (finding,) = judge("thermal.gpu-idle", *green(None, unread=unread), limits=IDLE)
    assert finding.says == "not read: core temperature: Unknown Error"


def test_a_goal_without_driver() -> None:
    facts = gpus(msgspec.structs.replace(nvidia(), driver=None)), sensors(), NO_NVML
    assert outcome("thermal.gpu-idle", *facts, profile=nvidia_box("tinygrad", IDLE)) == "skip"
    assert outcome("thermal.gpu-idle", *facts, profile=nvidia_box("cuda-p2p", IDLE)) == "unknown"


def test_spread_through_nvml() -> None:
    assert outcomes(judge("thermal.gpu-spread", *green(34.0, 35.0, 47.0), limits=SPREAD)) == ["marginal"]
    assert outcomes(judge("thermal.gpu-spread", *green(34.0, 35.0, 46.0), limits=SPREAD)) == ["pass"]


def test_a_card_that_shows_less_than_its_like_was_not_looked_at_in_full() -> None:
    other = gpu(1)
    bare = chip(other)
    bare = msgspec.structs.replace(bare, temperatures=bare.temperatures[:1])
    found = judge("thermal.gpu-idle", gpus(CARD, other), sensors(chip(CARD), bare), NO_NVML, limits=IDLE)
    assert outcomes(found) == ["pass", "unknown"]
    assert found[1].says == "not read: it shows no junction temperature, and other cards of its kind do"


def test_a_model_without_junction_is_judged_by_its_edge_and_says_so() -> None:
    bare = msgspec.structs.replace(chip(CARD), temperatures=chip(CARD).temperatures[:1])
    found = judge("thermal.gpu-idle", gpus(CARD), sensors(bare), NO_NVML, limits=IDLE)
    assert outcomes(found) == ["pass", "skip"]
    assert found[1].says == "no RX 7900 XTX here shows a junction temperature"
