"""What the compilers make of the kernels, read and judged; and, where NVRTC or a clang for AMD's GPUs is, what they make now."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

import msgspec
import pytest

from boxcheck.gpu import GpuError
from boxcheck.kernels import Kernel, Source, compile_amd, compile_matrix, compile_nvidia, mma
from boxcheck.kernels.compile_matrix import Item, compile_all, compiled, items, main, table
from boxcheck.kernels.compile_report import Row

BF16 = next(kernel for kernel in mma.kernels() if kernel.name == "mma-bf16-128x128x32-s3")


def nvrtc_is_here() -> bool:
    try:
        return find_spec("cuda.bindings.nvrtc") is not None and compile_nvidia.nvrtc("nvrtcVersion") is not None
    except (ImportError, GpuError):
        return False


needs_nvrtc = pytest.mark.skipif(not nvrtc_is_here(), reason="NVRTC is not installed (boxcheck[cuda13])")
needs_nvdisasm = pytest.mark.skipif(compile_nvidia.nvdisasm() is None, reason="nvdisasm is not installed (nvidia-cuda-nvdisasm)")
needs_clang = pytest.mark.skipif(compile_amd.clang() is None, reason="no clang for AMD's GPUs is installed (ziglang)")


def item(**defines: str) -> Item:
    changed = tuple(sorted({**dict(BF16.source.defines), **defines}.items()))
    return Item("mma", msgspec.structs.replace(BF16.source, defines=changed), ("sm_89",), "bf16")


@needs_nvrtc
@pytest.mark.parametrize(("only", "arch"), [
    *(("mma-bf16*", arch) for arch in compile_matrix.CUDA_ARCHS), ("mma-e4m3*", "sm_89"), ("mma-e4m3*", "sm_120"),
    ("mma-int8*", "sm_80"), ("mma-int8*", "sm_120"), ("mma-fp16*", "sm_86"), ("mma-fp16*", "sm_120")])
def test_matrix_kernels_compile_without_a_spill(only: str, arch: str) -> None:
    rows, _ = compile_all((arch,), only)
    assert [row.wrong for row in rows] == [""] * len(rows)
    assert all(row.spill_bytes == 0 and row.registers and row.registers <= 232 for row in rows)
    offered = {kernel.name: int(dict(kernel.source.defines)["RESIDENT"]) for kernel in compile_matrix.matrix_kernels() if kernel.name.startswith("mma")}
    assert all(row.groups is not None and row.groups >= offered[row.kernel] for row in rows), "as many groups fit as were meant to"


@needs_nvrtc
def test_a_kernel_that_spills_is_a_defect() -> None:
    row, = compiled(item(RESIDENT="8"), "sm_89")
    assert row.registers == 64
    assert row.wrong.startswith("spills: ")


@needs_nvrtc
def test_a_kernel_that_does_not_compile_is_a_defect_in_the_words_of_the_compiler() -> None:
    row, = compiled(item(BK="24u"), "sm_89")
    assert "the swizzle is made for rows of 64 or 128 bytes" in row.wrong
    assert row.registers is None


@needs_nvrtc
@needs_nvdisasm
def test_fp8_that_becomes_fp16_is_a_defect() -> None:
    fp8 = next(kernel for kernel in mma.kernels() if kernel.name == "mma-e4m3-128x128x64-s3")
    row, = compiled(Item("fp8", fp8.source, ("sm_100",), "e4m3"), "sm_100")
    assert row.wrong in ("e4m3 is computed by HMMA", f"spills: {row.spill_bytes} bytes")
    assert set(row.tensor or ()) == {"HMMA"}


@needs_clang
def test_portable_kernels_compile_for_amd() -> None:
    rows, missing = compile_all(compile_matrix.HIP_ARCHS, "d*.cu")
    assert not missing
    assert {row.arch for row in rows} == set(compile_matrix.HIP_ARCHS)
    assert all(row.wrong == "" and row.registers and row.groups for row in rows)


@needs_clang
def test_scratch_memory_is_a_defect_on_amd() -> None:
    text = ('extern "C" __attribute__((global)) void f(int *a, int n) '
            '{ volatile int kept[64]; for (int i = 0; i < 64; i++) kept[i] = a[i]; a[0] = kept[n & 63]; }')
    row, = compiled(Item("f", Source("f.cu", text, (Kernel("f", ("buffer", "i32")),), language="hip"), ("gfx1100",)), "gfx1100")
    assert row.spill_bytes
    assert row.wrong == f"spills: {row.spill_bytes} bytes"


def test_a_missing_compiler_is_no_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    assert main(["--arch", "sm_89", "--only", "mma-bf16*"]) == 2
    assert "not looked at: NVRTC cannot be used" in capsys.readouterr().err


def test_nothing_compiled_is_no_pass() -> None:
    assert main(["--arch", "sm_89", "--only", "no such kernel"]) == 2


PTXAS = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_89'
ptxas info    : Function properties for first
ptxas         .     {stack} bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 2048 bytes smem, 388 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_89'
ptxas info    : Function properties for second
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
"""


