"""Matrix products: every injected fault is found and placed, and nothing is found where nothing is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.gpu import Gpu, GpuError, GpuInfo
from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import portable_product
from boxcheck.kernels.matrix import ELEMENTS, MatrixKernel
from boxcheck.model import Finding, Limit, Outcome
from boxcheck.profile import Profile
from boxcheck.stress import (
    Rig,
    Sample,
    StressResults,
    engine_choice,
    kernel_choice,
    matmul_checks,
    matmul_power,
    matmul_rate_checks,
)
from boxcheck.stress import matmul as matmul_module
from boxcheck.stress.digests import BLANK, Digests
from boxcheck.stress.exact_products import Exact
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.locate import locate
from boxcheck.stress.matmul import matmul
from boxcheck.stress.matmul_exact import NOT_SEEN, exact_phase
from boxcheck.stress.matmul_power import Batch, Batches, power_phase
from boxcheck.stress.products import POISON, Random
from boxcheck.stress.random_proof import expected, learn, wrong_spots
from tests.gpu.devices import opened

SMALL = (128, 192, 64)
KERNEL = portable_product("bf16")
NONE = Profile(name="none", revision=1, title="no limits")


@pytest.fixture(scope="module", params=["opencl", "cpu"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    yield from opened(request.param)


def _rig(gpu: Any, pieces: int = 8, seconds: float = 60.0) -> Rig:
    """A rig that stops after so many pieces of work, however long they take here."""
    done: list[str] = []
    return Rig(
        [gpu], seconds=seconds, seed=5, beat=lambda text, part: done.append(text), stopping=lambda: len(done) >= pieces)


def _exact(gpu: Any) -> list[Sample]:
    return list(exact_phase(_rig(gpu), KERNEL, SMALL, 60.0))


def _results(gpu: Gpu, samples: list[Sample], **changes: Any) -> StressResults:
    fields: dict[str, Any] = {
        "module": "matmul", "gpus": (gpu.info,), "samples": tuple(samples), "troubles": (), "ended": (gpu.info.key,),
        "full_size": False, **changes}
    return StressResults(**fields)


def _outcomes(check: Any, results: StressResults, want: Profile = NONE) -> list[Outcome]:
    return [finding.outcome for finding in check(results, want)]


def test_a_thousand_products_are_right_and_nothing_is_found(gpu: Gpu) -> None:
    with Exact(gpu, KERNEL, (64, 64, 64), 3) as product:
        product.clear()
        for number in range(1000):
            product.multiply(number)
            assert product.verify(number) == 0
        assert product.wrong_inputs() == (0, [])


@pytest.mark.parametrize("element", ["bf16", "fp16", "tf32", "fp32", "int8", "e4m3"])
def test_every_element_is_exact(gpu: Gpu, element: Any) -> None:
    samples = list(exact_phase(_rig(gpu), portable_product(element), SMALL, 60.0))
    assert sum(sample.wrong for sample in samples) == 0
    assert all(sample.checked for sample in samples)


def test_a_flipped_bit_of_a_result_is_found_and_placed(gpu: Gpu) -> None:
    samples = _exact(FaultyGpu(gpu, "flip-output", after=4))
    (bad,) = [sample for sample in samples if sample.wrong]
    assert (bad.wrong, bad.notes["wrong_input_words"], bad.notes["product"]) == (1, 0, 4)
    (word,) = bad.words
    assert word.kind == "one bit"
    assert word.flipped.bit_count() == 1
    with Exact(gpu, KERNEL, SMALL, 5) as product:
        row, column = divmod(word.index, SMALL[1])
        assert product.expected(4, row, np.array([column]))[0] == word.expected
    results = _results(gpu, samples)
    (finding,) = matmul_checks.wrong_elements(results, NONE)
    assert finding.outcome is Outcome.FAIL
    assert f"row {row}, column {column}" in finding.notes[0]
    assert _outcomes(matmul_checks.damaged_inputs, results) == [Outcome.PASS]


def test_what_was_counted_as_wrong_stays_wrong_where_it_reads_right_again(
        gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-back that changes its mind is a fault, and not an all-clear."""
    verify = Exact.verify
    monkeypatch.setattr(Exact, "verify", lambda product, number: 3 if number == 2 else verify(product, number))
    samples = _exact(gpu)
    (bad,) = [sample for sample in samples if sample.wrong]
    assert (bad.wrong, bad.notes["product"]) == (3, 2)
    assert "right when they were read again" in bad.words[0].kind
    (finding,) = matmul_checks.wrong_elements(_results(gpu, samples), NONE)
    assert finding.outcome is Outcome.FAIL


