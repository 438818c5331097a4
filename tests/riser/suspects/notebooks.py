"""Notebooks written by hand: a box of some slots, who sits where, and what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.riser.evidence import (
    NO_RISER,
    Boot,
    Conditions,
    Look,
    Notebook,
    Place,
    Retrains,
    Step,
    Way,
)

MINUTE_BITS = 60 * 16e9 * 16 * 0.8
"""Payload of a minute at 16 GT/s x16, one way."""


def way(toward: str, errors: int = 0, *, late: int = 0, bits: float = MINUTE_BITS, **more: Any) -> Way:
    return Way(
        toward=toward, bits=bits, most_bits=bits / 0.8, seconds=60.0, received={"BadTLP": errors} if errors else {},
        unanswered={"Timeout": late} if late else {}, **more)


def look(slot: str, card: int = 0, host: int = 0, *, late: int = 0, card_unread: str | None = None,
         host_unread: str | None = None, least: bool = False, bits: float = MINUTE_BITS, conditions: Conditions | None = None,
         **more: Any) -> Look:
    """Errors toward the card and toward the host."""
    why = ("came in bursts",) if least else ()
    values: dict[str, Any] = {
        "present": True, "active": True, "width": 16, "full_width": 16, "speed_gts": 16.0, "full_speed_gts": 16.0,
        "conditions": conditions or Conditions()}
    if values["conditions"].speed_gts is not None:
        values["speed_gts"] = values["conditions"].speed_gts
    ways = (way("card", card, late=late, unread=card_unread, at_least=why if card else (), bits=bits),
            way("host", host, unread=host_unread, at_least=why if host else (), bits=bits))
    return Look(slot=slot, ways=ways, **{**values, **more})


def dark(slot: str, *, present: bool | None = True) -> Look:
    """Nothing answers."""
    return Look(slot=slot, present=present, active=False, full_width=16, full_speed_gts=16.0)


def places(count: int = 4, *, supplies: int = 1, bare: bool = False) -> tuple[Place, ...]:
    """PCIE1.. with riser R1.. and card GPU-1.., supplies A, B... by turns of neighbours."""
    return tuple(
        Place(slot=f"PCIE{n}", riser=NO_RISER if bare else f"R{n}", card=f"GPU-{n}",
              supply="ABCD"[(n - 1) * supplies // count])
        for n in range(1, count + 1))


def boot(number: int, where: Sequence[Place], looks: Sequence[Look], asked: Step | None = None, **more: Any) -> Boot:
    """Links without a look of their own are clean."""
    told = {one.slot for one in looks}
    rest = [look(place.slot) for place in where if place.slot not in told and place.card is not None]
    return Boot(id=f"boot-{number}", started=1e9 + number * 600, places=tuple(where), looks=(*looks, *rest), asked=asked, **more)


def notebook(*boots: Boot, slot: str = "PCIE3", **more: Any) -> Notebook:
    return Notebook(id="r-20261128-1", slot=slot, started=1e9, boots=boots, **more)


def after(where: Sequence[Place], step: Step) -> tuple[Place, ...]:
    """The places when a step was done as asked."""
    found = {place.slot: place for place in where}
    for move in step.moves:
        found[move.to] = msgspec.structs.replace(found[move.to], **{move.part: move.name})
    return tuple(found.values())


def tally(tried: int, full: int, **more: int) -> Retrains:
    return Retrains(tried=tried, full=full, **more)


def chances(weighed: Any) -> Mapping[str, float]:
    return {f"{one.kind} {one.name}": one.probability for one in weighed.suspects}
