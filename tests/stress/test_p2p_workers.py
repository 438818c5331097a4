"""Transfers in worker processes: OpenCL devices with real queues, injected faults, a hang, over the supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from boxcheck.engine.messages import Run
from boxcheck.engine.supervise import Crew, Part, list_devices
from boxcheck.gpu import Backend, GpuInfo
from boxcheck.model import Outcome
from boxcheck.stress import StressResults, Trouble
from tests.stress.transfer_doubles import judge, outcomes, transfers

CLEAN = {Outcome.PASS, Outcome.SKIP}
CHECKS = {
    "copy": ("copy.wrong-words", "copy.rate", "copy.asymmetry"),
    "p2p": ("p2p.wrong-words", "p2p.access", "p2p.rate", "p2p.slow-pair"),
    "collective": ("collective.wrong-words", "collective.wrong-products", "collective.rate"),
}


def environment_of(count: int) -> dict[str, str]:
    return {"BOXCHECK_CPU_DEVICES": str(count), "POCL_DEVICES": " ".join(["pthread"] * count)}


@cache
def opencl_devices(count: int) -> tuple[GpuInfo, ...] | str:
    """As many devices, or why there are not so many."""
    found = list_devices("opencl", environment=environment_of(count))
    if isinstance(found, Trouble):
        return found.says
    mine = tuple(info for info in found if not info.is_gpu)
    return mine if len(mine) == count else f"POCL_DEVICES gave {len(mine)} devices, not {count}"


def devices_of(backend: Backend, count: int) -> tuple[GpuInfo, ...]:
    if backend == "cpu":
        found = list_devices("cpu", environment=environment_of(count))
        assert not isinstance(found, Trouble)
        return found
    made = opencl_devices(count)
    if isinstance(made, str):
        pytest.skip(f"opencl: {made}")
    return made


def results_of(module: str, parts: list[Part], injected: str | None = None) -> StressResults:
    return StressResults(
        module=module, gpus=tuple(info for part in parts for info in part.gpus), injected=injected, full_size=False,
        samples=tuple(sample for part in parts for sample in part.samples),
        troubles=tuple(part.trouble for part in parts if part.trouble is not None),
        ended=tuple(info.key for part in parts if part.trouble is None for info in part.gpus))


@pytest.fixture(params=["cpu", "opencl"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_devices_with_queues_of_their_own_pass_in_patterns_and_collectives(backend: Backend, count: int) -> None:
    infos = devices_of(backend, count)
    made = 0
    with Crew([infos], environment=environment_of(count)) as crew:
        for module in ("p2p", "collective"):
            results = results_of(module, crew.run(Run(module=module, seconds=0.15, seed=count)))
            assert results.troubles == ()
            for id in CHECKS[module]:
                assert outcomes(id, results) <= CLEAN, judge(id, results)
            assert not any(sample.wrong for sample in results.samples)
            made += transfers(results)
    assert made > 10 * count  # 100 and more on a quiet machine


def test_copies_of_all_devices_side_by_side_pass(backend: Backend) -> None:
    infos = devices_of(backend, 3)
    with Crew([[info] for info in infos], environment=environment_of(3)) as crew:
        results = results_of("copy", crew.run(Run(module="copy", seconds=0.2, seed=1, together=True)))
    for id in CHECKS["copy"]:
        assert outcomes(id, results) <= CLEAN, judge(id, results)
    assert transfers(results) > 100  # 1000 and more on a quiet machine


@pytest.mark.parametrize("module", ["p2p", "collective"])
def test_faults_in_a_worker_are_found_at_the_faulty_device(module: str) -> None:
    infos = devices_of("opencl", 3)
    with Crew([infos], environment=environment_of(3)) as crew:
        for fault in ("flip-payload", "drop-write", "stale"):
            results = results_of(module, crew.run(Run(module=module, seconds=0.05, seed=1, inject=fault)), fault)
            failed = [one for one in judge(f"{module}.wrong-words", results) if one.outcome is Outcome.FAIL]
            assert failed, fault
            assert all(infos[0].key in one.subject.name for one in failed), fault


@pytest.mark.parametrize("module", ["p2p", "collective"])
def test_a_hang_keeps_what_was_sampled_and_the_rest_is_unknown(module: str) -> None:
    infos = devices_of("cpu", 3)
    with Crew([infos], environment=environment_of(3), silence_seconds=1.0) as crew:
        results = results_of(module, crew.run(Run(module=module, seconds=0.05, seed=1, inject="hang", inject_after=6)), "hang")
    assert [trouble.kind for trouble in results.troubles] == ["hang"]
    assert any(sample.checked for sample in results.samples)
    assert Outcome.UNKNOWN in outcomes(f"{module}.wrong-words", results)
    # The words that the worker said last name the pair; of the others nobody knows.
    assert Outcome.FAIL in outcomes("stress.completed", results) <= {Outcome.FAIL, Outcome.UNKNOWN}
