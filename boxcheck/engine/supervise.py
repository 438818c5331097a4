"""Workers from the outside: started, given orders, listened to, and ended when they fall silent.

One event loop over all workers' pipes; no threads. A worker that says nothing for longer than it may is killed and its
devices get a `hang`; one whose process ends gets a `crash`; the others go on.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
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
    Order,
    Report,
    Run,
    Sampled,
    Stop,
    Watched,
    decode_report,
    encode,
)
from boxcheck.gpu import Backend, GpuInfo
from boxcheck.host.common import one_line
from boxcheck.host.programs import STARTED
from boxcheck.stress import Sample, Trouble

START_SECONDS = 60.0
"""For a worker to import its libraries and open its devices: a driver without persistence mode starts the GPU first,
CUDA loads its own kernels, ROCm maps the memory."""
SILENCE_SECONDS = 45.0
"""Between two signs of life of a module. Pieces of work last about a second; compiling a kernel the first time takes
up to about ten."""
DRAIN_SECONDS = 2.0
"""For a worker that was told to stop, before it is killed."""
_LINE_LIMIT = 8 << 20
_ERRORS_KEPT = 16 << 10


class Worker:
    """One worker process, seen from outside."""

    def __init__(self, *, environment: Mapping[str, str] | None = None) -> None:
        # -P: it must not import from the directory that boxcheck was started in.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "boxcheck.engine.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, close_fds=True,
            env={**os.environ, **environment} if environment else None)
        STARTED.add(self._process.pid)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.out, self.err = self._process.stdout.fileno(), self._process.stderr.fileno()
        os.set_blocking(self.out, False)
        os.set_blocking(self.err, False)
        self._half = bytearray()
        self._errors = bytearray()
        self.gpus: tuple[GpuInfo, ...] = ()
        self.alive = True

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, order: Order) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(encode(order) + b"\n")
            self._process.stdin.flush()

    def read(self) -> tuple[list[Report], bool]:
        """Reports that have come, and whether the pipe is still open."""
        try:
            chunk = os.read(self.out, 1 << 16)
        except BlockingIOError:
            return [], True
        self._half += chunk
        *lines, rest = bytes(self._half).split(b"\n")
        self._half = bytearray(rest[-_LINE_LIMIT:])
        reports: list[Report] = []
        for line in lines:
            # A library may print before the worker has parted the pipes; that is no report.
            with suppress(msgspec.DecodeError):
                reports.append(decode_report(line))
        return reports, bool(chunk)

    def read_errors(self) -> bool:
        """Keeps the end of what it prints to standard error; False at its end."""
        try:
            chunk = os.read(self.err, 1 << 16)
        except BlockingIOError:
            return True
        self._errors += chunk
        del self._errors[:-_ERRORS_KEPT]
        return bool(chunk)

    def last_words(self) -> str:
        """The last line that it printed to standard error."""
        while self.read_errors() and self._ready():
            pass
        lines = [line for line in self._errors.decode("utf-8", "replace").splitlines() if line.strip()]
        return one_line(lines[-1])[:300] if lines else ""

    def _ready(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self.err, selectors.EVENT_READ)
            return bool(selector.select(0))

    def how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(DRAIN_SECONDS)
        status = self._process.returncode
        if status is None:
            return "closed its pipe and did not end"
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        words = self.last_words()
        return f"{how}: {words}" if words else how

    def end(self) -> bool:
        """Ends the process, now. False when it does not die: it hangs in the kernel, and stays until that lets go."""
        self.alive = False
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        gone = True
        try:
            self._process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            gone = False
        if gone:
            STARTED.discard(self._process.pid)
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
        return gone


class Heard(msgspec.Struct, frozen=True):
    """Something that a worker said, or that became of it."""

    worker: Worker
    report: Report


def listen(
    workers: Sequence[Worker], silence_seconds: float, *, stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Heard]:
    """What the workers say, until each has said Ended, Failed or Devices, or is gone.

    Silence becomes Failed of kind `hang`, the end of a process Failed of kind `crash`; the worker is dead then. When
    `stopping()` turns true the workers are told to stop, and killed when they have not after DRAIN_SECONDS more than a
    piece of work takes.
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
                    heard.append(Heard(worker, Failed("crash", f"the worker {worker.how_it_ended()}")))
                    worker.end()
            now = time.monotonic()
            for worker, last in waiting.items():
                if any(one.worker is worker and isinstance(one.report, (Ended, Failed, Devices)) for one in heard):
                    continue
                if told is not None and now - told > DRAIN_SECONDS:
                    worker.end()
                    heard.append(Heard(worker, Failed("stopped", "it did not stop in time and was ended")))
                elif now - last > silence_seconds:
                    heard.append(Heard(worker, _hang(worker, now - last)))
            for one in heard:
                if isinstance(one.report, (Ended, Failed, Devices)) and one.worker in waiting:
                    del waiting[one.worker]
                    for descriptor in (one.worker.out, one.worker.err):
                        with suppress(KeyError, ValueError):
                            selector.unregister(descriptor)
                yield one


def _hang(worker: Worker, silent: float) -> Failed:
    gone = worker.end()
    stays = "" if gone else "; its process cannot be killed, it hangs in the kernel's driver: reboot to free the GPU"
    return Failed("hang", f"no sign of life for {silent:.0f} s{stays}", "look into the kernel log: boxcheck triage")


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
    if failed.kind not in ("hang", "crash") or not text:
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
