"""The vendor's library at full power: proven, chosen by speed; and whatever it does, survived."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.gpu import GpuError, vendor_cublas
from boxcheck.gpu.device import DriverGpu
from boxcheck.gpu.vendor_blas import LibraryProduct
from boxcheck.kernels.matrix import MatrixKernel
from boxcheck.model import Limit, Outcome
from boxcheck.profile import Profile
from boxcheck.stress import (
    Rig,
    Sample,
    StressResults,
    engine_choice,
    kernel_choice,
    library_proof,
    matmul_checks,
    matmul_library_checks,
    matmul_power,
    matmul_rate_checks,
)
from boxcheck.stress import matmul as module
from boxcheck.stress.faults import FaultyGpu
from tests.gpu.devices import opened
from tests.gpu.mock_blas.build import Mock, has_compiler
from tests.gpu.mock_blas.host_gpu import host_gpu
from tests.gpu.paper_blas import KERNEL, NONE, OWN, SHAPE, paper_cublas

pytestmark = pytest.mark.skipif(not has_compiler(), reason="no gcc to build libraries of paper with")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def cublas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    return paper_cublas(tmp_path, monkeypatch)


# Beside boxcheck's own kernels.


class Box:
    """A device, a rig over it at full size, and what a run of the module gave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gpu: DriverGpu) -> None:
        self.gpu = gpu
        self.kernels: tuple[MatrixKernel, ...] = (OWN, KERNEL)
        monkeypatch.setattr(module, "FULL_SHAPES", (SHAPE,))
        monkeypatch.setattr(matmul_power, "BATCH_SECONDS", 0.03)
        monkeypatch.setattr(engine_choice, "TRIAL_SECONDS", 0.03)
        monkeypatch.setattr(kernel_choice, "candidates", lambda arch, element: self.kernels)
        self.samples: list[Sample] = []
        self.worked: list[str | None] = []
        """What said that it works from now on."""

    def run(self, fault: Any = None, seconds: float = 0.1, **options: str) -> Box:
        device: Any = FaultyGpu(self.gpu, fault) if fault else self.gpu
        rig = Rig([device], seconds=seconds, seed=5, options={"elements": "bf16", **options}, working=self.worked.append)
        self.samples = list(module.matmul(rig))
        return self

    def own_takes(self, seconds: float) -> Box:
        self.gpu.calls.pauses[OWN.source.name] = seconds  # type: ignore[attr-defined]
        return self

    @property
    def notes(self) -> Any:
        """Of the last power sample."""
        return [one.notes for one in self.samples if one.what.endswith(".power")][-1]

    def results(self) -> StressResults:
        return StressResults(
            module="matmul", gpus=(self.gpu.info,), samples=tuple(self.samples), troubles=(), ended=(self.gpu.info.key,))

    def judged(self, check: Any, want: Profile = NONE) -> Any:
        (finding,) = check(self.results(), want)
        return finding


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    return Box(monkeypatch, host_gpu())


def test_a_faster_library_multiplies_at_full_power_and_is_named(cublas: Mock, box: Box) -> None:
    box.own_takes(0.02).run()
    assert (box.notes["engine"], box.notes["kernel"], box.notes["own_kernel"]) == ("cublas 13.1.0", "cublas-bf16", OWN.name)
    assert box.notes["library_tflops"] > box.notes["own_tflops"] > 0
    assert sum(one.wrong for one in box.samples) == 0
    assert box.judged(matmul_library_checks.library).outcome is Outcome.PASS
    assert box.judged(matmul_library_checks.library_slow).outcome is Outcome.PASS
    assert box.judged(matmul_checks.repeatability).outcome is Outcome.PASS
    bound = Limit("matmul.bf16_tflops", "ge", must=1e-9, unit="TFLOPS", source="test")
    rate = box.judged(matmul_rate_checks.rate, msgspec.structs.replace(NONE, limits={bound.name: bound}))
    assert "by cublas 13.1.0 (" in rate.says
    assert rate.says.count(OWN.name) == 1
    assert (cublas.count("misuses"), cublas.count("handles")) == (0, 0)


def test_a_slower_library_is_timed_and_left_alone(cublas: Mock, box: Box) -> None:
    cublas.script(sleep_us=20_000)
    box.own_takes(0.004).run()
    assert (box.notes["engine"], box.notes["kernel"], box.notes["library"]) == ("own", OWN.name, "cublas 13.1.0")
    assert box.notes["library_tflops"] < box.notes["own_tflops"]
    assert box.judged(matmul_library_checks.library_slow).outcome is Outcome.PASS
    exact = [one for one in box.samples if one.what.endswith(".exact")]
    assert {one.notes["kernel"] for one in exact} == {OWN.name}


