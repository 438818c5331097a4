"""A burn-in ends, whatever its steps do: far beyond its plan it is stopped; and heat stops all of it with exit code 5."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from boxcheck.engine.burn import Job
from boxcheck.engine.plan import Plan, Step
from boxcheck.engine.rejudge import rejudge
from boxcheck.profile import load_profile
from boxcheck.store.reader import RunReader
from boxcheck.store.schema import SUFFIX

ENGINE = "import boxcheck.engine.burn as burn\nburn.OVERTIME, burn.SPARE_SECONDS = 0.0, 3.0\nburn.main()"


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(folder), "OPENBLAS_NUM_THREADS": "1", "BOXCHECK_CPU_DEVICES": "1"}


def test_a_run_that_goes_far_beyond_its_plan_is_stopped(tmp_path: Path) -> None:
    plan = Plan(name="x", exact=True, steps=(
        Step(name="vram", kind="stress", modules=("vram",), seconds=600, options={"megabytes": "4"}),
        Step(name="matmul", kind="stress", modules=("matmul",), seconds=600)))
    job = Job(plan=plan, folder=str(tmp_path), gpus=("cpu:0",), backend="cpu", profile="generic")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", ENGINE], input=msgspec.json.encode(job), env=environment(tmp_path), capture_output=True,
        timeout=90, check=False)
    assert time.monotonic() - began < 30, "600 s were planned, and 3 s are the most"
    path = done.stdout.decode().splitlines()[0]
    with RunReader(path) as reader:
        run, phases = reader.run(), reader.phases()
    assert run.end is not None
    assert (run.end.state, run.end.reason) == ("stopped", "it went far beyond its plan")
    assert [phase.plan.name for phase in phases if phase.started] == ["vram"]
    assert run.end.outcome != "pass"


def burn(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boxcheck", "burn", "--backend", "cpu", *words], env=environment(folder),
        capture_output=True, text=True, timeout=120, check=False)


def test_a_hot_device_ends_a_run_with_code_5_and_the_reading_is_in_its_record(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    plan = tmp_path / "plan.toml"
    plan.write_text('name = "x"\n' + "".join(
        f'[[step]]\nmodule = "{name}"\nminutes = 5\n' for name in ("matmul", "vram")))
    began = time.monotonic()
    done = burn(tmp_path, "--plan", str(plan), "--profile", "generic", "--inject", "hot", "--json", str(out))
    assert time.monotonic() - began < 60
    assert done.returncode == 5, done.stderr
    found = json.loads(out.read_text())
    (stopped,) = [one for one in found["findings"] if one["check"] == "stress.safety" and one["outcome"] == "fail"]
    assert stopped["measured"]["value"] == 120.0
    assert stopped["limit"]["name"] == "safety.gpu_celsius"
    assert [module["name"] for module in found["modules"]] == ["matmul"]
    (path,) = (tmp_path / "boxcheck" / "runs").glob(f"*-burn{SUFFIX}")
    with RunReader(str(path)) as reader:
        run, (event,) = reader.run(), [one for one in reader.events() if one.kind == "safety-stop"]
    assert run.end is not None
    assert run.end.state == "stopped"
    assert "stopped for safety: cpu:0: core at 120 °C" in run.end.reason
    data: Any = event.data
    assert (data["value"], data["bound"], data["sensor"], data["limit"]) == (120.0, 100.0, "core", "safety.gpu_celsius")
    assert data["monotonic_seconds"] > 0


def test_the_profile_of_another_box_is_refused_before_any_load_unless_told(tmp_path: Path) -> None:
    other = burn(tmp_path, "--profile", "tinybox-green")
    assert other.returncode == 2
    assert "is the profile of another box" in other.stderr
    assert "Traceback" not in other.stderr
    forced = burn(tmp_path, "--profile", "tinybox-green", "--force-profile", "--dry-run")
    assert forced.returncode == 0, forced.stderr
    assert "safety.gpus_watts: above 2975 W" in forced.stdout


STUCK = """import time
import boxcheck.engine.bounded as bounded
import boxcheck.commands.doctor as doctor
import boxcheck.engine.burn as burn
bounded.MOST_SECONDS = bounded.LEAST_SECONDS = 1.0
doctor.examine = lambda options: time.sleep(600)
burn.main()"""


def test_a_reading_by_doctor_that_never_comes_back_ends_the_run_and_nothing_is_loaded(tmp_path: Path) -> None:
    plan = Plan(name="x", exact=True, steps=(
        Step(name="doctor before", kind="doctor", seconds=8),
        Step(name="matmul", kind="stress", modules=("matmul",), seconds=600),
        Step(name="doctor after", kind="doctor", seconds=8)))
    job = Job(plan=plan, folder=str(tmp_path), gpus=("cpu:0",), backend="cpu", profile="generic")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STUCK], input=msgspec.json.encode(job), env=environment(tmp_path), capture_output=True,
        timeout=90, check=False)
    assert time.monotonic() - began < 40
    with RunReader(done.stdout.decode().splitlines()[0]) as reader:
        run, phases = reader.run(), reader.phases()
        assert [one.kind for one in reader.events() if one.severity == "fail"] == ["doctor-stuck"]
        again = rejudge(reader, load_profile("generic"), chosen=False)
    assert run.end is not None
    assert (run.end.state, run.end.reason) == ("stopped", "doctor before: it did not come to an end within 1 s")
    assert run.end.outcome not in ("pass", None)
    assert again.verdict.outcome.value == run.end.outcome
    assert [phase.plan.name for phase in phases if phase.started] == ["doctor before"]
