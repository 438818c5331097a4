"""wmma.cu without a GPU: its text runs on fibers, every product is compared with integers, and its machine code is read.

machine.cpp knows WMMA from AMD's own description and nothing of the kernel; the tests of changes show what it notices.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from itertools import count

import numpy as np
import pytest

from boxcheck.kernels import wmma
from boxcheck.kernels.matrix import ELEMENTS, MatrixKernel
from tests.kernels.wmma import Integers, Lanes, build, compiler, exact

KERNELS = {kernel.name: kernel for kernel in wmma.kernels()}
BF16_11, BF16_12 = KERNELS["wmma-gfx11-bf16-128x128x16"], KERNELS["wmma-gfx12-bf16-128x128x16"]
INT8_12 = KERNELS["wmma-gfx12-int8-128x128x32"]
CLANG = next((name for name in ("clang-22", "clang-21", "clang-20", "clang-19") if shutil.which(name)), None)

needs_compiler = pytest.mark.skipif(compiler() is None, reason="neither a C++ compiler nor ziglang is installed")
needs_clang = pytest.mark.skipif(CLANG is None, reason="no clang of version 19 or newer is installed")

Builder = Callable[..., Lanes]


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Kernels, built once each."""
    folder = tmp_path_factory.mktemp("wmma")
    built: dict[object, Lanes] = {}
    numbers = count()

    def get(kernel: MatrixKernel, change: tuple[str, str] | None = None) -> Lanes:
        key = (kernel.name, change)
        if key not in built:
            built[key] = build(kernel, folder / str(next(numbers)), change)
        return built[key]

    return get


def matrices(kernel: MatrixKernel, tiles: tuple[int, int, int], seed: int = 1) -> tuple[Integers, Integers]:
    m, n, k = (count * size for count, size in zip(tiles, kernel.tile, strict=True))
    return exact(kernel, m, k, 0, seed), exact(kernel, n, k, 1, seed)


def failure(program: Lanes, tiles: tuple[int, int, int], **how: bool) -> str:
    """What was done wrong, `wrong sums`, or nothing."""
    a, b = matrices(program.kernel, tiles)
    c, wrong = program.run(a, b, **how)
    return wrong or ("" if np.array_equal(c, a.T @ b) else "wrong sums")


# The products.


@needs_compiler
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("tiles", [(1, 1, 1), (1, 2, 2), (2, 1, 5)], ids=str)
def test_a_product_is_exact(lanes: Builder, name: str, tiles: tuple[int, int, int]) -> None:
    assert failure(lanes(KERNELS[name]), tiles) == ""


@needs_compiler
@pytest.mark.parametrize("name", KERNELS)
def test_a_product_is_the_same_with_waves_in_the_other_order(lanes: Builder, name: str) -> None:
    assert failure(lanes(KERNELS[name]), (2, 1, 3), backwards=True) == ""


@needs_compiler
@pytest.mark.parametrize("kernel", [BF16_11, BF16_12], ids=lambda kernel: kernel.name)
def test_a_last_band_that_is_not_full_is_made_whole(lanes: Builder, kernel: MatrixKernel) -> None:
    band = int(dict(kernel.source.defines)["BC_BAND"])
    assert failure(lanes(kernel), (band + 3, 2, 1)) == ""


# What the machine of the tests notices.

CHANGES = {
    "lanes 16-31 take other rows than 0-15": (
        BF16_11, ("from_a = bc_place(wave_m + lane % 16)", "from_a = bc_place(wave_m + lane)"), "different elements"),
    "both halves take the same k of A": (BF16_12, ("from_a += lane / 16 * BC_SLOTS_A;", ""), "wrong sums"),
    "the halves of k swapped, of B alone": (
        BF16_11, ("from_b + bc_place(16 * i), BC_SLOTS_B", "from_b + BC_SLOTS_B + bc_place(16 * i), 0 - BC_SLOTS_B"), "wrong sums"),
    "rows of C in the other family's order": (
        BF16_11, ("lane / 16 * (BC_GFX == 11 ? 1 : 8)", "lane / 16 * (BC_GFX == 11 ? 8 : 1)"), "written twice"),
    "waves in the wrong place": (BF16_11, ("wave_n = wave % BC_WAVES_N * 64", "wave_n = wave % 1 * 64"), "written twice"),
    "two k swapped": (
        BF16_12, ("even = {bc_permute(k1, k0, 0x05040100)", "even = {bc_permute(k1, k0, 0x01000504)"), "wrong sums"),
    "two bytes swapped": (INT8_12, ("bc_permute(low23, low01, 0x05040100)", "bc_permute(low23, low01, 0x04050100)"), "wrong sums"),
    "one buffer": (BF16_11, ("bc_u32 other = BC_BUFFER;", "bc_u32 other = 0;"), "a race"),
    "always the next buffer": (BF16_11, ("other = 0 - other;", ""), "beyond its end"),
    "steps beyond the last": (BF16_11, ("if (step + 2 < steps) {", "{"), "outside of A and B"),
    "a step too few": (BF16_11, ("step < steps; ++step", "step + 1 < steps; ++step"), "wrong sums"),
    "tiles beyond the last band": (BF16_11, ("within % height", "within % BC_BAND"), "outside"),
    "a base that is not the same for a wave": (BF16_11, ("bc_uniform(within / height)", "bc_item() / 32"), "outside|twice"),
}