def test_the_report_of_ptxas_is_read_for_each_entry_point() -> None:
    log = PTXAS.format(stack=16, stores=12, loads=8)
    first, second = (compile_nvidia.ptxas_row("k", Kernel(name, (), 128, 1024), "sm_89", log, {}, "") for name in ("first", "second"))
    assert (first.registers, first.shared_bytes, first.spill_bytes, first.groups) == (40, 3072, 36, 12)
    assert (second.registers, second.shared_bytes, second.spill_bytes, second.groups) == (255, 1024, 0, 2)


def test_an_entry_point_without_a_report_is_a_defect() -> None:
    row = compile_nvidia.ptxas_row("k", Kernel("third", ()), "sm_89", PTXAS.format(stack=0, stores=0, loads=0), {}, "")
    assert row.registers is None
    assert compile_matrix.defect(row, "")


@pytest.mark.parametrize(("line", "wrong"), [
    ("ptxas info    : (C7508) Potential Performance Loss: wgmma.mma_async instructions are serialized", True),
    ('k.cu(7): warning #177-D: function "f" was declared but never referenced', False),
    ('Remark: The warnings can be suppressed with "-diag-suppress <warning-number>"', False),
    ("ptxas warning : Registers are spilled to local memory in function 'f', 36 bytes spill stores", True),
    ("k.cu(7): warning #550-D: variable was set but never used", True),
    ("ptxas info    : Used 40 registers, used 1 barriers", False),
])
def test_what_the_compiler_gives_away_is_noticed(line: str, wrong: bool) -> None:
    assert bool(compile_nvidia.WARNING.search(line)) is wrong


AMD = """
f:
\tv_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]
\ts_endpgm
.Lfunc_end0:
; Occupancy: 8
amdhsa.kernels:
  - .args:           []
    .group_segment_fixed_size: 512
    .name:           f
    .private_segment_fixed_size: {scratch}
    .sgpr_spill_count: 0
    .symbol:         f.kd
    .vgpr_count:     191
    .vgpr_spill_count: {spilled}
"""


@pytest.mark.parametrize(("scratch", "spilled", "bytes_"), [(0, 0, 0), (64, 0, 64), (0, 3, 12), (16, 3, 16)])
def test_the_metadata_of_amd_is_read(scratch: int, spilled: int, bytes_: int) -> None:
    row = compile_amd.clang_row("k", Kernel("f", (), 128, 1024), "gfx1100", AMD.format(scratch=scratch, spilled=spilled))
    assert (row.registers, row.shared_bytes, row.spill_bytes, row.groups) == (191, 1536, bytes_, 8)
    assert row.tensor == {"v_wmma": 1}


@pytest.mark.parametrize(("element", "tensor", "wrong"), [
    ("bf16", {"HMMA": 64}, False), ("bf16", {}, True), ("bf16", {"IMMA": 1}, True), ("int8", {"IMMA": 64}, False),
    ("e4m3", {"QMMA": 64}, False), ("e4m3", {"HMMA": 128}, True), ("e4m3", {"QMMA": 64, "HMMA": 1}, True), ("", {}, False),
    ("bf16", None, False),
])
def test_each_element_has_its_tensor_unit(element: str, tensor: dict[str, int] | None, wrong: bool) -> None:
    row = Row(kernel="k", entry="f", arch="sm_89", registers=1, spill_bytes=0, tensor=tensor)
    assert bool(compile_matrix.defect(row, element)) is wrong


def test_every_tuned_and_portable_kernel_is_in_the_list() -> None:
    found = list(items((*compile_matrix.CUDA_ARCHS, *compile_matrix.HIP_ARCHS)))
    names = {each.name for each in found}
    assert {kernel.name for kernel in mma.kernels()} <= names
    assert {"digest.cu", "memory.cu", "matmul.cu bf16", "verify.cu e4m3"} <= names
    assert next(each.archs for each in found if each.name == "mma-e4m3-128x128x64-s2") == ("sm_120",)


def test_rows_are_shown_as_text_markdown_and_json() -> None:
    row = Row(kernel="k", entry="f", arch="sm_89", registers=40, shared_bytes=0, spill_bytes=0, groups=6, tensor={"HMMA": 64})
    unknown = Row(kernel="k", entry="g", arch="sm_89", wrong="does not\ncompile")
    assert table([row]).split("\n")[1].split()[:7] == ["k", "f", "sm_89", "40", "0", "0", "6"]
    lines = table([row, unknown], markdown=True).split("\n")
    assert lines[2] == "| k | f | sm_89 | 40 | 0 | 0 | 6 | HMMA 64 | 0.00 |  |"
    assert lines[3] == "| k | g | sm_89 | ? | ? | ? | ? | ? | 0.00 | does not compile |"
    assert json.loads(msgspec.json.encode([row]))[0]["registers"] == 40
