"""Every portable kernel against the numpy oracle, on a real OpenCL device, and each with a bit flip that it must find."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from boxcheck.gpu import Gpu
from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import digest, memory, product, verification
from boxcheck.kernels.matrix import ELEMENTS, ElementName
from tests.gpu.devices import opened

NAMES: tuple[ElementName, ...] = ("fp32", "tf32", "fp16", "bf16", "int8", "e4m3")


@pytest.fixture(scope="module", params=["opencl", "cpu"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    yield from opened(request.param)


def _words(gpu: Gpu, buffer: object, count: int) -> np.ndarray:
    return gpu.read(buffer, 4 * count).view(np.uint32)  # type: ignore[arg-type]


@pytest.mark.parametrize("element", NAMES)
@pytest.mark.parametrize("outer", [0, 1])
@pytest.mark.parametrize("random", [0, 1])
def test_matrices_are_made_as_the_oracle_makes_them(gpu: Gpu, element: ElementName, outer: int, random: int) -> None:
    rows, depth, side = 48, 80, 1
    words = rows * depth * ELEMENTS[element].bytes // 4
    out = gpu.allocate(4 * words)
    program = gpu.build(verification(element))
    gpu.launch(program, "bc_fill_matrix", (words + 255) // 256, [out, rows, depth, 0xFFFF1234, side, random, outer])
    expected = reference.matrix(
        element, rows, depth, 0xFFFF1234, side, bool(random), "k-outer" if outer else "k-major")
    assert (_words(gpu, out, words) == expected).all()
    out.free()


@pytest.mark.parametrize("element", NAMES)
def test_a_flipped_bit_of_a_stored_matrix_is_found_where_it_is(gpu: Gpu, element: ElementName) -> None:
    rows, depth = 64, 96
    words = rows * depth * ELEMENTS[element].bytes // 4
    out, errors = gpu.allocate(4 * words), gpu.allocate(16 + 24 * 8)
    program = gpu.build(verification(element))
    shape = [rows, depth, 77, 0, 0, 0]
    gpu.launch(program, "bc_fill_matrix", (words + 255) // 256, [out, *shape])
    for flips in (0, 1, 3):
        good = _words(gpu, out, words).copy()
        bad = good.copy()
        places = [0, words - 1, words // 2][:flips]
        for place in places:
            bad[place] ^= np.uint32(1 << 31)
        gpu.write(out, bad)
        gpu.write(errors, np.zeros(4, np.uint32))
        gpu.launch(program, "bc_check_matrix", (words + 255) // 256, [out, *shape, errors, 8])
        found = _words(gpu, errors, 4 + 6 * 8)
        assert found[:2].tolist() == [flips, int(flips > 0)]
        records = sorted(tuple(int(word) for word in found[4 + 6 * at:9 + 6 * at]) for at in range(flips))
        assert [record[0] for record in records] == sorted(places)
        assert all(record[3] == record[2] ^ 1 << 31 == record[4] for record in records)
        gpu.write(out, good)
    out.free()
    errors.free()


@pytest.mark.parametrize("element", NAMES)
@pytest.mark.parametrize("shape", [(64, 64, 16), (128, 64, 48), (64, 192, 80)])
def test_products_are_exact(gpu: Gpu, element: ElementName, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    seed_a, seed_b = 11, 12
    a, b, c = gpu.allocate(4 * m * k), gpu.allocate(4 * n * k), gpu.allocate(4 * m * n)
    gpu.write(a, reference.matrix(element, m, k, seed_a, 0))
    gpu.write(b, reference.matrix(element, n, k, seed_b, 1))
    gpu.launch(gpu.build(product(element)), "bc_matmul", m // 64 * (n // 64), [a, b, c, m, n, k])
    found = _words(gpu, c, m * n)
    exact = reference.product(element, m, n, k, seed_a, seed_b).reshape(-1)
    assert (found.view(np.int32 if element == "int8" else np.float32) == exact).all()
    for buffer in (a, b, c):
        buffer.free()


@pytest.mark.parametrize("element", ["bf16", "int8"])
def test_row_sums_follow_without_the_product_and_name_a_wrong_row(gpu: Gpu, element: ElementName) -> None:
    m, n, k = 64, 320, 48
    seeds = (21, 22, 23, 24)
    program = gpu.build(verification(element))
    t, u, y, z = (gpu.allocate(8 * size) for size in (k, k, m, m))
    gpu.launch(program, "bc_fold_b", 1, [t, u, n, k, seeds[1], seeds[2], seeds[3]])
    gpu.launch(program, "bc_fold_a", 1, [y, z, t, u, m, k, seeds[0]])
    first, second = reference.row_sums(element, m, n, k, seeds)
    assert (gpu.read(y, 8 * m).view(np.uint64) == first).all()
    assert (gpu.read(z, 8 * m).view(np.uint64) == second).all()

    exact = reference.product(element, m, n, k, seeds[0], seeds[1])
    stored = (exact.astype(np.int32) if element == "int8" else exact.astype(np.float32)).view(np.uint32)
    c, errors = gpu.allocate(4 * m * n), gpu.allocate(16 + 32 * 8)
    for row, column, flip in ((None, 0, 0), (63, 319, 1 << 30), (0, 0, 1 << 20), (17, 100, 1 << 31)):
        bad = stored.copy()
        if row is not None:
            bad[row, column] ^= np.uint32(flip)
        gpu.write(c, bad.reshape(-1))
        gpu.write(errors, np.zeros(4, np.uint32))
        gpu.launch(program, "bc_check_rows", m, [c, y, z, n, seeds[2], seeds[3], errors, 8])
        found = _words(gpu, errors, 4 + 8 * 8)
        changed = row is not None and (bad[row, column] != stored[row, column])
        zero_sign = changed and element != "int8" and stored[row, column] & 0x7FFFFFFF == 0 and flip == 1 << 31
        assert found[0] == found[1] == int(changed and not zero_sign)
        if found[0]:
            assert found[4] == row
    for value in (np.float32("nan"), np.float32("inf"), np.float32(0.5)) if element == "bf16" else ():
        bad = stored.copy().view(np.float32)
        bad[5, 7] = value
        gpu.write(c, bad.reshape(-1))
        gpu.write(errors, np.zeros(4, np.uint32))
        gpu.launch(program, "bc_check_rows", m, [c, y, z, n, seeds[2], seeds[3], errors, 8])
        found = _words(gpu, errors, 4 + 8 * 8)
        assert (found[0], found[4], found[5]) == (1, 5, 1)
    for buffer in (t, u, y, z, c, errors):
        buffer.free()


@pytest.mark.parametrize("words", [1, 255, 4096, 4097, 50_000])
def test_digests_are_the_oracles_and_see_every_bit(gpu: Gpu, words: int) -> None:
    data = np.random.default_rng(words).integers(0, 1 << 32, words, dtype=np.uint64).astype(np.uint32)
    groups = (words + 4095) // 4096
    buffer, parts, out = gpu.allocate(4 * words), gpu.allocate(8 * groups), gpu.allocate(16)
    program = gpu.build(digest())

    def found() -> int:
        gpu.launch(program, "bc_digest", groups, [buffer, words, parts])
        gpu.launch(program, "bc_digest_total", 1, [parts, groups, out, 1])
        return int(gpu.read(out, 16).view(np.uint64)[1])

    gpu.write(buffer, data)
    assert found() == reference.digest(data)
    for bit in (0, 31):
        flipped = data.copy()
        flipped[-1] ^= np.uint32(1 << bit)
        gpu.write(buffer, flipped)
        assert found() == reference.digest(flipped) != reference.digest(data)
    if words > 1:
        swapped = data.copy()
        swapped[[0, -1]] = swapped[[-1, 0]]
        gpu.write(buffer, swapped)
        assert found() != reference.digest(data)
    for one in (buffer, parts, out):
        one.free()


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
@pytest.mark.parametrize(("first", "count"), [(0, 1), (3, 1024), ((1 << 32) - 2, 1500), ((5 << 32) + 7, 64)])
def test_patterns_in_memory_are_the_oracles_and_one_flipped_bit_is_found(
    gpu: Gpu, kind: int, first: int, count: int
) -> None:
    program, key, groups = gpu.build(memory()), 0xDEADBEE5, (count + 1023) // 1024
    buffer, errors = gpu.allocate(16 * count), gpu.allocate(16 + 24 * 4)
    gpu.launch(program, "bc_memory_fill", groups, [buffer, first, count, kind, key])
    expected = reference.pattern(first, count, kind, key)
    assert (_words(gpu, buffer, 4 * count) == expected).all()

    flipped = expected.copy()
    place = 4 * count - 1
    flipped[place] ^= np.uint32(1)
    for content, wrong in ((expected, 0), (flipped, 1)):
        gpu.write(buffer, content)
        gpu.write(errors, np.zeros(4, np.uint32))
        gpu.launch(program, "bc_memory_check", groups, [buffer, first, count, kind, key, errors, 4])
        found = _words(gpu, errors, 4 + 24)
        assert found[0] == found[1] == wrong
        if wrong:
            index = 4 * first + place
            assert found[4:9].tolist() == [
                index & 0xFFFFFFFF, index >> 32, expected[place], flipped[place], flipped[place]]
    for down in (0, 1):
        gpu.write(buffer, flipped)
        gpu.write(errors, np.zeros(4, np.uint32))
        gpu.launch(
            program, "bc_memory_check_fill", groups, [buffer, first, count, kind, key, 1, 0x55555555, down, errors, 4])
        assert _words(gpu, errors, 1)[0] == 1
        assert (_words(gpu, buffer, 4 * count) == 0x55555555).all()
    buffer.free()
    errors.free()


@pytest.mark.parametrize("kernel", ["check", "check-fill", "sum"])
def test_a_count_that_wraps_to_zero_still_says_that_words_were_wrong(gpu: Gpu, kernel: str) -> None:
    program, count, wrong = gpu.build(memory()), 1500, 3
    buffer, errors = gpu.allocate(16 * count), gpu.allocate(16 + 24 * 4)
    for flips in (0, wrong):
        gpu.launch(program, "bc_memory_fill", 2, [buffer, 0, count, 0, 40])
        content = _words(gpu, buffer, 4 * count).copy()
        content[:flips] ^= np.uint32(1)
        gpu.write(buffer, content)
        gpu.write(errors, np.array([2**32 - flips if flips else 0, 0, 0, 0], np.uint32))
        rest = [errors, 4]
        if kernel == "check":
            gpu.launch(program, "bc_memory_check", 2, [buffer, 0, count, 0, 40, *rest])
        elif kernel == "check-fill":
            gpu.launch(program, "bc_memory_check_fill", 2, [buffer, 0, count, 0, 40, 1, 7, 0, *rest])
        else:
            gpu.launch(program, "bc_sum_check", 2, [buffer, 0, count, 40, 1, *rest])
        assert _words(gpu, errors, 2).tolist() == [0, int(flips > 0)]
    buffer.free()
    errors.free()


def test_a_misplaced_word_names_the_place_that_it_was_meant_for() -> None:
    for word in (0, 1, 6, 4 * 77 + 3, (5 << 34) + 2):
        value = int(reference.pattern(word // 4, 1, 0, 1234)[word % 4])
        assert reference.meant_for(word, value, 1234) == word // 4


def test_no_two_granules_of_a_region_hold_the_same_word() -> None:
    words = reference.pattern(0, 1 << 16, 0, 99).reshape(-1, 4)
    assert all(len(np.unique(words[:, lane])) == len(words) for lane in range(4))


def test_copies_and_sums_by_kernels(gpu: Gpu) -> None:
    program, count = gpu.build(memory()), 3000
    one, two, errors = gpu.allocate(16 * count), gpu.allocate(16 * count), gpu.allocate(16 + 24 * 4)
    gpu.launch(program, "bc_memory_fill", 3, [one, 5, count, 0, 40])
    gpu.launch(program, "bc_copy", 3, [two, one, count])
    assert (_words(gpu, two, 4 * count) == reference.pattern(5, count, 0, 40)).all()
    gpu.launch(program, "bc_memory_fill", 3, [one, 5, count, 0, 41])
    gpu.launch(program, "bc_add", 3, [two, one, count])
    expected = reference.pattern(5, count, 0, 40) + reference.pattern(5, count, 0, 41)
    assert (_words(gpu, two, 4 * count) == expected).all()
    for flip in (0, 1):
        gpu.write(two, expected[100:101] ^ np.uint32(flip), 400)
        gpu.write(errors, np.zeros(4, np.uint32))
        gpu.launch(program, "bc_sum_check", 3, [two, 5, count, 40, 2, errors, 4])
        assert _words(gpu, errors, 1)[0] == flip
    for buffer in (one, two, errors):
        buffer.free()


def test_a_chain_of_loads_is_followed_to_its_end(gpu: Gpu) -> None:
    order = np.random.default_rng(3).permutation(512).astype(np.uint32)
    links = np.empty(512, np.uint32)
    links[order] = np.roll(order, -1)
    chain, out = gpu.allocate(2048), gpu.allocate(16)
    gpu.write(chain, links)
    gpu.launch(gpu.build(memory()), "bc_chase", 1, [chain, 100, out])
    start = int(np.flatnonzero(order == 0)[0])
    assert _words(gpu, out, 1)[0] == order[(start + 100) % 512]
    chain.free()
    out.free()


def largest_partial(element: ElementName, side: int, k: int) -> int:
    """The largest partial sum that steps of 32 reach in the exact product of `side` rows and columns."""
    rows, depth = np.arange(side), np.arange(k)
    a, b = (reference.exact(element, 1 + which, which, rows, depth).astype(np.float64) for which in (0, 1))
    total, most = np.zeros((side, side)), 0.0
    for at in range(0, k, 32):
        total += a[:, at:at + 32] @ b[:, at:at + 32].T
        most = max(most, float(np.abs(total).max()))
    return int(most)


@pytest.mark.parametrize("element", ["fp32", "tf32", "fp16", "bf16", "e4m3"])
def test_exact_data_stays_exact_in_the_narrowest_accumulator(element: ElementName) -> None:
    kind = ELEMENTS[element]
    assert largest_partial(element, 96, kind.longest_k) < kind.exact_below
    even, odd = ((2 * most + 1) ** 2 - 1 for most in (kind.even, kind.odd))
    variance = even / 12 * odd / 12  # of a product: that of a uniform integer on each side
    assert kind.exact_below / (variance * kind.longest_k) ** 0.5 > 8


def test_rows_of_one_side_are_never_rows_of_the_other() -> None:
    """Seeds that differ by one would otherwise make row i of A row i - 1 of B, whose product is a sum of squares."""
    a = reference.exact("bf16", 1, 0, np.arange(64), np.arange(512)).astype(float)
    b = reference.exact("bf16", 2, 1, np.arange(64), np.arange(512)).astype(float)
    assert np.abs(a @ b.T).max() < 8.5 * 512 ** 0.5 * 255 ** 2 / 3
