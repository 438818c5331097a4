"""What the HIP backend decides without a runtime: reasons, names, answers of the compiler's process."""

from __future__ import annotations

import grp
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from boxcheck.gpu import GpuError
from boxcheck.gpu.hip import uuid_text
from boxcheck.gpu.hip_absent import SELECTORS, no_binding, no_library, why_no_gpu
from boxcheck.gpu.hip_binding import version_text
from boxcheck.gpu.hip_compile import _answered, options_of
from boxcheck.gpu.hip_errors import FAULTS, error_of
from boxcheck.kernels import Source

VAGUE = error_of(100, "hipErrorNoDevice", "hipInit")


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dri").mkdir()
    for name in ("kfd", "dri/card0", "dri/renderD128", "dri/renderD129"):
        (tmp_path / name).touch()
    for name in SELECTORS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_with_every_node_open_the_runtimes_own_words_stand(dev: Path) -> None:
    assert why_no_gpu(VAGUE, dev) is VAGUE


def test_no_kfd_means_no_compute(dev: Path) -> None:
    (dev / "kfd").unlink()
    error = why_no_gpu(VAGUE, dev)
    assert (error.kind, "modprobe amdgpu" in error.help, "--device=/dev/kfd" in error.help) == ("no-driver", True, True)


@pytest.mark.parametrize("closed", ["kfd", "renderD129"])
def test_a_node_that_may_not_be_opened_names_the_group_to_join(
    dev: Path, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != closed)
    group = grp.getgrgid((dev / "kfd").stat().st_gid)
    error = why_no_gpu(VAGUE, dev)
    assert error.kind == "forbidden"
    assert closed in error.says
    assert f"sudo usermod -aG {group.gr_name} $USER" in error.help
    assert f"--group-add {group.gr_gid}" in error.help


def test_a_group_without_a_name_is_given_to_the_container_by_number(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "kfd")
    monkeypatch.setattr(grp, "getgrgid", nobody)
    assert why_no_gpu(VAGUE, dev).help == f"start the container with `--group-add {(dev / 'kfd').stat().st_gid}`"


def test_variables_that_hide_gpus_are_named(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "7")
    error = why_no_gpu(VAGUE, dev)
    assert (error.kind, "ROCR_VISIBLE_DEVICES is `7`" in error.says) == ("no-device", True)


@pytest.mark.parametrize(("raised", "kind", "says", "help"), [
    ("failed to dlopen 'b'libamdhip64.so'': b'libamdhip64.so: cannot open shared object file: No such file or directory'",
     "no-driver", "libamdhip64.so was not found", "hip-runtime-amd"),
    ("failed to dlopen 'b'/opt/rocm/lib/libhiprtc.so'': b'libhiprtc.so: cannot open shared object file: No such file or "
     "directory'", "no-driver", "libhiprtc.so was not found", "hiprtc"),
    ("failed to dlopen 'b'libamdhip64.so'': b'libamdhip64.so: file too short'", "no-driver", "file too short", "again"),
    ("failed to dlsym 'b'hipGetDevicePropertiesR0600'': b'undefined symbol: hipGetDevicePropertiesR0600'",
     "version", "do not go together", "hip-python==6.4.*"),
])
def test_what_the_binding_raises_is_told_in_words(raised: str, kind: str, says: str, help: str) -> None:
    error = no_library(RuntimeError(raised))
    assert error.kind == kind
    assert says in error.says
    assert help in error.help


def test_a_missing_binding_is_told_apart_from_a_broken_one() -> None:
    assert no_binding(ModuleNotFoundError("No module named 'hip'", name="hip")).kind == "no-binding"
    broken = no_binding(ImportError("hip.so: undefined symbol: x", name="hip.hip"))
    assert (broken.kind, "undefined symbol" in broken.says) == ("version", True)


@pytest.mark.parametrize(("code", "kind", "lasts"), [
    (2, "out-of-memory", False), (1052, "out-of-memory", False), (35, "version", False), (100, "no-device", False),
    (209, "version", False), (214, "lost", True), (217, "unsupported", False), (700, "error", True), (719, "lost", True),
    (999, "lost", True), (801, "unsupported", False), (1, "error", False), (54321, "error", False),
])
def test_a_code_has_a_kind_and_says_whether_the_device_survives(code: int, kind: str, lasts: bool) -> None:
    error = error_of(code, "hipErrorName", "hipCall")
    assert (error.kind, error.lasts, error.code) == (kind, lasts, code)


