"""A random box: slots with risers and cards, supplies, at most two bad parts, and what can be read of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from tests.riser.boxes.faults import KINDS, Fault, Kind, random_fault

NONE = "none"
SPEEDS = {3: 8.0, 4: 16.0, 5: 32.0}
TWO_BAD = 0.1
ONE_END = 1 / 3
WRONG_STEP = 0.1


@dataclass
class Seat:
    """What is really plugged into a slot."""

    riser: str
    card: str | None


@dataclass
class Box:
    """Everything that is true of it. The solver is shown looks, never this."""

    seed: int
    index: int
    source: Random
    """For all that happens after it was built."""
    seats: dict[str, Seat]
    supplies: dict[str, str]
    """Slot -> word."""
    generation: int
    lanes: int
    counts: Literal["both", "port", "card"]
    """Which ends' counters can be read."""
    writes: bool
    """Root, and the kernel lets it write: forced speeds, retraining, ASPM."""
    plain_user: bool
    """Whether an end reports errors is not known, since that is read as root alone: a direction in which none was
    counted is unread."""
    margining: bool
    margin_bias: float
    """Of receiver A, which some root ports report too narrow on every lane (parts of a unit interval)."""
    caps_power: bool
    takes_time: bool
    """Whether cold and hot are kept apart."""
    presence: bool
    replay_counter: bool
    notes_lanes: bool
    """Ports note lanes with errors, and root reads it."""
    supply_known: bool
    efficiency: float
    dead_seconds: float
    """In which a second error of a class is taken for the first: a status bit is sticky."""
    faults: list[Fault]
    reported: str
    """The slot that the operator asks about."""
    cannot: tuple[str, ...]
    spares: list[str]
    """As they are told to the solver."""
    settings: dict[str, str]
    home: dict[str, str] = field(default_factory=dict)
    """Slot -> card at the first boot: what `the card of PCIE3` means of one that never answered."""
    labels: dict[str, str] = field(default_factory=dict)
    """Slot -> riser, as the operator believes."""
    outside: set[str] = field(default_factory=set)
    """Labels of the risers that really lie beside the box."""
    boot: int = 0
    wrong_steps: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    """Slots whose link went down in this boot for good."""

    @property
    def slots(self) -> list[str]:
        return list(self.seats)

    @property
    def speed_gts(self) -> float:
        return SPEEDS[self.generation]

    @property
    def kind(self) -> str:
        """Row of the table: the bad part, `none` or `two`."""
        return "none" if not self.faults else "two" if len(self.faults) > 1 else self.faults[0].kind

    def card_named(self, name: str) -> str | None:
        """A card by its UUID, or by words that hold the slot in which it was first."""
        if name in self.home.values():
            return name
        words = set(re.findall(r"\w+", name))
        return next((card for slot, card in self.home.items() if slot in words), None)

    def on_link(self, fault: Fault, slot: str) -> bool:
        """Whether a bad part is on the link of this slot as it is plugged now."""
        seat = self.seats[slot]
        if fault.kind in ("slot", "seat", "setting"):
            return fault.name == slot
        if fault.kind == "riser":
            return seat.riser == fault.name
        return seat.card == fault.name if fault.kind == "card" else self.supplies[slot] == fault.name


