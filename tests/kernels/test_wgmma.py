"""The Hopper kernel, run by an emulator of its instructions: exact products, and no order that it leaves to chance."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from boxcheck.kernels import text_of
from boxcheck.kernels.matrix import ELEMENTS, ElementName, MatrixKernel
from boxcheck.kernels.wgmma import TUNED, kernel, kernels
from tests.kernels.wgmma import compiled, emulator

SMALL = (64, 32)
"""A tile of one multiplying warpgroup: quick, and enough where columns do not matter."""
Build = Callable[[MatrixKernel], Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    command = emulator.compiler()
    if command is None:
        pytest.skip("no C++ compiler here: neither g++ nor clang++ nor the wheel ziglang")
    parts = emulator.compile_parts(command, tmp_path_factory.mktemp("wgmma"))
    programs: dict[MatrixKernel, Path] = {}

    def program(kernel: MatrixKernel) -> Path:
        if kernel not in programs:
            programs[kernel] = emulator.compile_kernel(command, parts, kernel, f"kernel{len(programs)}")
        return programs[kernel]

    return program


@cache
def data(element: str, side: int, rows: int, k: int, most: int | None = None) -> emulator.Integers:
    """Exact data as boxcheck makes them: the bound goes by the parity of k and of the side."""
    limits = ELEMENTS[element]
    bound = np.where((np.arange(k) + side) % 2 == 0, limits.even, limits.odd) if most is None else np.full(k, most)
    low = -bound
    high = bound - 1 if element == "int8" else bound
    return np.random.default_rng((side, rows, k)).integers(low, high + 1, (rows, k))


def multiplied(build: Build, kernel: MatrixKernel, m: int, n: int, k: int, *, most: int | None = None, **how: object) -> int:
    """How many elements of C are wrong."""
    a, b = data(kernel.element, 0, m, k, most), data(kernel.element, 1, n, k, most)
    done = emulator.run(build(kernel), kernel, a, b, **how)  # type: ignore[arg-type]
    return int((emulator.product(done, kernel, m, n).astype(np.int64) != a @ b.T).sum())


@pytest.mark.parametrize("element", TUNED)
@pytest.mark.parametrize("order", emulator.ORDERS)
def test_the_default_tile_gives_exact_products(build: Build, element: ElementName, order: str) -> None:
    """Two groups for three tiles, and more steps than stages."""
    tuned = next(one for one in kernels() if one.element == element)
    m, n, k = tuned.tile[0] * 3, tuned.tile[1], tuned.tile[2] * 6
    assert multiplied(build, tuned, m, n, k, groups=2, order=order) == 0


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("element", ["bf16", "e4m3", "int8"])
def test_any_number_of_steps_comes_out_exact(build: Build, element: ElementName, steps: int) -> None:
    small = kernel(element, tile=SMALL, stages=3)
    step = small.tile[2]
    for order in emulator.ORDERS:
        assert multiplied(build, small, 64 * 5, 32 * 3, step * steps, groups=4, order=order, seed=steps) == 0


@pytest.mark.parametrize("groups", [1, 7, 40, 50])
def test_every_tile_is_made_once_whatever_the_number_of_groups(build: Build, groups: int) -> None:
    """19 x 2 tiles: a panel of 16 rows and one of 3. An element that is written twice or not at all is a fault."""
    small = kernel("bf16", tile=SMALL)
    assert multiplied(build, small, 64 * 19, 32 * 2, 64, groups=groups) == 0


@pytest.mark.parametrize("element", ["bf16", "e4m3"])
@pytest.mark.parametrize("order", emulator.ORDERS)
def test_two_groups_that_share_tiles_of_b_give_exact_products(build: Build, element: ElementName, order: str) -> None:
    pair = kernel(element, tile=(64, 64), stages=2, cluster=2)
    assert multiplied(build, pair, 64 * 2 * 9, 64 * 2, pair.tile[2] * 5, groups=4, order=order) == 0


def test_the_cluster_of_the_default_tile_gives_exact_products(build: Build) -> None:
    pair = kernel("bf16", cluster=2)
    assert multiplied(build, pair, 512, 512, 64 * 5, groups=2) == 0


def test_k_that_ends_within_a_step_is_filled_up_with_zeros(build: Build) -> None:
    small = kernel("bf16", tile=SMALL)
    assert multiplied(build, small, 64, 32, 64 * 2 + 8) == 0


def test_int8_sums_wrap_like_those_of_the_hardware(build: Build) -> None:
    small = kernel("int8", tile=SMALL)
    k = 128 * 1056  # 128 * 128 * 135168 > 2^31
    a, b = np.full((64, k), -128), np.full((32, k), -128)
    got = emulator.product(emulator.run(build(small), small, a, b), small, 64, 32)
    assert (got == (128 * 128 * k) - (1 << 32)).all()


def test_fp8_needs_its_sums_promoted(build: Build) -> None:
    """Values of four significant bits leave the 14 bits of the tensor core's sums, unless they move on in time."""
    k = 128 * 24
    assert multiplied(build, kernel("e4m3", tile=SMALL), 64, 32, k, most=15) == 0
    kept = kernel("e4m3", tile=SMALL, promote=False)
    assert multiplied(build, kept, 64, 32, k, most=15) > 0
    assert multiplied(build, kept, 64, 32, k) == 0  # the values that boxcheck uses stay within