@needs_compiler
@pytest.mark.parametrize("change", CHANGES)
def test_a_kernel_that_is_changed_is_caught(lanes: Builder, change: str) -> None:
    kernel, words, expected = CHANGES[change]
    found = failure(lanes(kernel, words), (2, 2, 3))
    assert re.search(expected, found), found


NO_BARRIER = ("        other = 0 - other;\n        bc_barrier();", "        other = 0 - other;")


@needs_compiler
@pytest.mark.parametrize("kernel", [BF16_11, BF16_12], ids=lambda kernel: kernel.name)
def test_a_missing_barrier_is_a_race_and_the_order_of_waves_shows_it(lanes: Builder, kernel: MatrixKernel) -> None:
    program = lanes(kernel, NO_BARRIER)
    assert "a race for word" in failure(program, (1, 1, 3))
    a, b = matrices(kernel, (1, 1, 3))
    forward, backward = (program.run(a, b, backwards=order, races=False)[0] for order in (False, True))
    assert not np.array_equal(forward, backward)


# The machine code.


@cache
def assembly(name: str) -> str:
    """Of one kernel, for an architecture that it runs on."""
    assert CLANG
    source = KERNELS[name].source
    arch = next(arch for arch in ("gfx1151", "gfx1201") if KERNELS[name].runs_on(arch))
    defines = [f"-D{define}={value}" for define, value in source.defines]
    target = (f"--offload-arch={arch}", "-nogpulib", "-nogpuinc", "--cuda-device-only")
    words = (CLANG, "-x", "hip", *target, *source.options, *defines, "-Wall", "-Werror", "-S", "-", "-o", "-")
    done = subprocess.run(words, input=source.text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def step(code: str) -> str:
    """The loop over the steps of k, which is the only one."""
    assert code.count("Loop Header") == 1
    start = code.index("Loop Header")
    return code[start:code.index("s_cbranch", start)]


@needs_clang
@pytest.mark.parametrize("name", KERNELS)
def test_nothing_spills_and_no_argument_is_hidden(name: str) -> None:
    code = assembly(name)
    assert re.search(r"^; ScratchSize: 0$", code, re.MULTILINE)
    assert re.search(r"\.kernarg_segment_size: 36$", code, re.MULTILINE)
    assert "hidden" not in code
    # Of 1536 registers on a SIMD: two groups of eight waves need room for eight, three groups of four for six.
    registers = re.search(r"\.amdhsa_next_free_vgpr (\d+)", code)
    assert registers
    assert int(registers[1]) <= (192 if KERNELS[name].tile[1] == 256 else 240)


@needs_clang
@pytest.mark.parametrize("name", KERNELS)
def test_a_step_multiplies_while_loads_are_in_flight_over_the_barrier(name: str) -> None:
    loop = step(assembly(name))
    assert loop.count("v_wmma") == KERNELS[name].tile[2]
    loads = [found.start() for found in re.finditer(r"global_load_b(32|64) v\S+ v\d+, s\[", loop)]
    assert len(loads) == 8, "one for each of 4 k, of A and of B, with its base in scalar registers"
    assert "flat_" not in loop
    behind = loop[loads[-1]:]
    barrier = re.search(r"s_barrier(_wait)?\b", behind)
    assert barrier
    assert not re.search(r"vmcnt|loadcnt", behind[:barrier.start()]), "a wave waits for its loads before the barrier"


@needs_clang
@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if kernel.element == "int8"])
def test_int8_is_signed_and_wraps(name: str) -> None:
    """RDNA3 ISA, V_WMMA_I32_16X16X16_IU8: NEG says that an operand is signed, CLAMP that the sum saturates."""
    products = re.findall(r"v_wmma_.*", step(assembly(name)))
    assert products
    assert all("neg_lo:[1,1,0]" in product and "clamp" not in product for product in products)


# What is declared.


RDNA3 = ("gfx1100", "gfx1101", "gfx1102", "gfx1150", "gfx1151")


@pytest.mark.parametrize("arch", [*RDNA3, "gfx1200", "gfx1201", "gfx1030", "gfx1250", "gfx942", "sm_89"])
def test_an_architecture_has_the_elements_of_its_units(arch: str) -> None:
    expected = {"bf16", "fp16", "int8"} if arch in RDNA3 else {"bf16", "fp16", "int8", "e4m3"} if arch[:6] == "gfx120" else set()
    assert {kernel.element for kernel in KERNELS.values() if kernel.runs_on(arch)} == expected


def test_names_are_unique_and_inputs_lie_k_outer() -> None:
    assert len(KERNELS) == len(wmma.kernels()) == 14
    assert {kernel.layout for kernel in KERNELS.values()} == {"k-outer"}
    for kernel in KERNELS.values():
        assert ELEMENTS[kernel.element].longest_k % kernel.tile[2] == 0
