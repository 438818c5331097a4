"""What the CUDA backend decides without a driver: versions, reasons, names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from boxcheck.gpu import GpuError
from boxcheck.gpu.cuda_absent import no_binding, no_library, why_no_gpu
from boxcheck.gpu.cuda_compile import check_versions, options_of
from boxcheck.gpu.cuda_errors import FAULTS, error_of
from boxcheck.gpu.cuda_info import bdf_of, uuid_text
from boxcheck.gpu.cuda_nvml import Told, ask
from boxcheck.kernels import Source

NVRTC_13 = ((13, 5), (75, 80, 86, 87, 88, 89, 90, 100, 103, 107, 110, 120, 121))
NVRTC_12_9 = ((12, 9), (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 101, 103, 120, 121))
NVRTC_12_6 = ((12, 6), (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90))


@pytest.mark.parametrize(("nvrtc", "driver", "arch"), [
    (NVRTC_13, 13000, "sm_89"), (NVRTC_13, 13020, "sm_120"), (NVRTC_13, 14000, "sm_90a"), (NVRTC_12_9, 12000, "sm_70"),
    (NVRTC_12_9, 12090, "sm_120"), (NVRTC_12_9, 13000, "sm_89"),
])
def test_versions_that_go_together_pass(
    nvrtc: tuple[tuple[int, int], tuple[int, ...]], driver: int, arch: str
) -> None:
    check_versions(*nvrtc, driver, arch)


@pytest.mark.parametrize(("nvrtc", "driver", "arch", "kind", "says", "help"), [
    (NVRTC_13, 12080, "sm_89", "version", "NVRTC 13.5 makes code that the driver, which is for CUDA 12.8", "boxcheck[cuda12]"),
    (NVRTC_13, 13000, "sm_70", "version", "no longer makes code for this GPU (sm_70)", "boxcheck[cuda12]"),
    (NVRTC_12_6, 12060, "sm_120", "version", "does not know this GPU (sm_120)", "boxcheck[cuda12]"),
    (NVRTC_12_9, 13000, "sm_110", "version", "does not know this GPU (sm_110)", "boxcheck[cuda13]"),
    (NVRTC_12_9, 12090, "sm_35", "unsupported", "no longer makes code for this GPU (sm_35)", ""),
])
def test_versions_that_do_not_go_together_name_the_extra_to_install(
    nvrtc: tuple[tuple[int, int], tuple[int, ...]], driver: int, arch: str, kind: str, says: str, help: str
) -> None:
    with pytest.raises(GpuError) as raised:
        check_versions(*nvrtc, driver, arch)
    assert raised.value.kind == kind
    assert says in raised.value.says
    assert help in raised.value.help


def test_the_architecture_is_the_gpus_unless_the_source_names_one() -> None:
    source = Source("a.cu", "", (), (("A", "1"), ("B", "2")), "cuda", ("--use_fast_math",))
    assert options_of(source, "sm_89") == ("--gpu-architecture=sm_89", "-DA=1", "-DB=2", "--use_fast_math")
    for option in ("--gpu-architecture=sm_90a", "-arch=sm_90a"):
        source = Source("a.cu", "", (), (), "cuda", (option, "-lineinfo"))
        assert options_of(source, "sm_90") == ("--gpu-architecture=sm_90a", "-lineinfo")
    assert options_of(Source("a.cu", "", (), (), "portable", ("-mcumode",)), "sm_89") == ("--gpu-architecture=sm_89",)


def test_a_bus_id_becomes_the_kernels_address() -> None:
    for text in ("0000:C1:00.0", "00000000:c1:00.0", "0000:C1:00"):
        assert bdf_of(text) == "0000:c1:00.0"
    assert bdf_of("00010000:01:00.0") == "10000:01:00.0"
    assert bdf_of("") is None
    assert bdf_of("41:00.0") is None


def test_a_uuid_is_written_as_nvidia_smi_does() -> None:
    value = bytes.fromhex("3f9a0b1c2d3e4f506172839405162738")
    assert uuid_text(value, "NVIDIA H200") == "GPU-3f9a0b1c-2d3e-4f50-6172-839405162738"
    assert uuid_text(value, "NVIDIA H200 MIG 1g.18gb") == "MIG-3f9a0b1c-2d3e-4f50-6172-839405162738"


@pytest.mark.parametrize(("code", "kind", "lasts"), [
    (2, "out-of-memory", False), (46, "busy", False), (100, "no-device", False), (101, "no-device", False),
    (209, "version", False), (214, "lost", True), (217, "unsupported", False), (700, "error", True), (702, "timeout", True),
    (714, "lost", True), (716, "error", True), (719, "lost", True), (800, "forbidden", False), (801, "unsupported", False),
    (803, "version", False), (999, "lost", True), (1, "error", False), (54321, "error", False),
])
def test_a_code_has_a_kind_and_says_whether_the_context_survives(code: int, kind: str, lasts: bool) -> None:
    error = error_of(code, "CUDA_ERROR_NAME", "cuCall", "trying")
    assert (error.kind, error.lasts, error.code) == (kind, lasts, code)
    assert error.says.startswith("trying: ")
    assert error.says.endswith(f"(cuCall: CUDA_ERROR_NAME {code})")


def test_what_is_lost_lasts_and_what_is_told_is_one_clause() -> None:
    for code, fault in FAULTS.items():
        assert fault.lasts or fault.kind != "lost", code
        assert fault.says
        assert not fault.says.endswith("."), code
        assert "\n" not in fault.says + fault.help, code


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("nvidiactl", "nvidia0", "nvidia1", "nvidia-uvm", "nvidia-modeset"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


VAGUE = error_of(100, "CUDA_ERROR_NO_DEVICE", "cuInit")


def test_with_every_node_open_the_drivers_own_words_stand(dev: Path) -> None:
    assert why_no_gpu(VAGUE, dev) is VAGUE


def test_no_node_means_no_kernel_module(tmp_path: Path) -> None:
    error = why_no_gpu(VAGUE, tmp_path)
    assert error.kind == "no-driver"
    assert "kernel module is not loaded" in error.says
    assert "modprobe nvidia" in error.help


@pytest.mark.parametrize("closed", ["nvidiactl", "nvidia1", "nvidia-uvm"])
def test_a_node_that_may_not_be_opened_is_forbidden(dev: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may open everything, so the refusal is put in here.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != closed)
    error = why_no_gpu(VAGUE, dev)
    assert error.kind == "forbidden"
    assert f"this user may not open {dev / closed}" in error.says
    assert f"ls -l {dev / closed}" in error.help


def test_a_missing_uvm_module_is_told(dev: Path) -> None:
    (dev / "nvidia-uvm").unlink()
    error = why_no_gpu(error_of(999, "CUDA_ERROR_UNKNOWN", "cuInit"), dev)
    assert (error.kind, "nvidia-uvm is not loaded" in error.says) == ("no-driver", True)


def test_a_variable_that_hides_every_gpu_is_named(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    error = why_no_gpu(VAGUE, dev)
    assert (error.kind, "CUDA_VISIBLE_DEVICES is ``" in error.says) == ("no-device", True)


def test_a_missing_library_tells_whether_the_kernel_module_is_there(dev: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    missing = RuntimeError('"cuda" is an NVIDIA driver library and can only be found via system search.')
    nothing = tmp_path_factory.mktemp("dev")
    assert "is not installed: there is no libcuda.so.1" in no_library(missing, nothing).says
    assert f"{dev / 'nvidia0'} is here" in no_library(missing, dev).says
    for old in ("Failed to get __cuGetProcAddress_v2", 'Function "cuGetProcAddress_v2" not found'):
        assert no_library(RuntimeError(old), dev).kind == "version"


def test_a_missing_binding_is_told_apart_from_a_broken_one() -> None:
    absent = no_binding(ModuleNotFoundError("No module named 'cuda'", name="cuda"))
    assert (absent.kind, "boxcheck[cuda13]" in absent.help, "boxcheck[cuda12]" in absent.help) == ("no-binding", True, True)
    old = no_binding(ModuleNotFoundError("No module named 'cuda.bindings'", name="cuda.bindings"))
    assert (old.kind, "has no cuda.bindings" in old.says) == ("version", True)
    broken = no_binding(ImportError("driver.so: undefined symbol: x\nmore", name="cuda.bindings.driver"))
    assert (broken.kind, broken.says.endswith("undefined symbol: x more")) == ("version", True)


def nvml(free: dict[int, int | None]) -> SimpleNamespace:
    """nvidia-ml-py of paper: free bytes by index, None for a GPU that is lost."""
    class NVMLError(Exception):
        pass

    def memory(index: int) -> SimpleNamespace:
        if free[index] is None:
            raise NVMLError("GPU is lost")
        return SimpleNamespace(free=free[index])

    return SimpleNamespace(
        NVMLError=NVMLError, nvmlInit=lambda: None, nvmlShutdown=lambda: None, nvmlDeviceGetCount=lambda: len(free),
        nvmlSystemGetDriverVersion=lambda: b"580.65.06", nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda index: f"GPU-{index}", nvmlDeviceGetMemoryInfo=memory)


def test_nvml_tells_free_memory_of_the_gpus_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml({0: 100, 1: None, 2: 300}))
    assert ask() == Told("580.65.06", {"GPU-0": 100, "GPU-2": 300})


def test_without_nvml_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = nvml({})
    broken.nvmlInit = lambda: 1 / 0
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    assert ask() == Told(None, {})
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert ask() == Told(None, {})
