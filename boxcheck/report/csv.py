"""The telemetry of a run as CSV (RFC 4180): one wide table, a row for each reading of a device.

One table and not one per device: a spreadsheet, a database and pandas all take one file with one head. Wide and not
long (time, device, quantity, value): what was read at one moment stands in one row, the file is a tenth as big, and the
head is known before the first row, since a store names its columns. Links are told when something of theirs changes,
and once more at the end: a box has sixty of them, and nearly always they show what they showed before.

An empty cell is not a zero: `why` says what was not read and for which reason; what the device does not have is empty
without a reason. Texts that a spreadsheet would take for a formula begin with an apostrophe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.report.judged_run import slots_of
from boxcheck.report.run_times import RunTimes
from boxcheck.report.units import says_unit, unit_of
from boxcheck.store.blocks import Constant, column_of
from boxcheck.store.cells import LINK_COLUMN
from boxcheck.store.reader import READINGS, RunReader
from boxcheck.store.rebuild import Rows, Stream, links_in
from boxcheck.store.rows import Phase
from boxcheck.store.texts import decode_plain, plain_line

BEFORE = ("time_utc", "run_seconds", "phase", "step", "kind", "device", "slot")
WHY = "why"
_ORDER = {"gpu": 0, "silent": 0, "links": 1, "host": 2, "box": 3}
_KINDS = {"gpu": "gpu", "silent": "gpu", "links": "link", "host": "host", "box": "box"}
_NOT_SHOWN = frozenset(("state", "why", "unread"))
"""Columns that go into `why`."""
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def run_csv(path: str, profile: str | None = None, acceptance: Acceptance | None = None) -> Iterator[str]:
    """The table, some rows at a time. Nothing of it depends on a profile. StoreError where the store is damaged."""
    with RunReader(path) as reader:
        yield from Table(reader).texts()


class Table:
    """The table of one run."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        with reader.database.snapshot():
            run, phases = reader.run(), reader.phases()
            streams = list(reader.database.streams().values())
        self._times = RunTimes(run)
        self._phases: Mapping[int, Phase] = {one.plan.number: one for one in phases}
        self._slots = slots_of(phases)
        self._quantities = quantities(streams)
        self._place = {name: at for at, name in enumerate(self._quantities)}
        self._shown: dict[str, list[Any]] = {}
        """By address of a link: its cells as they were last told."""
        self._last: dict[str, tuple[int, int, int, list[Any]]] = {}
        """By address of a link: number, age in ms, phase and cells of the reading that came last."""

    def texts(self) -> Iterator[str]:
        yield line([*BEFORE, *(head(name) for name in self._quantities), WHY])
        for minute in self._reader.database.records(READINGS):
            found: list[tuple[int, str]] = []
            with self._reader.guarded("readings"):
                for rows in minute:
                    found += self._links(rows) if rows.stream.kind == "links" else self._device(rows)
            found.sort(key=lambda one: one[0])
            yield "".join(text for _, text in found)
        ends = [(number, self._row(at_ms, phase, "links", bdf, cells))
                for bdf, (number, at_ms, phase, cells) in self._last.items() if number != self._shown[bdf][-1]]
        yield "".join(text for _, text in sorted(ends))

    def _device(self, rows: Rows) -> Iterator[tuple[int, str]]:
        """By columns: what is one value in all rows is written into the form of a row, the others are put into it."""
        count, stream = len(rows.numbers), rows.stream
        form = [""] * len(self._quantities)
        moving: dict[int, list[Any]] = {}
        same: list[str] = []
        whys: list[list[str]] = []
        """Of the columns in which some rows were not read: a reason, or nothing, for each row."""
        for at, name in enumerate(stream.columns):
            column, place = rows.column(at), self._place.get(name)
            if isinstance(column, Constant):
                text, why = self._shown_as(name, column.value)
                same += [why] if why else []
                if place is not None:
                    form[place] = text.replace("%", "%%")
            elif place is not None and _are_numbers(column):
                moving[place] = column
            else:
                texts, reasons = zip(*(self._shown_as(name, value) for value in column), strict=True)
                whys += [list(reasons)] if any(reasons) else []
                if place is not None:
                    moving[place] = list(texts)
        for place in moving:
            form[place] = "%s"
        inner = ",".join(form)
        varying = [moving[place] for place in sorted(moving)]
        values = zip(*varying, strict=True) if varying else iter([()] * count)
        begin = self._begin(rows.phase, stream.kind, stream.subject)
        for row, (number, at_ms, some) in enumerate(zip(rows.numbers, rows.ats_ms, values, strict=True)):
            why = "; ".join([*same, *(one[row] for one in whys if one[row])]) if same or whys else ""
            yield number, f"{self._times.iso(at_ms / 1000)},{at_ms / 1000},{begin},{inner % some},{cell(why)}\r\n"

    def _shown_as(self, name: str, value: Any) -> tuple[str, str]:
        """A cell as text, and why it is empty."""
        if not isinstance(value, str):
            return cell(value), ""
        text, why = told(value)
        if name in _NOT_SHOWN:
            return "", "; ".join(filter(None, (text, why)))
        return cell(text), f"{name}: {why}" if why else ""

    def _links(self, rows: Rows) -> Iterator[tuple[int, str]]:
        """One record is of many functions; of each what changed. Most show all the time what they showed before."""
        count = len(rows.numbers)
        for link in links_in(rows.stream.columns):
            own = range(link.begin, link.end)
            names = [rows.stream.columns[place].partition(" ")[2] for place in own]
            records: Iterator[tuple[int, tuple[Any, ...]]]
            if any(place in rows.others for place in own):
                columns = [column_of(rows.column(place), count) for place in own]
                records = enumerate(zip(*columns, strict=True))
            else:
                values = tuple(rows.constants[place] for place in own)
                records = iter([(0, values), (count - 1, values)])
            before: tuple[Any, ...] | None = None
            for row, values in records:
                if values != before or row == count - 1:
                    cells, number = self._link_cells(names, values), rows.numbers[row]
                    self._last[link.bdf] = (number, rows.ats_ms[row], rows.phase, cells)
                    if self._shown.get(link.bdf, [None])[:-1] != cells:
                        self._shown[link.bdf] = [*cells, number]
                        yield number, self._row(rows.ats_ms[row], rows.phase, "links", link.bdf, cells)
                before = values

    def _link_cells(self, names: Sequence[str], values: Sequence[Any]) -> list[Any]:
        cells: list[Any] = [""] * len(self._quantities)
        whys = []
        for name, value in zip(names, values, strict=True):
            if isinstance(value, str):
                value, why = told(value)
                whys += [f"{name}: {why}"] if why else []
            cells[self._place[name]] = value
        return [*cells, "; ".join(whys)]

    def _row(self, at_ms: int, phase: int, kind: str, subject: str, cells: Sequence[Any]) -> str:
        begin = self._begin(phase, kind, subject)
        return f"{self._times.iso(at_ms / 1000)},{at_ms / 1000},{begin},{line(cells)}"

    def _begin(self, phase: int, kind: str, subject: str) -> str:
        known = self._phases.get(phase)
        return ",".join(map(cell, (
            phase, known.plan.name if known else "", _KINDS[kind], subject or kind, self._slots.get(subject, ""))))


