"""What the process of the network does: joins the other end, moves payload, counts what was right and what the
interface says."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from boxcheck.gpu import GpuError
from boxcheck.stress.host_child import Pulse
from boxcheck.stress.host_memory_patterns import U64
from boxcheck.stress.host_net_interface import counters, interface_of, speed_mbps
from boxcheck.stress.host_net_traffic import Counts, Traffic
from boxcheck.stress.host_net_wire import Hello, Place, connect, listen
from boxcheck.stress.host_orders import Done, Job, Order

END_SECONDS = 8.0
"""For the last blocks of both ends."""
STOPPED_SECONDS = 0.6
"""The same when the run was stopped: the process must come back within a second (host_team.DRAIN_SECONDS)."""
LOOK_SECONDS = 0.02


class Work:
    """See `host_child.Work`. Orders: `flow` for a piece of time, `end` for the last blocks."""

    def __init__(self, job: Job, pulse: Pulse) -> None:
        settings = job.settings
        self._job, self.pulse = job, pulse
        self._root = str(settings["root"])
        wanted, wait = float(settings["seconds"]), float(settings["wait"])
        place = Place(str(settings["host"]), int(settings["port"]))
        if settings["way"] == "listen":
            self._joined = listen(place, wanted, wait, alive=pulse.alive, stopping=lambda: pulse.stopping)
        else:
            hello = Hello(
                streams=int(settings["streams"]), stream=0, seed=job.seed & ((1 << 64) - 1), seconds=wanted,
                session=secrets.randbits(64))
            self._joined = connect(place, hello, wait, alive=pulse.alive, stopping=lambda: pulse.stopping)
        first = self._joined.sockets[0]
        self._own, self._other = str(first.getsockname()[0]), str(first.getpeername()[0])
        self._interface = interface_of(self._own, self._other)
        self._traffic = Traffic(self._joined, damage=self._fault)
        self._before: Counts = Counts()
        self._at_start: Mapping[str, int] = {}
        self._began: float | None = None

    def notes(self) -> dict[str, str | int | float]:
        found: dict[str, str | int | float] = {
            "own": self._own, "other": self._other, "interface": self._interface,
            "streams": len(self._joined.sockets), "agreed_seconds": round(self._joined.seconds, 3),
            "connected": int(not self._joined.listening)}
        speed = speed_mbps(self._interface, self._root) if self._interface else None
        return {**found, "speed_mbps": speed} if speed is not None else found

    def _fault(self, number: int, block: U64) -> None:
        """The fault that was asked for, in what came on the first stream."""
        if self._job.fault == "flip-payload" and number == self._job.after:
            block[len(block) // 2] ^= 1 << (self._job.seed % 64)

    def do(self, order: Order) -> Done:
        if self._began is None:
            self._began = time.monotonic()
            self._at_start = counters(self._interface, self._root) if self._interface else {}
            self._traffic.start()
        return self._end() if order.do == "end" else self._flow(order.seconds)

    def _flow(self, seconds: float) -> Done:
        began = time.monotonic()
        until = began + seconds
        while time.monotonic() < until and not self.pulse.stopping and not self._traffic.over and (
                self._traffic.ended_at is None):
            time.sleep(min(LOOK_SECONDS, max(0.0, until - time.monotonic())))
            self.pulse.alive()
        return self._told(time.monotonic() - began)

    def _end(self) -> Done:
        """The last blocks of both ends; what came since the last piece is part of it."""
        began = time.monotonic()
        self._traffic.closing.set()
        patience = STOPPED_SECONDS if self.pulse.stopping else END_SECONDS
        while not self._traffic.over and time.monotonic() - began < patience:
            if self.pulse.stopping:
                patience = min(patience, time.monotonic() - began + STOPPED_SECONDS)
            time.sleep(LOOK_SECONDS)
            self.pulse.alive()
        if not self._traffic.over:
            self._traffic.fail(f"the other end ({self._other}) did not end its streams")
        done = self._told(time.monotonic() - began, last=True)
        self._traffic.close()
        return done

    def _told(self, seconds: float, *, last: bool = False) -> Done:
        now, before = self._traffic.counts(), self._before
        self._before = now
        notes: dict[str, str | int | float] = {
            "confirmed": now.confirmed - before.confirmed, "denied": now.denied - before.denied}
        if self._traffic.failed:
            notes["failed"] = self._traffic.failed
        if self._traffic.ended_at is not None and self._began is not None:
            notes["peer_ended_after"] = round(self._traffic.ended_at - self._began, 3)
        if last:
            notes |= {"came_through": self._traffic.came_through, "retransmits": self._traffic.retransmits(),
                      **self._counted()}
        return Done(
            seconds=seconds, amount=float(now.received - before.received), checked=now.received - before.received,
            wrong=now.wrong - before.wrong, words=self._traffic.taken_words(), notes=notes)

    def _counted(self) -> dict[str, int]:
        """How much each counter of the interface grew."""
        ends = counters(self._interface, self._root) if self._interface else {}
        return {f"if_{name}": ends[name] - before for name, before in self._at_start.items() if name in ends}


def begin(job: Job, pulse: Pulse) -> Work:
    try:
        return Work(job, pulse)
    except UnicodeError:
        raise GpuError("unsupported", f"{job.settings['host']!r} is no name of a machine") from None


