"""Collectives over a ring of devices: exact for any number of them, and the hop of a wrong word is named."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import pytest

from boxcheck.gpu import GpuError
from boxcheck.kernels import reference
from boxcheck.model import Outcome
from boxcheck.registry import CHECKS, STRESSES
from boxcheck.stress import Rig, Sample, StressResults
from boxcheck.stress.collective import PIECES_A_RUN, bus_factor, collective
from boxcheck.stress.collective_ring import COLLECTIVES, Collective, Ring
from boxcheck.stress.collective_round import repeat, start
from boxcheck.stress.collective_train import Step, Steps, step
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
@pytest.mark.parametrize("after", [1, 2, 12])
def test_every_injected_fault_of_data_is_found(fault: str, after: int) -> None:
    """In an all-reduce, and in the reduce-scatter of training. A copy of training's second gather has the bytes of the
    first, so that one that brings those of the time before would be right."""
    gpus = processors(3)
    faulty = [FaultyGpu(gpu, fault if gpu is gpus[0] else None, after=after) for gpu in gpus]  # type: ignore[arg-type]
    found = failures("collective.wrong-words", run("collective", faulty, seconds=0.0))
    assert found
    assert {finding.subject.name for finding in found} <= {"cpu:0 > cpu:1", "x86_64 (cpu:0)"}


@pytest.mark.parametrize("count", [2, 4])
def test_a_device_that_becomes_slow_is_found(count: int) -> None:
    gpus = processors(count)
    faulty = [FaultyGpu(gpu, "slow" if gpu is gpus[0] else None, seconds=1.2) for gpu in gpus]
    found = {one.subject.name.split()[-1]: one.outcome for one in judge("collective.rate-drop", run("collective", faulty, seconds=1.2))}
    assert found["(cpu:0)"] is Outcome.FAIL
    assert outcomes("collective.rate-drop", run("collective", gpus, seconds=0.3)) <= CLEAN


@pytest.mark.parametrize("kernel", ["bc_memory_check", "bc_memory_check_fill", "bc_sum_check"])
def test_a_blind_comparison_is_found_by_the_self_test(kernel: str) -> None:
    gpus = doubles(2)
    gpus[1].kernels = {kernel: lambda *arguments: None}
    results = run("collective", gpus)
    first = next(one for one in results.samples if one.what == "collective.self-test" and one.gpu == "cpu:1")
    assert f"{kernel} found 0" in str(first.notes["says"])
    assert "Double (cpu:1)" in {finding.subject.name for finding in failures("collective.wrong-words", results)}


def test_sums_that_are_not_made_while_nobody_sees_it_are_found_by_the_host() -> None:
    """From the first collective on; the proof after the last one tells of the comparison besides."""
    gpus, samples = doubles(2), list[Sample]()
    for sample in collective(Rig(gpus, seconds=0.0, options={"size": "test"})):
        samples.append(sample)
        if sample.what == "collective.product" or sample.what.endswith(".inputs"):
            for gpu in gpus:
                gpu.kernels = dict.fromkeys(("bc_sum_check", "bc_add"), lambda *arguments: None)
    wrong = [one for one in samples if one.wrong and one.gpu == "cpu:1"]
    assert {one.what for one in wrong} >= {"collective.all-reduce", "collective.reduce-scatter", "collective.self-test"}
    word = wrong[0].words[0]
    assert word.where.endswith(" of all-reduce, read by the host")
    assert word.kind.endswith("the GPU's own comparison saw nothing wrong")


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
    results = run("collective", gpus, seconds=1.0)
    assert next(calls) > number
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


# Steps of training that are told together.


def steps_of(count: int, pieces: Iterable[bool], seconds: float = 1e9) -> tuple[list[Step], list[Step]]:
    """What is told of steps, those that are True with a wrong word or a wrong product by turns; and the steps."""
    ring, together, told, made = ring_of(count), Steps(seconds), list[Step](), list[Step]()
    for number, wrong in enumerate(pieces):
        one = step(ring, [], [], number)
        one.products, one.product_seconds, one.checked = [3] * count, [0.25] * count, [2] * count
        one.wrong = [[7] if wrong and number % 2 and not rank else [] for rank in range(count)]
        one.piece.ranks[0].wrong = int(wrong and not number % 2)
        made.append(one)
        told += together.add(one)
    return [*told, *together.rest()], made


def test_steps_are_told_together_and_all_that_was_compared_is_counted() -> None:
    (one,), made = steps_of(3, [False] * 5)
    assert one.piece.times == [step.piece.times[0] for step in made]
    for rank in range(3):
        assert one.piece.ranks[rank].checked == sum(step.piece.ranks[rank].checked for step in made) > 0
        assert one.piece.ranks[rank].moved_bytes == sum(step.piece.ranks[rank].moved_bytes for step in made) > 0
        assert len(one.piece.ranks[rank].hop_times) == 5
    assert (one.products, one.checked, one.product_seconds) == ([15] * 3, [10] * 3, [1.25] * 3)
    assert one.wrong == [[], [], []]
    assert len(steps_of(2, [False] * 4, seconds=0.0)[0]) == 4


def test_a_step_with_something_wrong_is_told_at_once_and_by_itself() -> None:
    for bad in (2, 3):
        told, made = steps_of(2, [number == bad for number in range(6)])
        assert [one.piece.rounds for one in told] == [bad, 1, 5 - bad]
        assert [one.piece.wrong + sum(map(len, one.wrong)) for one in told] == [0, 1, 0]
        assert told[1] is made[bad]


def test_a_gpu_lost_in_training_leaves_the_steps_before_it() -> None:
    beats = iter(range(1000))

    def beat(text: str, done: float) -> None:
        if text.startswith("training step") and next(beats) == 3:
            raise GpuError("lost", "cpu:1 is gone")

    samples: list[Sample] = []
    with pytest.raises(GpuError, match="cpu:1 is gone"):
        collect(collective(Rig(processors(2), seconds=50.0, options={"size": "test"}, beat=beat)), samples)
    training = [one for one in samples if one.what == "collective.zero3"]
    assert sum(int(one.notes["rounds"]) for one in training) == 3 * 2
    assert all(one.checked and not one.wrong for one in training)


def test_a_long_run_gives_about_a_sample_a_second_of_each_kind_and_rank() -> None:
    began = time.monotonic()
    results = run("collective", processors(2), seconds=1.0)
    pieces = (time.monotonic() - began) * PIECES_A_RUN
    for what in {one.what for one in results.samples if "rounds" in one.notes}:
        assert len([one for one in results.samples if one.what == what and one.gpu == "cpu:0"]) <= pieces, what


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
