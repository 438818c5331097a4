"""What a live host has read, kept so that it can be written as a capture and replayed elsewhere.

Layout of a capture: see docs/reference/captures.md. Files lie at their own paths; what is no file lies under `boxcheck/`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from boxcheck.host import Phase, ProgramOutput, Stat, Who
from boxcheck.model import Unread


class Again(msgspec.Struct, frozen=True):
    path: str
    phase: Phase
    monotonic_seconds: float
    wall_seconds: float
    data: bytes


class Recording:
    """Everything that was read, in memory. Paths are absolute and free of symbolic links, save `links` themselves."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.stats: dict[str, Stat] = {}
        self.opened: dict[str, str] = {}
        """Path of a device node -> `ok` or why it could not be opened."""
        self.directories: set[str] = set()
        self.unread: dict[str, Unread] = {}
        self.programs: list[ProgramOutput | tuple[tuple[str, ...], Unread]] = []
        self.answers: list[tuple[str, str, Any]] = []
        self.again: list[Again] = []
        self.environment: dict[str, str] = {}
        self.who: Who | None = None
        self.started_seconds: float = 0.0
        self.finished_seconds: float = 0.0