def test_a_library_at_a_tenth_of_the_kernels_speed_is_a_finding_of_its_own(cublas: Mock, box: Box) -> None:
    cublas.script(sleep_us=60_000, narrow_us=60_000)
    finding = box.run().judged(matmul_library_checks.library_slow)
    assert finding.outcome is Outcome.MARGINAL
    assert finding.cause == "library:cublas 13.1.0"
    assert box.notes["engine"] == "own"
    assert box.judged(matmul_library_checks.library).outcome is Outcome.PASS


def test_a_library_that_is_slow_with_wide_results_alone_is_none(cublas: Mock, box: Box) -> None:
    cublas.script(sleep_us=400_000)  # a tenth of it is far beyond what other work adds to our kernel
    box.own_takes(0.003).run()
    assert [one.notes["kernel"] for one in box.samples if one.what.endswith(".trial")][-1] == "cublas-bf16-narrow"
    assert box.judged(matmul_library_checks.library_slow).outcome is Outcome.PASS


def _trial(rate: float, engine: str, element: str = "bf16", **changes: Any) -> Sample:
    return Sample(
        what=f"matmul.{element}.trial", gpu="cuda:0", seconds=0.2, value=rate, unit="TFLOPS", checked=1, of="digests",
        wrong=0, notes={"kernel": engine, "engine": engine}, **changes)


@pytest.mark.parametrize(("rate", "outcome"), [(9.99, Outcome.MARGINAL), (10.0, Outcome.PASS)])
def test_just_a_tenth_is_not_below_a_tenth(box: Box, rate: float, outcome: Outcome) -> None:
    box.samples = [_trial(100.0, "own"), _trial(80.0, "own"), _trial(rate, "cublas 13.1.0"), _trial(400.0, "own", "int8"),
                   _trial(500.0, "cublas 13.1.0", "int8"), _trial(1.0, "cublas 13.1.0", "tf32")]
    finding = box.judged(matmul_library_checks.library_slow)
    assert finding.outcome is outcome
    assert finding.says.startswith("bf16: ")
    assert bool(finding.help) is (outcome is Outcome.MARGINAL)


def test_a_library_that_is_wrong_at_full_size_is_a_fault_of_software(cublas: Mock, box: Box) -> None:
    cublas.script(wrong=2)
    finding = box.run().judged(matmul_library_checks.library)
    assert finding.outcome is Outcome.FAIL
    assert finding.cause == "library:cublas 13.1.0"
    assert "row 5, column 3" in finding.notes[0]
    assert (box.notes["engine"], box.notes["library_state"]) == ("own", "wrong")
    for check in (matmul_checks.wrong_elements, matmul_checks.repeatability, matmul_checks.self_test):
        assert box.judged(check).outcome is Outcome.PASS


