"""All devices step together, and what they compute while they do is verified."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from boxcheck.engine.messages import Run
from boxcheck.engine.supervise import Crew, list_devices
from boxcheck.gpu import Gpu, GpuError
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.stress import Rig, Sample, StressResults, Trouble, kernel_choice, power_pulse, power_pulse_checks
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.judging import many
from boxcheck.stress.pulse_lateness import late_of, lateness
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
    products = int(sample.notes["products"])
    assert 1 <= int(sample.notes["pulses"]) <= sample.checked <= products
    assert sample.notes["verified_percent"] == round(100 * sample.checked / products, 1)
    assert sample.wrong == 0
    (finding,) = power_pulse_checks.repeatability(_results(gpu, [sample]), NONE)
    assert (finding.outcome, finding.says) == (
        Outcome.PASS, f"{sample.checked} of {many(products, 'product')} compared, none wrong")


def test_every_product_of_a_pulse_is_verified_where_that_takes_little(
        gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.stress.matmul_power.spacing", lambda product, verify: 1)
    (sample,) = _pulsed(FaultyGpu(gpu, "flip-output", after=12))
    assert (sample.checked, sample.wrong) == (sample.notes["products"], 1)


class _Never(FaultyGpu):
    """No product runs from a number on; its digest is the same each time."""

    def _now(self, what: str) -> bool:
        self._seen[what] = self._seen.get(what, -1) + 1
        return self._seen[what] >= self._after


def test_products_that_never_run_do_not_pass(gpu: Gpu) -> None:
    for after in (0, 1):
        samples = list(power_pulse.power_pulse(Rig([_Never(gpu, "drop-write", after=after)], seconds=0.3)))  # type: ignore[list-item]
        (sample,) = [one for one in samples if one.what == "power-pulse.bf16"]
        assert sample.wrong == sample.checked > 0
        assert _outcomes(power_pulse_checks.repeatability, gpu, samples) == [Outcome.FAIL]
        assert _outcomes(power_pulse_checks.self_test, gpu, samples) == [Outcome.PASS if after else Outcome.FAIL]


def _outcomes(check: Any, gpu: Gpu, samples: list[Sample]) -> list[Outcome]:
    return [one.outcome for one in check(_results(gpu, samples), NONE)]


def test_a_kernel_that_is_wrong_from_the_start_is_told(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digests repeat, so only its proof tells."""
    proofs = kernel_choice.choose(gpu, "bf16")[1]
    for verdict, outcome in (("own defect", Outcome.UNKNOWN), ("wrong on this device", Outcome.FAIL),
                             ("blind", Outcome.UNKNOWN), ("right", Outcome.PASS)):
        bad = msgspec.structs.replace(
            proofs[0], wrong=int(verdict != "right"), notes={**proofs[0].notes, "verdict": verdict})
        assert _outcomes(power_pulse_checks.self_test, gpu, [bad]) == [outcome]
    assert _outcomes(power_pulse_checks.self_test, gpu, []) == [Outcome.UNKNOWN]


def test_a_host_that_sleeps_through_a_pulse_misses_it_and_nothing_is_called_wrong(
        gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    class Late:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def sleep(seconds: float) -> None:
            calls.append(seconds)
            time.sleep(seconds + (0.06 if len(calls) in (2, 4) else 0.0))

    monkeypatch.setattr(power_pulse, "time", Late)
    (sample,) = _pulsed(gpu)
    assert int(sample.notes["missed"]) >= 2
    assert sample.wrong == 0
    assert _outcomes(power_pulse_checks.repeatability, gpu, [sample]) == [Outcome.PASS]


def _spans(gpu: Gpu, *spans: tuple[float, float, int], planned: int = 10) -> list[Outcome]:
    """Outcomes of `together` for GPUs that pulsed once a second from, to, and so often."""
    infos = tuple(msgspec.structs.replace(gpu.info, index=at) for at in range(len(spans)))
    samples = [Sample(
        what="power-pulse.bf16", gpu=info.key, seconds=1.0, checked=1, of="digests", wrong=0, notes={
            "hertz": 1.0, "pulses": pulses, "missed": 0, "planned": planned,
            **({"first_pulse": first, "last_pulse": last} if pulses else {})})
        for info, (first, last, pulses) in zip(infos, spans, strict=True)]
    results = msgspec.structs.replace(_results(gpu, samples), gpus=infos)
    return [one.outcome for one in power_pulse_checks.together(results, NONE)]


def test_pulses_that_are_not_those_of_the_others_prove_nothing(gpu: Gpu) -> None:
    right, not_told = [Outcome.PASS] * 2, [Outcome.UNKNOWN] * 2
    assert _spans(gpu, (50.0, 59.0, 10)) == [Outcome.PASS]
    assert _spans(gpu, (50.0, 59.0, 10), (50.0, 59.0, 10)) == right
    assert _spans(gpu, (50.0, 59.0, 10), (52.0, 59.0, 8)) == right
    assert _spans(gpu, (50.0, 59.0, 10), (53.0, 59.0, 7), planned=1) == not_told  # seven of ten seconds in common
    assert _spans(gpu, (50.0, 59.0, 10), (50.0, 59.0, 7)) == [Outcome.PASS, Outcome.UNKNOWN]  # it missed three
    assert _spans(gpu, (50.0, 59.0, 10), (62.0, 62.0, 1), planned=1) == not_told  # alone, after the others
    assert _spans(gpu, (50.0, 59.0, 10), (0.0, 0.0, 0)) == not_told


def test_a_worker_that_starts_late_does_not_pass(gpu: Gpu) -> None:
    samples = list(power_pulse.power_pulse(Rig(
        [gpu], seconds=0.5, start=lambda: time.monotonic() - 1.0, options={"hertz": "10"})))
    pulsed = [one for one in samples if one.what == "power-pulse.bf16"]
    assert [one.notes["planned"] for one in pulsed] == [5]
    assert all(int(one.notes["pulses"]) <= 1 for one in pulsed)
    assert _outcomes(power_pulse_checks.together, gpu, samples) == [Outcome.UNKNOWN]


def test_a_gpu_whose_bits_differ_from_its_likes_fails(gpu: Gpu) -> None:
    infos = tuple(msgspec.structs.replace(gpu.info, index=at, arch="sm_89", is_gpu=True) for at in range(3))
    samples = [Sample(
        what="power-pulse.bf16", gpu=info.key, seconds=1.0, checked=1, of="digests", wrong=0, notes={
            "kernel": "mma", "shape": "1x1x1", "digest": digest, "products": 1})
        for info, digest in zip(infos, ("aa", "bb", "aa"), strict=True)]
    results = msgspec.structs.replace(_results(gpu, samples), gpus=infos)
    found = [one.outcome for one in power_pulse_checks.repeatability(results, NONE)]
    assert found == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]


