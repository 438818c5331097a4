"""The smallest eyes that PCI Express allows a receiver, and how a measured eye compares with them. Values only.

The minima are the eyes that a receiver must work with (PCI Express Base Specification 5.0, section 8.4.2); an eye that
is measured from inside the receiver may be smaller by what it adds itself, so this is no test of compliance.
Recommended are the values of the PHY Test Specification 5.0 for transmitters, as pcilmr(8) uses them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Grade = Literal["pass", "marginal", "fail", "unknown"]

SOURCE = "minimum: PCI Express Base 5.0 section 8.4.2; recommended: PHY Test Specification 5.0"


class EyeLimits(msgspec.Struct, frozen=True):
    """Of the whole eye: width in ps, height in mV."""

    width_minimum: float
    width_recommended: float
    height_minimum: float
    height_recommended: float


EYE_LIMITS: dict[float, EyeLimits] = {
    16.0: EyeLimits(18.75, 23.75, 15.0, 21.0),
    32.0: EyeLimits(9.375, 10.1565, 15.0, 19.75),
}
"""GT/s -> limits. 0.30 of a unit interval at least; 0.38 and 0.325 are recommended. None are known for 64 GT/s."""

UI_PICOSECONDS = {16.0: 62.5, 32.0: 31.25, 64.0: 31.25}
"""A unit interval; 64 GT/s sends two bits in each."""

WEAK_SHARE = 0.75
"""A lane below this share of its receiver's median stands out. Steps are 3 to 10 % of an eye, and lanes of sound links
lie within two steps of each other."""
VOLTAGE_REQUIRED_GTS = 32.0
"""Voltage margining is optional below."""


def grade_of(least: float, most: float | None, minimum: float, recommended: float, slack: float = 1e-6) -> Grade:
    """`least`, `most`: what the eye is at least and at most (None: no bound). Unknown where the minimum lies between.
    `slack`: what values may have lost to rounding."""
    if least >= recommended - slack:
        return "pass"
    if most is not None and most < minimum - slack:
        return "fail"
    if least >= minimum - slack:
        return "marginal"
    return "unknown"


def worst_grade(grades: Iterable[Grade]) -> Grade:
    """Fail, then unknown, then marginal."""
    order: tuple[Grade, ...] = ("fail", "unknown", "marginal", "pass")
    return min(grades, key=order.index, default="unknown")
