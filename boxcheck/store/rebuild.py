"""Readings and samples put together again from columns. The counterpart of `cells`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import msgspec

from boxcheck.store.blocks import Column, Constant, Numbers, Packed, column_of, unpack_column
from boxcheck.store.cells import APART, CLASS_OF, LINK_COLUMN, Field, fields_of
from boxcheck.store.texts import decode_plain
from boxcheck.telemetry.readings import LinkReading, Reading


class Stream(msgspec.Struct, frozen=True):
    """A row of `streams`."""

    number: int
    kind: str
    subject: str
    columns: tuple[str, ...]


class Rows(msgspec.Struct, frozen=True):
    """Records of one stream, as columns; words are JSON text."""

    stream: Stream
    phase: int
    numbers: list[int]
    """Order of arrival over all streams."""
    ats_ms: list[int]
    base_ms: int
    """What is added to `ats_ms` to have the monotonic clock of its session."""
    constants: list[Any]
    """Values of the columns that have one for all rows; None for the others."""
    others: dict[int, Packed]
    """The others by place."""
    words: Mapping[int, str]
    """By the number that stands for them in the columns in `others`."""
    unpacked: dict[int, list[Any]] = msgspec.field(default_factory=dict)
    """Those of them that were asked for: a report asks for many of them twice."""

    def column(self, place: int) -> Column:
        """It is not to be changed. ValueError or KeyError where it is none."""
        packed = self.others.get(place)
        if packed is None:
            return Constant(self.constants[place])
        if place not in self.unpacked:
            self.unpacked[place] = self._column(packed)
        return self.unpacked[place]

    def _column(self, packed: Packed) -> list[Any]:
        column = unpack_column(packed, len(self.numbers))
        if type(column) is Numbers:
            return column
        return [self.words[one[0]] if type(one) is list else one for one in column]

    def second(self, row: int) -> float:
        """CLOCK_MONOTONIC of a record."""
        return (self.ats_ms[row] + self.base_ms) / 1000

    def seconds(self) -> list[float]:
        base = self.base_ms
        return [(one + base) / 1000 for one in self.ats_ms]


class Place(msgspec.Struct, frozen=True):
    """Where the values of a field are."""

    field: Field
    whole: int | None
    """Place of the column that is the field."""
    items: tuple[tuple[str, int], ...] = ()
    """Names and places of the columns that are its items."""
    part: tuple[Place, ...] = ()


@lru_cache(maxsize=1024)
def places_of(struct: Any, columns: tuple[str, ...]) -> tuple[Place, ...]:
    """Where the fields of a struct are among columns; fields without a column are left out."""
    return _places(struct, {name: place for place, name in enumerate(columns)})


def _places(struct: Any, named: Mapping[str, int]) -> tuple[Place, ...]:
    found = []
    for field in fields_of(struct):
        if field.name in named:
            found.append(Place(field, named[field.name]))
        elif field.item:
            items = tuple((name.partition("/")[2], place) for name, place in named.items()
                          if name.startswith(f"{field.name}/"))
            if items:
                found.append(Place(field, None, items))
        elif field.part:
            inner = {name.partition(".")[2]: place for name, place in named.items()
                     if name.startswith(f"{field.name}.")}
            if inner:
                found.append(Place(field, None, part=_places(field.part, inner)))
    return tuple(found)


@lru_cache(maxsize=4096)
def value_of(text: str, type: Any) -> Any:
    """What a word stands for. DecodeError where it does not fit the field."""
    return decode_plain(text, type)


def values_of(column: Column, type: Any, *, whole: bool) -> Column:
    """Values of a column: numbers as they are, words decoded."""
    if _type(column) is Numbers:
        return column if whole or _type(column[0]) is float else [float(one) for one in column]
    if isinstance(column, list):
        kinds = set(map(_type, column))
        if str not in kinds and (whole or kinds == {float}):
            return column
        if kinds == {str}:
            words = {word: value_of(word, type) for word in set(column)}
            return [words[word] for word in column]
        return [cell_value(one, type, whole) for one in column]
    return Constant(cell_value(column.value, type, whole))


_type = type


def cell_value(cell: Any, type: Any, whole: bool) -> Any:
    """Of one cell, as `values_of` has it."""
    return value_of(cell, type) if isinstance(cell, str) else cell if whole else float(cell)


@cache
def _item_type(make: Any) -> tuple[Any, bool]:
    """Of the second field of Named and Count, and whether it is a whole number."""
    field = msgspec.structs.fields(make)[1]
    return field.type, field.name == "count"


def _items(make: Any, named: Sequence[tuple[str, Column]]) -> Column:
    """Tuples of Named or Count, one for each row; equal items are one object."""
    type, whole = _item_type(make)
    parts: list[Column] = []
    for name, column in named:
        values = values_of(column, type, whole=whole)
        if isinstance(values, Constant):
            parts.append(Constant(make(name, values.value)))
        else:
            known = {value: make(name, value) for value in set(values)}
            parts.append([known[value] for value in values])
    if all(isinstance(part, Constant) for part in parts):
        return Constant(tuple(part.value for part in parts if isinstance(part, Constant)))
    rows = max(len(part) for part in parts if not isinstance(part, Constant))
    return list(zip(*(column_of(part, rows) for part in parts), strict=True))


def _fields(places: Sequence[Place], rows: Rows, only: Collection[str] | None = None) -> dict[str, Column]:
    """Values of the fields; of all of them, or of some."""
    found: dict[str, Column] = {}
    for place in places:
        field = place.field
        if only is not None and field.name not in only:
            continue
        if place.whole is not None:
            whole = field.whole or field.form != "number"
            found[field.name] = values_of(rows.column(place.whole), field.type, whole=whole)
        elif place.items:
            found[field.name] = _items(field.item, [(name, rows.column(one)) for name, one in place.items])
        else:
            found[field.name] = _structs(field.part, _fields(place.part, rows))
    return found


def _structs(struct: Any, fields: Mapping[str, Column]) -> Column:
    if all(isinstance(column, Constant) for column in fields.values()):
        return Constant(struct(**{name: column.value for name, column in fields.items() if isinstance(
            column, Constant)}))
    rows = max(len(column) for column in fields.values() if not isinstance(column, Constant))
    return list(_made(struct, fields, {}, rows))


@cache
def _required(struct: Any) -> tuple[str, ...]:
    return tuple(one.name for one in msgspec.structs.fields(struct) if one.required)


def _made(struct: Any, fields: Mapping[str, Column], more: Mapping[str, Any], rows: int) -> Iterator[Any]:
    """Structs, one for each row. Fields without a default that nothing was stored for are None."""
    same: dict[str, Any] = dict.fromkeys(_required(struct)) | dict(more)
    varying: dict[str, list[Any]] = {}
    for name, column in fields.items():
        if isinstance(column, Constant):
            same[name] = column.value
        else:
            varying[name] = column
    names = tuple(varying)
    if not names:
        for _ in range(rows):
            yield struct(**same)
    for values in zip(*varying.values(), strict=True):
        same.update(zip(names, values, strict=True))
        yield struct(**same)


def readings_of(rows: Rows, only: Collection[str] | None = None) -> list[tuple[int, Reading]]:
    """Readings of a stream that is no stream of samples, each with its number. `only`: with these fields alone."""
    if rows.stream.kind == "links":
        return [
            (number, reading) for link in links_in(rows.stream.columns)
            for number, reading in zip(rows.numbers, link_readings(link, rows), strict=True)]
    struct = CLASS_OF[rows.stream.kind]  # type: ignore[index]
    fields = _fields(places_of(struct, rows.stream.columns), rows, only) | {"monotonic_seconds": rows.seconds()}
    more = {"bdf": rows.stream.subject} if APART[0] in struct.__struct_fields__ else {}  # type: ignore[attr-defined]
    return list(zip(rows.numbers, _made(struct, fields, more, len(rows.numbers)), strict=True))


def columns_of(rows: Rows, struct: Any, only: Collection[str]) -> dict[str, dict[str, list[Any]]] | None:
    """Some fields of readings, each as columns by item; of one that is no list, the item is empty. None where a list is
    stored as text, since it could not be read."""
    found: dict[str, dict[str, list[Any]]] = {}
    count = len(rows.numbers)
    for place in places_of(struct, rows.stream.columns):
        field = place.field
        if field.name not in only:
            continue
        if place.whole is not None:
            if field.item:
                return None
            whole = field.whole or field.form != "number"
            found[field.name] = {"": column_of(values_of(rows.column(place.whole), field.type, whole=whole), count)}
        else:
            type, whole = _item_type(field.item)
            found[field.name] = {
                name: column_of(values_of(rows.column(one), type, whole=whole), count) for name, one in place.items}
    return found


class Link(msgspec.Struct, frozen=True):
    """The columns of one function in a stream of links."""

    bdf: str
    begin: int
    end: int
    """The first column that is not its own."""
    places: tuple[Place, ...]


@lru_cache(maxsize=256)
def links_in(columns: tuple[str, ...]) -> tuple[Link, ...]:
    """The functions that a stream of links is of."""
    found: list[Link] = []
    own: list[str] = []
    for place, name in enumerate((*columns, " ")):
        match = LINK_COLUMN.fullmatch(name)
        bdf = match[1] if match else ""
        if own and own[0].partition(" ")[0] != bdf:
            begin = place - len(own)
            named = {one.partition(" ")[2]: begin + step for step, one in enumerate(own)}
            found.append(Link(own[0].partition(" ")[0], begin, place, _places(LinkReading, named)))
            own = []
        own.append(name)
    return tuple(found)


def link_readings(link: Link, rows: Rows, where: Sequence[int] | None = None) -> list[Reading]:
    """One function's readings, of all records or of some rows; all functions of a record have the time of the first."""
    fields = _fields(link.places, rows)
    seconds = rows.seconds() if where is None else [rows.second(row) for row in where]
    if where is not None:
        fields = {name: column if isinstance(column, Constant) else [column[row] for row in where]
                  for name, column in fields.items()}
    return list(_made(LinkReading, fields | {"monotonic_seconds": seconds}, {"bdf": link.bdf}, len(seconds)))
