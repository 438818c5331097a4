"""The states in which a part may be bad, with their probabilities beforehand, as arrays. numpy.

A state is (which direction is damaged, behaviour, errors per bit); arrays are in that order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from boxcheck.riser.suspects import faults
from boxcheck.riser.suspects.faults import ALSO, BEHAVIOURS, DIRECTIONS, SHARES

Array: TypeAlias = npt.NDArray[np.float64]

NAMES = tuple(BEHAVIOURS)
KINDS = tuple(BEHAVIOURS.values())
LOG_RATES = (-math.inf, *(step / 2 for step in range(-30, -9)))
"""Decades of errors per bit; the first is none at all."""
NONE = 0
SHAPE = (3, len(KINDS), len(LOG_RATES))


def _column(name: str) -> Array:
    return np.array([float(getattr(kind, name)) for kind in KINDS])


SLOWER, QUIET, CAPPED, COLD, ASPM_OFF = (_column(name) for name in ("slower", "quiet", "capped", "cold", "aspm_off"))
ABSENT, NARROW, SLOW, DROPPED = (_column(name) for name in ("absent", "narrow", "slow", "dropped"))
ONE_LANE, SPARES = _column("one_lane"), _column("spares")
LATE = np.array([kind.late_only for kind in KINDS])
POWER = np.array([kind.family == "power" for kind in KINDS])
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
        none = {"always": 0.0, "maybe": 0.35, "seldom": 0.8, "none": 1.0}[kind.errors]
        row = (1 - none) * level
        row[NONE] = none
        rows.append(row)
    return np.array(rows)


def log_of(value: Array) -> Array:
    with np.errstate(divide="ignore"):
        result: Array = np.log(value)
    return result


RATE_PRIOR = _prior_of_rates()
PRIOR: dict[str, Array] = {}
"""Kind of part -> log probability of each state."""
for _kind, _shares in SHARES.items():
    _share = np.array([_shares.get(name, 0.0 if kind.family == "setting" or name == "aspm" else ALSO.get(_kind, 0.0))
                       for name, kind in zip(NAMES, KINDS, strict=True)])
    _directions = np.array([DIRECTIONS[kind.family] for kind in KINDS]).T
    PRIOR[_kind] = log_of(_directions[:, :, None] * (_share / _share.sum())[None, :, None] * RATE_PRIOR[None, :, :])


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


def shifted(factors: Array, decades: float) -> Array:
    """[behaviour, rate] at rates that are lower by so much."""
    steps = round(2 * decades)
    lower = np.concatenate([np.repeat(factors[:, 1:2], steps, axis=1), factors[:, 1:-steps]], axis=1)
    return np.concatenate([factors[:, :1], lower], axis=1)


def mixed(factors: Array, spread: Array) -> Array:
    """[behaviour, rate]: factors of the rate in a boot, as factors of the rate that it is drawn around."""
    top = factors.max(axis=1, keepdims=True)
    result: Array = log_of(np.exp(factors - top) @ spread.T) + top
    return result
