"""Processes of a module of the host, from the outside: one for each core or drive, in step, let go when silent.

They are in the worker's process group: whatever ends the worker ends them, and the end of their pipes does so too.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.stress import Rig, Sample
from boxcheck.stress.host_orders import (
    Alive,
    Done,
    FromChild,
    Job,
    Order,
    Ready,
    Refused,
    Stop,
    ToChild,
    decode_report,
    encode,
)

HUNG_SECONDS = 30.0
"""Without a sign of life from a process, which gives two a second while it works. Less than what the supervisor of
the worker waits, so that the core or the drive is named; as long as the kernel waits for an answer of a drive before it
resets it (nvme_core.io_timeout, 30 s)."""
READY_SECONDS = 120.0
"""For a process to import numpy and make its data, beside as many others as there are cores."""
DRAIN_SECONDS = 1.0
BEAT_SECONDS = 0.1
STEP_SECONDS = 0.02
"""From an order to the common start."""
ONE_THREAD = {
    name: "1" for name in (
        "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "GOTO_NUM_THREADS")}
"""A library for matrices must start no threads of its own: these would leave the core."""
FATAL = frozenset((signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT))
"""Signals by which a process ends that computed or read nonsense. SIGBUS is what the kernel sends for a page of memory
with an error that ECC could not correct (Documentation/mm/hwpoison.rst)."""


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A process that did not come to its end."""

    kind: str
    """`hang`, `crash` (by a signal in FATAL), `ended` (any other way), `stopped`, or the kind of its refusal."""
    says: str
    help: str = ""


class Broken(Exception):
    """A bug of boxcheck's own in one of the processes, with its traceback."""


class Member:
    """One process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        # -P: it must not import from the directory that boxcheck was started in.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "boxcheck.stress.host_child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, close_fds=True, env={**os.environ, **ONE_THREAD})
        assert self._process.stdout is not None
        self.out = self._process.stdout.fileno()
        os.set_blocking(self.out, False)
        self._half = bytearray()
        self.heard = time.monotonic()
        self.send(job)

    def send(self, order: ToChild) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(encode(order) + b"\n")
            self._process.stdin.flush()

    def read(self) -> tuple[list[FromChild], bool]:
        """Reports that have come, and whether the pipe is still open."""
        try:
            chunk = os.read(self.out, 1 << 16)
        except BlockingIOError:
            return [], True
        self._half += chunk
        *lines, rest = bytes(self._half).split(b"\n")
        self._half = bytearray(rest)
        if lines:
            self.heard = time.monotonic()
        return [decode_report(line) for line in lines], bool(chunk)

    def how_it_ended(self) -> Lost:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(DRAIN_SECONDS)
        status = self._process.returncode
        if status is None:
            return Lost(kind="ended", says="closed its pipe and did not end")
        if status >= 0:
            return Lost(kind="ended", says=f"its process ended with status {status}")
        name = signal.Signals(-status).name
        if -status in FATAL:
            return Lost(kind="crash", says=f"its process was killed by {name}")
        memory = ", as the kernel does when memory runs out" if -status == signal.SIGKILL else ""
        return Lost(kind="ended", says=f"its process was killed by {name}{memory}")

    def close(self) -> None:
        """Closes its pipe of orders, at which it ends unless it hangs."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def end(self) -> bool:
        """Ends it, now. False when it does not die: it waits in the kernel for a device."""
        self.close()
        try:
            self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
        try:
            self._process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        assert self._process.stdout is not None
        self._process.stdout.close()
        return True


