"""mma.cu without a GPU: its text runs in an emulator of the instructions, and every product is compared with integers.

The emulator (tests/kernels/emulator) is strict where a GPU is lenient; the last tests change the kernel's text in ways
that must be noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from boxcheck.kernels import mma
from boxcheck.kernels.compile_nvidia import LIMITS, residency
from boxcheck.kernels.matrix import ELEMENTS, Element, MatrixKernel
from tests.kernels.emulator import Emulated, Integers, Run, build, compiler

KERNELS = {kernel.name: kernel for kernel in mma.kernels()}
ARCHS = ("sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_103", "sm_120", "sm_121")
BF16 = KERNELS["mma-bf16-128x128x32-s3"]
RANDOM_ORDER = 7

needs_compiler = pytest.mark.skipif(compiler() is None, reason="neither a C++ compiler nor ziglang is installed")

Builder = Callable[..., Emulated]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Kernels, built once each."""
    folder = tmp_path_factory.mktemp("emulator")
    built: dict[object, Emulated] = {}
    numbers = count()

    def get(kernel: MatrixKernel, change: tuple[str, str] | None = None) -> Emulated:
        key = (kernel.source.defines, change)
        if key not in built:
            built[key] = build(kernel, folder / str(next(numbers)), change)
        return built[key]

    return get


def exact_data(element: Element, rows: int, depth: int, side: int, seed: int) -> Integers:
    """As data.h has it: the bound changes with the parity of k and the side."""
    bounds = np.where((np.arange(depth) ^ side) & 1, element.odd, element.even)
    drawn = np.random.default_rng((seed, side)).integers(-bounds, bounds + (element.name != "int8"), (rows, depth))
    return np.asarray(drawn, np.int64)


def product(program: Emulated, tiles: tuple[int, int, int], order: int = 0, seed: int = 1) -> tuple[Run, Integers]:
    """C of as many tiles, and what it should be."""
    m, n, k = (count * size for count, size in zip(tiles, program.kernel.tile, strict=True))
    element = ELEMENTS[program.kernel.element]
    a, b = exact_data(element, m, k, 0, seed), exact_data(element, n, k, 1, seed)
    expected = a @ b.T
    assert np.abs(expected).max() < element.exact_below
    return program.run(a, b, order=order), expected


@needs_compiler
@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_makes_exact_products_in_any_order_of_warps(name: str, emulated: Builder) -> None:
    """One step of k; fewer steps than stages (or as many); more steps, with warps forward, backward and mixed."""
    program = emulated(KERNELS[name])
    stages = int(dict(KERNELS[name].source.defines)["STAGES"].rstrip("u"))
    for tiles, order in (((2, 3, 1), 0), ((1, 2, stages - 1), 1), ((2, 1, stages + 1), RANDOM_ORDER)):
        run, expected = product(program, tiles, order)
        assert run.complaints == ""
        assert run.counts["errors"] == 0
        np.testing.assert_array_equal(run.c, expected)


@needs_compiler
@pytest.mark.parametrize("name", KERNELS)
def test_no_kernel_meets_a_bank_conflict_or_moves_half_a_sector(name: str, emulated: Builder) -> None:
    kernel = KERNELS[name]
    program = emulated(kernel)
    steps, depth_bytes = 5, kernel.tile[2] * ELEMENTS[kernel.element].bytes
    counts = product(program, (1, 1, steps))[0].counts
    assert (counts["ldmatrix_conflicts"], counts["copy_conflicts"]) == (0, 0)
    assert counts["copies"] * 16 == counts["copy_sectors"] * 32 == steps * sum(kernel.tile[:2]) * depth_bytes
    assert counts["stores"] * 8 == counts["store_sectors"] * 32 == kernel.tile[0] * kernel.tile[1] * 4
    assert counts["mma"] * 16 * 8 * 32 == kernel.tile[0] * kernel.tile[1] * depth_bytes * steps
    assert counts["barriers"] == 1 + steps
    assert counts["touched_bytes"] == kernel.source.kernel(kernel.entry).shared_bytes


