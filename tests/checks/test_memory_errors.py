from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.probes.memory import Memory
from tests.checks.judging import DENIED, GONE, judge, outcome, outcomes
from tests.checks.memories import dmi, edac, memory, module, unread_modules

ECC = {"memory.ecc": True}
UNCOUNTED = (msgspec.structs.replace(edac()[0], corrected=GONE, uncorrected=GONE),)


@pytest.mark.parametrize(("facts", "limits", "wanted"), [
    (memory(), ECC, "pass"),
    (unread_modules(DENIED), ECC, "pass"),  # a driver that counts proves that ECC is on
    (memory(edac=()), ECC, "marginal"),
    (memory(edac=(), ecc=False, error_correction="None"), ECC, "fail"),
    (memory(edac=(), ecc=False), {"memory.ecc": {"should": True}}, "marginal"),
    (memory(*(module(letter, check_bits=0) for letter in "ABCDEFGH"), edac=()), ECC, "fail"),
    (unread_modules(DENIED, edac=()), ECC, "unknown"),
    (memory(edac=GONE), ECC, "unknown"),
    (memory(edac=()), None, "skip"),
    (memory(ecc=False, error_correction="None"), ECC, "unknown"),  # firmware and driver contradict each other
    (memory(*(module(letter, check_bits=0) for letter in "ABCDEFGH")), ECC, "unknown"),
])
def test_ecc(facts: Memory, limits: Any, wanted: str) -> None:
    assert outcome("memory.ecc", facts, limits=limits) == wanted


@pytest.mark.parametrize(("facts", "limits", "uncorrected", "corrected"), [
    (memory(), None, ["pass"], ["pass"]),
    (memory(edac=edac(corrected=1)), None, ["pass"], ["marginal"]),
    (memory(edac=edac(uncorrected=1)), None, ["fail"], ["pass"]),
    (memory(edac=edac(uncorrected=2, placed=False)), None, ["fail"], ["pass"]),
    (memory(edac=()), None, ["unknown"], ["unknown"]),  # ECC memory, and nobody counts
    (memory(edac=(), ecc=False), None, ["skip"], ["skip"]),
    (memory(edac=(), ecc=False), ECC, ["unknown"], ["unknown"]),
    (memory(edac=DENIED), None, ["unknown"], ["unknown"]),
    (memory(edac=UNCOUNTED), None, ["unknown"], ["unknown"]),
])
def test_counters(facts: Memory, limits: Any, uncorrected: list[str], corrected: list[str]) -> None:
    assert outcomes(judge("memory.edac-ue", facts, dmi(), limits=limits)) == uncorrected
    assert outcomes(judge("memory.edac-ce", facts, dmi(), limits=limits)) == corrected


def test_the_socket_is_named_as_on_the_board() -> None:
    # EDAC channel 6 of a ROMED8-2T is E (rasdaemon labels/asrock)
    finding = judge("memory.edac-ce", memory(edac=edac(corrected=12, channel=6)), dmi())[0]
    assert finding.cause == "memory-dimm:P0 CHANNEL E DIMM 0"
    assert finding.says == "12 corrected errors at csrow 0 channel 6 in 3 h 12 min, limit 0"
    without_root = judge("memory.edac-ce", unread_modules(DENIED, edac=edac(corrected=12, channel=6)), dmi())[0]
    assert without_root.cause == "memory-dimm:E1"
    stranger = judge("memory.edac-ce", memory(edac=edac(corrected=12, channel=6)), dmi("X570 Taichi"))[0]
    assert stranger.cause == "memory-dimm:mc#0csrow#0channel#6"


def test_zero_where_one_controller_was_not_read_is_no_pass() -> None:
    two = (*edac(), msgspec.structs.replace(edac()[0], name="mc1", corrected=Unread("x", "error")))
    assert outcomes(judge("memory.edac-ce", memory(edac=two), dmi())) == ["unknown"]


def by(driver: str | None, **counts: int) -> Any:
    return (msgspec.structs.replace(edac()[0], driver=driver, **counts),)


@pytest.mark.parametrize(("driver", "says", "wanted"), [
    ("F17h_M30h", False, "unknown"), ("F17h_M30h", True, "pass"), ("Skylake Socket#0 IMC#0", DENIED, "pass"),
    ("ghes_edac", True, "pass"), ("ghes_edac", False, "fail"), ("ghes_edac", DENIED, "unknown"), (None, DENIED, "unknown")])
def test_only_a_driver_of_the_hardware_proves_ecc(driver: str | None, says: Any, wanted: str) -> None:
    assert outcome("memory.ecc", memory(edac=by(driver), ecc=says), limits=ECC) == wanted
    bare = memory(*(module(letter, check_bits=0) for letter in "ABCDEFGH"), edac=by("ghes_edac"), ecc=True)
    assert outcome("memory.ecc", bare, limits=ECC) == "fail"


def test_nothing_counts_errors_of_memory_without_ecc() -> None:
    none = memory(edac=by("ghes_edac"), ecc=False)
    assert outcome("memory.edac-ce", none, dmi(), limits=ECC) == "unknown"
    assert outcome("memory.edac-ce", none, dmi()) == "skip"
    assert outcome("memory.edac-ce", memory(edac=by("ghes_edac", corrected=3), ecc=False), dmi()) == "marginal"
    assert outcome("memory.edac-ce", memory(edac=by("ghes_edac"), ecc=True), dmi(), limits=ECC) == "pass"


@pytest.mark.parametrize(("driver", "wanted"), [("ghes_edac", "unknown"), (None, "unknown"), ("Skylake", "pass"),
                                                ("xgene", "pass")])
@pytest.mark.parametrize("check", ["memory.edac-ce", "memory.edac-ue"])
def test_zero_of_the_firmware_proves_nothing_where_nobody_read_that_there_is_ecc(
    check: str, driver: str | None, wanted: str
) -> None:
    facts = unread_modules(DENIED, edac=by(driver))
    assert outcome(check, facts, dmi()) == wanted


def test_ranks_without_ecc_count_nothing() -> None:
    (controller,) = edac()
    none = msgspec.structs.replace(controller, modules=tuple(
        msgspec.structs.replace(one, mode="None") for one in controller.modules))
    assert outcome("memory.edac-ue", memory(edac=(none,)), dmi(), limits=ECC) == "unknown"
    assert outcome("memory.edac-ue", memory(edac=(none,)), dmi()) == "skip"
