"""A course over time made thin for a drawing: of each span of time the lowest and the highest value stay, in the order
in which they came, so that no spike and no dip is lost. A span in which nothing was read stays empty: no line is drawn
over it. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, TypeAlias

from boxcheck.store.blocks import Numbers

Point: TypeAlias = tuple[float, float]
Segments: TypeAlias = tuple[tuple[Point, ...], ...]
"""Lines of (seconds, value); between two of them nothing was read."""
SPANS = 200
"""Over a whole run. At two points a span a line is finer than what print can show of it."""
GAP_SECONDS = 6.0
"""Readings are of one a second, others of one in five. Where none came for longer, the line breaks."""


class Thinned:
    """Takes values as they come and keeps two of each span."""

    __slots__ = ("_begin", "_spans", "_wide", "count", "highest", "highest_at", "lowest")

    def __init__(self, begin: float, end: float, spans: int = SPANS) -> None:
        self._begin, self._wide = begin, max(end - begin, 1e-9) / spans
        self._spans: dict[int, list[float]] = {}
        """By number: time and value of the lowest and of the highest, first time and last."""
        self.count = 0
        self.lowest = self.highest = self.highest_at = float("nan")

    def add(self, times: Sequence[float], values: Sequence[float]) -> None:
        """Values with their times, which rise. Both of one length; nothing unread among them."""
        at, count, wide = 0, len(times), self._wide
        while at < count:
            number = int((times[at] - self._begin) / wide)
            end = count if (times[-1] - self._begin) < (number + 1) * wide else max(
                at + 1, bisect_left(times, self._begin + (number + 1) * wide, at))
            some = values[at:end] if at or end < count else values
            low, high = min(some), max(some)
            low_at, high_at = times[at + some.index(low)], times[at + some.index(high)]
            self._put(number, low, low_at, high, high_at, times[at], times[end - 1])
            at = end
        self.count += count

    def _put(
        self, number: int, low: float, low_at: float, high: float, high_at: float, first: float, last: float
    ) -> None:
        if not self.lowest <= low:
            self.lowest = low
        if not self.highest >= high:
            self.highest, self.highest_at = high, high_at
        known = self._spans.get(number)
        if known is None:
            self._spans[number] = [low, low_at, high, high_at, first, last]
            return
        if low < known[0]:
            known[0], known[1] = low, low_at
        if high > known[2]:
            known[2], known[3] = high, high_at
        known[4], known[5] = min(known[4], first), max(known[5], last)

    def scaled(self, by: float, into: Thinned) -> None:
        """Adds what it kept, times a factor, to another of the same spans."""
        for number, (low, low_at, high, high_at, first, last) in self._spans.items():
            into._put(number, low * by, low_at, high * by, high_at, first, last)
        into.count += self.count

    def segments(self, gap: float = GAP_SECONDS) -> Segments:
        """What is to be drawn."""
        lines: list[list[Point]] = []
        before = float("-inf")
        for number in sorted(self._spans):
            low, low_at, high, high_at, first, last = self._spans[number]
            if not lines or first - before > gap:
                lines.append([])
            points = [(low_at, low), (high_at, high)] if low_at <= high_at else [(high_at, high), (low_at, low)]
            lines[-1] += points if low != high else [(first, low), (last, low)] if last > first else [(first, low)]
            before = last
        return tuple(tuple(line) for line in lines)


def numbers_in(times: Sequence[float], column: Sequence[Any]) -> tuple[Sequence[float], Sequence[float]]:
    """Those values of a column that were read."""
    if type(column) is Numbers or set(map(type, column)) <= {int, float}:
        return times, column
    kept = [(at, value) for at, value in zip(times, column, strict=True) if type(value) in (int, float)]
    return [at for at, _ in kept], [value for _, value in kept]
