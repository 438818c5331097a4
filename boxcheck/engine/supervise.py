"""Workers from the outside: started, given orders, listened to, and ended when they fall silent.

One event loop over all workers' pipes; no threads. A worker that says nothing for longer than it may is killed and its
devices get a `hang`; one whose process ends gets a `crash`; the others go on. Both are faults of the GPU or its driver
only while the work itself runs: before it, a driver that starts or a compiler may be slow or broken (`endings`).
"""

from __future__ import annotations

import re
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

import msgspec

from boxcheck.engine.endings import crashed, hung, with_last_words
from boxcheck.engine.messages import (
    Beat,
    Devices,
    Ended,
    Failed,
    List,
    Open,
    Ready,
    Report,
    Run,
    Sampled,
    Stage,
    Stop,
    Watched,
)
from boxcheck.engine.process import DRAIN_SECONDS, Worker
from boxcheck.engine.start import Gathering
from boxcheck.engine.turns import Table
from boxcheck.gpu import Backend, GpuInfo
from boxcheck.stress import Sample, Trouble

START_SECONDS = 60.0
"""For a worker to import its libraries and open its devices: a driver without persistence mode starts the GPU first,
CUDA loads its own kernels, ROCm maps the memory."""
SILENCE_SECONDS = 45.0
"""Between two signs of life of a module. Pieces of work last about a second."""
BUILD_SECONDS = 240.0
"""For one kernel to be built: a second on most machines, up to about ten for the first, minutes where the compiler lies
on a network disk. More than compilers are given by those who start them (hip_compile.TIMEOUT_SECONDS)."""
HURRY_SECONDS = 0.4
"""For a worker that was told to stop for safety, before it is killed: a piece of work may take a second."""


Told: TypeAlias = Beat | Sample | Watched | Trouble
"""What is handed on of a worker as it comes: also that it failed, since a step may last hours longer."""


class Heard(msgspec.Struct, frozen=True):
    """Something that a worker said, or that became of it."""

    worker: Worker
    report: Report


def listen(
    workers: Sequence[Worker], silence_seconds: float, *, stopping: Callable[[], bool] = lambda: False,
    together: Gathering | None = None, hurry: Callable[[], bool] = lambda: False,
) -> Iterator[Heard]:
    """What the workers say, until each has said Ended, Failed or Devices, or is gone.

    Silence becomes Failed of a kind of `endings.STUCK`, the end of a process one of CRASHED; the worker is dead then.
    Silence may last `silence_seconds`, and longer while a kernel is built (BUILD_SECONDS) or nothing has begun
    (START_SECONDS).
    Those that are to begin `together` are started when all are ready; one that is late becomes Failed of kind LATE.
    When `stopping()` turns true the workers are told to stop, and killed when they have not after DRAIN_SECONDS more
    than a piece of work takes; where `hurry()` says that it is for safety, after HURRY_SECONDS and all at once.
    """
    waiting = {worker: time.monotonic() for worker in workers}
    told: float | None = None
    with selectors.DefaultSelector() as selector:
        for worker in waiting:
            selector.register(worker.out, selectors.EVENT_READ, worker)
            selector.register(worker.err, selectors.EVENT_READ, worker)
        while waiting:
            now = time.monotonic()
            if told is None and stopping():
                told = now
                for worker in waiting:
                    worker.send(Stop())
            heard: deque[Heard] = deque()
            for key, _ in selector.select(0.1):
                worker = key.data
                if not worker.alive:  # its other pipe told its end in this same round
                    continue
                if key.fd == worker.err:
                    if not worker.read_errors():
                        selector.unregister(worker.err)
                    continue
                reports, is_open = worker.read()
                if reports:
                    waiting[worker] = time.monotonic()
                heard.extend(Heard(worker, report) for report in reports)
                if not is_open:
                    heard.append(Heard(worker, crashed(worker)))
            now = time.monotonic()
            killed = told is not None and now - told > HURRY_SECONDS and hurry()
            drained = told is not None and now - told > DRAIN_SECONDS
            said = {one.worker for one in heard if isinstance(one.report, (Ended, Failed, Devices))}
            late = {one for one in waiting if drained and one not in said and not one.has_exited()}
            for worker in waiting if killed else late:  # before any of them is waited for
                worker.kill()
            for worker, last in waiting.items():
                if any(one.worker is worker and isinstance(one.report, (Ended, Failed, Devices)) for one in heard):
                    continue
                if killed:
                    worker.end()
                    heard.append(Heard(worker, Failed("stopped", "ended for safety: it did not stop at once")))
                elif worker in late:
                    worker.end()
                    heard.append(Heard(worker, Failed("stopped", "it did not stop in time and was ended")))
                elif worker.has_exited():
                    rest = worker.read_rest()
                    heard.extend(Heard(worker, report) for report in rest)
                    if not any(isinstance(report, (Ended, Failed, Devices)) for report in rest):
                        heard.append(Heard(worker, crashed(worker)))
                elif now - last > _patience(worker.stage, silence_seconds):
                    heard.append(Heard(worker, hung(worker, now - last)))
            if together is not None and told is None:
                heard.extend(_gathered(together, heard))
            for one in heard:
                if isinstance(one.report, (Ended, Failed, Devices)) and one.worker in waiting:
                    del waiting[one.worker]
                    for descriptor in (one.worker.out, one.worker.err):
                        with suppress(KeyError, ValueError):
                            selector.unregister(descriptor)
                yield one


