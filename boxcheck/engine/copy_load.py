"""Copies on every GPU while something else is read: the load behind `boxcheck.engine.wake`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from boxcheck.engine.messages import Beat, Run
from boxcheck.engine.stress import find_devices
from boxcheck.engine.supervise import Crew, Told
from boxcheck.gpu import Backend, GpuInfo
from boxcheck.model import Bdf, Unread

READY_SECONDS = 20.0
"""For drivers to start the GPUs and for workers to begin to copy; without persistence mode that takes seconds."""
SPARE_SECONDS = 3.0
"""Beyond the load that was asked for, before workers are ended."""
GOES_ON_SECONDS = 2.0
"""For the next sign of life of a worker that copies: 64 MiB each way, over the slowest link and twice as long."""


class _Copying:
    """One GPU's worker, in a thread of its own: one that does not open, or hangs, holds up no other."""

    def __init__(self, info: GpuInfo, seconds: float, silence_seconds: float, told: threading.Condition) -> None:
        self.info = info
        self.rounds = 0
        """Signs of life while it copied."""
        self.over = False
        self.why = ""
        """Why it did not copy, or does so no more."""
        self._told, self._stop = told, threading.Event()
        self._silence_seconds = silence_seconds
        self._order = Run(module="wake", seconds=seconds, seed=1)
        self.thread = threading.Thread(target=self._work, name=f"wake {info.key}", daemon=True)

    def stop(self) -> None:
        self._stop.set()

    def _work(self) -> None:
        try:
            with Crew([[self.info]], silence_seconds=self._silence_seconds) as crew:
                (part,) = crew.run(self._order, stopping=self._stop.is_set, seen=self._seen)
            why = "its copies came to their end" if part.trouble is None else part.trouble.says
        except Exception as error:  # noqa: BLE001  one GPU's reading is lost, and says so
            why = f"boxcheck's own error: {type(error).__name__}: {error}"
        with self._told:
            self.over, self.why = True, why
            self._told.notify_all()

    def _seen(self, of: tuple[GpuInfo, ...], what: Told) -> None:
        if isinstance(what, Beat) and what.done > 0:  # it copies; before, it only began to
            with self._told:
                self.rounds += 1
                self._told.notify_all()


class Loaded:
    """GPUs under load, as long as it lasts."""

    def __init__(self, wanted: frozenset[Bdf], workers: tuple[_Copying, ...], told: threading.Condition) -> None:
        self._wanted, self._workers, self._told = wanted, workers, told

    def wait(self, seconds: float) -> None:
        """Until every worker copies or has failed."""
        with self._told:
            self._told.wait_for(lambda: all(one.rounds or one.over for one in self._workers), seconds)

    def copying(self) -> frozenset[Bdf]:
        """The GPUs whose workers copied up to now and still do: each has given a sign of it after this was asked."""
        with self._told:
            before = {one.info.key: one.rounds for one in self._workers}
            self._told.wait_for(
                lambda: all(one.over or not before[one.info.key] or one.rounds > before[one.info.key]
                            for one in self._workers), GOES_ON_SECONDS)
            return frozenset(
                one.info.bdf for one in self._workers
                if one.info.bdf is not None and not one.over and 0 < before[one.info.key] < one.rounds)

    def why_not(self) -> Mapping[Bdf, str]:
        """Of each GPU that was to be put under load and is not, why."""
        with self._told:
            why = {bdf: "no runtime shows it" for bdf in self._wanted}
            for one in self._workers:
                if one.info.bdf is not None:
                    why[one.info.bdf] = one.why or (
                        "it copies no more and says nothing" if one.rounds else "it did not begin to copy in time")
            return why


class CopyLoad:
    """Puts copies on GPUs, each by a worker of its own: one that hangs costs its own reading and nothing else."""

    def __init__(self, devices: Iterable[GpuInfo] = (), *, silence_seconds: float = READY_SECONDS) -> None:
        self._devices = tuple(devices)
        self._silence_seconds = silence_seconds

    @contextmanager
    def load(self, gpus: Iterable[Bdf], seconds: float) -> Iterator[Loaded]:
        """Entering waits until every worker copies, or has failed; leaving ends them all."""
        wanted, told = frozenset(gpus), threading.Condition()
        # The first that copies goes on until the last one does, and through the readings.
        lasting = READY_SECONDS + seconds + SPARE_SECONDS
        workers = tuple(
            _Copying(info, lasting, self._silence_seconds, told) for info in self._devices if info.bdf in wanted)
        for one in workers:
            one.thread.start()
        loaded = Loaded(wanted, workers, told)
        loaded.wait(READY_SECONDS)
        try:
            yield loaded
        finally:
            for one in workers:
                one.stop()
            until = time.monotonic() + READY_SECONDS
            for one in workers:
                one.thread.join(max(0.0, until - time.monotonic()))


def find_load(vendors: Iterable[int]) -> CopyLoad | Unread:
    """The load for GPUs of these PCI vendors; Unread says why no runtime can drive them."""
    names: tuple[Backend, ...] = tuple(
        name for vendor, name in ((0x10DE, "cuda"), (0x1002, "hip")) if vendor in set(vendors))  # type: ignore[misc]
    devices: list[GpuInfo] = []
    why: list[str] = []
    for name in (*names, "opencl"):
        if name == "opencl" and devices:
            break
        found = find_devices(name)
        devices += [info for info in found.gpus if info.bdf is not None and info.is_gpu]
        why += [trouble.says for trouble in found.troubles.values()]
    if devices:
        return CopyLoad(devices)
    return Unread(f"no runtime can put load on the GPUs: {'; '.join(why) or 'none shows one'}", "unsupported")
