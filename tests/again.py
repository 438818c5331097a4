"""`python -m tests.again`: after a run of all tests in which only a few failed, all of them where time is not the test's own.

A guest without KVM, a worker that must answer within seconds, a screen in a terminal: where the host does other work these
wait for a processor, and a test of them can fail though nothing is wrong. Their files run once more, in one process with
nothing beside; what fails twice has failed. A failure anywhere else, or many, is none of the clock's doing and stands.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLOCKED = ("cli", "certify", "engine", "gpu", "host", "kernel", "riser", "store", "stress", "telemetry", "tui")
"""Folders whose tests start processes and wait for them. Tests of what a capture or a text means are in the others."""
MOST_FILES = 4
"""Of those outside the kernel bench. More at once are a fault, not a busy machine."""


def to_repeat(failed: list[str]) -> list[str]:
    """The files to run once more; none where one failure is not the clock's, or too many files failed.

    Whole files: tests in one guest build on each other.
    """
    files = sorted({test.split("::")[0] for test in failed})
    others = [file for file in files if not file.startswith("tests/kernel/")]
    if len(others) > MOST_FILES or not all(file.startswith(tuple(f"tests/{name}/" for name in CLOCKED)) for file in files):
        return []
    return files


def main() -> int:
    try:
        failed = list(json.loads((ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed").read_text()))
    except (OSError, ValueError):
        return 1
    files = to_repeat(failed)
    if not files:
        return 1
    print(f"failed in {', '.join(files)}: once more, with nothing beside", flush=True)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--durations=0", "--durations-min=5", *files], check=False, cwd=ROOT,
        env={**os.environ, "BOXCHECK_BENCH": os.environ.get("BOXCHECK_BENCH", "require")}).returncode


if __name__ == "__main__":
    raise SystemExit(main())
