"""A bandwidth of zero is no measurement: it is told, and never taken for the absence of a fault."""

from __future__ import annotations

import pytest

from boxcheck.triage.tools.matrix_judge import Gpu, HostCopies, Measured, judge_host, judge_pairs
from tests.triage.benchmarks import corpus, one


@pytest.mark.parametrize("names", [("NVIDIA GeForce RTX 4090",) * 2, ("NVIDIA GeForce RTX 4090", "Tesla P40"), ()])
def test_a_zero_between_gpus_is_told(names: tuple[str, ...]) -> None:
    gpus = {index: Gpu(index=index, name=name) for index, name in enumerate(names)}
    zero = Measured(cells=[[900.0, 0.0], [0.0, 900.0]], words="one way", line=3)
    found = judge_pairs([zero], gpus)
    assert [(event.kind, event.severity, event.labels) for event in found] == [("p2p-slow", "warn", ("zero",))]
    assert found[0].says.startswith("2 of 2 copies between GPUs are printed as 0 GB/s (one way)")


def test_the_diagonal_and_what_is_no_number_are_no_zero() -> None:
    for cells in ([[0.0, 24.0], [24.0, 0.0]], [[None, None], [None, None]]):
        assert judge_pairs([Measured(cells=cells, words="one way", line=3)], {}) == []


def test_a_zero_from_the_host_is_told() -> None:
    found = judge_host([HostCopies(rates={0: 0.0, 1: 26.0}, words="host to device", line=3)], {})
    assert [(event.kind, event.severity, event.labels) for event in found] == [("copy-slow", "warn", ("gpu0",))]
    assert "printed as 0 GB/s" in found[0].says


@pytest.mark.parametrize(("tool", "name", "old", "new", "label"), [
    ("p2p", "bandwidthtest-sound.txt", None, "0.0", "gpu0"),
    ("rvs", "pebb-slow-gpu.txt", "11.900 GBps", "0.000 GBps", "gpu27226"),
    ("rocm-bandwidth", "riser-x4.txt", "6.910", "0.000", "gpu3"),
])
def test_each_reader_hands_a_zero_on(tool: str, name: str, old: str | None, new: str, label: str) -> None:
    text = corpus(tool, name)
    if old is None:
        old = next(line for line in text.splitlines() if line.strip().startswith("32000000")).split()[1]
    found = [event for event in one(text.replace(old, new)).events if event.kind == "copy-slow"]
    assert [event.labels for event in found if "printed as 0 GB/s" in event.says] == [(label,)]
