"""What each of several workers could read is read by one of them: the host, and the ports above several GPUs.

A table in memory that all workers of a crew map: who reads a thing, and when it did last. The first who looks takes it,
and keeps it as long as it comes back; whoever finds that nobody has read it for TAKE_SECONDS takes it over, whether the
other was killed, hangs, or works alone no more. Nobody waits for anybody: where two take the same at one moment, it is
read twice, and where there is no table each reads all.
"""

from __future__ import annotations

import mmap
import os
import time
from contextlib import suppress
from zlib import crc32

TAKE_SECONDS = 2.5
"""Workers look about once a second, between two pieces of work."""
PLACES = 2048
"""Of a thing each, by a hash of its name. Two things in one place are read by everybody."""
HOST = "host"
_BYTES = 3 * 8 * PLACES


class Table:
    """The engine's end: memory that its workers inherit. None of it is left when they and the engine are gone."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        """None where the kernel gave none."""
        with suppress(OSError):
            self.descriptor = os.memfd_create("boxcheck-turns", os.MFD_CLOEXEC)
            os.ftruncate(self.descriptor, _BYTES)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class Turns:
    """A worker's end. `me` is a number that no other worker has."""

    def __init__(self, descriptor: int | None, me: int | None = None) -> None:
        """Without a table everything is one's own to read."""
        self._me = os.getpid() if me is None else me
        self._known: dict[str, tuple[int, int]] = {}
        self._table: memoryview | None = None
        if descriptor is not None:
            with suppress(OSError, ValueError):
                self._table = memoryview(mmap.mmap(descriptor, _BYTES))
        whole = self._table if self._table is not None else memoryview(bytearray(_BYTES))
        size = 8 * PLACES
        self._keys, self._owners = whole[:size].cast("Q"), whole[size:2 * size].cast("Q")
        self._times = whole[2 * size:].cast("d")

    def mine(self, name: str) -> bool:
        """Whether to read it now; it is the caller's from then on."""
        if self._table is None:
            return True
        place, key = self._known.get(name) or self._find(name)
        if self._keys[place] != key:
            return True
        now = time.monotonic()
        if self._owners[place] != self._me and 0 <= now - self._times[place] < TAKE_SECONDS:
            return False
        self._owners[place], self._times[place] = self._me, now
        return True

    def _find(self, name: str) -> tuple[int, int]:
        data = name.encode()
        key = crc32(data) << 32 | crc32(data[::-1]) or 1
        place = key % PLACES
        if not self._keys[place]:
            self._keys[place] = key
        self._known[name] = (place, key)
        return place, key

    def leave(self) -> None:
        """Leaves to others what was one's own, at once."""
        for place, _ in self._known.values():
            if self._owners[place] == self._me:
                self._owners[place], self._times[place] = 0, 0.0
