"""Columns of records packed into bytes, and unpacked. docs/reference/store.md has the format.

A minute of one stream is one block: a constant column costs a few bytes, a counter or a scaled measurement a byte or
two a value. Packing loses nothing: a number comes back as it was, to the last bit.
"""

from __future__ import annotations

import math
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Any, TypeAlias

import msgspec

from boxcheck.store.schema import PAGE_BYTES

Stored: TypeAlias = "int | float | str | list[int]"
"""A cell in the file: a number, JSON text, or [number of a row in `words`]."""

WHOLE, SCALED, DOUBLE, MIXED = range(1, 5)
SCALES = (1, 10, 100, 1000, 10_000, 1_000_000)
"""Parts of a unit in which drivers measure: watts as microwatts, degrees as thousandths."""
TYPES = ((1, "b"), (2, "h"), (4, "i"), (8, "q"))
"""Bytes of a number, and its type code in `array`."""
BINARY = (0xC4, 0xC5, 0xC6)
"""First bytes of MessagePack's bin formats."""
_SIZES = {code: size for size, code in TYPES}
MOST_RECORDS = 40_000
"""Of a minute, over all streams: a block has no more."""
FREE_RECORDS = 1_000_000
"""A store has no more records than these and one for each of its bytes. Real ones take thirty bytes for each; one from
elsewhere may say millions in a few, which are all made before anybody judges them."""
FOLD_BYTES = 64 << 20
"""Most that the blocks of a minute have, unpacked: a store from elsewhere may be packed a thousandfold. Eight GPUs have
less than one MiB, 256 threads that all find wrong words every second forty."""
LOOKED_AT_BYTES = 1 << 20
"""From here on it is looked whether a block has the shape of one before it is decoded: a list of nothing takes 64 times
as much in memory as here."""
MOST_COLUMNS = 1 << 17
Word: TypeAlias = Annotated[list[int], msgspec.Meta(min_length=1, max_length=1)]
_look = msgspec.msgpack.Decoder(tuple[
    Annotated[list[int | float | str | Word | None], msgspec.Meta(max_length=MOST_COLUMNS)],
    Annotated[list[Annotated[list[msgspec.Raw], msgspec.Meta(max_length=6)]], msgspec.Meta(max_length=MOST_COLUMNS)],
]).decode
_look_at_mixed = msgspec.msgpack.Decoder(
    Annotated[list[int | float | str | Word], msgspec.Meta(max_length=MOST_RECORDS)] | int | float | str).decode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class Constant(msgspec.Struct, frozen=True):
    """A column with one value in all rows."""

    value: Any


class Numbers(list[Any]):
    """A column packed as numbers: all of them int, or all of them float. Who knows that need not look at each."""

    __slots__ = ()


Column: TypeAlias = "Constant | list[Any]"
Packed: TypeAlias = "list[Any]"
"""A column as it is in the file: its form, and what that needs."""


def pack_block(columns: Sequence[Sequence[Stored]]) -> bytes:
    """Columns of equal length, at least one row. First the values of those that have one value, in the order of all
    columns and with nothing for the others; then the others, each after its place."""
    constants: list[Stored | None] = []
    others: list[list[Any]] = []
    for place, column in enumerate(columns):
        packed = _packed(column)
        if isinstance(packed, Constant):
            constants.append(packed.value)
        else:
            constants.append(None)
            others.append([place, *packed])
    return zlib.compress(_pack([constants, others]), 6)


def _packed(column: Sequence[Stored]) -> Constant | Packed:
    first = column[0]
    kinds = {type(one) for one in column}
    if kinds == {int}:
        if all(one == first for one in column):
            return Constant(first)
        deltas = _deltas(column)  # type: ignore[arg-type]
        return [MIXED, list(column)] if deltas is None else [WHOLE, first, *deltas]
    if kinds == {float}:
        return _fractions(column)  # type: ignore[arg-type]
    # By type too, since 1 == 1.0.
    same = len(kinds) == 1 and all(one == first for one in column)
    return Constant(first) if same else [MIXED, list(column)]


def _fractions(column: Sequence[float]) -> Constant | Packed:
    if all(math.isfinite(one) and abs(one) < 1e12 for one in column):
        for scale in SCALES:
            whole = _whole(column, scale)
            if whole is not None:
                if all(one == whole[0] for one in whole):
                    return Constant(column[0])
                deltas = _deltas(whole)
                if deltas is not None:
                    return [SCALED, scale, whole[0], *deltas]
    return [DOUBLE, _planes(array("d", column))]


