"""Traffic that loads links, one way or both, in large copies and small packets: all of it verified and told in time."""

from __future__ import annotations

from typing import Any

import pytest

from boxcheck.stress import Rig, Sample
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.link_traffic import SMALL_BYTES, Mixing, cut
from boxcheck.stress.wake import wake
from tests.stress.transfer_doubles import processors

WAYS = {"both": {"host>cpu:0", "cpu:0>host"}, "to": {"host>cpu:0"}, "from": {"cpu:0>host"}}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.stress.link_traffic.TEST_BYTES", 256 << 10)
    monkeypatch.setattr("boxcheck.stress.copy_ends.TEST_BYTES", 256 << 10)
    monkeypatch.setattr("boxcheck.stress.link_traffic.SAMPLE_SECONDS", 0.05)
    monkeypatch.setattr("boxcheck.stress.link_traffic.PIECE_SECONDS", 0.02)


def traffic(gpu: Any, way: str, seconds: float = 0.2) -> list[Sample]:
    """Samples that tell of traffic."""
    options = {"way": way, "pieces": "mixed", "size": "test"}
    return [one for one in wake(Rig([gpu], seconds=seconds, options=options)) if one.moved]


@pytest.mark.parametrize("size_bytes", [64, 255, 256, 4096, 64 << 10, (64 << 20) - 64])
def test_the_pieces_of_a_copy_are_all_of_it_and_come_in_many_sizes(size_bytes: int) -> None:
    pieces = list(cut(size_bytes))
    ends = [0, *(at + size for at, size in pieces)]
    assert [at for at, _ in pieces] == ends[:-1]
    assert ends[-1] == size_bytes
    assert all(size > 0 for _, size in pieces)
    assert all(at % 64 == 0 for at, _ in pieces) or size_bytes % 64
    if size_bytes > 1 << 20:
        assert set(SMALL_BYTES) <= {size for _, size in pieces}
        assert max(size for _, size in pieces) > size_bytes * 0.99


@pytest.mark.parametrize("way", WAYS)
def test_what_is_told_is_what_was_copied_each_way_and_no_more(way: str) -> None:
    (gpu,) = processors(1)
    copied: dict[bool, int] = {True: 0, False: 0}
    copy = gpu.copy
    buffers: list[Any] = []
    host_buffer = gpu.host_buffer

    def keep(*arguments: Any, **more: Any) -> Any:
        buffers.append(host_buffer(*arguments, **more))
        return buffers[-1]

    def counted(target: Any, source: Any, size_bytes: int, **more: Any) -> None:
        copied[any(source is one for one in buffers)] += size_bytes
        copy(target, source, size_bytes, **more)

    gpu.copy, gpu.host_buffer = counted, keep  # type: ignore[method-assign]
    samples = traffic(gpu, way)
    assert len(samples) > 1
    assert {name for one in samples for name in one.moved} == WAYS[way]
    poison = 2 * (256 << 10) if way == "both" else 0
    told = {name: sum(one.moved.get(name, 0) for one in samples) for name in WAYS["both"]}
    assert told == {"host>cpu:0": copied[True] - poison, "cpu:0>host": copied[False]}
    assert all(one.checked and not one.wrong and one.seconds > 0 for one in samples)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["flip-payload", "drop-write"])
def test_a_copy_that_brings_something_else_is_found(way: str, fault: Any) -> None:
    for after in (1, 2, 5, 12):
        (gpu,) = processors(1)
        samples = traffic(FaultyGpu(gpu, fault, after=after), way)
        assert sum(one.wrong for one in samples), after


def test_it_stops_when_it_is_told_to_and_keeps_what_it_compared() -> None:
    for way in WAYS:
        (gpu,) = processors(1)
        turns: list[int] = []

        def stopping(turns: list[int] = turns) -> bool:
            turns.append(1)
            return len(turns) > 4

        rig = Rig([gpu], seconds=60.0, options={"way": way, "size": "test"}, stopping=stopping)
        samples = [one for one in wake(rig) if one.moved]
        assert samples
        assert all(one.checked for one in samples)


def test_without_a_way_it_is_what_doctor_does() -> None:
    (gpu,) = processors(1)
    (sample,) = wake(Rig([gpu], seconds=0.0, options={"size": "test"}))
    assert sample.what == "wake.copies"


def test_a_device_that_mixes_is_the_device_in_all_else() -> None:
    (gpu,) = processors(1)
    mixing: Any = Mixing(gpu)
    assert mixing.info is gpu.info
    assert mixing.real is gpu
    assert Mixing(FaultyGpu(gpu, "flip-payload", after=1)).real is gpu  # type: ignore[arg-type]
