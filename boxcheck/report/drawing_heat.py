"""A matrix as a heat map with its numbers: shades from least to most, and marks that work without them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from boxcheck.report.document import Role

SHADES: tuple[Role, ...] = ("heat0", "heat1", "heat2", "heat3", "heat4", "heat5", "heat6", "heat7")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
FULL = 0.5
"""Shades stand for parts of the highest value, from half of it or less to all of it: so an even matrix looks even, and
noise of a percent does not look like a pattern."""


class Scale(msgspec.Struct, frozen=True):
    low: float
    high: float

    def shade(self, value: float) -> Role:
        part = (value - self.low) / (self.high - self.low) if self.high > self.low else 1.0
        return SHADES[max(0, min(len(SHADES) - 1, int(part * len(SHADES))))]


def value_of(cell: str) -> float | None:
    """The number of a cell of a matrix; None for marks: not run, no access, the diagonal."""
    found = _NUMBER.match(cell)
    return float(found[0]) if found else None


def scale_of(cells: Sequence[Sequence[str]]) -> Scale | None:
    """None where there is no number."""
    values = [value for row in cells for cell in row if (value := value_of(cell)) is not None]
    if not values:
        return None
    high = max(values)
    return Scale(min(min(values), FULL * high), high)
