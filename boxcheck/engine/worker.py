"""The process that holds devices and runs stress modules on them; started by `boxcheck.engine.supervise`.

A hung driver, a broken context or a crash of a vendor's library ends this process and nothing else. Orders come on
standard input, reports go out on what was standard output; what libraries print goes to standard error. When the pipe
of orders closes, because boxcheck ended or was killed, the process ends at once, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Sequence

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
from boxcheck.gpu import Gpu, GpuError, devices, open_gpu


class Worker:
    def __init__(self, out: int) -> None:
        self._out = out
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._gpus: list[Gpu] = []

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
                    self._gpus.append(open_gpu(backend, index))
                self.tell(Devices(tuple(gpu.info for gpu in self._gpus)))
            case Run():
                self._run(order)

    def _run(self, order: Run) -> None:
        from boxcheck.registry import STRESSES, discover_stress
        from boxcheck.stress import Rig

        discover_stress()
        watch = Watch([gpu.info for gpu in self._gpus], hot=order.inject == "hot")

        def beat(text: str, done: float) -> None:
            self.tell(Beat(text, min(max(done, 0.0), 1.0)))
            readings = watch.look()
            if readings is not None:
                self.tell(Watched(readings))
                refuse_harm(readings)

        rig = Rig(
            self._faulty(order), seconds=order.seconds, seed=order.seed, options=order.options,
            stopping=self._stopping.is_set, beat=beat, start_at=order.start_at)
        try:
            beat("begins", 0.0)
            for sample in STRESSES[order.module].function(rig):
                self.tell(Sampled(sample))
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

    def _free(self) -> None:
        """Modules leave their memory to this: it is freed after failures too. The devices stay open."""
        for gpu in self._gpus:
            gpu.release()


PR_SET_PDEATHSIG = 1
"""Of linux/prctl.h: a signal to this process when the one that started it ends."""


def die_with_parent() -> None:
    """Has the kernel end this process when boxcheck is gone. The thread that listens does so too, but some bindings
    (hip-python before 10) keep it from running while a call of theirs hangs."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


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
