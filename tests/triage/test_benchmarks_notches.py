"""Each judgement of the benchmarks' readers: a text on which it is made, and one by a notch on which it is not."""

from __future__ import annotations

import json

import pytest

from boxcheck.decode.nvbandwidth import MAX_TESTS
from boxcheck.triage.tools import nvbandwidth
from boxcheck.triage.tools.matrix_cards import no_peer_reason, part_named
from tests.triage.benchmarks import corpus, cut, kinds, one, read

PAIRS = [
    ("nvbandwidth", "riser-x4.txt", "riser-x4-notch.txt", "p2p-slow"),
    ("nvbandwidth", "riser-x4.txt", "riser-x4-notch.txt", "copy-slow"),
    ("nvbandwidth", "all-gen3.txt", "all-above-half-notch.txt", "copy-slow"),
    ("nvbandwidth", "wrong-payload.txt", "riser-x4-notch.txt", "validation-failed"),
    ("nvbandwidth", "waived-geforce.txt", "riser-x4-notch.txt", "tool-waived"),
    ("nvbandwidth", "cuda-error.txt", "riser-x4-notch.txt", "tool-error"),
    ("p2p", "gpu2-gen3-x4.txt", "patched-sound.txt", "p2p-slow"),
    ("p2p", "stock-geforce.txt", "patched-sound.txt", "p2p-unavailable"),
    ("p2p", "enabled-slower.txt", "enabled-slower-notch.txt", "p2p-slow"),
    ("p2p", "latency.txt", "latency-notch.txt", "p2p-latency"),
    ("p2p", "simple-wrong.txt", "simple-passed.txt", "validation-failed"),
    ("p2p", "simple-waived.txt", "simple-passed.txt", "tool-waived"),
    ("p2p", "bandwidthtest-x4.txt", "bandwidthtest-sound.txt", "copy-slow"),
    ("rocm-bandwidth", "validation-memory.txt", "validation-passed.txt", "wrong-results"),
    ("rocm-bandwidth", "validation-one-gpu.txt", "validation-passed.txt", "validation-failed"),
    ("rocm-bandwidth", "small-bar.txt", "no-peers.txt", "bar-small"),
    ("gpu-burn", "one-faulty.txt", "sound.txt", "wrong-results"),
    ("gpu-burn", "overflow-faulty.txt", "sound.txt", "wrong-results"),
    ("gpu-burn", "died.txt", "never-started.txt", "worker-died"),
    ("gpu-burn", "launch-failure.txt", "no-memory.txt", "worker-died"),
    ("gpu-burn", "ok-without-work.txt", "sound.txt", "not-tested"),
    ("gpu-burn", "slow.txt", "slow-notch.txt", "slow"),
    ("gpu-burn", "hot.txt", "slow-notch.txt", "hot"),
    ("gpu-burn", "memtest-errors.txt", "memtest-passed.txt", "wrong-results"),
    ("rvs", "pbqt-slow-gpu.txt", "sound.txt", "p2p-slow"),
    ("rvs", "gst-missed.txt", "sound.txt", "slow"),
    ("rvs", "gst-missed.txt", "sound.txt", "test-failed"),
    ("rvs", "gst-older-wording.txt", "gst-older-wording-notch.txt", "slow"),
    ("rvs", "summary-table.txt", "sound.txt", "test-failed"),
    ("rvs", "gst-self-check.txt", "sound.txt", "wrong-results"),
    ("nccl", "wrong.txt", "sound.txt", "wrong-results"),
    ("nccl", "floor-missed.txt", "sound.txt", "slow"),
    ("nccl", "failed.txt", "sound.txt", "tool-error"),
    ("dcgm", "diag-r3-mixed.txt", "diag-r3-sound.txt", "link-replays"),
    ("dcgm", "diag-r3-mixed.txt", "diag-r3-sound.txt", "slow"),
    ("dcgm", "diag-r2-memory.txt", "diag-r3-sound.txt", "wrong-results"),
    ("dcgm", "diag-r2-memory.txt", "diag-r3-sound.txt", "ecc-errors"),
    ("dcgm", "diag-4-width.txt", "diag-4-heat-xid.txt", "link-width"),
    ("dcgm", "diag-4-heat-xid.txt", "diag-4-width.txt", "xid"),
    ("dcgm", "diag-4-heat-xid.txt", "diag-4-width.txt", "throttled"),
    ("dcgm", "diag-4-pass-beside-error.txt", "diag-4-width.txt", "tool-error"),
    ("dcgm", "diag-skipped-geforce.txt", "diag-r1.txt", "tool-waived"),
    ("dcgm", "diag-r2-cut-off.txt", "diag-r1.txt", "cuda-not-ready"),
    ("dcgm", "health-failure.txt", "health-healthy.txt", "ecc-errors"),
    ("dcgm", "discovery-lost.txt", "discovery.txt", "gpu-lost"),
    ("dcgm", "refused-lost.txt", "refused-host-engine.txt", "gpu-lost"),
]


