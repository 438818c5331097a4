"""A run that was cut off or stopped goes on in its own store: what was done stays, what was wrong is never lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine.job import Job
from boxcheck.engine.plan import Plan, Step
from boxcheck.engine.resume import (
    MOST_CRASHES,
    first_undone,
    match_devices,
    places_left,
    refuse,
    stored_job,
    stored_plan,
)
from boxcheck.engine.survival import RESUMED, engine_sessions, survival_of
from boxcheck.engine.unit import unit_text
from boxcheck.gpu import GpuInfo
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import create_run, reopen_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import EndState, Phase, PhaseEnd, PhasePlan, PhaseState, RunInfo
from boxcheck.stress import StressResults
from boxcheck.usage import UsageError
from tests.engine.test_burn import Box
from tests.store.machine import Machine

discover()
discover_stress()


def steps_left(plan: Plan, phases: Sequence[Phase]) -> list[Step]:
    return [plan.steps[at] for at in places_left(plan, phases)]


DOCTOR = Step(name="doctor before", kind="doctor", seconds=1)
AFTER = Step(name="doctor after", kind="doctor", seconds=1)


def stress(name: str, *modules: str) -> Step:
    return Step(name=name, kind="stress" if len(modules) < 2 else "together", modules=modules or (name,), seconds=1)


PLAN = Plan(name="p", steps=(DOCTOR, stress("matmul"), stress("everything", "matmul", "cpu"), stress("matmul"), AFTER))


def phase(number: int, name: str, module: str = "", state: PhaseState = "ended", stopped: bool = False) -> Phase:
    results = StressResults(
        module=module, gpus=(), slots={}, samples=(), troubles=(), ended=(), stopped=stopped) if module else None
    return Phase(
        plan=PhasePlan(number=number, name=name, module=module), state=state,
        end=PhaseEnd(results=results) if state == "ended" else None)


DONE = (phase(1, "doctor before"), phase(2, "matmul", "matmul"), phase(3, "everything", "matmul"),
        phase(4, "everything", "cpu"))


@pytest.mark.parametrize(("phases", "first"), [
    ((), 0), (DONE[:1], 1), (DONE[:2], 2), (DONE[:3], 2), (DONE, 3),
    ((*DONE, phase(5, "matmul", "matmul", "cut")), 3), ((*DONE, phase(5, "matmul", "matmul", stopped=True)), 3),
    ((*DONE, phase(5, "matmul", "matmul")), 4),
    ((*DONE, phase(5, "matmul", "matmul", "cut"), phase(6, "doctor before"), phase(7, "matmul", "matmul")), 4)])
def test_the_first_step_that_is_not_done_is_found(phases: tuple[Phase, ...], first: int) -> None:
    assert first_undone(PLAN, phases) == first


def test_doctor_is_made_again_before_and_after() -> None:
    assert [one.name for one in steps_left(PLAN, DONE)] == ["doctor before", "matmul", "doctor after"]
    assert [one.name for one in steps_left(PLAN, ())] == [one.name for one in PLAN.steps]
    every = (*DONE, phase(5, "matmul", "matmul"), phase(6, "doctor after"))
    assert [one.name for one in steps_left(PLAN, every)] == ["doctor before", "doctor after"]


def test_a_box_that_is_cold_is_warmed_up_again_before_load() -> None:
    warm = stress("warm-up", "matmul")
    plan = Plan(name="p", steps=(DOCTOR, warm, stress("vram"), AFTER))
    done = (phase(1, "doctor before"), phase(2, "warm-up", "matmul"), phase(3, "vram", "vram"))
    assert [one.name for one in steps_left(plan, done[:2])] == ["doctor before", "warm-up", "vram", "doctor after"]
    assert [one.name for one in steps_left(plan, done)] == ["doctor before", "doctor after"]


def test_devices_are_found_again_by_their_address_when_numbers_have_moved() -> None:
    then = Machine(3).gpus
    now = tuple(msgspec.structs.replace(info, index=at) for at, info in enumerate(then[1:]))
    assert match_devices(then, now) == (("cuda:0", "cuda:1"), (("RTX 4090 (cuda:0)", str(then[0].bdf)),))
    other = tuple(msgspec.structs.replace(info, name="RTX 3090") for info in then)
    assert match_devices(then, other)[0] == ()


def test_what_was_asked_comes_back_whole_from_the_store(tmp_path: Path) -> None:
    job = Job(plan=PLAN, folder=str(tmp_path), gpus=("cuda:0",), backend="cuda", profile="wopr-7x4090", seed=7,
              profile_why="it matches", certain=False, stop_on_error=True, devices=Machine(1).gpus)
    path = made(tmp_path, job)
    with RunReader(path) as reader:
        assert stored_job(reader) == job


def made(folder: Path, job: Job | None = None, *, box: str = "", phases: int = 1, ends: EndState | None = None) -> str:
    """A run that was cut off so many times in its phase `matmul`, or that ended."""
    asked = job or Job(plan=PLAN, folder=str(folder), profile="generic")
    store = create_run(str(folder), RunInfo(kind="burn", version="1", boot="b", box=box, plan=stored_plan(asked)))
    for number in range(1, phases + 1):
        if number > 1:
            store = reopen_run(store.path, version="1", boot="b")
            store.event(RESUMED, "gone on with", data={"missing": []})
        store.plan_phase(PhasePlan(number=number, name="matmul", module="matmul"))
        store.about(number, "matmul")
        store.begin_phase(number)
        if number < phases or ends is None:
            store.close()
    if ends:
        store.end(ends)
    return store.path


def refusal(path: str, *, named: bool = False, box: str = "") -> str:
    with RunReader(path) as reader, pytest.raises(UsageError) as caught:
        refuse(reader, named=named, box=box)
    assert caught.value.help
    return str(caught.value)


def test_a_run_that_finished_is_refused(tmp_path: Path) -> None:
    assert refusal(made(tmp_path, ends="finished")) == "the run came to its end"


def test_a_run_of_another_box_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "another box" in refusal(made(tmp_path, box="W1 (wopr)"), box="W2 (wopr2)")
    path = made(tmp_path)
    monkeypatch.setattr("boxcheck.engine.resume.machine_name", lambda: "0123456789abcdef")
    if json.loads(json.dumps(plan_of(path)))["machine"]:
        assert "another box" in refusal(path)


def plan_of(path: str) -> Any:
    with RunReader(path) as reader:
        return reader.run().info.plan


def test_a_run_that_is_going_on_is_refused(tmp_path: Path) -> None:
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="1"))
    assert refusal(store.path) == "the run is going on"
    store.close()


def test_a_run_without_its_job_is_refused(tmp_path: Path) -> None:
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="1", plan={"name": "p", "steps": []}))
    store.close()
    with RunReader(store.path) as reader, pytest.raises(UsageError, match="does not hold what it was asked"):
        stored_job(reader)


def test_a_box_that_went_down_three_times_in_one_phase_is_not_hammered_unless_somebody_says_so(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    with RunReader(made(tmp_path / "two", phases=MOST_CRASHES - 1)) as reader:
        refuse(reader, named=False)
    path = made(tmp_path, phases=MOST_CRASHES)
    assert "went down 3 times in phase matmul" in refusal(path)
    with RunReader(path) as reader:
        refuse(reader, named=True)
        assert len(survival_of(reader).downs) == MOST_CRASHES
        assert len(engine_sessions(reader)) == MOST_CRASHES


# The unit.


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    text = unit_text("/home/a b/100%/boxcheck/runs")
    assert 'Environment="XDG_STATE_HOME=/home/a b/100%%"' in text
    assert "ConditionPathExistsGlob=/home/a b/100%%/boxcheck/runs/*.sqlite.lock" in text
    unit = tmp_path / "boxcheck-resume.service"
    unit.write_text(text)
    try:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not here")
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []


def test_the_unit_is_printed(tmp_path: Path) -> None:
    done = Box(tmp_path).call("burn", "--systemd-unit")
    assert done.returncode == 0
    assert f"ExecStart={sys.executable} -P -m boxcheck burn --resume auto" in done.stdout
    assert f"{tmp_path}/state/boxcheck/runs/*.sqlite.lock" in done.stdout


def test_the_unit_does_nothing_where_no_boot_cut_a_run_off(tmp_path: Path) -> None:
    box = Box(tmp_path)
    done = box.call("burn", "--resume", "auto")
    assert (done.returncode, done.stderr) == (0, "no run was cut off by the last boot: nothing to go on with\n")
    box.runs.mkdir(parents=True, exist_ok=True)
    made(box.runs)
    assert box.call("burn", "--resume", "auto").returncode == 0
    assert [one["state"] for one in box.listed()] == ["crashed"]


# Whole runs.


def test_a_killed_run_tells_goes_on_and_loses_no_wrong_result(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.burn("--detach", "--inject", "flip-output", vram_minutes=0.15)
    run = box.wait("running", "vram")
    os.kill(box.engine(), signal.SIGKILL)
    listed = box.call("runs")
    assert f"run {run['id']}: boxcheck went down in phase vram" in listed.stderr
    with RunReader(run["path"]) as reader:
        before = [one.sample for one in reader.samples()]
    assert any(one.wrong for one in before)
    done = box.call("burn", "--resume", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 1, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    failed = {one["check"] for one in found["findings"] if one["outcome"] == "fail"}
    assert "stress.wrong-results" in failed
    survived = next(one for one in found["findings"] if one["check"] == "burn.survived")
    assert survived["outcome"] == "marginal"
    assert "it was gone on with to its end" in survived["says"]
    with RunReader(run["path"]) as reader:
        of_log = [one.data["state"] for one in reader.events() if isinstance(one.data, dict)
                  and one.data.get("source") == "log" and "state" in one.data]
    if of_log[0] == "began":  # a user that may read the kernel's log: the time in between was read afterwards
        assert of_log == ["began", "bridged", "began", "ended"]
        assert next(one["outcome"] for one in found["findings"] if one["check"] == "burn.log") != "unknown"
    with RunReader(run["path"]) as reader:
        assert [one.sample for one in reader.samples()][:len(before)] == before
        assert reader.run().state == "finished"
        ended = [one.plan.name for one in reader.phases() if one.state == "ended"]
        verdict = reader.verdict()
    assert ended == ["doctor before", "matmul", "doctor before", "vram", "doctor after"]
    assert verdict is not None
    assert verdict.outcome == found["verdict"]["outcome"] == "fail"
    assert sorted((one.check, one.outcome) for one in verdict.findings) == sorted(
        (one["check"], one["outcome"]) for one in found["findings"])
    assert "went down" not in box.call("runs").stderr
    again = box.call("burn", "--resume", run["id"])
    assert (again.returncode, "the run came to its end" in again.stderr) == (2, True)


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.burn("--detach", minutes=0.5)
    box.wait("running", "matmul")
    os.kill(box.engine(), signal.SIGTERM)
    run = box.wait("stopped")
    plan = plan_of(run["path"])
    assert plan["job"]["backend"] == "cpu"
    done = box.call("burn", "--resume", run["id"], "--detach")
    assert done.stdout.strip() == run["id"]
    box.wait("running", "matmul")
    second = box.call("burn", "--resume")
    assert (second.returncode, "a run is going on" in second.stderr) == (2, True)
    os.kill(box.engine(), signal.SIGTERM)
    box.wait("stopped")
    with RunReader(run["path"]) as reader:
        assert survival_of(reader).downs == ()
        assert len(engine_sessions(reader)) == 2


def test_devices_that_are_gone_are_told_and_cost_the_verdict(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.environment["BOXCHECK_CPU_DEVICES"] = "2"
    box.burn("--detach", minutes=0.5)
    box.wait("running", "matmul")
    os.kill(box.engine(), signal.SIGKILL)
    box.wait("crashed")
    box.environment["BOXCHECK_CPU_DEVICES"] = "1"
    done = box.call("burn", "--resume")
    assert done.returncode == 2
    assert "(cpu:1) is not there any more" in done.stderr
    box.environment["BOXCHECK_CPU_DEVICES"] = "none"
    done = box.call("burn", "--resume", "--without-missing")
    assert done.returncode == 3, "as burn gives where there is nothing to put load on"
    assert "no device of the run is there any more" in done.stderr
    box.environment["BOXCHECK_CPU_DEVICES"] = "1"
    path = box.listed()[0]["path"]
    started = box.call("burn", "--resume", "--without-missing", "--detach")
    assert started.returncode == 0, started.stderr
    os.kill(box.engine(), signal.SIGTERM)
    box.wait("stopped")
    with RunReader(path) as reader:
        assert [name for name, _ in survival_of(reader).missing] == [f"{cpu(path)} (cpu:1)"]
    judged = box.call("judge", os.path.basename(path).removesuffix(".sqlite"))
    assert judged.returncode in (1, 5)
    assert "fail[burn.survived]" in judged.stdout


def cpu(path: str) -> str:
    with RunReader(path) as reader:
        return msgspec.convert(reader.run().info.plan["job"]["devices"], tuple[GpuInfo, ...])[1].name