def test_what_is_lost_lasts_and_what_is_told_is_one_clause() -> None:
    for code, fault in FAULTS.items():
        assert fault.lasts or fault.kind != "lost", code
        assert fault.says
        assert not fault.says.endswith("."), code
        assert "\n" not in fault.says + fault.help, code


def test_versions_are_written_as_rocm_does() -> None:
    assert version_text(60443484) == "6.4.43484"
    assert version_text(71526333) == "7.15.26333"


def test_a_uuid_is_written_as_rocminfo_does() -> None:
    assert uuid_text(SimpleNamespace(bytes=b"4d1b8a9dc2f1e5a7")) == "GPU-4d1b8a9dc2f1e5a7"
    assert uuid_text(SimpleNamespace(bytes=b"4d1b8a9dc2f1e5a7\x01\x02")) == "GPU-4d1b8a9dc2f1e5a7"
    for none in (b"", b"XX", b"\0" * 16):
        assert uuid_text(SimpleNamespace(bytes=none)) is None


def test_options_of_another_language_are_left_out() -> None:
    assert options_of(Source("a", "", (), (("A", "1"),), "hip", ("-mcumode",)), "gfx1100") == (
        "--offload-arch=gfx1100", "-O3", "-DA=1", "-mcumode")
    assert options_of(Source("a", "", (), (), "portable", ("-x",)), "gfx1100") == ("--offload-arch=gfx1100", "-O3")


@pytest.mark.parametrize(("out", "says"), [
    (b"", "gave no answer"), (b"{}\ncode", "gave no answer"), (b"hello\n", "gave no answer"),
    (b'{"kind":null,"says":"","help":"","log":"","code_bytes":9}\ncode', "gave 4 of 9 bytes"),
    (b'{"kind":null,"says":"","help":"","log":"","code_bytes":0}\n', "gave 0 of 0 bytes"),
    (b'{"kind":"nonsense","says":"","help":"","log":"","code_bytes":0}\n', "gave no answer"),
])
def test_an_answer_that_is_not_whole_is_no_code(out: bytes, says: str) -> None:
    with pytest.raises(GpuError, match=says) as raised:
        _answered("a.cu for gfx1100", out, b"Traceback:\n  last words")
    assert raised.value.kind == "compile"


COMPILES = (
    "from boxcheck.gpu.hip_compile import compile_source\nfrom boxcheck.kernels import Source\n"
    "compile_source(Source('k.cu', 'text', ()), 'gfx1100', '6.4')\n")


def _before(folder: Path) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def _compilers(parent: int) -> list[int]:
    """Processes that this one started to compile."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z" and b"boxcheck.gpu.hip_child" in words:
                found.append(int(entry.name))
    return found


def _wait_for(what: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not what() and time.monotonic() < until:
        time.sleep(0.02)
    return what()


def test_a_compiler_that_hangs_ends_with_the_worker_that_started_it(tmp_path: Path) -> None:
    """Killed with its worker's session, and by the kernel where the worker alone was killed."""
    (tmp_path / "hip").mkdir()
    (tmp_path / "hip" / "__init__.py").touch()
    (tmp_path / "hip" / "hiprtc.py").write_text(
        "import pathlib, time\ndef hiprtcCreateProgram(*_):\n"
        f"    pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n    time.sleep(60)\n")
    worker = subprocess.Popen(
        [sys.executable, "-c", COMPILES], start_new_session=True,
        env={**os.environ, "PYTHONPATH": _before(tmp_path), "BOXCHECK_CACHE_DIR": str(tmp_path / "cache")})
    try:
        assert _wait_for((tmp_path / "begun").exists)
        (compiler,) = _compilers(worker.pid)
        assert os.getsid(compiler) == worker.pid
    finally:
        worker.kill()
        worker.wait()

    def gone() -> bool:
        try:
            return Path(f"/proc/{compiler}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    assert _wait_for(gone)


def test_a_compiler_whose_worker_is_gone_already_does_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck.gpu.hip_child", "1"], input=b"{}\n", capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")  # not even the order was looked at