def _are_numbers(column: Sequence[Any]) -> bool:
    return set(map(type, column)) <= {int, float} and all(map(isfinite, column))


def quantities(streams: Sequence[Stream]) -> list[str]:
    """The columns of all readings, those of GPUs first; of one name each once."""
    found: dict[str, None] = {}
    own = [one for one in streams if one.kind in _ORDER]
    for stream in sorted(own, key=lambda one: (_ORDER[one.kind], one.number)):
        for name in stream.columns:
            if stream.kind == "links":
                match = LINK_COLUMN.fullmatch(name)
                name = match[2] if match else name
            if name not in _NOT_SHOWN:
                found[name] = None
    return list(found)


def head(quantity: str) -> str:
    """With its unit: `power_watts` has it in its name, `pcie.width [lanes]` has not."""
    unit = unit_of(quantity)
    return quantity if not unit or says_unit(quantity) else f"{quantity} [{unit}]"


def told(text: str) -> tuple[str, str]:
    """A cell that is no number: what it says, or why it was not read. DecodeError for what is no JSON."""
    value: Any = decode_plain(text, Any)
    if isinstance(value, dict) and value.get("type") == "unread":
        return "", str(value.get("why", "not read"))
    if isinstance(value, list):
        whys = [str(one.get("why")) for one in value if isinstance(one, dict) and one.get("type") == "unread"]
        if whys:
            return "", "; ".join(whys)
        return "; ".join(
            str(one.get("says", "")) if isinstance(one, dict) else str(one) for one in value), ""
    if isinstance(value, str):
        return value, ""
    return plain_line(msgspec.json.encode(value).decode()), ""


def cell(value: Any) -> str:
    """One cell. Numbers are as they are, with a minus where they have one; texts begin no formula (CWE-1236)."""
    if isinstance(value, float):
        return f"{value!r}" if value == value and abs(value) != float("inf") else ""
    text = str(value)
    if isinstance(value, str) and text.lstrip(" ").startswith(_FORMULA):
        text = f"'{text}"
    if any(one in text for one in '",\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def line(cells: Sequence[Any]) -> str:
    return ",".join(map(cell, cells)) + "\r\n"
