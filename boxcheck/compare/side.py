"""One of the things that are compared: what it is, what it has, what was judged and measured. Plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from boxcheck.engine.figures import Card, Figures
from boxcheck.model import Finding, Limit, Scalar, Unread

Source = Literal["run", "attempt", "capture", "record"]
"""A stored run, the folder of an attempt of certify, a capture, doctor's JSON."""
DOCTOR = "doctor"
"""The phase of what doctor found where there is no other."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a box has, or how it is set."""

    what: str
    """`link width`, `memory installed`."""
    value: Scalar | None | Unread
    """None: it has no such thing."""
    unit: str = ""
    kind: Literal["capacity", "setting"] = "capacity"
    """Less of a capacity is a loss."""
    card: str | None = None
    """Key of the card that it is of."""
    place: str | None = None
    """The slot that it is of, else the address."""


DISPOSED = {"MARGINAL PASS": "marginal", "INCOMPLETE": "unknown"}


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One of the things that were compared, as it is told. JSON is its form."""

    label: str
    """`A`."""
    name: str
    source: Source
    path: str
    box: str
    """Serial number, host name, or both; empty where nothing names it."""
    began: str | None
    """ISO, UTC, by the clock of the box; null where it has no time, or one that no calendar has."""
    profile: str | None
    revision: int | None
    profile_sha256: str | None
    """Of the resolved limits."""
    outcome: str | None
    """pass, marginal, fail, unknown; null where there is no verdict."""
    disposition: str | None
    """Of an attempt."""
    reason: str
    state: str | None
    """Of a run: finished, stopped, crashed, running."""
    gpus: int | None
    """null where nobody could tell."""
    notes: tuple[str, ...]
    """What is to be known before anything is believed: a clock that was never set, rows that are gone."""

    @property
    def judged(self) -> str:
        """How it was judged, in one word for runs and attempts: `pass`, `unknown` for INCOMPLETE, `pass with waivers`;
        `none` where there is no verdict. Of an attempt its disposition counts: checks may have passed in one that is
        INCOMPLETE."""
        if self.disposition is None:
            return self.outcome or "none"
        word, waived, rest = self.disposition.partition(" with waivers")
        return DISPOSED.get(word, word.lower()) + waived + rest


class Side(msgspec.Struct, kw_only=True):
    input: Input
    cards: tuple[Card, ...] = ()
    """The GPUs, each once, in the order of their places."""
    cards_unread: str = ""
    """Why nobody can tell which GPUs there are; empty where it is known."""
    items: Sequence[Item] = ()
    items_unread: str = ""
    """Why nothing is known of the machine itself."""
    found: Mapping[tuple[str, str], Sequence[Finding]] = {}
    """By phase and check."""
    figures: Figures | None = None
    figures_unread: str = ""
    """Why there are none."""
    limits: Mapping[str, Limit] | None = None
    """Of the profile that it was judged by; None where that is not known."""
    redacted: bool = False
    """Whether names and numbers are hashes, which are others in each capture."""

    @property
    def has_load(self) -> bool:
        return self.figures is not None or any(not phase.startswith(DOCTOR) for phase, _ in self.found)
