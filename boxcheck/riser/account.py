"""What one call of `boxcheck riser` leaves: the notebook, how suspects weigh, what was tried and what was not."""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.riser.absent import Shown
from boxcheck.riser.advice import Advice
from boxcheck.riser.evidence import Weighed
from boxcheck.riser.notebook import Stored


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment of this boot and what it showed, or why it was not made."""

    name: str
    """`retrain`, `lower speed`, `ASPM off`, `margining` ..."""
    says: str
    done: bool = True
    help: str = ""
    """How it can be made, where it was not."""


State = Literal["found", "healthy", "waiting", "exhausted", "capture"]
"""`waiting`: the next step needs hands and a power cycle. `capture`: nothing can be told apart from a capture alone.
The others as the verdict of `Weighed`."""


class RiserAccount(msgspec.Struct, frozen=True, kw_only=True):
    """All that is told of an experiment at the end of a call."""

    version: str
    started: float
    seconds: float
    stored: Stored
    weighed: Weighed
    state: State
    tried: tuple[Tried, ...] = ()
    advice: tuple[Advice, ...] = ()
    tape: tuple[str, ...] = ()
    """A card for each accused part, lines apart by line feeds."""
    complaints: tuple[str, ...] = ()
    absent: tuple[Shown, ...] = ()
    """What the slot shows where no card answers in it."""
    of_capture: bool = False
    eye: tuple[str, ...] = ()
    """Lines of the table of margins and of the weakest lane's eye."""
    path: str = ""
    command: str = ""
    """How to go on, as it is typed."""
