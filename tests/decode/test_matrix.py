"""Matrices out of texts that were wrapped, flattened and cut, and what is low in them."""

from __future__ import annotations

import pytest

from boxcheck.decode.matrix import Cells, heading, is_row, number, read_table, slow_in
from boxcheck.decode.matrix_link import Link, fits, fits_says


def square(side: int, low: dict[tuple[int, int], float], other: float = 24.0) -> Cells:
    return tuple(tuple(None if row == column else low.get((row, column), low.get((column, row), other))
                       for column in range(side)) for row in range(side))


def with_gpu(side: int, gpu: int, value: float) -> Cells:
    return square(side, {(min(gpu, at), max(gpu, at)): value for at in range(side) if at != gpu})


def test_a_matrix_that_a_mailer_wrapped_reads_as_it_was_printed() -> None:
    lines = ["   D\\D     0      1      2", "     3", "     0 918.31  25.76", "25.91  25.80", "     1  25.95 923.67  25.60",
             "25.1", "2 26.15 25.68 923.74 1.5", "", "3 1 2 3", "4", "GPU 0: text"]
    table = read_table(lines, 0, square=True)
    assert table is not None
    assert table.columns == 4
    assert not table.cut
    assert table.cells == ((918.31, 25.76, 25.91, 25.80), (25.95, 923.67, 25.60, 25.1), (26.15, 25.68, 923.74, 1.5),
                           (1.0, 2.0, 3.0, 4.0))
    assert table.end == 10


def test_a_matrix_cut_within_a_row_keeps_the_rows_before_it_and_says_so() -> None:
    table = read_table(["D/D 0 1", "0 N/A 83.7", "1 85.4"], 0, square=True)
    assert table is not None
    assert table.cut
    assert table.cells == ((None, 83.7),)


@pytest.mark.parametrize("word", ["N/A", "nan", "-nan", "inf", "-3.5", "1e999", "9" * 400, "", "x"])
def test_what_is_no_measurement_is_none_and_never_zero(word: str) -> None:
    assert number(word) is None


def test_a_line_of_a_kernel_log_is_neither_heading_nor_row() -> None:
    for line in ("[  100.000001] pcieport 0000:40:01.1: AER", "GPU 0: NVIDIA", "0 hello", "1 2 3x", "12:00 up"):
        assert heading(line) is None
        assert not is_row(line)


def test_a_row_and_column_at_a_quarter_is_that_gpu() -> None:
    slow = slow_in(with_gpu(4, 2, 6.5))
    assert slow is not None
    assert slow.devices == ((2, 6.5),)
    assert slow.peers == 24.0
    assert not slow.pairs


def test_one_slow_gpu_of_three_is_named_although_most_pairs_are_low() -> None:
    slow = slow_in(with_gpu(3, 0, 6.5))
    assert slow is not None
    assert slow.devices == ((0, 6.5),)


def test_a_pair_at_59_percent_of_its_peers_is_slow_and_at_61_it_is_not() -> None:
    slow = slow_in(square(4, {(0, 3): 0.59 * 24.0}))
    assert slow is not None
    assert {pair[:2] for pair in slow.pairs} == {(0, 3), (3, 0)}
    assert slow_in(square(4, {(0, 3): 0.61 * 24.0})) is None


def test_two_sockets_are_groups_and_no_gpus() -> None:
    low = {(one, other): 9.0 for one in (0, 1, 2) for other in (3, 4, 5)}
    slow = slow_in(square(6, low))
    assert slow is not None
    assert slow.groups == ((0, 1, 2), (3, 4, 5))
    assert slow.between == 9.0
    assert not slow.devices
    assert not slow.pairs


def test_six_rtx_a6000_on_two_switches_are_as_they_should_be() -> None:
    assert slow_in(square(6, {(one, other): 21.9 for one in (0, 1, 2) for other in (3, 4, 5)}, 26.3), 31.5) is None


def test_nvlink_pairs_among_pcie_pairs_make_no_pair_slow() -> None:
    bridged = {(0, 1): 52.0, (2, 3): 52.0}
    assert slow_in(square(4, bridged, 22.0), 31.5) is None
    slow = slow_in(square(8, {(0, 1): 52.0}, 22.0))  # nothing known of the cards
    assert slow is None or not slow.devices


def test_a_hybrid_mesh_of_nvlink_with_one_and_two_bricks_makes_no_pair_slow() -> None:
    cells = square(8, {(row, column): (48.0 if (row + column) % 3 == 0 else 24.0) if (row ^ column) in (1, 2, 4) else 9.8
                       for row in range(8) for column in range(row + 1, 8)})
    slow = slow_in(cells, 15.75)
    assert slow is None


def test_a_pair_that_fell_from_nvswitch_to_pcie_is_slow() -> None:
    slow = slow_in(square(8, {(2, 5): 20.0}, 370.0), 63.0)
    assert slow is not None
    assert {pair[:2] for pair in slow.pairs} == {(2, 5), (5, 2)}


def test_two_gpus_are_too_few_to_compare() -> None:
    assert slow_in(square(2, {(0, 1): 3.0})) is None


@pytest.mark.parametrize(("rate", "says"), [
    (26.0, "Gen4 x16"), (12.4, "Gen4 x8 or Gen3 x16"), (6.6, "Gen4 x4, Gen3 x8 or Gen2 x16"), (0.19, "Gen1 x1"), (400.0, ""),
])
def test_what_link_a_figure_fits(rate: float, says: str) -> None:
    assert fits_says(fits(rate, 4, 16)) == says


def test_raw_rates_are_those_of_the_specification() -> None:
    assert Link(4, 16).raw_gbs == pytest.approx(31.51, abs=0.01)
    assert Link(3, 16).raw_gbs == pytest.approx(15.75, abs=0.01)
    assert Link(2, 16).raw_gbs == pytest.approx(8.0)
    assert fits(50.2, 4, 16, both_ways=True) == (Link(4, 16),)
