"""The same sums from columns, as a store has them: a day of 8 GPUs has 690 000 readings, and to make an object of each
takes five times as long. What it comes to is held against the tally of objects by a test.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from boxcheck.model import Unread
from boxcheck.stress.course import Groups, Readings, grouped
from boxcheck.stress.growth import Growth
from boxcheck.stress.tally import Tally


class ColumnTally(Tally):
    """Takes readings of a GPU as columns too."""

    def add_columns(
        self, bdf: str, seconds: Sequence[float], told: Mapping[str, Mapping[str, Sequence[Any]]]
    ) -> bool:
        """Readings of one GPU that told the same things each time, as columns by field and item (the item is empty
        where a field is no list), at times of whole thousandths. False where it did not tell the same each time: then
        nothing was added, and each must be added by itself."""
        if not seconds or not all(_alike(column) for items in told.values() for column in items.values()):
            return False
        self._began = seconds[0] if self._began is None else self._began
        self._ended = max(self._ended, max(seconds))
        key = self._keys.get(bdf)
        if key is None:
            return True
        sensors = told.get("temperatures_celsius", {})
        heat = {name: column for name, column in sensors.items() if type(column[0]) is float}
        watts, instant, reasons = (
            told.get(name, _NONE)[""] for name in ("power_watts", "power_instant_watts", "throttle"))
        watts, instant = ([] if not column or type(column[0]) is not float else column for column in (watts, instant))
        held = grouped(reasons) if reasons and isinstance(reasons[0], tuple) else None
        course = self._courses.get(key)
        if course is None:
            course = self._courses[key] = Readings()
        moments = array("d", seconds)
        course.add_columns(moments, heat, watts or instant, held)
        self._told_of(key, "throttled").add_column(moments, held is not None)
        self._told_of(key, "temperature").add_column(moments, "core" in heat or "edge" in heat)
        self._memory_columns(key, moments, told.get("memory_errors", {}))
        if heat:
            hot = self._hot.setdefault(key, {})
            for name, values in heat.items():
                hot[name] = max(chain((hot[name],), values)) if name in hot else max(values)
        if instant or watts:
            self._watts[key] = max(chain((self._watts.get(key, 0.0),), instant or watts))
        if held is not None:
            self._count[key] = self._count.get(key, 0) + len(seconds)
            self._held_columns(key, held)
        return True

    def _memory_columns(self, key: str, seconds: array[float], counters: Mapping[str, Sequence[Any]]) -> None:
        if not counters:
            self._uncounted.add(key)
            return
        told = any(type(column[0]) is int for column in counters.values())
        self._told_of(key, "memory errors").add_column(seconds, told)
        for name, column in counters.items():
            place = (key, name)
            if isinstance(column[0], Unread):
                self._memory_unread[place] = column[-1].why
                continue
            growth = self._memory.get(place)
            if growth is None:
                growth = self._memory[place] = Growth()
            growth.add_column(seconds, column)
            self._memory_seen[place] = self._memory_seen.get(place, 0) + len(column)

    def _held_columns(self, key: str, found: Groups) -> None:
        if not any(reasons for reasons, _ in found):
            return
        held = self._throttled.setdefault(key, {})
        kinds = {
            one.says: one.kind for reasons, _ in sorted(found, key=lambda group: group[1][-1]) for one in reasons}
        for reasons, places in found:
            for one in reasons:
                held[one.says] = (kinds[one.says], held.get(one.says, ("", 0))[1] + len(places))


_NONE: Mapping[str, Sequence[Any]] = {"": ()}


def _alike(column: Sequence[Any]) -> bool:
    """Whether all values are of one kind: all numbers, or none."""
    kinds = set(map(type, column))
    return len(kinds) == 1 and kinds <= _KINDS


_KINDS = frozenset((float, int, tuple, Unread))
