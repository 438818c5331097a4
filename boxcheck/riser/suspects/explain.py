"""How well one bad part, or two, explain what was seen, against a healthy box. numpy.

What a part explains are the looks at links on which it was, boot by boot; all other links must be healthy. Where two
bad parts were on one link, one of them explains what was seen there: every sharing-out is weighed.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from boxcheck.riser.evidence import Look, Notebook, PartKind
from boxcheck.riser.suspects import faults, likelihood, states
from boxcheck.riser.suspects.faults import DIRECTIONS
from boxcheck.riser.suspects.history import History
from boxcheck.riser.suspects.states import PRIOR, SHAPE, Array
from boxcheck.riser.suspects.suspicion import UNNAMED_SUPPLY, Bad, Part, Place, Reach

DIRTY = 3.0
"""Natural logarithm of how much better a bad part explains a link than none does, from which it is called damaged."""
PAIRS = 100
"""Two bad parts that are weighed: those that explain most."""
SHARED_AT_MOST = 4
"""Links and boots on which two parts were both, of which every sharing-out is tried."""
NOTHING: frozenset[Place] = frozenset()
SEEN_BY_DOCTOR = ("aspm", "capped", "split")
"""Settings that registers show, mostly: a port whose lanes are shared out announces fewer of them."""
WORDS = {"aspm": ("aspm",), "split": ("bifurcat", "split", "width", "lanes"),
         "capped": ("speed", "gt/s", "gen3", "gen2", "gen1"),
         "switched-off": ("address space", "bar ", "disabled", "4g")}
"""Behaviour of a setting -> what names it in words of doctor."""


def _named(texts: Iterable[str]) -> Iterator[str]:
    """Behaviours of settings that words of doctor name."""
    for text in texts:
        yield from (behaviour for behaviour, words in WORDS.items() if any(word in text.lower() for word in words))


class Explaining:
    """The looks of a notebook as factors, and sums over them."""

    def __init__(self, past: History, notebook: Notebook) -> None:
        self.notebook = notebook
        self._measured: set[tuple[str, str | None]] = set()
        self._trained: set[tuple[str, int | None, float | None]] = set()
        raw = {
            Place(number, slot): likelihood.factors(
                self._once(looks, session.places[slot].card), self._was_so(slot, looks))
            for number, session in enumerate(past.sessions) for slot, looks in session.looks.items() if looks}
        self._card = {Place(number, slot): place.card
                      for number, session in enumerate(past.sessions) for slot, place in session.places.items()}
        self.spread = {
            (place, plugged): one.between_boots(plugged) for place, one in raw.items() for plugged in (False, True)}
        self.together = {place: one.spread_by(states.SPREAD_BETWEEN_LINKS) for place, one in raw.items()}
        self.best = {place: max(0.0, float(self.spread[place, False].max())) for place in raw}
        self.dirty = {place: best > DIRTY for place, best in self.best.items()}
        self._sums: dict[
            tuple[PartKind, bool, tuple[Reach, ...], str, frozenset[Place]], tuple[float, Array]] = {}
        self._told = {slot: self._settings(slot) for slot in {notebook.slot, *notebook.excluded}}

    def _once(self, looks: Sequence[Look], card: str | None) -> list[Look]:
        """Looks without margins that were measured before at the same receiver: what a receiver tells of itself it
        tells each time, so it is no new evidence."""
        found = []
        for look in looks:
            keys = {margin.receiver: (margin.receiver, card if margin.receiver == "F" else look.slot)
                    for margin in look.margins}
            margins = tuple(margin for margin in look.margins if keys[margin.receiver] not in self._measured)
            self._measured |= set(keys.values())
            found.append(msgspec.structs.replace(look, margins=margins))
        return found

    def _was_so(self, slot: str, looks: Sequence[Look]) -> bool:
        """Whether a link trained to the same in a boot before: what always is so is one observation."""
        look = next((look for look in looks if look.conditions.speed_gts is None and look.width), None)
        key = (slot, look.width if look else None, look.speed_gts if look else None)
        was_so = key in self._trained
        self._trained.add(key)
        return was_so

    def _settings(self, slot: str) -> Array:
        """[.., behaviour, ..]: what doctor found of the settings of a link, in favour of each kind of setting and
        against it. What it finds is known of the link in question alone."""
        gains = np.zeros(len(states.NAMES))
        told = self.notebook.settings
        if slot == self.notebook.slot:
            seen = faults.NO_FINDING_WHEN_ASKED if told else faults.NO_FINDING
            gains[[name in SEEN_BY_DOCTOR for name in states.NAMES]] = math.log(seen)
            for behaviour in _named(f"{name} {says}" for name, says in told.items()):
                gains[states.NAMES.index(behaviour)] = math.log(faults.FINDING)
        for behaviour in _named(self.notebook.excluded.get(slot, ())):
            gains[states.NAMES.index(behaviour)] = math.log(faults.EXCLUDED)
        return gains[None, :, None]

    def prior(self, part: Part) -> Array:
        """By state."""
        told = self._told.get(part.name) if part.kind == "setting" else None
        return PRIOR[part.kind] if told is None else PRIOR[part.kind] + told

    def sum(self, part: Part, reach: tuple[Reach, ...], left: frozenset[Place] = NOTHING) -> tuple[float, Array]:
        """log of the probability of the looks along a reach, against a healthy box; and by state. What was seen in the
        places that are `left` is for another part to explain."""
        told = part.name if part.kind == "setting" and part.name in self._told else ""
        key = (part.kind, part.name == UNNAMED_SUPPLY, reach, told, left)
        known = self._sums.get(key)
        if known is None:
            total = self.prior(part) + self.along(part, reach, left=left)
            known = self._sums[key] = (log_sum(total), total)
        return known

    def along(self, part: Part, reach: Sequence[Reach], awake: bool = False,
              left: frozenset[Place] = NOTHING) -> Array:
        """By state. `awake`: with the part as bad in the last boot as ever."""
        total: Array = np.zeros(SHAPE)
        kind = part.kind
        if kind == "seat":
            # From the last boot back: contacts that were cured explain nothing more, and need not.
            for one in reversed(reach):
                if one.place in self.dirty and one.place not in left:
                    total = total + self.spread[one.place, False]
                if one.cured:
                    total = math.log1p(-one.cured) + total
                    total = total if awake else np.logaddexp(math.log(one.cured), total)
            return total
        if kind == "supply":
            return self._supply(part, reach, left)
        wandering = self._wandering(reach, left, awake)
        if not any(one.plugged for one in reach):
            return wandering
        steady: Array = functools.reduce(np.add, self._heard(reach, left, steady=True), np.zeros(SHAPE))
        responds = faults.RESPONDS
        return np.logaddexp(math.log1p(-responds) + steady, math.log(responds) + wandering)

    def _heard(self, reach: Sequence[Reach], left: frozenset[Place], *, steady: bool = False) -> list[Array]:
        """What was seen along a reach. `steady`: plugging anew changes nothing about the part."""
        return [self.spread[one.place, one.plugged > 0 and not steady] for one in reach
                if one.place in self.dirty and one.place not in left]

    def _wandering(self, reach: Sequence[Reach], left: frozenset[Place], awake: bool) -> Array:
        """By state of a part that may be another each time that it is plugged anew: silent, or bad in another way."""
        total: Array = np.zeros(SHAPE)
        groups: dict[int, list[Reach]] = {}
        for one in reach:
            groups.setdefault(one.plugged, []).append(one)
        last = max(groups, default=0)
        for plugged, ones in groups.items():
            heard = self._heard(ones, left)
            if not heard:
                continue
            here: Array = functools.reduce(np.add, heard)
            if plugged:
                here = _maybe(faults.TURNED, here)
                here = math.log1p(-faults.ASLEEP) + here
                if not (awake and plugged == last):
                    here = np.logaddexp(math.log(faults.ASLEEP), here)
            total = total + here
        return total

    def _supply(self, part: Part, reach: Sequence[Reach], left: frozenset[Place]) -> Array:
        """By state of a supply. Links are harmed each for itself, where who is spared is a matter of the lead (of the
        slot) or of the card; or all of them are up and down together from boot to boot."""
        untouched = untouched_by(part)
        ways: list[Array] = []
        for by_card in (False, True):
            links: dict[str | None, list[Reach]] = {}
            for one in reach:
                links.setdefault(self._card[one.place] if by_card else one.place.slot, []).append(one)
            ways.append(self._each_for_itself(links.values(), left, untouched))
        apart = np.logaddexp(ways[0], ways[1]) - math.log(2)
        total: Array = np.logaddexp(apart, self._together(reach, left, untouched)) - math.log(2)
        slots = {one.place.slot for one in reach}
        if slots <= {one.place.slot for one in reach if one.place in self.dirty and one.place not in left}:
            # One that harms none of its links is not bad.
            silence = len(slots) * np.log(untouched)
            rest = np.maximum(-np.expm1(np.minimum(silence - total, 0.0)), 1e-300)
            total = total + np.log(rest) - np.log1p(-np.exp(silence))
        return total

    def _each_for_itself(self, links: Iterable[Sequence[Reach]], left: frozenset[Place], untouched: Array) -> Array:
        total: Array = np.zeros(SHAPE)
        for ones in links:
            if heard := self._heard(ones, left):
                here = _maybe(faults.OWN_DIRECTION, functools.reduce(np.add, heard))
                total = total + np.logaddexp(np.log(untouched), np.log1p(-untouched) + here)
        return total

    def _together(self, reach: Sequence[Reach], left: frozenset[Place], share: Array) -> Array:
        """By state of a supply, whose rate and direction in a boot are the same for all of its links. `share`: of
        links that it does not harm."""
        sessions: dict[int, Array] = {}
        touched, untouched = np.log1p(-share), np.log(share)
        for one in reach:
            if one.place in self.dirty and one.place not in left:
                link = np.logaddexp(touched + self.together[one.place], untouched)
                before = sessions.get(one.place.session)
                sessions[one.place.session] = link if before is None else before + link
        total: Array = np.zeros(SHAPE)
        for part in sessions.values():
            mixed = states.mixed(part.reshape(-1, SHAPE[2]), states.SPREAD).reshape(SHAPE)
            total = total + _maybe(faults.TURNED_TOGETHER, mixed)
        return total

    def pairs(self, reaches: Mapping[Bad, tuple[Reach, ...]]) -> Iterator[tuple[Bad, Bad]]:
        """Two parts that both were on damaged links, those first that may explain most. A second bad part that never
        showed changes nothing, and is not counted."""
        covered = {one: {each.place for each in reach if self.dirty.get(each.place)}
                   for one, reach in reaches.items()}
        rated = []
        for first, second in itertools.combinations([one for one in covered if covered[one]], 2):
            if first.part != second.part:
                rated.append((sum(self.best[place] for place in covered[first] | covered[second]),
                              faults.WEIGHTS[first.part.kind] * faults.WEIGHTS[second.part.kind], first, second))
        rated.sort(key=lambda one: (-round(one[0], 6), -one[1]))
        for _, _, first, second in rated[:PAIRS]:
            yield first, second

    def both(self, first: Part, second: Part, one: tuple[Reach, ...], other: tuple[Reach, ...]) -> float:
        """log of the probability of the looks with two bad parts, against a healthy box."""
        there = {reach.place for reach in other}
        shared = [place for place in dict.fromkeys(reach.place for reach in one)
                  if place in there and self.best.get(place, 0.0) > 0.5]
        shared.sort(key=lambda place: -self.best[place])
        free, rest = shared[:SHARED_AT_MOST], shared[SHARED_AT_MOST:]
        every = []
        for choice in itertools.product((True, False), repeat=len(free)):
            not_one = {place for place, mine in zip(free, choice, strict=True) if not mine} | {
                place for place in rest if sum(choice) * 2 < len(choice)}
            not_other = set(shared) - not_one
            every.append(self.sum(first, one, frozenset(not_one))[0] + self.sum(second, other, frozenset(not_other))[0])
        top = max(every)
        return top + math.log(sum(math.exp(value - top) for value in every) / len(every))


def untouched_by(part: Part) -> Array:
    """[.., behaviour, ..]: share of its links that a bad supply does not harm."""
    unnamed = part.name == UNNAMED_SUPPLY
    result: Array = (1 - (1 - states.SPARES) * (1 - faults.FED_BY_ANOTHER * unnamed))[None, :, None]
    return result


DIRECTION_SHARES: Array = np.array([DIRECTIONS[behaviour.family] for behaviour in states.KINDS]).T[:, :, None]


def _maybe(turned: float, factors: Array) -> Array:
    """Of a direction that is drawn anew with a probability of `turned`."""
    top = np.maximum(factors.max(axis=0), -1e300)  # -inf: what cannot be
    linear = np.exp(factors - top)
    anew = (DIRECTION_SHARES * linear).sum(axis=0)
    result: Array = states.log_of((1 - turned) * linear + turned * anew) + top
    return result


def log_sum(values: Array) -> float:
    """log of the sum of exponentials."""
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).sum()))
