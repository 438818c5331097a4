"""A bandwidth of zero is no measurement: it is told, and never taken for the absence of a fault."""

from __future__ import annotations

import pytest

from boxcheck.triage.tools.matrix_judge import Gpu, HostCopies, Measured, judge_host, judge_pairs


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
