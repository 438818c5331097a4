"""Copies between host and device: verified in full, and every fault found where it was put."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.engine.messages import Run
from boxcheck.engine.supervise import Crew, list_devices
from boxcheck.gpu import GpuError
from boxcheck.kernels import reference
from boxcheck.model import Outcome
from boxcheck.registry import CHECKS, STRESSES
from boxcheck.stress import Rig, Sample, StressResults, Trouble
from boxcheck.stress.copy import copy, names
from boxcheck.stress.copy_ends import SLICES, Ends, same
from boxcheck.stress.faults import FaultyGpu
from tests.stress.transfer_doubles import (
    DoubleGpu,
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

SIZE = 256 << 10


def test_a_sound_device_passes_and_every_byte_that_was_moved_was_compared() -> None:
    results = run("copy", processors(1))
    assert outcomes("copy.wrong-words", results) == {Outcome.PASS}
    assert transfers(results) > 50  # thousands here; fewer on a host that is busy
    for sample in results.samples:
        if sample.moved:
            assert 4 * sample.checked == sum(sample.moved.values()) == sample.notes["copies"] * SIZE // SLICES
    assert {sample.what for sample in results.samples} >= set(names())


def test_bytes_are_counted_by_direction() -> None:
    results = run("copy", processors(1))
    ways = {way for sample in results.samples if "host-to-device" in sample.what for way in sample.moved}
    assert ways == {"host>cpu:0"}
    assert {way for sample in results.samples if "device-to-host" in sample.what for way in sample.moved} == {"cpu:0>host"}


def test_the_slices_in_another_order_are_the_pattern_under_another_key() -> None:
    ends = Ends(Rig(processors(1), seconds=1, options={"size": "test"}))
    for number in (0, 1, 5, SLICES - 1):
        moved = np.concatenate([ends.slice_of(ends.pattern, at ^ number) for at in range(SLICES)])
        assert np.array_equal(moved.view(np.uint32), reference.pattern(0, ends.granules, 0, ends.key_number(number)))
    assert not same(ends.pattern, np.roll(ends.pattern, 16))


def flipping(direction: tuple[str, str], number: int, byte: int) -> DoubleGpu:
    def rule(transfer: Transfer) -> None:
        transfer.go()
        if transfer.ends == direction and transfer.number == number:
            transfer.flip(byte, 3)

    return doubles(1, rule)[0]


@pytest.mark.parametrize("direction", [("host", "cpu:0"), ("cpu:0", "host")])
@pytest.mark.parametrize("number", [0, 7, 40])
def test_one_flipped_bit_is_found_at_its_word(direction: tuple[str, str], number: int) -> None:
    results = run("copy", [flipping(direction, number, 0x123)])
    (wrong,) = [sample for sample in results.samples if sample.wrong]
    (word,) = wrong.words
    assert wrong.wrong == 1
    assert ("host-to-device" in wrong.what) == (direction[0] == "host")
    assert word.index == (number % SLICES * SIZE // SLICES + 0x123) // 4
    assert word.flipped == 8 << 24
    assert word.kind == "one bit"
    assert f"copy {number % SLICES} of {SLICES}" in word.where
    (finding,) = failures("copy.wrong-words", results)
    assert "1 word wrong in 1 of" in finding.says


@pytest.mark.parametrize("direction", [("host", "cpu:0"), ("cpu:0", "host")])
def test_a_copy_that_is_left_out_is_seen_whichever_of_a_loop_it_is(direction: tuple[str, str]) -> None:
    for number in (0, 13, SLICES + 3, 5 * SLICES - 1):
        def rule(transfer: Transfer, number: int = number) -> None:
            if transfer.ends != direction or transfer.number != number:
                transfer.go()

        results = run("copy", doubles(1, rule))
        (wrong,) = [sample for sample in results.samples if sample.wrong]
        assert wrong.wrong == SIZE // SLICES // 4, number
        (kind,) = {word.kind for word in wrong.words}
        # On the host the round before lies there, on the device poison.
        late = direction[0] == "cpu:0" and wrong.notes["rounds"] != 1 and "round 1 of" not in wrong.words[0].where
        assert kind.startswith("old value" if late else "not written")


def test_a_payload_of_the_round_before_is_an_old_value() -> None:
    kept: dict[int, np.ndarray] = {}

    def rule(transfer: Transfer) -> None:
        before = kept.get(transfer.target_offset)
        transfer.go()
        part = transfer.target.array[transfer.target_offset:transfer.target_offset + transfer.size_bytes]
        kept[transfer.target_offset] = part.copy()
        if transfer.number == SLICES + 2 and before is not None and transfer.ends[0] == "cpu:0":
            part[:] = before

    results = run("copy", doubles(1, rule), seconds=0.3)
    (wrong,) = [sample for sample in results.samples if sample.wrong]
    assert wrong.what == "copy.device-to-host.pinned"
    assert wrong.words[0].kind == "old value, of round 1"


def test_a_copy_to_a_wrong_place_names_the_place() -> None:
    def rule(transfer: Transfer) -> None:
        if transfer.number == 2 and transfer.ends[0] == "host":
            transfer.source_offset -= SIZE // SLICES
        transfer.go()

    results = run("copy", doubles(1, rule))
    (wrong,) = [sample for sample in results.samples if sample.wrong]
    assert wrong.words[0].kind.startswith("meant for byte 0x")


def test_a_device_whose_comparison_is_blind_does_not_pass() -> None:
    (gpu,) = doubles(1, lambda transfer: None)  # nothing is copied
    gpu.kernels["bc_memory_check"] = gpu.kernels["bc_memory_check_fill"] = lambda *arguments: None
    results = run("copy", [gpu])
    assert outcomes("copy.wrong-words", results) == {Outcome.FAIL}
    assert next(sample for sample in results.samples if sample.what == "copy.self-test").wrong


def test_a_comparison_that_becomes_blind_after_its_self_test_is_found_out_by_the_host() -> None:
    def lose(transfer: Transfer) -> None:
        if transfer.ends[0] != "host":
            transfer.go()

    (gpu,) = doubles(1, lose)
    proven: list[Sample] = []
    for sample in STRESSES["copy"].function(Rig([gpu], seconds=0.02, options={"size": "test"})):
        gpu.kernels["bc_memory_check_fill"] = lambda *arguments: None
        proven.append(sample)
    results = results_of("copy", [gpu], proven)
    proofs = [sample for sample in results.samples if sample.what == "copy.self-test"]
    assert [bool(proof.wrong) for proof in proofs] == [False, True]
    assert "bc_memory_check_fill found 0" in str(proofs[1].notes["says"])
    wrong = [sample for sample in results.samples if sample.wrong and sample is not proofs[1]]
    assert {sample.what for sample in wrong} == {name for name in names() if "host-to-device" in name}
    assert ", read by the host" in wrong[0].words[0].where
    assert wrong[0].words[0].kind.endswith("the GPU's own comparison saw nothing wrong")
    assert outcomes("copy.wrong-words", results) == {Outcome.FAIL}


@pytest.mark.parametrize("fault", ["flip-payload", "drop-write", "stale"])
@pytest.mark.parametrize("after", [0, 2, 33])
def test_every_injected_fault_of_data_is_found(fault: str, after: int) -> None:
    (gpu,) = processors(1)
    faulty = FaultyGpu(gpu, fault, after=max(1, after) if fault == "stale" else after)  # type: ignore[arg-type]
    results = run("copy", [faulty])
    assert outcomes("copy.wrong-words", results) == {Outcome.FAIL}


def test_a_device_that_becomes_slow_is_found() -> None:
    (gpu,) = processors(1)
    results = run("copy", [FaultyGpu(gpu, "slow", seconds=0.6)], seconds=0.6)
    assert outcomes("copy.wrong-words", results) == {Outcome.PASS}
    assert outcomes("copy.rate-drop", results) == {Outcome.FAIL}
    assert outcomes("copy.rate-drop", run("copy", [gpu], seconds=0.6)) <= {Outcome.PASS, Outcome.SKIP}


def sampled(what: str, value: float, *, together: str = "no", wrong: int = 0, key: str = "cpu:0") -> Sample:
    return Sample(what=what, gpu=key, peer="host", seconds=1.0, value=value, unit="GB/s", checked=100, wrong=wrong,
                  notes={"together": together, "bytes": 1})


def rates(*samples: Sample, count: int = 1) -> StressResults:
    return results_of("copy", doubles(count), samples)


def test_a_rate_is_judged_by_the_profile_with_a_notch_between() -> None:
    for value, expected in ((22.0, Outcome.PASS), (21.9, Outcome.FAIL)):
        results = rates(sampled("copy.host-to-device.pinned", value))
        found = judge("copy.rate", results, host_to_device_gbs=22.0)
        assert found[0].outcome is expected
        assert found[0].says == f"host to device: {value} GB/s, must be at least 22"
        assert found[1].outcome is Outcome.SKIP


def test_a_rate_without_a_right_payload_is_no_rate() -> None:
    results = rates(sampled("copy.host-to-device.pinned", 25.0, wrong=1))
    assert judge("copy.rate", results, host_to_device_gbs=22.0)[0].outcome is Outcome.UNKNOWN


def test_a_rate_beside_other_gpus_is_not_judged_against_that_of_one_alone() -> None:
    results = rates(
        sampled("copy.host-to-device.pinned", 15.0, together="yes"),
        sampled("copy.host-to-device.pinned", 23.0, together="yes", key="cpu:1"), count=2)
    slow, fast = [one for one in judge("copy.rate", results, host_to_device_gbs=22.0) if "host to device" in one.says]
    assert slow.outcome is Outcome.UNKNOWN
    assert "not measured alone" in slow.says
    assert fast.outcome is Outcome.PASS


def test_a_processors_rate_is_not_judged() -> None:
    assert outcomes("copy.rate", run("copy", processors(1)), host_to_device_gbs=1e3) == {Outcome.SKIP}


def every(value: float, **about: Any) -> StressResults:
    (gpu,) = doubles(1)
    gpu.info = msgspec.structs.replace(gpu.info, **about)
    return results_of("copy", [gpu], [sampled(what, value) for what in names()])


@pytest.mark.parametrize(("about", "fastest"), [
    ({}, 128.0), ({"name": "NVIDIA GB10"}, 128.0), ({"name": "NVIDIA GH200 480GB"}, 450.0), ({"unified": True}, 2650.0)])
def test_a_rate_that_no_link_has_is_unknown_and_so_is_what_was_copied(about: dict[str, Any], fastest: float) -> None:
    for value, outcome in ((fastest, Outcome.PASS), (fastest + 1, Outcome.UNKNOWN)):
        results = every(value, **about)
        limits = {"host_to_device_gbs": 22.0, "device_to_host_gbs": 22.0}
        assert outcomes("copy.wrong-words", results) == {outcome}
        assert outcomes("copy.rate", results, **limits) == {outcome}
    (finding,) = judge("copy.rate", results)  # whatever a profile asks
    assert finding.outcome is Outcome.UNKNOWN
    assert f"faster than any link ({fastest:g} GB/s): nothing may have been copied" in finding.says


def test_one_kind_of_copy_that_is_too_fast_is_named() -> None:
    results = rates(*(sampled(what, 9000.0 if what == "copy.host-to-device.pageable" else 25.0) for what in names()))
    (finding,) = judge("copy.wrong-words", results)
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.says.startswith("host-to-device.pageable 9000 GB/s: faster than any link")


def test_one_direction_far_slower_than_the_other_is_found_with_a_notch_between() -> None:
    for slower, expected in ((18.0, Outcome.PASS), (17.9, Outcome.MARGINAL), (11.9, Outcome.FAIL)):
        results = rates(sampled("copy.host-to-device.pinned", 24.0), sampled("copy.device-to-host.pinned", slower))
        assert outcomes("copy.asymmetry", results) == {expected}
    assert outcomes("copy.asymmetry", rates(sampled("copy.host-to-device.pinned", 24.0))) == {Outcome.UNKNOWN}


def test_what_was_not_compared_is_unknown_by_name() -> None:
    steps = iter(range(1000))
    results = run("copy", processors(1), seconds=0.0, stopping=lambda: next(steps) > 2)
    (finding,) = judge("copy.wrong-words", results)
    assert finding.outcome is Outcome.UNKNOWN
    assert "both.host-to-device.pageable" in finding.says
    assert outcomes("copy.wrong-words", results_of("copy", doubles(1), ())) == {Outcome.UNKNOWN}


def test_pinned_memory_that_cannot_be_had_is_unknown_and_the_rest_is_compared() -> None:
    (gpu,) = doubles(1)
    whole = gpu.host_buffer

    def refuse(size_bytes: int, pinned: bool = True):  # type: ignore[no-untyped-def]
        buffer = whole(size_bytes, pinned)
        buffer.pinned = False
        return buffer

    gpu.host_buffer = refuse  # type: ignore[method-assign]
    results = run("copy", [gpu])
    (finding,) = judge("copy.wrong-words", results)
    assert finding.outcome is Outcome.UNKNOWN
    assert "pinned memory could not be had" in finding.says
    assert any(sample.what == "copy.host-to-device.pageable" and sample.checked for sample in results.samples)


def test_little_memory_makes_small_payloads_and_none_at_all_says_so() -> None:
    (gpu,) = doubles(1)
    gpu.room = 4 * SIZE
    assert {sample.notes.get("bytes") for sample in run("copy", [gpu]).samples if sample.moved} == {SIZE}
    gpu.room = 2 * SIZE
    assert {sample.notes.get("bytes") for sample in run("copy", [gpu]).samples if sample.moved} == {SIZE // 2}
    gpu.room = 200_000
    with pytest.raises(GpuError, match="too little to copy to") as caught:
        run("copy", [gpu])
    assert caught.value.kind == "out-of-memory"


def test_an_impossible_size_is_refused_in_words() -> None:
    with pytest.raises(GpuError, match="megabytes=0 is no size"):
        run("copy", processors(1), megabytes="0")


def test_a_device_lost_midway_keeps_what_was_found_before() -> None:
    def rule(transfer: Transfer) -> None:
        if transfer.ends[0] == "cpu:0":
            raise GpuError("lost", "the GPU has fallen off the bus")
        transfer.go()

    gpus = doubles(1, rule)
    samples: list[Sample] = []
    with pytest.raises(GpuError, match="fallen off"):
        collect(copy(Rig(gpus, seconds=1, options={"size": "test"})), samples)
    assert [sample.what for sample in samples] == ["copy.self-test", "copy.host-to-device.pinned"]
    assert outcomes("copy.wrong-words", results_of("copy", gpus, samples)) == {Outcome.UNKNOWN}


def test_a_hang_is_told_by_the_supervisor() -> None:
    environment = {"BOXCHECK_CPU_DEVICES": "1"}
    infos = list_devices("cpu", environment=environment)
    assert not isinstance(infos, Trouble)
    order = Run(module="copy", seconds=0.1, seed=1, options={"size": "test"}, inject="hang", inject_after=20)
    with Crew([infos], environment=environment, silence_seconds=1.0) as crew:
        (part,) = crew.run(order)
    assert part.trouble is not None
    assert part.trouble.kind == "hang"
    assert part.samples[0].what == "copy.self-test"  # on a busy machine some copies are timed before the twentieth hangs


def test_the_module_says_which_faults_it_finds_and_each_check_has_a_catalogue_entry() -> None:
    assert STRESSES["copy"].faults == ("flip-payload", "drop-write", "stale", "hang", "slow")
    for id, check in CHECKS.items():
        if id.startswith("copy."):
            assert check.stress == "copy"
            assert all(part in check.text for part in ("Why it matters:", "What to do:", "Not a fault:")), id