def test_a_flipped_bit_of_an_input_is_told_from_a_wrong_result(gpu: Gpu) -> None:
    samples = _exact(FaultyGpu(gpu, "flip-input", after=3))
    (bad,) = [sample for sample in samples if sample.wrong]
    assert bad.notes["wrong_input_words"] == 1
    assert bad.words[0].where.startswith("input A, word ")
    assert bad.words[0].kind == "one bit"
    results = _results(gpu, samples)
    assert _outcomes(matmul_checks.damaged_inputs, results) == [Outcome.FAIL]


@pytest.mark.parametrize(("fault", "kind"), [("drop-write", "not written"), ("stale", "the result of the time before")])
def test_a_result_that_was_not_written_or_is_old_is_told_apart(gpu: Gpu, fault: Any, kind: str) -> None:
    samples = _exact(FaultyGpu(gpu, fault, after=3))
    (bad,) = [sample for sample in samples if sample.wrong]
    assert bad.wrong >= SMALL[0]
    assert {word.kind for word in bad.words} == {kind}


class Steady:
    """A device whose products take at least 20 ms: long beside what a busy machine adds."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def launch(self, program: Any, kernel: str, groups: int, arguments: Any, *, queue: int = 0) -> None:
        if kernel == "bc_matmul":
            self._gpu.finish()
            time.sleep(0.02)
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)


def test_a_device_that_slows_down_is_seen(gpu: Gpu) -> None:
    for fault, low, high in ((None, 50, 200), ("slow", 0, 25)):
        device: Any = FaultyGpu(Steady(gpu), fault, seconds=3.0)  # type: ignore[arg-type]
        samples = _of_power(power_phase(Rig([device], seconds=4.0, seed=5), KERNEL, SMALL, 4.0))
        assert low < matmul_rate_checks.kept(samples) < high
        outcome = Outcome.PASS if fault is None else Outcome.FAIL
        results = msgspec.structs.replace(_results(gpu, samples), full_size=True)
        assert _outcomes(matmul_rate_checks.rate_drop, results) == [outcome]


def _of_power(samples: Iterable[Sample]) -> list[Sample]:
    return [one for one in samples if one.what.endswith(".power")]


def _power(gpu: Gpu, values: list[float], **changes: Any) -> list[Sample]:
    return [Sample(
        what="matmul.bf16.power", gpu=gpu.info.key, seconds=0.25, value=value, unit="TFLOPS", checked=1, of="digests",
        wrong=0, notes={"kernel": "mma-bf16", "shape": "8192x8192x8192", "digest": "aa"}, **changes)
        for value in values]


@pytest.mark.parametrize(("last", "outcome"), [
    (84.9, Outcome.MARGINAL), (85.1, Outcome.PASS), (49.9, Outcome.FAIL), (50.1, Outcome.MARGINAL)])
def test_a_gpu_may_lose_a_few_percent_and_no_more(gpu: Gpu, last: float, outcome: Outcome) -> None:
    real = _as_gpu(gpu)
    samples = _power(gpu, [100.0] * 6 + [last] * 2)
    results = msgspec.structs.replace(_results(gpu, samples, gpus=(real,)), full_size=True)
    assert _outcomes(matmul_rate_checks.rate_drop, results) == [outcome]


def _as_gpu(gpu: Gpu, index: int = 0, **changes: Any) -> GpuInfo:
    info = msgspec.structs.replace(gpu.info, is_gpu=True, arch="sm_89", name="RTX 4090", index=index)
    return msgspec.structs.replace(info, **changes)


@pytest.mark.parametrize(("value", "outcome"), [
    (139.9, Outcome.FAIL), (140.0, Outcome.MARGINAL), (157.9, Outcome.MARGINAL), (158.0, Outcome.PASS)])
def test_the_rate_is_judged_by_the_profile(gpu: Gpu, value: float, outcome: Outcome) -> None:
    bound = Limit("matmul.bf16_tflops", "ge", must=140.0, should=158.0, unit="TFLOPS", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    results = _results(gpu, _power(gpu, [100.0, value, 159.0]), gpus=(_as_gpu(gpu),), full_size=True)
    assert _outcomes(matmul_rate_checks.rate, results, want) == [outcome]
    wrong = [msgspec.structs.replace(one, wrong=1) for one in results.samples]
    only_wrong = msgspec.structs.replace(results, samples=tuple(wrong))
    assert _outcomes(matmul_rate_checks.rate, only_wrong, want) == [Outcome.UNKNOWN]  # no rate without a verified payload


def test_the_portable_kernels_rate_never_passes_for_the_gpus(gpu: Gpu) -> None:
    bound = Limit("matmul.bf16_tflops", "ge", must=1.0, unit="TFLOPS", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    samples = [msgspec.structs.replace(one, notes={"kernel": KERNEL.name}) for one in _power(gpu, [100.0])]
    results = _results(gpu, samples, gpus=(_as_gpu(gpu),), full_size=True)
    assert _outcomes(matmul_rate_checks.rate, results, want) == [Outcome.UNKNOWN]


def test_a_gpu_whose_bits_differ_from_its_likes_fails_and_the_others_do_not(gpu: Gpu) -> None:
    infos = tuple(_as_gpu(gpu, index=index) for index in range(3))
    samples = []
    for info, digest in zip(infos, ("aa", "bb", "aa"), strict=True):
        samples += [msgspec.structs.replace(one, gpu=info.key, notes={**one.notes, "digest": digest})
                    for one in _power(gpu, [100.0])]
    results = _results(gpu, samples, gpus=infos, ended=tuple(info.key for info in infos))
    assert _outcomes(matmul_checks.repeatability, results) == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]


@pytest.mark.parametrize(("slow", "outcome"), [(92.1, Outcome.PASS), (91.9, Outcome.MARGINAL), (84.9, Outcome.FAIL)])
def test_one_gpu_may_not_stay_far_behind_the_others(gpu: Gpu, slow: float, outcome: Outcome) -> None:
    infos = (_as_gpu(gpu), _as_gpu(gpu, index=1))
    samples = [msgspec.structs.replace(one, gpu=info.key) for info, value in zip(infos, (100.0, slow), strict=True)
               for one in _power(gpu, [value])]
    bound = Limit("matmul.spread_percent", "le", must=15.0, should=8.0, unit="%", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    results = _results(gpu, samples, gpus=infos)
    assert _outcomes(matmul_rate_checks.spread, results, want) == [Outcome.PASS, outcome]


@pytest.mark.parametrize(("units", "outcome"), [(128, Outcome.FAIL), (76, Outcome.PASS)])
def test_a_librarys_bits_are_compared_within_a_model_alone(gpu: Gpu, units: int, outcome: Outcome) -> None:
    infos = (_as_gpu(gpu, compute_units=128), _as_gpu(gpu, index=1, compute_units=units))
    for engine, judged in (("cublas 13.1.0", outcome), ("own", Outcome.FAIL)):
        samples = []
        for info, digest in zip(infos, ("aa", "bb"), strict=True):
            samples += [msgspec.structs.replace(one, gpu=info.key, notes={**one.notes, "engine": engine, "digest": digest})
                        for one in _power(gpu, [100.0])]
        assert _outcomes(matmul_checks.repeatability, _results(gpu, samples, gpus=infos)) == [judged] * 2


def test_a_kernel_whose_bits_change_while_it_is_timed_is_found_too(gpu: Gpu) -> None:
    trial = msgspec.structs.replace(_power(gpu, [100.0])[0], what="matmul.bf16.trial", wrong=1)
    samples = [trial, *_power(gpu, [100.0])]
    assert _outcomes(matmul_checks.repeatability, _results(gpu, samples)) == [Outcome.FAIL]
    librarys = msgspec.structs.replace(trial, notes={**trial.notes, "engine": "cublas 13.1.0"})
    assert _outcomes(matmul_checks.repeatability, _results(gpu, [librarys, *samples[1:]])) == [Outcome.PASS]


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
    samples = _of_power(power_phase(_rig(Steady(gpu), 8), KERNEL, SMALL, 60.0))
    costs = sorted(float(one.notes["verify_percent"]) for one in samples)
    assert 0 < costs[len(costs) // 2] < 3
    assert all(one.seconds > 0.25 for one in samples)
    assert all(one.notes["verified_percent"] == 100 * one.checked / float(one.notes["products"]) for one in samples)
    (finding,) = matmul_checks.repeatability(_results(gpu, samples), NONE)
    products = sum(int(one.notes["products"]) for one in samples)
    assert finding.says == f"{sum(one.checked for one in samples)} of {products} products compared, none wrong"


def test_batches_are_told_together_and_one_with_a_wrong_product_at_once_and_by_itself() -> None:
    product: Any = SimpleNamespace(
        kernel=KERNEL, gpu=SimpleNamespace(info=SimpleNamespace(key="cuda:0")), operations=1e12)
    batches = [
        Batch(products=10, digested=5, wrong=[7] if number == 2 else [], seconds=0.3 + number / 10,
              digesting_seconds=0.01) for number in range(5)]
    told = Batches(product, {"kernel": "k"}, 1e9)
    after = [list(told.add(batch)) for batch in batches]
    assert [len(samples) for samples in after] == [0, 0, 2, 0, 0]
    samples = [*after[2], *told.rest(), *told.rest()]
    assert [(one.checked, one.wrong, one.notes["products"]) for one in samples] == [(10, 0, 20), (5, 1, 10), (10, 0, 20)]
    assert [one.value for one in samples] == pytest.approx([20 / 0.7, 10 / 0.5, 20 / 1.3])
    assert [one.notes["spread_percent"] for one in samples] == [25.0, 0.0, 14.3]
    assert samples[1].notes["found"] == "0000000000000007"
    each = Batches(product, {}, 0.0)
    assert [len(list(each.add(batch))) for batch in batches] == [1] * 5


def test_a_processor_that_becomes_slow_in_a_batch_makes_a_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was timed as a millisecond takes a second now; each third was to be digested."""
    (cpu,) = opened("cpu")
    monkeypatch.setattr(matmul_power, "costs", lambda product: (1e-3, 1e-3))
    monkeypatch.setattr(matmul_power, "LONGEST_BATCH_SECONDS", 0.05)
    device: Any = Steady(cpu)
    samples = _of_power(power_phase(_rig(device, 5), KERNEL, SMALL, 60.0))
    assert matmul_power.batch_of(1e-3, 1e-3) > 200
    assert int(samples[0].notes["products"]) < 60
    assert samples[0].checked >= 1
    assert samples[0].wrong == 0


