"""What a log holds beside events: lines that nobody judges, and notes on messages left out."""

from __future__ import annotations

import msgspec


class Residue(msgspec.Struct, frozen=True, kw_only=True):
    """A line at warning level or worse that no family of messages knows, its repetitions folded in. Never judged."""

    text: str
    """The first message of it, cleaned, without its envelope. Later ones may differ in numbers and addresses."""
    count: int
    level: int | None = None
    """printk level, 0 emergency to 4 warning, the gravest seen. None where the log has no levels: a word told."""
    first: float | str | None = None
    last: float | str | None = None
    """As `Event.first` and `Event.last`."""
    line: int
    """Line of the text where it first shows, from 1."""
    boot: int = 0
    common: bool = False
    """Known chatter, which machines without a fault log too."""


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that somebody says were left out, by rate limit or full buffer. What they were, nobody knows."""

    source: str
    """Who left them out: a function of the kernel (`aer_ratelimit`), `printk`, `kernel`, a journal's unit."""
    count: int
    """How many. Those that an event claims (`Event.suppressed`) are in it too."""
    notes: int = 1
    """How many lines said so."""
    first: float | str | None = None
    last: float | str | None = None
    line: int
    boot: int = 0
