"""Collectives over a ring of devices: exact for any number of them, and the hop of a wrong word is named."""

from __future__ import annotations

import numpy as np
import pytest

from boxcheck.gpu import GpuError
from boxcheck.kernels import reference
from boxcheck.model import Outcome
from boxcheck.registry import CHECKS, STRESSES
from boxcheck.stress import Rig, Sample, StressResults
from boxcheck.stress.collective import bus_factor, collective
from boxcheck.stress.collective_ring import COLLECTIVES, Collective, Ring
from boxcheck.stress.collective_round import repeat, start
from boxcheck.stress.faults import FaultyGpu
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

CLEAN = {Outcome.PASS, Outcome.SKIP}
IDS = ("collective.wrong-words", "collective.wrong-products", "collective.rate", "collective.rate-drop")


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_sound_devices_pass_whatever_their_number(count: int) -> None:
    results = run("collective", processors(count), seconds=0.1)
    for id in IDS:
        assert outcomes(id, results) <= CLEAN, id
    assert outcomes("collective.wrong-words", results) == {Outcome.PASS}
    assert transfers(results) > 60
    for info in results.gpus:
        whats = {sample.what for sample in results.samples if sample.gpu == info.key and sample.checked}
        assert whats >= {f"collective.{name}" for name in (*COLLECTIVES, "zero3", "product")}


