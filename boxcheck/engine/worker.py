"""The process that holds devices and runs stress modules on them; started by `boxcheck.engine.supervise`.

A hung driver, a broken context or a crash of a vendor's library ends this process and nothing else. Orders come on
standard input, reports go out on what was standard output; what libraries print goes to standard error. When the pipe
of orders closes, because boxcheck ended or was killed, the process ends at once, whatever it is doing.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence

import msgspec

from boxcheck.engine.messages import (
    Beat,
    Devices,
    Ended,
    Failed,
    List,
    Open,
    Order,
    Ready,
    Report,
    Run,
    Sampled,
    Stage,
    Start,
    Stop,
    Watched,
    decode_order,
    encode,
)
from boxcheck.engine.turns import Turns
from boxcheck.engine.watch import Watch, refuse_lost
from boxcheck.gpu import Gpu, GpuError, Program, devices, open_gpu
from boxcheck.gpu.pci_id import identified
from boxcheck.host.common import one_line
from boxcheck.host.parent import die_with_parent
from boxcheck.kernels import Source
from boxcheck.stress.placement import place_near

WAIT_SECONDS = 1.0
"""Between signs of life of a worker that waits for the others."""


class Worker:
    def __init__(self, out: int, turns: Turns) -> None:
        self._out, self._turns = out, turns
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._gpus: list[Gpu] = []
        self._done = 0.0
        """Part of the running module that is done, as it said last."""
        self._library: str | None = None
        """The vendor's library that works now."""
        self._telling = threading.Lock()
        self._begin = threading.Event()
        self._start_at: float | None = None

    def tell(self, report: Report) -> None:
        data = memoryview(encode(report) + b"\n")
        with self._telling:  # both threads do, and a long line goes out in pieces
            while data:
                data = data[os.write(self._out, data):]

    def listen(self) -> None:
        """Takes orders in, in a thread of its own: `stop` must be heard while a module runs, and the end of the pipe
        ends the process while a driver hangs."""
        for line in sys.stdin.buffer:
            try:
                order = decode_order(line)
            except msgspec.DecodeError as error:  # else this thread ends, and `stop` is never heard again
                words = one_line(line.decode("utf-8", "replace"), 120)
                self.tell(Failed("bug", f"an order of boxcheck cannot be read ({error}): {words}"))
                continue
            match order:
                case Stop():
                    self._stopping.set()
                    self._begin.set()
                case Start(at):
                    self._start_at = at
                    self._begin.set()
                case Run():  # here, since a `stop` that follows may come before the run has begun
                    self._stopping.clear()
                    self._begin.clear()
                    self._start_at = None
                    self._orders.put(order)
                case _:
                    self._orders.put(order)
        os._exit(0)

    def work(self) -> None:
        while True:
            order = self._orders.get()
            try:
                self._do(order)
            except GpuError as error:
                self.tell(Failed(error.kind, error.says, error.help))
            except MemoryError:
                self.tell(Failed("out-of-memory", "the host ran out of memory"))
            except Exception as error:  # noqa: BLE001  told to the supervisor, which ends with exit code 4
                import traceback  # nobody else needs it, and it takes as long to import as half of the rest

                self.tell(Failed("bug", f"{type(error).__name__}: {error}", "", traceback.format_exc()))

    def _do(self, order: Order) -> None:
        match order:
            case List(backend):
                self.tell(Devices(tuple(map(identified, devices(backend)))))
            case Open(backend, indices):
                for index in indices:
                    gpu = open_gpu(backend, index)
                    # On the device itself and not before it: modules ask what kind of device they have.
                    gpu.build = self._announced(gpu.build)  # type: ignore[assignment, method-assign]
                    self._gpus.append(gpu)
                if len(self._gpus) == 1 and self._gpus[0].info.bdf is not None:
                    place_near(self._gpus[0].info.bdf)  # before memory of the host is pinned for it
                self.tell(Devices(tuple(identified(gpu.info) for gpu in self._gpus)))
            case Run():
                self._run(order)

    def _run(self, order: Run) -> None:
        from boxcheck.registry import stress_named
        from boxcheck.stress import Rig

        module = stress_named(order.module)
        self._done, self._library = 0.0, None
        watch = Watch(
            [gpu.info for gpu in self._gpus], hot=order.inject == "hot", turns=self._turns, module=order.module)

        def look(at_once: bool = False) -> None:
            readings = watch.look(at_once=at_once)
            if readings is not None:
                self.tell(Watched(readings))
                refuse_lost(readings)

        def beat(text: str, done: float) -> None:
            self._done = min(max(done, 0.0), 1.0)
            self.tell(Beat(f"{self._library}: {text}" if self._library else text, self._done, self._stage))
            look()

        def working(library: str | None) -> None:
            self._library = library
            beat("begins to work" if library else "the library has worked", self._done)

        def start() -> float | None:
            self.tell(Ready())
            while not self._begin.wait(WAIT_SECONDS):
                beat("waiting for the other devices", self._done)
            return self._start_at

        rig = Rig(
            self._faulty(order), seconds=order.seconds, seed=order.seed, options=order.options,
            stopping=self._stopping.is_set, beat=beat, working=working, **({"start": start} if order.together else {}))
        try:
            beat("begins", 0.0)
            for sample in module.function(rig):
                self.tell(Sampled(sample))
            look(at_once=True)  # what happened after the last look, up to a second of load, is seen by this one
        finally:
            self._free()
            watch.close()
        self.tell(Ended(self._stopping.is_set()))

    @property
    def _stage(self) -> Stage:
        return "library" if self._library else "load"

    def _faulty(self, order: Run) -> Sequence[Gpu]:
        """The devices, the first one with the fault that was asked for."""
        if order.inject is None or order.inject == "hot":
            return self._gpus
        from boxcheck.stress.faults import FaultyGpu

        fault: list[object] = [order.inject, *[None] * (len(self._gpus) - 1)]
        wrapped: list[object] = [
            FaultyGpu(gpu, one, after=order.inject_after, seconds=order.seconds, seed=order.seed)  # type: ignore[arg-type]
            for gpu, one in zip(self._gpus, fault, strict=True)]
        return wrapped  # type: ignore[return-value]

    def _announced(self, build: Callable[[Source], Program]) -> Callable[[Source], Program]:
        """`build` of a device, told before and after: a compiler takes longer than a piece of work may, and one that
        hangs or crashes is no fault of the GPU."""

        def announced(source: Source) -> Program:
            self.tell(Beat(f"building {source.name}", self._done, "build"))
            program = build(source)
            self.tell(Beat(f"built {source.name}", self._done, self._stage))
            return program

        return announced

    def _free(self) -> None:
        """Modules leave their memory to this: it is freed after failures too. The devices stay open."""
        for gpu in self._gpus:
            gpu.release()


def main() -> None:
    die_with_parent()
    # A machine that shuts down sends SIGTERM to every process at once, and whoever ends a run by its process group to
    # all of them: a worker that dies of it would be taken for a crash under load. The supervisor says `stop`, or ends.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Libraries print to standard output when they feel like it; the reports need a pipe of their own.
    out = os.dup(1)
    os.dup2(2, 1)
    worker = Worker(out, Turns(int(sys.argv[1]) if len(sys.argv) > 1 else None))
    threading.Thread(target=worker.listen, daemon=True).start()
    worker.work()


if __name__ == "__main__":
    main()
