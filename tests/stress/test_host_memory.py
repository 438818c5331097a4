"""Main memory: what is right passes, every fault is found where it is, and the host keeps what it needs."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.gpu import GpuError
from boxcheck.model import Outcome
from boxcheck.stress.host_child import Pulse
from boxcheck.stress.host_memory_pages import local, physical_address
from boxcheck.stress.host_memory_patterns import CHUNK_BYTES, CHUNK_WORDS, Maker, Pattern, likeness, splitmix
from boxcheck.stress.host_memory_room import host_room
from boxcheck.stress.host_memory_run import plan
from boxcheck.stress.host_memory_streams import Streams
from boxcheck.stress.host_memory_work import Work
from boxcheck.stress.host_orders import Done, Job, Order
from tests.checks.judging import judge
from tests.stress.host_doubles import failure, machine, outcomes, run

GIB = 1 << 30


def work(chunks: int = 4, **changes: Any) -> Work:
    return Work(Job(
        work="memory", name="core 5", number=3, settings={"share_bytes": chunks * CHUNK_BYTES, "node": 0}, **changes),
        Pulse(lambda report: None))


def take(at: Work, key: int = 1) -> Done:
    return at.do(Order(do="take", seconds=60, settings={"kind": "keyed", "key": f"{key:x}", "down": 0}))


def sweep(at: Work, pattern: Pattern | None, down: bool = False) -> Done:
    told = {} if pattern is None else {"kind": pattern.kind, "key": f"{pattern.key:x}"}
    return at.do(Order(do="sweep", settings={**told, "down": int(down)}))


# Patterns.


def test_no_two_words_of_a_keyed_pass_are_alike_over_processes_and_passes() -> None:
    seen = []
    for first, key in ((0, 1), (1 << 40, 1), (0, 2)):
        maker = Maker(Pattern("keyed", key), first, 8)
        for chunk in range(8):
            words = np.empty(CHUNK_WORDS, np.uint64)
            maker.into(chunk, words)
            seen.append(words)
    words = np.concatenate(seen)
    assert len(np.unique(words)) == len(words)
    assert 0.49 < np.unpackbits(words.view(np.uint8)).mean() < 0.51


def test_the_hash_is_the_published_one() -> None:
    """First outputs of splitmix64 from seed 1234567 (Rosetta Code, Pseudo-random numbers/Splitmix64)."""
    golden = 0x9E3779B97F4A7C15
    found = [int(splitmix((1234567 + number * golden) & (2**64 - 1))) for number in range(3)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_word_out_of_place_names_the_place_it_was_meant_for() -> None:
    maker = Maker(Pattern("keyed", 9), 5 << 40, 8)
    chunk = np.empty(CHUNK_WORDS, np.uint64)
    maker.into(6, chunk)
    assert maker.meant_for(2, 100, int(chunk[100])) == (6, 100)
    assert maker.meant_for(6, 3, int(chunk[100])) == (6, 100)
    assert maker.meant_for(2, 100, int(chunk[100]) ^ 1) is None


def test_what_a_wrong_word_looks_like_is_told() -> None:
    assert likeness(0xFF, 0xFE, 0xFE, lambda: None) == "one bit"
    assert likeness(0xFF, 0x0F, 0x0F, lambda: None) == "not written: what it held before"
    assert likeness(0xFF, 0x0F, None, lambda: (3, 4)) == "meant for chunk 3, word 4"
    assert likeness(0xFF, 0x0F, None, lambda: None) == "4 bits"


def test_neighbouring_patterns_differ_in_nearly_every_word() -> None:
    steps = plan(7)
    patterns = [next(steps).pattern for _ in range(12)]
    held = [np.empty(CHUNK_WORDS, np.uint64) for _ in patterns]
    for pattern, words in zip(patterns, held, strict=True):
        Maker(pattern, 0, 1).into(0, words)
    for before, after in itertools.pairwise(held):
        assert np.mean(before == after) < 0.01


# A region, in this process.


def test_a_thousand_sweeps_find_nothing_in_sound_memory() -> None:
    at = work(chunks=1)
    take(at)
    steps = plan(3)
    for number in range(1000):
        done = sweep(at, next(steps).pattern, down=number % 2 == 1)
        assert (done.wrong, done.checked) == (0, CHUNK_WORDS)
    assert sweep(at, None).wrong == 0


@pytest.mark.parametrize("down", [False, True])
def test_damage_anywhere_is_found_once_and_placed(down: bool) -> None:
    at = work(chunks=5)
    take(at)
    for number in range(20):
        block = at._region.blocks[0]
        place = (number * 4801) % len(block)
        block[place] ^= np.uint64(1 << (3 * number % 64))
        done = sweep(at, Pattern("keyed", 100 + number), down)
        assert done.wrong == 1
        (word,) = done.words
        assert (word.index, word.kind) == (place, "one bit")
        assert word.where.startswith(f"core 5, virtual address 0x{block.ctypes.data + 8 * place:x} (physical")
    assert sweep(at, None, down).wrong == 0


def test_exchanged_addresses_are_told_as_such() -> None:
    at = work(chunks=4)
    take(at)
    block = at._region.blocks[0]
    block[10] = block[3 * CHUNK_WORDS + 10]
    (word,) = sweep(at, None).words
    assert word.kind == "meant for chunk 3, word 10"


@pytest.mark.parametrize("array", ["a", "b", "c"])
@pytest.mark.parametrize("scale", [3.0, None])
def test_every_word_of_the_streams_is_compared(array: str, scale: float | None) -> None:
    streams = Streams(3 * CHUNK_WORDS, 5)
    if scale is None:
        streams.copy()
    else:
        streams.triad(scale)
    assert streams.wrong(scale) == (0, [])
    getattr(streams, array).view(np.uint64)[2 * CHUNK_WORDS + 7] ^= np.uint64(1)
    count, (word,) = streams.wrong(scale)
    assert (count, word.kind, word.index) == (1, "one bit", 2 * CHUNK_WORDS + 7)
    assert f"array {array}" in word.where


def test_a_pass_that_was_left_out_is_seen() -> None:
    streams = Streams(CHUNK_WORDS, 5)
    streams.triad(3.0)
    assert streams.wrong(5.0)[0] == CHUNK_WORDS


def test_where_a_page_lies_is_told_or_said_to_be_unknown() -> None:
    pages = np.ones(1 << 16, np.uint64)
    assert 0 <= local(pages, 0).get("local_percent", 100.0) <= 100
    address = physical_address(pages.ctypes.data + 8)
    assert address is None or address % 8 == 0


# The whole module.


def test_sound_memory_passes_by_every_pattern() -> None:
    results = run("dram", seconds=4.0)  # ten times what all patterns take here, for a host that is busy
    for check in ("dram.wrong-words", "dram.page-lost"):
        assert outcomes(check, results) == {Outcome.PASS}, check
    kinds = {one.what.split(".")[1] for one in results.samples}
    assert kinds == {"triad", "copy", "address", "retention", "inversion", "random", "processes"}
    assert all(one.checked and not one.wrong for one in results.samples)
    assert all(one.value for one in results.samples if one.unit == "GB/s")


@pytest.mark.parametrize(("fault", "says"), [("flip-memory", "one bit"), ("drop-write", "not written: what it held before")])
def test_an_injected_fault_is_found(fault: str, says: str) -> None:
    results = run("dram", seconds=4.0, fault=fault, after=1)
    if outcomes("dram.wrong-words", results) == {Outcome.PASS}:  # a host too busy for the second sweep, which has the fault
        results = run("dram", seconds=20.0, fault=fault, after=1)
    finding = failure("dram.wrong-words", results)
    assert says in finding.says
    assert "virtual address 0x" in finding.notes[0]


def test_a_short_run_still_writes_rests_and_compares() -> None:
    results = run("dram", seconds=0.01)
    assert outcomes("dram.wrong-words", results) == {Outcome.PASS}
    assert any(one.what.startswith("dram.retention") for one in results.samples)


def test_memory_that_lay_in_swap_or_of_which_that_is_not_known_was_not_tested() -> None:
    results = run("dram", seconds=0.01)
    for swapped, says in (
            (512, "0.5 MiB of what was under test lay in swap, and that is no memory"),
            ("/proc/self/status: gone", "not read: whether what was under test lay in swap (/proc/self/status: gone)")):
        samples = [msgspec.structs.replace(one, notes={**one.notes, "swapped_kib": swapped}) if "swapped_kib" in one.notes else one
                   for one in results.samples]
        found = judge("dram.wrong-words", msgspec.structs.replace(results, samples=tuple(samples)))
        assert {(one.outcome, one.says) for one in found} == {(Outcome.UNKNOWN, says)}


@pytest.mark.parametrize(("option", "word"), [("percent", "95"), ("percent", "half"), ("megabytes", "0"), ("megabytes", "nan")])
def test_impossible_options_are_refused_in_words(option: str, word: str) -> None:
    with pytest.raises(GpuError, match=f"{option}={word} is no number from"):
        run("dram", **{option: word})


# How much may be taken.


def meminfo(total_gib: float, available_gib: float) -> dict[str, str | int]:
    return {"/proc/meminfo": f"MemTotal: {int(total_gib * GIB) >> 10} kB\nMemAvailable: {int(available_gib * GIB) >> 10} kB"}


@pytest.mark.parametrize(("total", "available", "percent", "most", "target"), [
    (128, 120, 50, None, 60), (128, 120, 90, None, 107.2), (128, 14, 50, None, 1.2), (16, 9, 50, None, 4.5),
    (16, 9, 90, None, 5), (128, 120, 50, 1, 1)])
def test_half_of_what_is_available_and_never_what_the_host_needs(
        total: float, available: float, percent: float, most: float | None, target: float) -> None:
    room = host_room(machine(meminfo(total, available)), percent, None if most is None else int(most * GIB))
    assert room.target_bytes / GIB == pytest.approx(target, abs=0.001)


def test_the_limit_of_a_container_bounds_it() -> None:
    group = "/sys/fs/cgroup/machine/box"
    inside = {"/proc/self/cgroup": "0::/machine/box", f"{group}/memory.max": "max", f"{group}/memory.current": GIB,
              "/sys/fs/cgroup/machine/memory.max": 8 * GIB, "/sys/fs/cgroup/machine/memory.current": 2 * GIB}
    room = host_room(machine({**meminfo(512, 500), **inside}))
    assert (room.available_bytes, room.target_bytes) == (6 * GIB, 3 * GIB)
    assert "container" in room.bounded_by
    older = {"/proc/self/cgroup": "5:cpu,memory:/docker/abc\n0::/", "/sys/fs/cgroup/memory/memory.limit_in_bytes": 4 * GIB,
             "/sys/fs/cgroup/memory/memory.usage_in_bytes": 0}
    assert host_room(machine({**meminfo(512, 500), **older})).target_bytes == 2 * GIB
    none = {"/proc/self/cgroup": "5:memory:/", "/sys/fs/cgroup/memory/memory.limit_in_bytes": 0x7FFFFFFFFFFFF000,
            "/sys/fs/cgroup/memory/memory.usage_in_bytes": 0}
    assert host_room(machine({**meminfo(512, 500), **none})).target_bytes == 250 * GIB


def test_where_nothing_can_be_spared_or_known_nothing_is_taken() -> None:
    with pytest.raises(GpuError, match="the host can spare none"):
        host_room(machine(meminfo(16, 3)))
    with pytest.raises(GpuError, match="it is not known how much memory the host can spare"):
        host_room(machine({"/proc/version": "x"}))
    assert host_room(machine(meminfo(2, 1)), most_bytes=4 << 20).target_bytes == 4 << 20
