"""Matrices as benchmarks print them: a line of column numbers, then rows that begin with their own number.

Read out of a stream of lines, so that leading blanks may be lost, runs of blanks collapsed, and long rows wrapped by a
mailer. The heading may begin with a word (`D\\D` of p2pBandwidthLatencyTest, `D/D` of rocm_bandwidth_test, `GPU`).

Cells stay words here: `N/A` (not measured), `FAIL` and a number are told apart by the readers. `number` gives None for
a word that is no finite number, never zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from statistics import median

import msgspec

MAX_SIDE = 256
"""GPUs of one machine that anybody has seen are fewer by far; a larger heading is no matrix."""
_MAX_LINE = 16_384
_HEADS = frozenset(("D\\D", "D/D", "GPU", "CPU"))
_CELL = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,6})?(?:e[+-]?[0-9]{1,3})?|N/A|-?nan|-?inf|PASS|FAIL", re.IGNORECASE)
_INDEX = re.compile(r"[0-9]{1,3}")

Cells = tuple[tuple[float | None, ...], ...]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One matrix. Rows may be fewer than columns (the host is one row); a row cut off is left out."""

    columns: int
    rows: tuple[tuple[str, ...], ...]
    line: int
    """Offset of the heading among the lines."""
    end: int
    """Offset of the first line after it."""
    cut: bool = False
    """A row was cut off, or a square matrix lacks rows."""

    @property
    def cells(self) -> Cells:
        """The numbers; None for what is no finite number (`N/A`, `-nan`) or below zero."""
        return tuple(tuple(number(word) for word in row) for row in self.rows)


def number(word: str) -> float | None:
    """A measured value, None where the word is none: N/A, nan, inf, negative, or longer than any figure."""
    if len(word) > 24:
        return None
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value < 1e9 else None


def words_of(line: str) -> list[str]:
    """The words of a line; none of one that is too long to be a row."""
    return line.split() if len(line) <= _MAX_LINE else []


def heading(line: str) -> int | None:
    """Number of columns that a line numbers from 0 (`D\\D  0  1  2`); None for any other line."""
    words = words_of(line)
    if words and words[0] in _HEADS:
        words = words[1:]
    if not 0 < len(words) <= MAX_SIDE or words[0] != "0":
        return None
    return len(words) if all(word == str(at) for at, word in enumerate(words)) else None


def is_row(line: str) -> bool:
    """Whether a line is a row of a matrix, or the rest of a wrapped one: nothing but cells."""
    words = words_of(line)
    return 0 < len(words) <= MAX_SIDE + 1 and all(map(_CELL.fullmatch, words))


def read_table(lines: Sequence[str], at: int, square: bool = False) -> Table | None:
    """The matrix whose heading is the first line at or after `at` that is not blank; None where that is no heading.

    `square`: as many rows as columns are expected, so a shorter one was cut.
    """
    while at < len(lines) and not lines[at].strip():
        at += 1
    columns = heading(lines[at]) if at < len(lines) else None
    if columns is None:
        return None
    first, at = at, at + 1
    # A heading that a mailer wrapped goes on with the next number, which no first row begins with.
    while at < len(lines) and (more := words_of(lines[at])) and len(more) + columns <= MAX_SIDE and all(
            word == str(columns + step) for step, word in enumerate(more)):
        columns, at = columns + len(more), at + 1
    rows: list[tuple[str, ...]] = []
    row: list[str] | None = None
    end = at
    while at < len(lines) and (len(rows) < columns or row is not None):
        words = words_of(lines[at])
        if not words:
            at += 1
            continue
        if not is_row(lines[at]):
            break
        if row is None:
            if words[0] != str(len(rows)) or _INDEX.fullmatch(words[0]) is None:
                break
            row = words[1:]
        else:
            row += words
        if len(row) > columns:
            break
        at += 1
        if len(row) == columns:
            rows.append(tuple(row))
            row = None
            end = at
    cut = row is not None or not rows or (square and len(rows) < columns)
    return Table(columns=columns, rows=tuple(rows), line=first, end=max(end, first + 1), cut=cut)


