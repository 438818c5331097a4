"""How likely counts of errors are, where a link is bad and where it is healthy. numpy.

Counts are Poisson with a rate that wanders inside a boot (gamma with shape 2, so negative binomial). What is unread
adds nothing. A count that is a lower bound is weighed by the probability of at least as many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from boxcheck.riser.evidence import Look, Way
from boxcheck.riser.suspects import faults
from boxcheck.riser.suspects.states import (
    ASPM_OFF,
    CAPPED,
    COLD,
    LATE,
    QUIET,
    RATES,
    SHAPE,
    SLOWER,
    Array,
    log_of,
)

LATE_SHARES = ((0.55, 3e-4), (0.25, 0.02), (0.2, 0.3))
"""How many Timeouts and Rollovers come with each damaged packet: (probability, ratio). A lost Nak or Ack makes one."""
IDLE = 0.02
"""Damage to idle symbols is seen in part, and their bits count so much."""


def _chances(count: int, mean: Array, least: bool) -> Array:
    """log P of a count (or of at least as many) where the rate wanders: negative binomial with shape 2."""
    kept, ratio = 2.0 / (mean + 2.0), mean / (mean + 2.0)
    if least:
        chance = ratio ** count * (1 + count * kept)
    else:
        chance = np.exp(math.log(count + 1.0) + 2 * np.log(kept) + count * log_of(np.maximum(ratio, 1e-300)))
    return log_of((1 - faults.STRAY) * chance + faults.STRAY * _tail(count, least) + 1e-300)


def _tail(count: int, least: bool) -> float:
    """Counts that come from elsewhere: 1 in most cases, many in few."""
    if count == 0:
        return 1.0 if least else 0.0
    return min(1.0, 1.0 / count) if least else 0.6 / count ** 2


_HEALTHY = np.array(list(faults.HEALTHY_RATES))
_HEALTHY_SHARES = np.log(np.array(list(faults.HEALTHY_RATES.values())))


class Healthy:
    """log P of counts where nothing is wrong, which has one rate in all looks of a boot."""

    def __init__(self) -> None:
        self._by_rate = _HEALTHY_SHARES

    def add(self, count: int, bits: float, least: bool) -> None:
        mean = np.maximum(_HEALTHY * bits, 1e-30)
        if least:
            below = sum(np.exp(-mean + k * np.log(mean) - math.lgamma(k + 1)) for k in range(min(count, 200)))
            chance = np.maximum(0.0, 1 - below)
        else:
            chance = np.exp(-mean + count * np.log(mean) - math.lgamma(count + 1))
        from_elsewhere = faults.STRAY * _tail(count, least)
        self._by_rate = self._by_rate + np.log((1 - faults.STRAY) * chance + from_elsewhere + 1e-300)

    @property
    def log(self) -> float:
        return float(np.logaddexp.reduce(self._by_rate))


def _healthy(count: int, bits: float, least: bool) -> float:
    alone = Healthy()
    alone.add(count, bits, least)
    return alone.log


def exposure(way: Way) -> float:
    return max(way.bits, IDLE * (way.most_bits or 0.0), 1.0)


def decades_off(look: Look) -> Array:
    """[behaviour]: how far below its worst the rate is under the conditions of a look."""
    held = look.conditions
    speed = look.speed_gts or held.speed_gts
    halvings = math.log2(look.full_speed_gts / speed) if speed and look.full_speed_gts else 0.0
    cold = 1.0 if held.hot is False else 0.3 if held.hot is None else 0.0
    return (SLOWER * max(0.0, halvings) + QUIET * (held.neighbours == "quiet") + CAPPED * held.power_capped
            + COLD * cold + ASPM_OFF * held.aspm_off)


def is_live(look: Look, toward: str) -> bool:
    way = next((way for way in look.ways if way.toward == toward), None)
    return way is not None and way.unread is None


def counted(look: Look, found: dict[str, Array], healthy: Mapping[str, Healthy]) -> Array:
    """[behaviour, rate]: of the error counts of one look that have no direction; the others are added to `found`, and
    what they are where nothing is wrong to `healthy`, by direction."""
    rates = RATES[None, :] * 10.0 ** -decades_off(look)[:, None]
    exposures = [exposure(way) for way in look.ways] or [1e11]
    for way in look.ways:
        count, bits = sum(way.received.values()), exposure(way)
        least = bool(way.at_least) or way.unread is not None
        if least and not count:
            continue
        found[way.toward][~LATE] += _chances(count, np.maximum(rates, 1e-16) * bits, least)[~LATE]
        healthy[way.toward].add(count, bits, least)
    mean = rates * (sum(exposures) / len(exposures))
    if look.replays is not None:
        alone = _healthy(look.replays, exposures[0], False)
        found["replayed"] += _chances(look.replays, 0.7 * mean, False) - alone
        found["not replayed"] += _chances(look.replays, 1e-6 * mean, False) - alone
    return _unanswered(look, mean)


def _unanswered(look: Look, mean: Array) -> Array:
    """[behaviour, rate]: of Timeout and Rollover at both ends together, for either end may be the one that waits."""
    # A direction's sender is the receiver of the other one.
    told = [way for way in look.ways
            if sum(way.unanswered.values()) or is_live(look, "host" if way.toward == "card" else "card")]
    count = sum(sum(way.unanswered.values()) for way in told)
    least = any(way.at_least for way in told)
    if not told or (least and not count):
        return np.zeros(SHAPE[1:])
    healthy = _healthy(count, sum(exposure(way) for way in told), least)
    with_damage = np.logaddexp.reduce(
        [math.log(share) + _chances(count, ratio * mean, least) for share, ratio in LATE_SHARES])
    late = _chances(count, mean, least)
    if any(way.unanswered.get("Rollover") for way in told):
        late = late - 3.0  # a packet that failed four times was damaged
    term: Array = np.where(LATE[:, None], late, with_damage) - healthy
    return term