def random_box(seed: int, index: int, plain_users: float = 0.0) -> Box:
    """The same for the same numbers. Half of the boxes may not be written to; of those a share of `plain_users` is
    looked at by an ordinary user."""
    source = Random(f"riser {seed} {index}")
    slots = [f"PCIE{number + 1}" for number in range(source.randint(2, 8))]
    seats = {slot: Seat(f"R{at + 1}" if source.random() < 0.85 else NONE, f"GPU-{source.getrandbits(32):08x}")
             for at, slot in enumerate(slots)}
    groups = source.randint(1, min(4, max(1, len(slots) // 2)))
    supplies = {slot: f"PSU{at % groups + 1}" for at, slot in enumerate(slots)}
    writes = source.random() < 0.5
    box = Box(
        seed=seed, index=index, source=Random(f"riser {seed} {index} later"), seats=seats, supplies=supplies,
        generation=source.choice((3, 4, 5)), lanes=16 if source.random() < 0.75 else 8,
        counts=source.choice(("port", "card")) if source.random() < ONE_END else "both",
        writes=writes, plain_user=not writes and (index * 0.6180339887) % 1 < plain_users, margining=writes and source.random() < 2 / 3,
        margin_bias=-0.12 if source.random() < 0.1 else 0.0, caps_power=source.random() < 0.7,
        takes_time=source.random() < 0.6, presence=source.random() < 0.6, replay_counter=source.random() < 0.5,
        notes_lanes=writes and source.random() < 0.6, supply_known=source.random() < 0.7, efficiency=source.uniform(0.3, 0.8),
        dead_seconds=10 ** source.uniform(-3.3, -1.7), faults=[], reported="", cannot=_cannot(source, seats),
        spares=["S1"] if source.random() < 0.4 else [], settings={})
    box.labels = {slot: seat.riser for slot, seat in seats.items()}
    box.outside = set(box.spares)
    box.home = {slot: str(seat.card) for slot, seat in seats.items()}
    _break(box, source)
    return box


def _cannot(source: Random, seats: dict[str, Seat]) -> tuple[str, ...]:
    """In one box of six something cannot be done."""
    what = source.random()
    if what < 0.10:
        return ("swap-risers", "rotate")
    if what < 0.14:
        return tuple(source.sample([seat.riser for seat in seats.values() if seat.riser != NONE] or ["rotate"], 1))
    return tuple(source.sample([str(seat.card) for seat in seats.values()], 1)) if what < 0.16 else ()


def _break(box: Box, source: Random) -> None:
    two = source.random() < TWO_BAD
    first = source.choice((*KINDS, None)) if not two else source.choice(KINDS)
    slot = source.choice(box.slots)
    box.reported = slot
    if first is not None:
        box.faults.append(_fault(box, source, first, slot))
    while two and len(box.faults) < 2:
        at = slot if source.random() < 0.5 else source.choice(box.slots)
        other = _fault(box, source, source.choice(KINDS), at)
        if (other.kind, other.name) != (box.faults[0].kind, box.faults[0].name):
            box.faults.append(other)
    for fault in box.faults:
        if fault.kind == "setting" and source.random() < 0.7:
            box.settings |= FINDINGS[fault.symptom]
    if source.random() < 0.15:
        box.settings.setdefault("pcie.aspm", FINDINGS["timeouts"]["pcie.aspm"])  # on, and harmless


FINDINGS = {
    "timeouts": {"pcie.aspm": "ASPM L1 is on"},
    "capped": {"pcie.link-speed": "firmware's target speed is below what both ends can do"},
    "split": {"pcie.link-width": "the slot is set to fewer lanes than it has"},
    "disabled": {},
}
"""What doctor may say of a setting: id of its check -> words."""


def _fault(box: Box, source: Random, kind: Kind, slot: str) -> Fault:
    seat = box.seats[slot]
    if kind == "riser" and seat.riser == NONE:
        seat.riser = f"R{box.slots.index(slot) + 1}"
        box.labels[slot] = seat.riser
    names: dict[Kind, str] = {"riser": seat.riser, "card": str(seat.card), "supply": box.supplies[slot]}
    fault = random_fault(source, kind, names.get(kind, slot))
    if kind == "supply":
        hit = [one for one in box.slots if box.supplies[one] == fault.name]
        if fault.symptom == "absent":
            fault.shares = dict.fromkeys(hit, 0.0)
        else:
            others = [one for one in hit if one != slot]
            reached = [one for one in others if source.random() < 0.85] or others[:1]
            fault.shares = {slot: 0.0, **{one: source.uniform(0.0, 1.5) for one in reached}}
    if fault.symptom == "capped":
        fault.amount = source.choice((1, 2)) if box.generation > 3 else 1
    elif fault.symptom == "split":
        fault.amount = source.choice((box.lanes // 2, 4))
    fault.lane %= box.lanes
    return fault


def share_of_kinds(boxes: list[Box]) -> dict[str, float]:
    return {kind: sum(box.kind == kind for box in boxes) / len(boxes) for kind in (*KINDS, "none", "two")}

