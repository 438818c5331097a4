"""What the CUDA backend alone must do."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace

import numpy as np

from boxcheck.gpu import cache, cuda_absent, cuda_compile
from boxcheck.gpu.cuda_binding import call, driver
from boxcheck.gpu.cuda_errors import FAULTS
from boxcheck.kernels import Kernel, Source, text_of
from boxcheck.kernels.tensor_map import describe
from tests.gpu.mock.rig import ALL_KINDS, BUDGET_BYTES, Rig, environment

MAPS = Source(
    "maps.cu", text_of("prelude.h") + """
struct alignas(64) bc_map { u64 words[16]; };
#if defined(BC_HOST)
#define GRID const
#else
#define GRID const __grid_constant__
#endif
BC_KERNEL(t_map)(u32 first, GRID bc_map map, u64 *out) { if (BC_LID < 16u) out[BC_LID] = map.words[BC_LID] + first; }
""", (Kernel("t_map", ("u32", "map", "buffer")),), language="cuda")


SOURCES = (MAPS,)


def devices_have_nvidias_names(rig: Rig) -> None:
    rig.mock.mock_arch(1, 12, 0)
    first, second = rig.backend.devices()
    assert (first.arch, second.arch) == ("sm_89", "sm_120")
    assert first.uuid == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert first.driver.startswith("CUDA 13.0")


def free_memory_that_nvml_tells_costs_no_context(rig: Rig) -> None:
    told = ModuleType("pynvml")
    vars(told).update(
        NVMLError=OSError, nvmlInit=lambda: None, nvmlShutdown=lambda: None, nvmlDeviceGetCount=lambda: 1,
        nvmlSystemGetDriverVersion=lambda: "580.65.06", nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda index: "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f",
        nvmlDeviceGetMemoryInfo=lambda index: SimpleNamespace(free=12345))
    before = sys.modules.get("pynvml")
    sys.modules["pynvml"] = told
    retained = rig.mock.mock_retains()
    try:
        first, second = rig.backend.devices()
    finally:
        sys.modules.pop("pynvml")
        if before is not None:
            sys.modules["pynvml"] = before
    assert (first.free_bytes, second.free_bytes) == (12345, BUDGET_BYTES)
    assert first.driver == "CUDA 13.0, driver 580.65.06"
    assert rig.mock.mock_retains() == retained + 1  # of the second alone


def a_tensor_map_reaches_the_kernel_as_the_driver_made_it(rig: Rig) -> None:
    gpu = rig.open()
    program = rig.build(gpu, MAPS)
    matrix, out = gpu.allocate(256 * 128 * 2), gpu.allocate(128)
    made = gpu.tensor_map(matrix, describe("bf16", 256, 128, (64, 64)))
    assert len(made) == 128
    gpu.launch(program, "t_map", 1, (1000, made, out))
    words = gpu.read(out, 128).view(np.uint64) - np.uint64(1000)
    # The mock's map holds its arguments: type, rank, address, sides and row, box, steps, interleave, swizzle, promotion
    assert words[:11].tolist() == [9, 2, matrix.address, 128, 256, 256, 64, 64, 1, 1, 0]
    assert words[11:14].tolist() == [3, 3, 0]
    with rig.rejects("tensor map"):
        gpu.launch(program, "t_map", 1, (0, made[:64], out))
    with rig.rejects("do not lie"):
        gpu.tensor_map(out, describe("bf16", 256, 128, (64, 64)))


def clusters_and_shared_memory_are_asked_for(rig: Rig) -> None:
    gpu = rig.open()
    kernel = Kernel("t_none", (), shared_bytes=64 << 10, cluster=2)
    source = Source("kinds.cu", ALL_KINDS.text, (kernel,))
    program = rig.build(gpu, source)
    gpu.launch(program, "t_none", 4, ())
    gpu.finish()
    assert (rig.mock.mock_cluster(), rig.mock.mock_shared()) == (2, 64 << 10)
    with rig.rejects("in clusters of 2"):
        gpu.launch(program, "t_none", 3, ())
    large = Source("kinds.cu", ALL_KINDS.text, (Kernel("t_none", (), shared_bytes=200 << 10),))
    with rig.refuses("unsupported", "needs 200 KiB of shared memory"):
        rig.build(gpu, large)
    assert rig.live("modules") == 1


def a_kernel_that_does_not_compile_is_told_in_the_compilers_words(rig: Rig) -> None:
    gpu = rig.open()
    bad = Source("bad.cu", 'extern "C" __global__ void f() { undeclared = 1; }', (Kernel("f", ()),))
    with rig.refuses("compile", "bad.cu does not compile for sm_89", "undeclared"):
        gpu.build(bad)
    with rig.refuses("compile", "does not compile"):
        gpu.build(Source("bad.cu", ALL_KINDS.text, (), language="cuda", options=("--no-such-option",)))
    with rig.refuses("unsupported", "written for HIP"):
        gpu.build(Source("other.cu", "", (), language="hip"))


def a_source_may_name_its_architecture_and_gets_its_defines(rig: Rig) -> None:
    rig.mock.mock_arch(0, 9, 0)
    gpu = rig.open()
    text = ALL_KINDS.text + """
