"""A curve in characters: each column is a stretch of time, from its lowest to its highest value, so that no peak and no
gap is lost. Braille dots where the terminal has them (two columns and four lines a character), else `#`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boxcheck.store.series import Stretch

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a Braille pattern by column and line from above (Unicode, block 2800)."""


JOINED_SECONDS = 3.0
"""Readings come once a second: what is nearer than that is one curve, what is farther is a gap."""


def joined(parts: Sequence[Stretch]) -> list[Stretch]:
    """With a line from reading to reading. Nothing is put where something could not be read, nor in a gap."""
    found, last = list(parts), -1
    for at, one in enumerate(parts):
        if one.low is None or one.high is None:
            if one.unread:
                last = -1
            continue
        if 0 <= last < at - 1 and one.begin - parts[last].end <= JOINED_SECONDS:
            before = _middle(parts[last])
            for place in range(last + 1, at):
                value = before + (_middle(one) - before) * (place - last) / (at - last)
                found[place] = msgspec.structs.replace(parts[place], low=value, high=value)
        last = at
    return found


def _middle(one: Stretch) -> float:
    return ((one.low or 0.0) + (one.high or 0.0)) / 2


def plot(stretches: Sequence[Stretch], low: float, high: float, height: int, *, ascii: bool) -> list[str]:
    """`height` lines; with Braille, two stretches a character. Nothing is drawn where nothing was read."""
    across, down = (1, 1) if ascii else (2, 4)
    lines = height * down
    span = (high - low) or 1.0
    width = -(-len(stretches) // across)
    cells = [[0] * width for _ in range(height)]
    for at, one in enumerate(stretches):
        if one.low is None or one.high is None:
            continue
        bottom, top = (
            min(lines - 1, max(0, int((value - low) / span * (lines - 1) + 0.5))) for value in (one.low, one.high))
        for level in range(bottom, top + 1):
            line = lines - 1 - level
            cells[line // down][at // across] |= 1 if ascii else DOTS[at % 2][line % 4]
    return ["".join((" " if not cell else "#" if ascii else chr(0x2800 + cell)) for cell in row) for row in cells]
