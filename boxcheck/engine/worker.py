"""The process that holds devices and runs stress modules on them; started by `boxcheck.engine.supervise`.

A hung driver, a broken context or a crash of a vendor's library ends this process and nothing else. Orders come on
standard input, reports go out on what was standard output; what libraries print goes to standard error. When the pipe
of orders closes, because boxcheck ended or was killed, the process ends at once, whatever it is doing.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Sequence

from boxcheck.engine.messages import (
    Beat,
    Devices,
    Ended,
    Failed,
    List,
    Open,
    Order,
    Report,
    Run,
    Sampled,
    Stop,
    Watched,
    decode_order,
    encode,
)
from boxcheck.engine.watch import Watch, refuse_harm
from boxcheck.gpu import Gpu, GpuError, Program, devices, open_gpu
from boxcheck.host.parent import die_with_parent
from boxcheck.kernels import Source
from boxcheck.stress.placement import place_near


class Worker:
    def __init__(self, out: int) -> None:
        self._out = out
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._gpus: list[Gpu] = []
        self._done = 0.0
        """Part of the running module that is done, as it said last."""

    def tell(self, report: Report) -> None:
        data = memoryview(encode(report) + b"\n")
        while data:
            data = data[os.write(self._out, data):]

    def listen(self) -> None:
        """Takes orders in, in a thread of its own: `stop` must be heard while a module runs, and the end of the pipe
        ends the process while a driver hangs."""
        for line in sys.stdin.buffer:
            order = decode_order(line)
            if isinstance(order, Stop):
                self._stopping.set()
            else:
                if isinstance(order, Run):  # here, since a `stop` that follows may come before the run has begun
                    self._stopping.clear()
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
                self.tell(Failed("bug", f"{type(error).__name__}: {error}", "", traceback.format_exc()))

    def _do(self, order: Order) -> None:
        match order:
            case List(backend):
                self.tell(Devices(devices(backend)))
            case Open(backend, indices):
                for index in indices:
                    gpu = open_gpu(backend, index)
                    # On the device itself and not before it: modules ask what kind of device they have.
                    gpu.build = self._announced(gpu.build)  # type: ignore[assignment, method-assign]
                    self._gpus.append(gpu)
                if len(self._gpus) == 1 and self._gpus[0].info.bdf is not None:
                    place_near(self._gpus[0].info.bdf)  # before memory of the host is pinned for it
                self.tell(Devices(tuple(gpu.info for gpu in self._gpus)))
            case Run():
                self._run(order)

    def _run(self, order: Run) -> None:
        from boxcheck.registry import STRESSES, discover_stress
        from boxcheck.stress import Rig

        discover_stress()
        self._done = 0.0
        watch = Watch([gpu.info for gpu in self._gpus], hot=order.inject == "hot")

        def look(at_once: bool = False) -> None:
            readings = watch.look(at_once=at_once)
            if readings is not None:
                self.tell(Watched(readings))
                refuse_harm(readings)

        def beat(text: str, done: float) -> None:
            self._done = min(max(done, 0.0), 1.0)
            self.tell(Beat(text, self._done))
            look()

        rig = Rig(
            self._faulty(order), seconds=order.seconds, seed=order.seed, options=order.options,
            stopping=self._stopping.is_set, beat=beat, start_at=order.start_at)
        try:
            beat("begins", 0.0)
            for sample in STRESSES[order.module].function(rig):
                self.tell(Sampled(sample))
            look(at_once=True)  # what happened after the last look, up to a second of load, is seen by this one
        finally:
            self._free()
            watch.close()
        self.tell(Ended(self._stopping.is_set()))

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
            self.tell(Beat(f"built {source.name}", self._done))
            return program

        return announced

    def _free(self) -> None:
        """Modules leave their memory to this: it is freed after failures too. The devices stay open."""
        for gpu in self._gpus:
            gpu.release()


def main() -> None:
    die_with_parent()
    # Libraries print to standard output when they feel like it; the reports need a pipe of their own.
    out = os.dup(1)
    os.dup2(2, 1)
    worker = Worker(out)
    threading.Thread(target=worker.listen, daemon=True).start()
    worker.work()


if __name__ == "__main__":
    main()
