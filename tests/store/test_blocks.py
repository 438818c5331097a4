"""Columns come back to the last bit, whatever is in them."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.store.blocks import (
    DOUBLE,
    LOOKED_AT_BYTES,
    MIXED,
    SCALED,
    WHOLE,
    Numbers,
    are_whole,
    inflated,
    pack_block,
    unpack_block,
    unpack_column,
)

NUMBERS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), st.floats(), st.sampled_from((0, 0.0, -0.0, 1, 1.0, 441.123, 1e300)),
    st.text(max_size=5), st.integers(1, 9).map(lambda number: [number]))
SAME_KIND = st.one_of(
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=60),
    st.lists(st.floats(), min_size=1, max_size=60),
    st.lists(st.integers(0, 10**6).map(lambda number: number / 1000), min_size=1, max_size=60),
    st.lists(st.integers(-500, 90_000).map(lambda number: number / 8), min_size=1, max_size=60),
    st.lists(NUMBERS, min_size=1, max_size=60))


def bits(value: Any) -> Any:
    return ("float", struct.pack(">d", value)) if isinstance(value, float) else (type(value).__name__, value)


@settings(max_examples=400, deadline=None)
@given(SAME_KIND)
def test_a_column_comes_back_to_the_last_bit(column: list[Any]) -> None:
    assert [bits(one) for one in unpacked(pack_block([column]), len(column))[0]] == [bits(one) for one in column]


def unpacked(data: bytes, rows: int) -> list[list[Any]]:
    constants, others = unpack_block(inflated(data))
    return [unpack_column(others[place], rows) if place in others else [one] * rows for place, one in enumerate(constants)]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_block_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(ValueError, match="no block"):
        unpacked(data, 1)


def test_a_cut_or_changed_block_never_breaks_the_reader() -> None:
    data = pack_block([[1, 2, 3], [0.5, 0.25, 441.5], ["a", 1, [3]]])
    for place in range(len(data)):
        for changed in (data[:place], data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1:]):
            try:
                unpacked(changed, 3)
            except ValueError:
                continue


def test_what_does_not_change_costs_next_to_nothing_and_is_one_object() -> None:
    data = pack_block([[16.0] * 60] * 100)
    assert len(data) < 60
    assert unpack_block(inflated(data)) == ([16.0] * 100, {})


def test_a_minute_of_power_in_milliwatts_costs_two_bytes_a_reading() -> None:
    column = [440.0 + 3 * math.sin(second) for second in range(60)]
    milliwatts = [round(one * 1000) / 1000 for one in column]
    assert len(pack_block([milliwatts])) < 60 * 2.5
    assert len(pack_block([column])) > 60 * 6, "a fraction that no driver gives keeps all its bits"


@pytest.mark.parametrize("packed", [
    [WHOLE, 1.5, "b", b"\1"], [WHOLE, True, "b", b"\1"], [WHOLE, 1, "d", bytes(8)], [WHOLE, 1, "u", bytes(4)], [WHOLE, 1, "b"],
    [WHOLE, 1, "b", "a"], [SCALED, 0, 1, "b", b"\1"], [SCALED, 1, "1", "b", b"\1"], [SCALED, "1", 1, "b", b"\1"],
    [SCALED, 1e-308, 1 << 62, "b", b"\1", 3], [DOUBLE, "a"], [DOUBLE], [], 7])
def test_a_column_that_says_numbers_and_has_others_is_refused_in_words(packed: Any) -> None:
    with pytest.raises(ValueError, match="no column"):
        unpack_column(packed, 2)


@settings(max_examples=200, deadline=None)
@given(SAME_KIND)
def test_what_is_said_to_be_numbers_is_numbers_of_one_kind(column: list[Any]) -> None:
    [got] = unpacked(pack_block([column]), len(column))
    kinds = set(map(type, column))
    if type(got) is Numbers:
        assert kinds in ({int}, {float})
    assert are_whole(got) == (kinds == {int})


def test_columns_packed_as_they_are_may_have_anything() -> None:
    assert not are_whole(unpack_column([MIXED, [1, 2.0]], 2))
    assert are_whole(unpack_column([MIXED, [1, 1 << 63]], 2))


def test_a_minute_in_which_everything_is_wrong_comes_back() -> None:
    """Texts beyond the first 20 000 of a run stand in the blocks themselves."""
    columns: list[list[Any]] = [list(range(9000)), [f'["{number}", "{"word " * 40}"]' for number in range(9000)],
                                [[number] if number % 2 else number for number in range(9000)]]
    data = pack_block(columns)
    assert len(inflated(data)) > LOOKED_AT_BYTES
    assert unpacked(data, 9000) == columns


@pytest.mark.parametrize("block", [
    [[[]] * 2_000_000, []], [[], [[]] * 2_000_000], [[], [[[]] * 2_000_000]], [[], [[0, MIXED, [[]] * 2_000_000]]],
    [[], [[0, MIXED, [[[[]] * 100] * 20_000]]]], [[], [[0, MIXED, "x" * 2_000_000, b"", "", "", ""]]]])
def test_what_is_large_and_not_shaped_like_a_block_is_not_decoded(block: Any) -> None:
    with pytest.raises(ValueError, match=r"no block: Expected .array."):
        unpack_block(msgspec.msgpack.encode(block))
