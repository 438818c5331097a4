"""One process of a module of the host: pinned to a core, or set beside a drive; started by `host_team`.

A core that computes nonsense, a page that cannot be read (SIGBUS) or a drive that never answers ends or holds up this
process and no other. Orders come on standard input, reports go out on what was standard output. When the pipe of orders
closes the process ends at once, whatever it is doing.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from boxcheck.gpu import GpuError
from boxcheck.stress.host_orders import Alive, Done, FromChild, Job, Order, Ready, Refused, Stop, decode_order, encode

WORKS = {
    "cpu": "boxcheck.stress.host_cpu_work",
    "memory": "boxcheck.stress.host_memory_work",
    "drive": "boxcheck.stress.host_nvme_work",
    "network": "boxcheck.stress.host_net_work",
}
"""Modules that have `begin(job, pulse) -> Work`. They load numpy, after the process is pinned."""
ALIVE_SECONDS = 0.5
HANG_SECONDS = 3600.0


class Pulse:
    """Signs of life, and the word to stop."""

    def __init__(self, tell: Callable[[FromChild], None]) -> None:
        self._tell = tell
        self._stop = threading.Event()
        self._last = 0.0

    def stop(self) -> None:
        self._stop.set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def alive(self) -> None:
        """Says so, at most twice a second. Called after each bit of work that shows that it goes on."""
        now = time.monotonic()
        if now - self._last >= ALIVE_SECONDS:
            self._last = now
            self._tell(Alive())

    def rest(self, until: float) -> None:
        """Sleeps until a moment of CLOCK_MONOTONIC, or until it is stopped."""
        while (left := until - time.monotonic()) > 0 and not self.stopping:
            self.alive()
            self._stop.wait(min(left, 0.2))


class Work(Protocol):
    """What a process does."""

    def notes(self) -> dict[str, str | int | float]:
        """What is to be known of it before the first piece."""
        ...

    def do(self, order: Order) -> Done: ...


class Child:
    def __init__(self, out: int) -> None:
        self._out = out
        self._orders: queue.SimpleQueue[Job | Order] = queue.SimpleQueue()
        self.pulse = Pulse(self.tell)

    def tell(self, report: FromChild) -> None:
        data = memoryview(encode(report) + b"\n")
        while data:
            data = data[os.write(self._out, data):]

    def listen(self) -> None:
        """In a thread of its own: `stop` must be heard while a piece is done, the end of the pipe while one hangs."""
        try:
            for line in sys.stdin.buffer:
                order = decode_order(line)
                if isinstance(order, Stop):
                    self.pulse.stop()
                else:
                    self._orders.put(order)
        finally:
            os._exit(0)

    def work(self) -> None:
        """Serves orders; returns after the first that could not be done."""
        try:
            self._serve()
        except GpuError as error:
            self.tell(Refused(kind=error.kind, says=error.says, help=error.help))
        except MemoryError:
            self.tell(Refused(kind="out-of-memory", says="the host has no memory left for it"))
        except Exception as error:  # noqa: BLE001  told to the module, which ends with exit code 4
            self.tell(Refused(kind="bug", says=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()))

    def _serve(self) -> None:
        job = self._orders.get()
        assert isinstance(job, Job)
        if job.cpu is not None:
            pin(job.cpu)
        first_to_go()
        begin: Callable[[Job, Pulse], Work] = import_module(WORKS[job.work]).begin
        work = begin(job, self.pulse)
        self.tell(Ready(work.notes()))
        while True:
            order = self._orders.get()
            assert isinstance(order, Order)
            if order.start_at is not None:
                self.pulse.rest(order.start_at)
            self.tell(work.do(order))


def pin(cpu: int) -> None:
    """Keeps this process on one logical processor. GpuError where that is not allowed."""
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        raise GpuError(
            "forbidden", f"this process may not be pinned to processor {cpu}: {error.strerror}",
            "a container or a cgroup (cpuset) that keeps it from there, or a core that was switched off") from None


def first_to_go() -> None:
    """When the host runs out of memory after all, this process is ended before anybody else's
    (proc_pid_oom_score_adj(5); raising the number needs no privilege)."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


def main() -> None:
    # Libraries print to standard output when they feel like it; the reports need a pipe of their own.
    out = os.dup(1)
    os.dup2(2, 1)
    child = Child(out)
    threading.Thread(target=child.listen, daemon=True).start()
    child.work()


if __name__ == "__main__":
    main()
