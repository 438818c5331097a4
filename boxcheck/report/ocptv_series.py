"""Which readings of a run become elements of an OCP measurement series. Decided by what the store holds and by nothing
else, so that a run that is followed and one that is rendered later give the same.

A day of eight GPUs has a hundred million readings; a series takes the first of each `every` seconds, and the most that
was read in between stands as a measurement at the end of its step. Of links what changes is told, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec

from boxcheck.report.csv import told
from boxcheck.report.units import unit_of
from boxcheck.store.blocks import column_of
from boxcheck.store.rebuild import Rows, links_in

SHORT_SECONDS, LONG_SECONDS = 900.0, 3 * 3600.0
COLUMNS = (
    "power_watts", "temperatures_celsius/", "clocks_mhz/gfx", "clocks_mhz/sm", "cpu_temperatures_celsius/",
    "cpu_power_watts/", "supply_watts/", "drives_celsius/")
MOST = ("_watts", "_celsius")
"""Fields of which the highest reading is told at the end."""
KINDS = ("gpu", "silent", "links", "host", "box")


def every_seconds(planned: float) -> float:
    """Between two elements of a series: 1 s in runs up to 15 minutes, 10 s up to three hours and where nothing
    was planned, else 60 s."""
    if 0 < planned <= SHORT_SECONDS:
        return 1.0
    return 10.0 if planned <= LONG_SECONDS else 60.0


class Element(msgspec.Struct, frozen=True):
    """One value of a series."""

    number: int
    at: float
    device: str
    column: str
    value: float


class Untold(msgspec.Struct, frozen=True):
    """Something that was not read, told once a step."""

    number: int
    at: float
    device: str
    says: str


Told: TypeAlias = Element | Untold
_Key: TypeAlias = tuple[str, str]


class Series:
    """The series of one step."""

    def __init__(self, every: float) -> None:
        self._every_ms = round(every * 1000)
        self._slots: dict[_Key, int] = {}
        self._shown: dict[_Key, float | str] = {}
        self._base: dict[_Key, Element] = {}
        """First reading of a counter, told when it has grown."""
        self._said: set[tuple[str, str]] = set()
        self._silent: dict[str, str] = {}
        self.most: dict[_Key, float] = {}

    def add(self, rows: list[Rows], after: int) -> list[tuple[float, Told]]:
        """What a minute of readings adds, each with the age at which it came up; those up to the number `after` were
        added before."""
        found: list[tuple[int, str, str, int, Any, Literal["gpu", "links", "silent"]]] = []
        for one in rows:
            kind = one.stream.kind
            if kind == "links":
                found += self._of_links(one, after)
            else:
                found += self._of_device(one, after)
        told_: list[tuple[float, Told]] = []
        for number, device, column, at_ms, value, kind_ in sorted(found, key=lambda entry: entry[:3]):
            told_ += ((at_ms / 1000, one) for one in self._take(number, device, column, at_ms, value, kind_))
        return told_

    def _of_device(self, rows: Rows, after: int) -> Iterator[tuple[int, str, str, int, Any, Any]]:
        kind: Any = "silent" if rows.stream.kind == "silent" else "gpu"
        device, count = rows.stream.subject or rows.stream.kind, len(rows.numbers)
        for place, name in enumerate(rows.stream.columns):
            whole = name + "/"  # a list that could not be read has a column of its own name
            if (kind == "silent" and name != "why") or (kind == "gpu" and not (
                    name.startswith(COLUMNS) or whole in COLUMNS)):
                continue
            column = column_of(rows.column(place), count)
            for number, at_ms, value in zip(rows.numbers, rows.ats_ms, column, strict=True):
                if number > after:
                    yield number, device, name, at_ms, value, kind

    def _of_links(self, rows: Rows, after: int) -> Iterator[tuple[int, str, str, int, Any, Any]]:
        count = len(rows.numbers)
        for link in links_in(rows.stream.columns):
            for place in range(link.begin, link.end):
                name = rows.stream.columns[place].partition(" ")[2]
                before: Any = None
                for number, at_ms, value in zip(
                        rows.numbers, rows.ats_ms, column_of(rows.column(place), count), strict=True):
                    if number > after and value != before:
                        yield number, link.bdf, name, at_ms, value, "links"
                        before = value

    def _take(self, number: int, device: str, column: str, at_ms: int, value: Any, kind: str) -> Iterator[Told]:
        at, key = at_ms / 1000, (device, column)
        if isinstance(value, str):
            says, why = told(value)
            if why:
                what = "it tells nothing" if kind == "silent" else f"{column} was not read"
                if (device, f"{what}: {why}") not in self._said:
                    self._said.add((device, f"{what}: {why}"))
                    yield Untold(number, at, device, f"{what}: {why}")
            elif kind == "links" and says == "true" and self._shown.get(key) != says:  # `gone`
                self._shown[key] = says
                yield Untold(number, at, device, "its registers read all ones, or the kernel has removed it")
            return
        if isinstance(value, float) and not abs(value) < float("inf"):
            return
        if kind == "links":
            yield from self._of_link(Element(number, at, device, column, value), key)
            return
        if column.partition("/")[0].endswith(MOST):
            self.most[key] = max(value, self.most.get(key, value))
        slot = at_ms // self._every_ms
        if self._slots.get(key) != slot:
            self._slots[key] = slot
            yield Element(number, at, device, column, value)

    def _of_link(self, one: Element, key: _Key) -> Iterator[Told]:
        if self._shown.get(key) == one.value:
            return
        first = key not in self._shown
        self._shown[key] = one.value
        if unit_of(one.column) != "count":
            yield one
        elif first:
            self._base[key] = one
        else:
            if (base := self._base.pop(key, None)) is not None:
                yield base
            yield one
