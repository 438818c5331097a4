"""Copies that put links under load: whatever one of them does wrong is found, and what is counted was compared."""

from __future__ import annotations

from typing import Any

import pytest

from boxcheck.engine.messages import Run
from boxcheck.engine.supervise import Crew, list_devices
from boxcheck.gpu import Gpu
from boxcheck.model import Outcome
from boxcheck.registry import STRESSES
from boxcheck.stress import Rig, Sample, Trouble
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.wake import TRIPS, wake
from tests.stress.transfer_doubles import outcomes, processors, results_of


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.stress.wake.TEST_BYTES", 64 << 10)


def _run(gpu: Any, seconds: float = 0.0) -> Sample:
    (sample,) = wake(Rig([gpu], seconds=seconds))
    return sample


def _after(gpu: Gpu, fault: str, after: int, seconds: float) -> tuple[bool, bool]:
    """Whether the fault happened, and whether it was found."""
    faulty = FaultyGpu(gpu, fault, after=after)  # type: ignore[arg-type]
    wrong = _run(faulty, seconds).wrong
    return faulty._seen["copy"] >= after, bool(wrong)


@pytest.mark.parametrize("fault", sorted({"flip-payload", "drop-write"} & set(STRESSES["wake"].faults)))
def test_each_fault_of_data_is_found_in_whichever_copy_it_is(fault: str) -> None:
    (gpu,) = processors(1)
    happened = 0
    for after in (*range(8), *range(8, 6 * TRIPS + 8, 7)):
        was, found = _after(gpu, fault, after, 0.0 if after < 8 else 0.05)
        happened += was
        assert found == was, after
    assert happened >= 8
    assert outcomes("wake.wrong-words", results_of("wake", [gpu], [_run(FaultyGpu(gpu, fault))])) == {Outcome.FAIL}  # type: ignore[arg-type]


def test_a_hang_is_told_by_the_supervisor() -> None:
    assert {"flip-payload", "drop-write", "hang"} == set(STRESSES["wake"].faults)
    environment = {"BOXCHECK_CPU_DEVICES": "1"}
    infos = list_devices("cpu", environment=environment)
    assert not isinstance(infos, Trouble)
    order = Run(module="wake", seconds=0.1, seed=1, options={"size": "test"}, inject="hang")
    with Crew([infos], environment=environment, silence_seconds=1.0) as crew:
        (part,) = crew.run(order)
    assert part.trouble is not None
    assert part.trouble.kind == "hang"
    assert not part.samples


def test_a_sound_device_passes_and_every_copy_that_is_counted_was_answered_for() -> None:
    (gpu,) = processors(1)
    moved: list[int] = []
    copy = gpu.copy

    def counted(target: Any, source: Any, size_bytes: int, **more: Any) -> None:
        moved.append(size_bytes)
        copy(target, source, size_bytes, **more)

    gpu.copy = counted  # type: ignore[method-assign]
    sample = _run(gpu, 0.05)
    assert not sample.wrong
    assert sample.checked
    assert sum(sample.moved.values()) == sum(moved) - 2 * (64 << 10)  # but for the poison
    assert len(set(sample.moved.values())) == 1
    assert outcomes("wake.wrong-words", results_of("wake", [gpu], [sample])) == {Outcome.PASS}


def test_wrong_words_are_named_and_counted_once() -> None:
    (gpu,) = processors(1)
    sample = _run(FaultyGpu(gpu, "flip-payload", after=4), 0.1)
    assert sample.wrong == 1
    (word,) = sample.words
    assert word.flipped.bit_count() == 1
    assert word.where.startswith("payload ")
    assert "not written" in {word.kind for word in _run(FaultyGpu(gpu, "drop-write", after=4)).words}
