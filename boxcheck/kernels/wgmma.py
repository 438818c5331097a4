"""The matrix kernel of Hopper (compute capability 9.0: H100, H200, GH200): `wgmma.cu`, built for sm_90a.

Only `wgmma`, which reads its operands from shared memory, fills these tensor cores; `mma.sync` stops at 63 to 65 % of
peak (arXiv 2501.12084). NVRTC takes `--gpu-architecture=sm_90a` where the device says sm_90; such code runs on 9.0
alone.

Which steps it takes of the ladder that Pranjal Shankhdhar published, in TFLOPS of bf16 at N = 4096 on an H100 with 716
of cuBLAS ("Outperforming cuBLAS on H100: a worklog", cudaforfun.substack.com; github.com/pranjalssh/fast.cu):

    taken       wgmma and TMA 317; a warpgroup that loads, others that multiply 498; a tile of 128 x 256 with two
                multiplying warpgroups 610; registers moved to them 631; persistent groups in 16 x 8 tiles 660; barriers
                with one arrival a warpgroup 704; of a later step (747): sums that are not zeroed, streaming stores
    an option   clusters of two groups that share B by multicast 734: `kernel(element, cluster=2)`
    not taken   C through shared memory and TMA 758; Hilbert order 764

That suggests 704 to 720 there, 98 % of cuBLAS. It is an expectation from other people's measurements: THIS KERNEL HAS
NOT BEEN MEASURED, nor run on a GPU at all. What is known of it: it compiles with no spill and no serialised products
(tests/kernels/wgmma/compiled.py), and its text, run by an emulator of TMA, mbarrier and wgmma, gives exact products and
keeps to the rules of waiting (tests/kernels/test_wgmma.py).

Sums of e4m3 leave the tensor core's 14 bits after each 128 products, as in DeepGEMM (github.com/deepseek-ai/DeepGEMM);
no ladder is known for that. Sums of tf32, fp16, bf16 and int8 stay where they are.
"""

from __future__ import annotations

from functools import cache

from boxcheck.kernels import Kernel, Source, text_of
from boxcheck.kernels.matrix import ELEMENTS, ElementName, MatrixKernel

ENTRY = "bc_wgmma"
STEP_BYTES = 128
"""Of k that one step takes of each row: the widest box of a 128-byte swizzle."""
TILE = (128, 256)
STAGES = 4
"""Of 48 KiB: a fifth does not fit the 227 KiB that a group may have (CUDA programming guide, compute capabilities)."""
SWIZZLE_PATTERN_BYTES = 1024
BARRIER_BYTES = 16
"""Of the two barriers of a stage."""
TUNED: tuple[ElementName, ...] = ("bf16", "fp16", "e4m3", "int8", "tf32")
WHERE = "emulator of TMA, mbarrier and wgmma (tests/kernels/wgmma)"


def kernel(
    element: ElementName, *, tile: tuple[int, int] = TILE, stages: int = STAGES, cluster: int = 1,
    promote: bool | None = None,
) -> MatrixKernel:
    """The kernel for an element, in `TUNED`. ValueError for others.

    `cluster` groups share tiles of B; with more than one, it must divide the number of groups that are launched.
    `promote` None: for e4m3 only. Sizes other than those in `kernels()` are for tests: the emulator takes any, the
    compiler has instructions for 128 and 256 columns.
    """
    if element not in TUNED:
        raise ValueError(f"{element} has no tuned kernel for Hopper")
    step = STEP_BYTES // ELEMENTS[element].bytes
    rows, columns = tile
    defines = {
        "BC_ELEMENT": ELEMENTS[element].code, "BC_TILE_M": rows, "BC_TILE_N": columns, "BC_STAGES": stages,
        "BC_CLUSTER": cluster,
    }
    if promote is not None:
        defines["BC_PROMOTE"] = int(promote)
    stage_bytes = (rows + columns) * STEP_BYTES + BARRIER_BYTES
    entry = Kernel(
        ENTRY, ("map", "map", "buffer", "u32", "u32", "u32"), group=128 * (1 + rows // 64),
        shared_bytes=SWIZZLE_PATTERN_BYTES + stages * stage_bytes, cluster=cluster)
    source = Source(
        "wgmma.cu", text_of("wgmma.cu"), (entry,), tuple((name, str(value)) for name, value in sorted(defines.items())),
        language="cuda", options=("--gpu-architecture=sm_90a",))
    together = f"-cluster{cluster}" if cluster > 1 else ""
    return MatrixKernel(
        name=f"wgmma-{element}-{rows}x{columns}x{step}{together}", source=source, entry=ENTRY, element=element,
        archs=("sm_90*",), tile=(rows * cluster, columns, step), call="maps",
        map_boxes=((rows, step), (columns // cluster, step)), persistent=True, proof="emulator", proof_where=WHERE)


@cache
def kernels() -> tuple[MatrixKernel, ...]:
    """The kernels that are offered, one an element; no clusters until a GPU has run them."""
    return tuple(kernel(element) for element in TUNED)
