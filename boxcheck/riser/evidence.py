"""What is known of a box's links, boot by boot: what suspects are weighed by. Pure data; JSON is its stored form.

A `Look` is one measurement of one link under one set of conditions. A `Boot` holds the looks between two power cycles,
with who sat where. A `Step` is what an operator was asked to do before the next boot. Cards are known by themselves
(UUID or serial), slots by the board's names; a riser has no identity that software can read, so its label is what the
operator says, and a riser that was moved wrongly is seen in nothing but its errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from boxcheck.stress.link_routes import Toward

NO_RISER = "none"
"""Label of a card that sits in the slot itself."""

PartKind = Literal["slot", "riser", "card", "seat", "supply", "setting"]
"""`seat`: the contacts of one slot, riser and card as they were plugged together, cured by plugging again.
`supply`: power of a group of cards. `setting`: firmware or kernel (a capped speed, a split slot, ASPM)."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Who sits in a slot."""

    slot: str
    riser: str = NO_RISER
    """As the operator labelled it."""
    card: str | None = None
    """UUID, serial or, where a card tells neither, what else tells it from its like; None: nothing answered."""
    supply: str = ""
    """Which supply feeds it, where that is known; cards of the same word share one."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What was held while a link was looked at. The defaults are the box as it is used."""

    speed_gts: float | None = None
    """The speed that was forced and confirmed under load; None: as it trained."""
    aspm_off: bool = False
    neighbours: Literal["loaded", "quiet"] = "quiet"
    """Whether the other cards moved data and drew power too."""
    power_capped: bool = False
    traffic: Literal["host", "peers"] = "host"
    """`peers`: cards of one kind copied to each other, two by two, and not from and to the host's memory."""
    hot: bool | None = None
    """True after minutes of load, False right after a cold start; None where nobody took care."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a link: what crossed it and what was counted against it."""

    toward: Toward
    """`card`: from the port to the card. The end where bits arrive counts what was damaged."""
    bits: float = 0.0
    """Payload that is known to have crossed it. Errors are divided by these for a bound from above."""
    most_bits: float | None = None
    """The most that can have crossed: an active link always transmits. None where speed or width is not known."""
    seconds: float = 0.0
    received: Mapping[str, int] = {}
    """RxErr, BadTLP, BadDLLP that its receiver counted, zeros left out."""
    unanswered: Mapping[str, int] = {}
    """Rollover, Timeout that its sender counted."""
    at_least: tuple[str, ...] = ()
    """Why there may have been more than was counted."""
    unread: str | None = None
    """Why nothing is known of its errors. Then zero counts are no counts."""
    lanes: tuple[int, ...] = ()
    """Lanes of which its receiver noted errors meanwhile (LaneErrStat, parity of 16 GT/s). Empty says nothing: they
    are read as root alone, and not all ports note them."""

    @property
    def errors(self) -> int:
        return sum(self.received.values()) + sum(self.unanswered.values())


class Retrains(msgspec.Struct, frozen=True, kw_only=True):
    """A tally of retrainings of one link in one boot (`Look.retrains`), or of its trainings over cold boots
    (boxcheck.riser.cold_boots), of which nobody knows how long they took."""

    tried: int
    full: int
    """Came back with all lanes at full speed."""
    narrow: int = 0
    slow: int = 0
    down: int = 0
    """Did not come back in time."""
    longest_seconds: float | None = None
    incomplete_equalisation: int = 0