def test_a_gpu_lost_at_full_power_leaves_what_was_compared_before(gpu: Gpu) -> None:
    beats: list[str] = []

    def beat(text: str, done: float) -> None:
        beats.append(text)
        if text.startswith("bf16 power") and sum(text.startswith("bf16 power") for text in beats) == 3:
            raise GpuError("lost", "it is gone")

    samples: list[Sample] = []
    with pytest.raises(GpuError, match="it is gone"):
        samples.extend(power_phase(Rig([gpu], seconds=60.0, seed=5, beat=beat), KERNEL, SMALL, 60.0))
    products = int(beats[-1].split()[2])
    power = _of_power(samples)
    assert sum(int(one.notes["products"]) for one in power) == products
    assert all(one.checked and not one.wrong for one in power)


@pytest.mark.parametrize(("element", "depth"), [("bf16", 32768), ("fp32", 16384), ("int8", 65536), ("e4m3", 65536)])
def test_random_products_are_as_deep_as_digests_of_all_of_them_ask_for(element: Any, depth: int) -> None:
    tuned = msgspec.structs.replace(portable_product(element), name="tuned")
    for gibibytes, kernel, library, deep in (
            (23, tuned, False, [depth] * 2), (3, tuned, False, []), (1.9, tuned, False, []),
            (23, portable_product(element), False, [8192] * 2), (23, tuned, True, [8192] * 2)):
        rig: Any = SimpleNamespace(
            full_size=True, gpu=SimpleNamespace(free_bytes=lambda free=gibibytes: int(free * (1 << 30))))
        engine: Any = object() if library else kernel
        shapes = matmul_module.power_shapes(rig, engine_choice.Chosen(engine=engine, own=kernel))
        assert [shape[2] for shape in shapes] == deep or not deep
        for m, n, k in shapes:
            size = ELEMENTS[element].bytes
            assert k in (8192, depth)
            assert size * k * (m + 2 * n) + 4 * m * n < 0.8 * gibibytes * (1 << 30)


