"""A bad part: what is seen of it, how strong it is, and what plugging it anew does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from tests.riser.boxes.chance import reflected, weighted

Toward = Literal["card", "host"]
Kind = Literal["slot", "riser", "card", "seat", "supply", "setting"]
Symptom = Literal["errors", "lane", "slow", "absent", "drops", "timeouts", "capped", "split", "disabled"]
"""`lane`: one pair is bad, and a training that leaves it out is narrow. `slow`: it often trains to a lower speed.
`timeouts`: ASPM, Timeout alone. `capped`, `split`, `disabled`: firmware's limit of speed or
lanes, or a slot that it leaves off."""
Needs = Literal["always", "loaded", "hot", "uncapped"]
Nature = Literal["signal", "contact", "power", "setting"]

KINDS: tuple[Kind, ...] = ("slot", "riser", "card", "seat", "supply", "setting")
WEAKEST, STRONGEST = -13.0, -8.0
"""log10 of the error rate per bit at full speed, log-uniform between these."""
PER_MINUTE: dict[str, tuple[float, float]] = {"drops": (-1.3, 1.0), "timeouts": (-0.5, 1.5)}
"""log10 of how often a link drops out, or a packet times out, in a minute; by up to tenfold between boots."""
BOOT_DECADES = 2.0
"""Between two boots a rate changes by up to 100-fold."""

SYMPTOMS: dict[Kind, dict[Symptom, float]] = {
    "slot": {"errors": 55, "lane": 20, "slow": 8, "absent": 10, "drops": 7},
    "riser": {"errors": 55, "lane": 14, "slow": 13, "absent": 10, "drops": 8},
    "card": {"errors": 52, "lane": 15, "slow": 6, "absent": 15, "drops": 12},
    "seat": {"errors": 40, "lane": 32, "slow": 6, "absent": 15, "drops": 7},
    "supply": {"errors": 65, "drops": 25, "absent": 10},
    "setting": {"timeouts": 36, "capped": 27, "split": 27, "disabled": 10},
}
NATURES: dict[Kind, dict[Nature, float]] = {
    "slot": {"signal": 50, "contact": 50}, "riser": {"signal": 75, "contact": 25},
    "card": {"signal": 60, "contact": 40}, "seat": {"contact": 100}, "supply": {"power": 100},
    "setting": {"setting": 100},
}
NEEDS: dict[Kind, dict[Needs, float]] = {
    "slot": {"always": 90, "loaded": 6, "hot": 4},
    "riser": {"always": 75, "loaded": 17, "hot": 8},  # a riser lies beside others: crosstalk
    "card": {"always": 75, "hot": 20, "loaded": 5},
    "seat": {"always": 90, "hot": 10},
    "supply": {"always": 15, "loaded": 50, "uncapped": 35},
    "setting": {"always": 100},
}
RESPONDS: dict[Kind, float] = {"slot": 1 / 6, "riser": 1 / 6, "card": 1 / 6, "seat": 1.0, "supply": 0.0, "setting": 0.0}
"""Share whose fault is cured, moved or changed by plugging anew: with six kinds alike a quarter of all."""
SEAT_CURED = 0.85
BOTH_WAYS: dict[Nature, float] = {"signal": 0.3, "contact": 0.5, "power": 1.0, "setting": 0.0}


@dataclass(eq=False)
class Fault:
    """One bad part. `name`: the slot, the riser's label, the card's UUID, the supply's word; of a seat or a setting the
    slot it was at when the story began."""

    kind: Kind
    name: str
    symptom: Symptom
    nature: Nature
    needs: Needs
    log_ber: dict[Toward, float]
    """By the directions that are damaged."""
    full_chance: float
    """How often a training comes out whole in spite of it: all lanes, full speed, card present."""
    per_minute: float
    """Of drops or time-outs."""
    decades_a_generation: float
    """By which the rate falls for each generation that the link is slower."""
    burst: float
    """Mean number of errors that come within milliseconds."""
    lane: int
    joint: Literal["lower", "upper"]
    """Of a seat: between slot and riser, or below the card."""
    sender: Toward
    """Of time-outs: the way whose sender counts them."""
    pins_open: bool = False
    """Of an absent card: the presence pins have no contact either."""
    amount: int = 0
    """Of a setting: generations below, or lanes that are left. Of a slow training: generations below."""
    responds: bool = False
    dormant: bool = False
    changes: list[str] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    """Of a supply: slot -> decades by which it is weaker there."""
    traced_in: set[int] = field(default_factory=set)
    """Boots in which something that can be read differed because of it."""

    @property
    def one_lane(self) -> bool:
        """Whether one pair of the direction is bad, and not all of them."""
        return self.symptom == "lane" or self.lane % 2 == 1

    def next_boot(self, source: Random) -> None:
        for way, value in self.log_ber.items():
            self.log_ber[way] = reflected(value + source.uniform(-BOOT_DECADES, BOOT_DECADES), WEAKEST, STRONGEST)
        if self.symptom in PER_MINUTE:
            self.per_minute = 10 ** reflected(
                math.log10(self.per_minute) + source.uniform(-1, 1), *PER_MINUTE[self.symptom])

    def plugged_anew(self, source: Random) -> None:
        """What its part's contacts do when they are made anew."""
        if not self.responds or "cured" in self.changes:
            return
        if self.kind == "seat" and source.random() < SEAT_CURED:
            self.dormant = True
            self.changes.append("cured")
            return
        if self.dormant:  # a contact that is worn comes back in half of the times
            if source.random() < 0.5:
                self.dormant = False
                self.changes.append("back")
            return
        what = source.choice(("moved", "changed") if self.kind == "seat" else ("asleep", "moved", "changed"))
        self.changes.append(what)
        if what == "asleep":
            self.dormant = True
        elif what == "moved":
            self._move(source)
        else:
            for way in self.log_ber:
                self.log_ber[way] = source.uniform(WEAKEST, STRONGEST)
            self.full_chance = source.uniform(0.0, 0.9)

    def _move(self, source: Random) -> None:
        """Other lanes: the other direction, or errors where lanes were missing."""
        value = next(iter(self.log_ber.values()), None)
        value = source.uniform(WEAKEST, STRONGEST) if value is None else value
        self.log_ber = {("host" if "card" in self.log_ber else "card"): value}
        self.lane = source.randrange(16)
        if self.symptom in ("lane", "slow", "absent"):
            self.symptom = "errors"


