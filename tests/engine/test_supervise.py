"""Workers: what they say is heard, what they do not say is noticed, and none outlives the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from boxcheck.engine import supervise
from boxcheck.engine.messages import Beat, Devices, Failed, List, Open, Run, Sampled, Watched, decode_report, encode
from boxcheck.engine.process import DRAIN_SECONDS, Worker
from boxcheck.engine.supervise import Crew, list_devices, listen
from boxcheck.gpu import GpuInfo
from boxcheck.host.programs import STARTED
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.stress import Sample, StressResults, Trouble
from boxcheck.stress.judging import completed

TWO = {"BOXCHECK_CPU_DEVICES": "2", "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture
def cpus() -> tuple[GpuInfo, ...]:
    found = list_devices("cpu", environment=TWO)
    assert not isinstance(found, Trouble)
    return found


def _gone(pid: int) -> bool:
    """Whether no process of this number works any more (one that nobody waited for is gone too)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_devices_are_listed_in_a_process_of_their_own(cpus: tuple[GpuInfo, ...]) -> None:
    assert [info.key for info in cpus] == ["cpu:0", "cpu:1"]
    assert not STARTED


def test_a_backend_that_shows_nothing_says_why() -> None:
    found = list_devices("cpu", environment={"BOXCHECK_CPU_DEVICES": "none"})
    assert isinstance(found, Trouble)
    assert "BOXCHECK_CPU_DEVICES" in found.says


def test_every_device_is_run_side_by_side_and_reports(cpus: tuple[GpuInfo, ...]) -> None:
    seen: list[tuple[str, type]] = []
    with Crew([[info] for info in cpus], environment=TWO) as crew:
        parts = crew.run(
            Run(module="matmul", seconds=0.5, seed=1),
            seen=lambda gpus, what: seen.append((gpus[0].key, type(what))))
        assert [part.trouble for part in parts] == [None, None]
        assert all(part.samples for part in parts)
        again = crew.run(Run(module="matmul", seconds=0.2, seed=2))  # the devices stay open
        assert all(part.samples for part in again)
    assert {(key, kind) for key, kind in seen} == {
        (key, kind) for key in ("cpu:0", "cpu:1") for kind in (Beat, Sample, Watched)}
    assert not STARTED


def test_a_worker_that_hangs_costs_its_own_device_and_keeps_what_came_before(cpus: tuple[GpuInfo, ...]) -> None:
    with Crew([[info] for info in cpus], environment=TWO, silence_seconds=2.0) as crew:
        worker = crew.open_workers()
        parts = crew.run(Run(module="matmul", seconds=1.5, seed=1, inject="hang", inject_after=40))
    # Both were told to hang; each is a trouble of its own.
    for part in parts:
        assert part.trouble is not None
        assert part.trouble.kind == "hang"
        assert "no sign of life" in part.trouble.says
        assert any(sample.what.endswith("self-test") for sample in part.samples)
    assert all(_gone(one.pid) for one in worker)


def test_a_worker_that_dies_is_a_crash_with_how_it_died(cpus: tuple[GpuInfo, ...]) -> None:
    with Crew([[info] for info in cpus], environment=TWO) as crew:
        first, _ = crew.open_workers()
        killed: list[bool] = []

        def kill(gpus: tuple[GpuInfo, ...], what: object) -> None:
            if gpus[0].key == "cpu:0" and isinstance(what, Sample) and what.what.endswith("power") and not killed:
                os.kill(first.pid, signal.SIGSEGV)
                killed.append(True)

        # One kernel alone: after a sample of another the worker may build the next one.
        parts = crew.run(Run(module="matmul", seconds=1.0, seed=1, options={"elements": "fp32"}), seen=kill)
        assert parts[0].trouble is not None
        assert (parts[0].trouble.kind, "SIGSEGV" in parts[0].trouble.says) == ("crash", True)
        assert parts[1].trouble is None
        after = crew.run(Run(module="matmul", seconds=0.2, seed=1))  # a fresh worker takes its place
        assert [part.trouble for part in after] == [None, None]


