"""Readers of benchmarks take any text. `BOXCHECK_FUZZ_EXAMPLES=10000 python -m pytest` runs each property so often."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcheck.triage.evidence import Section
from tests.triage.benchmarks import MINE, corpus, fuzz, survives, texts

DIRECTORIES = {
    "nvbandwidth": ("nvbandwidth",), "p2p_test": ("p2p",), "p2p_test_samples": ("p2p",), "p2p_test_superbench": ("p2p",),
    "rocm_bandwidth": ("rocm-bandwidth",), "gpu_burn": ("gpu-burn",), "gpu_burn_memtest": ("gpu-burn",), "rvs": ("rvs",),
    "nccl": ("nccl",), "dcgm": ("dcgm",),
}


def test_every_reader_is_fuzzed() -> None:
    assert set(DIRECTORIES) == MINE


@pytest.mark.parametrize("module", sorted(MINE))
def test_any_text_is_read(module: str) -> None:
    @fuzz
    @given(texts(*DIRECTORIES[module]))
    def check(text: str) -> None:
        survives(module, text)

    check()


@pytest.mark.parametrize("module", sorted(MINE))
def test_any_bytes_are_read(module: str) -> None:
    @fuzz
    @given(st.text(max_size=400))
    def check(text: str) -> None:
        survives(module, text)

    check()


ADVERSE = {
    "nvbandwidth": lambda n: ["Device 0: " + "x" * n, "Running " + "device_" * n, "memcpy CE " + "a " * n, "SUM " + "9" * n],
    "p2p_test": lambda n: ["Device: 0, " + "a, pciBusID: " * n, "P2P Connectivity Matrix", "D\\D " + "0 " * n, "1 " * n],
    "p2p_test_samples": lambda n: ["> Peer access from " + "(GPU0) -> " * n, "32000000 " + "1" * n, "Device 0: " + " " * n],
    "p2p_test_superbench": lambda n: ["gpu0_to_gpu1_by_dma" + " " * n + "1", "Device 0: \"" + "a\"" * n],
    "rocm_bandwidth": lambda n: ["Device: 0,  " + "x, " * n, "Inter-Device Access", "D/D " + "0" * n, "= " * n],
    "gpu_burn": lambda n: ["10.0%  proc'd: " + "1 (1 Gflop/s) - " * n + "errors: " + "0 - " * n + "temps: " + "1 C - " * n,
                           "10.0%  proc'd: " * n, "(" * n],
    "gpu_burn_memtest": lambda n: ["1: Bus=0x01:00 DevId=0x1234 " + " " * n, "0x1 " * n, "ERROR: (" + "a) " * n],
    "rvs": lambda n: ["[RESULT] [ 1.0] [a] p2p-bandwidth [1/2] " + "[GPU:: " * n, "[RESULT] [ 1.0] [a] " + "1 " * n + "pass: TRUE",
                      "bidirectional: " * n],
    "nccl": lambda n: ["33554432 8388608 float " + "1 " * n, "# Rank 0 Group 0 Pid 1 on " + "h" * n, "1 " * n],
    "dcgm": lambda n: ["| PCIe | Fail - GPUs: " + "1, " * n + "|", "|-----  A" + "a" * n, "| Warning | " + "GPU 1 " * n + "|",
                       "| -> " + "-> " * n + "|", "| " * n, "Error: Unable to complete diagnostic" + " GPU is" * n],
}


@pytest.mark.parametrize("module", sorted(MINE))
def test_time_grows_with_length_and_not_with_its_square(module: str) -> None:
    from importlib import import_module

    reader = import_module(f"boxcheck.triage.tools.{module}")

    def seconds(n: int) -> float:
        lines = tuple(ADVERSE[module](n)) * 3
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            for line in lines:
                reader.begins(line)
                reader.belongs(module, line)
            reader.read(Section(variant=module, lines=lines, first_line=1))
            best = min(best, time.process_time() - start)
        return best

    short, long = seconds(2_000), seconds(64_000)
    assert long < max(200 * short, 0.5), f"{short:.4f} s for 2000, {long:.4f} s for 64000"


def test_a_hundred_thousand_lines_of_progress_are_read_in_seconds() -> None:
    from boxcheck.triage.tools import gpu_burn

    line = next(line for line in corpus("gpu-burn", "sound.txt").split("\n") if "proc'd" in line)
    start = time.process_time()
    evidence = gpu_burn.read(Section(variant="gpu_burn", lines=(line,) * 100_000, first_line=1))
    assert evidence.readings["gpu"] == [0, 1, 2, 3]
    assert time.process_time() - start < 20