@needs_compiler
def test_every_group_makes_a_tile_of_its_own(emulated: Builder) -> None:
    for kernel in (BF16, KERNELS["mma-bf16-256x128x32-s3"]):
        for tiles_m, tiles_n in ((1, 1), (3, 5), (7, 1), (1, 7), (17, 9), (9, 17), (16, 4), (33, 2)):
            found = emulated(kernel).tiles(tiles_m, tiles_n)
            assert sorted(found) == [(m, n) for m in range(tiles_m) for n in range(tiles_n)]


@needs_compiler
def test_groups_that_run_together_share_their_rows(emulated: Builder) -> None:
    together = emulated(BF16).tiles(64, 64)[:256]
    assert len({m for m, _ in together}) + len({n for _, n in together}) == 32


@needs_compiler
@pytest.mark.parametrize(
    ("m", "n", "k"), [((1 << 20) + 128, 128, 2048), (128, (1 << 20) + 128, 2048), ((1 << 16) + 128, (1 << 16) + 128, 32)],
    ids=["A", "B", "C"])
def test_matrices_beyond_four_gigabytes_are_addressed(m: int, n: int, k: int, emulated: Builder) -> None:
    """Only the last tile is computed; rows before it are zeros that take no memory."""
    try:
        run, expected = _last_tile(emulated(BF16), m, n, k)
    except MemoryError as error:
        pytest.skip(f"virtual memory is limited here: {error}")
    assert run.complaints == ""
    np.testing.assert_array_equal(run.c, expected)


def _last_tile(program: Emulated, m: int, n: int, k: int) -> tuple[Run, Integers]:
    a, b = (exact_data(ELEMENTS["bf16"], 128, k, side, 3) for side in (0, 1))
    return program.run(a, b, first=(m - 128, n - 128), groups=slice(-1, None)), a @ b.T


@needs_compiler
def test_promoted_sums_are_exact_where_the_fp8_unit_keeps_14_bits(emulated: Builder) -> None:
    """All of the type's mantissas, three of four positive: sums grow to 34000, by 4000 in a step."""
    generator = np.random.default_rng(5)
    a, b = (generator.integers(8, 16, (128, 1024)) * generator.choice((-1, 1, 1, 1), (128, 1024)) for _ in range(2))
    promoted = emulated(KERNELS["mma-e4m3-128x128x128-s3-promoted"]).run(a, b, fraction=13)
    np.testing.assert_array_equal(promoted.c, a @ b.T)
    straight = emulated(KERNELS["mma-e4m3-128x128x64-s3"]).run(a, b, fraction=13)
    assert (straight.c != a @ b.T).mean() > 0.9


@needs_compiler
def test_e4m3_data_of_the_table_is_exact_in_14_bits_without_promotion(emulated: Builder) -> None:
    a, b = (exact_data(ELEMENTS["e4m3"], 128, 2048, side, 1) for side in (0, 1))
    run = emulated(KERNELS["mma-e4m3-128x128x64-s3"]).run(a, b, fraction=13)
    np.testing.assert_array_equal(run.c, a @ b.T)


MUTATIONS = {
    "no swizzle": (("(chunk ^ (ROW == 64u ? (row >> 1) & 3u : row & 7u))", "chunk"), "conflicts"),
    "another swizzle for 64-byte rows": (("(row >> 1) & 3u", "row & 3u"), "conflicts"),
    "a k-step added instead of turned over": (("a_at ^= k_step * 32u", "a_at += k_step * 32u"), "wrong"),
    "fragments of A in another order": (
        ("swizzled(warp_m + lane % 16u, lane / 16u)", "swizzled(warp_m + lane % 8u + lane / 16u * 8u, lane / 8u % 2u)"), "wrong"),
    "fragments of B in another order": (
        ("swizzled(warp_n + lane % 8u + lane / 16u * 8u, lane / 8u % 2u)", "swizzled(warp_n + lane % 16u, lane / 16u)"), "wrong"),
    "one group too many may be pending": (("cp_wait<STAGES - 2u>();", "cp_wait<STAGES - 1u>();"), "in flight"),
    "one group too many may be pending at first": (("cp_wait<STAGES - 1u>();", "cp_wait<STAGES>();"), "in flight"),
    "no wait": (("cp_wait<STAGES - 2u>();", ""), "in flight"),
    "no barrier in the loop": (("barrier();\n                copy_step", "copy_step"), "no barrier since"),
    "no barrier before the loop": (("barrier();\n    load_fragments", "load_fragments"), "no barrier since"),
    "copies before the barrier": (
        ("barrier();\n                copy_step(to + stage, from_a, from_b, pass_bytes, step + STAGES < steps);",
         "copy_step(to + stage, from_a, from_b, pass_bytes, step + STAGES < steps);\n                barrier();"), "no barrier since the bytes"),
    "no commit without copies": (("    cp_commit();\n    from_a", "    if (wanted) cp_commit();\n    from_a"), "in flight"),
    "a step is copied beyond the end": (("step + STAGES < steps)", "step + STAGES <= steps)"), "outside of the inputs"),
    "the stage runs on at the end": (("if (step + 1u < steps) stage", "stage"), "never written"),
    "rows of the last band": (("tiles_m - first < RASTER ? tiles_m - first : RASTER", "RASTER"), "outside of"),
    "the two halves of C are exchanged": (("(i * 16u + half * 8u)", "(i * 16u + 8u - half * 8u)"), "wrong"),
    "C is made of half the tiles": (("j < N_TILES; j++) {\n                sum_t", "j < N_TILES / 2u; j++) {\n                sum_t"), "wrong"),
    "more shared memory than declared": (("STAGES - 1u) * STAGE_BYTES ?", "STAGES) * STAGE_BYTES ?"), "outside of shared memory"),
}


