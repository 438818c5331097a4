"""How likely the looks at one link in one boot are, for every way in which a part on it may be bad, against a healthy
link. numpy.

The rate of a bad part differs up to 100-fold from boot to boot, so the factors of a boot are spread over the rates that
the part may have over all boots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from boxcheck.riser.evidence import Look
from boxcheck.riser.suspects import faults
from boxcheck.riser.suspects.counts import Healthy, counted
from boxcheck.riser.suspects.states import (
    ABSENT,
    DROPPED,
    LATE,
    LOG_RATES,
    NARROW,
    NONE,
    ONE_LANE,
    RATES,
    SHAPE,
    SLOW,
    SPREAD,
    SPREAD_PLUGGED,
    Array,
    mixed,
    shifted,
)
from boxcheck.riser.suspects.symptoms import is_absent, is_narrow, margins_of, symptoms


class Factors(NamedTuple):
    """log P(looks | state) - log P(looks | healthy) of one link in one boot, by the rate in that boot."""

    card: Array
    """[behaviour, rate] of what was counted toward the card."""
    host: Array
    rest: Array
    """[behaviour, rate] of all that has no direction."""
    replays: tuple[Array, Array]
    """[behaviour, rate] of the driver's replay counter, where bits toward the card are damaged, or toward the host."""
    margins: Array
    """[direction, behaviour]."""

    def between_boots(self, plugged: bool) -> Array:
        """[direction, behaviour, rate of the part over all boots]. Each direction has its own rate in each boot."""
        return self.spread_by(SPREAD_PLUGGED if plugged else SPREAD)

    def spread_by(self, spread: Array) -> Array:
        """[direction, behaviour, rate], with each direction's rate drawn from a row of `spread`."""
        share, decades = faults.OTHER_DIRECTION
        little = [np.logaddexp(math.log(1 - share), math.log(share) + shifted(one, decades))
                  for one in (self.card, self.host)]
        card, host = self.card + self.rest, self.host + self.replays[1]
        rows = (mixed(card + self.replays[0] + little[1], spread), mixed(host + self.rest + little[0], spread),
                mixed(card, spread) + mixed(host, spread))
        result: Array = np.array(rows) + self.margins[:, :, None]
        return result


def factors(looks: Sequence[Look], again: bool = False) -> Factors:
    """Of all looks at one link in one boot. `again`: as in `symptoms`."""
    found = {name: np.zeros(SHAPE[1:]) for name in ("card", "host", "replayed", "not replayed")}
    rest = np.repeat(symptoms(looks, again)[:, None], len(LOG_RATES), axis=1)
    healthy: dict[str, Healthy] = {"card": Healthy(), "host": Healthy()}
    margins = np.zeros(SHAPE[:2])
    for look in looks:
        if not is_absent(look):
            rest = rest + counted(look, found, healthy)
            margins = margins + margins_of(look.margins)
    for way, nothing_wrong in healthy.items():
        found[way][~LATE] -= nothing_wrong.log
    for toward in ("card", "host"):
        # Once a boot: which lanes are bad is the same in all of its looks.
        lanes = {lane for look in looks for way in look.ways if way.toward == toward and way.received
                 for lane in way.lanes}
        if lanes:
            found[toward][~LATE] += np.log((ONE_LANE if len(lanes) <= 2 else 1 - ONE_LANE) / 0.5)[~LATE, None]
    if any(is_narrow(look) for look in looks):
        for toward, one in found.items():
            found[toward] = np.logaddexp(math.log(faults.LANE_LEFT_OUT) + one[:, NONE:NONE + 1],
                                         math.log(1 - faults.LANE_LEFT_OUT) + one)
    # A driver counts what its card sent again, and some what its card asked for again (amdgpu: Naks both ways).
    card, host = (np.logaddexp(math.log(share) + found["replayed"], math.log(1 - share) + found["not replayed"])
                  for share in (0.4, 0.9))
    return Factors(found["card"], found["host"], rest, (card, host), margins)


def chance_of_damage(bits: float, live: tuple[bool, bool], plugged: bool) -> Array:
    """[direction, behaviour, rate]: probability that the next boot shows a link through a bad part as damaged, if so
    many bits cross it and these directions (toward the card, toward the host) are read."""
    seen = np.zeros(SHAPE)
    mean = RATES * bits
    kept, ratio = 2.0 / (mean + 2.0), mean / (mean + 2.0)
    two_or_more = ratio ** 2 * (1 + 2 * kept)
    late = (0.1 * mean / (0.1 * mean + 2.0)) ** 2
    for row, readable in enumerate((live[0], live[1], any(live))):
        seen[row] = np.where(LATE[:, None], two_or_more[None] if any(live) else 0.0,
                             np.where(readable, two_or_more, late if any(live) else 0.0)[None])
    spread = SPREAD_PLUGGED if plugged else SPREAD
    seen = seen @ spread.T
    calm = (1 - ABSENT) * (1 - NARROW) * (1 - SLOW) * (1 - DROPPED)
    result: Array = 1 - (1 - seen) * calm[None, :, None]
    return result
