"""What goes wrong in a step is told when it happens, and what a run did not do is told at its end: by the engine itself."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boxcheck.engine.burn import Burn
from boxcheck.engine.job import Job
from boxcheck.engine.messages import Run
from boxcheck.engine.modules import Wanted, run_module
from boxcheck.engine.plan import Plan, Step
from boxcheck.engine.resume import first_undone
from boxcheck.engine.supervise import Crew, Told, list_devices
from boxcheck.engine.told_troubles import crashes_in
from boxcheck.gpu import GpuInfo
from boxcheck.judge import judge
from boxcheck.model import BOX, Crash, Finding, Outcome
from boxcheck.profile import load_profile
from boxcheck.registry import STRESSES, discover, discover_stress
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import RunInfo
from boxcheck.stress import Sample, Trouble
from tests.engine.test_burn import Box

discover()
discover_stress()
GENERIC = load_profile("generic")
TWO = {"BOXCHECK_CPU_DEVICES": "2", "OPENBLAS_NUM_THREADS": "1"}
COOL = Step(name="cool-down", kind="cool-down", seconds=30.0)
BEFORE = Step(name="doctor before", kind="doctor", seconds=8.0)
AFTER = Step(name="doctor after", kind="doctor", seconds=8.0)


def burn_of(folder: Path, *steps: Step, **job: Any) -> Burn:
    plan = Plan(name="x", exact=True, steps=steps)
    asked = Job(plan=plan, folder=str(folder), gpus=("cpu:0",), backend="cpu", profile="generic", **job)
    return Burn(asked, create_run(str(folder), RunInfo(kind="burn", version="1")), GENERIC)


def test_a_worker_that_died_is_told_while_the_others_go_on() -> None:
    cpus = list_devices("cpu", environment=TWO)
    assert not isinstance(cpus, Trouble)
    told: list[tuple[str, str]] = []
    with Crew([[info] for info in cpus], environment=TWO) as crew:
        first, _ = crew.open_workers()

        def seen(gpus: tuple[GpuInfo, ...], what: Told) -> None:
            key = gpus[0].key
            if isinstance(what, Trouble):
                told.append((key, what.kind))
            elif isinstance(what, Sample):
                if key == "cpu:0" and what.what.endswith("power") and first.alive:
                    os.kill(first.pid, signal.SIGSEGV)
                elif key == "cpu:1" and ("cpu:0", "crash") in told:
                    told.append((key, "a sample"))

        dead, other = crew.run(Run(module="matmul", seconds=2.0, seed=1), seen=seen)
    assert dead.trouble is not None
    assert other.trouble is None
    assert told[0] == ("cpu:0", "crash")
    assert ("cpu:1", "a sample") in told[1:]
    assert [kind for _, kind in told].count("crash") == 1


def test_a_module_hands_on_that_a_worker_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    cpus = list_devices("cpu", environment=TWO)
    assert not isinstance(cpus, Trouble)
    told: list[Told] = []
    wanted = Wanted(modules=("vram",), seconds=60.0, backend="cpu", options={"megabytes": "4"}, inject="hang",
                    silence_seconds=1.0, environment=TWO)
    results, _ = run_module(
        STRESSES["vram"], cpus[:1], {}, wanted, seen=lambda module, worker, gpus, what: told.append(what))
    assert [one for one in told if isinstance(one, Trouble)] == list(results.troubles)
    assert [one.kind for one in results.troubles] == ["hang"]


def test_a_worker_that_hangs_is_one_event_and_stops_a_run_that_was_told_to_stop_at_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    load = Step(name="vram", kind="stress", modules=("vram",), seconds=60.0, options={"megabytes": "4"})
    burn = burn_of(tmp_path, load, inject="hang", silence_seconds=1.0, stop_on_error=True)
    began = time.monotonic()
    verdict = burn.run()
    assert time.monotonic() - began < 45
    assert verdict.outcome is Outcome.FAIL
    assert burn.stopped_by == "a worker failed (hang), and --on-error is stop"
    burn._store.end("stopped", verdict, reason=burn.stopped_by)
    with RunReader(burn._store.path) as reader:
        hangs = [one for one in reader.events() if one.kind == "worker-hang"]
        (end,) = [one for one in reader.phases() if one.plan.module == "vram"]
    assert len(hangs) == 1
    assert end.ended is not None
    assert hangs[0].at.seconds <= end.ended.seconds
    assert hangs[0].data["kind"] == "hang"


def test_a_cool_down_that_was_stopped_has_no_end(tmp_path: Path) -> None:
    burn = burn_of(tmp_path, COOL)
    burn._number = 1
    burn.stop("stopped by SIGTERM")
    burn._cool_down(COOL)
    burn._store.end("stopped", outcome="unknown")
    with RunReader(burn._store.path) as reader:
        (phase,) = reader.phases()
        assert phase.end is None
        assert first_undone(Plan(name="x", steps=(COOL,)), reader.phases()) == 0


@pytest.mark.parametrize(("step", "decides"), [(BEFORE, False), (AFTER, True)])
def test_a_crash_of_doctors_is_kept_where_it_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step, decides: bool
) -> None:
    found = Finding(check="pcie.link-width", outcome=Outcome.PASS, subject=BOX, says="fine", blocker=True)
    crash = Crash("probes.x", "Traceback")
    account = SimpleNamespace(verdict=judge([found], GENERIC, crashes=[crash]), crashes=(crash,))
    asked: list[Any] = []

    def examine(options: Any) -> tuple[Any, None]:
        asked.append(options)
        return account, None

    monkeypatch.setattr("boxcheck.commands.doctor.examine", examine)
    monkeypatch.setattr("boxcheck.report.json.run_json", lambda account, with_facts: "{}")
    burn = burn_of(tmp_path, BEFORE, AFTER)
    burn._number = 1
    burn._doctor(step)
    burn._store.end("finished", outcome="unknown")
    assert asked[0].want is GENERIC  # and not a file of its name that may be another by now
    with RunReader(burn._store.path) as reader:
        assert crashes_in(reader, (0, 1)) == ([crash] if decides else [])


# Whole commands


def small_plan(folder: Path, *more: str) -> str:
    path = folder / "small.toml"
    steps = ['module = "vram"\nminutes = 0.02\noptions = { megabytes = "4" }', *more]
    path.write_text('name = "small"\n' + "".join(f"[[step]]\n{one}\n" for one in steps))
    return str(path)


def begun(path: str) -> list[str]:
    with RunReader(path) as reader:
        return [one.plan.name for one in reader.phases() if one.started is not None]


def test_a_part_is_told_by_the_profile_file_that_it_was_begun_with(tmp_path: Path) -> None:
    from boxcheck.profile import profiles_directory

    own = tmp_path / "mybox.toml"
    own.write_text((profiles_directory() / "generic.toml").read_text().replace('name = "generic"', 'name = "mybox"'))
    box = Box(tmp_path)
    box.environment["BOXCHECK_CPU_DEVICES"] = "2"
    done = box.call("burn", "--backend", "cpu", "--gpu", "cpu:0", "--plan", small_plan(tmp_path), "--profile", str(own),
                    "--json", str(tmp_path / "out.json"))
    assert done.returncode == 3, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["profile"] == "mybox r1"
    assert found["left_out"] == ["cpu:1"]
    assert found["verdict"]["outcome"] == "unknown"
    assert "profile" not in done.stderr
    own.unlink()
    (run,) = box.listed()
    assert run["outcome"] == "unknown"
    again = box.call("judge", run["id"])
    assert again.returncode == 3
    assert "profile mybox r1" in again.stdout


def test_a_run_that_is_stopped_while_it_cools_down_is_no_pass_and_cools_down_again(tmp_path: Path) -> None:
    box = Box(tmp_path)
    plan = small_plan(tmp_path, 'module = "cool-down"\nminutes = 5')
    box.call("burn", "--backend", "cpu", "--profile", "generic", "--plan", plan, "--detach")
    path = box.wait("running", "cool-down")["path"]
    for phases in (2, 3):
        if phases == 3:
            box.call("burn", "--resume", "--detach")
        deadline = time.monotonic() + 60
        while len(begun(path)) < phases and time.monotonic() < deadline:
            time.sleep(0.2)
        os.kill(box.engine(), signal.SIGTERM)
        run = box.wait("stopped")
        assert run["outcome"] not in ("pass", "marginal")
    with RunReader(run["path"]) as reader:
        verdict = reader.verdict()
    assert begun(path) == ["vram", "cool-down", "cool-down"]
    assert verdict is not None
    assert verdict.partial
    assert "it was stopped before its end" in verdict.reason


def test_only_is_a_part_and_is_told_before(tmp_path: Path) -> None:
    box = Box(tmp_path)
    asked = ("burn", "--backend", "cpu", "--profile", "generic", "--for", "20s", "--only", "vram")
    shown = box.call(*asked, "--dry-run")
    assert shown.returncode == 0
    assert "by --only: the run is a part of one, and ends in PARTIAL" in shown.stdout
    done = box.call(*asked, "--quiet")
    assert done.returncode in (1, 3), done.stderr  # 1: what doctor finds on this machine
    (run,) = box.listed()
    assert run["outcome"] in ("unknown", "fail")
    with RunReader(run["path"]) as reader:
        verdict = reader.verdict()
    assert verdict is not None
    assert verdict.not_run > 0


def test_rows_that_are_gone_when_a_run_ends_are_missed_then_and_not_only_when_it_is_judged_again(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    burn = burn_of(tmp_path, COOL)
    for number in range(3):
        burn._store.event("device-left", f"device {number} left")
    assert "not whole" not in burn._verdict().reason
    with closing(sqlite3.connect(burn._store.path)) as base, base:
        base.execute("DELETE FROM events WHERE id = 1")
    assert burn._verdict().reason.startswith("the store is not whole: 1 event is missing; ")
    burn._store.end("stopped", outcome="unknown")
