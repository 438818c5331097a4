"""Rows that wait for the disk, in memory, up to a bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import chain, islice

import msgspec

from boxcheck.store.folding import Tailed
from boxcheck.store.schema import Table, Value

TELEMETRY_BYTES, SAMPLE_BYTES, OTHER_BYTES, ANY_BYTES = 8 << 20, 24 << 20, 32 << 20, 1 << 62
"""What may wait in memory, all of it together, for a new row of that kind to find room: telemetry gives way first, then
samples, then events. What other rows refer to always finds room."""
OVERHEAD_BYTES = 200
"""Of a row in memory, beside its texts."""
CHUNK = 512
"""Rows of each queue in one commit."""


class Entry(msgspec.Struct, frozen=True):
    """A row to be written."""

    table: Table
    values: tuple[Value, ...]
    """With id and sum."""
    durable: bool
    """Committed at once, and flushed."""
    room: int
    """How many bytes may wait before it, else it is lost."""
    record: Tailed | None = None

    @property
    def cost(self) -> int:
        return OVERHEAD_BYTES + sum(len(value) for value in self.values if isinstance(value, (str, bytes)))


class Pending:
    """Two queues: records in the second, what they refer to and all else in the first, which goes before."""

    def __init__(self) -> None:
        self._queues: tuple[deque[Entry], deque[Entry]] = (deque(), deque())
        self._put, self._done = [0, 0], [0, 0]
        self._bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def append(self, entry: Entry) -> bool:
        """False where it finds no room."""
        if self._bytes > entry.room:
            return False
        which = int(entry.record is not None)
        self._queues[which].append(entry)
        self._put[which] += 1
        self._bytes += entry.cost
        return True

    def batch(self) -> tuple[list[Entry], list[Entry]]:
        """What is to be written next: of each queue."""
        urgent = list(islice(self._queues[0], CHUNK))
        # No record before what it refers to.
        return urgent, list(islice(self._queues[1], CHUNK)) if len(urgent) == len(self._queues[0]) else []

    def take_off(self, done: tuple[int, int]) -> None:
        """So many of each queue are written."""
        for which, number in enumerate(done):
            self._done[which] += number
            for _ in range(number):
                self._bytes -= self._queues[which].popleft().cost

    @property
    def hurries(self) -> bool:
        """Whether something waits that must not wait, or more than one commit takes."""
        return max(map(len, self._queues)) >= CHUNK or any(entry.durable for entry in chain(*self._queues))

    def mark(self, entries: Iterable[Entry] | None = None) -> Mapping[int, int]:
        """How far the queues of these entries (of all) must have come for what waits in them now to be written."""
        which = {0, 1} if entries is None else {int(entry.record is not None) for entry in entries}
        return {one: self._put[one] for one in which}

    def reached(self, mark: Mapping[int, int]) -> bool:
        return all(self._done[one] >= number for one, number in mark.items())
