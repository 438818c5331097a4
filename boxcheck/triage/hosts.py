"""Lines of several hosts in one text, as a log server keeps them: each host's log is read by itself.

Only envelopes of syslog name a host. What they name is looked at in every line of the first block, and at the ends of
each later one. Lines without a host of their own go with the line before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

MOST_HOSTS = 16
_EDGE_BYTES = 4096
_HOST = re.compile(
    rb"^(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d(?:\.\d{1,9})?"
    rb"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,16})"
    rb" ([\w.-]{1,80}) (?:kernel|[\w.@/-]{1,60}\[\d{1,9}\]): ", re.MULTILINE)

Feed = Callable[[bytes], None]


class Hosts:
    """Hands a log's blocks of whole lines to one consumer, or, from the second host on, to one a host."""

    def __init__(self, make: Callable[[], Feed]) -> None:
        """`make` gives a new consumer. The first has all that comes before a second host was seen."""
        self._make = make
        self._feeds: list[tuple[str | None, Feed]] = [(None, make())]
        self._lines = 0
        """That were handed out, which a later consumer gets as empty ones, so that its line numbers are the text's."""
        self._looked = False
        self._last = 0
        self.crowded = False
        """There are more hosts than are told apart: lines of the others are read as the last one's."""

    @property
    def names(self) -> tuple[str | None, ...]:
        """The hosts, in the order in which they came; None for a text that names none."""
        return tuple(name for name, _ in self._feeds)

    def feed(self, block: bytes) -> None:
        """Takes in a block of whole lines."""
        edges = block if not self._looked else block[:_EDGE_BYTES] + b"\n" + block[-_EDGE_BYTES:]
        self._looked = True
        seen = {found[1].decode() for found in _HOST.finditer(edges)}
        known = {name for name, _ in self._feeds}
        if self._feeds[0][0] is None and seen:
            first = _HOST.search(block)
            if first is not None:
                self._feeds[0] = (first[1].decode(), self._feeds[0][1])
                known = {self._feeds[0][0]}
        if len(self._feeds) == 1 and seen <= known:
            self._feeds[0][1](block)
        else:
            self._split(block)
        self._lines += block.count(b"\n")

    def _split(self, block: bytes) -> None:
        parts: dict[int, list[bytes]] = {index: [] for index in range(len(self._feeds))}
        for done, line in enumerate(block.split(b"\n")):
            line += b"\n"
            found = _HOST.match(line)
            if found is not None:
                self._last = self._index(found[1].decode(), parts, done)
            for index, lines in parts.items():
                lines.append(line if index == self._last else b"\n")
        for index, lines in parts.items():
            # The piece after the last line end is none, or the beginning of a line that goes on.
            self._feeds[index][1](b"".join(lines)[:-1])

    def _index(self, name: str, parts: dict[int, list[bytes]], done: int) -> int:
        for index, (known, _) in enumerate(self._feeds):
            if known == name:
                return index
        if len(self._feeds) >= MOST_HOSTS:
            self.crowded = True
            return len(self._feeds) - 1
        feed = self._make()
        feed(b"\n" * self._lines)
        self._feeds.append((name, feed))
        parts[len(self._feeds) - 1] = [b"\n"] * done
        return len(self._feeds) - 1

    def __iter__(self) -> Iterator[str | None]:
        return iter(self.names)
