"""Transfers through the bindings and a mock driver, which does its work as late and in as bad an order as it may.

So a copy that does not wait for its data, or a comparison that does not wait for a copy, is found here and nowhere else
but on a GPU. Skips where no binding is installed (BOXCHECK_TEST_CUDA_PYTHON, BOXCHECK_TEST_HIP_PYTHON).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxcheck.kernels.catalogue import digest, memory, product, verification
from tests.gpu.mock.run import ROOT, prepare, python_for, reason_to_skip

MODULES = ("p2p", "collective", "copy")


@pytest.fixture(scope="module", params=["cuda", "hip"])
def driver(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str]]]:
    backend = request.param
    why = reason_to_skip(backend)
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="boxcheck-mock-") as folder:
        sources = (memory(), digest(), product("bf16"), verification("bf16"))
        yield backend, {**prepare(backend, Path(folder), sources), "MOCK_DEVICES": "7", "MOCK_BUDGET": str(64 << 20)}


def run(driver: tuple[str, dict[str, str]], *words: str) -> dict[str, Any]:
    backend, environment = driver
    done = subprocess.run(
        [str(python_for(backend)), "-m", "tests.stress.driver_child", backend, *words], cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("count", ["2", "7"])
def test_every_payload_is_right_however_late_the_driver_works(driver: tuple[str, dict[str, str]], count: str) -> None:
    found = run(driver, count, "waits")
    for module in MODULES:
        assert found[module]["wrong"] == 0
        assert found[module]["samples"] >= 9
        for id, outcomes in found[module]["outcomes"].items():
            assert set(outcomes) <= {"pass", "skip"}, id
        assert found[module]["outcomes"][f"{module}.wrong-words"] == ["pass"]
    assert found["violations"] == 0
    assert not any(found["left"].values())


def test_without_waiting_the_mock_driver_shows_wrong_payloads(driver: tuple[str, dict[str, str]]) -> None:
    found = run(driver, "3", "no-waits")
    assert all(found[module]["wrong"] for module in MODULES)


def test_pairs_without_access_are_staged_through_the_driver_as_well(driver: tuple[str, dict[str, str]]) -> None:
    found = run(driver, "3", "waits", "0-1")
    assert found["p2p"]["wrong"] == found["collective"]["wrong"] == 0
    assert "p2p.staged" in found["p2p"]["whats"]
    assert "collective.staged.all-reduce" in found["collective"]["whats"]
    assert found["violations"] == 0
