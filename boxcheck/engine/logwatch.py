"""The kernel's log while a run goes on: what it says, as events, as it says it."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.decode.klog import Event, parse_log
from boxcheck.host.kmsg import KmsgFollower
from boxcheck.model import Unread

KEPT_BYTES = 1 << 20
"""Of the log since the run began. Messages of several lines are understood only together, so what was said is read
again with what is new; a log that floods loses its oldest lines, whose events were told."""


class LogWatch:
    """`news()` gives events that are new, or that were told before with fewer occurrences."""

    def __init__(self, follower: KmsgFollower | None = None) -> None:
        self._follower = KmsgFollower() if follower is None else follower
        self._text = bytearray()
        self._told: dict[tuple[str, str | None, tuple[str, ...]], int] = {}

    @property
    def unread(self) -> Unread | None:
        """Why the log is not followed; None where it is."""
        return self._follower.unread

    @property
    def lost(self) -> int:
        """How often the kernel overwrote messages before they were read."""
        return self._follower.lost

    def news(self) -> Iterator[tuple[Event, int]]:
        """Events with how many of them are new. Harmless ones are left out."""
        fresh = self._follower.read()
        if not fresh:
            return
        self._text += fresh
        if len(self._text) > KEPT_BYTES:
            cut = self._text.find(b"\n", len(self._text) - KEPT_BYTES)
            del self._text[:cut + 1]
            self._told.clear()
            self._count(bytes(self._text[:-len(fresh)]))
        before = dict(self._told)
        for event in parse_log(bytes(self._text)).events:
            key = (event.kind, event.bdf, event.labels)
            self._told[key] = max(event.count, self._told.get(key, 0))
            more = event.count - before.get(key, 0)
            if more > 0 and event.severity != "benign":
                yield event, more

    def _count(self, text: bytes) -> None:
        for event in parse_log(text).events:
            self._told[event.kind, event.bdf, event.labels] = event.count

    def close(self) -> None:
        self._follower.close()
