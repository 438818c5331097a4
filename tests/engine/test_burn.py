"""A burn-in in its own process: it runs by its plan, survives its starter, stops in order, and its store judges alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from boxcheck.store.listing import entry_object, list_runs
from boxcheck.store.reader import RunReader

PLAN = """
name = "short"
[[step]]
module = "doctor"
minutes = 0.01
[[step]]
module = "matmul"
minutes = {minutes}
options = {{ elements = "bf16" }}
[[step]]
module = "vram"
minutes = {vram_minutes}
options = {{ megabytes = "4" }}
[[step]]
module = "doctor"
minutes = 0.01
"""


class Box:
    """A machine of its own, as far as runs go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "state" / "boxcheck" / "runs"
        self.environment = {
            **os.environ, "XDG_STATE_HOME": str(folder / "state"), "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "100"}

    def plan(self, minutes: float = 0.03, vram_minutes: float = 0.02) -> str:
        path = self.folder / "plan.toml"
        path.write_text(PLAN.format(minutes=minutes, vram_minutes=vram_minutes))
        return str(path)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "boxcheck", *words], env=self.environment, capture_output=True, text=True, timeout=120,
            check=False)

    def burn(
        self, *words: str, minutes: float = 0.03, vram_minutes: float = 0.02,
    ) -> subprocess.CompletedProcess[str]:
        return self.call(
            "burn", "--backend", "cpu", "--profile", "generic", "--plan", self.plan(minutes, vram_minutes), *words)

    def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.call("runs", "--json", "-").stdout)
        return found

    def wait(self, state: str, phase: str = "") -> dict[str, Any]:
        """The run that has this state, in this phase where one is named. Looks by itself: a program that lists runs
        takes longer to start than a phase may last."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for one in list_runs(str(self.runs)):
                if one.state == state and phase in ("", one.phase):
                    return entry_object(one)
            time.sleep(0.1)
        raise AssertionError(f"no run became {state} {phase}: {self.listed()}")

    def wait_for_work(self) -> None:
        """Until the running run's store holds a piece of work."""
        path, deadline = self.wait("running")["path"], time.monotonic() + 60
        while time.monotonic() < deadline:
            with RunReader(path) as reader:
                if any(reader.samples()):
                    return
            time.sleep(0.1)
        raise AssertionError(f"no work was done: {self.listed()}")

    def engine(self) -> int:
        with RunReader(self.wait("running")["path"]) as reader:
            return reader.run().sessions[-1].pid


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_run_goes_by_its_plan_and_is_judged_alike_from_its_store(box: Box) -> None:
    done = box.burn("--json", str(box.folder / "out.json"))
    assert done.returncode in (0, 3), done.stderr  # doctor may not read all as this user
    found = json.loads((box.folder / "out.json").read_text())
    assert [module["name"] for module in found["modules"]] == ["matmul", "vram"]
    assert all(module["rows"] and not module["samples"] for module in found["modules"])
    assert all(row["wrong"] == 0 for module in found["modules"] for row in module["rows"])
    (run,) = box.listed()
    assert run["state"] == "finished"
    assert run["outcome"] == found["verdict"]["outcome"]
    again = box.call("judge", run["id"], "--json", "-")
    assert again.returncode == done.returncode
    judged = json.loads(again.stdout)
    assert judged["findings"] == found["findings"]
    assert judged["modules"] == found["modules"]


def test_a_wrong_result_fails_the_run_and_is_an_event(box: Box) -> None:
    done = box.burn("--inject", "flip-output")
    assert done.returncode == 1
    assert "wrong" in done.stderr
    assert box.listed()[0]["outcome"] == "fail"


def test_a_run_goes_on_when_who_started_it_is_gone(box: Box) -> None:
    started = box.burn("--detach", minutes=0.1)
    assert started.returncode == 0
    name = started.stdout.strip()
    assert box.wait("running")["id"] == name
    followed = box.call("attach")
    assert followed.returncode in (0, 3)
    assert box.wait("finished")["id"] == name


def test_two_runs_at_once_are_refused(box: Box) -> None:
    box.burn("--detach", minutes=0.2)
    box.wait("running")
    second = box.burn()
    assert second.returncode == 2
    assert "a run is going on" in second.stderr
    os.kill(box.engine(), signal.SIGTERM)
    box.wait("stopped")


def test_a_run_that_is_told_to_end_ends_in_order_and_is_no_pass(box: Box) -> None:
    box.burn("--detach", minutes=5)
    engine = box.engine()
    box.wait_for_work()
    began = time.monotonic()
    os.kill(engine, signal.SIGTERM)
    run = box.wait("stopped")
    assert time.monotonic() - began < 30
    assert run["outcome"] in ("unknown", "fail")
    judged = box.call("judge", run["id"], "--json", "-")
    assert judged.returncode == 3
    found = json.loads(judged.stdout)
    assert any(row["what"].endswith(".exact") for module in found["modules"] for row in module["rows"])


def test_a_run_that_is_killed_is_a_crash_that_keeps_what_it_had(box: Box) -> None:
    box.burn("--detach", minutes=5)
    engine = box.engine()
    box.wait_for_work()
    os.kill(engine, signal.SIGKILL)
    run = box.wait("crashed")
    assert run["phase"] == "matmul"
    judged = box.call("judge", run["id"], "--json", "-")
    assert judged.returncode == 3
    found = json.loads(judged.stdout)
    assert found["modules"][0]["rows"]
    assert any("went down while it ran" in one["says"] for one in found["findings"])


def test_the_plan_is_shown_before_anything_is_done(box: Box) -> None:
    done = box.call("burn", "--backend", "cpu", "--level", "2", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "level 2: 15 min"
    assert box.listed() == []


@pytest.mark.parametrize(("words", "says"), [
    (["--for", "soon"], "'soon' is no duration"), (["--level", "1", "--for", "1h"], "exclude each other"),
    (["--plan", "/nonexistent.toml"], "/nonexistent.toml"), (["--only", "vrom"], "no phase is called 'vrom'"),
    (["--gpu", "7"], "no device is called '7'"), (["--profile", "nonesuch"], "nonesuch")])
def test_a_mistake_is_one_clear_error(box: Box, words: list[str], says: str) -> None:
    done = box.call("burn", "--backend", "cpu", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_directory_that_cannot_be_made_is_said(box: Box) -> None:
    (box.folder / "state").write_text("a file")
    done = box.burn()
    assert done.returncode == 2
    assert "XDG_STATE_HOME" in done.stderr
