"""Three sides or more: a table a quantity, with what stands out. Pure.

What stands out of measured values is told by the modified z-score: 0.6745 times the distance from the median, in median
absolute deviations, beyond 3.5 (Iglewicz and Hoaglin 1993, "How to Detect and Handle Outliers", as in NIST/SEMATECH
e-Handbook of Statistical Methods, 1.3.5.17). A value must also be off by more than what sound boxes differ by, since
values that happen to agree have no deviation; and of fewer than five values nothing stands out. What a box has (lanes,
bytes, versions) stands out where more than half of three or more have something else.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Literal

import msgspec

from boxcheck.compare.judged import readable
from boxcheck.compare.machine import MODEL
from boxcheck.compare.many_judged import Judged, judged_otherwise, unjudged
from boxcheck.compare.matching import physical
from boxcheck.compare.measures import Measure, floor_of, measures_of, phases_of, unmeasured
from boxcheck.compare.side import Input, Item, Side
from boxcheck.engine.figures import PhaseFigures
from boxcheck.engine.history import unlike
from boxcheck.model import Outcome, Scalar, Unread
from boxcheck.store.texts import decode_plain

SCHEMA = "boxcheck.comparison-table/1"
MOST_SCORE = 3.5
TO_NORMAL = 0.6745
"""Of a normal distribution half lies within so many standard deviations."""
LEAST_VALUES = 5
"""Of fewer a median absolute deviation is made by two of them."""
LEAST_BOXES = 3
NONE = "there is none"
"""Of a card without ECC nothing was left unread."""
Stand = Literal["high", "low", "other"]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One value of one part of one side."""

    input: str
    """Its label: `A`."""
    where: str
    """Slot or address; empty: the box."""
    text: str
    value: Scalar | None
    """null: not measured, not read, or there is no such thing; `why` says which."""
    samples: int | None = None
    deviation: float | None = None
    """Median absolute deviation of the samples."""
    score: float | None = None
    """Modified z-score; null where there are too few values, or none of them differs."""
    stands_out: Stand | None = None
    why: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity, of one kind of GPU."""

    what: str
    phase: str
    unit: str
    by: str
    kind: str
    """Name of the GPUs; empty for the box."""
    median: float | None
    """null for what is no number."""
    deviation: float | None
    """Median absolute deviation of the values."""
    values: int
    not_measured: int
    judged: bool
    """Whether there were enough values to say what stands out."""
    cells: tuple[Cell, ...]

    @property
    def outliers(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.stands_out is not None)

    @property
    def is_divided(self) -> bool:
        """Whether sides have something else and none of it is usual, so that nothing stands out: 512, 384 and 256
        GiB. Of measured values only their scatter tells."""
        if self.phase or self.outliers:
            return False
        by_side: dict[str, list[str]] = {}
        for cell in self.cells:
            if cell.value is not None:
                by_side.setdefault(cell.input, []).append(repr(cell.value))
        return len({tuple(sorted(values)) for values in by_side.values()}) > 1


class Many(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    version: str
    inputs: tuple[Input, ...]
    told: tuple[str, ...]
    """What could not be compared as a whole, and why."""
    verdicts: Mapping[str, int]
    """By outcome; of an attempt by its disposition. `none` where there is no verdict."""
    judged: tuple[Judged, ...]
    """Required checks that did not find the same on all sides."""
    tables: tuple[Table, ...]
    """Those with something that stands out first."""
    left_out: int
    """What was not compared, or not judged on every side: `told` says what."""

    @property
    def changes(self) -> int:
        """What differs, or stands out."""
        return len(self.judged) + (len(self.verdicts) > 1) + sum(
            len(one.outliers) or one.is_divided for one in self.tables)

    @property
    def unread(self) -> int:
        """Of what nobody knows whether it is alike on all sides."""
        return self.left_out + self.verdicts.get("none", 0) + sum(
            one.not_measured or not one.judged for one in self.tables)


class Notes:
    """What is told, by side, and how much of it says that something was not compared."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.left_out = 0

    def add(self, label: str, text: str, left_out: int = 1) -> None:
        self.told.append((label, text))
        self.left_out += left_out


