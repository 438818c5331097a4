"""simpleP2P and bandwidthTest, several runs of them in one paste."""

from __future__ import annotations

import pytest

from boxcheck.decode.p2p_test_samples import parse


@pytest.mark.parametrize(("lines", "passed"), [
    (["Test passed"], True), (["Test failed!"], False), (["Test failed!", "Result = PASS"], False),
    (["Result = PASS", "Test failed!"], False), (["nothing of it"], None)])
def test_a_run_that_failed_is_told_whatever_passed_beside_it(lines: list[str], passed: bool | None) -> None:
    assert parse(lines).passed is passed
