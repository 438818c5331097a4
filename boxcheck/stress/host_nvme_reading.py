"""One pass over places of a drive, by several threads, each with one read at a time on its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from boxcheck.stress.host_child import Pulse
from boxcheck.stress.host_memory_patterns import I64, U64
from boxcheck.stress.host_nvme_source import buffer

MOST_ERRORS = 16


class Reading:
    """`read(memory, words, offset)` gives how many bytes came; OSError is counted, and the pass goes on."""

    def __init__(
        self, read: Callable[[Any, U64, int], int], pulse: Pulse, places: I64, size: int, threads: int
    ) -> None:
        self.size = size
        self.digests: U64 = np.zeros(len(places), np.uint64)
        self.latencies: list[int] = []
        self.errors: list[tuple[int, str]] = []
        self._read = read
        self._pulse = pulse
        self._places = places
        self._threads = threads

    @property
    def done(self) -> int:
        """Reads that brought what was asked for."""
        return len(self.latencies)

    def run(self, until: float | None, visit: Callable[[int, int, U64], None]) -> float:
        """Reads until the time is over or the places are; seconds taken. `visit(number, offset, words)`."""
        numbers = count()
        broke: list[BaseException] = []
        began = time.perf_counter()

        def serve() -> None:
            try:
                with buffer(self.size) as memory:
                    words = np.frombuffer(memory, np.uint64)
                    try:
                        self._serve(numbers, until, visit, memory, words)
                    finally:
                        del words
            except BaseException as error:  # noqa: BLE001  raised again by the thread that waits
                broke.append(error)

        threads = [threading.Thread(target=serve, daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        seen = -1
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                if self.done != seen:  # no sign of life while no read comes back
                    seen = self.done
                    self._pulse.alive()
        if broke:
            raise broke[0]
        return time.perf_counter() - began

    def _serve(
        self, numbers: Any, until: float | None, visit: Callable[[int, int, U64], None], memory: Any, words: U64
    ) -> None:
        while len(self.errors) < MOST_ERRORS and not self._pulse.stopping:
            if until is not None and time.perf_counter() > until and self.done:
                return
            number = next(numbers)
            if number >= len(self._places):
                return
            offset = int(self._places[number])
            began = time.perf_counter_ns()
            try:
                got = self._read(memory, words, offset)
            except OSError as error:
                self.errors.append((offset, error.strerror or "error"))
                continue
            if got != self.size:
                self.errors.append((offset, f"{got} of {self.size} bytes came"))
                continue
            self.latencies.append(time.perf_counter_ns() - began)
            visit(number, offset, words)
