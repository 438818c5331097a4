from __future__ import annotations

from typing import Any

import pytest

from boxcheck.probes.environment import Environment
from boxcheck.profile import Recommendation
from tests.checks.judging import GONE, judge, outcomes, want

STRIX = want(recommend=[Recommendation(group="env", name="HSA_ENABLE_SDMA", value=0, source="seed"),
                        Recommendation(group="training", name="HIP_VISIBLE_DEVICES", value="0", source="seed")])


@pytest.mark.parametrize(("variables", "system", "wanted"), [
    ({}, {}, ["pass"]), ({"LANG": "C", "NCCL_DEBUG": "INFO"}, {}, ["pass"]),
    ({"HIP_VISIBLE_DEVICES": "0"}, {}, ["marginal"]),
    ({"HIP_VISIBLE_DEVICES": "0"}, {"HIP_VISIBLE_DEVICES": "0"}, ["marginal"]),
    ({}, {"NCCL_P2P_DISABLE": "1"}, ["marginal"]), ({"HSA_ENABLE_SDMA": "0"}, {}, ["pass"]),
    ({"HSA_ENABLE_SDMA": "1"}, {}, ["marginal"]), (GONE, {}, ["unknown"]), ({}, GONE, ["unknown"]),
    ({"LD_PRELOAD": "x.so"}, GONE, ["marginal", "unknown"])])
def test_override(variables: Any, system: Any, wanted: list[str]) -> None:
    assert outcomes(judge("env.override", Environment(variables, system, False), profile=STRIX)) == wanted


def test_a_recommended_value_is_named() -> None:
    finding = judge("env.override", Environment({"HSA_ENABLE_SDMA": "1"}, {}, False), profile=STRIX)[0]
    assert finding.says == (
        "HSA_ENABLE_SDMA=1 in this process's environment, profile recommends 0; it switches the GPUs' copy engines")
    assert finding.cause == "env:HSA_ENABLE_SDMA"


def test_under_sudo_the_pass_says_whose_environment_it_was() -> None:
    finding = judge("env.override", Environment({}, {}, True))[0]
    assert "sudo" in finding.notes[0]