def test_who_is_stopped_for_safety_is_killed_where_it_does_not_stop_at_once(cpus: tuple[GpuInfo, ...]) -> None:
    told: list[float] = []

    def stopping() -> bool:
        if time.monotonic() - began > 3 and not told:
            told.append(time.monotonic())
        return bool(told)

    began = time.monotonic()
    with Crew([[info] for info in cpus], environment=TWO) as crew:
        hung, other = crew.run([
            Run(module="matmul", seconds=60, seed=1, inject="hang"), Run(module="matmul", seconds=60, seed=1)],
            stopping=stopping, hurry=lambda: True)
        assert time.monotonic() - told[0] < 1.5
    assert hung.trouble is not None
    assert (hung.trouble.kind, hung.stopped) == ("stopped", False)
    assert hung.samples
    assert other.stopped or (other.trouble is not None and other.trouble.kind == "stopped")


def test_two_modules_run_side_by_side(cpus: tuple[GpuInfo, ...]) -> None:
    with Crew([[info] for info in cpus], environment=TWO) as crew:
        one, other = crew.run([
            Run(module="matmul", seconds=0.5, seed=1), Run(module="vram", seconds=0.5, seed=1)])
    assert {sample.what.split(".")[0] for sample in one.samples} == {"matmul"}
    assert {sample.what.split(".")[0] for sample in other.samples} == {"vram"}


def test_a_run_that_is_stopped_ends_soon_and_keeps_its_samples(cpus: tuple[GpuInfo, ...]) -> None:
    began = time.monotonic()
    with Crew([[info] for info in cpus], environment=TWO) as crew:
        parts = crew.run(Run(module="matmul", seconds=60, seed=1), stopping=lambda: time.monotonic() - began > 2)
    assert time.monotonic() - began < 10
    for part in parts:
        assert part.trouble is None
        assert part.stopped
        assert part.samples


def test_an_error_of_boxcheck_itself_is_told_with_its_traceback(cpus: tuple[GpuInfo, ...]) -> None:
    with Crew([[cpus[0]]], environment=TWO) as crew:
        (part,) = crew.run(Run(module="no-such-module", seconds=1, seed=1))
    assert part.trouble is not None
    assert part.trouble.kind == "bug"
    assert "KeyError" in part.trouble.traceback


def test_a_device_that_is_not_there_is_a_clear_sentence() -> None:
    worker = Worker()
    worker.send(Open("cpu", (7,)))
    (heard,) = list(listen([worker], 20))
    worker.end()
    assert isinstance(heard.report, Failed)
    assert (heard.report.kind, "no CPU device 7" in heard.report.says) == ("no-device", True)


