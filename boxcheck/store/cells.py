"""Readings and samples taken apart into columns and cells, and put together again.

A record is one row of a *stream*: what does not change (which GPU, which columns) is said once, and the record is a
list of cells in the order of the columns. A cell is a number, or JSON text of whatever is no number: an Unread, the
reasons of throttling, a digest. What is absent has no column, so nothing stands for it that could be taken for a zero.

Columns are named by their field: `power_watts`, `pcie.width`, `temperatures_celsius/core`; in a record of links after
the function's address: `0000:40:01.1 correctable/BadTLP`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

import msgspec

from boxcheck.model import Unread
from boxcheck.stress import Sample
from boxcheck.telemetry.readings import (
    BoxReading,
    Count,
    GpuReading,
    GpuSilent,
    HostReading,
    LinkReading,
    Named,
    Reading,
)

Cell: TypeAlias = int | float | str
StreamKind = Literal["gpu", "silent", "links", "host", "box", "sample"]
KIND_OF: Mapping[type, StreamKind] = {
    GpuReading: "gpu", GpuSilent: "silent", LinkReading: "links", HostReading: "host", BoxReading: "box"}
CLASS_OF = {kind: struct for struct, kind in KIND_OF.items()}
APART = ("bdf", "monotonic_seconds")
"""Fields that are the stream's subject and the record's time."""
INT_LOW, INT_HIGH = -(1 << 63), (1 << 63) - 1
to_json = msgspec.json.Encoder().encode


class Record(msgspec.Struct, frozen=True):
    """One row of a stream."""

    kind: StreamKind
    subject: str
    columns: tuple[str, ...]
    cells: list[Cell]
    monotonic_seconds: float


class Field(msgspec.Struct, frozen=True):
    """One field of a reading."""

    name: str
    form: Literal["number", "items", "part", "text"]
    """`items`: a list of Named or Count; `part`: a struct within; `text`: kept as JSON."""
    type: Any
    default: Any
    item: type[Named] | type[Count] | None = None
    part: type[msgspec.Struct] | None = None
    whole: bool = False
    """A number without a fraction."""


@cache
def fields_of(struct: Any) -> tuple[Field, ...]:
    """Fields of a class of readings, those of APART left out."""
    hints = get_type_hints(struct)
    found = []
    for one in msgspec.structs.fields(struct):
        if one.name not in APART:
            hint, default = hints[one.name], one.default
            parts = {hint, *get_args(hint)}
            item = next((kind for kind in (Named, Count) if tuple[kind, ...] in parts), None)  # type: ignore[valid-type]
            part = next((kind for kind in parts if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
                         and kind is not Unread), None)
            form: Any = "items" if item else "part" if part else "number" if parts & {int, float} else "text"
            found.append(Field(one.name, form, hint, None if default is msgspec.NODEFAULT else default, item, part,
                               form == "number" and float not in parts))
    return tuple(found)


def text_of(value: object) -> str:
    """JSON of a value that is no number. Lone surrogates, which no JSON holds, become question marks."""
    try:
        return to_json(value).decode()
    except UnicodeEncodeError:
        return to_json(_mended(msgspec.to_builtins(value))).decode()


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(one) for key, one in value.items()}
    return [_mended(one) for one in value] if isinstance(value, (list, tuple)) else value


def _number(value: object, whole: bool) -> Cell:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text_of(value)
    if not whole:
        return float(value)
    return value if INT_LOW <= value <= INT_HIGH else text_of(value)


def take_apart(reading: Any, columns: list[str], cells: list[Cell], prefix: str = "") -> None:
    """Adds the fields of a reading to columns and cells. What is None or as by default is left out."""
    struct: Any = type(reading)
    for field in fields_of(struct):
        value = getattr(reading, field.name)
        if value is None or value == field.default:
            continue
        name = prefix + field.name
        if field.part and isinstance(value, field.part):
            take_apart(value, columns, cells, f"{name}.")
        elif field.item and isinstance(value, tuple) and len({one.name for one in value}) == len(value) > 0:
            for one in value:
                columns.append(f"{name}/{one.name}")
                cells.append(_number(one.value if isinstance(one, Named) else one.count, field.item is Count))
        else:
            columns.append(name)
            cells.append(_number(value, field.whole) if field.form == "number" else text_of(value))


class Records:
    """Turns what comes from workers into records. Remembers what links showed last: they rarely change."""

    def __init__(self) -> None:
        self._links: dict[str, tuple[LinkReading, list[str], list[Cell]]] = {}
        self._kinds: dict[tuple[object, ...], set[str]] = {}

    def of_readings(self, readings: Sequence[Reading]) -> list[Record]:
        """One record for each GPU, the host and the box around them, one for all links together."""
        found: list[Record] = []
        links = [one for one in readings if isinstance(one, LinkReading)]
        for one in readings:
            if not isinstance(one, LinkReading):
                columns: list[str] = []
                cells: list[Cell] = []
                take_apart(one, columns, cells)
                subject = "" if isinstance(one, (HostReading, BoxReading)) else one.bdf
                found.append(Record(KIND_OF[type(one)], subject, tuple(columns), cells, one.monotonic_seconds))
            elif links and one is links[0]:
                found.append(self._of_links(links))
        return found

    def _of_links(self, links: Sequence[LinkReading]) -> Record:
        columns: list[str] = []
        cells: list[Cell] = []
        for one in links:
            known = self._links.get(one.bdf)
            if known is None or not _same(known[0], one):
                known = self._links[one.bdf] = (one, [], [])
                take_apart(one, known[1], known[2], f"{one.bdf} ")
            columns += known[1]
            cells += known[2]
        return Record("links", "", tuple(columns), cells, links[0].monotonic_seconds)

    def of_sample(self, sample: Sample, worker: int, monotonic_seconds: float) -> Record:
        """What tells a kind of sample from others is the subject: names, and notes that are words."""
        columns, cells = ["seconds"], [_number(sample.seconds, False)]
        if sample.value is not None:
            columns.append("value")
            cells.append(_number(sample.value, False))
        columns += ("checked", "wrong")
        cells += (_number(sample.checked, True), _number(sample.wrong, True))
        if sample.words:
            columns.append("words")
            cells.append(text_of(sample.words))
        for way, size in sample.moved.items():
            columns.append(f"moved/{way}")
            cells.append(_number(size, True))
        words = {name: value for name, value in sample.notes.items() if isinstance(value, str)}
        steady = self._steady((sample.what, sample.gpu, sample.peer, tuple(words)), words)
        for name, value in sample.notes.items():
            if not steady or name not in words:
                columns.append(f"notes/{name}")
                cells.append(_number(value, isinstance(value, int)))
        head = SampleHead(
            what=sample.what, gpu=sample.gpu, peer=sample.peer, unit=sample.unit, of=sample.of, worker=worker,
            notes={name: words.get(name) if steady else None for name in sample.notes})
        return Record("sample", text_of(head), tuple(columns), cells, monotonic_seconds)

    def _steady(self, kind: tuple[object, ...], words: Mapping[str, str]) -> bool:
        """Whether the notes that are words may be part of the subject: not where they differ all the time."""
        if not words:
            return True
        seen = self._kinds.setdefault(kind, set())
        text = text_of(words)
        if text not in seen and len(seen) < MOST_WORDINGS:
            seen.add(text)
        return text in seen


MOST_WORDINGS = 16
"""Of the notes of one kind of sample, before they are kept with each sample."""


class SampleHead(msgspec.Struct, frozen=True, kw_only=True):
    """Subject of a stream of samples."""

    what: str
    gpu: str
    peer: str | None
    unit: str
    of: str
    worker: int
    notes: Mapping[str, str | None]
    """All notes by name, in their order; None for those that have a column."""


def _same(one: LinkReading, other: LinkReading) -> bool:
    return (
        one.speed_gts == other.speed_gts and one.width == other.width and one.correctable == other.correctable
        and one.nonfatal == other.nonfatal and one.fatal == other.fatal and one.gone == other.gone)


LINK_COLUMN = re.compile(r"(\S+) (.*)", re.DOTALL)
