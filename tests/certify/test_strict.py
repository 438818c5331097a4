"""An attempt that is gone on with by `--resume --strict` is strict: its disposition, its lines and its exit code."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from boxcheck.store.reader import RunReader
from tests.certify.test_certify import Bench
from tests.report.ocp import read


@pytest.mark.parametrize(("first", "then"), [((), ("--strict",)), (("--strict",), ())])
def test_strict_at_any_time_makes_the_attempt_strict(
    tmp_path: Path, first: tuple[str, ...], then: tuple[str, ...],
) -> None:
    bench = Bench(tmp_path)
    going = bench.start("--serial", "W-1", "--operator", "A", *first, acceptance="20s")
    with RunReader(bench.asked("W-1")["run"]) as reader:
        engine = reader.run().sessions[-1].pid
    os.kill(engine, signal.SIGKILL)
    os.kill(going.pid, signal.SIGKILL)
    going.wait(10)
    place = tmp_path / "live.jsonl"
    done = bench.call("certify", "--resume", "W-1", *then, "--ocptv", str(place), "-q")
    assert done.returncode == 1, done.stdout + done.stderr
    told = bench.told("W-1", 1)
    assert (told.disposition, told.strict, told.exit_code) == ("FAIL", True, 1)
    assert told.reason.endswith("which --strict fails")
    lines = read(place.read_text())
    assert lines[1]["testRunArtifact"]["testRunStart"]["parameters"]["strict"] is True
    assert lines[-1]["testRunArtifact"]["testRunEnd"] == {"status": "COMPLETE", "result": "FAIL"}
    assert not any(line.startswith(("PASS", "MARGINAL")) for line in done.stdout.splitlines())