def test_what_a_library_prints_does_not_disturb_the_reports(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello from a library', flush=True)\n")
    worker = Worker(environment={"PYTHONPATH": str(tmp_path)})
    worker.send(List("cpu"))
    reports = [heard.report for heard in listen([worker], 20)]
    worker.end()
    # The line that came before the pipes were parted is no report, and is passed over.
    assert any(isinstance(report, Devices) for report in reports)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_boxcheck(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "boxcheck", "stress", "run", "matmul", "--backend", "cpu", "--seconds", "60"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "HOME": str(tmp_path)})
    assert process.stderr is not None
    assert process.stderr.readline().startswith("stress matmul")
    time.sleep(1.0)
    workers = _children(process.pid)
    assert workers
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == (-9 if number is signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 5
    while not all(map(_gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(map(_gone, workers))


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def test_a_worker_whose_threads_are_all_stuck_dies_with_boxcheck(tmp_path: Path) -> None:
    """A binding that keeps Python's lock while its call hangs stops the thread that listens, too."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'boxcheck.engine.worker' in sys.orig_argv:\n"
        "    import ctypes, boxcheck.gpu.cpu as cpu\n"
        "    def stuck():\n"
        "        ctypes.PyDLL(None).sleep(3600)  # PyDLL keeps the lock\n"
        "    cpu.devices = stuck\n")
    script = (
        "import os, sys\nfrom boxcheck.engine.messages import List\nfrom boxcheck.engine.process import Worker\n"
        "worker = Worker()\nworker.send(List('cpu'))\nprint(worker.pid, flush=True)\nsys.stdin.read()\n")
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    time.sleep(1.0)
    assert not _gone(pid)
    process.kill()
    process.communicate(timeout=10)
    deadline = time.monotonic() + 5
    while not _gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _gone(pid)


def test_a_worker_that_goes_on_after_it_was_told_to_stop_is_ended(
    cpus: tuple[GpuInfo, ...], tmp_path: Path
) -> None:
    """It still gives signs of life, and does not heed the word."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'boxcheck.engine.worker' in sys.orig_argv:\n"
        "    import threading\n"
        "    threading.Event.is_set = lambda self: False\n")
    began, told = time.monotonic(), list[float]()

    def stopping() -> bool:
        if time.monotonic() - began > 1.5:
            told.append(time.monotonic())
        return bool(told)

    environment = {**TWO, "PYTHONPATH": str(tmp_path)}
    with Crew([[cpus[0]]], environment=environment) as crew:
        (part,) = crew.run(Run(module="matmul", seconds=60, seed=1), stopping=stopping)
        took = time.monotonic() - told[0]
    assert took + 0.2 >= DRAIN_SECONDS  # a piece of work lasts a second
    assert took < DRAIN_SECONDS + 1.0
    assert DRAIN_SECONDS < 1.8  # so that whoever stops a run waits for no more than two
    assert part.trouble is not None
    assert part.trouble.kind == "stopped"
    assert part.samples


NONE = Profile(name="none", revision=1, title="no limits")


def _outcome(info: GpuInfo, *troubles: Trouble, **changes: Any) -> tuple[Outcome, str]:
    fields: dict[str, Any] = {
        "module": "matmul", "gpus": (info,), "samples": (), "troubles": troubles, "ended": (), **changes}
    (finding,) = completed(StressResults(**fields), NONE)
    return finding.outcome, finding.says


def _in_worker(folder: Path, text: str) -> dict[str, str]:
    """An environment in which each worker runs this first."""
    (folder / "sitecustomize.py").write_text(
        "import sys\nif 'boxcheck.engine.worker' in sys.orig_argv:\n"
        + "".join(f"    {line}\n" for line in text.splitlines()))
    return {**TWO, "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


BUILDS = "import boxcheck.gpu.cpu as cpu, os, time\nreal = cpu.CpuGpu.build\ndef build(self, source):\n    {}\n" \
    "    return real(self, source)\ncpu.CpuGpu.build = build"


def test_a_kernel_may_take_longer_to_build_than_a_piece_of_work(cpus: tuple[GpuInfo, ...], tmp_path: Path) -> None:
    slow = BUILDS.format("time.sleep(4.0 if source.name.startswith('matmul') else 0)")
    seen: list[Beat] = []
    # Long beside what the first products take where other work goes on.
    with Crew([[cpus[0]]], environment=_in_worker(tmp_path, slow), silence_seconds=3.0) as crew:
        (part,) = crew.run(
            Run(module="matmul", seconds=0.3, seed=1, options={"elements": "bf16"}),
            seen=lambda gpus, what: seen.append(what) if isinstance(what, Beat) else None)
    assert part.trouble is None
    assert any(beat.stage == "build" and beat.text.startswith("building ") for beat in seen)
    assert seen[-1].stage == "load"


@pytest.mark.parametrize(("what", "kind"), [
    ("time.sleep(60)", "stuck-building"), ("os._exit(3)", "crashed-building"),
    ("os.kill(os.getpid(), 11)", "crashed-building")])
def test_a_compiler_that_hangs_or_crashes_is_no_fault_of_the_gpu(
    cpus: tuple[GpuInfo, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, kind: str
) -> None:
    monkeypatch.setattr(supervise, "BUILD_SECONDS", 1.5)
    with Crew([[cpus[0]]], environment=_in_worker(tmp_path, BUILDS.format(what)), silence_seconds=3.0) as crew:
        (part,) = crew.run(Run(module="matmul", seconds=0.3, seed=1))
    assert part.trouble is not None
    assert part.trouble.kind == kind
    assert "building" in part.trouble.says
    assert part.trouble.help
    assert _outcome(cpus[0], part.trouble)[0] is Outcome.UNKNOWN


@pytest.mark.parametrize(("what", "kind"), [("time.sleep(60)", "stuck-opening"), ("os._exit(3)", "crashed-opening")])
def test_a_driver_that_does_not_open_is_no_fault_under_load(
    cpus: tuple[GpuInfo, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, kind: str
) -> None:
    monkeypatch.setattr(supervise, "START_SECONDS", 1.5)
    broken = f"import boxcheck.gpu.cpu as cpu, os, time\ndef stuck(index):\n    {what}\ncpu.open_gpu = stuck"
    with Crew([[cpus[0]]], environment=_in_worker(tmp_path, broken)) as crew:
        (part,) = crew.run(Run(module="matmul", seconds=0.3, seed=1))
    assert part.trouble is not None
    assert part.trouble.kind == kind
    assert _outcome(cpus[0], part.trouble)[0] is Outcome.UNKNOWN


@pytest.mark.parametrize(("library", "kind", "outcome"), [
    ("cuBLAS 13.1.0", "crashed-library", Outcome.UNKNOWN), (None, "crash", Outcome.FAIL)])
def test_a_library_of_the_vendor_that_crashes_is_no_fault_of_the_gpu(
    cpus: tuple[GpuInfo, ...], tmp_path: Path, library: str | None, kind: str, outcome: Outcome
) -> None:
    """The same crash counts against the GPU where boxcheck's kernels work, also after a library has."""
    dies = (
        "import os, boxcheck.stress as stress\n"
        "def wait_for_start(self):\n"
        f"    self.working('cuBLAS 13.1.0')\n    self.beat('bf16', 0.5)\n    self.working({library!r})\n"
        "    self.beat('fp16 power: 12 products', 0.6)\n    os.kill(os.getpid(), 11)\n"
        "stress.Rig.wait_for_start = wait_for_start")
    with Crew([[cpus[0]]], environment=_in_worker(tmp_path, dies)) as crew:
        (part,) = crew.run(Run(module="matmul", seconds=0.3, seed=1))
    assert part.trouble is not None
    assert part.trouble.kind == kind
    assert (f"{library}: fp16 power" in part.trouble.says) is (library is not None)
    assert ("engine=own" in part.trouble.help) is (library is not None)
    assert _outcome(cpus[0], part.trouble)[0] is outcome


def test_pocl_without_a_linker_says_what_to_install_and_is_no_fault(cpus: tuple[GpuInfo, ...], tmp_path: Path) -> None:
    """It links when a kernel is put in a queue, after it was built, and ends the process where it cannot."""
    dies = (
        "import os, sys, boxcheck.stress as stress\n"
        "def wait_for_start(self):\n"
        "    self.beat('fp16', 0.5)\n"
        "    print('Final linking of kernel bc_fill failed.', file=sys.stderr, flush=True)\n    os.abort()\n"
        "stress.Rig.wait_for_start = wait_for_start")
    with Crew([[cpus[0]]], environment=_in_worker(tmp_path, dies)) as crew:
        (part,) = crew.run(Run(module="matmul", seconds=0.3, seed=1))
    assert part.trouble is not None
    assert part.trouble.kind == "crashed-building"
    assert "gcc libc6-dev" in part.trouble.help
    assert _outcome(cpus[0], part.trouble)[0] is Outcome.UNKNOWN


def test_the_gravest_trouble_of_a_gpu_is_told(cpus: tuple[GpuInfo, ...]) -> None:
    troubles = [
        Trouble(gpus=("cpu:0",), module="copy", kind=kind, says=f"says {kind}")
        for kind in ("timeout", "crash", "hang", "lost")]
    for number, kind in enumerate(("timeout", "crash", "hang", "lost"), 1):
        outcome, says = _outcome(cpus[0], *troubles[:number])
        assert (outcome, f"says {kind}" in says) == (
            Outcome.UNKNOWN if kind == "timeout" else Outcome.FAIL, True)


def test_a_run_that_was_stopped_says_so_even_when_it_verified_nothing(cpus: tuple[GpuInfo, ...]) -> None:
    assert _outcome(cpus[0], ended=("cpu:0",), stopped=True) == (Outcome.UNKNOWN, "stopped before its end")
    assert _outcome(cpus[0], ended=("cpu:0",)) == (Outcome.UNKNOWN, "came to its end and verified nothing")


def test_a_report_that_cannot_be_read_is_a_trouble_and_not_passed_over(
    cpus: tuple[GpuInfo, ...], tmp_path: Path
) -> None:
    """A rate of no number becomes `null`, and the sample with it would be lost with the wrong words that it tells."""
    nan = (
        "import boxcheck.engine.messages as messages, msgspec\nreal = messages.encode\n"
        "def encode(report):\n"
        "    if isinstance(report, messages.Sampled):\n"
        "        report = messages.Sampled(msgspec.structs.replace(report.sample, seconds=float('nan'), wrong=7))\n"
        "    return real(report)\nmessages.encode = encode")
    with Crew([[cpus[0]]], environment=_in_worker(tmp_path, nan)) as crew:
        (part,) = crew.run(Run(module="wake", seconds=0.3, seed=1))
    assert part.trouble is not None
    assert part.trouble.kind == "bug"
    assert '"seconds":null' in part.trouble.says


def test_an_order_that_cannot_be_read_is_told_and_the_worker_goes_on_listening(cpus: tuple[GpuInfo, ...]) -> None:
    """`nan` becomes null on its way."""
    with Crew([cpus[:1]], environment=TWO) as crew:
        (worker,) = crew.open_workers()
        (part,) = crew.run(Run(module="matmul", seconds=float("nan"), seed=1))
        assert part.trouble is not None
        assert part.trouble.kind == "bug"
        assert part.trouble.says.startswith("an order of boxcheck cannot be read (")
        (again,) = crew.run(Run(module="wake", seconds=0.1, seed=1))
        assert again.trouble is None
        assert crew.open_workers() != [worker]  # one that boxcheck itself broke is not used again


def test_a_signal_to_all_processes_is_no_crash_of_the_gpu(cpus: tuple[GpuInfo, ...]) -> None:
    """A machine that shuts down sends SIGTERM to every one of them."""
    def shut_down(gpus: tuple[GpuInfo, ...], what: object) -> None:
        if not sent:
            os.kill(worker.pid, signal.SIGTERM)
            sent.append(worker.pid)

    sent: list[int] = []
    with Crew([cpus[:1]], environment=TWO) as crew:
        (worker,) = crew.open_workers()
        (part,) = crew.run(Run(module="wake", seconds=0.5, seed=1), seen=shut_down)
    assert sent
    assert part.trouble is None
    assert not worker.alive


def test_words_that_are_no_unicode_are_told_all_the_same() -> None:
    told = decode_report(encode(Failed("compile", "the driver said \udcff", "see /tmp/\udc80")))
    assert told == Failed("compile", "the driver said ?", "see /tmp/?")
    sample = Sample(what="copy.x", gpu="cpu:0", seconds=1.0, checked=3, wrong=2, notes={"k\ud800": "v\ud800", "n": 1})
    assert decode_report(encode(Sampled(sample))) == Sampled(
        Sample(what="copy.x", gpu="cpu:0", seconds=1.0, checked=3, wrong=2, notes={"k?": "v?", "n": 1}))


def test_a_dead_worker_whose_child_prints_without_end_is_noticed_at_once(tmp_path: Path) -> None:
    """The child holds both pipes open and floods one; it ends with the worker's session."""
    flood = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    end = time.monotonic() + 20\n"
        "    while time.monotonic() < end: os.write(2, b'x' * 4095 + bytes([10]))\n"
        "    os._exit(0)\n"
        "time.sleep(0.2)\n"
        "os._exit(3)")
    began = time.monotonic()
    found = list_devices("cpu", environment=_in_worker(tmp_path, flood))
    assert time.monotonic() - began < 8
    assert isinstance(found, Trouble)
    assert found.kind == "crashed-opening"
    assert "status 3" in found.says


def test_the_instruments_are_read_once_more_when_a_module_ends(cpus: tuple[GpuInfo, ...]) -> None:
    """What came in the last part of a second is covered: the last thing seen is a reading, after the last sample."""
    seen: list[type] = []
    with Crew([[cpus[0]]], environment=TWO) as crew:
        (part,) = crew.run(Run(module="wake", seconds=0.3, seed=1), seen=lambda gpus, what: seen.append(type(what)))
    assert part.trouble is None
    assert seen.count(Sample) == 1
    assert seen[-2:] == [Sample, Watched]