def _gathered(together: Gathering, heard: Iterable[Heard]) -> list[Heard]:
    """Tells who became ready and who is gone, which may start them all, and ends those that are late."""
    for one in heard:
        match one.report:
            case Ready():
                together.came(one.worker)
            case Ended() | Failed():
                together.left(one.worker)
    late = together.begin()
    for worker in late:
        worker.end()
    return [Heard(worker, failed) for worker, failed in late.items()]


def _patience(stage: Stage, silence_seconds: float) -> float:
    return max(silence_seconds, {"open": START_SECONDS, "build": BUILD_SECONDS}.get(stage, 0.0))


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker's run of a module came to."""

    gpus: tuple[GpuInfo, ...]
    samples: tuple[Sample, ...]
    trouble: Trouble | None
    stopped: bool = False


def list_devices(backend: Backend, *, environment: Mapping[str, str] | None = None) -> tuple[GpuInfo, ...] | Trouble:
    """What a backend shows, asked in a process of its own."""
    return list_backends((backend,), environment=environment)[backend]


def list_backends(
    backends: Sequence[Backend], *, environment: Mapping[str, str] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[Backend, tuple[GpuInfo, ...] | Trouble]:
    """What each backend shows, all asked side by side, each in a process of its own: a driver that hangs is waited for
    once. When `stopping()` turns true those that have not answered get a trouble of kind `stopped`."""
    asked: dict[Worker, Backend] = {}
    found: dict[Backend, tuple[GpuInfo, ...] | Trouble] = {}
    try:
        for backend in backends:
            worker = Worker(environment=environment)
            asked[worker] = backend
            worker.send(List(backend))
        for heard in listen(tuple(asked), START_SECONDS, stopping=stopping):
            match heard.report:
                case Devices(gpus):
                    found[asked[heard.worker]] = gpus
                case Failed() as failed:
                    found[asked[heard.worker]] = _trouble((), "", failed)
    finally:
        for worker in asked:
            worker.end()
    return {backend: found[backend] for backend in backends}


def _trouble(gpus: tuple[str, ...], module: str, failed: Failed) -> Trouble:
    return Trouble(
        gpus=gpus, module=module, kind=failed.kind, says=failed.says, help=failed.help, traceback=failed.traceback)


def _named(group: Sequence[GpuInfo], failed: Failed) -> tuple[str, ...]:
    """The devices that a trouble is about: those that it names, of a group of several; else all of them."""
    keys = tuple(gpu.key for gpu in group)
    named = tuple(key for key in keys if re.search(rf"(?<![\w:]){re.escape(key)}(?!\d)", failed.says))
    return named or keys


class Crew:
    """Workers with their devices opened, for one run after another. A context manager: no process outlives it."""

    def __init__(
        self, groups: Sequence[Sequence[GpuInfo]], *, environment: Mapping[str, str] | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """A worker for each group; the devices of a group are of one backend."""
        self._groups = [tuple(group) for group in groups]
        self._environment = environment
        self._silence_seconds = silence_seconds
        self._workers: dict[int, Worker] = {}
        self._turns = Table()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            if worker.alive:
                worker.end()
        self._turns.close()

    def open_workers(self, stopping: Callable[[], bool] = lambda: False) -> list[Worker]:
        """Starts all workers and opens their devices ahead of the first run."""
        self._open(stopping)
        return [self._workers[number] for number in range(len(self._groups))]

    def run(
        self, order: Run | Sequence[Run], *, only: int | None = None, stopping: Callable[[], bool] = lambda: False,
        seen: Callable[[tuple[GpuInfo, ...], Told], None] = lambda gpus, what: None,
        heard: Callable[[int, Told], None] = lambda number, what: None,
        hurry: Callable[[], bool] = lambda: False,
    ) -> list[Part]:
        """Runs a module on every group side by side, or on each group its own, or on one group `only`. Samples that
        came before a trouble are kept. `hurry()` says that `stopping()` is for safety: who does not stop is killed."""
        orders = [order] * len(self._groups) if isinstance(order, Run) else list(order)
        failed_before = self._open(stopping)
        troubles: dict[int, Trouble] = {}
        samples: dict[int, list[Sample]] = {number: [] for number in range(len(self._groups))}
        stopped: set[int] = set()
        ready = {
            worker: number for number, worker in self._workers.items()
            if worker.alive and number not in failed_before and only in (None, number)}
        last: dict[int, str] = {}

        def fail(number: int, failed: Failed) -> None:
            group = self._groups[number]
            troubles[number] = _trouble(_named(group, failed), orders[number].module, failed)
            seen(group, troubles[number])
            heard(number, troubles[number])

        for number, failed in failed_before.items():
            if only in (None, number):
                fail(number, failed)
        together = Gathering(worker for worker, number in ready.items() if orders[number].together)
        for worker, number in ready.items():
            worker.send(orders[number])
        for said in listen(
                tuple(ready), self._silence_seconds, stopping=stopping, together=together, hurry=hurry):
            number = ready[said.worker]
            match said.report:
                case Beat() | Watched() as told:
                    if isinstance(told, Beat):
                        last[number] = told.text
                    seen(self._groups[number], told)
                    heard(number, told)
                case Sampled(sample):
                    samples[number].append(sample)
                    seen(self._groups[number], sample)
                    heard(number, sample)
                case Ended(True):
                    stopped.add(number)
                case Failed() as failed:
                    fail(number, with_last_words(failed, last.get(number)))
                    if failed.kind in ("lost", "bug", "timeout", "error"):  # its context may be broken for good
                        said.worker.end()
        return [
            Part(gpus=group, samples=tuple(samples[number]), stopped=number in stopped, trouble=troubles.get(number))
            for number, group in enumerate(self._groups) if only in (None, number)]

    def _open(self, stopping: Callable[[], bool]) -> dict[int, Failed]:
        """Starts the workers that are not there, and gives what kept a group from being opened."""
        fresh: dict[Worker, int] = {}
        for number, group in enumerate(self._groups):
            known = self._workers.get(number)
            if known is None or not known.alive:
                self._workers[number] = worker = Worker(
                    environment=self._environment, turns=self._turns.descriptor)
                fresh[worker] = number
                worker.send(Open(group[0].backend, tuple(gpu.index for gpu in group)))
        troubles: dict[int, Failed] = {}
        for heard in listen(tuple(fresh), START_SECONDS, stopping=stopping):
            if isinstance(heard.report, Failed):
                troubles[fresh[heard.worker]] = heard.report
                if heard.worker.alive:
                    heard.worker.end()
        return troubles
