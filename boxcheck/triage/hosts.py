"""Lines of several hosts in one text, as a log server keeps them: each host's log is read by itself.

Only envelopes of syslog name a host. What they name is looked at in every line of the first block, and at the ends of
each later one. Lines without a host of their own go with the line before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

MOST_HOSTS = 256
"""That are told apart. Lines of further ones are read together, apart from all of these."""
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
        self._numbers: dict[str, int] = {}
        """Host -> its consumer, once there are several."""
        self._given = [0]
        """Lines that each consumer has. It gets empty ones for those of others, so that its numbers are the text's."""
        self._lines = 0
        """That were handed out."""
        self._looked = False
        self._last = 0
        self.crowded = False
        """There are more hosts than are told apart."""

    @property
    def names(self) -> tuple[str | None, ...]:
        """The hosts, in the order in which they came; None for a text that names none, and for those beyond the last
        that is told apart."""
        return tuple(name for name, _ in self._feeds)

    def feed(self, block: bytes) -> None:
        """Takes in a block of whole lines."""
        edges = block if not self._looked else block[:_EDGE_BYTES] + b"\n" + block[-_EDGE_BYTES:]
        self._looked = True
        seen = {found[1].decode() for found in _HOST.finditer(edges)}
        if self._feeds[0][0] is None and seen:
            first = _HOST.search(block)
            if first is not None:
                self._feeds[0] = (first[1].decode(), self._feeds[0][1])
        if len(self._feeds) == 1 and seen <= {self._feeds[0][0]}:
            self._feeds[0][1](block)
            self._given[0] += block.count(b"\n")
            self._lines = self._given[0]
        else:
            self._split(block)

    def _split(self, block: bytes) -> None:
        """Runs of lines of one host are put together, so that each consumer is called once a block."""
        parts: dict[int, list[bytes]] = {}
        at = start = 0
        while at < len(block):
            end = block.find(b"\n", at) + 1 or len(block)
            found = _HOST.match(block, at, end)
            if found is not None:
                index = self._index(found[1].decode())
                if index != self._last:
                    self._gather(parts, block[start:at])
                    start, self._last = at, index
            at = end
        self._gather(parts, block[start:])
        for index, runs in parts.items():
            self._feeds[index][1](b"".join(runs))

    def _gather(self, parts: dict[int, list[bytes]], run: bytes) -> None:
        if not run:
            return
        mine = parts.setdefault(self._last, [])
        owed, lines = self._lines - self._given[self._last], run.count(b"\n")
        mine += [b"\n" * owed, run] if owed else [run]
        self._given[self._last] += owed + lines
        self._lines += lines

    def _index(self, name: str) -> int:
        if not self._numbers and self._feeds[0][0] is not None:
            self._numbers[self._feeds[0][0]] = 0
        known = self._numbers.get(name)
        if known is not None:
            return known
        if len(self._numbers) < MOST_HOSTS:
            self._feeds.append((name, self._make()))
            self._given.append(0)
            self._numbers[name] = len(self._feeds) - 1
            return len(self._feeds) - 1
        if not self.crowded:
            self.crowded = True
            self._feeds.append((None, self._make()))
            self._given.append(0)
        return len(self._feeds) - 1

    def __iter__(self) -> Iterator[str | None]:
        return iter(self.names)