#if !defined(__CUDA_ARCH_FEAT_SM90_ALL) || WIDTH != 7
#error "not what was asked for"
#endif
"""
    source = Source(
        "kinds.cu", text, ALL_KINDS.kernels, (("WIDTH", "7"),), "cuda", ("--gpu-architecture=sm_90a", "--use_fast_math"))
    rig.build(gpu, source)


def compiled_code_is_taken_from_the_cache_the_next_time(rig: Rig) -> None:
    with TemporaryDirectory() as folder, environment(BOXCHECK_CACHE_DIR=folder):
        rig.build(rig.open(), ALL_KINDS)
        kept = list(Path(folder, "kernels").glob("*" + cache.SUFFIX))
        assert len(kept) == 1
        compile = cuda_compile._compiled
        cuda_compile._compiled = None  # type: ignore[assignment]
        try:
            rig.build(rig.open(), ALL_KINDS)
        finally:
            cuda_compile._compiled = compile


def a_driver_older_than_the_compiler_is_told_with_the_extra_to_install(rig: Rig) -> None:
    (major, _), _ = cuda_compile.compiler()
    rig.mock.mock_version((major - 1) * 1000 + 20 if major > 12 else 12020)
    gpu = rig.open()
    if major > 12:
        with rig.refuses("version", f"NVRTC {major}.", "CUDA 12.2", "pip install -U 'boxcheck[cuda12]'"):
            gpu.build(ALL_KINDS)
    else:
        rig.build(gpu, ALL_KINDS)


def a_gpu_that_the_compiler_does_not_know_is_told(rig: Rig) -> None:
    rig.mock.mock_arch(0, 15, 0)
    with rig.refuses("version", "does not know this GPU (sm_150)", "boxcheck[cuda13]"):
        rig.open().build(ALL_KINDS)


def a_driver_from_before_cuda_12_is_told(rig: Rig) -> None:
    rig.mock.mock_version(11080)
    with rig.refuses("version", "CUDA 11.8", "525 or newer"):
        rig.backend.devices()


def no_gpu_has_a_reason(rig: Rig) -> None:
    with TemporaryDirectory() as folder:
        dev, before = Path(folder), cuda_absent.DEV
        cuda_absent.DEV = dev
        try:
            rig.reset(devices=0)
            with rig.refuses("no-driver", "NVIDIA's kernel module is not loaded"):
                rig.backend.devices()
            for name in ("nvidiactl", "nvidia0", "nvidia-uvm"):
                (dev / name).touch()
            with environment(CUDA_VISIBLE_DEVICES=None), rig.refuses("no-device", "the driver shows no GPU"):
                rig.backend.devices()
            with environment(CUDA_VISIBLE_DEVICES="-1"), rig.refuses("no-device", "CUDA_VISIBLE_DEVICES is `-1`"):
                rig.backend.devices()
            (dev / "nvidia-uvm").unlink()
            with rig.refuses("no-driver", "nvidia-uvm is not loaded"):
                rig.backend.devices()
            rig.reset()
            rig.fault("cuInit", 999)
            with rig.refuses("no-driver", "nvidia-uvm is not loaded", "nvidia-modprobe"):
                rig.backend.devices()
        finally:
            cuda_absent.DEV = before


def codes_of_starting_and_opening_are_told(rig: Rig) -> None:
    for function, code, kind, words in (
        ("cuInit", 803, "version", "different versions"), ("cuInit", 802, "no-driver", "fabric manager"),
        ("cuInit", 34, "no-driver", "stub"), ("cuInit", 804, "version", "cuda-compat"),
        ("cuDevicePrimaryCtxRetain", 46, "busy", "compute mode"), ("cuDevicePrimaryCtxRetain", 800, "forbidden", "may not"),
        ("cuDevicePrimaryCtxRetain", 2, "out-of-memory", "not enough memory"),
    ):
        rig.fault(function, code)
        with rig.refuses(kind, words):  # type: ignore[arg-type]
            rig.backend.open_gpu(0)


def a_gpu_that_another_process_holds_is_listed_with_no_free_memory(rig: Rig) -> None:
    rig.fault("cuDevicePrimaryCtxRetain", 46)
    first, second = rig.backend.devices()
    assert (first.free_bytes, second.free_bytes > 0) == (0, True)


def a_device_that_does_not_open_is_let_go_of(rig: Rig) -> None:
    rig.fault("cuMemGetInfo", 1)
    with rig.refuses("error", "defect of boxcheck"):
        rig.backend.open_gpu(0)


def every_code_of_the_binding_has_words(rig: Rig) -> None:
    missing = [code.name for code in driver().CUresult if int(code) and int(code) not in FAULTS]
    assert not missing, missing


def a_code_that_the_binding_does_not_know_is_an_error(rig: Rig) -> None:
    gpu = rig.open()
    rig.fault("cuMemAlloc", 12345)
    with rig.refuses("error", "12345"):
        gpu.allocate(64)


def a_function_that_the_driver_lacks_is_told(rig: Rig) -> None:
    with rig.refuses("version", "cuProfilerStart"):
        call("cuProfilerStart")