def test_a_library_is_verified_on_every_shape_that_it_would_multiply(
        cublas: Mock, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL_SHAPES", ((64, 128, 192), SHAPE))
    cublas.script(wrong=2)
    box.own_takes(0.02).run()
    proofs = [(one.notes["shape"], one.wrong) for one in box.samples if one.what.endswith(".library")]
    assert proofs == [("128x256x256", 0), ("64x128x192", 0), ("64x128x320", 1)]
    assert box.notes["engine"] == "own"


def test_a_library_of_which_no_product_is_right_may_be_called_wrongly(cublas: Mock, box: Box) -> None:
    cublas.script(wrong=1)
    finding = box.run().judged(matmul_library_checks.library)
    assert finding.outcome is Outcome.UNKNOWN
    assert "or is called wrongly" in finding.says
    assert box.judged(matmul_checks.self_test).outcome is Outcome.PASS
    assert box.judged(matmul_library_checks.library_slow).outcome is Outcome.SKIP


def test_where_the_kernels_are_wrong_too_the_library_is_not_to_blame(cublas: Mock, box: Box) -> None:
    cublas.script(wrong=2)
    box.run()
    bad = next(one for one in box.samples if one.what.endswith(".exact"))
    box.samples.append(msgspec.structs.replace(bad, wrong=1))
    assert box.judged(matmul_library_checks.library).outcome is Outcome.UNKNOWN


def test_a_product_of_full_size_that_is_right_when_repeated_was_the_gpus_fault(cublas: Mock, box: Box) -> None:
    cublas.script(once=1)
    box.run()
    assert box.notes["library_state"] == "unsteady"
    assert box.judged(matmul_checks.wrong_elements).outcome is Outcome.FAIL
    assert box.judged(matmul_library_checks.library).outcome is Outcome.UNKNOWN


def test_a_library_whose_bits_change_is_left_out_and_the_gpu_not_blamed(cublas: Mock, box: Box) -> None:
    cublas.script(unsteady=3)
    finding = box.own_takes(0.02).run().judged(matmul_library_checks.library)
    assert finding.outcome is Outcome.UNKNOWN
    assert "other bits from one product to the next" in finding.says
    assert box.notes["engine"] == "own"
    assert box.judged(matmul_checks.repeatability).outcome is Outcome.PASS


def test_bits_that_change_while_a_chosen_library_multiplies_are_the_gpus(
        cublas: Mock, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    real = matmul_power.power_phase

    def later(*given: Any) -> Iterator[Sample]:
        cublas.script(unsteady=cublas.count("products") + 2)
        return real(*given)

    monkeypatch.setattr(module, "power_phase", later)
    finding = box.own_takes(0.02).run().judged(matmul_checks.repeatability)
    assert box.notes["engine"] == "cublas 13.1.0"
    assert finding.outcome is Outcome.FAIL


@pytest.mark.parametrize(("status", "state", "outcome"), [
    (3, "unusable", Outcome.UNKNOWN), (14, "unusable", Outcome.UNKNOWN), (15, "unsupported", Outcome.SKIP)])
def test_a_library_that_refuses_is_left_out(cublas: Mock, box: Box, status: int, state: str, outcome: Outcome) -> None:
    cublas.script(status=status)
    finding = box.run().judged(matmul_library_checks.library)
    assert (box.notes["engine"], box.notes["library_state"]) == ("own", state)
    assert finding.outcome is outcome
    assert f"status {status}" in finding.says


def test_a_machine_without_the_library_is_none_the_worse(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_cublas, "paths", lambda driver: iter([]))
    finding = box.run().judged(matmul_library_checks.library)
    assert finding.outcome is Outcome.SKIP
    assert "cuBLAS was not found" in finding.says
    assert box.judged(matmul_library_checks.library_slow).outcome is Outcome.SKIP
    with pytest.raises(GpuError, match="engine=library: cuBLAS was not found"):
        box.run(engine="library")


@pytest.mark.parametrize("options", [{"engine": "own"}, {"kernel": OWN.name}, {"size": "test"}, {"phase": "exact"}])
def test_a_library_that_was_not_asked_for_is_not_looked_for(
        box: Box, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]) -> None:
    monkeypatch.setattr(library_proof, "open_library", lambda gpu: pytest.fail("it was looked for"))
    monkeypatch.setattr(kernel_choice, "kernel_names", lambda: {OWN.name: OWN.element})
    box.run(**options)
    assert not [one for one in box.samples if one.what.endswith((".library", ".trial"))]


def test_a_fault_is_put_into_kernels_and_found_there(cublas: Mock, box: Box) -> None:
    box.run(fault="flip-output", seconds=1.0)  # it is put into the third product
    assert cublas.count("products") == 0
    assert box.judged(matmul_checks.wrong_elements).outcome is Outcome.FAIL
    with pytest.raises(GpuError, match="no injected fault"):
        box.run(fault="flip-output", engine="library")


def test_a_library_that_is_asked_for_multiplies_though_it_is_slower(cublas: Mock, box: Box) -> None:
    cublas.script(sleep_us=10_000)
    assert box.run(engine="library").notes["engine"] == "cublas 13.1.0"
    with pytest.raises(GpuError, match="engine=both is neither own nor library"):
        box.run(engine="both")


def test_a_processor_is_never_asked_for_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_proof, "open_library", lambda gpu: pytest.fail("it was looked for"))
    for gpu in opened("cpu"):
        samples = list(module.matmul(Rig([gpu], seconds=0.1, options={"elements": "bf16"})))
        assert {one.notes["engine"] for one in samples if one.what.endswith(".power")} == {"own"}
        results = StressResults(
            module="matmul", gpus=(gpu.info,), samples=tuple(samples), troubles=(), ended=(gpu.info.key,), full_size=False)
        for check in (matmul_library_checks.library, matmul_library_checks.library_slow):
            assert [one.outcome for one in check(results, NONE)] == [Outcome.SKIP]


