from __future__ import annotations

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.probes.memory import Memory
from boxcheck.problems import group
from tests.checks.judging import DENIED, GONE, judge, outcome
from tests.checks.memories import GIB, empty, memory, module, unread_modules

LIMITS = {"memory.total_gib": 128, "memory.channels": 8}
SEVEN = tuple(module(letter) if letter != "C" else empty("C") for letter in "ABCDEFGH")
SPELLING = Unread("the memory channel is not known from the locator", "unsupported")
PAIRS = [module(letter, label=f"DIMM_{letter}{place}") for letter in "ABCDEFGH" for place in (1, 2)]


@pytest.mark.parametrize(("facts", "wanted"), [
    (memory(), "pass"),
    (memory(*SEVEN), "fail"),
    (memory(total_bytes=GONE), "unknown"),  # whether the kernel has what is fitted, nobody looked
    (memory(total_bytes=112 * GIB), "fail"),  # all modules listed, one not mapped
    (memory(total_bytes=int(121.7 * GIB)), "pass"),  # just above 95 %
    (memory(total_bytes=int(121.5 * GIB)), "fail"),
    (memory(total_bytes=30 * GIB, carve_out_bytes=96 * GIB), "pass"),
    (memory(total_bytes=30 * GIB, carve_out_bytes=GONE), "unknown"),
    (memory(carve_out_bytes=GONE), "pass"),  # the kernel has it all, whatever a GPU was given
    (unread_modules(DENIED), "pass"),
    (unread_modules(DENIED, total_bytes=110 * GIB), "fail"),
    (unread_modules(DENIED, total_bytes=30 * GIB, carve_out_bytes=96 * GIB), "pass"),
    (unread_modules(DENIED, total_bytes=30 * GIB, carve_out_bytes=GONE), "unknown"),
    (unread_modules(DENIED, total_bytes=GONE), "unknown"),
])
def test_total(facts: Memory, wanted: str) -> None:
    assert outcome("memory.total", facts, limits=LIMITS) == wanted


def test_total_marginal_against_what_should_be() -> None:
    assert outcome("memory.total", memory(), limits={"memory.total_gib": {"must": 64, "should": 256}}) == "marginal"
    assert outcome("memory.total", memory()) == "skip"


def test_losing_one_of_24_modules_shows_without_root() -> None:
    # 16 GiB of 384: 4.2 %, and the kernel's own 1.8 % on top
    facts = unread_modules(DENIED, total_bytes=int(368 * GIB * 0.982))
    assert outcome("memory.total", facts, limits={"memory.total_gib": 384}) == "fail"
    whole = unread_modules(DENIED, total_bytes=int(384 * GIB * 0.982))
    assert outcome("memory.total", whole, limits={"memory.total_gib": 384}) == "pass"


@pytest.mark.parametrize(("facts", "wanted"), [
    (memory(), "pass"), (memory(*SEVEN), "fail"),
    (memory(*SEVEN[:2], module("C", size_bytes=GONE), *SEVEN[3:]), "unknown"),
    (unread_modules(DENIED), "pass"),  # EDAC shows all eight
    (unread_modules(DENIED, edac=()), "unknown"), (unread_modules(DENIED, edac=GONE), "unknown"),
    (memory(channels=SPELLING, edac=()), "unknown"),
    (memory(*SEVEN, channels=SPELLING, edac=()), "fail"),  # seven modules cannot fill eight channels
])
def test_channels(facts: Memory, wanted: str) -> None:
    assert outcome("memory.channels", facts, limits=LIMITS) == wanted


def test_unknown_without_root_says_that_root_would_settle_it() -> None:
    finding = judge("memory.channels", unread_modules(DENIED, edac=()), limits=LIMITS)[0]
    assert finding.needs_root


def test_a_channel_that_should_be_filled_is_marginal() -> None:
    assert outcome("memory.channels", memory(*SEVEN), limits={"memory.channels": {"should": 8}}) == "marginal"
    assert outcome("memory.channels", memory(*SEVEN), limits={"memory.channels": 7}) == "pass"


def test_one_dead_module_is_one_problem_that_names_its_socket() -> None:
    facts = memory(*SEVEN)
    found = [*judge("memory.total", facts, limits=LIMITS), *judge("memory.channels", facts, limits=LIMITS)]
    problems, _ = group(found)
    assert len(problems) == 1
    assert problems[0].id == "memory-dimm:P0 CHANNEL C DIMM 0"
    assert "P0 CHANNEL C DIMM 0" in problems[0].title
    assert "channel C" in found[1].says
    assert found[0].says == "112 GiB fitted, profile requires 128 GiB"


def test_the_second_socket_of_a_channel_is_named_too() -> None:
    gone = msgspec.structs.replace(empty("F"), label="DIMM_F2")
    facts = memory(*(gone if one.label == "DIMM_F2" else one for one in PAIRS))
    found = judge("memory.total", facts, limits={"memory.total_gib": 256})
    assert found[0].cause == "memory-dimm:DIMM_F2"
    assert outcome("memory.channels", facts, limits=LIMITS) == "pass"


def test_a_half_filled_board_is_one_problem() -> None:
    facts = memory(*(module(letter) if letter in "ABCD" else empty(letter) for letter in "ABCDEFGH"))
    found = [*judge("memory.total", facts, limits=LIMITS), *judge("memory.channels", facts, limits=LIMITS)]
    problems, _ = group(found)
    assert [problem.id for problem in problems] == ["memory-population:"]