def compare_many(sides: Sequence[Side], version: str) -> Many:
    notes = Notes()
    tables = [*_measured(sides, notes), *_had(sides, notes)]
    tables.sort(key=lambda table: -len(table.outliers))
    for label, (unread, missing) in unjudged(sides).items():
        if unread:
            notes.add(label, f"{unread} required {'finding' if unread == 1 else 'findings'} not read", unread)
        if missing:
            notes.add(label, f"{missing} required {'check' if missing == 1 else 'checks'} of others not made", missing)
    verdicts = Counter(side.input.judged for side in sides)
    order = [*(one.value for one in Outcome), *sorted(verdicts.keys() - {"none"}), "none"]
    made = Many(
        version=version, inputs=tuple(side.input for side in sides), told=_together(notes.told), tables=tuple(tables),
        judged=judged_otherwise(sides), left_out=notes.left_out,
        verdicts={name: verdicts[name] for name in dict.fromkeys(order) if verdicts[name]})
    plain: Many = decode_plain(msgspec.json.encode(made), Many)  # names come from elsewhere
    return plain


def _together(told: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """`A, C: no load was run`: each text once."""
    labels: dict[str, list[str]] = {}
    for label, text in told:
        labels.setdefault(text, []).append(label)
    return tuple(f"{', '.join(some)}: {text}" for text, some in labels.items())


# What was measured.

_Key = tuple[str, str, str, str, str, str]


def _measured(sides: Sequence[Side], notes: Notes) -> Iterator[Table]:
    found: dict[_Key, list[tuple[Side, Measure]]] = {}
    first: dict[str, PhaseFigures] = {}
    left_out: set[tuple[str, str]] = set()
    loaded = any(side.has_load for side in sides)  # of sides that are all without load nothing is missing
    for side in sides:
        if side.figures is None:
            notes.add(side.input.label, f"no rates, heat or power: {side.figures_unread or 'no load was run'}", loaded)
            continue
        for name, why in unmeasured(side).items():
            notes.add(side.input.label, f"what {name} measured is left out: {why}")
            left_out.add((side.input.label, name))
        for name, phase in phases_of(side).items():
            if (side.input.label, name) in left_out:
                continue
            apart = unlike(phase, first.setdefault(name, phase))
            if apart is not None:
                notes.add(side.input.label, f"what {name} measured is left out: "
                                            f"{apart.replace('this one', 'that of the first')}")
                left_out.add((side.input.label, name))
        names = {physical(card): card.name for card in side.cards}
        for one in measures_of(side):
            if (side.input.label, one.phase) not in left_out:
                kind = names.get(physical(one.card), one.card.name)
                found.setdefault((*one.quantity, kind), []).append((side, one))
    for key, some in found.items():
        yield _table_of(key, some, sides)


def _table_of(key: _Key, some: Sequence[tuple[Side, Measure]], sides: Sequence[Side]) -> Table:
    phase, what, unit, by, _, kind = key
    values = [one.value for _, one in some]
    middle = float(median(values))
    deviation = float(median(abs(value - middle) for value in values))
    floor = floor_of(some[0][1], middle)
    judged = len(values) >= LEAST_VALUES
    cells = [_cell(side, one, middle, deviation, floor, judged) for side, one in some]
    there = {(side.input.label, physical(one.card)) for side, one in some}
    for side in sides:
        for card in side.cards:
            if card.name == kind and (side.input.label, physical(card)) not in there:
                cells.append(Cell(input=side.input.label, where=card.place, text="-", value=None, why="not measured"))
        if not side.cards and side.cards_unread:
            cells.append(Cell(input=side.input.label, where="", text="-", value=None,
                              why=f"which GPUs there are was not read: {side.cards_unread}"))
    return Table(
        what=what, phase=phase, unit=unit, by=by, kind=kind, median=middle, deviation=deviation, values=len(values),
        not_measured=len(cells) - len(values), judged=judged, cells=tuple(cells))


def _cell(side: Side, one: Measure, middle: float, deviation: float, floor: float, judged: bool) -> Cell:
    off = one.value - middle
    score = TO_NORMAL * off / deviation if judged and deviation > 0 else None
    beyond = judged and abs(off) > floor and (deviation == 0 or abs(TO_NORMAL * off / deviation) > MOST_SCORE)
    return Cell(
        input=side.input.label, where=one.card.place, text=readable(one.value, ""), value=one.value,
        samples=one.samples, deviation=one.deviation, score=None if score is None else round(score, 2),
        stands_out=None if not beyond else "high" if off > 0 else "low")


# What the boxes have.


def _had(sides: Sequence[Side], notes: Notes) -> Iterator[Table]:
    for side in sides:
        if side.items_unread:
            notes.add(side.input.label, f"what the machine has is not known: {side.items_unread}")
    read = [side for side in sides if not side.items_unread]
    found: dict[tuple[str, str], list[tuple[Side, str, Item]]] = {}
    for side in read:
        cards = {physical(card): card for card in side.cards}
        models = {item.card: item.value for item in side.items if item.what == MODEL}
        by_place = {card.place: card for card in side.cards}
        for item in side.items:
            card = cards.get(item.card or "") or by_place.get(item.place or "")
            kind = "" if card is None or item.what == MODEL else str(models.get(card.bdf, card.name))
            where = card.place if card is not None else item.place or item.card or ""
            found.setdefault((item.what, kind), []).append((side, where, item))
    for (what, kind), some in found.items():
        if any(item.value is not None for _, _, item in some):
            yield _had_table(what, kind, some, read)
    if len(read) >= 2:
        yield _gpus(read)


def _had_table(what: str, kind: str, some: Sequence[tuple[Side, str, Item]], sides: Sequence[Side]) -> Table:
    shown = [_shown(item) for _, _, item in some]
    most = _common([value for value, _, _ in shown])
    cells = [
        Cell(input=side.input.label, where=where, text=text, value=value, why=why,
             stands_out=_stands(value, most) if value is not None else None)
        for (side, where, _), (value, text, why) in zip(some, shown, strict=True)]
    there = {side.input.label for side, _, _ in some}
    if not kind:
        cells += [Cell(input=side.input.label, where="", text="-", value=None, why="nothing is known of it")
                  for side in sides if side.input.label not in there]
    return _counted(what, kind, some[0][2].unit, cells)


def _counted(what: str, kind: str, unit: str, cells: Sequence[Cell]) -> Table:
    values = [cell.value for cell in cells if cell.value is not None]
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    middle = float(median(numbers)) if numbers and len(numbers) == len(values) else None
    return Table(
        what=what, phase="", unit=unit, by="", kind=kind, median=middle, values=len(values),
        deviation=None if middle is None else float(median(abs(value - middle) for value in numbers)),
        not_measured=sum(1 for cell in cells if cell.value is None and cell.why != NONE),
        judged=len(values) >= LEAST_BOXES, cells=tuple(cells))


def _gpus(sides: Sequence[Side]) -> Table:
    counts: list[tuple[int | None, str]] = [
        (None, side.cards_unread) if side.cards_unread else (len(side.cards), "") for side in sides]
    most = _common([count for count, _ in counts])
    return _counted("GPUs", "", "", [
        Cell(input=side.input.label, where="", text="-" if count is None else str(count), value=count, why=why,
             stands_out=_stands(count, most) if count is not None else None)
        for side, (count, why) in zip(sides, counts, strict=True)])


def _shown(item: Item) -> tuple[Scalar | None, str, str]:
    """Value, text, and why there is none."""
    value = item.value
    if isinstance(value, Unread):
        return None, "-", f"not read: {value.why}"
    if value is None:
        return None, "-", NONE
    if isinstance(value, float) and not math.isfinite(value):
        return None, "-", "not read: it is no number"
    if isinstance(value, bool):
        return value, "on" if value else "off", ""
    if isinstance(value, (int, float)):
        return value, f"x{value}" if item.unit == "lanes" else readable(value, item.unit), ""
    return value, value, ""


def _common(values: Sequence[Scalar | None]) -> Scalar | None:
    """What more than half of three or more have; None where there is no such thing."""
    known = [value for value in values if value is not None]
    if len(known) < LEAST_BOXES:
        return None
    value, count = Counter(known).most_common(1)[0]
    return value if 2 * count > len(known) else None


def _stands(value: Scalar, most: Scalar | None) -> Stand | None:
    if most is None or value == most:
        return None
    if isinstance(value, (int, float)) and isinstance(most, (int, float)) and not isinstance(value, bool):
        return "high" if value > most else "low"
    return "other"


def label_of(number: int) -> str:
    """`A` to `Z`, then `AA`, as a spreadsheet counts its columns."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters

