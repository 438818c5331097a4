"""Device memory: every fault that is put in is found and placed, and nothing is found where nothing is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.engine.messages import Run
from boxcheck.engine.supervise import Crew, list_devices
from boxcheck.gpu import Gpu, GpuError
from boxcheck.kernels import reference
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.registry import STRESSES
from boxcheck.stress import Rig, Sample, StressResults, Trouble, judging, vram_checks, vram_passes
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.vram import vram
from boxcheck.stress.vram_patterns import ADDRESS, WORD, Pattern
from boxcheck.stress.vram_pulse import Pulse
from boxcheck.stress.vram_region import Region
from boxcheck.stress.vram_room import BLOCK_SIZES, GIB, MIB, own_room
from tests.gpu.devices import opened
from tests.stress.vram_doubles import AsGpu, Blind, IgnoresAddressBit, Machine, ReadsWrong, Stuck, meminfo

NONE = Profile(name="none", revision=1, title="no limits")
SMALL = {"megabytes": "1", "rest": "0.01"}
BLOCK = MIB // 4
"""A region of 1 MiB has four blocks of this size."""
FAMILIES = {"vram.address", "vram.retention", "vram.inversion", "vram.random", "vram.walking"}


@pytest.fixture(scope="module", params=["opencl", "cpu"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    yield from opened(request.param)


@pytest.fixture(scope="module")
def cpu() -> Iterator[Gpu]:
    yield from opened("cpu")


def _run(gpu: Any, seconds: float = 0.05, options: dict[str, str] | None = None) -> list[Sample]:
    return list(vram(Rig([gpu], seconds=seconds, seed=5, options={**SMALL, **(options or {})})))


def _failing(gpu: Any, count: int = 1) -> list[Sample]:
    """Samples of a run until so many passes have failed, however fast this machine is."""
    samples: list[Sample] = []
    for sample in vram(Rig([gpu], seconds=30.0, seed=5, options=SMALL)):
        samples.append(sample)
        if sum(1 for one in samples if one.wrong and one.what in FAMILIES) == count:
            return samples
    raise AssertionError(f"not {count} passes failed")


def _results(gpu: Any, samples: list[Sample], **changes: Any) -> StressResults:
    fields: dict[str, Any] = {
        "module": "vram", "gpus": (gpu.info,), "samples": tuple(samples), "troubles": (), "ended": (gpu.info.key,),
        "full_size": False, **changes}
    return StressResults(**fields)


def _outcome(check: Any, results: StressResults) -> Outcome:
    (finding,) = check(results, NONE)
    outcome: Outcome = finding.outcome
    return outcome


def _wrong(samples: list[Sample]) -> list[Sample]:
    return [one for one in samples if one.wrong]


def test_a_thousand_block_passes_find_nothing(gpu: Gpu) -> None:
    samples, blocks = [], 0
    for sample in vram(Rig([gpu], seconds=20.0, seed=5, options=SMALL)):
        samples.append(sample)
        blocks += int(sample.notes.get("passes", 0)) * int(sample.notes["blocks"])
        if blocks >= 1000:
            break
    assert blocks >= 1000
    assert not _wrong(samples)
    assert _outcome(vram_checks.wrong_words, _results(gpu, samples)) is Outcome.PASS
    words = sum(one.checked for one in samples if one.what in FAMILIES)
    assert words >= 1000 * BLOCK // 4


def test_every_family_of_patterns_is_compared_and_tells_how_much_memory_is_held(gpu: Gpu) -> None:
    beats: list[str] = []
    rig = Rig([gpu], seconds=0.6, seed=5, options=SMALL, beat=lambda text, done: beats.append(text))
    samples = list(vram(rig))
    assert {one.what for one in samples} == {*FAMILIES, "vram.self-test", "vram.copy", "vram.copy.engine"}
    for one in samples:
        assert one.checked
        assert not one.wrong
        assert one.notes["held_bytes"] == MIB
    assert "read+write" in {one.notes["accounting"] for one in samples if one.what == "vram.inversion"}
    assert all(one.value for one in samples if one.what != "vram.self-test")
    assert beats


@pytest.mark.parametrize("after", [0, 2, 3, 4, 50, 77])
def test_a_flipped_bit_is_found_where_it_is(gpu: Gpu, after: int) -> None:
    samples = _failing(FaultyGpu(gpu, "flip-memory", after=after, seed=9))
    (bad,) = _wrong(samples)
    assert bad.wrong == 1
    (word,) = bad.words
    random = np.random.default_rng(9)  # what FaultyGpu draws: the word of the block that was filled last, and the bit
    at, bit = int(random.integers(BLOCK // 4)), int(random.integers(32))
    block = after % 4
    assert word.index == block * BLOCK // 4 + at
    assert word.flipped == 1 << bit
    assert word.again == word.found
    assert word.where.startswith(f"block {block + 1} of 4, byte offset 0x{4 * at:x}")
    assert word.kind == f"one bit ({bit})"
    (finding,) = vram_checks.wrong_words(_results(gpu, samples), NONE)
    assert finding.outcome is Outcome.FAIL
    assert "one bit of one word; right in all 4 tries when it was written anew" in finding.says
    assert word.where in finding.notes[0]


@pytest.mark.parametrize("after", [0, 2, 5, 50])
def test_a_write_that_was_left_out_is_found_in_the_whole_block(gpu: Gpu, after: int) -> None:
    samples = [one for one in _wrong(_failing(FaultyGpu(gpu, "drop-write", after=after))) if one.what in FAMILIES]
    assert samples[0].wrong == BLOCK // 4
    assert samples[0].notes["fault"] == "lost-write"
    assert {word.kind for word in samples[0].words} == {"old value"}
    assert {word.index // (BLOCK // 4) for word in samples[0].words} == {after % 4}


def test_an_address_bit_that_is_ignored_is_named(cpu: Gpu) -> None:
    bit = 9  # of the granule: 8 KiB apart
    samples = _wrong([one for one in _failing(IgnoresAddressBit(cpu, bit), 8) if one.what in FAMILIES])
    first = samples[0]
    assert first.what == "vram.address"
    assert first.wrong == MIB // 4 // 2
    assert first.notes["fault"] == "address-line"
    for word in first.words:
        assert word.kind == f"meant for word {word.index ^ 4 << bit}"
    (finding,) = vram_checks.wrong_words(_results(cpu, samples), NONE)
    assert f"bit {bit + 4} of the place in the region" in finding.says
    assert "8 KiB away" in finding.says
    # In each later pass the same line is named, whatever its pattern.
    assert {one.notes["fault"] for one in samples} == {"address-line"}


def test_a_stuck_data_line_is_named(cpu: Gpu) -> None:
    samples = _wrong(_failing(Stuck(cpu, 1 << 17, at=slice(0, 20000, 3), block_bytes=BLOCK), 8))
    assert samples
    for one in samples:
        assert one.notes["fault"] == "data-line"
        assert "bit 17 of the data lines, always 1" in str(one.notes["looks_like"])
        assert {word.kind for word in one.words} == {"data line 17"}
        assert {word.index // (BLOCK // 4) for word in one.words} == {0}


def test_a_dead_cell_is_told_from_one_that_was_disturbed_once(cpu: Gpu) -> None:
    samples = _wrong(_failing(Stuck(cpu, 1 << 4, at=slice(777, 778), high=False, block_bytes=BLOCK), 6))
    assert {word.index for one in samples for word in one.words} == {777}
    assert samples[-1].notes["fault"] == "cell"
    assert "bad cells" in str(samples[-1].notes["looks_like"])
    assert "wrong again in" in str(samples[0].notes["looks_like"])


def test_a_word_that_is_only_read_wrong_is_told_apart(cpu: Gpu) -> None:
    samples = _wrong(_failing(ReadsWrong(cpu, 30, [5, 600]), 3))
    assert samples
    for one in samples:
        assert one.wrong == 2
        assert one.notes["fault"] == "read"
        assert {word.kind for word in one.words} == {"read fault"}
        assert all(word.again == word.expected for word in one.words)


def test_a_range_that_reads_as_zeros_is_called_one(cpu: Gpu) -> None:
    samples = _wrong(_failing(Stuck(cpu, 0xFFFFFFFF, at=slice(1024, 1056), high=False, block_bytes=BLOCK)))
    ranges = [one for one in samples if one.what == "vram.address"]
    assert ranges[0].wrong == 32
    assert "up to 128 bytes, all zeros" in str(ranges[0].notes["looks_like"])


def test_what_was_found_is_told_though_the_gpu_is_lost_while_it_is_looked_into(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*rest: Any) -> Any:
        raise GpuError("lost", "fell off the bus")

    monkeypatch.setattr(vram_passes, "look_again", lost)
    samples: list[Sample] = []
    with pytest.raises(GpuError, match="fell off the bus"):
        samples.extend(vram(Rig([FaultyGpu(gpu, "flip-memory")], seconds=30.0, seed=5, options=SMALL)))
    assert [one.wrong for one in _wrong(samples)] == [1]
    gpu.release()


def test_a_device_that_compares_nothing_does_not_pass(gpu: Gpu) -> None:
    samples = _run(Blind(gpu))
    results = _results(gpu, samples)
    assert _outcome(vram_checks.wrong_words, results) is Outcome.UNKNOWN
    assert _outcome(vram_checks.self_test, results) is Outcome.FAIL
    assert _outcome(vram_checks.self_test, _results(gpu, _run(gpu))) is Outcome.PASS


def test_a_failing_region_keeps_its_memory_to_the_worker_and_a_good_one_gives_it_back(gpu: Gpu) -> None:
    free = gpu.free_bytes()
    _run(gpu)
    assert gpu.free_bytes() == free
    run = vram(Rig([gpu], seconds=9.0, options=SMALL))
    next(run)
    assert gpu.free_bytes() < free
    run.close()  # type: ignore[attr-defined]
    assert gpu.free_bytes() == free


# How much is taken.


class Counting:
    """A device of any size that holds nothing."""

    def __init__(self, free_bytes: int, most_bytes: int | None = None, largest: int = 1 << 62) -> None:
        self.free = free_bytes if most_bytes is None else most_bytes
        self.largest = largest
        self.sizes: list[int] = []

    def allocate(self, size_bytes: int) -> Any:
        if size_bytes > min(self.free, self.largest):
            raise GpuError("out-of-memory", "no")
        self.free -= size_bytes
        self.sizes.append(size_bytes)
        return self

    def build(self, source: Any) -> Any:
        return source

    def write(self, *rest: Any) -> None: ...

    def launch(self, *rest: Any, queue: int = 0) -> None: ...

    def finish(self) -> None: ...

    def free_it(self) -> None: ...


def _held(free: int, **more: Any) -> tuple[float, list[int]]:
    device: Any = Counting(free, **more)
    device_free = own_room(free)
    region = Region(device, Pulse(Rig([], seconds=1)))
    region.take(device_free.target_bytes, BLOCK_SIZES)
    for one, other in zip(region.blocks, region.blocks[1:], strict=False):
        assert other.first == one.first + one.granules  # one numbering through all blocks
    return 100.0 * region.held_bytes / free, [block.size_bytes for block in region.blocks]


@pytest.mark.parametrize("gib", [2, 7.6, 11, 15.7, 23.6, 31.3, 79.2, 140, 191.5, 287])
def test_at_least_95_percent_of_what_is_free_is_held(gib: float) -> None:
    percent, sizes = _held(int(gib * GIB))
    assert 97 <= percent < 100
    assert sizes == sorted(sizes, reverse=True)


def test_memory_that_runs_out_early_ends_the_allocation_and_fails_nothing() -> None:
    percent, sizes = _held(24 * GIB, most_bytes=int(20.3 * GIB))
    assert 84 < percent < 85
    assert sizes[-1] == 16 * MIB


def test_no_block_is_larger_than_the_device_gives_at_once() -> None:
    percent, sizes = _held(24 * GIB, largest=512 * MIB)
    assert percent > 97
    assert max(sizes) == 256 * MIB


@pytest.mark.parametrize("lazy", [False, True])
def test_a_gpu_whose_memory_shrinks_is_tested_as_far_as_it_goes_and_does_not_pass(cpu: Gpu, lazy: bool) -> None:
    for most, outcome in ((None, Outcome.PASS), (3 * MIB, Outcome.UNKNOWN)):
        device = AsGpu(cpu, 4 * MIB, most, lazy=lazy)
        samples = list(vram(Rig([device], seconds=1.0, seed=5, options={"rest": "0.01"})))
        assert not _wrong(samples)
        percent = float(samples[-1].notes["held_percent"])
        assert percent >= 95 if most is None else 0 < percent < 80
        assert _outcome(vram_checks.coverage, _results(device, samples, full_size=True)) is outcome


def test_no_memory_at_all_is_a_sentence(cpu: Gpu) -> None:
    with pytest.raises(GpuError, match="no block of memory could be had") as caught:
        list(vram(Rig([AsGpu(cpu, 4 * MIB, 0)], seconds=0.1)))
    assert caught.value.kind == "out-of-memory"


def test_other_errors_of_an_allocation_are_not_swallowed(cpu: Gpu) -> None:
    class Lost(AsGpu):
        def allocate(self, size_bytes: int) -> Any:
            raise GpuError("lost", "fell off the bus")

    with pytest.raises(GpuError, match="fell off the bus"):
        list(vram(Rig([Lost(cpu, 4 * MIB)], seconds=0.1)))


def _hosts(monkeypatch: pytest.MonkeyPatch, available_gib: list[float]) -> None:
    """Each reading of the host tells the next of these as MemAvailable, the last one again and again."""
    def host() -> Machine:
        gib = available_gib.pop(0) if len(available_gib) > 1 else available_gib[0]
        return Machine(__proc__meminfo=meminfo(125.0, gib))

    monkeypatch.setattr("boxcheck.host.live.LiveHost", host)


def _unified(cpu: Gpu, free_bytes: int) -> AsGpu:
    device = AsGpu(cpu, free_bytes)
    device.info = msgspec.structs.replace(device.info, unified=True)
    return device


def test_a_gpu_that_shares_the_hosts_memory_takes_what_the_host_can_spare(
    cpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared = 4 * MIB / GIB
    _hosts(monkeypatch, [12.5 + spared])
    device = _unified(cpu, 64 * MIB)
    samples = list(vram(Rig([device], seconds=1.0, seed=5, options={"rest": "0.01"})))
    notes = samples[-1].notes
    assert notes["usable_bytes"] == pytest.approx(4 * MIB, abs=2048)
    assert notes["usable"] == "what the host can spare"
    assert 95 <= float(notes["held_percent"]) < 100
    assert _outcome(vram_checks.coverage, _results(device, samples, full_size=True)) is Outcome.PASS


def test_it_takes_no_more_when_the_host_runs_short_on_the_way(cpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    spared = 4 * MIB / GIB
    _hosts(monkeypatch, [12.5 + spared, 12.5 + spared, 12.5 + spared, 12.4])
    device = _unified(cpu, 64 * MIB)
    samples = list(vram(Rig([device], seconds=0.1, seed=5, options={"rest": "0.01"})))
    assert samples[-1].notes["blocks"] == 2
    assert _outcome(vram_checks.coverage, _results(device, samples, full_size=True)) is Outcome.UNKNOWN


def test_a_host_that_can_spare_nothing_is_a_sentence(cpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    _hosts(monkeypatch, [12.4])
    with pytest.raises(GpuError, match="of which the host can spare none"):
        list(vram(Rig([_unified(cpu, 64 * MIB)], seconds=0.1)))


# Options, time.


@pytest.mark.parametrize(("name", "word"), [
    ("megabytes", "0"), ("megabytes", "all"), ("rest", "-1"), ("rest", "nan"), ("rest", "1e9")])
def test_an_option_that_makes_no_sense_is_refused(gpu: Gpu, name: str, word: str) -> None:
    with pytest.raises(GpuError, match=f"{name}={word} is no number from"):
        _run(gpu, options={name: word})


def test_a_rest_of_nothing_is_no_retention(gpu: Gpu) -> None:
    whats = {one.what for one in _run(gpu, 0.3, {"rest": "0"})}
    assert whats >= FAMILIES - {"vram.retention"}
    assert "vram.retention" not in whats


def test_even_without_time_the_address_keyed_pattern_is_whole_and_rests(gpu: Gpu) -> None:
    samples = _run(gpu, 0.0)
    checked = {one.what: one.checked for one in samples if one.what in FAMILIES}
    assert checked == {"vram.address": MIB // 4, "vram.retention": MIB // 4}


@pytest.mark.parametrize("when", [0, 1, 4, 9])
def test_a_run_that_is_told_to_stop_stops_between_blocks_and_claims_no_more_than_it_compared(gpu: Gpu, when: int) -> None:
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4 * when

    began = time.monotonic()
    samples = list(vram(Rig([gpu], seconds=60, options=SMALL, stopping=stopping)))
    assert time.monotonic() - began < 10
    assert not _wrong(samples)
    assert sum(one.checked for one in samples if one.what in FAMILIES) <= asked * BLOCK // 4
    for one in samples:
        assert one.what not in FAMILIES or one.checked


def test_a_stop_ends_a_long_rest(gpu: Gpu) -> None:
    began = time.monotonic()
    rig = Rig([gpu], seconds=60, options={**SMALL, "rest": "3600"}, stopping=lambda: time.monotonic() - began > 0.3)
    samples = list(vram(rig))
    assert time.monotonic() - began < 5
    assert "vram.retention" not in {one.what for one in samples}


# The region itself.


def test_patterns_are_those_of_the_oracle_in_every_block(gpu: Gpu) -> None:
    with Region(gpu, Pulse(Rig([gpu], seconds=1))) as region:
        region.take(MIB, (BLOCK,))
        for pattern in (Pattern(ADDRESS, 7), Pattern(WORD, 9), Pattern(2, 3), Pattern(3, 31)):
            assert region.fill(pattern, "").whole
            for block in region.blocks:
                stored = gpu.read(block.buffer, block.size_bytes).view(np.uint32)
                expected = reference.pattern(block.first, block.granules, pattern.kind, pattern.key)
                assert (stored == expected).all()
            assert region.check(pattern, "").words == MIB // 4
            assert pattern.word(4 * block.first + 77) == expected[77]


def test_the_slowest_block_is_told_and_short_ones_are_left_out(cpu: Gpu) -> None:
    with Region(cpu, Pulse(Rig([cpu], seconds=1))) as region:
        region.take(MIB, (BLOCK,))
        region._best = {0: 1.0, 1: 1.0, 2: 4.0, 3: 1.0}
        assert region.slowest() is None
        region.comparable_bytes = 1
        assert region.slowest() == (2, 25.0)


# Through workers.


def test_every_fault_that_can_be_put_in_is_found_through_a_worker() -> None:
    infos = list_devices("cpu")
    assert not isinstance(infos, Trouble)
    found: dict[str | None, tuple[str | None, Outcome, Outcome]] = {}
    options = {"megabytes": "2", "rest": "0.02"}
    with Crew([infos[:1]], silence_seconds=2.0) as crew:
        for fault in (None, *STRESSES["vram"].faults):
            if fault == "hang":
                continue
            (part,) = crew.run(Run(module="vram", seconds=2.0, seed=5, options=options, inject=fault))
            found[fault] = _judged(part, fault)
        (part,) = crew.run(Run(module="vram", seconds=1.0, seed=5, options=options, inject="hang"))
        found["hang"] = _judged(part, "hang")
        assert part.samples  # what came before is kept
    assert found[None][:2] == (None, Outcome.PASS)
    assert found["flip-memory"][:2] == (None, Outcome.FAIL)
    assert found["drop-write"][:2] == (None, Outcome.FAIL)
    assert found["slow"] == (None, Outcome.PASS, Outcome.FAIL)
    assert found["hang"][0] == "hang"
    assert set(found) == {None, *STRESSES["vram"].faults}


def _judged(part: Any, fault: str | None) -> tuple[str | None, Outcome, Outcome]:
    """Kind of trouble, and what was found of words and of rates."""
    key = part.gpus[0].key
    results = StressResults(
        module="vram", gpus=part.gpus, samples=part.samples, troubles=(part.trouble,) if part.trouble else (),
        ended=() if part.trouble else (key,), injected=fault, full_size=False)
    assert _outcome(judging.injected, results) is (Outcome.PASS if fault is None else Outcome.UNKNOWN)
    return (
        part.trouble.kind if part.trouble else None, _outcome(vram_checks.wrong_words, results),
        _outcome(vram_checks.rate_drop, results))
