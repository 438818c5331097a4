"""One step of one or several lanes: the sampler is moved, watched, and judged, and the link is watched beside it.

A step that is in progress may be a lie: when the link leaves L0 some receivers keep their last status. So the link's
own status is read all the while, and No Command must be echoed afterwards; else the step is void and is taken again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.ports import LinkPair, Ports
from boxcheck.riser.margining.commands import NO_COMMAND, Command, step_status
from boxcheck.riser.margining.ready import LinkNow, link_now, reports_active
from boxcheck.riser.margining.wire import COMMAND_SECONDS, POLL_SECONDS, LinkLost, Silent, Wire

SETUP_SECONDS = 2.0
"""The specification allows 200 ms."""
LOOK_POLL_SECONDS = 0.005
RECOVERY_SECONDS = 1.0
VOIDS = 3
"""Steps in a row that may be void before a lane is given up."""

Verdict = Literal["good", "bad", "nak", "void"]


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a step at one lane."""

    verdict: Verdict
    errors: int = 0
    why: str = ""
    """Of a void one."""
    overhead_seconds: float = 0.0
    """Until the look began, or all of it where none did."""


HELD = ((0x10, 0x0243), (0x30, 0x002F))
"""Bits of LnkCtl and LnkCtl2 that stay as they are while margining: ASPM, common clock, autonomous width; target speed,
autonomous speed. A reset of the card takes them, also one that was too short to be seen otherwise."""


class LinkWatch:
    """Whether the link is still what it was when margining began."""

    def __init__(self, ports: Ports, pair: LinkPair) -> None:
        self.ports, self.pair = ports, pair
        now = link_now(ports, pair.port)
        if isinstance(now, Unread):
            raise LinkLost(now.why)
        self.began: LinkNow = now
        self._tells_active = reports_active(ports, pair.port)
        self._held = self._settings()

    def in_recovery(self) -> bool:
        """LnkSta.11 at the port: the link trains. LinkLost where it is down."""
        now = link_now(self.ports, self.pair.port)
        if isinstance(now, Unread):
            raise LinkLost(now.why)
        if now.width == 0 or (self._tells_active and not now.active):
            raise LinkLost(f"the link below {self.pair.port.bdf} went down")
        return now.training

    def _settings(self) -> dict[tuple[Bdf, int], int]:
        found: dict[tuple[Bdf, int], int] = {}
        for end in (self.pair.port, *([self.pair.card] if self.pair.card else [])):
            for offset, mask in HELD:
                word = self.ports.read(end.bdf, end.express + offset, 2)
                found[end.bdf, offset] = -1 if isinstance(word, Unread) else word & mask
        return found

    def down(self) -> bool:
        """The port says that nothing is connected, or does not answer: the lanes' registers are at their defaults."""
        now = link_now(self.ports, self.pair.port)
        return isinstance(now, Unread) or now.width == 0 or (self._tells_active and not now.active)

    def require(self) -> None:
        """LinkLost where speed or width changed, the link is down, or an end does not answer. Waits for a training that
        is under way to end."""
        until = self.ports.seconds() + RECOVERY_SECONDS
        while self.in_recovery() and self.ports.seconds() < until:
            self.ports.sleep(POLL_SECONDS)
        for end in (self.pair.port, *([self.pair.card] if self.pair.card else [])):
            now = link_now(self.ports, end)
            if isinstance(now, Unread):
                raise LinkLost(now.why)
            if (now.speed_code, now.width) != (self.began.speed_code, self.began.width):
                raise LinkLost(f"the link changed to x{now.width} at {now.speed_gts or 0:g} GT/s, from "
                               f"x{self.began.width} at {self.began.speed_gts or 0:g}")
            if now.training:
                raise LinkLost(f"the link below {end.bdf} trains without an end")
        for (bdf, offset), value in self._settings().items():
            if value != self._held[bdf, offset]:
                raise LinkLost(f"{bdf} was reset, or somebody changed its link settings (its "
                               f"{'LnkCtl' if offset == 0x10 else 'LnkCtl2'} is no longer as it was set)")


def take(wire: Wire, watch: LinkWatch, steps: Mapping[int, Command], look_seconds: float, limit: int,
         damages_data: bool = False) -> dict[int, Tried]:
    """Steps lanes (by the number of their registers) together, each until its look is over or it counted more errors
    than `limit`. Each lane is in No Command before and after. `damages_data`: the receiver has no sampler of its own,
    so a link that must recover is a step that failed."""
    ports, tried = wire.ports, dict[int, Tried]()
    began = ports.seconds()
    for lane, command in steps.items():
        wire.write(lane, command)
    looking: dict[int, float] = {}
    written = dict.fromkeys(steps, began)
    again = set[int]()

    def end(lane: int, verdict: Verdict, errors: int = 0, why: str = "") -> None:
        tried[lane] = Tried(verdict=verdict, errors=errors, why=why,
                            overhead_seconds=looking.get(lane, ports.seconds()) - began)

    while len(tried) < len(steps):
        for lane, command in steps.items():
            if lane in tried:
                continue
            word, now = wire.status(lane), ports.seconds()
            if not command.echoed_by(word):
                if lane in looking:
                    end(lane, "void", why="the receiver stopped margining by itself")
                elif now - written[lane] >= COMMAND_SECONDS:
                    if lane in again:
                        end(lane, "void", why=f"no answer to a step in 2 tries of {COMMAND_SECONDS * 1000:.0f} ms")
                    else:
                        again.add(lane)
                        wire.write(lane, NO_COMMAND)
                        wire.await_echo(lane, NO_COMMAND)
                        wire.write(lane, command)
                        written[lane] = ports.seconds()
                continue
            status = step_status(word)
            if status.state == "nak":
                end(lane, "nak")
            elif status.state == "too-many-errors" or (status.state == "in-progress" and status.errors > limit):
                end(lane, "bad", status.errors)
            elif status.state == "setting-up":
                if now - written[lane] >= SETUP_SECONDS:
                    end(lane, "void", why=f"the receiver was still setting up a step after {SETUP_SECONDS:g} s")
            elif now - looking.setdefault(lane, now) >= look_seconds - 1e-9:
                end(lane, "good", status.errors)
        if len(tried) < len(steps) and watch.in_recovery():
            for lane in steps.keys() - tried.keys():
                end(lane, "bad" if damages_data else "void", why="the link went through Recovery")
        if len(tried) < len(steps):
            ports.sleep(_pause(looking, steps.keys() - tried.keys(), ports.seconds(), look_seconds))
    for lane in steps:
        try:
            wire.done(lane)
        except Silent as silent:
            tried[lane] = Tried(verdict="void", why=f"{silent}: its answer may be an old one",
                                overhead_seconds=ports.seconds() - began)
    watch.require()
    return tried


def _pause(looking: Mapping[int, float], left: set[int], now: float, look_seconds: float) -> float:
    """Short while an answer is due, longer while steps are only watched, never beyond the end of a look."""
    if any(lane not in looking for lane in left):
        return POLL_SECONDS / 2
    ends = min(looking[lane] + look_seconds for lane in left)
    since = now - max(looking[lane] for lane in left)
    return min(max(POLL_SECONDS, since / 10), LOOK_POLL_SECONDS, max(ends - now, 1e-6))
