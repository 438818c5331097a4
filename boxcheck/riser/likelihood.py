"""How likely the looks at one link in one boot are, for every way in which a part on it may be bad, against a healthy
link. numpy; loaded where suspects are weighed.

A state is (which direction is damaged, behaviour, errors per bit). Counts are Poisson with a rate that wanders inside
a boot (gamma with shape 2, so negative binomial), and the rate differs up to 100-fold from boot to boot. What is unread
adds nothing. A count that is a lower bound is weighed by the probability of at least as many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from boxcheck.riser import faults
from boxcheck.riser.evidence import LaneMargin, Look, Retrains, Way
from boxcheck.riser.faults import BEHAVIOURS, DIRECTIONS, SHARES

Array: TypeAlias = npt.NDArray[np.float64]

NAMES = tuple(BEHAVIOURS)
KINDS = tuple(BEHAVIOURS.values())
LOG_RATES = (-math.inf, *(step / 2 for step in range(-30, -9)))
"""Decades of errors per bit; the first is none at all."""
NONE = 0
SHAPE = (3, len(KINDS), len(LOG_RATES))
LATE_SHARES = ((0.55, 3e-4), (0.25, 0.02), (0.2, 0.3))
"""How many Timeouts and Rollovers come with each damaged packet: (probability, ratio). A lost Nak or Ack makes one."""
IDLE = 0.02
"""Damage to idle symbols is seen in part, and their bits count so much."""


def _column(name: str) -> Array:
    return np.array([float(getattr(kind, name)) for kind in KINDS])


SLOWER, QUIET, CAPPED, COLD, ASPM_OFF = (_column(name) for name in ("slower", "quiet", "capped", "cold", "aspm_off"))
ABSENT, NARROW, SLOW, DROPPED = (_column(name) for name in ("absent", "narrow", "slow", "dropped"))
ONE_LANE = _column("one_lane")
LATE = np.array([kind.late_only for kind in KINDS])
POWER = np.array([kind.family == "power" for kind in KINDS])
DAMAGES = np.array([kind.errors != "none" and not kind.late_only for kind in KINDS])
RATES = np.array([0.0 if math.isinf(decade) else 10.0 ** decade for decade in LOG_RATES])


def _prior_of_rates() -> Array:
    """[behaviour, rate]: level over the decades in which a link is bad and still up, thinner at both ends."""
    # What is far below the 1e-12 that the specification allows is no fault.
    level = np.array([0.0, *(min(1.0, 0.1 + (decade + 13.5) / 1.5) if decade < -12 else
                             1.0 if decade < -8 else 0.4 for decade in LOG_RATES[1:])])
    level = np.clip(level, 0.0, None)
    level /= level.sum()
    rows = []
    for kind in KINDS:
        none = {"always": 0.0, "maybe": 0.35, "none": 1.0}[kind.errors]
        row = (1 - none) * level
        row[NONE] = none
        rows.append(row)
    return np.array(rows)


def _log(value: Array) -> Array:
    with np.errstate(divide="ignore"):
        result: Array = np.log(value)
    return result


RATE_PRIOR = _prior_of_rates()
PRIOR: dict[str, Array] = {}
"""Kind of part -> log probability of each state."""
for _kind, _shares in SHARES.items():
    _share = np.array([_shares.get(name, 0.0) for name in NAMES])
    _directions = np.array([DIRECTIONS[kind.family] for kind in KINDS]).T
    PRIOR[_kind] = _log(_directions[:, :, None] * (_share / _share.sum())[None, :, None] * RATE_PRIOR[None, :, :])


def _spread(shares: Mapping[float, float] = faults.DECADES_BETWEEN_BOOTS) -> Array:
    """[rate of the part, rate in one boot]."""
    size = len(LOG_RATES)
    matrix = np.zeros((size, size))
    matrix[NONE, NONE] = 1.0
    for row in range(1, size):
        for decades, share in shares.items():
            matrix[row, min(size - 1, max(1, row + round(2 * decades)))] += share
    return matrix


SPREAD = _spread()
SPREAD_BETWEEN_LINKS = _spread(faults.DECADES_BETWEEN_LINKS)
SPREAD_PLUGGED = (1 - faults.CHANGED) * SPREAD + faults.CHANGED * SPREAD @ SPREAD


def _shifted(factors: Array, decades: float) -> Array:
    """[behaviour, rate] at rates that are lower by so much."""
    steps = round(2 * decades)
    lower = np.concatenate([np.repeat(factors[:, 1:2], steps, axis=1), factors[:, 1:-steps]], axis=1)
    return np.concatenate([factors[:, :1], lower], axis=1)


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
        little = [np.logaddexp(math.log(1 - share), math.log(share) + _shifted(one, decades))
                  for one in (self.card, self.host)]
        card, host = self.card + self.rest, self.host + self.replays[1]
        rows = (mixed(card + self.replays[0] + little[1], spread), mixed(host + self.rest + little[0], spread),
                mixed(card, spread) + mixed(host, spread))
        result: Array = np.array(rows) + self.margins[:, :, None]
        return result


def mixed(factors: Array, spread: Array) -> Array:
    """[behaviour, rate]: factors of the rate in a boot, as factors of the rate that it is drawn around."""
    top = factors.max(axis=1, keepdims=True)
    result: Array = _log(np.exp(factors - top) @ spread.T) + top
    return result


def _chances(count: int, mean: Array, least: bool) -> Array:
    """log P of a count (or of at least as many) where the rate wanders: negative binomial with shape 2."""
    kept, ratio = 2.0 / (mean + 2.0), mean / (mean + 2.0)
    if least:
        chance = ratio ** count * (1 + count * kept)
    else:
        chance = np.exp(math.log(count + 1.0) + 2 * np.log(kept) + count * _log(np.maximum(ratio, 1e-300)))
    return _log((1 - faults.STRAY) * chance + faults.STRAY * _tail(count, least) + 1e-300)


def _tail(count: int, least: bool) -> float:
    """Counts that come from elsewhere: 1 in most cases, many in few."""
    if count == 0:
        return 1.0 if least else 0.0
    return min(1.0, 1.0 / count) if least else 0.6 / count ** 2


def _healthy(count: int, bits: float, least: bool) -> float:
    """log P of a count where nothing is wrong."""
    chance = 0.0
    for rate, share in faults.HEALTHY_RATES.items():
        mean = rate * bits
        if least:
            below = sum(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) if mean else float(k == 0)
                        for k in range(min(count, 200)))
            chance += share * max(0.0, 1 - below)
        elif mean:
            chance += share * math.exp(-mean + count * math.log(mean) - math.lgamma(count + 1))
        else:
            chance += share * (count == 0)
    return math.log((1 - faults.STRAY) * chance + faults.STRAY * _tail(count, least) + 1e-300)


def _exposure(way: Way) -> float:
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


def factors(looks: Sequence[Look]) -> Factors:
    """Of all looks at one link in one boot."""
    found = {name: np.zeros(SHAPE[1:]) for name in ("card", "host", "replays-card", "replays-host")}
    rest = np.repeat(_symptoms(looks)[:, None], len(LOG_RATES), axis=1)
    margins = np.zeros(SHAPE[:2])
    for look in looks:
        if not is_absent(look):
            rest = rest + _counted(look, found)
            margins = margins + _margins(look.margins)
    if any(is_narrow(look) for look in looks):
        for toward, one in found.items():
            found[toward] = np.logaddexp(math.log(faults.LANE_LEFT_OUT) + one[:, NONE:NONE + 1],
                                         math.log(1 - faults.LANE_LEFT_OUT) + one)
    return Factors(found["card"], found["host"], rest, (found["replays-card"], found["replays-host"]), margins)


def _counted(look: Look, found: dict[str, Array]) -> Array:
    """[behaviour, rate]: of the error counts of one look that have no direction; the others are added to `found`."""
    rates = RATES[None, :] * 10.0 ** -decades_off(look)[:, None]
    exposures = [_exposure(way) for way in look.ways] or [1e11]
    for way in look.ways:
        count, bits = sum(way.received.values()), _exposure(way)
        least = bool(way.at_least) or way.unread is not None
        if least and not count:
            continue
        noisy = _chances(count, np.maximum(rates, 1e-16) * bits, least) - _healthy(count, bits, least)
        if count and way.lanes and (look.width or 16) >= 4:
            noisy = noisy + np.log((ONE_LANE if len(way.lanes) <= 2 else 1 - ONE_LANE) / 0.5)[:, None]
        found[way.toward][~LATE] += noisy[~LATE]
    mean = rates * (sum(exposures) / len(exposures))
    if look.replays is not None:
        # A driver counts what its card sent again, and some what its card asked for again (amdgpu: Naks both ways).
        healthy = _healthy(look.replays, exposures[0], False)
        full, hardly = _chances(look.replays, 0.7 * mean, False), _chances(look.replays, 1e-3 * mean, False)
        for toward, share in (("card", 0.4), ("host", 0.9)):
            found[f"replays-{toward}"] += np.logaddexp(math.log(share) + full, math.log(1 - share) + hardly) - healthy
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
    healthy = _healthy(count, sum(_exposure(way) for way in told), least)
    with_damage = np.logaddexp.reduce(
        [math.log(share) + _chances(count, ratio * mean, least) for share, ratio in LATE_SHARES])
    late = _chances(count, mean, least)
    if any(way.unanswered.get("Rollover") for way in told):
        late = late - 3.0  # a packet that failed four times was damaged
    term: Array = np.where(LATE[:, None], late, with_damage) - healthy
    return term


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
    return _log(chance / healthy) if seen else _log((1 - chance) / (1 - healthy))


def _symptoms(looks: Sequence[Look]) -> Array:
    """[behaviour]: what shows at all in a boot: nothing answers, lanes or speed are lost, the link breaks off."""
    of_healthy = faults.SYMPTOM_OF_HEALTHY
    absent = bool(looks) and all(is_absent(look) for look in looks)
    result = _ratio(absent, ABSENT, of_healthy["absent"])
    if absent:
        return result + _presence(looks)
    widths = [look for look in looks if look.width and look.full_width]
    if widths:
        narrow = any(is_narrow(look) for look in widths)
        result = result + _ratio(narrow, NARROW, of_healthy["narrow"])
        if narrow:
            exact = any(look.width is not None and look.full_width is not None
                        and look.width * 2 == look.full_width for look in widths)
            # Lanes are lost by halves too, since widths are powers of two; a dead lane 0 to 3 leaves less.
            result = result + np.array([
                math.log(0.85 if exact else 0.15) if name == "split" else math.log(0.6 if exact else 0.4)
                for name in NAMES])
    speeds = [look for look in looks if look.conditions.speed_gts is None and look.speed_gts and look.full_speed_gts]
    if speeds:
        slow = any(is_slow(look) for look in speeds)
        result = result + _ratio(slow, SLOW, of_healthy["slow"])
        forced = [look for look in looks if look.conditions.speed_gts and look.full_speed_gts
                  and (look.speed_gts or look.conditions.speed_gts) >= look.full_speed_gts]
        if slow and forced:  # it can do the speed that it was not given
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
            first, second = (20.0, 0.5) if kind.by_setting else (4.0, 0.4)
        found.append(_beta_binomial(bad, tally.tried, first, second) - healthy)
    return np.array(found)


def _margins(margins: Sequence[LaneMargin]) -> Array:
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
