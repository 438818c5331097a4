"""Records of the last minute, kept in memory until they become blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.store.blocks import MOST_RECORDS, Stored, pack_block
from boxcheck.store.schema import Value

FOLD_MS = 60_000
"""A block holds so much. Longer packs little better, and is more to lose when a block is damaged."""


class Tailed(msgspec.Struct, frozen=True):
    """A record that is in `tail`."""

    number: int
    """Order in which records came, over all streams."""
    phase: int
    session: int
    stream: int
    at_ms: int
    cells: Sequence[Stored]


class Folder:
    """Collects records by phase and stream."""

    def __init__(self) -> None:
        self._streams: dict[tuple[int, int, int], list[Tailed]] = {}
        self.records = 0
        self._first: Tailed | None = None
        self._last: Tailed | None = None

    def add(self, record: Tailed) -> None:
        if self.records >= MOST_RECORDS:
            self.clear()  # where folding fails again and again, they are left in `tail` for good
        self._streams.setdefault((record.phase, record.session, record.stream), []).append(record)
        self._first = self._first or record
        self._last = record
        self.records += 1

    @property
    def full(self) -> bool:
        return self._first is not None and self._last is not None and (
            self._last.at_ms - self._first.at_ms >= FOLD_MS or self.records >= MOST_RECORDS // 2)

    @property
    def span(self) -> tuple[int, int]:
        """Numbers of the first and the last record; all between them are here."""
        assert self._first is not None
        assert self._last is not None
        return self._first.number, self._last.number

    def blocks(self) -> Iterator[tuple[Value, ...]]:
        """Rows of the table `blocks`, without id and sum."""
        fold = self.span[0]
        for (phase, session, stream), records in self._streams.items():
            numbers, ats = [one.number for one in records], [one.at_ms for one in records]
            columns: list[Sequence[Stored]] = [
                numbers, ats, *zip(*(one.cells for one in records), strict=True)]
            yield (phase, session, stream, fold, numbers[0], numbers[-1], len(records), min(ats), max(ats),
                   pack_block(columns))

    def clear(self) -> None:
        self._streams, self.records, self._first, self._last = {}, 0, None, None
