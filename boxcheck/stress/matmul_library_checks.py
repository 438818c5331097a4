"""Judgements on the vendor's library as it multiplies beside boxcheck's kernels: right, and as fast as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.model import Finding, Limit, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, passed, skipped, unknown
from boxcheck.stress import SLOW_LIBRARY_PERCENT, Sample, StressResults
from boxcheck.stress.judging import in_words, judge_value, per_gpu, subject_of

SLOW = Limit("matmul.library_percent", "ge", should=SLOW_LIBRARY_PERCENT, unit="%", source=(
    "computed: libraries reach 90 % and more of what a kernel can; a tenth is another path than the tensor cores. Seen "
    "on Strix Halo: 3.9 to 6.6 TFLOPS of fp16 by hipBLAS where hipBLASLt gives 24 to 32 (ROCm issue 4566)"))
SLOW_HELP = {
    "cuda": (
        "compare versions: the library is named above, `nvidia-smi` shows the driver's CUDA; install the library of "
        "that CUDA", "unset NVIDIA_TF32_OVERRIDE and what begins with CUBLAS_ in the environment, and repeat"),
    "hip": (
        "repeat with ROCBLAS_USE_HIPBLASLT=1 in the environment: rocBLAS then asks hipBLASLt first, which is tuned for "
        "GPUs that rocBLAS itself is not, Strix Halo among them",
        "update ROCm, HIP runtime and rocBLAS together; unset HSA_OVERRIDE_GFX_VERSION"),
}
REINSTALL = ("reinstall the library, of the version that goes with the driver", "--option engine=own leaves it out")


@check("matmul.library", reads=[StressResults], stress="matmul")
def library(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The vendor's library computes wrong products on this GPU, or cannot be used there.

    Why it matters: PyTorch and all that is built on it multiply by this library. What it computes wrongly, while own
    kernels are right on the same data, is a fault of software.
    What to do: install library and driver of one release, and repeat; then report it to the vendor.
    Not a fault: of the GPU, unless own kernels are wrong as well (matmul.wrong-elements); a machine without a library.
    By hand: boxcheck stress run matmul --option engine=library
    """
    for info, samples in per_gpu(results, "matmul"):
        subject = subject_of(results, info.key)
        proofs = [one for one in samples if one.what.endswith(".library")]
        states = _states(samples)
        wrong = [one for one in proofs if one.wrong]
        if wrong:
            yield _wrong(subject, samples, proofs, wrong)
        elif not info.is_gpu or not results.full_size:
            yield skipped(subject, "no library is looked for beside small products")
        elif not any(one.what.endswith(".power") for one in samples):
            yield unknown(subject, "nothing multiplied at full power, so no library was tried")
        elif not states:
            yield skipped(subject, "no library was looked for")
        elif bad := {element: says for element, (state, says) in states.items() if state in ("unusable", "unsteady")}:
            yield unknown(
                subject, f"not used for {', '.join(bad)}: {next(iter(bad.values()))}", help=REINSTALL)
        elif proofs:
            yield passed(subject, f"{_engine(proofs[0])} is right for {_elements(proofs)}")
        else:
            yield skipped(subject, next(iter(states.values()))[1])


def _states(samples: Sequence[Sample]) -> dict[str, tuple[str, str]]:
    """By element: what became of the library there, and its words."""
    return {
        _element(one): (str(one.notes["library_state"]), str(one.notes.get("library", "")))
        for one in samples if one.what.endswith(".power") and "library_state" in one.notes}


def _element(sample: Sample) -> str:
    return sample.what.split(".")[1]


def _elements(samples: Sequence[Sample]) -> str:
    return ", ".join(dict.fromkeys(map(_element, samples)))


def _engine(sample: Sample) -> str:
    return str(sample.notes.get("engine", "the library"))


def _wrong(
    subject: Subject, samples: Sequence[Sample], proofs: Sequence[Sample], wrong: Sequence[Sample]
) -> Finding:
    """Software, where another product of the library is right, and boxcheck's kernels are. Else nobody knows."""
    engine, names = _engine(wrong[0]), _elements(wrong)
    notes = tuple(in_words(word) for one in wrong for word in one.words)[:3]
    bad = [one for one in samples if one.wrong and one.what.endswith((".self-test", ".exact"))]
    if bad:
        return unknown(subject, f"{engine} is wrong for {names}, and so are own kernels", notes=notes)
    if len(wrong) == len(proofs):
        says = f"no product of {engine} is right: the library is broken, or is called wrongly"
        return unknown(subject, says, notes=notes, help=REINSTALL)
    return failed(
        subject, f"{engine} computes wrong products of {names}; own kernels are right", notes=notes,
        cause=f"library:{engine}", title=f"{engine} computes wrong products", where=f"{subject} > {engine}",
        help=REINSTALL, not_=("the GPU: own kernels are right on the same data",))


@check("matmul.library-slow", reads=[StressResults], stress="matmul")
def library_slow(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The vendor's library multiplies at less than a tenth of what this GPU can do.

    Why it matters: the owner's programs multiply by this library, so they will be slow on a GPU that is not. Mostly it
    takes another path than the matrix units: a version that does not go with the driver, or that does not know the GPU.
    What to do: install library and driver of one release; on AMD try ROCBLAS_USE_HIPBLASLT=1.
    Not a fault: of the GPU, whose rate own kernels show. A library that is slow only with results of fp32 is timed with
    those of the inputs' type as well, which most programs ask for.
    By hand: boxcheck stress run matmul --option elements=bf16,fp16
    """
    for info, samples in per_gpu(results, "matmul"):
        subject = subject_of(results, info.key)
        trials = [one for one in samples if one.what.endswith(".trial") and one.value is not None and not one.wrong]
        pairs = {element: pair for element in map(_element, trials) if (pair := _rates(trials, element))}
        if not pairs:
            yield skipped(subject, "no library was timed beside own kernels")
            continue
        percent, element = min((100 * theirs / own, element) for element, (own, theirs) in pairs.items())
        own, theirs = pairs[element]
        engine = next(_engine(one) for one in trials if _engine(one) != "own")
        says = f"{element}: {theirs:.4g} TFLOPS by {engine}, {own:.4g} by the best own kernel"
        found = judge_value(
            results, info.key, percent, SLOW, says, SLOW_HELP.get(info.backend, REINSTALL))
        yield found if found.cause is None else _as_software(found, engine)


def _rates(trials: Sequence[Sample], element: str) -> tuple[float, float] | None:
    """The best rate of boxcheck's kernels and the best of the library; None where one of them was not timed."""
    rates: dict[bool, float] = {}
    for one in trials:
        if _element(one) == element and one.value:
            own = _engine(one) == "own"
            rates[own] = max(rates.get(own, 0.0), one.value)
    return (rates[True], rates[False]) if len(rates) == 2 else None


def _as_software(found: Finding, engine: str) -> Finding:
    """The same finding with the library as its cause: the GPU is as fast as its kernels show."""
    return msgspec.structs.replace(
        found, cause=f"library:{engine}", title=f"{engine} is slow on this GPU", where=f"{found.where} > {engine}",
        not_=("the GPU: own kernels are fast on the same data",))
