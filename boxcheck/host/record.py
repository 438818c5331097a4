"""What a live host has read, kept so that it can be written as a capture and replayed elsewhere.

Layout of a capture: see docs/reference/captures.md. Files lie at their own paths; what is no file lies under
`boxcheck/`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from boxcheck.host import Phase, ProgramOutput, Stat, Who
from boxcheck.model import Unread

LOG_PATHS = {0: "/var/log/dmesg", -1: "/var/log/dmesg.0"}
"""Where the kernel log of a boot lies in a capture, whatever it was read from."""


class Again(msgspec.Struct, frozen=True):
    path: str
    phase: Phase
    monotonic_seconds: float
    wall_seconds: float
    data: bytes


class Recording:
    """Everything that was read, in memory, and at the same time the memory of the live host: what was answered once is
    answered the same way again. Paths are absolute and free of symbolic links, save the keys of `links` themselves."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        """Symbolic link -> its target as the machine holds it."""
        self.stats: dict[str, Stat] = {}
        self.opened: dict[str, str] = {}
        """Path of a device node -> `ok` or the name of the error that opening it gave (`EACCES`)."""
        self.listings: dict[str, tuple[str, ...]] = {}
        """Directory -> all its names, sorted."""
        self.unread: dict[str, Unread] = {}
        """Path -> why it was not read, without the path in the words."""
        self.programs: dict[tuple[str, ...], ProgramOutput | Unread] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        """(library, request) -> plain JSON value or Unread."""
        self.again: list[Again] = []
        self.environment: dict[str, str] = {}
        self.who: Who | None = None
        self.started_seconds: float = 0.0
        self.finished_seconds: float = 0.0

    def paths(self) -> set[str]:
        """Every path that was asked about, for those who must cover them all."""
        return {*self.files, *self.stats, *self.listings, *self.unread}
