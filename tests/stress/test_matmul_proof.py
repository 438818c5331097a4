"""Proofs of kernels and of the comparison, before either judges a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.gpu import Gpu
from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import portable_product
from boxcheck.kernels.matrix import MatrixKernel
from boxcheck.model import Finding, Outcome
from boxcheck.stress import (
    engine_choice,
    kernel_choice,
    matmul_checks,
    matmul_rate_checks,
)
from boxcheck.stress.exact_products import Exact
from boxcheck.stress.locate import locate
from boxcheck.stress.matmul_exact import NOT_SEEN, exact_phase
from boxcheck.stress.matmul_power import power_phase
from boxcheck.stress.products import Random
from boxcheck.stress.random_proof import expected, learn, wrong_spots
from tests.gpu.devices import opened
from tests.stress.matmul_rig import (
    KERNEL,
    NONE,
    SMALL,
    Unlike,
    does_nothing,
    gives_zeros,
    limited_rig,
    of_power,
    outcomes_of,
    results_of,
)


@pytest.fixture(scope="module", params=["opencl", "cpu"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    yield from opened(request.param)


def _transposed(gpu: Any, program: Any, arguments: Sequence[Any]) -> None:
    a, b, c, m, n, k = arguments
    gpu.launch(program, "bc_matmul", (m // 64) * (n // 64), [b, a, c, n, m, k])


@pytest.mark.parametrize("instead", [does_nothing, gives_zeros, _transposed])
def test_products_that_are_wrong_each_time_are_no_reference(gpu: Gpu, instead: Any) -> None:
    for first in (0, 1):  # with and without the exact product
        device: Any = Unlike(gpu, instead, first)
        samples = list(power_phase(limited_rig(device, 20), KERNEL, SMALL, 60.0))
        (power,) = of_power(samples)
        assert power.wrong == power.checked > 0
        assert power.value is None
        assert power.words
        if instead is does_nothing:
            assert {word.kind for word in power.words} == {"not written"}
        assert any(one.wrong for one in samples if one.what.endswith(".exact")) is (first == 0)
        assert outcomes_of(matmul_checks.repeatability, results_of(gpu, samples)) == [Outcome.FAIL]
        sample = engine_choice.trial(limited_rig(Unlike(gpu, instead), 20), KERNEL, SMALL, 0.01)
        assert (sample.wrong, sample.value) == (sample.checked, None)


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
    (finding,) = matmul_checks.self_test(results_of(gpu, [sample]), NONE)
    assert finding.outcome is Outcome.UNKNOWN
    assert f"a comparison kernel sees nothing on this device, or not what it should: {kernel}" in finding.says
    (sound,) = kernel_choice.choose(gpu, "bf16")[1]
    assert (sound.wrong, sound.notes["verdict"]) == (0, "right")


def test_a_comparison_that_went_blind_later_is_found_by_numpy(gpu: Gpu) -> None:
    """The first product, each 63rd, and the last: a wrong row, or damage to it that was done on purpose."""
    blind: Any = Blind(gpu, "bc_check_rows")
    device: Any = Unlike(blind, gives_zeros, 63)
    samples = list(exact_phase(limited_rig(device, 70), KERNEL, SMALL, 60.0))
    bad = {one.notes["product"]: {word.kind for word in one.words} for one in samples if one.wrong}
    assert list(bad)[:2] == [0, 63]
    assert bad.pop(0) == {NOT_SEEN}
    assert all(kinds == {"not seen by the comparing kernel"} for kinds in bad.values())
    (inputs,) = [one for one in exact_phase(limited_rig(Blind(gpu, "bc_check_matrix"), 3), KERNEL, SMALL, 60.0) if one.wrong]  # type: ignore[arg-type]
    assert (inputs.what, inputs.words[0].kind) == ("matmul.bf16.inputs", NOT_SEEN)
    with Exact(gpu, KERNEL, SMALL, 5) as product:
        product.multiply(0)
        gpu.finish()
        assert product.wrong_in_row(0, 9) == []
        gpu.write(product.c, np.array([0x4B000000], np.uint32), 4 * (9 * SMALL[1] + 100))
        (one, *_) = product.wrong_in_row(0, 9)  # the element, or the sums of the row
        assert one.index // SMALL[1] == 9


def test_nothing_compared_is_unknown(gpu: Gpu) -> None:
    empty = msgspec.structs.replace(results_of(gpu, []), full_size=True)
    for one in (matmul_checks.wrong_elements, matmul_checks.damaged_inputs, matmul_checks.repeatability,
                matmul_checks.self_test, matmul_rate_checks.rate_drop):
        assert outcomes_of(one, empty) == [Outcome.UNKNOWN]


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
        (finding,) = matmul_checks.self_test(results_of(gpu, samples), NONE)
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
        findings: list[Finding] = list(matmul_checks.self_test(results_of(gpu, samples), NONE))
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
