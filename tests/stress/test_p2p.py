"""Copies between devices: every pair verified, every fault named at its pair and place, nothing silently absent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import msgspec
import numpy as np
import pytest

from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.model import Bdf, Outcome
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, STRESSES, run_check
from boxcheck.stress import Rig, Sample, StressResults
from boxcheck.stress.faults import FaultyGpu
from boxcheck.stress.p2p import p2p
from boxcheck.stress.p2p_fabric import Fabric
from boxcheck.stress.p2p_plan import ENGINE_WRITE, Piece, cycle, expected, small
from tests.stress.transfer_doubles import (
    Rule,
    Transfer,
    collect,
    doubles,
    failures,
    judge,
    outcomes,
    processors,
    results_of,
    run,
    transfers,
)

SIZE = 64 << 10
CLEAN = {Outcome.PASS, Outcome.SKIP}


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_sound_devices_pass_and_every_ordered_pair_is_compared_in_every_way(count: int) -> None:
    results = run("p2p", processors(count))
    for id in ("p2p.wrong-words", "p2p.access", "p2p.rate", "p2p.slow-pair", "p2p.rate-drop"):
        assert outcomes(id, results) <= CLEAN, id
    (words,) = judge("p2p.wrong-words", results)
    assert words.says.endswith(f"compared between {count * (count - 1)} ordered pairs, none wrong")
    assert transfers(results) > 20 * count
    for one, other in permutations([info.key for info in results.gpus], 2):
        mine = {sample.what for sample in results.samples if (sample.gpu, sample.peer) == (one, other)}
        assert mine >= {f"p2p.one-way.{by}-{how}" for by in ("engine", "kernel") for how in ("write", "read")}
        assert mine >= {"p2p.both-ways.engine-write", "p2p.latency.load", "p2p.latency.round-trip"}
        assert count == 2 or mine >= {f"p2p.{name}.engine-write" for name in ("all-to-all", "one-to-all", "all-to-one")}


def test_bytes_are_counted_on_the_link_that_they_went_over_and_all_were_compared() -> None:
    for sample in run("p2p", processors(3)).samples:
        if sample.unit == "GB/s":
            assert dict(sample.moved) == {f"{sample.gpu}>{sample.peer}": 4 * sample.checked}


def test_small_payloads_go_first_between_all_pairs() -> None:
    whats = [sample.what for sample in run("p2p", processors(3)).samples]
    assert max(at for at, what in enumerate(whats) if what.startswith("p2p.small.")) < whats.index("p2p.one-way.engine-write")


def corrupt(ends: tuple[str, str], byte: int, *, engine: bool = True, number: int) -> Rule:
    """Flips one bit of one copy of a pair."""
    def rule(transfer: Transfer) -> None:
        transfer.go()
        if transfer.ends == ends and transfer.engine == engine and transfer.number == number:
            transfer.flip(byte, 5)

    return rule


@pytest.mark.parametrize("count", [2, 3, 7])
def test_one_flipped_bit_is_named_at_its_pair_and_place_and_other_pairs_pass(count: int) -> None:
    source, target = f"cpu:{count - 1}", "cpu:0"
    results = run("p2p", doubles(count, corrupt((source, target), 0x40, number=1)))
    (wrong,) = [sample for sample in results.samples if sample.wrong]
    assert (wrong.gpu, wrong.peer, wrong.wrong) == (source, target, 1)
    (word,) = wrong.words
    part = int(wrong.notes["bytes"]) // 4
    assert word.index == (part + 0x40) // 4
    assert word.flipped == 1 << 5
    assert word.kind == "one bit"
    assert f"byte 0x{part + 0x40:x} (copy 1 of 4)" in word.where
    failed, passed = judge("p2p.wrong-words", results)
    assert failed.subject.name == f"{source} > {target}"
    assert passed.outcome is Outcome.PASS
    assert f"{count * (count - 1) - 1} ordered pair" in passed.says


def test_a_wrong_word_of_a_kernels_copy_names_the_way_and_says_what_was_right() -> None:
    results = run("p2p", doubles(3, corrupt(("cpu:1", "cpu:2"), 0x80, engine=False, number=2)))
    (wrong,) = [sample for sample in results.samples if sample.wrong]
    assert wrong.what.startswith(("p2p.small.kernel", "p2p.one-way.kernel"))
    (finding,) = failures("p2p.wrong-words", results)
    assert finding.says.endswith(wrong.what.removeprefix("p2p."))
    assert any(note.startswith("right: ") for note in finding.notes)


def test_full_speed_with_wrong_data_fails_and_its_rate_does_not_count() -> None:
    """The story of the first drivers with peer access for the RTX 4090: 24 GB/s, and other data than was sent."""
    def rule(transfer: Transfer) -> None:
        transfer.go()
        if transfer.ends == ("cpu:0", "cpu:1"):
            part = transfer.target.array[transfer.target_offset:transfer.target_offset + transfer.size_bytes]
            part[:] = np.roll(part, 256)  # the data is there, elsewhere

    results = run("p2p", doubles(3, rule))
    failed, passed = judge("p2p.wrong-words", results)
    assert failed.outcome is Outcome.FAIL
    assert failed.subject.name == "cpu:0 > cpu:1"
    assert "GB/s" in failed.says
    assert any("meant for byte" in note for note in failed.notes)
    assert "5 ordered pairs" in passed.says
    rates = {sample.peer: sample.value for sample in results.samples
             if sample.what == "p2p.one-way.engine-write" and sample.gpu == "cpu:0"}
    assert rates["cpu:1"] is not None
    lacking, slowest = (one for one in judge("p2p.rate", results, one_way_gbs=1e-3) if "one way" in one.says)
    assert lacking.outcome is Outcome.UNKNOWN
    assert "cpu:0 > cpu:1" in lacking.says
    assert slowest.outcome is Outcome.PASS
    assert "slowest of 5 pairs" in slowest.says


def test_a_copy_that_never_happens_leaves_poison_or_what_was_there() -> None:
    def rule(transfer: Transfer) -> None:
        if transfer.ends != ("cpu:1", "cpu:0") or transfer.number != 6 or not transfer.engine:
            transfer.go()

    results = run("p2p", doubles(2, rule))
    (wrong,) = [sample for sample in results.samples if sample.wrong]
    assert {word.kind for word in wrong.words} == {"not written"}
    assert (wrong.gpu, wrong.peer) == ("cpu:1", "cpu:0")


def woven(rule: Rule | None, count: int) -> Fabric:
    """Devices with memory for all pairs."""
    fabric = Fabric(Rig(doubles(count, rule), seconds=1, options={"size": "test"}))
    fabric.connect()
    fabric.allocate()
    return fabric


def test_the_payload_of_an_earlier_round_is_an_old_value() -> None:
    kept: list[np.ndarray] = []

    def rule(transfer: Transfer) -> None:
        transfer.go()
        if transfer.target_offset == 0:
            part = transfer.target.array[:transfer.size_bytes]
            kept.append(part.copy())
            part[:] = kept[-2] if len(kept) == 3 else kept[-1]

    (carried,) = woven(rule, 2).carry(Piece("p2p.one-way.engine-write", ENGINE_WRITE, ((0, 1),)), SIZE, 4)
    assert carried.wrong == SIZE // 16
    assert {word.kind for word in carried.words} == {"old value, of round 2"}
    assert carried.words[0].where == "byte 0x0 (copy 0 of 4), round 3 of 4"


def test_a_payload_for_another_pair_names_that_pair() -> None:
    def rule(transfer: Transfer) -> None:
        if transfer.ends == ("cpu:0", "cpu:2") and transfer.number == 1:
            transfer.source = fabric.links[0, 1].sent
        transfer.go()

    fabric = woven(rule, 3)
    one, other = fabric.carry(Piece("p2p.one-to-all.engine-write", ENGINE_WRITE, ((0, 1), (0, 2))), SIZE, 1)
    assert one.wrong == 0
    assert other.words[0].kind == f"meant for byte 0x{SIZE // 4:x} of cpu:0>cpu:1"


def test_a_comparison_on_the_gpu_that_sees_nothing_is_found_out() -> None:
    gpus = doubles(3, lambda transfer: None)
    blind = lambda *arguments: None  # noqa: E731
    for gpu in gpus:
        gpu.kernels = {"bc_memory_check": blind, "bc_memory_check_fill": blind}
    results = run("p2p", gpus)
    assert {finding.subject.kind for finding in failures("p2p.wrong-words", results)} == {"gpu", "link"}
    read = next(sample for sample in results.samples if sample.what == "p2p.one-way.engine-write")
    assert read.wrong
    assert "read by the host" in read.words[0].where
    assert read.words[0].kind.endswith("the GPU's own comparison saw nothing wrong")


def test_all_pairs_of_one_gpu_are_its_own_problem() -> None:
    def rule(transfer: Transfer) -> None:
        transfer.go()
        if "cpu:1" in transfer.ends:
            transfer.flip(8)

    found = failures("p2p.wrong-words", run("p2p", doubles(4, rule)))
    assert len(found) == 6
    assert {finding.cause for finding in found} == {"gpu-fault:cpu:1"}
    assert {finding.title for finding in found} == {"cpu:1: wrong data between GPUs"}


def test_wrong_pairs_without_a_device_in_common_are_problems_of_their_own() -> None:
    def rule(transfer: Transfer) -> None:
        transfer.go()
        if transfer.ends in (("cpu:0", "cpu:1"), ("cpu:1", "cpu:0"), ("cpu:2", "cpu:3")):
            transfer.flip(8)

    found = failures("p2p.wrong-words", run("p2p", doubles(4, rule)))
    assert {finding.cause for finding in found} == {"gpu-pair:cpu:0-cpu:1", "gpu-pair:cpu:2-cpu:3"}


# Access.


def test_without_peer_access_copies_are_staged_compared_and_no_rate() -> None:
    results = run("p2p", doubles(3, reaches=lambda ends: False))
    transferred = {sample.what for sample in results.samples if sample.checked} - {"p2p.self-test"}
    assert transferred == {"p2p.small.staged", "p2p.staged"}
    staged = next(sample for sample in results.samples if sample.what == "p2p.staged")
    assert set(staged.moved) == {"cpu:0>host", "host>cpu:1"}
    assert outcomes("p2p.wrong-words", results) == {Outcome.PASS}
    (skipped,) = judge("p2p.access", results, access=False)
    assert skipped.outcome is Outcome.SKIP
    assert skipped.says.startswith("no peer access: cpu:0 > cpu:1, ")
    rates = judge("p2p.rate", results, one_way_gbs=1e-6, both_ways_gbs=1e-6)
    assert [rate.outcome for rate in rates] == [Outcome.UNKNOWN] * 2
    assert rates[0].says.startswith("one way: no peer access: ")


def test_no_peer_access_anywhere_is_unknown_unless_the_profile_says_that_it_is_not_asked_for() -> None:
    results = run("p2p", doubles(3, reaches=lambda ends: False))
    (finding,) = judge("p2p.access", results)
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.says.startswith("no pair of GPUs reaches another directly")
    assert len(finding.notes) == 6
    (wopr,) = run_check(CHECKS["p2p.access"], (results,), load_profile("wopr-7x4090"))
    assert wopr.outcome is Outcome.SKIP
    one_way = run("p2p", doubles(3, reaches=lambda ends: ends == ("cpu:0", "cpu:1")))
    assert outcomes("p2p.access", one_way) == {Outcome.MARGINAL}


def test_peer_access_that_the_profile_demands_fails_by_name() -> None:
    results = run("p2p", doubles(3, reaches=lambda ends: ends != ("cpu:2", "cpu:0")))
    (finding,) = judge("p2p.access", results, access=True)
    assert finding.outcome is Outcome.FAIL
    assert "cpu:2 > cpu:0" in finding.says
    assert outcomes("p2p.access", run("p2p", doubles(3)), access=True) == {Outcome.PASS}
    assert outcomes("p2p.access", results, access=False) == {Outcome.MARGINAL}


def asked(reaches: Callable[[int, int], bool], count: int = 7, backend: str = "cuda") -> StressResults:
    """GPUs of one model, and who reaches whom."""
    gpus = tuple(
        GpuInfo(backend=backend, index=at, name="RTX 4090", arch="sm_89", bdf=Bdf(f"0000:{at + 1}1:00.0"),  # type: ignore[arg-type]
                memory_bytes=1, free_bytes=1, compute_units=1, unified=False, is_gpu=True, driver="a test")
        for at in range(count))
    return StressResults(
        module="p2p", gpus=gpus, troubles=(), ended=tuple(info.key for info in gpus), samples=tuple(
            Sample(what="p2p.access", gpu=one.key, peer=other.key, seconds=0, checked=0, wrong=0, notes={
                "access": "yes" if reaches(one.index, other.index) else "no"}) for one, other in permutations(gpus, 2)))


@pytest.mark.parametrize("access", [None, False])
def test_one_gpu_of_several_of_a_model_that_reaches_nobody_is_marginal_by_name(access: bool | None) -> None:
    results = asked(lambda one, other: 3 not in (one, other))
    (finding,) = judge("p2p.access", results, **({} if access is None else {"access": access}))
    assert finding.outcome is Outcome.MARGINAL
    assert finding.subject.bdf == "0000:41:00.0"
    assert finding.says.startswith("no peer access with it, while 30 other ordered pairs have it")
    assert finding.where == "cuda:3"
    assert finding.help


def test_groups_that_reach_each_other_within_are_a_way_to_build_it_and_no_fault() -> None:
    bridged = asked(lambda one, other: one // 2 == other // 2, count=4)
    (finding,) = judge("p2p.access", bridged)
    assert finding.outcome is Outcome.UNKNOWN
    assert "only within cuda:0+cuda:1 and cuda:2+cuda:3" in finding.says
    assert outcomes("p2p.access", bridged, access=False) == {Outcome.SKIP}
    assert outcomes("p2p.access", asked(lambda one, other: {one, other} == {0, 1}, count=3)) == {Outcome.MARGINAL}


def test_opencl_was_not_asked_and_blames_nobody() -> None:
    results = asked(lambda one, other: False, backend="opencl")
    for found in (judge("p2p.access", results), judge("p2p.access", results, access=True)):
        (finding,) = found
        assert finding.outcome is Outcome.UNKNOWN
        assert finding.says.startswith("OpenCL gives GPUs no peer access")
        assert finding.help == ("install ROCm or CUDA, so that their own runtime drives them; then run it again",)
    assert outcomes("p2p.access", results, access=False) == {Outcome.SKIP}


def test_one_pair_that_is_staged_is_so_named_and_its_corruption_found() -> None:
    def rule(transfer: Transfer) -> None:
        transfer.go()
        if transfer.ends == ("host", "cpu:1") and transfer.number == 5:
            transfer.flip(0x20)

    lacking = {("cpu:0", "cpu:1"), ("cpu:1", "cpu:0")}
    results = run("p2p", doubles(3, rule, reaches=lambda ends: ends not in lacking))
    (wrong,) = [sample for sample in results.samples if sample.wrong]
    assert (wrong.what, wrong.gpu, wrong.peer) == ("p2p.staged", "cpu:0", "cpu:1")
    assert "staged" in failures("p2p.wrong-words", results)[0].says


def test_a_driver_that_says_yes_and_then_refuses_fails() -> None:
    gpus = doubles(2)

    def refuse(other: object) -> None:
        raise GpuError("unsupported", "peer access is not supported between these two devices")

    gpus[0].enable_peer = refuse  # type: ignore[method-assign]
    results = run("p2p", gpus)
    (finding,) = judge("p2p.access", results)
    assert finding.outcome is Outcome.FAIL
    assert finding.subject.name == "cpu:0 > cpu:1"
    assert "then refuses: peer access is not supported" in finding.says


def test_a_gpu_lost_while_it_is_mapped_ends_the_run() -> None:
    gpus = doubles(2)

    def lose(other: object) -> None:
        raise GpuError("lost", "the GPU is gone")

    gpus[1].enable_peer = lose  # type: ignore[method-assign]
    with pytest.raises(GpuError, match="the GPU is gone"):
        run("p2p", gpus)


# Rates.


def paired(rates: dict[tuple[int, int], float], count: int, what: str = "one-way.engine-write", **more: int) -> StressResults:
    gpus = doubles(count)
    keys = [gpu.info.key for gpu in gpus]
    samples = [
        Sample(what="p2p.access", gpu=keys[one], peer=keys[other], seconds=0, checked=0, wrong=0, notes={"access": "yes"})
        for one, other in permutations(range(count), 2)]
    samples += [
        Sample(what=f"p2p.{what}", gpu=keys[one], peer=keys[other], seconds=1, value=value, unit="GB/s", checked=9, wrong=0)
        for (one, other), value in rates.items()]
    return results_of("p2p", gpus, samples)


def test_the_slowest_pair_is_named_with_a_notch_between() -> None:
    rates = {ends: 26.0 for ends in permutations(range(3), 2)}
    for value, outcome in ((24.0, Outcome.PASS), (23.9, Outcome.FAIL)):
        results = paired({**rates, (2, 1): value}, 3)
        (finding,) = [one for one in judge("p2p.rate", results, one_way_gbs=24.0) if one.outcome is not Outcome.SKIP]
        assert finding.outcome is outcome
        assert finding.subject.name == "cpu:2 > cpu:1"
        assert finding.says == f"one way: {value} GB/s, the slowest of 6 pairs, must be at least 24"


def test_both_ways_is_the_sum_of_the_directions() -> None:
    results = paired({(0, 1): 25.0, (1, 0): 24.0}, 2, "both-ways.engine-write")
    for asked, outcome in ((49.0, Outcome.PASS), (49.1, Outcome.FAIL)):
        (finding,) = [one for one in judge("p2p.rate", results, both_ways_gbs=asked) if one.outcome is not Outcome.SKIP]
        assert finding.outcome is outcome
        assert finding.measured is not None
        assert finding.measured.value == 49.0


def test_a_pair_whose_rate_was_not_taken_is_unknown_by_name() -> None:
    results = paired({(0, 1): 25.0}, 2)
    found = judge("p2p.rate", results, one_way_gbs=20.0)
    assert [one.outcome for one in found[:2]] == [Outcome.UNKNOWN, Outcome.PASS]
    assert "cpu:1 > cpu:0" in found[0].says


def test_a_pair_that_silently_goes_by_way_of_the_host_stays_behind() -> None:
    """Payloads are right, every driver call says yes; the rate alone tells, against those of its like."""
    gpus = doubles(4)
    results = run("p2p", gpus)
    base = {ends: 25.0 for ends in permutations(range(4), 2)}
    staged = paired({**base, (1, 3): 11.0}, 4)
    assert outcomes("p2p.wrong-words", results) == {Outcome.PASS}
    (finding,) = failures("p2p.slow-pair", staged)
    assert finding.subject.name == "cpu:1 > cpu:3"
    assert outcomes("p2p.slow-pair", paired({**base, (1, 3): 16.0}, 4)) == {Outcome.PASS}


def test_a_gpu_that_is_slow_with_all_others_is_named_itself() -> None:
    rates = {ends: 12.0 if 2 in ends else 25.0 for ends in permutations(range(4), 2)}
    (finding,) = failures("p2p.slow-pair", paired(rates, 4))
    assert finding.cause == "gpu-copies:cpu:2"
    assert finding.subject.kind == "gpu"


def test_two_sockets_are_said_and_not_judged() -> None:
    rates = {ends: 25.0 if (ends[0] < 2) == (ends[1] < 2) else 12.0 for ends in permutations(range(4), 2)}
    (finding,) = judge("p2p.slow-pair", paired(rates, 4))
    assert finding.outcome is Outcome.PASS
    assert "12.0 between them" in finding.says


def test_rates_of_processors_and_of_small_sizes_are_not_judged() -> None:
    assert outcomes("p2p.rate", run("p2p", processors(2)), one_way_gbs=1e6) == {Outcome.SKIP}
    assert outcomes("p2p.slow-pair", run("p2p", processors(3))) == {Outcome.SKIP}


# Faults, stops and losses.


@pytest.mark.parametrize("fault", ["flip-payload", "drop-write", "stale"])
@pytest.mark.parametrize("after", [1, 2, 50])
def test_every_injected_fault_of_data_is_found_between_the_faulty_device_and_another(fault: str, after: int) -> None:
    gpus = processors(3)
    faulty = [FaultyGpu(gpu, fault if gpu is gpus[0] else None, after=after) for gpu in gpus]  # type: ignore[arg-type]
    found = failures("p2p.wrong-words", run("p2p", faulty))
    assert found
    assert all("cpu:0" in finding.subject.name for finding in found)
    if after < 4:  # the first payload of all
        assert found[0].subject.name == "cpu:0 > cpu:1"


def test_a_device_that_becomes_slow_is_found() -> None:
    gpus = processors(2)
    faulty = [FaultyGpu(gpu, "slow" if gpu is gpus[0] else None, seconds=0.8) for gpu in gpus]
    found = {one.subject.name.split()[-1]: one.outcome for one in judge("p2p.rate-drop", run("p2p", faulty, seconds=0.8))}
    assert found["(cpu:0)"] is Outcome.FAIL
    assert outcomes("p2p.rate-drop", run("p2p", gpus, seconds=0.4)) <= CLEAN


def test_what_was_not_run_before_a_stop_is_unknown_by_name() -> None:
    steps = iter(range(10_000))
    results = run("p2p", processors(3), stopping=lambda: next(steps) > 6)
    (finding,) = judge("p2p.wrong-words", results)
    assert finding.outcome is Outcome.UNKNOWN
    named = {note.split(" (")[0] for note in finding.notes}
    assert named == {f"cpu:{one} > cpu:{other}" for one, other in permutations(range(3), 2)}
    assert "cpu:2 > cpu:1" in finding.notes  # nothing at all
    assert outcomes("p2p.access", results) == {Outcome.PASS}


def test_nothing_compared_is_unknown_everywhere() -> None:
    for gpus in ([], doubles(1), doubles(3)):
        empty = results_of("p2p", gpus, ())
        assert outcomes("p2p.wrong-words", empty) == {Outcome.UNKNOWN}
        assert outcomes("p2p.access", empty) == {Outcome.UNKNOWN}
    for count in (1, 2):
        empty = results_of("p2p", doubles(count), ())
        assert outcomes("p2p.rate", empty, one_way_gbs=1.0, both_ways_gbs=1.0) == {Outcome.UNKNOWN}


def test_gpus_of_two_runtimes_are_no_pairs() -> None:
    results = run("p2p", doubles(2))
    other = msgspec.structs.replace(results.gpus[0], backend="opencl")
    mixed = msgspec.structs.replace(results, gpus=(*results.gpus, other))
    (finding,) = judge("p2p.wrong-words", mixed)
    assert finding.outcome is Outcome.PASS
    assert "between 2 ordered pairs" in finding.says
    assert outcomes("p2p.access", mixed) == {Outcome.PASS}


def test_a_gpu_lost_midway_keeps_the_samples_and_the_error_names_the_pair() -> None:
    def rule(transfer: Transfer) -> None:
        if transfer.ends == ("cpu:1", "cpu:2") and transfer.number > 9:
            raise GpuError("lost", "the GPU has fallen off the bus", "look at its power cables")
        transfer.go()

    gpus = doubles(3, rule)
    samples: list[Sample] = []
    with pytest.raises(GpuError, match="the GPU has fallen off the bus") as caught:
        collect(p2p(Rig(gpus, seconds=0.1, options={"size": "test"})), samples)
    assert caught.value.says == "cpu:1>cpu:2 one-way.engine-write: the GPU has fallen off the bus"
    assert (caught.value.kind, caught.value.help) == ("lost", "look at its power cables")
    assert len([sample for sample in samples if sample.what.startswith("p2p.small.")]) == 24
    assert outcomes("p2p.wrong-words", results_of("p2p", gpus, samples)) == {Outcome.UNKNOWN}


def test_little_memory_makes_small_payloads_and_none_at_all_says_so() -> None:
    gpus = doubles(2)
    gpus[1].room = 8 * (SIZE // 4)
    sizes = {sample.notes["bytes"] for sample in run("p2p", gpus).samples if sample.unit == "GB/s"}
    assert sizes == {SIZE // 4}
    fabric = Fabric(Rig(gpus, seconds=1, options={"size": "test"}))
    gpus[1].room = 8 * 2048
    with pytest.raises(GpuError, match="16 KiB are free on one of the GPUs, too little") as caught:
        fabric.allocate()
    assert caught.value.kind == "out-of-memory"


def test_one_device_is_refused_in_words() -> None:
    with pytest.raises(GpuError, match="needs two GPUs"):
        run("p2p", processors(1))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_plan_covers_every_ordered_pair_whatever_reaches_what(count: int) -> None:
    pairs = list(permutations(range(count), 2))
    for reach in ({}, {ends: True for ends in pairs}, {ends: ends[0] < ends[1] for ends in pairs}):
        assert {piece.links[0] for piece in small(count, reach)} == set(pairs)
        assert {ends for piece in cycle(count, reach) for ends in piece.links} == set(pairs)
        assert all(len(whats) >= 2 for whats in expected(count, reach).values())


def test_the_module_says_which_faults_it_finds_and_each_check_has_a_catalogue_entry() -> None:
    assert STRESSES["p2p"].scope == "all"
    assert STRESSES["p2p"].peers == 2
    for id, check in CHECKS.items():
        if id.startswith("p2p."):
            assert check.stress == "p2p"
            assert all(part in check.text for part in ("Why it matters:", "What to do:", "Not a fault:")), id
