"""Measurements of one link under conditions that are no register's: cold against hot, full power against limited power.

Each gives looks for the notebook; what they mean is weighed elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from boxcheck.model import Bdf
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.links.ports import Ports
from boxcheck.riser.measuring.measure import measure
from boxcheck.riser.measuring.power_cap import capped
from boxcheck.riser.measuring.power_limits import Limiter
from boxcheck.riser.measuring.stuck import Standing
from boxcheck.riser.measuring.targets import Measurable
from boxcheck.riser.measuring.traffic import Traffic
from boxcheck.riser.measuring.warmth import cold, heat


class Bench(msgspec.Struct, kw_only=True):
    """What all of them need."""

    measured: Measurable
    traffic: Traffic
    """Both ways."""
    seconds: float = 60.0
    ports: Ports | None = None
    root: str = "/"
    follow_log: bool = True
    stopping: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda says: None
    standing: dict[Bdf, Standing] = {}

    def look(self, load: Sequence[str], conditions: Conditions, traffic: Traffic | None = None) -> tuple[Look, ...]:
        return measure(
            self.measured, self.seconds, conditions, load=load, traffic=traffic or self.traffic, ports=self.ports,
            root=self.root, follow_log=self.follow_log, stopping=self.stopping, say=self.say,
            standing=self.standing)


def alone(
    bench: Bench, slot: str, conditions: Conditions | None = None, traffic: Traffic | None = None
) -> tuple[Look, ...]:
    """The link of a slot under traffic while the others rest; of those only what they counted nonetheless."""
    looks = bench.look((slot,), conditions or Conditions(), traffic)
    return tuple(look for look in looks if look.slot == slot or _said_something(look))


def cold_and_hot(bench: Bench, slot: str, *, most_seconds: float = 600.0) -> tuple[Look, ...]:
    """The link as it is, called cold only where its card is; then again with its card as hot as it becomes."""
    first = cold(bench.measured, slot, root=bench.root)
    bench.say(first.says)
    found = list(_noted(alone(bench, slot, Conditions(hot=first.hot)), slot, first.says))
    if bench.stopping():
        return tuple(found)
    warm = heat(bench.measured, bench.traffic.going("heat"), (slot,), most_seconds=most_seconds, root=bench.root,
                stopping=bench.stopping, say=bench.say).get(slot)
    if warm is None or warm.hot is not True:
        says = "no runtime drives the card, so it was not heated" if warm is None else warm.says
        bench.say(says)
        return tuple(_noted(found, slot, says))
    bench.say(warm.says)
    return (*found, *_noted(alone(bench, slot, Conditions(hot=True)), slot, warm.says))


def at_limited_power(
    bench: Bench, slot: str, limiter: Limiter, vendor: str, folder: str, *, part: float = 0.6,
    boot: str | None = None,
) -> tuple[Look, ...]:
    """The link of a slot under traffic while its card draws what it can, then the same with its power limited. Refused
    where it cannot be; the limit is put back however it ends. A look during which the driver changed the limit is one
    at full power."""
    hard = bench.traffic.going(power=True)
    full = alone(bench, slot, Conditions(), hard)
    if bench.stopping():
        return full
    with capped(limiter, folder, vendor=vendor, part=part, boot=boot, say=bench.say) as cap:
        stoppable = msgspec.structs.replace(bench, stopping=lambda: bench.stopping() or cap.stopping())
        looks = alone(stoppable, slot, Conditions(power_capped=True), hard)
    if cap.held is not True:
        says = f"the power limit of {cap.bdf} did not stay at {cap.watts:.0f} W" if cap.held is False else (
            f"whether the power limit of {cap.bdf} stayed at {cap.watts:.0f} W was not read")
        looks = tuple(msgspec.structs.replace(
            look, conditions=msgspec.structs.replace(look.conditions, power_capped=False)) for look in looks)
        looks = tuple(_noted(looks, slot, says))
    if not cap.restored:
        looks = tuple(_noted(looks, slot, cap.says))
    return (*full, *looks)


def _noted(looks: Sequence[Look], slot: str, says: str) -> Sequence[Look]:
    return [msgspec.structs.replace(look, notes=(*look.notes, says)) if look.slot == slot else look for look in looks]


def _said_something(look: Look) -> bool:
    return bool(look.dropped or look.uncorrectable or any(way.errors or way.lanes for way in look.ways))