def test_each_frequency_has_its_turn(gpu: Gpu) -> None:
    samples = _pulsed(gpu, 1.5, hertz="2,5,10")
    assert [sample.notes["hertz"] for sample in samples] == [2.0, 5.0, 10.0]


@pytest.mark.parametrize("fault", ["flip-input", "flip-output", "drop-write"])
def test_a_fault_under_pulsed_load_is_found(gpu: Gpu, fault: Any) -> None:
    """A flipped input bit stays; a wrong or missing result is, among others, the last of its pulse."""
    faulty = _Every(gpu, fault)
    (sample,) = _pulsed(faulty)
    assert sample.wrong >= 1
    assert "found" in sample.notes
    assert [one.outcome for one in power_pulse_checks.repeatability(_results(gpu, [sample]), NONE)] == [Outcome.FAIL]


class _Every(FaultyGpu):
    """The fault at every product of the pulses: an exact one, four that digests are of, and two that are timed come
    before."""

    def _now(self, what: str) -> bool:
        self._seen[what] = self._seen.get(what, -1) + 1
        return self._seen[what] >= 7


@pytest.mark.parametrize(("late", "outcome"), [
    (10.0, Outcome.PASS), (10.1, Outcome.MARGINAL), (25.0, Outcome.MARGINAL), (25.1, Outcome.UNKNOWN)])
def test_a_step_that_is_not_common_proves_nothing(gpu: Gpu, late: float, outcome: Outcome) -> None:
    (sample,) = _pulsed(gpu, 0.3)
    kept = {name: told for name, told in sample.notes.items() if name not in ("late_pulses", "very_late_pulses")}
    shifted = msgspec.structs.replace(sample, notes={**kept, "late_percent": late})
    assert [one.outcome for one in power_pulse_checks.edges(_results(gpu, [shifted]), NONE)] == [outcome]


@pytest.mark.parametrize(("late", "outcome"), [
    ({}, Outcome.PASS), ({26.0: 360}, Outcome.PASS), ({11.0: 361}, Outcome.MARGINAL),
    ({26.0: 360, 11.0: 1}, Outcome.MARGINAL), ({26.0: 361}, Outcome.UNKNOWN)])
def test_of_an_hour_of_pulses_one_in_a_hundred_may_be_late_and_is_told(
    gpu: Gpu, late: dict[float, int], outcome: Outcome
) -> None:
    """In twelve samples, of which one has all the late ones."""
    (sample,) = _pulsed(gpu, 0.3)
    held_up = [percent for percent, times in late.items() for _ in range(times)]
    every = [*held_up, *[0.4] * (3000 - len(held_up))], *[[0.4] * 3000] * 11
    samples = [msgspec.structs.replace(sample, notes={**sample.notes, "pulses": 3000, **lateness(one)}) for one in every]
    (found,) = power_pulse_checks.edges(_results(gpu, samples), NONE)
    assert found.outcome is outcome
    assert f"{len(held_up)} of 36000 were later than 10 %, the latest by" in found.says or not held_up


def test_of_a_few_pulses_nothing_is_told_of_a_hundred(gpu: Gpu) -> None:
    (sample,) = _pulsed(gpu, 0.3)
    told = msgspec.structs.replace(sample, notes={**sample.notes, "pulses": 5, **lateness([1.0] * 4 + [51.8])})
    assert late_of([told]) == (51.8, "at most 51.8 % of a pulse late; 1 of 5 were later than 10 %")


def test_lateness_is_that_of_99_of_100_pulses() -> None:
    assert lateness([1.0] * 99 + [26.0]) == {
        "late_percent": 1.0, "latest_percent": 26.0, "late_pulses": 1, "very_late_pulses": 1}
    assert lateness([1.0] * 98 + [26.0])["late_percent"] == 26.0
    assert lateness([12.0]) == {"late_percent": 12.0, "latest_percent": 12.0, "late_pulses": 1, "very_late_pulses": 0}


def test_no_pulse_is_unknown(gpu: Gpu) -> None:
    for check in (power_pulse_checks.repeatability, power_pulse_checks.edges, power_pulse_checks.together):
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
        parts = crew.run(Run(module="power-pulse", seconds=2, seed=1, options={"hertz": "2"}, together=True))
    pulses = [sample for part in parts for sample in part.samples if sample.what == "power-pulse.bf16"]
    assert len(pulses) == 2
    assert all(sample.wrong == 0 and sample.checked for sample in pulses)
    assert abs(int(pulses[0].notes["pulses"]) - int(pulses[1].notes["pulses"])) <= 1
