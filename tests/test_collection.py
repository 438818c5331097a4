"""Every process finds the same tests in the same order: those that share a run must, and a name that changes from one run to
the next cannot be asked for again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEXT_SECOND_AFTER = 1.1
"""Packed files carry the second of their making."""


def test_the_same_tests_whatever_the_order_of_sets_and_whatever_the_second(tmp_path: Path) -> None:
    started = []
    for seed in ("1", "3"):
        with open(tmp_path / seed, "wb") as out:
            started.append(subprocess.Popen(
                [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "--collect-only", "-q", "-o", "addopts=", "tests"],
                env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT))
        time.sleep(NEXT_SECOND_AFTER)
    assert [process.wait(timeout=300) for process in started] == [0, 0], (tmp_path / "1").read_text()[-2000:]
    first, second = ([line for line in (tmp_path / seed).read_text().splitlines() if "::" in line] for seed in ("1", "3"))
    assert len(first) > 1000
    assert first == second
