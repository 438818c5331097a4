"""The count of wrong words on a device wraps at 2^32: none of them is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from boxcheck.gpu import Gpu
from boxcheck.stress import Rig, transfers
from boxcheck.stress.copy_ends import MOST_ROUNDS, Ends
from boxcheck.stress.transfers import POISON, Tally, Verifier
from boxcheck.stress.vram_patterns import ADDRESS, Pattern
from boxcheck.stress.vram_pulse import Pulse
from boxcheck.stress.vram_region import Region
from tests.gpu.devices import opened
from tests.stress.transfer_doubles import DoubleGpu, doubles

ROUND_GRANULES = 1 << 24
"""256 MiB, the usual payload: 2^26 words."""


def add_to_count(errors: Any, words: int, seen: bool = True) -> None:
    """What a kernel leaves that finds so many words wrong."""
    header = errors.array[:8].view(np.uint32)
    header[:] = (int(header[0]) + words & 0xFFFFFFFF, int(seen))


def finds_all_wrong(seen: bool) -> DoubleGpu:
    """A device on which every compared word is wrong, which takes no time."""
    (gpu,) = doubles(1)
    gpu.kernels["bc_memory_check"] = lambda *a: add_to_count(a[5], 4 * a[2], seen)
    gpu.kernels["bc_memory_check_fill"] = lambda *a: add_to_count(a[8], 4 * a[2], seen)
    gpu.kernels["bc_sum_check"] = lambda *a: add_to_count(a[5], 4 * a[2], seen)
    return gpu


@pytest.mark.parametrize("check", ["check", "check_and_poison", "check_sum"])
@pytest.mark.parametrize("rounds", [1, 33, 64, MOST_ROUNDS])
def test_wrong_words_of_many_rounds_are_all_counted(check: str, rounds: int) -> None:
    verifier = Verifier(finds_all_wrong(seen=False))
    tally, buffer = Tally(verifier), verifier.gpu.allocate(64)
    tally.clear()
    more = (2, tally) if check == "check_sum" else (tally,)
    for _ in range(rounds):
        getattr(verifier, check)(buffer, 0, ROUND_GRANULES, 5, *more)
    assert tally.read()[0] == rounds << 26
    assert tally.read()[0] == rounds << 26
    tally.clear()
    assert tally.read() == (0, [])


def test_one_comparison_of_2_to_the_32_wrong_words_is_no_zero() -> None:
    verifier = Verifier(finds_all_wrong(seen=True))
    tally = Tally(verifier)
    tally.clear()
    for number in (1, 2):
        verifier.check(verifier.gpu.allocate(64), 0, 1 << 30, 5, tally)
        assert tally.read()[0] == number << 32


def test_the_first_wrong_words_are_kept_when_the_count_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    (gpu,) = doubles(1)
    granules = 64
    monkeypatch.setattr(transfers, "MOST_UNREAD", 2 * 4 * granules)
    verifier, buffer = Verifier(gpu), gpu.allocate(16 * granules)
    tally = Tally(verifier)
    tally.clear()
    for number in range(7):
        verifier.fill(buffer, 0, granules, number)
        if number != 3:
            buffer.array[16 * number] ^= 1
        verifier.check(buffer, 0, granules, number, tally)
    count, records = tally.read()
    assert count == len(records) == 6
    assert [record[0] // 4 for record in records] == [0, 1, 2, 4, 5, 6]
    assert all((want ^ have, again) == (1, have) for _, want, have, again in records)


def test_copies_that_are_all_lost_and_take_no_time_are_wrong_in_every_word() -> None:
    def lose(transfer: Any) -> None:
        """Nothing is copied."""

    (gpu,) = doubles(1, lose)
    rig = Rig([gpu], seconds=1, options={"size": "test"})
    ends = Ends(rig)
    words = 1 << 26  # as if a payload were of 256 MiB
    gpu.kernels["bc_memory_check_fill"] = lambda *a: add_to_count(a[8], words, seen=False)
    expect = ends.tally.expect
    ends.tally.expect = lambda words: expect(1 << 26)  # type: ignore[method-assign]
    ends._goes_on = lambda loads, began, rounds, seconds: rounds < MOST_ROUNDS  # type: ignore[method-assign]
    (sample,) = ends.piece("pinned", ("host-to-device",), 1.0)
    assert sample.notes["rounds"] == MOST_ROUNDS
    assert sample.wrong == MOST_ROUNDS * words


@pytest.mark.parametrize("backend", ["opencl", "cpu"])
def test_a_count_that_wraps_on_a_real_device_is_no_zero(backend: str) -> None:
    for gpu in opened(backend):
        verifier: Verifier = Verifier(gpu)
        tally, buffer, granules = Tally(verifier), gpu.allocate(1 << 12), 256
        verifier.poison(buffer, granules)
        gpu.write(tally.buffer, np.array([2**32 - 4 * granules, 0, 0, 0], np.uint32))
        verifier.check(buffer, 0, granules, 5, tally)
        assert tally.read()[0] == 1 << 32
        tally.clear()
        verifier.check(buffer, 0, granules, 5, tally)
        count, records = tally.read()
        assert (count, {found for _, _, found, _ in records}) == (4 * granules, {POISON})


def test_a_block_of_memory_whose_count_wraps_is_wrong() -> None:
    gpu: Gpu = finds_all_wrong(seen=True)
    with Region(gpu, Pulse(Rig([gpu], seconds=1))) as region:
        region.take(1 << 16, [1 << 16])
        add_to_count(region.blocks[0].errors, 2**32 - (1 << 14), seen=False)
        (wrong,) = region.check(Pattern(ADDRESS, 1), "check").wrong
        assert wrong.count == 1 << 32
        assert not region.check_and_fill(Pattern(ADDRESS, 1), Pattern(ADDRESS, 2), False, "").wrong[1:]