class LaneMargin(msgspec.Struct, frozen=True, kw_only=True):
    """Margins of one lane at one receiver. None: not measured, or the receiver cannot."""

    receiver: Literal["A", "B", "C", "D", "E", "F"]
    """A: the port above (bits toward the host). F: the card (bits toward the card). B to E: retimers."""
    lane: int
    left_ui: float | None = None
    right_ui: float | None = None
    """In parts of a unit interval."""
    up_volts: float | None = None
    down_volts: float | None = None
    left_steps: int | None = None
    right_steps: int | None = None
    up_steps: int | None = None
    down_steps: int | None = None
    """The same as the receiver steps: all that is known where it gives no scale."""
    grade: Literal["pass", "marginal", "fail", "unknown"] = "unknown"


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of one link."""

    slot: str
    conditions: Conditions = Conditions()
    present: bool | None = None
    """The slot feels a card (presence detect); None where it cannot tell."""
    active: bool | None = None
    """The data link layer is up."""
    width: int | None = None
    """Lanes under load; None where there is no link or nobody read it."""
    speed_gts: float | None = None
    full_width: int | None = None
    full_speed_gts: float | None = None
    """What the profile asks, else what both ends can do."""
    ways: tuple[Way, ...] = ()
    replays: int | None = None
    """Growth of the driver's replay counter."""
    dropped: int = 0
    """How often the link went down, or the card fell off the bus, while it was looked at."""
    wrong_words: int = 0
    """Words that arrived other than they were sent, and that no counter of the link noticed."""
    cut_short: str = ""
    """Why it ended before its time, or was not all that was asked for; empty where it was whole."""
    retrains: Retrains | None = None
    margins: tuple[LaneMargin, ...] = ()
    celsius: float | None = None
    uncorrectable: Mapping[str, int] = {}
    """Growth of the counters of uncorrectable errors of either end: `fatal SDES at 0000:40:01.1`."""
    notes: tuple[str, ...] = ()
    """What else is to be known of this measurement: conditions that did not hold, how its traffic ended."""

    def way(self, toward: Toward) -> Way | None:
        return next((way for way in self.ways if way.toward == toward), None)


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A part that goes to another slot."""

    part: Literal["riser", "card"]
    name: str
    to: str
    """A slot. What was there before is moved by a move of its own."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator is asked to do while the box is off. Costs one power cycle."""

    kind: Literal["swap-cards", "swap-risers", "swap-both", "rotate", "reseat", "replace-riser", "cold-boot"]
    """`swap-both`: card with its riser. `rotate`: card and riser each to another slot, so that one boot tells all three
    apart. `replace-riser`: by a spare with the label of `moves`. `cold-boot`: nothing is moved."""
    moves: tuple[Move, ...] = ()
    reseat: tuple[str, ...] = ()
    """Slots whose contacts are plugged anew, at both ends of the riser. Those of moved parts are, anyhow."""
    why: str = ""
    expect: Mapping[str, str] = {}
    """Outcome in words -> what it would mean. Said before the step."""
    information_bits: float | None = None
    """Expected: how much of the uncertainty about the suspects it takes away."""


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen between two power cycles."""

    id: str
    """The kernel's boot id, so that the same boot is not counted twice."""
    started: float
    """Seconds since the epoch."""
    places: tuple[Place, ...]
    """As far as known: cards as they are read, risers as they were asked to be."""
    looks: tuple[Look, ...] = ()
    asked: Step | None = None
    """What the operator was asked to do before it; None for the first."""
    strayed: tuple[str, ...] = ()
    """What is seen to differ from what was asked: `card GPU-44 sits in PCIE2 and not in PCIE5`."""
    told: tuple[str, ...] = ()
    """Slots whose riser the operator has read from its label in this boot: another one is weighed as a label that was
    misread (suspects.history.TOLD_WRONGLY)."""


class Notebook(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment over several power cycles."""

    id: str
    slot: str
    """The link in question."""
    started: float
    boots: tuple[Boot, ...] = ()
    next: Step | None = None
    """What the operator was asked to do last."""
    cannot: tuple[str, ...] = ()
    """Kinds of steps, and parts, that the operator says are not possible (a riser too short, a card too large)."""
    spares: tuple[str, ...] = ()
    """Labels of risers that lie ready and are believed to be good."""
    settings: Mapping[str, str] = {}
    """Findings of doctor about settings of this link: id of the check -> what it says."""
    excluded: Mapping[str, tuple[str, ...]] = {}
    """What doctor excludes of settings, of every link: slot -> words such as `a BIOS speed cap (target 16.0 GT/s)`."""
    notes: tuple[str, ...] = ()


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A part that may be at fault, with the probability that it is, alone or beside another."""

    kind: PartKind
    name: str
    probability: float
    because: tuple[str, ...] = ()
    """What speaks for it and against it, in words with numbers."""


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """What a notebook says of the parts."""

    suspects: tuple[Suspect, ...]
    """The likeliest first. Parts of other slots are there as far as they are suspect."""
    healthy: float
    """Probability that no part of the box is at fault."""
    verdict: Literal["found", "healthy", "not-yet", "exhausted"]
    """`found`: the first suspect is at fault. `not-yet`: the next step would tell more. `exhausted`: not told apart,
    and no step that is possible would tell more."""
    accused: tuple[Suspect, ...] = ()
    """Those that the verdict `found` is about; two where two are at fault."""
    says: str = ""
    next: Step | None = None