def ring_of(count: int, rule: Rule | None = None, granules: int | None = None, reach: bool = True) -> Ring:
    gpus = doubles(count, rule, reaches=lambda ends: reach)
    if granules is None:
        return Ring(Rig(gpus, seconds=1, options={"size": "test"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("boxcheck.stress.collective_ring.TEST_BYTES", 0)
        patch.setattr("boxcheck.stress.collective_ring.ODD_GRANULES", granules)
        return Ring(Rig(gpus, seconds=1, options={"size": "test"}))


def rig_of(ring: Ring) -> Rig:
    return Rig(ring.gpus, seconds=1, options={"size": "test"})


@pytest.mark.parametrize("count", [2, 3, 4, 7])
@pytest.mark.parametrize("granules", [1, 5, 97, 1024])
def test_the_result_is_numpys_for_sizes_that_the_ranks_do_not_divide(count: int, granules: int) -> None:
    ring, key = ring_of(count, granules=granules), 1234
    inputs = [reference.pattern(0, granules, 0, key + rank) for rank in range(count)]
    whole = np.sum(inputs, axis=0, dtype=np.uint32)

    def held(vectors: list, rank: int, chunk: int) -> np.ndarray:  # type: ignore[type-arg]
        return ring.verifiers[rank].gpu.read(vectors[rank][chunk], 16 * ring.sizes[chunk]).view(np.uint32)

    def part(words: np.ndarray, chunk: int) -> np.ndarray:
        return words[4 * ring.firsts[chunk]:4 * (ring.firsts[chunk] + ring.sizes[chunk])]

    start(ring, "all-reduce", key)
    for rank in range(count):
        for chunk in range(count):
            assert np.array_equal(held(ring.out, rank, chunk), part(whole, chunk))
    start(ring, "reduce-scatter", key)
    for rank in range(count):
        own = (rank + 1) % count
        assert np.array_equal(held(ring.data, rank, own), part(whole, own))
    start(ring, "all-gather", key)
    for rank in range(count):
        for chunk in range(count):
            assert np.array_equal(held(ring.out, rank, chunk), part(inputs[chunk], chunk))


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("name", COLLECTIVES)
def test_bytes_that_were_moved_give_the_usual_bus_bandwidth(count: int, name: Collective) -> None:
    ring = ring_of(count, granules=100 * count)
    piece = repeat(rig_of(ring), ring, name, 0.0, 1)
    for rank in piece.ranks:
        assert rank.moved_bytes == pytest.approx(bus_factor(name, count) * 16 * ring.granules)
    assert bus_factor("all-reduce", 4) == 1.5
    assert bus_factor("zero3", 4) == 2.25


# Wrong words.


def flipping(number: int, ends: tuple[str, str], byte: int = 4) -> Rule:
    def rule(transfer: Transfer) -> None:
        transfer.go()
        if transfer.ends == ends and transfer.number == number:
            transfer.flip(byte, 2)

    return rule


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5])
def test_a_flipped_bit_in_any_step_of_an_all_reduce_names_its_hop(number: int) -> None:
    """Steps 0 to 2 of four ranks reduce, 3 to 5 gather."""
    ring = ring_of(4, flipping(number, ("cpu:1", "cpu:2")))
    piece = repeat(rig_of(ring), ring, "all-reduce", 0.0, 1)
    hops = {rank.hop for rank in piece.ranks if rank.wrong}
    assert hops == {"cpu:1>cpu:2"}
    assert {rank.wrong for rank in piece.ranks if rank.wrong} == {1}
    reached = sum(rank.wrong for rank in piece.ranks)
    assert reached == (4 if number < 3 else 6 - number)  # a wrong partial sum reaches all, a gathered chunk those behind
    word = next(word for rank in piece.ranks for word in rank.words)
    chunk = (1 - number) % 4 if number < 3 else (2 - (number - 3)) % 4
    assert word.index == 4 * ring.firsts[chunk] + 1
    assert f"chunk {chunk}, wrong since cpu:1>cpu:2" in word.where


@pytest.mark.parametrize("name", ["all-gather", "reduce-scatter"])
def test_a_flipped_bit_in_the_other_collectives_names_its_hop(name: Collective) -> None:
    for number in (0, 1):
        ring = ring_of(3, flipping(number, ("cpu:2", "cpu:0")))
        piece = repeat(rig_of(ring), ring, name, 0.0, 1)
        assert {rank.hop for rank in piece.ranks if rank.wrong} == {"cpu:2>cpu:0"}


def test_a_wrong_copy_within_a_device_names_the_device() -> None:
    results = run("collective", doubles(3, flipping(0, ("cpu:1", "cpu:1"))))
    (finding,) = failures("collective.wrong-words", results)
    assert finding.cause == "gpu-fault:cpu:1"
    assert "on this GPU already" in finding.says


def test_one_wrong_hop_is_one_finding_however_many_ranks_it_reaches() -> None:
    results = run("collective", doubles(4, flipping(2, ("cpu:0", "cpu:1"))))
    found = judge("collective.wrong-words", results)
    failed = [finding for finding in found if finding.outcome is Outcome.FAIL]
    assert [finding.subject.name for finding in failed] == ["cpu:0 > cpu:1"]
    assert failed[0].cause == "gpu-pair:cpu:0-cpu:1"
    assert "4 words wrong on 4 GPUs, first after this hop: all-reduce" in failed[0].says
    assert not any(finding.outcome is Outcome.PASS for finding in found)


@pytest.mark.parametrize("count", [2, 3])
def test_a_copy_that_is_left_out_is_seen_in_every_step(count: int) -> None:
    steps = 2 * (count - 1) + 2 * (count - 1) + 3 * (count - 1)  # alone: all-reduce, the two others; then one training step
    for number in range(steps):
        def rule(transfer: Transfer, number: int = number) -> None:
            if transfer.ends != ("cpu:0", "cpu:1") or transfer.number != number:
                transfer.go()

        results = run("collective", doubles(count, rule), seconds=0.0)
        assert outcomes("collective.wrong-words", results) >= {Outcome.FAIL}, number
        assert {one.subject.name for one in failures("collective.wrong-words", results)} == {"cpu:0 > cpu:1"}, number


@pytest.mark.parametrize("fault", ["flip-payload", "drop-write", "stale"])
@pytest.mark.parametrize("after", [1, 2, 21])
def test_every_injected_fault_of_data_is_found(fault: str, after: int) -> None:
    gpus = processors(3)
    faulty = [FaultyGpu(gpu, fault if gpu is gpus[0] else None, after=after) for gpu in gpus]  # type: ignore[arg-type]
    found = failures("collective.wrong-words", run("collective", faulty, seconds=0.1))
    assert found
    assert {finding.subject.name for finding in found} <= {"cpu:0 > cpu:1", "x86_64 (cpu:0)"}


@pytest.mark.parametrize("count", [2, 4])
def test_a_device_that_becomes_slow_is_found(count: int) -> None:
    gpus = processors(count)
    faulty = [FaultyGpu(gpu, "slow" if gpu is gpus[0] else None, seconds=0.6) for gpu in gpus]
    found = {one.subject.name.split()[-1]: one.outcome for one in judge("collective.rate-drop", run("collective", faulty, seconds=0.6))}
    assert found["(cpu:0)"] is Outcome.FAIL
    assert outcomes("collective.rate-drop", run("collective", gpus, seconds=0.3)) <= CLEAN


def test_a_blind_comparison_is_found_by_the_self_test() -> None:
    gpus = doubles(2)
    gpus[1].kernels = {"bc_memory_check": lambda *arguments: None}
    (finding,) = failures("collective.wrong-words", run("collective", gpus))
    assert finding.subject.name == "Double (cpu:1)"


@pytest.mark.parametrize("number", [5, 9, 20])
def test_a_product_with_other_bits_beside_collectives_is_found(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Of those that digests are of, and of those of a step, of which each is digested here."""
    monkeypatch.setattr("boxcheck.stress.collective_train.spacing", lambda product, digesting: 1)
    gpus, calls = doubles(2), iter(range(100_000))
    whole = gpus[0].launch

    def launch(program, kernel, groups, arguments, *, queue=0):  # type: ignore[no-untyped-def]
        whole(program, kernel, groups, arguments, queue=queue)
        if kernel == "bc_matmul" and next(calls) == number:
            arguments[2].array[5] ^= 1

    gpus[0].launch = launch  # type: ignore[method-assign]
    results = run("collective", gpus, seconds=0.3)
    bad, good = judge("collective.wrong-products", results)
    assert (bad.outcome, good.outcome) == (Outcome.FAIL, Outcome.PASS)


@pytest.mark.parametrize(("first", "proof"), [(0, Outcome.FAIL), (1, Outcome.FAIL), (2, Outcome.PASS)])
def test_products_that_never_run_or_are_always_wrong_do_not_pass(first: int, proof: Outcome) -> None:
    """From the small proof on, from the exact product of full size on, and of random data alone."""
    for wrong in (True, False):
        gpus, calls = doubles(2), iter(range(100_000))
        whole = gpus[0].launch

        def launch(program, kernel, groups, arguments, *, queue=0, whole=whole, calls=calls, wrong=wrong):  # type: ignore[no-untyped-def]
            bad = kernel == "bc_matmul" and next(calls) >= first
            if not bad or wrong:
                whole(program, kernel, groups, arguments, queue=queue)
            if bad and wrong:  # the sign of a corner, the same each time
                arguments[2].array.view(np.uint32)[0] ^= np.uint32(1 << 31)

        gpus[0].launch = launch  # type: ignore[method-assign]
        results = run("collective", gpus, seconds=0.1)
        assert next(one.outcome for one in judge("collective.self-test", results)) is proof
        assert outcomes("collective.wrong-products", results) >= ({Outcome.FAIL} if first == 2 or not wrong else set())
        assert Outcome.PASS not in outcomes("collective.wrong-products", results)


# Without peer access; rates; ends.


def test_without_peer_access_the_ring_is_staged_verified_and_has_no_rate() -> None:
    results = run("collective", doubles(3, reaches=lambda ends: ends != ("cpu:1", "cpu:2")))
    whats = {sample.what for sample in results.samples if sample.unit == "GB/s" and sample.peer is None}
    assert whats == {f"collective.staged.{name}" for name in (*COLLECTIVES, "zero3")}
    assert outcomes("collective.wrong-words", results) == {Outcome.PASS}
    (finding,) = judge("collective.rate", results, all_reduce_busbw_gbs=1e-6)
    assert finding.outcome is Outcome.UNKNOWN
    assert "staged" in finding.says
    ways = {way for sample in results.samples for way in sample.moved}
    assert ways == {"cpu:0>cpu:1", "cpu:1>host", "host>cpu:2", "cpu:2>cpu:0"}


def test_a_wrong_word_on_a_staged_hop_is_found() -> None:
    rule = flipping(1, ("host", "cpu:0"))
    results = run("collective", doubles(2, rule, reaches=lambda ends: False))
    (finding,) = failures("collective.wrong-words", results)
    assert finding.subject.name == "cpu:1 > cpu:0"


def timed(value: float, **more: object) -> StressResults:
    sample = Sample(
        what="collective.all-reduce", gpu="cpu:0", seconds=1, value=value, unit="GB/s", checked=9, wrong=int(bool(more.get("wrong"))))
    return results_of("collective", doubles(2), [sample])


def test_the_bus_bandwidth_is_judged_with_a_notch_between() -> None:
    for value, expected in ((24.0, Outcome.PASS), (23.9, Outcome.FAIL)):
        (finding,) = judge("collective.rate", timed(value), all_reduce_busbw_gbs=24.0)
        assert finding.outcome is expected
        assert finding.says == f"bus bandwidth {value} GB/s, must be at least 24"
    assert outcomes("collective.rate", timed(30.0, wrong=True), all_reduce_busbw_gbs=24.0) == {Outcome.UNKNOWN}
    assert outcomes("collective.rate", timed(30.0)) == {Outcome.SKIP}
    assert outcomes("collective.rate", run("collective", processors(2)), all_reduce_busbw_gbs=1e6) == {Outcome.SKIP}


def test_products_take_about_as_long_as_the_collectives_beside_them() -> None:
    from boxcheck.stress.collective_train import counts

    class Half:
        seconds = 0.5

    class Tenth:
        seconds = 0.1

    assert counts([Half(), Tenth()], 2.0, 1.0) == [4, 20]  # type: ignore[list-item]
    assert counts([Half()], 2.0, 0.5) == [2]  # type: ignore[list-item]
    assert counts([Half()], 0.01, 1.0) == [1]  # type: ignore[list-item]


def test_an_impossible_ratio_is_refused_in_words() -> None:
    for word in ("0", "much", "-1", "nan"):
        with pytest.raises(GpuError, match=f"compute={word} is no number"):
            run("collective", processors(2), compute=word)


def test_what_was_not_run_before_a_stop_is_unknown_by_name() -> None:
    steps = iter(range(1000))
    results = run("collective", processors(2), seconds=0.0, stopping=lambda: next(steps) > 2)
    found = judge("collective.wrong-words", results)
    assert {finding.outcome for finding in found} == {Outcome.UNKNOWN}
    assert "not compared: all-gather, reduce-scatter, zero3" in found[0].says
    assert outcomes("collective.wrong-products", results) == {Outcome.UNKNOWN}
    assert outcomes("collective.wrong-words", results_of("collective", doubles(2), ())) == {Outcome.UNKNOWN}


def test_a_gpu_lost_midway_keeps_the_samples_and_the_error_says_in_what() -> None:
    def rule(transfer: Transfer) -> None:
        if transfer.ends == ("cpu:1", "cpu:0") and transfer.number == 3:
            raise GpuError("lost", "the GPU has fallen off the bus")
        transfer.go()

    gpus = doubles(2, rule)
    samples: list[Sample] = []
    with pytest.raises(GpuError, match="the GPU has fallen off the bus") as caught:
        collect(collective(Rig(gpus, seconds=0.0, options={"size": "test"})), samples)
    assert caught.value.says == "reduce-scatter: the GPU has fallen off the bus"
    assert {sample.what for sample in samples if sample.peer is None} == {
        "collective.self-test", "matmul.bf16.self-test", "matmul.bf16.exact", "matmul.bf16.inputs",
        "collective.all-reduce", "collective.all-gather"}


def test_too_little_memory_says_so() -> None:
    gpus = doubles(2)
    ring_rig = Rig(gpus, seconds=1, options={"size": "test"})
    gpus[1].room = 16_000
    with pytest.raises(GpuError, match="15 KiB are free on one of the GPUs, too little") as caught:
        Ring(ring_rig)
    assert caught.value.kind == "out-of-memory"


def test_the_module_says_which_faults_it_finds_and_each_check_has_a_catalogue_entry() -> None:
    assert STRESSES["collective"].scope == "all"
    for id, check in CHECKS.items():
        if id.startswith("collective."):
            assert check.stress == "collective"
            assert all(part in check.text for part in ("Why it matters:", "What to do:", "Not a fault:")), id
