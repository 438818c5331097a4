"""Samples put together again from columns: a day has two million of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from boxcheck.store.blocks import Column, Constant
from boxcheck.store.cells import SampleHead
from boxcheck.store.rebuild import Rows, Stream, cell_value, values_of
from boxcheck.store.texts import decode_plain
from boxcheck.stress import Sample, WrongWord


class Samples:
    """Puts samples together. Equal notes are one object: a day has a million samples."""

    MOST_NOTES = 200_000

    def __init__(self) -> None:
        self._heads: dict[str, SampleHead] = {}
        self._notes: dict[tuple[Any, ...], dict[tuple[Any, ...], dict[str, Any]]] = {}
        """By what is the same in a block: names, fixed values, types; then by the values."""
        self._left = self.MOST_NOTES

    def head(self, stream: Stream) -> SampleHead:
        if stream.subject not in self._heads:
            self._heads[stream.subject] = decode_plain(stream.subject, SampleHead)
        return self._heads[stream.subject]

    def of(self, rows: Rows, but: Collection[str] = ()) -> list[Sample]:
        """The samples of a stream, in its order. `but`: without these notes."""
        head, count = self.head(rows.stream), len(rows.numbers)
        figures, moved, notes = _sample_places(rows.stream.columns)
        fixed = {name: word for name, word in head.notes.items() if name not in but} if but else head.notes
        if not rows.others:  # most blocks of a phase that goes through all pairs of GPUs
            same = {name: cell_value(rows.constants[place], type, whole) for name, place, type, whole in figures}
            return [Sample(
                what=head.what, gpu=head.gpu, peer=head.peer, unit=head.unit, of=head.of,  # type: ignore[arg-type]
                moved=_same(dict.fromkeys(moved), moved, rows), notes=_same(fixed, notes, rows), **same)] * count
        fields = dict(FIELDS)
        for name, place, type, whole in figures:
            fields[name] = values_of(rows.column(place), type, whole=whole)
        fields["moved"] = self._mapping(dict.fromkeys(moved), moved, rows)
        fields["notes"] = self._mapping(fixed, notes, rows)
        # By name, each of them: a call by names that are written down takes half the time of one by a dictionary.
        what, gpu, peer, unit, of = head.what, head.gpu, head.peer, head.unit, head.of
        return [
            Sample(
                what=what, gpu=gpu, peer=peer, seconds=seconds, value=value, unit=unit, checked=checked,
                of=of, wrong=wrong, words=words, moved=ways, notes=told)  # type: ignore[arg-type]
            for seconds, value, checked, wrong, words, ways, told in zip(*[
                [field.value] * count if isinstance(field, Constant) else field for field in fields.values()],
                strict=True)]

    def _mapping(self, fixed: Mapping[str, Any], places: Mapping[str, int], rows: Rows) -> Column:
        """Dictionaries with these keys, of which some are in columns."""
        made, moving = dict(fixed), dict[str, list[Any]]()
        for name in fixed:
            if name in places:
                column = values_of(rows.column(places[name]), NOTE, whole=True)
                if isinstance(column, Constant):
                    made[name] = column.value
                else:
                    moving[name] = column
        if not moving:
            return Constant(made)
        names, kinds = tuple(moving), [set(map(type, column)) for column in moving.values()]
        every = list(zip(*moving.values(), strict=True))
        if any(len(one) > 1 for one in kinds):  # 1 and 1.0 are one key
            return [made | dict(zip(names, values, strict=True)) for values in every]
        same = self._notes.setdefault((
            names, *made.items(), *map(type, made.values()), *(one.pop() for one in kinds)), {})
        known: dict[tuple[Any, ...], dict[str, Any]] = {}
        for values in set(every):
            one = same.get(values)
            if one is None:
                one = made | dict(zip(names, values, strict=True))
                if self._left > 0:
                    self._left -= 1
                    same[values] = one
            known[values] = one
        return [known[values] for values in every]


def _same(fixed: Mapping[str, Any], places: Mapping[str, int], rows: Rows) -> dict[str, Any]:
    """The dictionary of all rows, where all have the same."""
    return {name: cell_value(rows.constants[places[name]], NOTE, True) if name in places else word
            for name, word in fixed.items()}


NOTE = str | int | float
FIGURES: tuple[tuple[str, Any, bool], ...] = (
    ("seconds", float, False), ("value", float, False), ("checked", int, True), ("wrong", int, True),
    ("words", tuple[WrongWord, ...], True))
"""Columns of samples, their types, and whether they have no fraction."""
FIELDS: Mapping[str, Column] = {
    **{name: Constant(() if name == "words" else None) for name, _, _ in FIGURES}, "moved": Constant({}),
    "notes": Constant({})}
"""What differs within a stream, and what stands for a column that is not there."""


@lru_cache(maxsize=4096)
def _sample_places(columns: tuple[str, ...]) -> tuple[
        tuple[tuple[str, int, Any, bool], ...], Mapping[str, int], Mapping[str, int]]:
    """Where figures are, bytes moved, and notes."""
    named = {name: place for place, name in enumerate(columns)}
    moved, notes = ({name.partition("/")[2]: place for name, place in named.items() if name.startswith(prefix)} for
                    prefix in ("moved/", "notes/"))
    return tuple((name, named[name], type, whole) for name, type, whole in FIGURES if name in named), moved, notes
