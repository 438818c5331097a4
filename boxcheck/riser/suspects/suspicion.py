"""What is suspected, and what is thought of it: the words that the weighing of suspects is written in. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from boxcheck.riser.evidence import PartKind
from boxcheck.riser.suspects.history import Course, History

UNNAMED_SUPPLY = "the supply"
"""Where nobody said which supply feeds what, all cards are taken to share one."""


Side = Literal["", "slot", "card"]


class Part(NamedTuple):
    kind: PartKind
    name: str


class Bad(NamedTuple):
    """One way in which a part may be the bad one."""

    part: Part
    since: int = 0
    """Of contacts that were spoilt by plugging: from which boot on; 0 for what is bad from the start."""
    side: Side = ""
    """Of contacts of a slot with a riser: those at the slot, or those at the card."""


class Place(NamedTuple):
    """A link in a boot."""

    session: int
    slot: str


class Reach(NamedTuple):
    """A link in a boot on which a part was."""

    place: Place
    plugged: int
    """How often it was plugged anew since the first boot."""
    cured: float = 0.0
    """Of contacts: that they were cured before this boot. 0 where nothing was plugged."""


@dataclass
class Hypothesis:
    """One bad part, or two."""

    bad: tuple[Bad, ...]
    probability: float
    courses: tuple[float, ...] = ()
    """How likely each course of the risers is under it."""

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(sorted({one.part for one in self.bad}))


@dataclass
class Posterior:
    past: History
    hypotheses: list[Hypothesis]
    """Without the healthy one."""
    healthy: float
    course: Course | None
    """The likeliest way in which risers were moved."""
    course_share: float
    dirty: Mapping[Place, bool]
    """Of each link in each boot that was looked at: whether it was damaged."""
    behaviours: Mapping[Part, Mapping[str, float]]
    """Of single parts: how they would be bad."""
    damage: Mapping[Bad, tuple[float, float]]
    """Probability that a link through the part shows damage in the next boot: as it is, and plugged anew."""
    touched: Mapping[tuple[Part, str], float]
    """Of a supply: probability that it harms the link of a slot at all."""
    probabilities: dict[Part, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.hypotheses:
            for part in one.parts:
                self.probabilities[part] = self.probabilities.get(part, 0.0) + one.probability
