"""A figure over earlier runs: what is the measure, and what is noise. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any, TypeAlias

import msgspec

from boxcheck.engine.figures import CardFigures, Figures, PhaseFigures
from boxcheck.engine.history_cards import match
from boxcheck.model import Bdf, Finding, Limit, Outcome, Subject

Judged: TypeAlias = tuple[list[Finding], list[str]]
"""Findings, and what could not be compared."""
LAST = 10
"""Runs whose median is the measure, beside the first."""
FEW = 3
"""Runs below which earlier runs do not tell how much they differ."""
LEAST_NOISE = {"%": 0.5, "°C": 1.0}
"""Earlier runs that happen to agree do not make the next one exact; sensors tell whole degrees."""
SOURCE = "what earlier runs of this box differ by, and {threshold:g} {unit}"


class Pair(msgspec.Struct, frozen=True):
    """A phase of an earlier run that is alike."""

    figures: Figures
    phase: PhaseFigures

    def card(self, of: CardFigures) -> CardFigures | None:
        """The same card in it, driven by the same runtime."""
        found = match(of.card, [one.card for one in self.phase.cards])
        if found is None or found.backend != of.card.backend:
            return None
        return next(one for one in self.phase.cards if one.card is found)


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over earlier runs, the oldest first."""

    values: tuple[float, ...]
    first_run: str
    first_started: float
    noise: float
    """In the unit of the comparison."""

    @property
    def median(self) -> float:
        return float(median(self.values[-LAST:]))

    @property
    def against(self) -> str:
        number = len(self.values[-LAST:])
        return f"the median of {number} runs" if number > 1 else f"run {self.first_run}"

    @property
    def first(self) -> str:
        """`2026-03-12 (run ID)`."""
        return f"{day(self.first_started)} (run {self.first_run})"


def day(seconds: float) -> str:
    """`2026-03-12`, UTC; `?` for a time that no calendar has."""
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?"


def series(found: Sequence[tuple[Pair, float]], unit: str, default: float) -> Series:
    """The noise is three standard deviations of the last ten, by the median step from one run to the next (0.954
    deviations in a normal distribution): neither one bad run among them nor a slow decline makes the next bad one look
    usual."""
    values = tuple(value for _, value in found)
    recent, first = values[-LAST:], found[0][0].figures
    noise = default
    if len(recent) >= FEW:
        middle = median(recent)
        spread = 3 * median(abs(after - before) for before, after in pairwise(recent)) / 0.954
        if unit == "%":
            spread = 100 * spread / middle if middle else 0.0
        noise = max(spread, LEAST_NOISE[unit])
    return Series(values=values, first_run=first.run, first_started=first.started, noise=noise)


def subject_of(one: CardFigures) -> Subject:
    card = one.card
    return Subject(
        "gpu" if card.is_gpu else "cpu", f"{card.name} ({card.key})", slot=card.slot,
        bdf=Bdf(card.bdf) if card.bdf else None)


def limit_of(name: str, bound: float, threshold: float, unit: str) -> Limit:
    return Limit(name, "le", should=round(bound, 2), unit=unit, source=SOURCE.format(threshold=threshold, unit=unit))


def worse(subject: Subject, says: str, *, check: str, **options: Any) -> Finding:
    """A figure that is beyond. Options are the other fields of Finding."""
    return Finding(check=check, subject=subject, outcome=Outcome.MARGINAL, says=says, **options)


def alike(subject: Subject, says: str, *, check: str) -> Finding:
    """A figure that is as before."""
    return Finding(check=check, subject=subject, outcome=Outcome.PASS, says=says)
