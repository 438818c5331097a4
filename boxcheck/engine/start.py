"""Workers that begin at one moment: each says that it is ready, and when all are, each is told the same moment.

Before it is ready a worker builds kernels, fills memory and proves itself, which takes seconds on one GPU and a minute
on another. A worker that ends or dies is waited for no longer; one that is not ready in time is left behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from boxcheck.engine.messages import Failed, Start
from boxcheck.engine.process import Worker

GATHER_SECONDS = 120.0
"""From the first worker that is ready to the last: the same kernels are built and the same buffers filled by each, so
one that takes minutes longer is held up. The first waits with an idle GPU meanwhile."""
LEAD_SECONDS = 0.25
"""From when the moment is told until it comes: a line through a pipe to each worker takes milliseconds, on a busy host
tens of them."""
LATE = "not-ready"
"""Kind of Failed of a worker that was left behind."""


class Gathering:
    """Workers of which all begin together."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._awaited = set(workers)
        self._ready: list[Worker] = []
        self._first: float | None = None

    def came(self, worker: Worker) -> None:
        """It is ready, and waits."""
        if worker in self._awaited:
            self._awaited.remove(worker)
            self._ready.append(worker)
            if self._first is None:
                self._first = time.monotonic()

    def left(self, worker: Worker) -> None:
        """It ended or failed, before it was ready or while it waited."""
        self._awaited.discard(worker)
        if worker in self._ready:
            self._ready.remove(worker)

    def begin(self) -> dict[Worker, Failed]:
        """Sends the start when nobody is waited for any more. Gives the workers for whom time is over, with what is
        to be said of them; the caller ends those."""
        late: dict[Worker, Failed] = {}
        if self._first is not None and (waited := time.monotonic() - self._first) > GATHER_SECONDS:
            late = {worker: _late(waited) for worker in self._awaited}
            self._awaited = set()
        if self._ready and not self._awaited:
            at = time.monotonic() + LEAD_SECONDS
            for worker in self._ready:
                worker.send(Start(at))
            self._ready = []
        return late


def _late(waited: float) -> Failed:
    return Failed(
        LATE, f"it was not ready {waited:.0f} s after the first device; the others began without it",
        "run it once more: kernels that were built are kept")
