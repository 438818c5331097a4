"""`boxcheck stress`: what is said, what is written, and the exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import msgspec
import pytest

from boxcheck.commands.doctor import Options as DoctorOptions
from boxcheck.commands.no_device import no_device
from boxcheck.engine import supervise
from boxcheck.engine.fitting import without_work
from boxcheck.engine.inspect import read_facts
from boxcheck.engine.stress import StressRun, find_devices
from boxcheck.gpu import GpuInfo
from boxcheck.judge import judge
from boxcheck.model import BOX, Finding, Outcome
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.pci import PciInventory
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, STRESSES, discover, discover_stress
from boxcheck.report.stress import _findings, stress_text
from boxcheck.report.text import Style
from boxcheck.stress import FAULTS, StressResults
from boxcheck.stress.runtime import RuntimeGpus
from tests.boxes import build
from tests.boxes.memory import host as host_of
from tests.boxes.tree import Tree

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "stress.schema.json"
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "100"}


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boxcheck", "stress", *words], capture_output=True, text=True, timeout=120,
        env={**ENVIRONMENT, **environment}, check=False)


def _json(*words: str, **environment: str) -> tuple[dict[str, Any], int]:
    done = _run("run", *words, "--json", "-", **environment)
    found: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    return found, done.returncode


def test_a_clean_run_passes_and_every_sample_was_verified() -> None:
    found, code = _json("matmul", "--backend", "cpu", "--seconds", "1")
    assert code == 0
    assert found["verdict"]["outcome"] == "pass"
    (module,) = found["modules"]
    assert module["ended"] == ["cpu:0"]
    assert module["samples"]
    assert all(sample["checked"] > 0 and sample["wrong"] == 0 for sample in module["samples"])


@pytest.mark.parametrize("fault", ["flip-input", "flip-output", "drop-write", "stale"])
def test_a_fault_that_is_found_fails(fault: str) -> None:
    found, code = _json("matmul", "--backend", "cpu", "--seconds", "1", "--inject", fault)
    assert code == 1
    assert found["injected"] == fault
    failed = {one["check"] for one in found["findings"] if one["outcome"] == "fail"}
    assert failed & {"matmul.wrong-elements", "matmul.damaged-inputs"}


def test_a_fault_that_nothing_finds_is_no_pass_either() -> None:
    """Halving the speed of a processor is no fault that is judged: the run says unknown, because a fault was put in."""
    found, code = _json(
        "matmul", "--backend", "cpu", "--seconds", "0.5", "--inject", "slow", "--option", "phase=exact")
    assert code == 3
    assert found["verdict"]["outcome"] == "unknown"


def test_heat_stops_a_run_with_its_own_exit_code() -> None:
    found, code = _json("matmul", "--backend", "cpu", "--seconds", "5", "--inject", "hot")
    assert code == 5
    assert any(one["check"] == "stress.temperature" and one["outcome"] == "fail" for one in found["findings"])


def test_people_get_a_table_and_a_verdict() -> None:
    done = _run("run", "matmul", "--backend", "cpu", "--seconds", "1")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("boxcheck ")
    assert any(line.split()[:2] == ["bf16.exact", "cpu:0"] and line.split()[-1] == "0" for line in lines)
    assert lines[-1] == "Nothing that was compared was wrong."
    assert max(map(len, lines)) <= 100
    assert done.stderr == "stress matmul ...\n"


def test_a_fault_is_marked_loudly() -> None:
    done = _run("run", "matmul", "--backend", "cpu", "--seconds", "0.5", "--inject", "flip-output")
    assert done.returncode == 1
    assert "A FAULT IS PUT IN ON PURPOSE: flip-output. Nothing can pass." in done.stdout.splitlines()[:3]
    assert "expected 0x" in done.stdout


@pytest.mark.parametrize(("words", "says"), [
    (["run"], "say which module"),
    (["run", "matmull", "--backend", "cpu"], "no stress module is called 'matmull'"),
    (["run", "matmul", "--backend", "vulkan"], "no backend is called 'vulkan'"),
    (["run", "matmul", "--backend", "cpu", "--inject", "fire"], "no fault is called 'fire'"),
    (["run", "power-pulse", "--backend", "cpu", "--inject", "flip-memory"], "power-pulse has no fault 'flip-memory'"),
    (["run", "matmul", "--backend", "cpu", "--gpu", "9"], "no device is called '9'"),
    (["run", "matmul", "--backend", "cpu", "--option", "size"], "is no KEY=VALUE"),
    (["run", "matmul", "--backend", "cpu", "--profile", "nonesuch"], "nonesuch"),
    (["run", "matmul", "--backend", "cpu", "--option", "szie=test"], "matmul has no option 'szie'"),
    (["run", "matmul", "--backend", "cpu", "--option", "phase=pwoer"], "phase=pwoer is no value"),
    (["run", "copy", "--backend", "cpu", "--option", "together=no"], "copy has no option 'together'"),
    (["run", "matmul", "--backend", "cpu", "--json", "/nonexistent/x.json"], "/nonexistent: no such directory"),
    (["run", "wake", "--backend", "cpu", "--seconds", "nan"], "nan is no number"),
    (["run", "wake", "--backend", "cpu", "--seconds", "inf"], "inf is out of range: from 0.1 to 86400"),
    (["run", "wake", "--backend", "cpu", "--gpu", ""], "no device is called ''"),
    (["run", "matmul", "--backend", "cpu", "--option", "kernel=portable-bf16-64x64x17"], "no kernel is called"),
])
def test_a_mistake_is_one_clear_error(words: list[str], says: str) -> None:
    done = _run(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_that_cannot_be_opened_is_no_pass() -> None:
    done = _run("run", "matmul", "--backend", "cpu", BOXCHECK_CPU_DEVICES="zero")
    assert done.returncode == 3
    assert "nothing was run" in done.stderr


def test_what_was_asked_and_cannot_be_done_is_unknown() -> None:
    found, code = _json("matmul", "--backend", "cpu", "--seconds", "0.5", "--option", "elements=fp7")
    assert code == 3
    assert any("fp7" in one["says"] for one in found["findings"])


def test_only_the_named_devices_are_worked_on() -> None:
    found, code = _json("matmul", "--backend", "cpu", "--seconds", "0.5", "--gpu", "cpu:1", BOXCHECK_CPU_DEVICES="3")
    assert code == 0
    assert found["modules"][0]["gpus"] == ["cpu:1"]
    assert {sample["gpu"] for sample in found["modules"][0]["samples"]} == {"cpu:1"}


def test_the_list_names_every_module_with_its_faults() -> None:
    discover_stress()
    done = _run("list", "--json", "-")
    listed = json.loads(done.stdout)
    assert {one["name"] for one in listed} == set(STRESSES)
    for one in listed:
        assert set(one["faults"]) <= set(FAULTS)
        assert one["faults"]
    shown = _run("list").stdout
    assert all(name in shown for name in STRESSES)
    assert "portable-bf16-64x64x16" in shown


def test_every_module_has_a_check_and_every_check_of_stress_a_module() -> None:
    discover()
    discover_stress()
    judged = {check.stress for check in CHECKS.values() if check.stress}
    assert judged == {*STRESSES, "*", "burn", "watch"}


def test_doctor_runs_no_check_of_a_stress_module() -> None:
    from boxcheck.engine.inspect import choose_checks

    assert all(check.stress is None for check in choose_checks(()))
    assert choose_checks(["matmul"]) == ()


def test_every_option_that_a_module_names_is_taken_and_no_other() -> None:
    import re

    from boxcheck.stress.options import OPTIONS

    discover_stress()
    assert set(OPTIONS) == set(STRESSES)
    for name, module in STRESSES.items():
        text = (module.function.__doc__ or "").partition("Options: ")[2]
        named = {word.partition("=")[0] for word in re.findall(r"`([a-z_]+(?:=[a-z|]+)?)`", text)}
        assert named == set(OPTIONS[name]), name


def test_a_run_that_leaves_devices_out_says_so() -> None:
    done = _run("run", "wake", "--backend", "cpu", "--seconds", "0.3", "--gpu", "1", BOXCHECK_CPU_DEVICES="3")
    assert done.returncode == 0
    assert "2 more not asked for: cpu:0, cpu:2." in done.stdout


def test_the_profile_is_named() -> None:
    done = _run("run", "wake", "--backend", "cpu", "--seconds", "0.3", "--profile", "tinybox-red")
    assert "profile tinybox-red r1, chosen with --profile" in done.stdout


def test_what_was_found_stands_although_its_json_cannot_be_written() -> None:
    done = _run(
        "run", "matmul", "--backend", "cpu", "--seconds", "0.5", "--inject", "flip-output", "--json", "/dev/full")
    assert done.returncode == 1
    assert "wrong" in done.stdout
    assert "no space left" in done.stderr


@pytest.mark.parametrize("words", [["--json", "/dev/full"], ["--json", "-"]])
def test_a_pass_whose_json_cannot_be_written_is_none(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "boxcheck", "stress", "run", "wake", "--backend", "cpu", "--seconds", "0.3", *words],
            stdout=full if words[-1] == "-" else subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
            env=ENVIRONMENT, check=False)
    assert done.returncode == 3
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_all_leaves_out_what_has_nothing_to_work_on_and_says_so() -> None:
    gpu = GpuInfo(
        backend="cuda", index=0, name="RTX 4090", arch="sm_89", bdf=None, memory_bytes=1, free_bytes=1, compute_units=1,
        unified=False, is_gpu=True, driver="a test")
    tree, modules = Tree(), sorted(STRESSES)
    tree["/sys/block/sda/size"] = b"1"
    empty = host_of(tree)
    found = without_work(modules, [gpu], {}, empty)
    assert {name: why for name, why in found.items() if name != "nvme"} == dict.fromkeys(
        ("collective", "p2p"), "it needs 2 GPUs of one runtime, 1 is here")
    assert found["nvme"] == "there is no NVMe drive on PCIe"
    other = msgspec.structs.replace(gpu, backend="hip")
    assert {*without_work(modules, [gpu, other], {"files": "/x"}, empty)} == {"collective", "p2p"}
    assert without_work(modules, [gpu, msgspec.structs.replace(gpu, index=1)], {"files": "/x"}, empty) == {}


def test_what_was_asked_for_stands_in_the_account() -> None:
    done = _run("run", "power-pulse", "--backend", "cpu", "--seconds", "0.5", "--option", "hertz=10", "--option", "duty=0.2")
    assert "0.5 s a module, hertz=10, duty=0.2" in done.stdout
    found, _ = _json("wake", "--backend", "cpu", "--seconds", "0.3")
    assert (found["asked_seconds"], found["options"], found["without_work"]) == (0.3, {}, {})


def test_a_kernel_that_the_list_names_is_run_for_its_own_element() -> None:
    names = [line.split()[0] for line in _run("list").stdout.splitlines() if "portable-int8" in line]
    found, code = _json("matmul", "--backend", "cpu", "--seconds", "0.3", "--option", f"kernel={names[0]}")
    assert code == 0
    assert {one["what"].split(".")[1] for one in found["modules"][0]["samples"]} == {"int8"}
    found, code = _json(
        "matmul", "--backend", "cpu", "--seconds", "0.3", "--option", f"kernel={names[0]}", "--option", "elements=bf16")
    assert code == 3
    assert any("multiplies int8, and elements=bf16 leaves that out" in one["says"] for one in found["findings"])


def _hung(folder: Path, *names: str) -> dict[str, str]:
    """An environment in which these bindings never answer."""
    for name in names:
        (folder / f"{name}.py").write_text("import time\ntime.sleep(1000)\n")
    return {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


def test_ctrl_c_is_heard_while_a_runtime_hangs(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "boxcheck", "stress", "run", "wake", "--seconds", "0.3"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=_hung(tmp_path, "pyopencl"))
    time.sleep(3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 8
    assert "interrupted before anything was run" in said


def test_runtimes_that_hang_are_waited_for_side_by_side_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervise, "START_SECONDS", 6.0)
    began = time.monotonic()
    found = find_devices(None, environment=_hung(tmp_path, "pyopencl", "hip", "cuda"))
    assert time.monotonic() - began < 15
    assert found.gpus == ()
    assert found.troubles["opencl"].kind == "stuck-opening"
    assert no_device(found, read_facts(host_of(build("tinybox-red")), {Gpus, PciInventory}), DoctorOptions()) == 3
    said = capsys.readouterr().err
    assert said.startswith("error: no GPU that can be driven was found, and ")
    assert " could not be asked, so nothing was run" in said.replace("\n  ", " ")
    assert "opencl" in said.partition(" could not ")[0]
    assert "opencl: could not be asked: no sign of life" in said


def test_checks_of_stress_modules_are_known_without_numpy() -> None:
    """doctor knows their names and limits, and starts as fast as before."""
    script = (
        "import sys\nfrom boxcheck.registry import CHECKS, discover\ndiscover()\n"
        "assert 'matmul.wrong-elements' in CHECKS\n"
        "print(sorted({'numpy', 'boxcheck.gpu.cuda', 'boxcheck.stress.matmul'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_account_says_that_there_is_no_profile_and_names_one() -> None:
    told = _run("run", "wake", "--backend", "cpu", "--seconds", "0.3").stdout
    assert "  no profile: no GPU of a known box; judged by what holds for any box (generic r1)\n" in told
    assert "  profile generic r1, chosen with --profile\n" in _run(
        "run", "wake", "--backend", "cpu", "--seconds", "0.3", "--profile", "generic").stdout


def test_a_module_that_ran_in_two_phases_and_its_device_are_named_once() -> None:
    info = GpuInfo(
        backend="cpu", index=0, name="x86_64", arch="cpu", bdf=None, memory_bytes=2, free_bytes=2, compute_units=1,
        unified=True, is_gpu=False, driver="numpy")
    two = tuple(
        StressResults(module="matmul", gpus=(one,), samples=(), troubles=(), ended=("cpu:0",))
        for one in (info, msgspec.structs.replace(info, free_bytes=1)))
    found = StressRun(
        results=two, watching=(), runtime=RuntimeGpus((info,), {}, ()), started=0.0, seconds=1.0, profile="generic r1",
        verdict=judge((), load_profile("generic")))
    lines = stress_text(found, Style(), "1").splitlines()
    assert lines[0] == "boxcheck 1   stress matmul   1970-01-01 00:00:00Z"
    assert sum("x86_64" in line for line in lines) == 1


def test_the_list_is_as_wide_as_the_terminal() -> None:
    told = _run("list", COLUMNS="80").stdout.partition("\nMatrix kernels")[0].splitlines()
    assert max(map(len, _run("list", COLUMNS="80").stdout.splitlines())) <= 80
    assert len(told) > len(_run("list", COLUMNS="120").stdout.partition("\nMatrix kernels")[0].splitlines())


def test_one_reason_of_many_checks_is_said_once() -> None:
    """As after the burn-in of a user to whom the kernel's log is closed."""
    shut = [Finding(check=f"log.{name}", subject=BOX, outcome=Outcome.UNKNOWN, says="no right") for name in ("edac", "mce")]
    others = [Finding(check="log.nvme", subject=BOX, outcome=Outcome.UNKNOWN, says="no log"),
              *(Finding(check=f"a.{name}", subject=BOX, outcome=Outcome.FAIL, says="no right") for name in "bc")]
    run: Any = SimpleNamespace(verdict=SimpleNamespace(findings=(*shut, *others), problems=()))
    assert list(_findings(run, Style()))[1:] == [
        "fail[a.b]", "  box: no right", "fail[a.c]", "  box: no right",
        "unknown[log.edac, log.mce]", "  box: no right", "unknown[log.nvme]", "  box: no log"]


@pytest.mark.parametrize(("module", "fault"), [("vram", "flip-memory"), ("copy", "flip-payload"), ("matmul", "flip-output")])
def test_to_run_it_alone_is_one_step(module: str, fault: str) -> None:
    found, _ = _json(module, "--backend", "cpu", "--seconds", "1", "--inject", fault)
    (problem,) = found["problems"]
    assert [step for step in problem["help"] if "on this GPU alone" in step] == [
        f"run it on this GPU alone: boxcheck stress run {module} --gpu N"]
