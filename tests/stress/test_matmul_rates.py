"""Matrix products at full power: how fast, how even, and what verifying them costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from boxcheck.gpu import Gpu
from boxcheck.model import Limit, Outcome
from boxcheck.stress import (
    Rig,
    matmul_checks,
    matmul_power,
    matmul_rate_checks,
)
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.kept import percent_of
from boxcheck.stress.matmul_power import power_phase
from tests.gpu.devices import opened
from tests.stress.matmul_rig import (
    KERNEL,
    NONE,
    SMALL,
    Steady,
    as_gpu,
    limited_rig,
    of_power,
    outcomes_of,
    power_samples,
    results_of,
)


@pytest.fixture(scope="module", params=["opencl", "cpu"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    yield from opened(request.param)


def test_a_device_that_slows_down_is_seen(gpu: Gpu) -> None:
    for fault, low, high in ((None, 50, 200), ("slow", 0, 25)):
        device: Any = FaultyGpu(Steady(gpu), fault, seconds=3.0)  # type: ignore[arg-type]
        samples = of_power(power_phase(Rig([device], seconds=4.0, seed=5), KERNEL, SMALL, 4.0))
        assert low < percent_of(samples) < high
        outcome = Outcome.PASS if fault is None else Outcome.FAIL
        results = msgspec.structs.replace(results_of(gpu, samples), full_size=True)
        assert outcomes_of(matmul_rate_checks.rate_drop, results) == [outcome]


@pytest.mark.parametrize(("last", "outcome"), [
    (84.9, Outcome.MARGINAL), (85.1, Outcome.PASS), (49.9, Outcome.FAIL), (50.1, Outcome.MARGINAL)])
def test_a_gpu_may_lose_a_few_percent_and_no_more(gpu: Gpu, last: float, outcome: Outcome) -> None:
    real = as_gpu(gpu)
    samples = power_samples(gpu, [100.0] * 6 + [last] * 2)
    results = msgspec.structs.replace(results_of(gpu, samples, gpus=(real,)), full_size=True)
    assert outcomes_of(matmul_rate_checks.rate_drop, results) == [outcome]


@pytest.mark.parametrize(("value", "outcome"), [
    (139.9, Outcome.FAIL), (140.0, Outcome.MARGINAL), (157.9, Outcome.MARGINAL), (158.0, Outcome.PASS)])
def test_the_rate_is_judged_by_the_profile(gpu: Gpu, value: float, outcome: Outcome) -> None:
    bound = Limit("matmul.bf16_tflops", "ge", must=140.0, should=158.0, unit="TFLOPS", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    results = results_of(gpu, power_samples(gpu, [100.0, value, 159.0]), gpus=(as_gpu(gpu),), full_size=True)
    assert outcomes_of(matmul_rate_checks.rate, results, want) == [outcome]
    wrong = [msgspec.structs.replace(one, wrong=1) for one in results.samples]
    only_wrong = msgspec.structs.replace(results, samples=tuple(wrong))
    assert outcomes_of(matmul_rate_checks.rate, only_wrong, want) == [Outcome.UNKNOWN]  # no rate without a verified payload


def test_the_portable_kernels_rate_never_passes_for_the_gpus(gpu: Gpu) -> None:
    bound = Limit("matmul.bf16_tflops", "ge", must=1.0, unit="TFLOPS", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    samples = [msgspec.structs.replace(one, notes={"kernel": KERNEL.name}) for one in power_samples(gpu, [100.0])]
    results = results_of(gpu, samples, gpus=(as_gpu(gpu),), full_size=True)
    assert outcomes_of(matmul_rate_checks.rate, results, want) == [Outcome.UNKNOWN]


def test_a_gpu_whose_bits_differ_from_its_likes_fails_and_the_others_do_not(gpu: Gpu) -> None:
    infos = tuple(as_gpu(gpu, index=index) for index in range(3))
    samples = []
    for info, digest in zip(infos, ("aa", "bb", "aa"), strict=True):
        samples += [msgspec.structs.replace(one, gpu=info.key, notes={**one.notes, "digest": digest})
                    for one in power_samples(gpu, [100.0])]
    results = results_of(gpu, samples, gpus=infos, ended=tuple(info.key for info in infos))
    assert outcomes_of(matmul_checks.repeatability, results) == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]


@pytest.mark.parametrize(("slow", "outcome"), [(92.1, Outcome.PASS), (91.9, Outcome.MARGINAL), (84.9, Outcome.FAIL)])
def test_one_gpu_may_not_stay_far_behind_the_others(gpu: Gpu, slow: float, outcome: Outcome) -> None:
    infos = (as_gpu(gpu), as_gpu(gpu, index=1))
    samples = [msgspec.structs.replace(one, gpu=info.key) for info, value in zip(infos, (100.0, slow), strict=True)
               for one in power_samples(gpu, [value])]
    bound = Limit("matmul.spread_percent", "le", must=15.0, should=8.0, unit="%", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    results = results_of(gpu, samples, gpus=infos)
    assert outcomes_of(matmul_rate_checks.spread, results, want) == [Outcome.PASS, outcome]


@pytest.mark.parametrize(("units", "outcome"), [(128, Outcome.FAIL), (76, Outcome.PASS)])
def test_a_librarys_bits_are_compared_within_a_model_alone(gpu: Gpu, units: int, outcome: Outcome) -> None:
    infos = (as_gpu(gpu, compute_units=128), as_gpu(gpu, index=1, compute_units=units))
    for engine, judged in (("cublas 13.1.0", outcome), ("own", Outcome.FAIL)):
        samples = []
        for info, digest in zip(infos, ("aa", "bb"), strict=True):
            samples += [msgspec.structs.replace(one, gpu=info.key, notes={**one.notes, "engine": engine, "digest": digest})
                        for one in power_samples(gpu, [100.0])]
        assert outcomes_of(matmul_checks.repeatability, results_of(gpu, samples, gpus=infos)) == [judged] * 2


@pytest.mark.parametrize(("product", "verify", "every", "batch"), [
    (26.7e-3, 0.6e-3, 1, 12),  # bf16, 8192 x 8192 x 32768 on an RTX 4090: every product
    (6.7e-3, 0.6e-3, 3, 45),  # at a depth of 8192 only each third
    (7e-3, 0.43e-3, 3, 45),  # an even number would digest the same of the two products each time
    (1e-3, 32.1e-3 * 3 / 97, 33, 330),  # just over 3 % of 32
    (1e-3, 31.9e-3 * 3 / 97, 33, 330),
    (7e-3, 1.0, 141, 141),  # never much longer than a second
    (2.0, 1e-2, 1, 1),  # but for one product that is
    (1e-6, 1e-6, 33, 990), (1e-9, 1.0, 999, 999)])
def test_as_many_products_are_digested_as_three_percent_of_the_time_allow(
        product: float, verify: float, every: int, batch: int) -> None:
    found = matmul_power.spacing(product, verify)
    assert (found, matmul_power.batch_of(product, verify)) == (every, batch)
    assert found % 2 == 1
    assert batch % found == 0
    if verify < 1e-2 and product > 1e-6:
        assert verify / (verify + every * product) < matmul_power.DIGEST_PART


def test_what_verifying_costs_at_full_power_is_measured_and_below_three_percent(gpu: Gpu) -> None:
    for _ in range(5):  # other work on the machine only ever adds to what verifying takes
        samples = of_power(power_phase(limited_rig(Steady(gpu), 8), KERNEL, SMALL, 60.0))
        costs = sorted(float(one.notes["verify_percent"]) for one in samples)
        if 0 < costs[len(costs) // 2] < 3 and all(one.seconds > 0.25 for one in samples):
            break
    assert 0 < costs[len(costs) // 2] < 3
    assert all(one.seconds > 0.25 for one in samples)
    assert all(one.notes["verified_percent"] == round(100 * one.checked / float(one.notes["products"]), 1) for one in samples)
    (finding,) = matmul_checks.repeatability(results_of(gpu, samples), NONE)
    products = sum(int(one.notes["products"]) for one in samples)
    assert finding.says == f"{sum(one.checked for one in samples)} of {products} products compared, none wrong"