def random_fault(source: Random, kind: Kind, name: str) -> Fault:
    symptom = weighted(source, SYMPTOMS[kind])
    nature = weighted(source, NATURES[kind])
    needs = weighted(source, NEEDS[kind]) if symptom in ("errors", "drops") else "always"
    first = source.choice(("card", "host"))
    ways: dict[Toward, float] = {"card" if first == "card" else "host": source.uniform(WEAKEST, STRONGEST)}
    if symptom != "lane" and source.random() < BOTH_WAYS[nature]:
        other: Toward = "host" if "card" in ways else "card"
        ways[other] = reflected(next(iter(ways.values())) + source.uniform(-1, 1), WEAKEST, STRONGEST)
    if nature == "setting":
        ways = {}
    if symptom == "drops" and source.random() < 0.4:
        ways = {}  # it falls off the bus without an error before
    most = {"lane": 0.7, "slow": 0.5, "absent": 0.3}.get(symptom, 1.0)
    return Fault(
        kind=kind, name=name, symptom=symptom, nature=nature, needs=needs, log_ber=ways,
        # A supply that gives nothing gives nothing to all of its cards.
        full_chance=source.uniform(0.0, most) if source.random() < 0.7 and kind != "supply" else 0.0,
        per_minute=10 ** source.uniform(*PER_MINUTE.get(symptom, PER_MINUTE["drops"])),
        decades_a_generation=source.uniform(3.0, 6.0) if nature == "signal" else 0.0,
        burst=source.uniform(1.0, 8.0) if nature in ("contact", "power") else 1.0,
        lane=source.randrange(16), joint=source.choice(("lower", "upper")), sender=source.choice(("card", "host")),
        # The card's own edge joins the presence pins: what is wrong inside a card or with its power leaves them.
        pins_open=kind not in ("card", "supply") and source.random() < 0.4,
        amount=source.choice((1, 1, 2)), responds=source.random() < RESPONDS[kind])
