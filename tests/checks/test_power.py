from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.decode.smbios import decode_smbios
from boxcheck.probes.bmc import Bmc, BmcSensor
from boxcheck.probes.dmi import Dmi
from boxcheck.problems import group
from tests.boxes import smbios_build as smbios
from tests.checks.cards import NO_NVML, card, chip, gpu, gpus, nvidia, nvml, sensors, watts
from tests.checks.judging import DENIED, GONE, judge, outcome, outcomes
from tests.checks.memories import dmi
from tests.checks.test_bmc import NONE, bmc

GOOD = "Presence detected"
LOST = "Presence detected, Power Supply AC lost"


def supply(name: str, reading: str, status: str = "ok") -> BmcSensor:
    return BmcSensor(name, status, "10.1", reading)


def two(first: str = GOOD, second: str = GOOD) -> Bmc:
    return bmc(supplies=(supply("PSU1 Status", first), supply("PSU2 Status", second)))


def firmware(*structures: smbios.Structure) -> Dmi:
    return msgspec.structs.replace(dmi(), smbios=decode_smbios(*smbios.table(structures)))


TWO = {"power.supplies": 2}


@pytest.mark.parametrize(("facts", "board", "limits", "wanted"), [
    (two(), dmi(), TWO, ["pass"]), (two(second=LOST), dmi(), TWO, ["fail", "fail"]),
    (two(second=""), dmi(), TWO, ["fail"]),  # the second is not plugged in
    (two(second="Presence detected, Failure detected"), dmi(), None, ["fail"]), (two(), dmi(), None, ["skip"]),
    (bmc(supplies=DENIED), dmi(), TWO, ["unknown"]), (bmc(supplies=()), dmi(), TWO, ["unknown"]),
    (bmc(supplies=GONE), dmi(), TWO, ["unknown"]), (NONE, dmi(), TWO, ["unknown"]),
    # the firmware's text is from boot: it does not acquit ...
    (bmc(supplies=DENIED), firmware(smbios.power_supply(), smbios.power_supply()), TWO, ["unknown"]),
    # ... and it accuses
    (bmc(supplies=DENIED), firmware(smbios.power_supply(), smbios.power_supply(state=5)), TWO, ["fail"]),
    (bmc(supplies=DENIED), firmware(smbios.power_supply(), smbios.power_supply(plugged=False)), TWO, ["fail"]),
])
def test_supplies(facts: Bmc, board: Dmi, limits: Any, wanted: list[str]) -> None:
    assert outcomes(judge("power.psu-missing", facts, board, limits=limits)) == wanted


def test_a_dead_supply_is_one_problem() -> None:
    found = judge("power.psu-missing", two(second=LOST), dmi(), limits=TWO)
    assert len(group(found)[0]) == 1


CARDS = [gpu(index) for index in range(6)]
BUDGET = {
    "power.budget_percent": {"should": 92.0, "must": 100.0}, "power.supply_watts": 3200.0, "power.cpu_watts": 225.0,
}


def box(cap: Any = 327.0) -> tuple[Any, Any, Any]:
    return gpus(*CARDS), sensors(*(chip(one, power=watts(cap=cap)) for one in CARDS)), NO_NVML


@pytest.mark.parametrize(("cap", "wanted"), [
    (327.0, "pass"), (453.1, "pass"), (453.3, "marginal"), (495.8, "marginal"), (496.0, "fail"), (GONE, "unknown")])
def test_budget(cap: Any, wanted: str) -> None:
    assert outcome("power.budget", *box(cap), dmi(), limits=BUDGET) == wanted


def test_budget_shows_its_sum() -> None:
    finding = judge("power.budget", *box(), dmi(), limits=BUDGET)[0]
    assert finding.says == (
        "GPUs 1962 W and the rest 225 W are 68.34 % of 3200 W of the profile's supplies, profile asks for 92 % or less")


def test_mains_bind_where_they_give_less_than_the_supplies() -> None:
    limits = {**BUDGET, "power.mains_watts": 1440.0}
    finding = judge("power.budget", *box(), dmi(), limits=limits)[0]
    assert finding.outcome == "fail"
    assert "mains" in finding.says
    assert outcome("power.budget", *box(cap=150.0), dmi(), limits=limits) == "pass"  # the single-outlet setting


def test_supplies_of_the_firmware_where_the_profile_names_none() -> None:
    limits = {"power.budget_percent": 92.0}
    board = firmware(smbios.power_supply(max_power_watts=1600), smbios.power_supply(max_power_watts=1600))
    assert outcome("power.budget", *box(), board, limits=limits) == "pass"
    assert outcome("power.budget", *box(), firmware(smbios.power_supply(max_power_watts=None)), limits=limits) == "skip"
    assert outcome("power.budget", *box(), dmi(), limits=limits) == "skip"


def test_caps_that_were_not_read_make_no_pass_but_show_the_arithmetic() -> None:
    six = [nvidia(index) for index in range(6)]
    finding = judge("power.budget", gpus(*six), sensors(), NO_NVML, dmi(), limits=BUDGET)[0]
    assert finding.outcome == "unknown"
    assert "2700 W" in finding.says
    assert "91.41 %" in finding.says
    stranger = gpu(part=None)
    assert outcome("power.budget", gpus(stranger), sensors(), NO_NVML, dmi(), limits=BUDGET) == "unknown"


def test_budget_where_there_is_nothing_to_judge() -> None:
    assert outcome("power.budget", gpus(), sensors(), NO_NVML, dmi(), limits=BUDGET) == "skip"
    assert outcome("power.budget", *box(), dmi()) == "skip"
    assert outcome("power.budget", gpus(unreadable=GONE), sensors(), NO_NVML, dmi(), limits=BUDGET) == "unknown"


def test_caps_through_nvml() -> None:
    six = [nvidia(index) for index in range(6)]
    facts = gpus(*six), sensors(), nvml(*(card(one) for one in six)), dmi()
    assert outcome("power.budget", *facts, limits=BUDGET) == "pass"
    one_lost = gpus(*six), sensors(), nvml(*(card(one) for one in six[:5])), dmi()
    assert outcome("power.budget", *one_lost, limits=BUDGET) == "unknown"
