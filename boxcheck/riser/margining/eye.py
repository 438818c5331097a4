"""What margining found: the eye of each lane at each receiver, in steps, and in units where a receiver gives scales."""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.decode.eye_limits import UI_PICOSECONDS
from boxcheck.model import Bdf
from boxcheck.riser.evidence import LaneMargin
from boxcheck.riser.margining.capabilities import Capabilities
from boxcheck.riser.margining.commands import Receiver
from boxcheck.riser.margining.plan import Mode
from boxcheck.riser.margining.ready import Obstacle
from boxcheck.stress.link_routes import Toward

Direction = Literal["left", "right", "up", "down"]
DIRECTIONS: tuple[Direction, ...] = ("left", "right", "up", "down")

Stop = Literal[
    "errors",  # the next step counted more errors than the limit
    "range",  # the receiver has no further step: the eye is at least that large
    "nak",  # the receiver does not do the next step, though it reports to have it
]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """The edge of an eye in one direction."""

    steps: int
    """The last step that stayed within the error limit."""
    ceiling: int | None
    """The first that did not; the edge is below it. None: all steps did."""
    stop: Stop
    bits: float | None = None
    """Compared at `steps`, at the reported rate; None where the receiver tells none."""
    tried: int = 0
    """Steps that were tried."""

    @property
    def most(self) -> int | None:
        """The last step that may have worked. None: no bound, since nothing failed that the receiver would do."""
        return None if self.ceiling is None or self.stop == "nak" else self.ceiling - 1


class LaneEye(msgspec.Struct, frozen=True, kw_only=True):
    """One lane at one receiver."""

    lane: int
    sides: dict[Direction, Side] = {}
    """Without those that the receiver does not know: a receiver without sides has `left` alone, meant for both."""
    why: str | None = None
    """Why it was not measured to its end."""


class ReceiverEyes(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver."""

    receiver: Receiver
    toward: Toward
    where: str
    """`Rx F, in the card: bits toward the card`."""
    speed_gts: float
    capabilities: Capabilities | None = None
    """None where it did not tell."""
    lanes: tuple[LaneEye, ...] = ()
    mirrored: bool = False
    """The registers of lane n are those of the last lane less n: the lanes are reversed, and not all are connected."""
    skipped: str | None = None
    """Why it was not measured."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    resolution: int = 1
    """The widest gap that was left between the last good and the first bad step."""

    def lane(self, number: int) -> LaneEye | None:
        return next((eye for eye in self.lanes if eye.lane == number), None)


class Margins(msgspec.Struct, frozen=True, kw_only=True):
    """Lane margining of one link."""

    port: Bdf
    card: Bdf | None
    slot: str | None = None
    mode: Mode = "screening"
    speed_gts: float | None = None
    width: int | None = None
    error_limit: int = 0
    """Errors that a step may have had to be called good."""
    max_width: int | None = None
    """Lanes that the port has: more than `width` on a link that came up narrow."""
    retimers: int = 0
    receivers: tuple[ReceiverEyes, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    """Why it was not done, or why one end's receivers are missing."""
    stopped: str | None = None
    """Why it ended early: what was not measured by then is unknown."""
    not_restored: str | None = None
    """What was not given back as it was, and what to do."""
    notes: tuple[str, ...] = ()
    discard_errors: bool = False
    """Stepping damaged live data (it was forced): errors counted meanwhile say nothing about the link."""
    seconds: float = 0.0

    def lane_margins(self) -> tuple[LaneMargin, ...]:
        """As `evidence.Look.margins` keeps them."""
        from boxcheck.riser.margining.grades import graded  # grades are judged from what is here

        return tuple(graded(eyes, eye).margin for eyes in self.receivers for eye in eyes.lanes)


def width_steps(found: Capabilities, eye: LaneEye) -> tuple[int, int | None] | None:
    """(at least, at most) steps of the whole width: both sides, or one doubled where the receiver knows no sides and
    does not report the whole. None in place of the latter: no bound. None: not measured."""
    left, right = eye.sides.get("left"), eye.sides.get("right")
    if left is None or (found.independent_left_right and right is None):
        return None
    if right is not None and found.independent_left_right:
        return left.steps + right.steps, _sum(left, right)
    factor = 1 if found.whole_eye else 2
    return factor * left.steps, None if left.most is None else factor * left.most


def height_steps(found: Capabilities, eye: LaneEye) -> tuple[int, int | None] | None:
    """The same of its height. None as well where the receiver has no voltage margining."""
    up, down = eye.sides.get("up"), eye.sides.get("down")
    if up is None or (found.independent_up_down and down is None):
        return None
    if down is not None and found.independent_up_down:
        return up.steps + down.steps, _sum(up, down)
    return 2 * up.steps, None if up.most is None else 2 * up.most


def _sum(one: Side, other: Side) -> int | None:
    return None if one.most is None or other.most is None else one.most + other.most


def picoseconds(found: Capabilities, steps: int, speed_gts: float) -> float | None:
    """None where the receiver reports no scale, or at a speed without a known unit interval."""
    ui = found.ui(steps)
    unit = UI_PICOSECONDS.get(speed_gts)
    return None if ui is None or unit is None else ui * unit


def millivolts(found: Capabilities, steps: int, speed_gts: float) -> float | None:
    volts = found.volts(steps, speed_gts)
    return None if volts is None else volts * 1000
