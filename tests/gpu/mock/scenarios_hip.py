"""What the HIP backend alone must do."""

from __future__ import annotations

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

from boxcheck.gpu import cache, hip_absent, hip_compile
from boxcheck.gpu.hip_binding import call, hip
from boxcheck.gpu.hip_compile import compile_source
from boxcheck.gpu.hip_errors import FAULTS
from boxcheck.kernels import Kernel, Source
from tests.gpu.mock.rig import ALL_KINDS, Rig, environment

HIP_VERSION = "6.4.43484"


def devices_have_amds_names(rig: Rig) -> None:
    rig.mock.mock_gfx(1, b"gfx90a:sramecc+:xnack-")
    first, second = rig.backend.devices()
    rig.mock.mock_gfx(1, None)
    assert (first.arch, second.arch) == ("gfx1100", "gfx90a")
    assert first.uuid == "GPU-4d1b8a9dc2f1e5a7"
    assert first.driver == f"HIP {HIP_VERSION}"


def the_compiler_gets_architecture_defines_and_what_the_source_asks_for(rig: Rig) -> None:
    source = Source("kinds.cu", "text of it", (), (("WIDTH", "7"),), "hip", ("-mcumode",))
    made = compile_source(source, "gfx1151", HIP_VERSION)
    assert made.code.decode().splitlines() == [
        "MOCK CODE OBJECT", "--offload-arch=gfx1151", "-O3", "-DWIDTH=7", "-mcumode", "text of it"]
    assert made.log == "a warning"
    portable = compile_source(Source("kinds.cu", "x", (), (), "portable", ("-mcumode",)), "gfx1100", HIP_VERSION)
    assert b"-mcumode" not in portable.code
    with rig.refuses("unsupported", "written for CUDA"):
        compile_source(Source("w.cu", "", (), language="cuda"), "gfx1100", HIP_VERSION)


def what_the_compiler_prints_does_not_mix_with_its_code(rig: Rig) -> None:
    assert compile_source(Source("c.cu", "CHATTER", ()), "gfx1100", HIP_VERSION).code.endswith(b"CHATTER")


def a_text_that_does_not_compile_is_told_in_the_compilers_words(rig: Rig) -> None:
    with rig.refuses("compile", "bad.cu for gfx1100 does not compile: mock.cu:1:2: error: as told"):
        rig.open().build(Source("bad.cu", "#error", ()))


def a_compiler_that_crashes_is_told_and_harms_nothing(rig: Rig) -> None:
    gpu = rig.open()
    with rig.refuses("compile", "hiprtc crashed (SIGABRT) when it compiled crash.cu for gfx1100"):
        gpu.build(Source("crash.cu", "CRASH", ()))
    rig.build(gpu, ALL_KINDS)


def a_compiler_that_hangs_is_told(rig: Rig) -> None:
    before = hip_compile.TIMEOUT_SECONDS
    hip_compile.TIMEOUT_SECONDS = 1.0
    try:
        with rig.refuses("timeout", "did not compile hang.cu for gfx1100 within 1 s"):
            rig.open().build(Source("hang.cu", "HANG", ()))
    finally:
        hip_compile.TIMEOUT_SECONDS = before


def a_missing_compiler_is_told(rig: Rig) -> None:
    with TemporaryDirectory() as empty, environment(LD_LIBRARY_PATH=empty, ROCM_PATH=empty), \
            rig.refuses("no-driver", "libhiprtc.so was not found", "package hiprtc"):
        compile_source(Source("kinds.cu", "other text", ()), "gfx1100", HIP_VERSION)


def a_child_that_cannot_start_is_told(rig: Rig) -> None:
    with environment(PYTHONHOME="/nowhere"), rig.refuses("compile", "gave no answer for kinds.cu for gfx1100"):
        compile_source(Source("kinds.cu", "yet another text", ()), "gfx1100", HIP_VERSION)


def compiled_code_is_taken_from_the_cache_the_next_time(rig: Rig) -> None:
    with TemporaryDirectory() as folder, environment(BOXCHECK_CACHE_DIR=folder):
        rig.build(rig.open(), ALL_KINDS)
        assert len(list(Path(folder, "kernels").glob("*" + cache.SUFFIX))) == 1
        compile = hip_compile._compiled
        hip_compile._compiled = None  # type: ignore[assignment]
        try:
            rig.build(rig.open(), ALL_KINDS)
        finally:
            hip_compile._compiled = compile


def code_stays_where_it_was_given_while_its_kernels_run(rig: Rig) -> None:
    gpu = rig.open()
    program = rig.build(gpu, ALL_KINDS)
    gc.collect()
    held = [bytes(len(program.code)) for _ in range(200)]  # would take the place of code that was dropped
    gpu.launch(program, "t_none", 1, ())
    gpu.finish()
    assert len(held) == 200


def clusters_and_too_much_shared_memory_are_unsupported(rig: Rig) -> None:
    gpu = rig.open()
    for kernel, words in (
        (Kernel("t_none", (), cluster=2), "clusters"), (Kernel("t_none", (), shared_bytes=65 << 10), "65 KiB"),
    ):
        with rig.refuses("unsupported", words):
            rig.build(gpu, Source("kinds.cu", ALL_KINDS.text, (kernel,)))
    assert rig.live("modules") == 0


def no_gpu_has_a_reason(rig: Rig) -> None:
    with TemporaryDirectory() as folder:
        dev, before = Path(folder), hip_absent.DEV
        hip_absent.DEV = dev
        try:
            rig.reset(devices=0)
            with rig.refuses("no-driver", "there is no", "/kfd", "modprobe amdgpu"):
                rig.backend.devices()
            (dev / "kfd").touch()
            with rig.refuses("no-driver", "renderD"):
                rig.backend.devices()
            (dev / "dri").mkdir()
            (dev / "dri" / "renderD128").touch()
            hidden = dict.fromkeys(hip_absent.SELECTORS)
            with environment(**hidden), rig.refuses("no-device", "HIP shows no GPU"):
                rig.backend.devices()
            with environment(**{**hidden, "HIP_VISIBLE_DEVICES": "-1"}), \
                    rig.refuses("no-device", "HIP_VISIBLE_DEVICES is `-1`", "unset"):
                rig.backend.devices()
        finally:
            hip_absent.DEV = before


def codes_of_starting_and_opening_are_told(rig: Rig) -> None:
    for function, code, kind, words in (
        ("hipInit", 35, "version", "too old for this ROCm"), ("hipInit", 303, "no-driver", "could not be started"),
        ("hipSetDevice", 2, "out-of-memory", "not enough memory"),
    ):
        rig.fault(function, code)
        with rig.refuses(kind, words):  # type: ignore[arg-type]
            rig.backend.open_gpu(0)


def every_code_of_the_binding_has_words(rig: Rig) -> None:
    missing = [code.name for code in hip().hipError_t if int(code) and int(code) not in FAULTS]
    assert not missing, missing


def a_code_that_the_binding_does_not_know_is_an_error(rig: Rig) -> None:
    gpu = rig.open()
    rig.fault("hipMalloc", 12345)
    with rig.refuses("error", "12345", "does not know"):
        gpu.allocate(64)


def a_function_that_the_runtime_lacks_is_told(rig: Rig) -> None:
    with rig.refuses("version", "do not go together", "hipProfilerStart", "hip-python==6.4"):
        call("hipProfilerStart")


