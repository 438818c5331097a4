"""How long each step is watched and how finely an edge is sought, so that a screening ends in 2 to 4 minutes. Pure.

A step must compare 1e8 bits, which takes 0.4 s where a receiver samples every 64th bit at 16 GT/s, and 6 ms where it
samples all. What time is left over goes into longer looks, which see rarer errors; where even the shortest looks take
too long, edges are left known to 2, 4 or 8 steps instead of 1, and that is said with the result.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.riser.margining.capabilities import BITS_PER_STEP, Capabilities

Mode = Literal["screening", "full"]

AIM_SECONDS = 160.0
"""Of a screening of two receivers of 16 lanes. Each retimer adds as much again."""
MOST_SECONDS = 225.0
"""Beyond it edges are sought more coarsely."""
WHOLE_LINK = 32
"""Lanes times receivers that those two are meant for."""
GOOD_STEPS, ALL_STEPS = 1.5, 2.6
"""Steps of a search that begins at its neighbour's edge: those that work last the whole look, the others end early."""
COUNTING_SECONDS = 0.5
"""Of a receiver that counts samples, whose rate nobody knows."""
SCREENING_MOST, FULL = 1.0, 1.0
"""Seconds a step is watched at most in a screening, and in a full run; pcilmr takes 1 s for every step."""
COARSEST = 8


class Pace(msgspec.Struct, kw_only=True):
    """Shares out the time of a screening. Told of every search as it ends."""

    searches_left: int
    aim_seconds: float
    most_seconds: float
    mode: Mode
    overhead_seconds: float = 0.03
    """Of a step beside the look: set-up and answers of the receiver, as they turned out."""
    fixed_seconds: float | None = None

    def look_seconds(self, least: float, now: float) -> float:
        """How long the next search's steps are watched."""
        if self.fixed_seconds is not None:
            return max(least, self.fixed_seconds)
        if self.mode == "full":
            return max(least, FULL)
        spare = (self.aim_seconds - now) / max(1, self.searches_left) - ALL_STEPS * self.overhead_seconds
        return max(least, min(SCREENING_MOST, spare / GOOD_STEPS))

    def resolution(self, least: float, now: float) -> int:
        """Steps that may stay between the last good and the first bad one."""
        if self.mode == "full":
            return 1
        share = (self.most_seconds - now) / max(1, self.searches_left)
        need = GOOD_STEPS * least + ALL_STEPS * self.overhead_seconds
        if share >= 0.9 * need:
            return 1
        return 2 if share >= 0.6 * need else 4 if share >= 0.4 * need else COARSEST

    def ended(self, searches: int, overhead_seconds_per_step: float) -> None:
        self.searches_left -= searches
        self.overhead_seconds += (overhead_seconds_per_step - self.overhead_seconds) / 8


def directions(found: Capabilities) -> int:
    """1 to 4."""
    return (2 if found.independent_left_right else 1) + (
        0 if not found.voltage else 2 if found.independent_up_down else 1)


def least_seconds(found: Capabilities, voltage: bool, speed_gts: float) -> float:
    """The shortest look that compares 1e8 bits."""
    rate = found.bits_per_second(voltage, speed_gts)
    return COUNTING_SECONDS if rate is None else BITS_PER_STEP / rate


def pace(mode: Mode, lanes: int, found: tuple[Capabilities, ...], parallel: int = 1,
         fixed_seconds: float | None = None) -> Pace:
    """For all receivers of a link."""
    rounds = -(-lanes // parallel)
    scale = max(1.0, lanes * len(found) / WHOLE_LINK)
    return Pace(searches_left=sum(directions(one) for one in found) * rounds, mode=mode,
                aim_seconds=AIM_SECONDS * scale, most_seconds=MOST_SECONDS * scale, fixed_seconds=fixed_seconds)


def expected_seconds(mode: Mode, lanes: int, found: tuple[Capabilities, ...], speed_gts: float,
                     parallel: int = 1) -> float:
    """Before it begins, for the announcement."""
    rounds = -(-lanes // parallel)
    if mode == "full":
        total = 0.0
        for one in found:
            sides = 2 if one.independent_left_right else 1
            total += sides * one.timing_steps * max(FULL, least_seconds(one, False, speed_gts))
            if one.voltage:
                sides = 2 if one.independent_up_down else 1
                total += sides * one.voltage_steps * max(FULL, least_seconds(one, True, speed_gts))
        return total * rounds
    shares = pace(mode, lanes, found, parallel)
    looks = 0.0
    for one in found:
        for voltage in (False, True) if one.voltage else (False,):
            sides = 2 if (one.independent_up_down if voltage else one.independent_left_right) else 1
            look = shares.look_seconds(least_seconds(one, voltage, speed_gts), 0.0)
            looks += sides * rounds * (GOOD_STEPS * look + ALL_STEPS * shares.overhead_seconds)
    return looks
