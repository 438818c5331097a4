"""Heat and power of a phase beside those of earlier runs that are alike. Pure.

Heat is compared at the same power alone. Where most GPUs are hotter it is one finding, of the box: a warmer room, a
filter, its fans.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from boxcheck.engine.figures import CardFigures, PhaseFigures
from boxcheck.engine.history_series import FEW, Judged, Pair, alike, limit_of, series, subject_of, worse
from boxcheck.model import BOX, Finding, Quantity

HEAT_CELSIUS = 5.0
"""How much hotter than the noise of earlier runs is told: a room differs by as much (from memory)."""
HEAT_NOISE, WATTS_NOISE = 3.0, 3.0
"""Degrees and percent that are taken for the noise of runs while there are fewer than three (from memory)."""
WATTS_PERCENT = 5.0
SAME_POWER = 0.05
"""Part by which the highest power may differ for heat to be compared: of a card at 60 degrees above the room 3."""
MOST = 2 / 3
"""Part of the GPUs that are hotter, from three on, from which it is the room's or the box's doing."""


class _Heat(msgspec.Struct, frozen=True):
    one: CardFigures
    rise: float
    """Above the median, or above the first run where that is more."""
    bound: float
    says: str


def heat(name: str, phase: PhaseFigures, pairs: Sequence[Pair]) -> Judged:
    """A finding for each card whose heat can be compared; one for the box where most of them are hotter."""
    every: list[_Heat] = []
    apart: list[str] = []
    for one in phase.cards:
        found = [_heat_of(one, sensor, value, pairs) for sensor, value in one.hottest_celsius.items()]
        known = [heat for heat in found if isinstance(heat, _Heat)]
        if known:
            every.append(max(known, key=lambda heat: heat.rise - heat.bound))
        elif found:
            apart.append(f"heat of {one.card.place} in {name}: {next(why for why in found if isinstance(why, str))}")
    hot = [heat for heat in every if heat.rise > heat.bound]
    if len(every) >= FEW and len(hot) >= MOST * len(every):
        rises = [heat.rise for heat in hot]
        return [worse(
            BOX, f"{name}: {len(hot)} of {len(every)} GPUs are {min(rises):.0f} to {max(rises):.0f} °C hotter than "
            "before, at the same power", check="history.temperature", measured=Quantity(round(max(rises), 1), "°C"),
            limit=limit_of("history.temperature", min(heat.bound for heat in hot), HEAT_CELSIUS, "°C"),
            notes=tuple(f"{heat.one.card.place}: {heat.says}" for heat in hot[:8]),
            help=("look at the temperature of the room, at filters and at the fans of the box",))], apart
    findings = []
    for heat in every:
        others = [other.rise for other in every if other is not heat]
        beside = (f"the other GPUs: {median(others):+.0f} °C",) if others else ()
        if heat.rise > heat.bound:
            findings.append(worse(
                subject_of(heat.one), f"{name}: {heat.says}", check="history.temperature", notes=beside,
                measured=Quantity(round(heat.rise, 1), "°C"),
                limit=limit_of("history.temperature", heat.bound, HEAT_CELSIUS, "°C"),
                help=("look at its fans, dust and paste, and at what stands before its intake",)))
        else:
            findings.append(alike(subject_of(heat.one), f"{name}: {heat.says}", check="history.temperature"))
    return findings, apart


def _heat_of(one: CardFigures, sensor: str, value: float, pairs: Sequence[Pair]) -> _Heat | str:
    """How a sensor compares; else why it cannot be compared."""
    if not one.most_watts:
        return "its power was not read"
    cards = [(pair, then) for pair in pairs if (then := pair.card(one)) is not None]
    told = [(pair, then) for pair, then in cards if sensor in then.hottest_celsius]
    if not told:
        return "no earlier run has read it" if cards else "no earlier run has this card"
    found = [(pair, then.hottest_celsius[sensor]) for pair, then in told
             if then.most_watts and abs(then.most_watts / one.most_watts - 1) <= SAME_POWER]
    if not found:
        watts = told[-1][1].most_watts
        then_watts = f"{watts:.0f} W" if watts else "not read"
        return f"at another power then ({then_watts}), now {one.most_watts:.0f} W"
    past = series(found, "°C", HEAT_NOISE)
    rises = (value - past.median, value - past.values[0])
    since = f", {rises[1]:+.0f} °C since {past.first}" if len(past.values) > 1 else ""
    return _Heat(one, max(rises), past.noise + HEAT_CELSIUS, (
        f"{sensor} at most {value:g} °C at {one.most_watts:.0f} W, {rises[0]:+.0f} °C from {past.against} "
        f"({past.median:g} °C){since}; {past.noise:.0f} °C is noise"))


def power(name: str, phase: PhaseFigures, pairs: Sequence[Pair]) -> Judged:
    """A finding for each card whose highest power earlier runs have too."""
    findings: list[Finding] = []
    for one in phase.cards:
        found = [(pair, then.most_watts) for pair in pairs if (then := pair.card(one)) is not None and then.most_watts]
        if not found or not one.most_watts:
            continue
        past = series(found, "%", WATTS_NOISE)
        off = max((100 * (one.most_watts / value - 1) for value in (past.median, past.values[0])), key=abs)
        says = (f"{name}: at most {one.most_watts:.0f} W, {100 * (one.most_watts / past.median - 1):+.1f} % from "
                f"{past.against} ({past.median:.0f} W); {past.noise:.1f} % is noise")
        if abs(off) <= past.noise + WATTS_PERCENT:
            findings.append(alike(subject_of(one), says, check="history.power"))
        else:
            findings.append(worse(
                subject_of(one), says, check="history.power", measured=Quantity(round(abs(off), 1), "%"),
                limit=limit_of("history.power", past.noise + WATTS_PERCENT, WATTS_PERCENT, "%"), help=(
                    "was its power limit set, or does something hold its clock down? nvidia-smi -q -d POWER",)))
    return findings, []