# What a matrix shows


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """What is far below its peers in a square matrix of pairs."""

    peers: float
    """Median of the pairs that are not low."""
    devices: tuple[tuple[int, float], ...] = ()
    """(index, median of its pairs): all pairs of this device are low, so it is its own link."""
    pairs: tuple[tuple[int, int, float], ...] = ()
    """(row, column, value) that is low while both devices do well with others: the route between the two."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Devices that do well among each other and badly with those of other groups: sockets, switches."""
    between: float | None = None
    """Median between the groups."""


SLOW_SHARE = 0.6
"""Below this share of the peers a pair is low: half the lanes or one PCIe generation less give 0.5, the way through the
other socket 0.8 (6x RTX A6000: 21.9 of 26.3)."""


def pairs_of(cells: Cells) -> list[tuple[int, int, float]]:
    """(row, column, value) of what was measured between different devices. A zero is no bandwidth, it is left out."""
    return [(row, column, value) for row, line in enumerate(cells) for column, value in enumerate(line)
            if row != column and value]


def middle(values: Iterable[float]) -> float | None:
    """The median, None of nothing."""
    found = list(values)
    return median(found) if found else None


def slow_in(cells: Cells, one_link_gbs: float | None = None) -> Slow | None:
    """What is low in a matrix of pairs, None where nothing is, or where too few pairs are there to compare.

    `one_link_gbs`: what a PCIe link can carry at most. Where some pairs are above it and many are not, some GPUs are
    joined by NVLink or xGMI and some are not: only pairs of the slower kind are compared then.
    """
    pairs = pairs_of(cells)
    if len(pairs) < 3:
        return None
    if one_link_gbs is not None:
        below = [pair for pair in pairs if pair[2] <= one_link_gbs]
        if len(below) > 0.2 * len(pairs):
            pairs = below
        elif not _alike([value for _, _, value in pairs]):
            return None
    if len(pairs) < 3:
        return None
    top = max(value for _, _, value in pairs)
    found = _shape(pairs, SLOW_SHARE * (middle(value for _, _, value in pairs if value >= SLOW_SHARE * top) or top))
    if found is not None and 2 * len(found.devices) > len({row for row, _, _ in pairs} | {at for _, at, _ in pairs}):
        # A few fast pairs among many equal ones (an NVLink bridge): the equal ones are the peers.
        found = _shape(pairs, SLOW_SHARE * median(value for _, _, value in pairs))
    return found


def _alike(values: Sequence[float]) -> bool:
    """Whether four of five values are within 15 % of the median: one kind of connection, not two."""
    centre = median(values)
    return sum(abs(value - centre) <= 0.15 * centre for value in values) >= 0.8 * len(values)


def _shape(pairs: Sequence[tuple[int, int, float]], level: float) -> Slow | None:
    """The pairs below a level, told apart by whose they are. With one slow GPU among three, four of six are low."""
    low = [pair for pair in pairs if pair[2] < level]
    good = {pair[:2] for pair in pairs} - {pair[:2] for pair in low}
    peers = middle(value for row, column, value in pairs if (row, column) in good)
    everyone = sorted({index for pair in pairs for index in pair[:2]})
    with_good = {index for pair in good for index in pair}
    alone = [index for index in everyone if index not in with_good]
    if peers is None or not low:
        return None
    devices = tuple(
        (index, median(value for row, column, value in low if index in (row, column))) for index in alone)
    rest = [pair for pair in low if not set(pair[:2]) & set(alone)]
    groups = _groups(good, with_good)
    if rest and len(groups) > 1 and all(_group_of(groups, row) != _group_of(groups, column) for row, column, _ in rest):
        return Slow(peers=peers, devices=devices, groups=groups, between=median(value for _, _, value in rest))
    if 4 * len(rest) > len(pairs):
        rest = []  # no few slow pairs, but a fabric of several kinds of links
    return Slow(peers=peers, devices=devices, pairs=tuple(rest)) if devices or rest else None


def _group_of(groups: Sequence[Sequence[int]], index: int) -> int:
    return next((at for at, group in enumerate(groups) if index in group), -1)


def _groups(good: Iterable[tuple[int, int]], members: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    """The members, joined where a pair is good."""
    parent = {index: index for index in members}

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for row, column in good:
        parent[root(row)] = root(column)
    groups: dict[int, list[int]] = {}
    for index in sorted(parent):
        groups.setdefault(root(index), []).append(index)
    return tuple(tuple(group) for group in groups.values())
