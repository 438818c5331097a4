"""Workers that are to begin together begin at one moment, when all are ready, and wait for none that does not come."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from boxcheck.engine import start
from boxcheck.engine.messages import Beat, Run
from boxcheck.engine.supervise import Crew, Part, list_devices
from boxcheck.gpu import Backend, GpuInfo
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.stress import Sample, StressResults, Trouble
from boxcheck.stress.judging import completed
from boxcheck.stress.power_pulse_checks import together

NONE = Profile(name="none", revision=1, title="no limits")
THREE = {
    "BOXCHECK_CPU_DEVICES": "3", "OPENBLAS_NUM_THREADS": "1", "POCL_DEVICES": "pthread pthread pthread",
    "POCL_MAX_PTHREAD_COUNT": "1"}
PULSES = Run(module="power-pulse", seconds=1.0, seed=1, options={"hertz": "5"}, together=True)
APART_SECONDS = 0.9
"""On a busy machine one may miss its first pulses: of the five, which begin within 0.8 s, each may be the first that it
makes. One that began by itself would be 1.6 s away."""


def _devices(backend: Backend) -> tuple[GpuInfo, ...]:
    found = list_devices(backend, environment=THREE)
    assert not isinstance(found, Trouble)
    assert len(found) == 3
    return found


def _at_start(folder: Path, text: str) -> dict[str, str]:
    """An environment in which the worker of device 1 does this when it is ready and before it says so."""
    body = "".join(f"            {line}\n" for line in text.splitlines())
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'boxcheck.engine.worker' in sys.orig_argv:\n"
        "    import os, time, boxcheck.stress as stress\n"
        "    real = stress.Rig.wait_for_start\n"
        "    def wait_for_start(self):\n"
        "        if self.gpu.info.index == 1:\n"
        f"{body}"
        "        return real(self)\n"
        "    stress.Rig.wait_for_start = wait_for_start\n")
    return {**THREE, "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


def _run(infos: tuple[GpuInfo, ...], environment: dict[str, str], **more: object) -> tuple[list[Part], list[str]]:
    waited: list[str] = []
    with Crew([[info] for info in infos], environment=environment) as crew:
        parts = crew.run(PULSES, seen=lambda gpus, what: waited.append(gpus[0].key) if isinstance(
            what, Beat) and what.text.startswith("waiting") else None, **more)  # type: ignore[arg-type]
    return parts, waited


def _first(part: Part) -> float:
    return next(float(one.notes["first_pulse"]) for one in part.samples if "first_pulse" in one.notes)


def _results(parts: list[Part]) -> StressResults:
    return StressResults(
        module="power-pulse", gpus=tuple(info for part in parts for info in part.gpus),
        samples=tuple(one for part in parts for one in part.samples),
        troubles=tuple(part.trouble for part in parts if part.trouble is not None),
        ended=tuple(part.gpus[0].key for part in parts if part.trouble is None), full_size=False)


def _judged(check: object, parts: list[Part]) -> list[Outcome]:
    return [one.outcome for one in check(_results(parts), NONE)]  # type: ignore[operator]


@pytest.mark.parametrize("backend", ["cpu", "opencl"])
def test_all_wait_for_the_last_one_and_then_begin_at_one_moment(backend: Backend, tmp_path: Path) -> None:
    """Where each began by itself, or at a moment fixed before, the others would have pulsed for seconds by now."""
    parts, waited = _run(_devices(backend), _at_start(tmp_path, "time.sleep(1.6)"))
    assert [part.trouble for part in parts] == [None] * 3
    assert {"cpu:0", "cpu:2", "opencl:0", "opencl:2"} >= set(waited) != set()
    begun = [_first(part) for part in parts]
    assert max(begun) - min(begun) < APART_SECONDS
    assert {int(one.notes["planned"]) for part in parts for one in part.samples if "planned" in one.notes} == {5}


def test_one_that_never_becomes_ready_is_left_behind_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "GATHER_SECONDS", 1.5)
    never = "while True:\n    self.beat('still filling', 0.0)\n    time.sleep(0.1)"
    parts, _ = _run(_devices("cpu"), _at_start(tmp_path, never))
    lost = parts[1].trouble
    assert lost is not None
    assert (lost.kind, "the others began without it" in lost.says, "still filling" in lost.says) == (
        "not-ready", True, True)
    assert parts[0].trouble is None
    assert parts[2].trouble is None
    assert abs(_first(parts[0]) - _first(parts[2])) < APART_SECONDS
    # No common step of all GPUs: nobody passes; and it is no fault of the GPU that was late.
    assert _judged(together, parts) == [Outcome.UNKNOWN] * 3
    assert _judged(completed, parts) == [Outcome.PASS, Outcome.UNKNOWN, Outcome.PASS]


@pytest.mark.parametrize("how", ["os._exit(3)", "from boxcheck.gpu import GpuError; raise GpuError('error', 'no')"])
def test_one_that_dies_or_fails_before_is_not_waited_for(tmp_path: Path, how: str) -> None:
    began = time.monotonic()
    parts, _ = _run(_devices("cpu"), _at_start(tmp_path, how))
    assert time.monotonic() - began < 20
    assert [part.trouble is None for part in parts] == [True, False, True]
    assert abs(_first(parts[0]) - _first(parts[2])) < APART_SECONDS
    assert _judged(together, parts) == [Outcome.UNKNOWN] * 3


def test_one_that_is_killed_while_it_waits_starts_the_others(tmp_path: Path) -> None:
    """Device 0 waits and dies; 1 comes after it, and the start is still sent."""
    infos = _devices("cpu")
    with Crew([[info] for info in infos], environment=_at_start(tmp_path, "time.sleep(1.6)")) as crew:
        first = crew.open_workers()[0]

        def seen(gpus: tuple[GpuInfo, ...], what: object) -> None:
            if isinstance(what, Beat) and what.text.startswith("waiting") and gpus[0].key == "cpu:0":
                os.kill(first.pid, 9)

        parts = crew.run(PULSES, seen=seen)
    assert [part.trouble is None for part in parts] == [False, True, True]
    assert all(any(isinstance(one, Sample) and one.checked for one in part.samples) for part in parts[1:])


def test_a_run_that_is_stopped_while_all_wait_ends_at_once(tmp_path: Path) -> None:
    never = "while not self.stopping():\n    self.beat('still filling', 0.0)\n    time.sleep(0.1)"
    began = time.monotonic()
    parts, _ = _run(_devices("cpu"), _at_start(tmp_path, never), stopping=lambda: time.monotonic() - began > 3)
    assert time.monotonic() - began < 8
    assert [(part.trouble, part.stopped) for part in parts] == [(None, True)] * 3
    assert _judged(together, parts) == [Outcome.UNKNOWN] * 3
