"""All devices step together, and what they compute while they do is verified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from boxcheck.engine.messages import Run
from boxcheck.engine.supervise import Crew, list_devices
from boxcheck.gpu import Gpu, GpuError
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.stress import Rig, Sample, StressResults, Trouble, power_pulse, power_pulse_checks
from boxcheck.stress.faults import FaultyGpu
from tests.gpu.devices import opened

NONE = Profile(name="none", revision=1, title="no limits")


@pytest.fixture(scope="module", params=["opencl", "cpu"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    yield from opened(request.param)


def _pulsed(gpu: Any, seconds: float = 1.0, **options: str) -> list[Sample]:
    samples = power_pulse.power_pulse(Rig([gpu], seconds=seconds, options={"hertz": "10", **options}))
    return [sample for sample in samples if sample.what == "power-pulse.bf16"]


def _results(gpu: Gpu, samples: list[Sample]) -> StressResults:
    return StressResults(
        module="power-pulse", gpus=(gpu.info,), samples=tuple(samples), troubles=(), ended=(gpu.info.key,),
        full_size=False)


def test_every_pulse_is_verified(gpu: Gpu) -> None:
    (sample,) = _pulsed(gpu)
    assert sample.checked == sample.notes["pulses"] >= 1
    assert sample.wrong == 0
    assert [one.outcome for one in power_pulse_checks.repeatability(_results(gpu, [sample]), NONE)] == [Outcome.PASS]


def test_each_frequency_has_its_turn(gpu: Gpu) -> None:
    samples = _pulsed(gpu, 1.5, hertz="2,5,10")
    assert [sample.notes["hertz"] for sample in samples] == [2.0, 5.0, 10.0]


@pytest.mark.parametrize("fault", ["flip-input", "flip-output", "drop-write"])
def test_a_fault_under_pulsed_load_is_found(gpu: Gpu, fault: Any) -> None:
    """A flipped input bit stays; a wrong or missing result is the last of its pulse, which is what is read back."""
    faulty = _Every(gpu, fault)
    (sample,) = _pulsed(faulty)
    assert sample.wrong >= 1
    assert "found" in sample.notes
    assert [one.outcome for one in power_pulse_checks.repeatability(_results(gpu, [sample]), NONE)] == [Outcome.FAIL]


class _Every(FaultyGpu):
    """The fault at every product from the third on."""

    def _now(self, what: str) -> bool:
        self._seen[what] = self._seen.get(what, -1) + 1
        return self._seen[what] >= 2


@pytest.mark.parametrize(("late", "outcome"), [
    (10.0, Outcome.PASS), (10.1, Outcome.MARGINAL), (25.0, Outcome.MARGINAL), (25.1, Outcome.UNKNOWN)])
def test_a_step_that_is_not_common_proves_nothing(gpu: Gpu, late: float, outcome: Outcome) -> None:
    (sample,) = _pulsed(gpu, 0.3)
    shifted = msgspec.structs.replace(sample, notes={**sample.notes, "late_percent": late})
    assert [one.outcome for one in power_pulse_checks.edges(_results(gpu, [shifted]), NONE)] == [outcome]


def test_no_pulse_is_unknown(gpu: Gpu) -> None:
    for check in (power_pulse_checks.repeatability, power_pulse_checks.edges):
        assert [one.outcome for one in check(_results(gpu, []), NONE)] == [Outcome.UNKNOWN]


@pytest.mark.parametrize("options", [{"hertz": "100"}, {"hertz": "x"}, {"duty": "1"}, {"duty": "?"}])
def test_impossible_options_are_refused(gpu: Gpu, options: dict[str, str]) -> None:
    with pytest.raises(GpuError) as refused:
        _pulsed(gpu, 0.2, **options)
    assert refused.value.kind == "unsupported"


def test_two_workers_follow_one_clock() -> None:
    environment = {"BOXCHECK_CPU_DEVICES": "2", "OPENBLAS_NUM_THREADS": "1"}
    infos = list_devices("cpu", environment=environment)
    assert not isinstance(infos, Trouble)
    with Crew([[info] for info in infos], environment=environment) as crew:
        parts = crew.run(Run(module="power-pulse", seconds=2, seed=1, options={"hertz": "2"}, start_at=1.0))
    pulses = [sample for part in parts for sample in part.samples if sample.what == "power-pulse.bf16"]
    assert len(pulses) == 2
    assert all(sample.wrong == 0 and sample.checked for sample in pulses)
    assert abs(int(pulses[0].notes["pulses"]) - int(pulses[1].notes["pulses"])) <= 1