@pytest.mark.parametrize(("tool", "fires", "sound", "kind"), PAIRS, ids=lambda value: str(value))
def test_it_fires_and_by_a_notch_does_not(tool: str, fires: str, sound: str, kind: str) -> None:
    assert kind in [event.kind for event in one(corpus(tool, fires)).events]
    assert kind not in [event.kind for event in one(corpus(tool, sound)).events]


@pytest.mark.parametrize("name", ["p2p/patched-sound.txt", "p2p/simple-passed.txt", "p2p/bandwidthtest-sound.txt",
                                  "rocm-bandwidth/validation-passed.txt", "gpu-burn/sound.txt", "rvs/sound.txt",
                                  "gpu-burn/memtest-passed.txt", "nccl/sound.txt", "nccl/old-error-column.txt"])
def test_a_sound_run_frightens_nobody(name: str) -> None:
    assert not one(corpus(*name.split("/"))).events


def test_a_fault_in_a_benchmark_names_no_cause_that_the_text_does_not_tell() -> None:
    for tool, name in (("p2p", "simple-wrong.txt"), ("gpu-burn", "one-faulty.txt"), ("nccl", "wrong.txt")):
        event = one(corpus(tool, name)).events[0]
        assert (event.severity, event.cause) == ("fail", None)
        assert len(event.help) >= 3


def test_the_figure_of_simple_p2p_is_turned_from_gib_into_gb() -> None:
    assert one(corpus("p2p", "simple-passed.txt")).readings["pair_gigabytes_per_second"] == pytest.approx(26.0, abs=0.01)


def test_a_document_of_nvbandwidth_is_read_like_its_text() -> None:
    evidence = nvbandwidth.read_json(json.loads(corpus("nvbandwidth", "document.json")))
    assert evidence is not None
    assert [device.bdf for device in evidence.devices] == ["0000:01:00.0", "0000:21:00.0"]
    assert kinds(evidence) == [("validation-failed", "fail", None), ("copy-slow", "warn", "0000:21:00.0"),
                               ("tool-waived", "info", None)]


@pytest.mark.parametrize("value", [
    None, [], {}, {"nvbandwidth": 3}, {"nvbandwidth": {"testcases": 7, "GPU Device list": [1, None, {}]}},
    {"nvbandwidth": {"testcases": [{"name": 3, "bandwidth_matrix": [[10**400, float("nan"), True, [], "-nan"], 4]}]}},
    {"nvbandwidth": {"testcases": [None, {"status": "Passed", "bandwidth_description": "GPU(row)", "bandwidth_matrix": [[]],
                                          "name": "device_to_device_memcpy_read_ce"}]}},
])
def test_any_document_is_answered(value: object) -> None:
    evidence = nvbandwidth.read_json(value)
    assert evidence is None or not [event for event in evidence.events if event.severity == "fail"]


def test_two_runs_after_one_another_are_two_pieces_of_evidence() -> None:
    text = corpus("nccl", "sound.txt") + "user@bench:~$ ./p2pBandwidthLatencyTest\n" + corpus("p2p", "patched-sound.txt")
    assert [evidence.tool for evidence in read(text)] == ["nccl-tests", "p2pBandwidthLatencyTest"]


def test_progress_that_overwrites_itself_is_read_from_one_line() -> None:
    text = corpus("gpu-burn", "slow.txt").replace("%  proc'd", "%  proc'd").split("50.0%")
    glued = text[0] + "\r".join("50.0%" + text[1].split("\n")[0] for _ in range(50)) + "\n" + "\n".join(text[1].split("\n")[1:])
    assert [event.kind for event in one(glued).events] == ["slow"]


def test_a_wrapped_progress_line_of_gpu_burn_still_names_the_gpu() -> None:
    wrapped = []
    for line in corpus("gpu-burn", "one-faulty.txt").split("\n"):
        while len(line) > 76:
            at = line.rfind(" ", 0, 76)
            wrapped.append(line[:at])
            line = line[at + 1:]
        wrapped.append(line)
    evidence = one("\n".join(wrapped))
    assert [(event.kind, event.labels) for event in evidence.events] == [("wrong-results", ("gpu2",))]


def test_a_log_line_ends_a_matrix() -> None:
    lines = corpus("p2p", "patched-sound.txt").split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("Bidirectional P2P=Enabled")) + 2
    text = "\n".join([*lines[:at], "[  100.0] NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus."])
    found = cut(text)
    assert [module for module, _ in found] == ["p2p_test"]
    assert "all pairs: a matrix is cut off here" in one(text).notes


