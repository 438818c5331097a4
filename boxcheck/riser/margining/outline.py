"""The outline of a lane's eye as it was measured, and the weakest lane of a link. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from boxcheck.decode.eye_limits import Grade
from boxcheck.riser.evidence import LaneMargin

ORDER: tuple[Grade, ...] = ("fail", "marginal", "unknown", "pass")
"""The worst first."""


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """The four corners of an eye. Width in unit intervals, or in steps where the receiver gives no scale; height in
    volts, or in steps, or not at all."""

    left: float
    right: float
    up: float | None
    down: float | None
    in_steps: bool
    height_in_steps: bool

    @property
    def width(self) -> float:
        return self.left + self.right

    @property
    def height(self) -> float | None:
        return None if self.up is None or self.down is None else self.up + self.down


def outline(one: LaneMargin) -> Outline | None:
    """None where its width was not measured. A receiver without sides has the same to both."""
    in_steps = one.left_ui is None
    left, right = (one.left_steps, one.right_steps) if in_steps else (one.left_ui, one.right_ui)
    high_steps = one.up_volts is None
    up, down = (one.up_steps, one.down_steps) if high_steps else (one.up_volts, one.down_volts)
    if left is None:
        return None
    return Outline(
        left=float(left), right=float(left if right is None else right), up=None if up is None else float(up),
        down=None if up is None else float(up if down is None else down), in_steps=in_steps,
        height_in_steps=high_steps)


def weakest_of(margins: Sequence[LaneMargin]) -> LaneMargin | None:
    """A lane that fails, then one that is marginal, then the narrowest against the median of its receiver. None where
    none was measured."""
    shares: list[tuple[int, float, float, LaneMargin]] = []
    for receiver in sorted({one.receiver for one in margins}):
        mine = [(outline(one), one) for one in margins if one.receiver == receiver]
        known = [found for found, _ in mine if found is not None]
        middle = median(found.width for found in known) if known else 0.0
        heights = [found.height for found in known if found.height is not None]
        high = median(heights) if heights else 0.0
        for found, one in mine:
            if found is None:
                # A lane may fail by its height alone, when its width was not measured to the end.
                if one.grade in ("fail", "marginal"):
                    shares.append((_rank(one), 1.0, 1.0, one))
                continue
            share = min(
                found.width / (middle or 1.0), found.height / high if found.height is not None and high else 1.0)
            shares.append((_rank(one), share, found.width, one))
    return min(shares, key=lambda row: row[:3])[3] if shares else None


def _rank(one: LaneMargin) -> int:
    """A lane that was not graded may be as good as one that passed."""
    return min(ORDER.index(one.grade), ORDER.index("unknown"))
