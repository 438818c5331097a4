"""The CUDA backend through NVIDIA's own binding and compiler, over a driver of paper."""

from __future__ import annotations

import pytest

from tests.gpu.mock import run

SKIP = run.reason_to_skip("cuda")


@pytest.mark.skipif(bool(SKIP), reason=SKIP)
@pytest.mark.parametrize("sentence", run.names("cuda"))
def test_the_cuda_backend_does_what_the_scenario_says(sentence: str) -> None:
    assert run.outcomes("cuda")[sentence] == ""