@needs_compiler
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_emulator_notices(name: str, emulated: Builder) -> None:
    """Fewer and more steps than there are stages, and a band of tiles that is not full."""
    change, evidence = MUTATIONS[name]
    program = emulated(BF16, change)
    counts: dict[str, int] = {}
    complaints, wrong = "", False
    for steps in (1, 5):
        run, expected = product(program, (2, 2, steps))
        counts, complaints, wrong = run.counts, complaints + run.complaints, wrong or bool((run.c != expected).any())
    if evidence == "conflicts":
        assert counts["ldmatrix_conflicts"] > 0
        assert not wrong, "the product does not depend on the swizzle"
    elif evidence == "wrong":
        assert wrong
    else:
        assert evidence in complaints


@needs_compiler
@pytest.mark.parametrize(("change", "shape"), [
    (("((u64)tile.m * BM + copy_row) * row_bytes", "(tile.m * BM + copy_row) * (u32)row_bytes"), ((1 << 20) + 128, 128, 2048)),
    (("((u64)tile.n * BN + copy_row) * row_bytes", "(tile.n * BN + copy_row) * (u32)row_bytes"), (128, (1 << 20) + 128, 2048)),
    (("((u64)tile.m * BM + warp_m + lane / 4u) * n", "(tile.m * BM + warp_m + lane / 4u) * n"), ((1 << 16) + 128, (1 << 16) + 128, 32)),
], ids=["A", "B", "C"])
def test_offsets_of_32_bits_are_noticed(change: tuple[str, str], shape: tuple[int, int, int], emulated: Builder) -> None:
    try:
        run, expected = _last_tile(emulated(BF16, change), *shape)
    except MemoryError as error:
        pytest.skip(f"virtual memory is limited here: {error}")
    assert (run.c != expected).any()


@pytest.mark.parametrize("arch", ARCHS)
def test_every_architecture_has_its_kernels(arch: str) -> None:
    here = [kernel for kernel in KERNELS.values() if kernel.runs_on(arch)]
    elements = {kernel.element for kernel in here}
    assert {"bf16", "fp16", "tf32", "int8"} <= elements
    assert ("e4m3" in elements) is (arch in ("sm_89", "sm_120", "sm_121"))
    assert {kernel.full_power for kernel in here} == {arch not in ("sm_90", "sm_100", "sm_103")}


def test_names_tell_kernels_apart() -> None:
    assert len(KERNELS) == len(mma.kernels())


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_fits_where_it_is_offered(name: str) -> None:
    """Shared memory of a group, and of as many groups as the compiler was told to make room for."""
    kernel = KERNELS[name]
    entry = kernel.source.kernel(kernel.entry)
    resident = int(dict(kernel.source.defines)["RESIDENT"])
    archs = [arch for arch in ARCHS if kernel.runs_on(arch)]
    assert archs
    for arch in archs:
        assert entry.shared_bytes <= LIMITS[arch].group_shared_bytes
        assert residency(arch, entry.group, 65536 // (resident * entry.group) // 8 * 8 - 1, entry.shared_bytes) >= resident
