"""What was measured under load on each card, with what of a change the scatter within the runs explains. Pure.

Rates are medians with their median absolute deviation. A change of a rate is told where it is more than three standard
deviations of both together, by the deviations within the runs (a factor of 1.4826 makes a deviation of a median a
standard one, where values scatter normally), and more than what sound boxes differ by from run to run
(boxcheck.engine.history_judging). Heat and power are one value a run: the highest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from boxcheck.compare.side import Side
from boxcheck.engine.figures import Card, CardFigures, Figures, PhaseFigures, Rate
from boxcheck.engine.history import named, unusable
from boxcheck.engine.history_heat import HEAT_CELSIUS, HEAT_NOISE, SAME_POWER, WATTS_NOISE, WATTS_PERCENT
from boxcheck.engine.history_judging import (
    HELD_SECONDS,
    HELD_SHARE,
    LATENCY_PERCENT,
    PROCESSOR_PERCENT,
    RATE_NOISE,
    RATE_PERCENT,
)

NORMAL = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations (Rousseeuw and Croux 1993, doi
10.1080/01621459.1993.10476408)."""
DEVIATIONS = 3.0
Kind = Literal["rate", "heat", "power", "throttling"]


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One value of one card in one phase."""

    phase: str
    kind: Kind
    what: str
    unit: str
    by: str = ""
    """What did it, as far as that tells one from another: another kernel measures another thing."""
    backend: str = ""
    card: Card
    value: float
    samples: int | None = None
    """None: it is the highest of many, and no median."""
    deviation: float | None = None
    watts: float | None = None
    """Highest power in the phase, where the value is heat: at another power it is another thing."""

    @property
    def quantity(self) -> tuple[str, str, str, str, str]:
        """What is compared with what."""
        return self.phase, self.what, self.unit, self.by, self.backend


class Bound(msgspec.Struct, frozen=True):
    """What a change must exceed, in the unit, and why."""

    value: float
    says: str


def measures_of(side: Side) -> Iterator[Measure]:
    """All of a side that is a measure; `unmeasured` tells what is not."""
    for phase, name in _phases(side.figures):
        if unusable(phase) is None:
            for one in phase.cards:
                yield from _of_card(phase, name, one)


def unmeasured(side: Side) -> dict[str, str]:
    """Phases whose figures are no measure, and why."""
    return {name: why for phase, name in _phases(side.figures) if (why := unusable(phase)) is not None}


def phases_of(side: Side) -> Mapping[str, PhaseFigures]:
    return {name: phase for phase, name in _phases(side.figures)}


def _phases(figures: Figures | None) -> Iterator[tuple[PhaseFigures, str]]:
    return named(figures) if figures is not None else iter(())


def _of_card(phase: PhaseFigures, name: str, one: CardFigures) -> Iterator[Measure]:
    card = one.card
    for rate in one.rates:
        if _is_number(rate.value):
            yield Measure(phase=name, kind="rate", what=rate.what, unit=rate.unit, by=rate.by, backend=card.backend,
                          card=card, value=rate.value, samples=rate.samples, deviation=_deviation(rate))
    for sensor, celsius in one.hottest_celsius.items():
        if _is_number(celsius):
            yield Measure(phase=name, kind="heat", what=f"hottest {sensor}", unit="°C", card=card, value=celsius,
                          watts=one.most_watts)
    if one.most_watts is not None and _is_number(one.most_watts):
        yield Measure(phase=name, kind="power", what="most power", unit="W", card=card, value=one.most_watts)
    if one.held_seconds is not None and phase.watched_seconds > 0:
        share = min(100.0, 100 * sum(one.held_seconds.values()) / phase.watched_seconds)
        yield Measure(phase=name, kind="throttling", what="clock held down", unit="% of the time", card=card,
                      value=share)


def _is_number(value: float) -> bool:
    return math.isfinite(value)


def _deviation(rate: Rate) -> float | None:
    return rate.deviation if rate.deviation is not None and math.isfinite(rate.deviation) else None


def floor_of(one: Measure, middle: float) -> float:
    """What sound boxes differ by from run to run, in the unit, whatever the scatter within a run."""
    if one.kind == "heat":
        return HEAT_NOISE + HEAT_CELSIUS
    if one.kind == "throttling":
        return 100 * HELD_SHARE
    if one.kind == "power":
        return (WATTS_NOISE + WATTS_PERCENT) / 100 * abs(middle)
    percent = LATENCY_PERCENT if one.unit == "us" else RATE_PERCENT if one.card.is_gpu else PROCESSOR_PERCENT
    return percent / 100 * abs(middle)


def bound_of(a: Measure, b: Measure) -> Bound:
    """What a change from `a` to `b` must exceed to be told."""
    floor = floor_of(a, a.value)
    if a.kind != "rate":
        return Bound(floor, f"one value a run; more than {floor:.3g} {a.unit} is told")
    if a.deviation is None or b.deviation is None:
        floor += RATE_NOISE / 100 * abs(a.value)
        return Bound(floor, f"a run keeps no scatter; more than {floor:.3g} {a.unit} is told")
    spread = DEVIATIONS * NORMAL * math.hypot(a.deviation, b.deviation)
    if spread > floor:
        return Bound(spread, f"the scatter within the runs explains {spread:.3g} {a.unit}")
    return Bound(floor, f"more than {floor:.3g} {a.unit} is told; the scatter within the runs explains {spread:.3g}")


def apart(a: Measure, b: Measure) -> str | None:
    """Why two values of one name are not compared; None where they are."""
    if a.kind == "heat":
        if a.watts is None or b.watts is None:
            return "at a power that was not read"
        if abs(a.watts - b.watts) > SAME_POWER * max(a.watts, b.watts):
            return f"at {a.watts:.0f} W and at {b.watts:.0f} W"
    return None


def changed(a: Measure, b: Measure, bound: Bound, seconds: float) -> bool:
    """Whether the change is told. `seconds`: how long the shorter of both phases was watched."""
    if a.kind == "throttling" and abs(b.value - a.value) / 100 * seconds < HELD_SECONDS:
        return False
    return abs(b.value - a.value) > bound.value
