"""The HIP backend through AMD's own binding, over a runtime and a compiler of paper."""

from __future__ import annotations

import pytest

from tests.gpu.mock import run

SKIP = run.reason_to_skip("hip")


@pytest.mark.skipif(bool(SKIP), reason=SKIP)
@pytest.mark.parametrize("sentence", run.names("hip"))
def test_the_hip_backend_does_what_the_scenario_says(sentence: str) -> None:
    assert run.outcomes("hip")[sentence] == ""
