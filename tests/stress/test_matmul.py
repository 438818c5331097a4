"""Matrix products: every injected fault is found and placed, and nothing is found where nothing is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.gpu import Gpu, GpuError
from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import portable_product
from boxcheck.kernels.matrix import ELEMENTS
from boxcheck.model import Outcome
from boxcheck.stress import (
    Rig,
    Sample,
    engine_choice,
    matmul_checks,
    matmul_power,
)
from boxcheck.stress import matmul as matmul_module
from boxcheck.stress.digests import BLANK, Digests
from boxcheck.stress.exact_products import Exact
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.matmul import matmul
from boxcheck.stress.matmul_exact import exact_phase
from boxcheck.stress.matmul_power import Batch, Batches, power_phase
from boxcheck.stress.products import POISON, Random
from boxcheck.stress.random_proof import learn
from tests.gpu.devices import opened
from tests.stress.matmul_rig import (
    KERNEL,
    NONE,
    SMALL,
    Steady,
    Unlike,
    does_nothing,
    exact_samples,
    gives_zeros,
    limited_rig,
    of_power,
    outcomes_of,
    power_samples,
    results_of,
)


@pytest.fixture(scope="module", params=["opencl", "cpu"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    yield from opened(request.param)


def test_a_thousand_products_are_right_and_nothing_is_found(gpu: Gpu) -> None:
    with Exact(gpu, KERNEL, (64, 64, 64), 3) as product:
        product.clear()
        for number in range(1000):
            product.multiply(number)
            assert product.verify(number) == 0
        assert product.wrong_inputs() == (0, [])


@pytest.mark.parametrize("element", ["bf16", "fp16", "tf32", "fp32", "int8", "e4m3"])
def test_every_element_is_exact(gpu: Gpu, element: Any) -> None:
    samples = list(exact_phase(limited_rig(gpu), portable_product(element), SMALL, 60.0))
    assert sum(sample.wrong for sample in samples) == 0
    assert all(sample.checked for sample in samples)


def test_a_flipped_bit_of_a_result_is_found_and_placed(gpu: Gpu) -> None:
    samples = exact_samples(FaultyGpu(gpu, "flip-output", after=4))
    (bad,) = [sample for sample in samples if sample.wrong]
    assert (bad.wrong, bad.notes["wrong_input_words"], bad.notes["product"]) == (1, 0, 4)
    (word,) = bad.words
    assert word.kind == "one bit"
    assert word.flipped.bit_count() == 1
    with Exact(gpu, KERNEL, SMALL, 5) as product:
        row, column = divmod(word.index, SMALL[1])
        assert product.expected(4, row, np.array([column]))[0] == word.expected
    results = results_of(gpu, samples)
    (finding,) = matmul_checks.wrong_elements(results, NONE)
    assert finding.outcome is Outcome.FAIL
    assert f"row {row}, column {column}" in finding.notes[0]
    assert outcomes_of(matmul_checks.damaged_inputs, results) == [Outcome.PASS]


def test_what_was_counted_as_wrong_stays_wrong_where_it_reads_right_again(
        gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-back that changes its mind is a fault, and not an all-clear."""
    verify = Exact.verify
    monkeypatch.setattr(Exact, "verify", lambda product, number: 3 if number == 2 else verify(product, number))
    samples = exact_samples(gpu)
    (bad,) = [sample for sample in samples if sample.wrong]
    assert (bad.wrong, bad.notes["product"]) == (3, 2)
    assert "right when they were read again" in bad.words[0].kind
    (finding,) = matmul_checks.wrong_elements(results_of(gpu, samples), NONE)
    assert finding.outcome is Outcome.FAIL


def test_a_flipped_bit_of_an_input_is_told_from_a_wrong_result(gpu: Gpu) -> None:
    samples = exact_samples(FaultyGpu(gpu, "flip-input", after=3))
    (bad,) = [sample for sample in samples if sample.wrong]
    assert bad.notes["wrong_input_words"] == 1
    assert bad.words[0].where.startswith("input A, word ")
    assert bad.words[0].kind == "one bit"
    results = results_of(gpu, samples)
    assert outcomes_of(matmul_checks.damaged_inputs, results) == [Outcome.FAIL]


@pytest.mark.parametrize(("fault", "kind"), [("drop-write", "not written"), ("stale", "the result of the time before")])
def test_a_result_that_was_not_written_or_is_old_is_told_apart(gpu: Gpu, fault: Any, kind: str) -> None:
    samples = exact_samples(FaultyGpu(gpu, fault, after=3))
    (bad,) = [sample for sample in samples if sample.wrong]
    assert bad.wrong >= SMALL[0]
    assert {word.kind for word in bad.words} == {kind}


def test_a_kernel_whose_bits_change_while_it_is_timed_is_found_too(gpu: Gpu) -> None:
    trial = msgspec.structs.replace(power_samples(gpu, [100.0])[0], what="matmul.bf16.trial", wrong=1)
    samples = [trial, *power_samples(gpu, [100.0])]
    assert outcomes_of(matmul_checks.repeatability, results_of(gpu, samples)) == [Outcome.FAIL]
    librarys = msgspec.structs.replace(trial, notes={**trial.notes, "engine": "cublas 13.1.0"})
    assert outcomes_of(matmul_checks.repeatability, results_of(gpu, [librarys, *samples[1:]])) == [Outcome.PASS]


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
    samples = of_power(power_phase(limited_rig(device, 5), KERNEL, SMALL, 60.0))
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
    power = of_power(samples)
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
        samples = of_power(power_phase(limited_rig(device, 5), KERNEL, SMALL, 60.0))
        assert samples[0].checked == 20
        assert sum(one.wrong for one in samples) == 1 if fault != "flip-input" else samples[0].wrong > 1
        assert outcomes_of(matmul_checks.repeatability, results_of(gpu, samples)) == [Outcome.FAIL]


def test_a_fault_is_put_into_full_power_by_its_number(gpu: Gpu) -> None:
    device: Any = FaultyGpu(gpu, "flip-output", after=3)
    samples = list(matmul(Rig([device], seconds=0.3, options={"elements": "bf16", "phase": "power"})))
    assert sum(one.wrong for one in of_power(samples)) == 1
    assert sum(one.wrong for one in samples) == 1


@pytest.mark.parametrize("every", [1, 3])
def test_the_last_product_of_a_batch_that_never_ran_is_seen(
        gpu: Gpu, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    monkeypatch.setattr(matmul_power, "spacing", lambda product, verify: every)
    monkeypatch.setattr(matmul_power, "batch_of", lambda product, verify: 9)
    device: Any = FaultyGpu(gpu, "drop-write", after=15)  # the ninth of the first batch
    samples = of_power(power_phase(limited_rig(device, 5), KERNEL, SMALL, 60.0))
    assert (samples[0].checked, samples[0].wrong) == (9 // every, 1)


def test_poison_that_is_still_there_is_known_by_its_digest_alone(gpu: Gpu) -> None:
    """Where elements are not compared, for C is of 16 bits."""
    narrow = msgspec.structs.replace(KERNEL, name="library-narrow")
    for instead, first, wrong in ((does_nothing, 0, 4), (gives_zeros, 0, 1), (does_nothing, 9, 0)):
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
    device: Any = Unlike(gpu, does_nothing, shape=larger)
    samples = list(matmul(Rig([device], seconds=0.3, options=options)))
    bad = {(one.what.split(".")[-1], one.notes["shape"]) for one in samples if one.wrong}
    assert bad == {("exact", "256x128x64"), ("power", "256x128x64")}


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
