"""Probabilities of every part, and of every two parts, given a notebook. numpy; loaded where suspects are weighed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from boxcheck.riser.evidence import Look, Notebook
from boxcheck.riser.suspects import counts, faults, likelihood, states
from boxcheck.riser.suspects.explain import Explaining, log_sum, untouched_by
from boxcheck.riser.suspects.history import History, Session, history
from boxcheck.riser.suspects.reach import reach, suspects
from boxcheck.riser.suspects.suspicion import Bad, Hypothesis, Part, Posterior, Reach

Reaches = Mapping[Bad, Sequence[tuple[Reach, ...]]]
"""Of each that may be bad, in each course of the risers."""


def posterior(notebook: Notebook) -> Posterior:
    """What is thought of every part after all boots of a notebook."""
    past = history(notebook)
    seen = Explaining(past, notebook)
    if not seen.dirty:
        return Posterior(past=past, hypotheses=[], healthy=faults.HEALTHY, course=None, course_share=1.0, dirty={},
                         behaviours={}, damage={}, touched={})
    weights = suspects(past, notebook)
    total = sum(weights.values()) or 1.0
    squares = (total ** 2 - sum(weight ** 2 for weight in weights.values())) / 2 or 1.0
    one_bad = math.log((1 - faults.HEALTHY) * (1 - faults.TWO_BAD))
    two_bad = math.log((1 - faults.HEALTHY) * faults.TWO_BAD)
    shares = [math.log(course.share) for course in past.courses]
    reaches: Reaches = {one: [reach(past, one, course) for course in past.courses] for one in weights}
    logs: list[tuple[tuple[Bad, ...], list[float]]] = []
    for one, weight in weights.items():
        prior = math.log(weight / total) + one_bad
        logs.append(((one,), [share + prior + seen.sum(one.part, each)[0]
                              for share, each in zip(shares, reaches[one], strict=True)]))
    firsts = {one: each[0] for one, each in reaches.items()} if past.courses else {}
    for first, second in seen.pairs(firsts):
        prior = math.log(weights[first] * weights[second] / squares) + two_bad
        logs.append(((first, second), [
            share + prior + seen.both(first.part, second.part, one_reach, other_reach)
            for share, one_reach, other_reach in zip(shares, reaches[first], reaches[second], strict=True)]))
    return _normalised(past, seen, logs, reaches)


def _normalised(past: History, seen: Explaining, logs: Sequence[tuple[tuple[Bad, ...], list[float]]],
                reaches: Reaches) -> Posterior:
    courses = past.courses
    healthy = math.log(faults.HEALTHY)
    top = max([healthy, *(value for _, values in logs for value in values)])
    # A healthy box says nothing of where its risers are.
    masses = [course.share * math.exp(healthy - top) + sum(math.exp(values[number] - top) for _, values in logs)
              for number, course in enumerate(courses)]
    total = sum(masses) or math.exp(healthy - top)
    best = max(range(len(courses)), key=lambda number: masses[number], default=0)
    hypotheses = []
    for bad, values in logs:
        each = [math.exp(value - top) for value in values]
        whole = sum(each)
        hypotheses.append(Hypothesis(bad, whole / total, tuple(mass / whole if whole else 0.0 for mass in each)))
    # In the course that speaks most for it: a riser is bad in another one than a slot is.
    mine = {bad[0]: max(range(len(values)), key=lambda number: values[number])
            for bad, values in logs if len(bad) == 1 and values}
    told = _Told(past, seen)
    for one, number in mine.items():
        told.add(one, reaches[one][number])
    hypotheses.sort(key=lambda one: -one.probability)
    return Posterior(
        past=past, hypotheses=hypotheses, healthy=math.exp(healthy - top) / total,
        course=courses[best] if courses else None, course_share=masses[best] / total if courses else 1.0,
        dirty=seen.dirty, behaviours=told.behaviours, damage=told.damage, touched=told.touched)


class _Told:
    """How each part would be bad, and what it would do in the next boot."""

    def __init__(self, past: History, seen: Explaining) -> None:
        self.seen = seen
        self.behaviours: dict[Part, dict[str, float]] = {}
        self.damage: dict[Bad, tuple[float, float]] = {}
        self.touched: dict[tuple[Part, str], float] = {}
        bits, live = typical(past.sessions)
        self._chances = [likelihood.chance_of_damage(bits, live, plugged) for plugged in (False, True)]

    def add(self, one: Bad, reach: tuple[Reach, ...]) -> None:
        kind = one.part.kind
        whole, state = self.seen.sum(one.part, reach)
        awake = self.seen.prior(one.part) + self.seen.along(one.part, reach, awake=kind != "supply")
        still = min(1.0, math.exp(log_sum(awake) - whole))
        share = np.exp(awake - log_sum(awake))
        anew = 1 - faults.RESPONDS * faults.ASLEEP if kind in ("slot", "riser", "card") else still
        self.damage[one] = (still * float((share * self._chances[0]).sum()),
                            anew * float((share * self._chances[1]).sum()))
        if kind == "supply":
            self.touched |= {(one.part, slot): self._touches(one.part, reach, slot, whole)
                             for slot in {each.place.slot for each in reach}}
        ways = np.exp(state - whole).sum(axis=(0, 2))
        self.behaviours.setdefault(one.part, {
            name: float(value) for name, value in zip(states.NAMES, ways, strict=True) if value > 0.005})

    def _touches(self, part: Part, reach: tuple[Reach, ...], slot: str, whole: float) -> float:
        """Probability that a supply harms a link, if it is bad."""
        there = frozenset(one.place for one in reach if one.place.slot == slot)
        none = log_sum(self.seen.sum(part, reach, there)[1] + np.log(untouched_by(part)))
        return max(0.0, 1 - math.exp(min(0.0, none - whole)))


def typical(sessions: Sequence[Session]) -> tuple[float, tuple[bool, bool]]:
    """Bits that cross a link one way in the looks of a boot, and which directions (toward the card, toward the host)
    are read somewhere in the box."""
    per_link: list[float] = []
    live = [False, False]
    for session in sessions:
        for looks in session.looks.values():
            own = [look for look in looks if look.conditions.speed_gts is None and look.ways]
            bits = sum(_mean_bits(look) for look in own)
            if bits > 0:
                per_link.append(bits)
            for look in own:
                live = [known or counts.is_live(look, toward)
                        for known, toward in zip(live, ("card", "host"), strict=True)]
    per_link.sort()
    return (per_link[len(per_link) // 2] if per_link else 1e13), (live[0], live[1])


def _mean_bits(look: Look) -> float:
    return sum(max(way.bits, counts.IDLE * (way.most_bits or 0.0)) for way in look.ways) / len(look.ways)