def _whole(column: Sequence[float], scale: int) -> list[int] | None:
    """The column in parts of a unit; None where that is not exact."""
    found = []
    for one in column:
        whole = round(one * scale)
        if whole / scale != one or (whole == 0 and math.copysign(1, one) < 0):
            return None
        found.append(whole)
    return found


def _deltas(column: Sequence[int]) -> tuple[str, bytes] | None:
    """Type code and bytes of the steps from one value to the next; None where a step needs more than 64 bits."""
    steps = [after - before for before, after in pairwise(column)]
    low, high = min(steps), max(steps)
    for size, code in TYPES:
        if -(1 << 8 * size - 1) <= low and high < 1 << 8 * size - 1:
            return code, _planes(array(code, steps))
    return None


def _planes(values: array[Any]) -> bytes:
    """All lowest bytes, then all second ones and so on: bytes that are alike stand together, which packs better."""
    if sys.byteorder == "big":
        values.byteswap()
    data, size = values.tobytes(), values.itemsize
    return b"".join(data[place::size] for place in range(size)) if size > 1 else data


def _array(code: str, size: int, planes: bytes) -> array[Any]:
    if size == 1:
        return array(code, planes)
    rows = len(planes) // size
    data = bytearray(rows * size)
    for place in range(size):
        data[place::size] = planes[place * rows:(place + 1) * rows]
    values: array[Any] = array(code, data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _steps(rows: int, first: object, code: str, planes: bytes) -> Iterator[int]:
    if type(first) is not int:
        raise TypeError(f"begins with {type(first).__name__}")
    _refuse_other(rows, 1 + len(planes) // _SIZES[code])
    return accumulate(_array(code, _SIZES[code], planes), initial=first)


def _refuse_other(rows: int, found: int) -> None:
    """Before anything is made of them: few bytes may be millions of values."""
    if found != rows:
        raise ValueError(f"{found} values in {rows} records")


def inflated(data: bytes, most: int = FOLD_BYTES) -> bytes:
    """A block's bytes, unpacked; ValueError where they are none, or more than so many."""
    try:
        stream = zlib.decompressobj()
        found = stream.decompress(data, most)
    except zlib.error as error:
        raise ValueError(f"no block: {error}") from None
    if not stream.eof:
        raise ValueError(f"no block: cut off, or more than {most} bytes")
    return found


def most_records(pages: int) -> int:
    """In a store of so many pages."""
    return FREE_RECORDS + pages * PAGE_BYTES


def unpack_block(plain: bytes) -> tuple[list[Any], dict[int, Packed]]:
    """Of what `inflated` gives: values of the constant columns, None for others; the others by place, for
    `unpack_column`. ValueError where the bytes are no block."""
    try:
        if len(plain) > LOOKED_AT_BYTES:
            _refuse_shapeless(plain)
        constants, others = _unpack(plain)
        return list(constants), {int(place): rest for place, *rest in others} if others else {}
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"no block: {error}") from None


def _refuse_shapeless(plain: bytes) -> None:
    _, others = _look(plain)
    for column in others:
        for part in column:
            if memoryview(part)[0] not in BINARY:
                _look_at_mixed(part)


def unpack_column(packed: Packed, rows: int) -> list[Any]:
    """Its values, one for each row; as Numbers where it has nothing else. ValueError where it is no such column."""
    try:
        form, *rest = packed
        if form == WHOLE:
            return Numbers(_steps(rows, *rest))
        if form == SCALED:
            scale, *steps = rest
            return Numbers([one / scale for one in _steps(rows, *steps)])
        _refuse_other(rows, len(rest[0]) // (8 if form == DOUBLE else 1))
        if form == DOUBLE:
            return Numbers(_array("d", 8, rest[0]))
        return list(rest[0])
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise ValueError(f"no column: {error}") from None


def column_of(column: Column, rows: int) -> list[Any]:
    """One value for each row."""
    if not isinstance(column, Constant):
        return column
    values = [column.value] * rows
    return Numbers(values) if type(column.value) in (int, float) else values


def are_whole(column: list[Any]) -> bool:
    """Whether a column of at least one row has nothing but int."""
    return type(column[0]) is int if type(column) is Numbers else set(map(type, column)) == {int}
