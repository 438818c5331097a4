"""Which step to try next, until the last one that still works is known. Pure.

A screening looks near where the lane before had its edge: lanes of one link are alike, so two steps mostly do (the last
good, the first bad). It takes for granted that what fails at n fails beyond n; a sweep takes nothing for granted and
tries each step outward until one fails.
"""

from __future__ import annotations

from collections.abc import Generator

import msgspec


class Edge(msgspec.Struct, frozen=True):
    """Where the eye ends in one direction: at `steps` at least, before `ceiling`."""

    steps: int
    """The last step that worked; 0: not even the first one did, or none below `ceiling` was tried."""
    ceiling: int | None
    """The first that did not. None: all of the receiver's steps worked, so the eye is at least that large."""


Search = Generator[int, bool, Edge]
"""Yields a step, is sent whether it worked."""


def sweep(most: int) -> Search:
    """Every step from 1 on."""
    for steps in range(1, most + 1):
        if not (yield steps):
            return Edge(steps - 1, steps)
    return Edge(most, None)


def screen(most: int, guess: int | None = None, resolution: int = 1) -> Search:
    """Few steps. `guess`: the last good step of a lane before; `resolution`: how wide a gap may stay between the last
    good and the first bad step."""
    low, high = 0, most + 1
    at, stride = (most + 1) // 2 if guess is None else min(max(guess, 1), most), resolution
    up: bool | None = None
    while high - low > resolution and high - low > 1:
        worked = yield at
        if worked:
            low = at
        else:
            high = at
        if guess is None or (up is not None and worked != up):
            guess = None
            at = (low + high) // 2
            continue
        up = worked
        at = min(low + stride, high - 1) if worked else max(high - stride, low + 1)
        stride *= 2
    return Edge(low, high if high <= most else None)
