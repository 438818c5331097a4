"""Matrix products: every injected fault is found and placed, and nothing is found where nothing is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.gpu import Gpu, GpuError, GpuInfo
from boxcheck.kernels.catalogue import portable_product
from boxcheck.kernels.matrix import MatrixKernel
from boxcheck.model import Finding, Limit, Outcome
from boxcheck.profile import Profile
from boxcheck.stress import Rig, Sample, StressResults, kernel_choice, matmul_checks
from boxcheck.stress import matmul as matmul_module
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.locate import locate
from boxcheck.stress.matmul import exact_phase, matmul, power_phase
from boxcheck.stress.products import Exact, Random
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
        samples = list(power_phase(Rig([device], seconds=4.0, seed=5), KERNEL, SMALL, 4.0))
        assert low < matmul_checks.kept(samples) < high
        outcome = Outcome.PASS if fault is None else Outcome.FAIL
        assert _outcomes(matmul_checks.rate_drop, _results(gpu, samples)) == [outcome]


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
    assert _outcomes(matmul_checks.rate_drop, _results(gpu, samples, gpus=(real,))) == [outcome]


def _as_gpu(gpu: Gpu, index: int = 0, **changes: Any) -> GpuInfo:
    info = msgspec.structs.replace(gpu.info, is_gpu=True, arch="sm_89", name="RTX 4090", index=index)
    return msgspec.structs.replace(info, **changes)


@pytest.mark.parametrize(("value", "outcome"), [
    (139.9, Outcome.FAIL), (140.0, Outcome.MARGINAL), (157.9, Outcome.MARGINAL), (158.0, Outcome.PASS)])
def test_the_rate_is_judged_by_the_profile(gpu: Gpu, value: float, outcome: Outcome) -> None:
    bound = Limit("matmul.bf16_tflops", "ge", must=140.0, should=158.0, unit="TFLOPS", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    results = _results(gpu, _power(gpu, [100.0, value, 120.0]), gpus=(_as_gpu(gpu),), full_size=True)
    assert _outcomes(matmul_checks.rate, results, want) == [outcome]
    wrong = [msgspec.structs.replace(one, wrong=1) for one in results.samples]
    only_wrong = msgspec.structs.replace(results, samples=tuple(wrong))
    assert _outcomes(matmul_checks.rate, only_wrong, want) == [Outcome.UNKNOWN]  # no rate without a verified payload


def test_the_portable_kernels_rate_never_passes_for_the_gpus(gpu: Gpu) -> None:
    bound = Limit("matmul.bf16_tflops", "ge", must=1.0, unit="TFLOPS", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    samples = [msgspec.structs.replace(one, notes={"kernel": KERNEL.name}) for one in _power(gpu, [100.0])]
    results = _results(gpu, samples, gpus=(_as_gpu(gpu),), full_size=True)
    assert _outcomes(matmul_checks.rate, results, want) == [Outcome.UNKNOWN]


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
    assert _outcomes(matmul_checks.spread, results, want) == [Outcome.PASS, outcome]


@pytest.mark.parametrize(("units", "outcome"), [(128, Outcome.FAIL), (76, Outcome.PASS)])
def test_a_librarys_bits_are_compared_within_a_model_alone(gpu: Gpu, units: int, outcome: Outcome) -> None:
    infos = (_as_gpu(gpu, compute_units=128), _as_gpu(gpu, index=1, compute_units=units))
    for engine, expected in (("cublas 13.1.0", outcome), ("own", Outcome.FAIL)):
        samples = []
        for info, digest in zip(infos, ("aa", "bb"), strict=True):
            samples += [msgspec.structs.replace(one, gpu=info.key, notes={**one.notes, "engine": engine, "digest": digest})
                        for one in _power(gpu, [100.0])]
        assert _outcomes(matmul_checks.repeatability, _results(gpu, samples, gpus=infos)) == [expected] * 2


def test_a_kernel_whose_bits_change_while_it_is_timed_is_found_too(gpu: Gpu) -> None:
    trial = msgspec.structs.replace(_power(gpu, [100.0])[0], what="matmul.bf16.trial", wrong=1)
    samples = [trial, *_power(gpu, [100.0])]
    assert _outcomes(matmul_checks.repeatability, _results(gpu, samples)) == [Outcome.FAIL]
    librarys = msgspec.structs.replace(trial, notes={**trial.notes, "engine": "cublas 13.1.0"})
    assert _outcomes(matmul_checks.repeatability, _results(gpu, [librarys, *samples[1:]])) == [Outcome.PASS]


@pytest.mark.parametrize(("product", "verify", "seconds"), [
    (7e-3, 6e-4, 0.3),  # bf16 of 8192 on a fast card: verifying is nothing beside a third of a second
    (7e-3, 1e-2, 0.49),  # a batch is longer where verifying takes long
    (7e-3, 1.0, 1.0),  # and never much longer than a second
    (2.0, 1e-2, 2.0)])  # but for one product that is
def test_batches_are_long_enough_that_verifying_costs_little(product: float, verify: float, seconds: float) -> None:
    found = matmul_module.batch_of(product, verify) * product
    assert seconds <= found <= seconds + product
    if seconds <= 0.5:
        assert verify / (verify + found) < matmul_module.DIGEST_PART


def test_what_verifying_costs_at_full_power_is_measured_and_below_three_percent(gpu: Gpu) -> None:
    samples = list(power_phase(_rig(Steady(gpu), 3), KERNEL, SMALL, 60.0))
    costs = sorted(float(one.notes["verify_percent"]) for one in samples)
    assert 0 < costs[len(costs) // 2] < 3
    assert all(one.seconds > 0.25 for one in samples)


def test_nothing_compared_is_unknown(gpu: Gpu) -> None:
    empty = _results(gpu, [])
    for one in (matmul_checks.wrong_elements, matmul_checks.damaged_inputs, matmul_checks.repeatability,
                matmul_checks.self_test, matmul_checks.rate_drop):
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
