"""Workers from the outside: started, given orders, listened to, and ended when they fall silent.

One event loop over all workers' pipes; no threads. A worker that says nothing for longer than it may is killed and its
devices get a `hang`; one whose process ends gets a `crash`; the others go on. Both are faults of the GPU or its driver
only while the work itself runs: before it, a driver that starts or a compiler may be slow or broken (STUCK, CRASHED).
"""

from __future__ import annotations

import re
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec

from boxcheck.engine.messages import (
    Beat,
    Devices,
    Ended,
    Failed,
    List,
    Open,
    Report,
    Run,
    Sampled,
    Stage,
    Stop,
    Watched,
)
from boxcheck.engine.process import DRAIN_SECONDS, Worker
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
STUCK: Mapping[Stage, str] = {"open": "stuck-opening", "build": "stuck-building", "load": "hang"}
CRASHED: Mapping[Stage, str] = {"open": "crashed-opening", "build": "crashed-building", "load": "crash"}
"""Kinds of Failed by what the worker was at."""


class Heard(msgspec.Struct, frozen=True):
    """Something that a worker said, or that became of it."""

    worker: Worker
    report: Report


def listen(
    workers: Sequence[Worker], silence_seconds: float, *, stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Heard]:
    """What the workers say, until each has said Ended, Failed or Devices, or is gone.

    Silence becomes Failed of a kind of STUCK, the end of a process one of CRASHED; the worker is dead then. Silence may
    last `silence_seconds`, and longer while a kernel is built (BUILD_SECONDS) or nothing has begun (START_SECONDS).
    When `stopping()` turns true the workers are told to stop, and killed when they have not after DRAIN_SECONDS more
    than a piece of work takes.
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
                    heard.append(Heard(worker, _crash(worker)))
            now = time.monotonic()
            for worker, last in waiting.items():
                if any(one.worker is worker and isinstance(one.report, (Ended, Failed, Devices)) for one in heard):
                    continue
                if worker.has_exited():
                    rest = worker.read_rest()
                    heard.extend(Heard(worker, report) for report in rest)
                    if not any(isinstance(report, (Ended, Failed, Devices)) for report in rest):
                        heard.append(Heard(worker, _crash(worker)))
                elif told is not None and now - told > DRAIN_SECONDS:
                    worker.end()
                    heard.append(Heard(worker, Failed("stopped", "it did not stop in time and was ended")))
                elif now - last > _patience(worker.stage, silence_seconds):
                    heard.append(Heard(worker, _hang(worker, now - last)))
            for one in heard:
                if isinstance(one.report, (Ended, Failed, Devices)) and one.worker in waiting:
                    del waiting[one.worker]
                    for descriptor in (one.worker.out, one.worker.err):
                        with suppress(KeyError, ValueError):
                            selector.unregister(descriptor)
                yield one


def _patience(stage: Stage, silence_seconds: float) -> float:
    return max(silence_seconds, {"open": START_SECONDS, "build": BUILD_SECONDS, "load": 0.0}[stage])


_NO_PROOF: Mapping[Stage, str] = {
    "open": "the GPU did no work yet: look at its driver (boxcheck doctor), then run it again",
    "build": "the GPU did no work meanwhile: look at the compiler and the driver, then run it again",
    "load": "look into the kernel log: boxcheck triage",
}
_WHILE: Mapping[Stage, str] = {"open": " before its work began", "build": " while it built a kernel", "load": ""}


def _hang(worker: Worker, silent: float) -> Failed:
    gone, stage = worker.end(), worker.stage
    stays = "" if gone else "; its process cannot be killed, it hangs in the kernel's driver: reboot to free the GPU"
    return Failed(STUCK[stage], f"no sign of life for {silent:.0f} s{_WHILE[stage]}{stays}", _NO_PROOF[stage])


def _crash(worker: Worker) -> Failed:
    how, stage = worker.how_it_ended(), worker.stage
    worker.end()
    help = "" if stage == "load" else _NO_PROOF[stage]
    return Failed(CRASHED[stage], f"the worker {how}{_WHILE[stage]}", help)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker's run of a module came to."""

    gpus: tuple[GpuInfo, ...]
    samples: tuple[Sample, ...]
    trouble: Trouble | None
    stopped: bool = False


