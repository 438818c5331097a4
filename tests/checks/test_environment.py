from __future__ import annotations

from typing import Any

import pytest

from boxcheck.probes.environment import Environment
from boxcheck.profile import Recommendation
from tests.checks.cards import gpu, gpus
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
    assert outcomes(judge("env.override", Environment(variables, system, False), gpus(), profile=STRIX)) == wanted


def test_a_recommended_value_is_named() -> None:
    finding = judge("env.override", Environment({"HSA_ENABLE_SDMA": "1"}, {}, False), gpus(), profile=STRIX)[0]
    assert finding.says == (
        "HSA_ENABLE_SDMA=1 in this process's environment, profile recommends 0; it says whether copies use the GPUs' "
        "copy engines (0: kernels copy instead)")
    assert finding.cause == "env:HSA_ENABLE_SDMA"


def test_under_sudo_the_pass_says_whose_environment_it_was() -> None:
    finding = judge("env.override", Environment({}, {}, True), gpus())[0]
    assert "sudo" in finding.notes[0]


@pytest.mark.parametrize(("name", "value", "wanted"), [
    ("NCCL_P2P_DISABLE", "0", "pass"), ("NCCL_P2P_DISABLE", "1", "marginal"), ("NCCL_P2P_DISABLE", "", "pass"),
    ("CUDA_VISIBLE_DEVICES", "0,1", "pass"), ("CUDA_VISIBLE_DEVICES", "1,0", "marginal"),
    ("CUDA_VISIBLE_DEVICES", "0", "marginal"), ("CUDA_VISIBLE_DEVICES", "", "marginal"),
    ("NVIDIA_VISIBLE_DEVICES", "all", "pass"), ("NVIDIA_VISIBLE_DEVICES", "none", "marginal"),
    ("HSA_ENABLE_SDMA", "1", "pass"), ("HSA_ENABLE_SDMA", "0", "marginal"), ("LD_PRELOAD", "", "pass")])
def test_a_value_that_changes_nothing_passes(name: str, value: str, wanted: str) -> None:
    two = gpus(*(gpu(index, vendor="10de" if "CUDA" in name else "1002") for index in range(2)))
    assert outcomes(judge("env.override", Environment({name: value}, {}, False), two)) == [wanted]


def test_an_empty_list_hides_all() -> None:
    finding = judge("env.override", Environment({"CUDA_VISIBLE_DEVICES": ""}, {}, False), gpus(gpu(0)))[0]
    assert finding.says == ("CUDA_VISIBLE_DEVICES=(empty) in this process's environment, should not be set; "
                            "it hides all GPUs for CUDA")
    assert finding.title == "CUDA_VISIBLE_DEVICES is set to nothing"
