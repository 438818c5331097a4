from __future__ import annotations

import pytest

from boxcheck.model import Unread
from boxcheck.probes.memory import Channel, Memory, theoretical_gbs
from tests.checks.judging import DENIED, judge, outcome, outcomes
from tests.checks.memories import GIB, UNGIVEN, empty, memory, module, unread_modules

REST = tuple(module(letter) for letter in "BCDEFGH")
HELD_DOWN = tuple(module(letter, configured_mts=2666) for letter in "BCDEFGH")
SPEED = {"memory.speed_mts": {"should": 3200}}
UNIFORM = {"memory.uniform": {"should": True}}


@pytest.mark.parametrize(("facts", "wanted"), [
    (memory(), ["pass"]),
    (memory(module("A", configured_mts=3197), *REST), ["pass"]),  # rounding of the firmware
    (memory(module("A", rated_mts=2666, configured_mts=2666), *REST), ["marginal"]),
    (memory(module("A", configured_mts=2666), *REST), ["marginal"]),
    (memory(*(module(letter, configured_mts=2666) for letter in "ABCDEFGH")), ["marginal"]),
    (memory(module("A", rated_mts=2666, configured_mts=2666), *HELD_DOWN), ["marginal"]),
    (memory(module("A", configured_mts=Unread("not given", "absent")), *REST), ["unknown"]),
    (memory(module("A", rated_mts=Unread("not given", "absent")), *REST), ["pass"]),
    (unread_modules(DENIED), ["unknown"]),
])
def test_speed(facts: Memory, wanted: list[str]) -> None:
    assert outcomes(judge("memory.speed", facts, limits=SPEED)) == wanted


def test_one_slow_module_is_named_and_the_others_are_not() -> None:
    facts = memory(module("A", rated_mts=2666, configured_mts=2666), *HELD_DOWN)
    finding = judge("memory.speed", facts, limits=SPEED)[0]
    assert finding.cause == "memory-dimm:P0 CHANNEL A DIMM 0"
    assert finding.says == "runs at 2666 MT/s, rated 2666 MT/s, profile asks for 3200"
    assert "other 7" in finding.notes[0]


def test_a_speed_set_in_the_bios_blames_no_module() -> None:
    facts = memory(*(module(letter, configured_mts=2666) for letter in "ABCDEFGH"))
    finding = judge("memory.speed", facts, limits={"memory.speed_mts": 3200})[0]
    assert finding.outcome == "fail"
    assert finding.cause == "memory-speed:"
    assert "BIOS" in finding.help[0]
    assert finding.not_ == ("slow modules",)


@pytest.mark.parametrize(("facts", "wanted"), [
    (memory(), ["pass"]),
    (memory(module("A", size_bytes=32 * GIB), *REST), ["marginal"]),
    (memory(module("A", part="HMA82GR7CJR8N-XN"), *REST), ["marginal"]),
    (memory(module("A", size_bytes=Unread("x", "absent")), *REST), ["unknown"]),
    (memory(*(module(letter, part=None) for letter in "ABCDEFGH")), ["unknown"]),  # alike in nothing that was read
    (memory(module("A", part=None), *REST), ["unknown"]),
    (memory(module("A", part=None, size_bytes=32 * GIB), *REST), ["marginal"]),
    (unread_modules(DENIED), ["unknown"]),
])
def test_uniform(facts: Memory, wanted: list[str]) -> None:
    assert outcomes(judge("memory.uniform", facts, limits=UNIFORM)) == wanted


def test_uniform_is_asked_by_the_profile() -> None:
    assert outcome("memory.uniform", memory()) == "skip"
    assert outcome("memory.uniform", memory(), limits={"memory.uniform": {"should": False}}) == "skip"


def test_theoretical_bandwidth() -> None:
    finding = judge("memory.speed", memory(), limits={"memory.speed_mts": 3200})[0]
    assert finding.notes == ("channels, speed and width make 204.8 GB/s at most",)
    assert theoretical_gbs(memory().channels) == 204.8
    assert theoretical_gbs(DENIED) is DENIED
    assert theoretical_gbs((Channel("A", (module("A", configured_mts=UNGIVEN),)),)) is UNGIVEN
    assert isinstance(theoretical_gbs((Channel("A", (empty("A"),)),)), Unread)
    slow_and_empty = (Channel("A", (module("A", configured_mts=2666), module("A"))), Channel("B", (empty("B"),)))
    assert theoretical_gbs(slow_and_empty) == 21.3