def test_what_breaks_the_gpu_while_a_library_multiplies_names_it(
        cublas: Mock, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(self: LibraryProduct, *rest: Any) -> None:
        box.gpu.calls.fails = GpuError("lost", "the GPU fell off the bus")  # type: ignore[attr-defined]

    monkeypatch.setattr(LibraryProduct, "multiply", breaks)
    with pytest.raises(GpuError, match="off the bus, while cublas") as raised:
        box.run()
    assert raised.value.says.endswith("while cublas 13.1.0 multiplied")
    assert (raised.value.kind, raised.value.help) == ("lost", "--option engine=own leaves the library out")


def test_the_supervisor_is_told_while_the_library_works_and_when_it_has(
        cublas: Mock, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """What crashes meanwhile is not put down to the GPU, and all that comes after is."""
    calls: list[str | None] = []
    real, own = LibraryProduct.multiply, DriverGpu.launch

    def multiply(self: LibraryProduct, *given: Any) -> None:
        calls.append(box.worked[-1] if box.worked else None)
        real(self, *given)

    def launch(self: DriverGpu, program: Any, *given: Any, **named: Any) -> None:
        if program.source.name == OWN.source.name:
            calls.append("own" if box.worked and box.worked[-1] is None else "blamed on the library")
        own(self, program, *given, **named)

    monkeypatch.setattr(LibraryProduct, "multiply", multiply)
    monkeypatch.setattr(DriverGpu, "launch", launch)
    box.own_takes(0.02).run()
    assert box.notes["engine"] == "cublas 13.1.0"
    assert set(calls) == {"cublas 13.1.0", "own"}
    assert box.worked[-1] is None


CRASH = """
import sys
from pathlib import Path
from boxcheck.gpu import vendor_cublas
from boxcheck.gpu.vendor_blas import LibraryProduct, open_library
from boxcheck.stress.kernel_choice import prove
from tests.gpu.mock_blas.build import Mock
from tests.gpu.mock_blas.host_gpu import host_gpu

vendor_cublas.paths = lambda driver: iter([sys.argv[1]])
Mock(Path(sys.argv[1])).script(status=-1)
gpu = host_gpu()
prove(gpu, LibraryProduct(open_library(gpu), "bf16"))
"""


def test_a_library_that_crashes_takes_its_process_alone_and_was_named_last(
        cublas: Mock, box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(cublas.path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGABRT
    trying = f"trying cublas 13.1.0 ({cublas.path}); --option engine=own leaves it out"
    assert done.stderr.splitlines()[-1] == trying
    box.run()  # where it does not crash, the last words are no longer these
    assert capsys.readouterr().err.splitlines() == [trying, "cublas 13.1.0 was right on a small product of bf16"]


def test_of_several_kernels_the_fastest_is_used_and_verified_exactly(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_cublas, "paths", lambda driver: iter([]))
    better = msgspec.structs.replace(
        OWN, name="tuned-better", source=msgspec.structs.replace(OWN.source, name="better.cu"))
    box.kernels = (OWN, better, KERNEL)
    box.own_takes(0.01).run()
    assert (box.notes["kernel"], box.notes["own_kernel"]) == ("tuned-better", "tuned-better")
    assert {one.notes["kernel"] for one in box.samples if one.what.endswith(".exact")} == {"tuned-better"}
    assert [one.notes["kernel"] for one in box.samples if one.what.endswith(".trial")] == [OWN.name, "tuned-better"]


def test_a_run_that_is_stopped_while_it_chooses_ends(cublas: Mock, box: Box) -> None:
    seen: list[str] = []
    rig = Rig([box.gpu], seconds=0.1, options={"elements": "bf16"}, beat=lambda text, done: seen.append(text),
              stopping=lambda: f"bf16: timing {OWN.name}" in seen)
    samples = list(module.matmul(rig))
    assert "bf16: timing cublas-bf16" not in seen
    assert not [one for one in samples if one.what.endswith((".exact", ".power"))]


def test_a_candidate_must_be_clearly_faster_than_one_before_it() -> None:
    assert engine_choice.fastest([100.0, 102.9]) == 0
    assert engine_choice.fastest([100.0, 103.1]) == 1
    assert engine_choice.fastest([0.0, 50.0, 51.0]) == 1
