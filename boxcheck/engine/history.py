"""A run beside earlier runs of the same box: slower, hotter, other power, more throttling, more errors of links. Pure.

A comparison is no part of the verdict: the verdict follows from a store alone, and a comparison needs other runs. It is
made when a run ends, names the runs, and is kept in the store as the document `history`.

What is compared is alike: the same module in a step of the same name, options and length, full sizes, come to its end;
rates by the same engine, kernel, shape and size; heat at the same power. The measure is the median of the last ten
runs, and the first run, so that what creeps is seen too. What is beyond is marginal: a hint, never a failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.engine.box import same_box
from boxcheck.engine.figures import FORMAT, Figures, PhaseFigures
from boxcheck.engine.history_cards import changes
from boxcheck.engine.history_heat import heat, power
from boxcheck.engine.history_judging import links, rates, throttling
from boxcheck.engine.history_series import LAST, Pair
from boxcheck.model import Finding, Outcome

DOCUMENT = "history"
"""Name of the attachment."""
LENGTH = 1.5
"""Factor by which the planned lengths of two phases may differ: heat and rates depend on it, and a run makes its steps
a little shorter or longer to keep to its time."""


class Earlier(msgspec.Struct, frozen=True):
    run: str
    started: float
    version: str


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What the comparison gave."""

    run: str
    box: str
    compared: tuple[Earlier, ...]
    """The runs that this one was compared with, the oldest first."""
    left_out: tuple[str, ...] = ()
    """Runs that it could not be compared with, and why."""
    told: tuple[str, ...] = ()
    """What is another than then: cards that moved or are new, versions, drivers."""
    not_compared: tuple[str, ...] = ()
    """What of this run no earlier run has alike, and why."""
    findings: tuple[Finding, ...] = ()


def compare(now: Figures, others: Sequence[Figures], left_out: Sequence[str] = ()) -> History:
    """The comparison of a run with the others that are of its box and older. `left_out`: runs that could not be read,
    and why."""
    missing = list(left_out)
    earlier: list[Figures] = []
    for one in sorted(others, key=lambda figures: figures.started):
        same = same_box(one.box, now.box)
        if one.run == now.run or one.started >= now.started:
            continue
        if one.format != FORMAT:
            missing.append(f"run {one.run}: its figures are of another format")
        elif same is None:
            missing.append(f"run {one.run}: nothing says whether it is of this box")
        elif not same:
            missing.append(f"run {one.run}: of another box ({one.box})")
        else:
            earlier.append(one)
    used = earlier if len(earlier) <= LAST + 1 else [earlier[0], *earlier[-LAST:]]
    findings: list[Finding] = []
    apart: list[str] = []
    for phase, name in named(now):
        if (why := unusable(phase)) is not None:
            apart.append(f"{name}: {why}")
            continue
        pairs, whys = _alike(phase, name, used)
        if not pairs:
            apart += [f"{name}: {why}" for why in whys[-1:]]
            continue
        for judge in (rates, heat, power, throttling, links):
            found, unlike = judge(name, phase, pairs)
            findings += found
            apart += unlike
    rank = {Outcome.MARGINAL: 0, Outcome.UNKNOWN: 1}
    return History(
        run=now.run, box=now.box, left_out=tuple(missing), not_compared=tuple(dict.fromkeys(apart)),
        compared=tuple(Earlier(one.run, one.started, one.version) for one in used),
        told=tuple([*changes(now, used), *_differences(now, used)] if used else []),
        findings=tuple(sorted(findings, key=lambda one: rank.get(one.outcome, 2))))


def named(figures: Figures) -> Iterator[tuple[PhaseFigures, str]]:
    """The phases with a name each: a plan may have a step twice."""
    seen: dict[str, int] = {}
    for phase in figures.phases:
        name = phase.module if phase.name == phase.module else f"{phase.name} ({phase.module})"
        seen[name] = seen.get(name, 0) + 1
        yield phase, name if seen[name] == 1 else f"{name}, the {seen[name]}. time"


def unusable(phase: PhaseFigures) -> str | None:
    """Why the figures of a phase are no measure; None where they are one."""
    if phase.injected:
        return f"the fault {phase.injected} was put in on purpose"
    if phase.warm_up:
        return "it only warms the box up"
    if not phase.full_size:
        return "small sizes, whose rates say nothing"
    return None if phase.complete else "it did not come to its end on all devices"


def _alike(phase: PhaseFigures, name: str, earlier: Sequence[Figures]) -> tuple[list[Pair], list[str]]:
    """Phases of earlier runs that are alike, and why others are not."""
    pairs: list[Pair] = []
    whys = ["no earlier run of this box has it"]
    for figures in earlier:
        for other, called in named(figures):
            if called != name:
                continue
            why = unlike(other, phase) or unusable(other)
            if why is None:
                pairs.append(Pair(figures, other))
            else:
                whys.append(f"run {figures.run}: {why}")
    return pairs, whys


def unlike(other: PhaseFigures, phase: PhaseFigures) -> str | None:
    """Why two phases of one name are not compared; None where they are alike."""
    if other.options != phase.options:
        return "it had other options"
    if max(other.planned_seconds, phase.planned_seconds) > LENGTH * min(other.planned_seconds, phase.planned_seconds):
        return f"it was {other.planned_seconds:.0f} s long, this one {phase.planned_seconds:.0f} s"
    return None


def _differences(now: Figures, earlier: Sequence[Figures]) -> list[str]:
    """Versions of boxcheck and drivers that were others then: what is compared in spite of them."""
    told = []
    for version in dict.fromkeys(one.version for one in earlier if one.version != now.version):
        runs = [one.run for one in earlier if one.version == version]
        told.append(f"boxcheck was {version} then, is {now.version} now (runs up to {runs[-1]})")
    drivers = {one.card.backend: one.card.driver for phase in now.phases for one in phase.cards}
    then: dict[tuple[str, str], str] = {}
    for figures in earlier:
        for phase in figures.phases:
            for one in phase.cards:
                if drivers.get(one.card.backend, one.card.driver) != one.card.driver:
                    then[one.card.backend, one.card.driver] = figures.run
    told += [f"{driver} then, {drivers[backend]} now (runs up to {run})" for (backend, driver), run in then.items()]
    return told