class Team:
    """All processes of a run. A context manager: none outlives it."""

    def __init__(self, rig: Rig, jobs: Sequence[Job]) -> None:
        self._rig = rig
        self._jobs = jobs
        self._began = time.monotonic()
        self._beat_at = 0.0
        self.members: dict[str, Member] = {}
        """Those that work, by name."""
        self.lost: dict[str, Lost] = {}
        """Those that do not any more, and why."""

    def __enter__(self) -> Team:
        try:
            for job in self._jobs:
                self.members[job.name] = Member(job)
        except OSError as error:
            self._end()
            raise GpuError("error", f"no process could be started: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for member in self.members.values():
            member.close()
        for member in self.members.values():
            member.end()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def restart(self) -> None:
        """Counts the time of the run from now on."""
        self._began = time.monotonic()

    def ready(self, text: str) -> Mapping[str, Ready]:
        """Waits until every process has what it needs."""
        found = self._hear(text, READY_SECONDS)
        return {name: report for name, report in found.items() if isinstance(report, Ready)}

    def go(self, order: Order, text: str) -> Mapping[str, Done]:
        """Has every process do a piece at the same time, and gives what each came to. Those that fall silent, crash or
        refuse are in `lost` from then on. A piece may end early when the run is stopped."""
        order = msgspec.structs.replace(order, start_at=time.monotonic() + STEP_SECONDS)
        for member in self.members.values():
            member.heard = time.monotonic()
            member.send(order)
        found = self._hear(text, HUNG_SECONDS)
        return {name: report for name, report in found.items() if isinstance(report, Done)}

    def _hear(self, text: str, silence: float) -> dict[str, FromChild]:
        """One answer of each, or its loss."""
        waiting = set(self.members)
        found: dict[str, FromChild] = {}
        stopped: float | None = None
        names = {member.out: name for name, member in self.members.items()}
        with selectors.DefaultSelector() as selector:
            for name in waiting:
                selector.register(self.members[name].out, selectors.EVENT_READ)
            while waiting:
                for key, _ in selector.select(0.1):
                    name = names[key.fd]
                    reports, is_open = self.members[name].read()
                    answers = [one for one in reports if not isinstance(one, Alive)]
                    if answers:
                        found[name] = answers[0]
                        waiting.discard(name)
                        selector.unregister(key.fd)
                        if isinstance(answers[0], Refused):
                            self._refused(name, answers[0])
                    elif not is_open:
                        selector.unregister(key.fd)
                        waiting.discard(name)
                        self._lose(name, self.members[name].how_it_ended())
                now = time.monotonic()
                if stopped is None and self._rig.stopping():
                    stopped = now
                    for name in waiting:
                        self.members[name].send(Stop())
                for name in tuple(waiting):
                    silent = now - self.members[name].heard
                    late = stopped is not None and now - stopped > DRAIN_SECONDS
                    if silent > silence or late:
                        selector.unregister(self.members[name].out)
                        waiting.discard(name)
                        self._lose(name, Lost(kind="stopped", says="it did not stop in time") if late else Lost(
                            kind="hang", says=f"no sign of life for {silent:.0f} s"))
                if now - self._beat_at >= BEAT_SECONDS:
                    # Also while one of them is silent: what hangs is told apart here, and named.
                    self._beat_at = now
                    self._rig.beat(text, self.elapsed / self._rig.seconds if self._rig.seconds else 1.0)
        return found

    def _refused(self, name: str, refused: Refused) -> None:
        if refused.kind == "bug":
            raise Broken(f"{name}: {refused.says}\n{refused.traceback}")
        self._lose(name, Lost(kind=refused.kind, says=refused.says, help=refused.help))

    def _lose(self, name: str, lost: Lost) -> None:
        gone = self.members.pop(name).end()
        if not gone:
            stays = "its process cannot be killed, it waits in the kernel"
            lost = msgspec.structs.replace(lost, says=f"{lost.says}; {stays}")
        self.lost[name] = lost


def followed(
    team: Team, what: str, key: str, notes_of: Callable[[str], Mapping[str, str | int | float]],
    more: Mapping[str, str | int | float] | None = None,
) -> Iterator[Sample]:
    """How many processes came to their end: each that hung or crashed is wrong, each that could not start, or was ended
    from outside, unchecked. `more` is told of all of them."""
    for name, lost in team.lost.items():
        bad = lost.kind in ("hang", "crash")
        help = {"help": lost.help} if lost.help else {}
        yield Sample(
            what=what, gpu=key, seconds=team.elapsed, of="digests", checked=int(bad), wrong=int(bad),
            notes={**notes_of(name), "kind": lost.kind, "says": lost.says, **help})
    yield Sample(
        what=what, gpu=key, seconds=team.elapsed, of="digests", checked=len(team.members), wrong=0,
        notes={"all": len(team.members) + len(team.lost), "came_through": len(team.members), **(more or {})})


def stop_if_none_is_left(team: Team) -> None:
    """GpuError where no process is left to go on with, for a reason that all share."""
    if not team.members and team.lost and not any(one.kind in ("hang", "crash") for one in team.lost.values()):
        first = next(iter(team.lost.values()))
        if first.kind != "stopped":
            kind = first.kind if first.kind in ("forbidden", "out-of-memory", "unsupported") else "error"
            raise GpuError(kind, first.says, first.help)  # type: ignore[arg-type]
