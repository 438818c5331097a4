"""What was summed up of a run at some moments, so that going back, or to where one was before, need not begin at its
first record. As bytes: objects of a whole day would be looked through by the collector of garbage again and again."""

from __future__ import annotations

import pickle
import zlib
from bisect import bisect_right
from collections.abc import Callable
from io import BytesIO
from typing import Any

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding
from boxcheck.profile import Profile
from boxcheck.stress import Sample
from boxcheck.tui.frame import EventRow
from boxcheck.tui.state import HISTORY_SECONDS, State
from boxcheck.tui.tape import Place

EVERY_SECONDS = 120.0
MOST = 2000
"""Moments that are kept; of a run that is longer every other one is dropped, again and again."""
NEVER_CHANGED = ("run", "_want", "_plan", "_chains", "_expected")
TOLD_AGAIN = ("phases", "_rates", "_matrices")
"""What is told at each look, holds the last two minutes alone (read again from so long before), or is made anew."""
GROWING = "_transfers"
"""A list that is long and only grows, or gives way to another one: of it so many are kept."""
LASTING = frozenset((Profile, Finding, EventRow, GpuInfo, Sample))
"""Values that are not packed again each time, since they are there anyway."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """All that was known at one."""

    at: float
    """Nothing of after it is in it."""
    place: Place
    told: int
    judged: frozenset[int]
    packed: bytes
    growing: list[Sample]
    grown: int


class Moments:
    """Those that were kept, by time."""

    def __init__(self, every_seconds: float = EVERY_SECONDS) -> None:
        self._kept: list[Moment] = []
        self._every = every_seconds
        self._values: list[object] = []
        self._numbers: dict[int, int] = {}
        """By identity: the number among lasting values."""

    def __len__(self) -> int:
        return len(self._kept)

    def before(self, at: float) -> Moment | None:
        """The latest from which everything that is shown at a moment can be had; None: it is had from the start."""
        place = bisect_right(self._kept, at - HISTORY_SECONDS, key=_at)
        return self._kept[place - 1] if place else None

    def wants(self, at: float) -> bool:
        """Whether there is none near before it."""
        place = bisect_right(self._kept, at, key=_at)
        return at - (self._kept[place - 1].at if place else 0.0) >= self._every

    def keep(self, at: float, place: Place, told: int, judged: set[int], state: State) -> None:
        fields, stream = dict(vars(state)), BytesIO()
        growing = fields.pop(GROWING)
        for name in (*NEVER_CHANGED, *TOLD_AGAIN):
            fields.pop(name)
        _Pickler(stream, self._number).dump(fields)
        self._kept.insert(bisect_right(self._kept, at, key=_at), Moment(
            at=at, place=place, told=told, judged=frozenset(judged), packed=zlib.compress(stream.getbuffer(), 1),
            growing=growing, grown=len(growing)))
        if len(self._kept) > MOST:
            self._kept = self._kept[1::2]
            self._every *= 2

    def again(self, one: Moment, fresh: State) -> State:
        """A state that goes on from there. `fresh`: one of the same run that took nothing in."""
        vars(fresh).update(_Unpickler(BytesIO(zlib.decompress(one.packed)), self._values).load())
        vars(fresh)[GROWING] = one.growing[:one.grown]
        return fresh

    def _number(self, value: object) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._values)
            self._values.append(value)  # as long as it is held its identity is no other's
        return number


def _at(one: Moment) -> float:
    return one.at


class _Pickler(pickle.Pickler):
    def __init__(self, stream: BytesIO, number: Callable[[object], int]) -> None:
        super().__init__(stream, protocol=5)
        self._number = number

    def persistent_id(self, value: Any) -> int | None:
        return self._number(value) if type(value) in LASTING else None


class _Unpickler(pickle.Unpickler):
    """Of bytes that this process made, which never leave it."""

    def __init__(self, stream: BytesIO, values: list[object]) -> None:
        super().__init__(stream)
        self._values = values

    def persistent_load(self, number: Any) -> object:
        return self._values[number]