# What the emulator must not let through.


class Fault(NamedTuple):
    old: str
    """Text of the kernel, which is there once."""
    new: str
    kinds: set[str]
    """What is seen: the first words of a fault, or `wrong` numbers."""
    element: ElementName = "bf16"
    cluster: int = 1


WRONG = "wrong"
LAST = "        bc_products_wait<0>();\n        bc_release(q, before);"
EACH = "            if (depth) bc_release(q, before);"
STEP = "        u32 before = 0u;\n        for (u32 depth = 0u; depth < k; depth += BC_STEP) {\n"
FENCED = "            bc_products_fence();\n            BC_UNROLL\n            for (u32 slice = 0u; slice < BC_SLICES; slice++)\n                bc_multiply(sums"
FAULTS = {
    # Where products read.
    "a slice reads the bytes of another": Fault("b + BC_ALONG(32u * slice), slice ?", "b + BC_ALONG(16u * slice), slice ?", {WRONG}),
    "the stride of a descriptor": Fault("((1024ull >> 4) << 32)", "((512ull >> 4) << 32)", {WRONG}),
    "the swizzle of a descriptor": Fault("(1ull << 62)", "(2ull << 62)", {"descriptor"}),
    "all warpgroups on the same rows": Fault("u32 rows = (bc_thread() / 128u - 1u) * 64u", "u32 rows = 0u", {WRONG}),
    "both halves of the columns alike": Fault("half * (BC_B_BYTES / 2u)", "0u", {WRONG}, "e4m3"),
    # Where copies write.
    "stages off the swizzle's pattern": Fault("+ 1023u) & ~1023u", "+ 127u) & ~127u", {"address"}),
    "A into the place of B": Fault("bc_load(bc_b(q, at.stage), map_b", "bc_load(bc_a(q, at.stage), map_b", {"race"}),
    "the depth of one step for all": Fault("map_a, depth,", "map_a, 0u,", {WRONG}),
    # Who waits for whom.
    "no release": Fault("            bc_release(q, at.stage);", "", {"deadlock"}, "e4m3"),
    "no release but the last": Fault(EACH, "", {"deadlock"}),
    "no release of the last step": Fault(LAST, "        bc_products_wait<0>();", {"deadlock"}),
    "released before the products are complete": Fault("if (depth) bc_release(q, before);", "bc_release(q, at.stage);", {"race"}),
    "all but two lots waited for": Fault("bc_products_wait<1>()", "bc_products_wait<2>()", {"race"}),
    "stored before the last products end": Fault(LAST, LAST.replace("<0>", "<1>"), {"race"}),
    "added up before the products end": Fault("                bc_products_wait<0>();\n", "", {"race"}, "e4m3"),
    "no wait for the copies": Fault(STEP + "            bc_wait(bc_full(q, at.stage), at.parity);", STEP, {"race"}),
    "no wait for the release": Fault("bc_wait(bc_empty(q, at.stage), at.parity);", "", {"barrier"}),
    "the loader's first parity": Fault("bc_place at = {0u, 1u};", "bc_place at = {0u, 0u};", {"deadlock"}),
    "the multipliers' first parity": Fault("bc_place at = {0u, 0u};", "bc_place at = {0u, 1u};", {"race"}),
    "a parity that never turns": Fault("at.parity ^= 1u;", "", {"barrier"}),
    "too few bytes expected": Fault("bc_barrier_expect(full, BC_STAGE_BYTES)", "bc_barrier_expect(full, BC_A_BYTES)", {"race", "deadlock"}),
    "too many bytes expected": Fault("bc_barrier_expect(full, BC_STAGE_BYTES)", "bc_barrier_expect(full, BC_STAGE_BYTES + 16u)", {"deadlock"}),
    "no fence before products": Fault(FENCED, FENCED.partition("\n")[2], {"products"}),
    "barriers that nobody waits to see": Fault("    bc_everyone();\n    if (bc_thread() < 128u)", "    if (bc_thread() < 128u)", {"barrier"}),
    "all threads arrive": Fault("if (member < BC_CLUSTER) bc_barrier_arrive(bc_empty(q, stage), member);", "bc_barrier_arrive(bc_empty(q, stage), 0u);", {"race", "deadlock"}),
    "more registers than there are": Fault("BC_MULTIPLIER_REGISTERS 232", "BC_MULTIPLIER_REGISTERS 240", {"registers"}),
    # What is made of it.
    "sums that keep those of the tile before": Fault("slice ? 1u : depth", "1u", {WRONG}),
    "a tile made twice": Fault("number += bc_groups() / BC_CLUSTER) {\n        bc_tile tile = bc_tile_at(number, m, n);\n        tile.row +=", "number += 1u) {\n        bc_tile tile = bc_tile_at(number, m, n);\n        tile.row +=", {"deadlock"}),
    "rows of C": Fault("+ lane / 4u;", "+ lane / 8u;", {"store"}),
    "columns of C": Fault("bc_store(lower + i * 2u, sums[i + 2u], sums[i + 3u]);", "bc_store(lower + i * 2u, sums[i + 3u], sums[i + 2u]);", {WRONG}),
    # Between the groups of a cluster.
    "only the own group is released": Fault("bc_barrier_arrive(bc_empty(q, stage), member)", "bc_barrier_arrive(bc_empty(q, stage), bc_cluster_rank())", {"race"}, cluster=2),
    "one group's release is enough": Fault("BC_CONSUMERS * BC_CLUSTER)", "BC_CONSUMERS)", {"race", "deadlock"}, cluster=2),
    "a group leaves early": Fault("at its barriers. */\n    bc_everyone();", "at its barriers. */", {"barrier"}, cluster=2),
    "both groups load the same part": Fault("u32 part = rank * (BC_TILE_N / BC_CLUSTER);", "u32 part = 0u;", {"race"}, cluster=2),
}


