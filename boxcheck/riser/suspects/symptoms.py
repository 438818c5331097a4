"""How likely it is that a link lacks lanes or speed, breaks off, does not come up, or is short of margin. numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from boxcheck.riser.evidence import LaneMargin, Look, Retrains
from boxcheck.riser.suspects import faults
from boxcheck.riser.suspects.counts import decades_off
from boxcheck.riser.suspects.states import (
    ABSENT,
    DROPPED,
    KINDS,
    NAMES,
    NARROW,
    ONE_LANE,
    POWER,
    SHAPE,
    SLOW,
    Array,
    log_of,
)


def is_absent(look: Look) -> bool:
    """Whether nothing answered from behind the link all the time of a look."""
    return look.active is False or look.present is False


def is_dropped(look: Look) -> bool:
    """Whether the link broke off while it was looked at, or was gone in one look of several."""
    return look.dropped > 0 or is_absent(look) or any("SDES" in name for name in look.uncorrectable)


def is_narrow(look: Look) -> bool:
    return bool(look.width and look.full_width and look.width < look.full_width)


def is_slow(look: Look) -> bool:
    """By itself, and not because it was told to."""
    return bool(look.conditions.speed_gts is None and look.speed_gts and look.full_speed_gts
                and look.speed_gts < look.full_speed_gts)


def _ratio(seen: bool, chance: Array, healthy: float) -> Array:
    return log_of(chance / healthy) if seen else log_of((1 - chance) / (1 - healthy))


WIDTHS = {2: (0.6, 0.5), 4: (0.38, 0.25)}
"""Part of the lanes that is left -> its probability where a setting shares them out, and where some are lost: a slot is
split into two or four, and what is lost may leave fewer."""
OTHER_WIDTH = (0.02, 0.25)


def symptoms(looks: Sequence[Look], again: bool = False) -> Array:
    """[behaviour]: what shows at all in a boot: nothing answers, lanes or speed are lost, the link breaks off. `again`:
    the link was like that in a boot before, so how much is lost tells nothing new of what takes it."""
    of_healthy = faults.SYMPTOM_OF_HEALTHY
    absent = bool(looks) and all(is_absent(look) for look in looks)
    result = _ratio(absent, ABSENT, of_healthy["absent"])
    if absent:
        return result + _presence(looks)
    widths = [look for look in looks if look.width and look.full_width]
    if widths:
        narrow = any(is_narrow(look) for look in widths)
        result = result + _ratio(narrow, NARROW, of_healthy["narrow"])
        if narrow and not again:
            left = min(look.width / look.full_width for look in widths if look.width and look.full_width)
            split, lost = WIDTHS.get(round(1 / left), OTHER_WIDTH)
            result = result + np.array([math.log(split if name == "split" else lost) for name in NAMES])
    speeds = [look for look in looks if look.conditions.speed_gts is None and look.speed_gts and look.full_speed_gts]
    if speeds:
        slow = any(is_slow(look) for look in speeds)
        result = result + _ratio(slow, SLOW, of_healthy["slow"])
        forced = [look for look in looks if look.conditions.speed_gts and look.full_speed_gts
                  and (look.speed_gts or look.conditions.speed_gts) >= look.full_speed_gts]
        if slow and forced and not again:  # it can do the speed that it was not given
            result = result + np.array([math.log(0.9 if kind.by_setting else 0.15) for kind in KINDS])
    gone = False
    for look in looks:
        harm = 10.0 ** (-0.4 * np.where(POWER, decades_off(look), 0.0))
        if not gone:
            result = result + _ratio(is_dropped(look), DROPPED * harm, of_healthy["dropped"])
        gone = gone or is_dropped(look)  # a card that fell off the bus mostly stays away until the next boot
        if look.retrains is not None:
            result = result + _retrained(look.retrains, any(is_narrow(one) or is_slow(one) for one in looks))
    return result


def _presence(looks: Sequence[Look]) -> Array:
    """What presence detect tells of a card that does not answer."""
    felt = [look.present for look in looks if look.present is not None]
    if not felt:
        return np.zeros(len(KINDS))
    # Felt and no link: it is plugged, so clock, reset, lanes or power. Not felt: a riser's presence wire, the contacts.
    yes = {"trains-not": 0.95, "open": 0.4, "power-dead": 0.9, "switched-off": 0.5, "loose": 0.6}
    chance = [yes.get(name, 0.6) for name in NAMES]
    return np.log(np.array([value if all(felt) else 1 - value for value in chance]) / 0.6)


def _beta_binomial(hits: int, tried: int, first: float, second: float) -> float:
    def beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    return (math.lgamma(tried + 1) - math.lgamma(hits + 1) - math.lgamma(tried - hits + 1)
            + beta(hits + first, tried - hits + second) - beta(first, second))


HEALTHY_TALLY = (0.05, 6.0)
TALLIES = {"signal": (0.4, 2.0), "contact": (0.4, 2.0), "power": (0.15, 6.0)}
"""Family -> beta distribution of the share of trainings that lose lanes, speed or the link."""


def _retrained(tally: Retrains, lost: bool) -> Array:
    """[behaviour]. `lost`: the link lacks lanes or speed in this boot, and so it mostly does each time."""
    bad = max(0, tally.tried - tally.full)
    if tally.tried <= 0:
        return np.zeros(len(KINDS))
    healthy = _beta_binomial(bad, tally.tried, *HEALTHY_TALLY)
    found = []
    for kind in KINDS:
        first, second = TALLIES.get(kind.family, HEALTHY_TALLY)
        if lost and max(kind.narrow, kind.slow) >= 0.5:
            first, second = (20.0, 0.5) if kind.every_time else (4.0, 0.4)
        found.append(_beta_binomial(bad, tally.tried, first, second) - healthy)
    return np.array(found)


def margins_of(margins: Sequence[LaneMargin]) -> Array:
    """[direction, behaviour]: what margins of the lanes tell of each direction."""
    result = np.zeros(SHAPE[:2])
    for rows, receivers in (((0, 2), "FBD"), ((1, 2), "ACE")):
        lanes = [margin for margin in margins if margin.receiver in receivers]
        if not lanes:
            continue
        weak = weak_lanes(lanes)
        good = np.array([{"signal": 0.35, "contact": 0.4, "power": 0.65}.get(kind.family, 0.85) for kind in KINDS])
        share = np.where(len(weak) <= 2, ONE_LANE, 1 - ONE_LANE)
        # That all lanes are short of the minima is said of good receivers too: those that tell one side of the eye.
        chance = good if not weak else (1 - good) * share
        healthy = 0.85 if not weak else 0.03 if len(weak) <= 2 else 0.12
        for row in rows:
            result[row] += np.log(chance / healthy)
    return result


def weak_lanes(lanes: Sequence[LaneMargin]) -> tuple[int, ...]:
    """Lanes below the specification's minima, or far below the others of the same receiver."""
    weak = {margin.lane for margin in lanes if margin.grade in ("marginal", "fail")}
    widths = {margin.lane: (margin.left_ui or 0.0) + (margin.right_ui or 0.0) for margin in lanes
              if margin.left_ui is not None or margin.right_ui is not None}
    if len(widths) >= 4:
        middle = sorted(widths.values())[len(widths) // 2]
        weak |= {lane for lane, width in widths.items() if width < 0.55 * middle}
    return tuple(sorted(weak))