@pytest.mark.parametrize(("name", "key"), [
    ("NVIDIA GeForce RTX 4090", "rtx4090"), ("Tesla V100-PCIE-32GB", "v100-pcie-32gb"), ("Radeon RX 7900 XTX", "rx7900xtx"),
    ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"), ("NVIDIA GeForce RTX 4090 Laptop GPU", None), ("", None),
    ("NVIDIA GeForce RTX 2080", None), ("NVIDIA GeForce RTX 3080", "rtx3080"), ("Quadro RTX 6000", None), ("x" * 5000, None),
])
def test_cards_are_known_by_the_names_that_tools_print(name: str, key: str | None) -> None:
    part = part_named(name)
    assert (part.name if part else None) == (part_of_key(key) if key else None)


def part_of_key(key: str) -> str:
    from boxcheck.profile import load_gpus

    return load_gpus()[key].name


def test_the_reason_for_no_peer_access_is_the_cards() -> None:
    assert "stock driver" in no_peer_reason(["NVIDIA GeForce RTX 2080 Ti"])[0]
    assert "stock driver" not in no_peer_reason(["NVIDIA RTX A6000"])[0]
    assert "HSA_AMD_P2P" in no_peer_reason(["Radeon RX 7900 XTX"])[0]


def test_pairs_of_different_cards_are_not_compared_and_the_account_says_so() -> None:
    text = corpus("p2p", "gpu2-gen3-x4.txt").replace("Device: 2, NVIDIA GeForce RTX 4090", "Device: 2, NVIDIA GeForce RTX 5090")
    evidence = one(text)
    assert "p2p-slow" not in [event.kind for event in evidence.events]
    assert any("not compared" in note for note in evidence.notes)


def test_all_pairs_low_of_three_cards_are_a_setting_and_of_two_may_be_a_link() -> None:
    two = one(corpus("p2p", "both-x4.txt")).events[0]
    assert (two.labels, two.severity, two.cause) == (("all",), "warn", None)
    three = one(corpus("p2p", "patched-sound.txt").replace("24.30", " 6.60").replace("21.10", " 6.30")).events[0]
    assert (three.labels, three.severity, three.cause) == (("all",), "info", "config")


@pytest.mark.parametrize(("line", "gpu", "kind"), [
    ("[RESULT] [497544.637462] [action_1] gst 50599 Target: 5000.000000 met: FALSE", 50599, "test-failed"),
    ("[RESULT] [ 56.1] Action name :gst-fp8, Module name :gst, GPU Id :33344, GFLOPS :312.1, Target GFLOPS: 1215000, "
     "met: FALSE", 33344, "slow"),
    ("[RESULT] [302017.167195] [gst-1] [GPU:: 42583] GFLOPS 41200 Target GFLOPS: 65000 met: FALSE", 42583, "slow"),
    ("[RESULT] [302017.16719 ] [gst-1] [GPU:: 42583] GFLOPS 41200 Target GFLOPS: 65000 met: FALSE", 42583, "slow"),
    ("[RESULT] [497544.637462] [edp_1] edp 50599 Gflops 100.0 Target stress : 900.0 met :FALSE", 50599, "slow"),
    ("[RESULT] [497544.637462] [smqt_1]  smqt 50599 false", 50599, "test-failed"),
])
def test_targets_of_rvs_that_are_not_met(line: str, gpu: int, kind: str) -> None:
    event, = one(line + "\n").events
    assert (event.kind, event.severity) == (kind, "warn")
    assert f"gpu{gpu}" in event.labels
    assert not one(line.replace("FALSE", "TRUE").replace("false", "true") + "\n").events


def test_an_action_that_failed_once_has_failed() -> None:
    line = "[RESULT] [302017.167195] [gst-1] [GPU:: 42583] GFLOPS 41200 Target GFLOPS: 65000 met: FALSE\n"
    assert [event.kind for event in one(line + line.replace("FALSE", "TRUE")).events] == ["slow"]


def test_more_wrong_elements_than_a_figure_has_are_counted() -> None:
    """`%5g` of nccl-tests: 8 GiB of floats that are all wrong."""
    text = corpus("nccl", "sound.txt").split("# Out of bounds")[0]
    row = next(line for line in text.splitlines() if " float " in line).split()
    assert row[8] == row[12] == "0"
    whole = " ".join((*row[:8], "2.14748e+09", *row[9:12], "2.14748e+09"))
    assert [event.kind for event in one(text.replace("\n# Using", f"\n{whole}\n# Using")).events] == ["wrong-results"]
    broken = whole.replace(" 2.14748e+09", "\n2.14748e+09", 1)
    assert one(text.replace("\n# Using", f"\n{broken}\n# Using")).readings["wrong_elements"] == 2 * 2147480000