def broken(sound: MatrixKernel, old: str, new: str) -> MatrixKernel:
    assert sound.source.text.count(old) == 1
    source = msgspec.structs.replace(sound.source, text=sound.source.text.replace(old, new))
    return msgspec.structs.replace(sound, source=source)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_kernel_does_not_pass(build: Build, name: str) -> None:
    """Each runs in three orders; at least one must show it, and what they show must be what it is."""
    fault = FAULTS[name]
    sound = kernel(fault.element, tile=(128, 32), stages=3, cluster=fault.cluster)
    m, n, k = sound.tile[0] * 3, 64, sound.tile[2] * 5
    assert seen(build, broken(sound, fault.old, fault.new), m, n, k, groups=2) == fault.kinds


def seen(build: Build, kernel: MatrixKernel, m: int, n: int, k: int, groups: int) -> set[str]:
    """Kinds of faults that runs in three orders show; `wrong` for wrong numbers."""
    a, b = data(kernel.element, 0, m, k), data(kernel.element, 1, n, k)
    kinds = set()
    for order in emulator.ORDERS:
        done = emulator.run(build(kernel), kernel, a, b, groups=groups, order=order)
        if done.returncode:
            kinds.add(done.stderr.decode().splitlines()[-1].partition(":")[0])
        elif (emulator.product(done, kernel, m, n) != a @ b.T).any():
            kinds.add(WRONG)
    return kinds


