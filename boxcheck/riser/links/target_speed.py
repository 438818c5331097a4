"""Runs a link at each speed that both ends can do, and back: clean at a lower speed and dirty at the full one is the
signal's doing, dirty at every speed is contact or power.

Needs   root; config space is written only where the kernel has no control of its own (Linux 6.13, CONFIG_PCIE_THERMAL)
By hand cat /sys/class/thermal/cooling_device*/type; echo 1 | sudo tee /sys/class/thermal/cooling_device7/cur_state

Drivers of GPUs set speeds as they like. So a forced speed counts only where it was seen while the card was busy, and
nobody rewrote the target meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.host.config_space import may_write
from boxcheck.model import Unread
from boxcheck.riser.evidence import Look
from boxcheck.riser.links.hold import Held
from boxcheck.riser.links.link_pair import speed_code
from boxcheck.riser.links.link_state import Now, link_now
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.links.speed_control import set_by_kernel, set_by_register, target_code
from boxcheck.riser.links.training import Training, settle, train

How = Literal["kernel", "registers"]
Measure = Callable[[Callable[[], None]], Look]
"""Loads the link and says what was seen; calls what it is given a few times while the load runs."""


class Forced(msgspec.Struct, frozen=True, kw_only=True):
    """A target speed that was set."""

    gts: float
    how: How
    training: Training

    @property
    def reached(self) -> bool:
        now = self.training.now
        return now is not None and now.up and now.speed_gts == self.gts

    @property
    def says(self) -> str:
        by = "by the kernel" if self.how == "kernel" else "by the port's register"
        return f"target speed {self.gts:g} GT/s set {by}: the link is {self.training.says}"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen at one speed."""

    gts: float
    forced: Forced
    confirmed: bool | None
    """The link ran at this speed while it was loaded, and nobody set another target. None: nobody looked."""
    seen_gts: tuple[float, ...] = ()
    """Speeds under load, in the order in which they came."""
    rewritten_gts: float | None = None
    """The target that somebody else set meanwhile."""
    look: Look | None = None
    """With the speed among its conditions only where it was confirmed."""

    @property
    def says(self) -> str:
        if not self.forced.reached and self.confirmed is not True:
            return f"{self.gts:g} GT/s was not reached: the link is {self.forced.training.says}"
        if self.rewritten_gts is not None:
            return (f"{self.gts:g} GT/s was set, and somebody set {self.rewritten_gts:g} GT/s while the load ran, as"
                    " drivers do: what was measured says nothing of this speed")
        if self.confirmed is None:
            return f"{self.gts:g} GT/s was reached; whether it stays under load was not looked at"
        if not self.confirmed:
            seen = ", ".join(f"{gts:g}" for gts in self.seen_gts) or "no speed"
            return f"{self.gts:g} GT/s was set, and under load the link ran at {seen} GT/s"
        return f"{self.gts:g} GT/s, confirmed under load"


class Tour(msgspec.Struct, frozen=True, kw_only=True):
    """All speeds that were tried, and the way back."""

    trials: tuple[Trial, ...]
    back: Training | None
    """None where it was not tried, since the tour was stopped, or not possible this way."""
    stopped: str | None = None


def force_speed(held: Held, gts: float) -> Forced:
    """Sets the port's target and retrains. Refused for a speed that the ends do not share, and where neither the kernel
    nor the register can be used, with the reason."""
    pair = held.pair
    if gts not in pair.common_gts:
        shared = ", ".join(f"{one:g}" for one in pair.common_gts) or "none"
        raise Refused("unsupported", f"{gts:g} GT/s is no speed of both ends of {pair.name}; they share {shared}")
    code = speed_code(gts)
    raw = may_write(held, pair.port.bdf)
    cooling = held.before.cooling
    if cooling is None and raw is not None:
        raise raw
    held.announce(f"setting the target speed of {pair.name} to {gts:g} GT/s and retraining it")
    command, started = held.before.command, held.seconds()
    if cooling is not None:
        try:
            set_by_kernel(held, pair, cooling, code)
            training = settle(held, pair, started=started, wanted_gts=gts, command=command)
            return Forced(gts=gts, how="kernel", training=training)
        except Refused:
            if raw is not None:
                raise
    set_by_register(held, pair, code)
    return Forced(gts=gts, how="registers", training=train(held, pair, gts, command=command))


def try_speeds(held: Held, speeds: Sequence[float] | None = None, measure: Measure | None = None) -> Tour:
    """Each speed in turn (without `speeds`: all that both ends share, the fastest first), then back to the target of
    before. Ends early where the link goes down, or a speed after the first is refused: what was seen until then is
    kept, and whoever holds the link puts it back."""
    trials: list[Trial] = []
    stopped: str | None = None
    for gts in held.pair.common_gts[::-1] if speeds is None else speeds:
        try:
            forced = force_speed(held, gts)
        except Refused as refused:
            if not trials:
                raise
            stopped = f"stopped: {refused.says}"
            break
        training = forced.training
        if training.state == "down" or not training.card_answers or training.card_reset:
            trials.append(Trial(gts=gts, forced=forced, confirmed=None))
            stopped = f"stopped: at {gts:g} GT/s the link is {training.says}" + (
                ", and the card was reset" if training.card_reset else "")
            break
        trials.append(_confirmed(held, forced, measure))
    back: Training | None = None
    kept = held.before.target_code
    limit = SPEED_GTS.get(kept or 0, 0.0)
    home = max((gts for gts in held.pair.common_gts if gts <= limit), default=None)
    if stopped is None and home is not None:
        try:
            back = force_speed(held, home).training
        except Refused as refused:
            stopped = f"the way back to {home:g} GT/s: {refused.says}"
    return Tour(trials=tuple(trials), back=back, stopped=stopped)


def _confirmed(held: Held, forced: Forced, measure: Measure | None) -> Trial:
    if measure is None:
        return Trial(gts=forced.gts, forced=forced, confirmed=None)
    seen: list[float] = []
    targets: list[int] = []
    code = speed_code(forced.gts)

    def sample() -> None:
        now, target = link_now(held, held.pair), target_code(held, held.pair)
        if isinstance(now, Now) and now.speed_gts is not None and not now.training:
            seen.append(now.speed_gts)
        if not isinstance(target, Unread):
            targets.append(target)

    look = measure(sample)
    sampled = len(seen)
    target = target_code(held, held.pair)
    if not isinstance(target, Unread):
        targets.append(target)
    other = next((one for one in targets if one != code), None)
    # A card comes out of its rest at the start of a load; from then on every reading must say the same.
    rising = seen[next((number for number, gts in enumerate(seen) if gts >= forced.gts), len(seen)):]
    held_it = bool(rising) and all(gts == forced.gts for gts in rising)
    confirmed = None if not sampled else held_it and other is None
    conditions = msgspec.structs.replace(look.conditions, speed_gts=forced.gts if confirmed else None)
    steps = tuple(gts for number, gts in enumerate(seen) if number == 0 or seen[number - 1] != gts)
    return Trial(
        gts=forced.gts, forced=forced, confirmed=confirmed, seen_gts=steps,
        rewritten_gts=None if other is None else SPEED_GTS.get(other, 0.0),
        look=msgspec.structs.replace(look, conditions=conditions))