@pytest.mark.parametrize("error", ["nan", "-nan", "inf", "1000000000000000019884624838656.000000"])
def test_a_product_beyond_any_number_is_no_matter_of_rounding(error: str) -> None:
    event, = one(f"[RESULT] [302410.100000] [gst_1] [GPU:: 42583] self-check error {error}\n").events
    assert (event.kind, event.severity) == ("wrong-results", "fail")
    assert event.says == "GPU 42583 computed products that differ beyond any measure (self-check)"


def test_a_wrong_payload_is_told_also_behind_a_test_that_passed() -> None:
    """Standard error and output come together in any order, and `grep` leaves the line that names the test."""
    text = corpus("nvbandwidth", "riser-x4-notch.txt") + " Invalid value when checking the pattern at 0x7f0000000000\n"
    assert ("validation-failed", "fail", None) in kinds(one(text))


def test_pinned_memory_counts_where_pageable_was_measured_too() -> None:
    text = corpus("p2p", "bandwidthtest-x4.txt")
    pageable = text.replace("PINNED", "PAGEABLE").replace("6.4", "4.4").replace("6.6", "4.6")
    assert [event.kind for event in read(pageable + text)[0].events] == []
    host = text.partition(" Device to Device")[0]
    both = pageable.partition("Result")[0] + host.partition("Quick Mode")[2] + "Result = PASS\n"
    assert "copy-slow" in [event.kind for event in one(both).events]


@pytest.mark.parametrize(("tool", "fails", "sound", "kind"), [
    ("rocm-bandwidth", "validation-memory.txt", "validation-passed.txt", "wrong-results"),
    ("nccl", "old-error-column.txt", "old-error-column.txt", "wrong-results"),
    ("nccl", "floor-missed.txt", "sound.txt", "slow"),
])
def test_of_several_runs_in_one_text_the_one_that_failed_is_told(tool: str, fails: str, sound: str, kind: str) -> None:
    """Each run overwrote what the one before it said, or only the first was kept."""
    bad, good = corpus(tool, fails).strip("\n") + "\n", corpus(tool, sound).strip("\n") + "\n"
    if fails == sound:
        assert "Out of bounds values : 0 OK" in good
        bad = good.replace("Out of bounds values : 0 OK", "Out of bounds values : 3 FAILED")
    for text in (bad + good, good + bad):
        assert kind in [event.kind for event in one(text).events]
    assert kind not in [event.kind for event in one(good + good).events]


def test_the_last_of_several_collectives_may_be_cut() -> None:
    whole = corpus("nccl", "sound.txt").strip("\n") + "\n"
    cut_note = "the outcome: the closing lines are missing"
    assert cut_note not in one(whole + whole).notes
    assert cut_note in one(whole + whole.split("# Out of bounds")[0]).notes


def test_a_wrong_payload_is_told_also_behind_more_tests_than_are_kept() -> None:
    test = ("Running host_to_device_memcpy_ce.\nmemcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)\n           0\n"
            " 0     25.0\n\nSUM host_to_device_memcpy_ce 25.0\n\n")
    text = "nvbandwidth Version: v0.8\n" + (MAX_TESTS + 1) * test
    assert kinds(one(text)) == []
    assert f"tests after the first {MAX_TESTS}, but for payloads that arrived wrong" in one(text).notes
    wrong = text + "Running host_to_device_memcpy_ce.\nInvalid value when checking the pattern at 0x7f0000000000\n"
    assert ("validation-failed", "fail", None) in kinds(one(wrong))


def test_nvbandwidth_that_was_cut_says_what_is_not_here() -> None:
    text = corpus("nvbandwidth", "riser-x4-notch.txt")
    assert not any("here" in note for note in one(text).notes)
    lines = text.splitlines(keepends=True)
    last = max(at for at, line in enumerate(lines) if line.startswith("Running device_to_device"))
    row = next(at for at in range(last, len(lines)) if lines[at].strip().startswith("1 "))
    assert "all pairs: a matrix is cut off here" in one("".join(lines[:row])).notes
    assert "1 of the tests: they have no result here" in one("".join(lines[:last + 1])).notes


def test_rates_of_rocm_bandwidth_test_without_its_devices_are_said_to_be_not_compared() -> None:
    text = corpus("rocm-bandwidth", "riser-x4.txt")
    cut_off = "".join(line for line in text.splitlines(keepends=True) if not line.strip().startswith("Device: "))
    note = "which of its numbers are GPUs: the list of devices is missing, so nothing is compared"
    assert one(cut_off).events == ()
    assert note in one(cut_off).notes
    assert note not in one(text).notes