def test_a_kernel_that_waits_for_ever_ends_with_a_trap(build: Build) -> None:
    """After two seconds and 64 polls of one thread; the clock of the emulator goes on by 0.1 s each time it is read."""
    stuck = broken(kernel("bf16", tile=SMALL), EACH, "")
    done = emulator.run(build(stuck), stuck, data("bf16", 0, 64, 640), data("bf16", 1, 32, 640))
    assert done.returncode == 1
    told = re.search(r"deadlock: trapped after (\d+) polls and (\d+) ms", done.stderr.decode())
    assert told is not None
    assert int(told[1]) > 64
    assert int(told[2]) > 2000


def test_the_kernels_run_on_hopper_alone_and_are_built_for_its_own_instructions() -> None:
    for one in kernels():
        assert one.runs_on("sm_90")
        assert not any(one.runs_on(arch) for arch in ("sm_89", "sm_100", "sm_120", "gfx1100", "opencl"))
        assert one.source.options == ("--gpu-architecture=sm_90a",)
        assert one.persistent
        assert one.source.kernel(one.entry).shared_bytes <= 227 * 1024
    assert {one.element for one in kernels()} == set(TUNED)


def test_the_codes_of_elements_are_those_of_the_table() -> None:
    codes = {name.lower(): int(code) for name, code in re.findall(r"^#define BC_([A-Z0-9]+) (\d)$", text_of("wgmma.cu"), re.M)}
    assert {name: ELEMENTS[name].code for name in TUNED} == {name: codes[name] for name in TUNED}


def test_an_element_without_a_tuned_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="fp32 has no tuned kernel"):
        kernel("fp32")

# What the compiler makes of it, where there is one.


@pytest.fixture(scope="module")
def nvrtc() -> None:
    pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC is not installed")
    try:
        importlib.import_module("cuda.bindings.nvrtc").nvrtcVersion()
    except RuntimeError:
        pytest.skip("NVRTC's library is not installed")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("cluster", [1, 2])
@pytest.mark.parametrize("element", TUNED)
def test_it_compiles_without_spills_or_serialised_products(element: ElementName, cluster: int) -> None:
    made = compiled.compiled(kernel(element, cluster=cluster).source)
    assert (made.registers, made.spill_bytes, made.warnings) == (168, 0, [])
    program = compiled.disassembler()
    if program is None:
        return
    found = compiled.opcodes(program, made.cubin)
    products = {"int8": "IGMMA", "e4m3": "QGMMA"}.get(element, "HGMMA")
    assert found[products] == (8 if element == "e4m3" else 4)
    assert found["UTMALDG.2D"] + found["UTMALDG.2D.MULTICAST"] == 2
    assert found["UTMALDG.2D.MULTICAST"] == cluster - 1
    assert found["USETMAXREG"] == 2
    assert not found["HMMA"] + found["IMMA"] + found["LDL"] + found["STL"]


@pytest.mark.usefixtures("nvrtc")
def test_the_compiler_says_so_when_products_are_serialised() -> None:
    """Else the absence of warnings would mean nothing."""
    early = broken(kernel("e4m3"), "                bc_products_wait<0>();\n", "")
    assert any("C75" in line for line in compiled.compiled(early.source).warnings)
