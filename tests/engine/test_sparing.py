"""Beside GPUs the host's modules leave a core to each GPU's worker and one to the engine, and say so."""

from __future__ import annotations

import os

import msgspec
import pytest

from boxcheck.engine.messages import Run
from boxcheck.engine.modules import Wanted, run_together
from boxcheck.engine.sparing import spare
from boxcheck.engine.supervise import list_devices
from boxcheck.gpu import GpuError
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.registry import STRESSES, discover, discover_stress
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.host_cores import Core, left_over, spare_of
from boxcheck.stress.host_cpu_checks import core_lost

discover()
discover_stress()


def cores(number: int, nodes: int = 1) -> list[Core]:
    return [Core(cpu=at, threads=(at,), node=at * nodes // number) for at in range(number)]


@pytest.mark.parametrize(("number", "asked", "used"), [(64, 2, 62), (64, 0, 64), (2, 2, 1), (2, 9, 1), (1, 3, 1), (3, 2, 1)])
def test_so_many_cores_are_left_and_one_works_at_least(number: int, asked: int, used: int) -> None:
    assert len(left_over(cores(number), asked)) == used


def test_each_node_leaves_its_share() -> None:
    used = left_over(cores(64, nodes=4), 9)
    by_node = {node: sum(core.node == node for core in used) for node in range(4)}
    assert sorted(by_node.values()) == [13, 14, 14, 14]
    assert 0 not in {core.cpu for core in used}


def test_only_modules_that_take_all_cores_spare_some_and_only_beside_gpus() -> None:
    order = Run(module="cpu", seconds=1, seed=1)
    assert spare(order, 7).options == {"spare": "8"}
    assert spare(order, 0) is order
    assert spare(msgspec.structs.replace(order, module="nvme"), 7).options == {}
    own = msgspec.structs.replace(order, options={"spare": "1"})
    assert spare(own, 7) is own


@pytest.mark.parametrize("word", ["", "-1", "x", "1.5", "99999"])
def test_what_is_no_number_of_cores_is_refused(word: str) -> None:
    with pytest.raises(GpuError, match="no number of cores"):
        spare_of({"spare": word})


def test_the_finding_says_how_many_cores_worked() -> None:
    whole = Sample(what="cpu.cores", gpu="cpu:0", seconds=9, of="digests", checked=62, wrong=0, notes={
        "all": 62, "came_through": 62, "spared_cores": 2})
    host = list_devices("cpu")
    assert isinstance(host, tuple)
    results = StressResults(module="cpu", gpus=host[:1], samples=(whole,), troubles=(), ended=("cpu:0",))
    (finding,) = core_lost(results, Profile(name="x", revision=1, title="x"))
    assert finding.outcome is Outcome.PASS
    assert finding.says == "62 of 64 cores came to the end; 2 left to the GPUs' workers"


def test_everything_at_once_leaves_cores() -> None:
    host = list_devices("cpu")
    assert isinstance(host, tuple)
    modules = [STRESSES["matmul"], STRESSES["cpu"]]
    (_, _), (results, _) = run_together(modules, host[:1], {}, Wanted(
        modules=("matmul", "cpu"), seconds=1.0, backend="cpu", environment={"OPENBLAS_NUM_THREADS": "1"}))
    (whole,) = [one for one in results.samples if one.what == "cpu.cores"]
    there = len(os.sched_getaffinity(0))
    assert int(whole.notes["all"]) <= max(1, there - 2)
    assert int(whole.notes.get("spared_cores", 0)) + int(whole.notes["all"]) <= there
    if there > 1:
        assert int(whole.notes["spared_cores"]) >= 1