def test_nothing_that_is_wrong_in_the_middle_of_a_batch_stays_unseen(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products 1 and 2 to 5 are the exact one and those that the digests are of, then come two that are timed."""
    monkeypatch.setattr(matmul_power, "spacing", lambda product, verify: 1)
    monkeypatch.setattr(matmul_power, "batch_of", lambda product, verify: 20)
    for fault in ("flip-output", "drop-write", "stale", "flip-input"):
        device: Any = FaultyGpu(gpu, fault, after=15)  # type: ignore[arg-type]
        samples = _of_power(power_phase(_rig(device, 5), KERNEL, SMALL, 60.0))
        assert samples[0].checked == 20
        assert sum(one.wrong for one in samples) == 1 if fault != "flip-input" else samples[0].wrong > 1
        assert _outcomes(matmul_checks.repeatability, _results(gpu, samples)) == [Outcome.FAIL]


def test_a_fault_is_put_into_full_power_by_its_number(gpu: Gpu) -> None:
    device: Any = FaultyGpu(gpu, "flip-output", after=3)
    samples = list(matmul(Rig([device], seconds=0.3, options={"elements": "bf16", "phase": "power"})))
    assert sum(one.wrong for one in _of_power(samples)) == 1
    assert sum(one.wrong for one in samples) == 1


@pytest.mark.parametrize("every", [1, 3])
def test_the_last_product_of_a_batch_that_never_ran_is_seen(
        gpu: Gpu, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    monkeypatch.setattr(matmul_power, "spacing", lambda product, verify: every)
    monkeypatch.setattr(matmul_power, "batch_of", lambda product, verify: 9)
    device: Any = FaultyGpu(gpu, "drop-write", after=15)  # the ninth of the first batch
    samples = _of_power(power_phase(_rig(device, 5), KERNEL, SMALL, 60.0))
    assert (samples[0].checked, samples[0].wrong) == (9 // every, 1)


class Unlike:
    """A device that does with each product from a number on what it is told instead."""

    def __init__(self, gpu: Gpu, instead: Any, first: int = 0, shape: tuple[int, int, int] | None = None) -> None:
        self._gpu, self._instead, self._first, self._shape = gpu, instead, first, shape
        self.number = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def launch(self, program: Any, kernel: str, groups: int, arguments: Sequence[Any], *, queue: int = 0) -> None:
        if kernel == "bc_matmul" and self._shape in (None, tuple(arguments[3:6])):
            self.number += 1
            if self.number >= self._first:
                self._instead(self._gpu, program, arguments)
                return
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)


def _nothing(gpu: Any, program: Any, arguments: Sequence[Any]) -> None: ...


def _zeros(gpu: Any, program: Any, arguments: Sequence[Any]) -> None:
    gpu.write(arguments[2], np.zeros(arguments[3] * arguments[4], np.uint32))


def _transposed(gpu: Any, program: Any, arguments: Sequence[Any]) -> None:
    a, b, c, m, n, k = arguments
    gpu.launch(program, "bc_matmul", (m // 64) * (n // 64), [b, a, c, n, m, k])


@pytest.mark.parametrize("instead", [_nothing, _zeros, _transposed])
def test_products_that_are_wrong_each_time_are_no_reference(gpu: Gpu, instead: Any) -> None:
    for first in (0, 1):  # with and without the exact product
        device: Any = Unlike(gpu, instead, first)
        samples = list(power_phase(_rig(device, 20), KERNEL, SMALL, 60.0))
        (power,) = _of_power(samples)
        assert power.wrong == power.checked > 0
        assert power.value is None
        assert power.words
        if instead is _nothing:
            assert {word.kind for word in power.words} == {"not written"}
        assert any(one.wrong for one in samples if one.what.endswith(".exact")) is (first == 0)
        assert _outcomes(matmul_checks.repeatability, _results(gpu, samples)) == [Outcome.FAIL]
        sample = engine_choice.trial(_rig(Unlike(gpu, instead), 20), KERNEL, SMALL, 0.01)
        assert (sample.wrong, sample.value) == (sample.checked, None)


def test_poison_that_is_still_there_is_known_by_its_digest_alone(gpu: Gpu) -> None:
    """Where elements are not compared, for C is of 16 bits."""
    narrow = msgspec.structs.replace(KERNEL, name="library-narrow")
    for instead, first, wrong in ((_nothing, 0, 4), (_zeros, 0, 1), (_nothing, 9, 0)):
        device: Any = Unlike(gpu, instead, first)
        with Random(device, narrow, SMALL, 5) as product:
            found = learn(product)
        assert (found.checked, found.wrong, found.usable) == (4, wrong, wrong == 0)


def test_a_shape_of_the_power_phase_alone_is_verified_too(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    larger = (256, 128, 64)
    monkeypatch.setattr(matmul_module, "shapes_for", lambda rig, kernel: [SMALL, larger])
    options = {"elements": "bf16"}
    samples = list(matmul(Rig([gpu], seconds=0.3, options=options)))
    shapes = [one.notes["shape"] for one in samples if one.what.endswith(".inputs")]
    assert shapes == ["128x192x64", "256x128x64"]
    device: Any = Unlike(gpu, _nothing, shape=larger)
    samples = list(matmul(Rig([device], seconds=0.3, options=options)))
    bad = {(one.what.split(".")[-1], one.notes["shape"]) for one in samples if one.wrong}
    assert bad == {("exact", "256x128x64"), ("power", "256x128x64")}


def test_random_products_are_within_rounding_of_numpys_and_wrong_ones_are_not(gpu: Gpu) -> None:
    for element in ("bf16", "fp16", "tf32", "fp32", "int8", "e4m3"):
        with Random(gpu, portable_product(element), (64, 128, 512), 5) as product:  # type: ignore[arg-type]
            found = learn(product)
            assert (found.checked, found.wrong, found.usable) == (4, 0, True), element
            product.multiply(0)
            assert wrong_spots(product, 0) == []
            assert len(wrong_spots(product, 1)) > 4  # the other product is none of these
            gpu.finish()
            gpu.write(product.c, gpu.read(product.c, 4).view(np.uint32) ^ np.uint32(1 << 28))
            (word,) = wrong_spots(product, 0)
            assert (word.index, word.kind) == (0, "beyond rounding")


@pytest.mark.parametrize(("element", "depth", "bits", "step"), [("e4m3", 65536, 13, 32), ("bf16", 32768, 23, 1)])
def test_what_the_narrowest_accumulators_cut_off_is_within_what_is_allowed(
        element: Any, depth: int, bits: int, step: int) -> None:
    """Units that align the terms of a step and the sum to the largest of them, and cut off what lies below."""
    rows = columns = np.arange(48)
    product: Any = SimpleNamespace(
        kernel=portable_product(element), shape=(48, 48, depth), seeds={"a": 0x1234, "b0": 0x9876})
    wanted, off = expected(product, 0, rows, columns)
    a, b = (reference.widen(element, reference.elements(element, product.seeds[name], side, rows, np.arange(depth), True))
            for side, name in enumerate(("a", "b0")))
    terms = a.astype(np.float64) * b
    sums = np.zeros((48, 1))
    for at in range(0, depth, step):
        aligned = np.concatenate((sums, terms[:, at:at + step]), axis=1)
        unit = 2.0 ** (np.floor(np.log2(np.abs(aligned).max(axis=1, keepdims=True))) - bits)
        sums = (np.trunc(aligned / unit) * unit).sum(axis=1, keepdims=True)
    error = np.abs(sums[:, 0] - wanted)
    assert 0 < error.max() < off.min() / 2
    assert off.max() < 1.6 * np.sqrt((terms * terms).sum(axis=1)).min()


def test_digesting_and_poisoning_is_one_pass(gpu: Gpu) -> None:
    words = np.random.default_rng(1).integers(0, 1 << 32, 9000, dtype=np.uint64).astype(np.uint32)
    buffer, digests = gpu.allocate(4 * len(words)), Digests(gpu, len(words))
    gpu.write(buffer, words)
    assert digests.of(buffer) == reference.digest(words)
    digests.take(buffer, 1, POISON)
    digests.take(buffer, 0, 5)
    assert digests.taken(2) == [reference.digest(np.full(9000, POISON, np.uint32)), reference.digest(words)]
    assert (gpu.read(buffer, 4 * len(words)).view(np.uint32) == 5).all()
    for one in (buffer, *digests.buffers):
        one.free()


def test_a_digest_that_was_never_taken_is_not_the_one_of_the_batch_before(gpu: Gpu) -> None:
    buffer, digests = gpu.allocate(4096), Digests(gpu, 1024)
    digests.take(buffer, 0, POISON)
    assert digests.taken(2)[1] == BLANK
    assert digests.taken(1) == [BLANK]
    digests._total = lambda slot: None  # type: ignore[method-assign]
    assert digests.of(buffer) == BLANK
    for one in (buffer, *digests.buffers):
        one.free()


class Blind:
    """A device on which a comparing kernel does nothing, or always gives the same."""

    def __init__(self, gpu: Gpu, *kernels: str) -> None:
        self._gpu, self._kernels = gpu, kernels

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def launch(self, program: Any, kernel: str, groups: int, arguments: Sequence[Any], *, queue: int = 0) -> None:
        if kernel not in self._kernels:
            self._gpu.launch(program, kernel, groups, arguments, queue=queue)
        elif kernel.startswith("bc_digest"):
            self._gpu.write(arguments[-1], np.zeros(1, np.uint64))


@pytest.mark.parametrize("kernel", ["bc_check_rows", "bc_check_matrix", "bc_digest", "bc_digest_fill"])
def test_a_comparison_that_sees_nothing_is_found_before_it_judges(gpu: Gpu, kernel: str) -> None:
    device: Any = Blind(gpu, kernel)
    (sample,) = kernel_choice.choose(device, "bf16")[1]
    assert (sample.wrong, sample.notes["verdict"], sample.notes["blind"]) == (1, "blind", kernel)
    (finding,) = matmul_checks.self_test(_results(gpu, [sample]), NONE)
    assert finding.outcome is Outcome.UNKNOWN
    assert f"a comparison kernel sees nothing on this device, or not what it should: {kernel}" in finding.says
    (sound,) = kernel_choice.choose(gpu, "bf16")[1]
    assert (sound.wrong, sound.notes["verdict"]) == (0, "right")


def test_a_comparison_that_went_blind_later_is_found_by_numpy(gpu: Gpu) -> None:
    """The first product, each 63rd, and the last: a wrong row, or damage to it that was done on purpose."""
    blind: Any = Blind(gpu, "bc_check_rows")
    device: Any = Unlike(blind, _zeros, 63)
    samples = list(exact_phase(_rig(device, 70), KERNEL, SMALL, 60.0))
    bad = {one.notes["product"]: {word.kind for word in one.words} for one in samples if one.wrong}
    assert list(bad)[:2] == [0, 63]
    assert bad.pop(0) == {NOT_SEEN}
    assert all(kinds == {"not seen by the comparing kernel"} for kinds in bad.values())
    (inputs,) = [one for one in exact_phase(_rig(Blind(gpu, "bc_check_matrix"), 3), KERNEL, SMALL, 60.0) if one.wrong]  # type: ignore[arg-type]
    assert (inputs.what, inputs.words[0].kind) == ("matmul.bf16.inputs", NOT_SEEN)
    with Exact(gpu, KERNEL, SMALL, 5) as product:
        product.multiply(0)
        gpu.finish()
        assert product.wrong_in_row(0, 9) == []
        gpu.write(product.c, np.array([0x4B000000], np.uint32), 4 * (9 * SMALL[1] + 100))
        (one, *_) = product.wrong_in_row(0, 9)  # the element, or the sums of the row
        assert one.index // SMALL[1] == 9


def test_nothing_compared_is_unknown(gpu: Gpu) -> None:
    empty = msgspec.structs.replace(_results(gpu, []), full_size=True)
    for one in (matmul_checks.wrong_elements, matmul_checks.damaged_inputs, matmul_checks.repeatability,
                matmul_checks.self_test, matmul_rate_checks.rate_drop):
        assert _outcomes(one, empty) == [Outcome.UNKNOWN]


def _broken(name: str, change: str) -> MatrixKernel:
    """A kernel whose text computes something else."""
    source = KERNEL.source
    text = source.text.replace("] = sums[i][j];", f"] = {change};")
    assert text != source.text
    return msgspec.structs.replace(KERNEL, name=name, source=msgspec.structs.replace(source, text=text, name="x.cu"))


def test_a_tuned_kernel_that_is_wrong_where_the_portable_one_is_right_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu in opened("opencl"):
        bad = _broken("tuned-bad", "sums[i][j] + (float)(x == 3u)")
        monkeypatch.setattr(kernel_choice, "candidates", lambda arch, element, bad=bad: (bad, KERNEL))
        chosen, samples = kernel_choice.choose(gpu, "bf16")
        assert chosen is KERNEL
        verdicts = {str(one.notes["kernel"]): one.notes["verdict"] for one in samples}
        assert verdicts == {"tuned-bad": "own defect", KERNEL.name: "right"}
        (finding,) = matmul_checks.self_test(_results(gpu, samples), NONE)
        assert finding.outcome is Outcome.UNKNOWN
        assert "a defect of boxcheck" in finding.says


def test_a_kernel_that_does_not_compile_is_dropped_as_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu in opened("opencl"):
        bad = _broken("tuned-bad", "nonsense")
        monkeypatch.setattr(kernel_choice, "candidates", lambda arch, element, bad=bad: (bad, KERNEL))
        chosen, samples = kernel_choice.choose(gpu, "bf16")
        assert chosen is KERNEL
        assert [one.notes["verdict"] for one in samples] == ["own defect", "right"]


def test_where_the_portable_kernel_is_wrong_too_the_device_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu in opened("opencl"):
        bad = _broken(KERNEL.name, "sums[i][j] + 1.0f")
        monkeypatch.setattr(kernel_choice, "candidates", lambda arch, element, bad=bad: (bad,))
        _, samples = kernel_choice.choose(gpu, "bf16")
        assert [one.notes["verdict"] for one in samples] == ["wrong on this device"]
        findings: list[Finding] = list(matmul_checks.self_test(_results(gpu, samples), NONE))
        assert [one.outcome for one in findings] == [Outcome.FAIL]


def test_several_wrong_elements_of_a_row_are_all_placed(gpu: Gpu) -> None:
    with Exact(gpu, KERNEL, SMALL, 5) as product:
        product.clear()
        product.multiply(0)
        gpu.finish()
        for row, column, bits in ((3, 5, 0x7FC00000), (3, 9, 0x3F000000), (7, 0, 0x4B800001), (100, 191, 0)):
            gpu.write(product.c, np.array([bits], np.uint32), 4 * (row * SMALL[1] + column))
        assert product.verify(0) == 3
        total, words = locate(product, 0, lambda text, done: None)
    assert total == 4
    assert {divmod(word.index, SMALL[1]) for word in words} == {(3, 5), (3, 9), (7, 0), (100, 191)}


def test_the_whole_module_on_a_processor(gpu: Gpu) -> None:
    beats: list[float] = []
    rig = Rig([gpu], seconds=0.6, beat=lambda text, done: beats.append(done))
    samples = list(matmul(rig))
    assert {sample.what for sample in samples} == {
        f"matmul.{element}.{part}" for element in ("bf16", "int8") for part in ("self-test", "exact", "inputs", "power")}
    assert sum(sample.wrong for sample in samples) == 0
    assert beats


def test_an_unknown_element_is_refused(gpu: Gpu) -> None:
    with pytest.raises(GpuError, match="there is no element 'fp7'"):
        list(matmul(Rig([gpu], seconds=0.1, options={"elements": "bf16,fp7"})))


def test_a_run_that_is_told_to_stop_stops_between_pieces(gpu: Gpu) -> None:
    began = time.monotonic()
    list(matmul(Rig([gpu], seconds=60, stopping=lambda: time.monotonic() - began > 0.3)))
    assert time.monotonic() - began < 15


def test_random_products_repeat_bit_by_bit(gpu: Gpu) -> None:
    with Random(gpu, KERNEL, SMALL, 5) as product:
        digests = set()
        for _ in range(20):
            product.poison()
            product.multiply()
            digests.add(product.digest())
        assert len(digests) == 1
        gpu.write(product.c, gpu.read(product.c, 4) ^ np.uint8(1))
        assert product.digest() not in digests
