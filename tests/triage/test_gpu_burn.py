"""gpu_burn: which card its numbers mean, and when a worker that ends is a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.decode.gpu_burn import blameless, is_reason_tail, reason
from boxcheck.triage.cut import cut
from boxcheck.triage.evidence import Evidence
from boxcheck.triage.tools import nvidia_smi
from tests.triage.benchmarks import corpus, one
from tests.triage.texts import told

A, B = "GPU-aaaaaaaa-0000-0000-0000-000000000000", "GPU-bbbbbbbb-0000-0000-0000-000000000000"
CARD = "NVIDIA GeForce RTX 4090"
CSV = ("$ nvidia-smi --query-gpu=index,name,uuid,pci.bus_id --format=csv\nindex, name, uuid, pci.bus_id\n"
       f"0, {CARD}, {B}, 00000000:01:00.0\n1, {CARD}, {A}, 00000000:81:00.0\n")


def listed(*cards: tuple[str, str]) -> str:
    return "".join(f"GPU {index}: {name} (UUID: {uuid})\n" for index, (name, uuid) in enumerate(cards))


def burn(gpus: int, wrong: int = 0) -> str:
    """A run on some GPUs, of which one is wrong."""
    done = " - ".join(["1620 (55000 Gflop/s)"] * gpus)
    errors = " - ".join("12  (WARNING!)" if index == wrong else "0" for index in range(gpus))
    heat = " - ".join(["70 C"] * gpus)
    verdicts = "".join(f"\tGPU {index}: {'FAULTY' if index == wrong else 'OK'}\n" for index in range(gpus))
    return ("Using compare file: compare.ptx\nBurning for 60 seconds.\n"
            f"100.0%  proc'd: {done}   errors: {errors}   temps: {heat} \n"
            f"Killing processes with SIGTERM (soft kill)\ndone\n\nTested {gpus} GPUs:\n{verdicts}")


def pieces(text: str) -> list[Evidence]:
    return [reader.read(section) for reader, section in cut(text)[0]]


def test_the_list_at_its_start_is_its_own() -> None:
    found = pieces(listed((CARD, A), (CARD, B)) + burn(2, wrong=1))
    assert [piece.tool for piece in found] == ["gpu_burn"]
    assert [(device.uuid, device.index, device.more["cuda_index"]) for device in found[0].devices] == [
        (A, None, 0), (B, None, 1)]
    assert [(event.kind, event.labels) for event in found[0].events] == [("wrong-results", ("gpu1",))]


def test_a_list_alone_is_nvidia_smis() -> None:
    found = pieces(listed((CARD, A), (CARD, B)) + "ada@box:~$ ./train\n")
    assert [(piece.tool, piece.devices[1].index) for piece in found] == [("nvidia-smi -L", 1)]


def test_what_nvidia_smi_complains_of_at_its_start_is_kept() -> None:
    lost = "Unable to determine the device handle for gpu 0000:41:00.0: GPU is lost.  Reboot the system to recover this GPU\n"
    found = pieces(listed((CARD, A)) + lost + burn(1))
    assert [(event.kind, event.bdf) for event in found[0].events] == [
        ("gpu-lost", "0000:41:00.0"), ("wrong-results", None)]


def test_wrong_products_are_the_card_with_that_uuid(tmp_path: Path) -> None:
    """In a container that has one card of two, nvidia-smi there counts it as 0."""
    found = told(tmp_path, CSV + "$ ./gpu_burn 60\n" + listed((CARD, A)) + burn(1))
    assert [(sighting.kind, sighting.bdf) for sighting in found.events if sighting.bad] == [
        ("wrong-results", "0000:81:00.0")]


def test_a_number_that_was_chosen_is_no_other_tools(tmp_path: Path) -> None:
    """`CUDA_VISIBLE_DEVICES=1 ./gpu_burn` on a host with two."""
    found = told(tmp_path, CSV + "$ CUDA_VISIBLE_DEVICES=1 ./gpu_burn 60\n" + listed((CARD, B), (CARD, A)) + burn(1))
    assert [(sighting.kind, sighting.bdf) for sighting in found.events if sighting.bad] == [("wrong-results", None)]


def test_numbers_of_fewer_cards_than_are_listed_mean_none_of_them() -> None:
    """`nvidia-smi -L` does not know of CUDA_VISIBLE_DEVICES and -i."""
    found = one(listed((CARD, A), (CARD, B)) + burn(1))
    assert [(device.uuid, dict(device.more)) for device in found.devices] == [
        (A, {}), (B, {}), (None, {"cuda_index": 0, "chosen": True})]
    assert any("it ran on 1 (CUDA_VISIBLE_DEVICES or -i chose)" in note for note in found.notes)


def test_of_several_models_cuda_puts_the_fastest_first() -> None:
    found = one(listed(("NVIDIA GeForce GTX 1060", A), (CARD, B)) + burn(2))
    assert [(device.uuid, dict(device.more)) for device in found.devices] == [
        (A, {}), (B, {}), (None, {"cuda_index": 0, "chosen": True}), (None, {"cuda_index": 1, "chosen": True})]
    assert any("fastest first" in note for note in found.notes)


def test_lines_of_devices_are_those_of_the_list() -> None:
    text = "one\n" + listed((CARD, A), (CARD, B)) + burn(2)
    assert [text.splitlines()[device.line - 1] for device in one(text).devices] == listed(
        (CARD, A), (CARD, B)).splitlines()


@pytest.mark.parametrize(("name", "wanted"), [
    ("launch-failure.txt", [("worker-died", "fail", ("gpu1",))]),
    ("no-memory.txt", [("tool-error", "warn", ("gpu1", "died")),
                       ("tool-error", "warn", ("Couldn't init a GPU test",))]),
])
def test_a_worker_that_dies_is_a_fault_unless_it_says_otherwise(
    name: str, wanted: list[tuple[str, str, tuple[str, ...]]]) -> None:
    assert [(event.kind, event.severity, event.labels) for event in one(corpus("gpu-burn", name)).events] == wanted


def test_its_last_words_are_told() -> None:
    assert one(corpus("gpu-burn", "launch-failure.txt")).events[0].says == (
        "the worker of GPU 1 died before it computed anything: Error in load module: unspecified launch failure")


def test_a_worker_that_dies_without_a_word_is_a_fault() -> None:
    text = corpus("gpu-burn", "no-memory.txt").replace(
        "Couldn't init a GPU test: Error in Buffer init (gpu_burn-drv.cpp:204): out of memory\n", "")
    assert [(event.kind, event.labels) for event in one(text).events] == [("worker-died", ("gpu1",))]


def test_one_worker_without_memory_does_not_excuse_two() -> None:
    text = corpus("gpu-burn", "no-memory.txt").replace("81 (61000 Gflop/s)", "-1 (0 Gflop/s)").replace(
        "33000 (61000 Gflop/s)", "-1 (0 Gflop/s)").replace("errors: 0 -", "errors: 55  (DIED!) -")
    found = one(text)
    assert [event.labels for event in found.events if event.kind == "worker-died"] == [("gpu0",), ("gpu1",)]


def test_a_failure_that_no_progress_line_shows() -> None:
    head = listed((CARD, A)) + "Burning for 60 seconds.\n10.0%  proc'd: 162 (55000 Gflop/s)   errors: 0   temps: 60 C\n"
    event, = one(head + "Failure during compute: Error in Record event (gpu_burn-drv.cpp:239): unspecified launch failure\n").events
    assert (event.kind, event.severity, event.labels) == ("worker-died", "fail", ("gpu0",))
    event, = one(head + "No clients are alive!  Aborting\n").events
    assert (event.kind, event.severity) == ("worker-died", "fail")
    event, = one(head + "Failure during compute: Error in SGEMM: out of memory\n").events
    assert (event.kind, event.severity) == ("tool-error", "warn")


def test_a_reason_that_a_mailer_broke_is_read() -> None:
    text = corpus("gpu-burn", "no-memory.txt").replace("(gpu_burn-drv.cpp:204): out of memory", "(gpu_burn-drv.cpp:204): out\nof memory")
    assert {event.severity for event in one(text).events} == {"warn"}


@pytest.mark.parametrize(("said", "wanted"), [
    ("Couldn't init a GPU test: Error in load module (gpu_burn-drv.cpp:239): file not found", True),
    ('Couldn\'t init a GPU test: Error in "load module": ', True),
    ('Couldn\'t init a GPU test: Error in "load module": CUDA_ERROR_NO_BINARY_FOR_GPU', True),
    ("Couldn't init a GPU test: Low mem for result. aborting.", True),
    ("Couldn't init a GPU test: Error (gpu_burn-drv.cpp:113): MPS server is not ready to accept new MPS client requests",
     True),
    ("Couldn't init a GPU test: Error: ", False), ("Couldn't init a GPU test: Error in \"init\": ", False),
    ("Couldn't init a GPU test: Error in load module (gpu_burn-drv.cpp:239): unspecified launch failure", False),
    ('Failure during compute: Error in "Read faultyelemdata": CUDA_ERROR_UNKNOWN', False),
    ("Failure during compute: Error in SGEMM (gpu_burn-drv.cpp:226): uncorrectable ECC error encountered", False),
])
def test_reasons(said: str, wanted: bool) -> None:
    assert blameless(said) is wanted
    assert reason(said) is not None


def test_other_problems_are_no_workers_words() -> None:
    assert reason("No CUDA devices") is None
    assert is_reason_tail("(gpu_burn-drv.cpp:239): unspecified launch failure")
    assert not is_reason_tail("I ran out of patience")


def test_a_line_of_prose_ends_the_list() -> None:
    assert not nvidia_smi.belongs("nvidia-smi -L", "and this is what I see")


@pytest.mark.parametrize(("wrong", "named"), [
    (9, ", ".join(f"GPU {index}" for index in range(9))),
    (18, ", ".join(f"GPU {index}" for index in range(16)) + " and 2 more"),
])
def test_no_gpu_is_lost_where_many_are_wrong(wrong: int, named: str, tmp_path: Path) -> None:
    text = f"Tested {wrong} GPUs:\n" + "".join(f"\tGPU {index}: FAULTY\n" for index in range(wrong))
    (problem,) = told(tmp_path, burn(wrong).partition("Tested")[0] + text).problems
    assert problem.title == f"{wrong} GPUs computed wrong values"
    assert problem.where == named


def test_a_long_run_is_judged_by_its_second_half_too() -> None:
    """A card that slows down after an hour: of thousands of lines only the first ones counted."""
    line = "{:.1f}%  proc'd: {}   errors: 0 - 0 - 0   temps: 70 C - 70 C - 70 C \n"

    def run(slow_from: int, lines: int) -> str:
        return "Burning for 14400 seconds.\n" + listed(*((CARD, f"GPU-0000000{at}-aaaa") for at in range(3))) + "".join(
            line.format(at * 100 / lines, " - ".join(
                f"{at} ({rate} Gflop/s)" for rate in (61000, 61000, 40000 if at >= slow_from else 61000)))
            for at in range(1, lines))

    assert [(event.kind, event.labels) for event in one(run(4600, 9000)).events] == [("slow", ("gpu2",))]
    assert one(run(9000, 9000)).events == ()