def list_devices(backend: Backend, *, environment: Mapping[str, str] | None = None) -> tuple[GpuInfo, ...] | Trouble:
    """What a backend shows, asked in a process of its own."""
    worker = Worker(environment=environment)
    try:
        worker.send(List(backend))
        for heard in listen([worker], START_SECONDS):
            match heard.report:
                case Devices(gpus):
                    return gpus
                case Failed() as failed:
                    return _trouble((), "", failed)
        raise AssertionError("a worker ends with one of these")
    finally:
        worker.end()


def _trouble(gpus: tuple[str, ...], module: str, failed: Failed) -> Trouble:
    return Trouble(
        gpus=gpus, module=module, kind=failed.kind, says=failed.says, help=failed.help, traceback=failed.traceback)


def _with_last_words(failed: Failed, text: str | None) -> Failed:
    """A hang or a crash, with what the worker was doing."""
    if failed.kind not in (*STUCK.values(), *CRASHED.values()) or not text:
        return failed
    return msgspec.structs.replace(failed, says=f"{failed.says}; it was at: {text}")


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

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            if worker.alive:
                worker.end()

    def open_workers(self, stopping: Callable[[], bool] = lambda: False) -> list[Worker]:
        """Starts all workers and opens their devices ahead of the first run."""
        self._open(stopping)
        return [self._workers[number] for number in range(len(self._groups))]

    def run(
        self, order: Run | Sequence[Run], *, only: int | None = None, stopping: Callable[[], bool] = lambda: False,
        seen: Callable[[tuple[GpuInfo, ...], Beat | Sample | Watched], None] = lambda gpus, what: None,
        heard: Callable[[int, Beat | Sample | Watched], None] = lambda number, what: None,
    ) -> list[Part]:
        """Runs a module on every group side by side, or on each group its own, or on one group `only`. Samples that
        came before a trouble are kept. A device that is too hot stops all of them: its neighbours heat it."""
        orders = [order] * len(self._groups) if isinstance(order, Run) else list(order)
        too_hot: list[bool] = []
        troubles = self._open(stopping)
        samples: dict[int, list[Sample]] = {number: [] for number in range(len(self._groups))}
        stopped: set[int] = set()
        ready = {
            worker: number for number, worker in self._workers.items()
            if worker.alive and number not in troubles and only in (None, number)}
        last: dict[int, str] = {}
        now = time.monotonic()
        for worker, number in ready.items():
            one = orders[number]
            if one.start_at is not None:  # a moment in the future, counted from when all are ready
                one = msgspec.structs.replace(one, start_at=now + one.start_at)
            worker.send(one)
        for said in listen(
                tuple(ready), self._silence_seconds, stopping=lambda: stopping() or bool(too_hot)):
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
                    troubles[number] = _with_last_words(failed, last.get(number))
                    if failed.kind == "too-hot":
                        too_hot.append(True)
                    if failed.kind in ("lost", "bug", "timeout", "error"):  # its context may be broken for good
                        said.worker.end()
        return [
            Part(gpus=group, samples=tuple(samples[number]), stopped=number in stopped, trouble=(
                _trouble(_named(group, troubles[number]), orders[number].module, troubles[number])
                if number in troubles else None))
            for number, group in enumerate(self._groups) if only in (None, number)]

    def _open(self, stopping: Callable[[], bool]) -> dict[int, Failed]:
        """Starts the workers that are not there, and gives what kept a group from being opened."""
        fresh: dict[Worker, int] = {}
        for number, group in enumerate(self._groups):
            known = self._workers.get(number)
            if known is None or not known.alive:
                self._workers[number] = worker = Worker(environment=self._environment)
                fresh[worker] = number
                worker.send(Open(group[0].backend, tuple(gpu.index for gpu in group)))
        troubles: dict[int, Failed] = {}
        for heard in listen(tuple(fresh), START_SECONDS, stopping=stopping):
            if isinstance(heard.report, Failed):
                troubles[fresh[heard.worker]] = heard.report
                if heard.worker.alive:
                    heard.worker.end()
        return troubles
