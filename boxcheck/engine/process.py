"""One worker process, seen from outside: started, given orders, read, ended with all that it left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from boxcheck.engine.messages import Beat, Failed, Order, Report, Run, Stage, decode_report, encode
from boxcheck.gpu import GpuInfo
from boxcheck.host.common import one_line
from boxcheck.host.programs import STARTED, start_session

DRAIN_SECONDS = 1.6
"""For a worker that was told to stop, before it is killed: a piece of work lasts about a second, and whoever ends a run
is not to wait for two."""
DYING_SECONDS = 2.0
"""For a process that was killed, or that closed its pipe."""
_LINE_LIMIT = 8 << 20
_ERRORS_KEPT = 16 << 10
_WORDS_BYTES = 1 << 20
_WORDS_SECONDS = 0.5
"""What is read of a dead worker's last words: a process that it left behind may print without end."""


class Worker:
    """One worker process, seen from outside."""

    def __init__(self, *, environment: Mapping[str, str] | None = None, turns: int | None = None) -> None:
        """`turns`: descriptor of a turns.Table that it shares with others."""
        shared = () if turns is None else (turns,)
        # -P: it must not import from the directory that boxcheck was started in.
        self._process = start_session(
            [sys.executable, "-P", "-m", "boxcheck.engine.worker", *map(str, shared)], pass_fds=shared,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **environment} if environment else None)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.out, self.err = self._process.stdout.fileno(), self._process.stderr.fileno()
        os.set_blocking(self.out, False)
        os.set_blocking(self.err, False)
        self._half = bytearray()
        self._errors = bytearray()
        self.gpus: tuple[GpuInfo, ...] = ()
        self.alive = True
        self.stage: Stage = "open"
        """What it is at, as it said last."""
        self._spoke = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, order: Order) -> None:
        if isinstance(order, Run):
            self.stage = "open"  # until it says that it begins: modules and numpy are loaded first
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
            try:
                report = decode_report(line)
            except msgspec.DecodeError as error:
                # A library may print before the worker has parted the pipes; that is no report. What comes later is
                # one that was meant to be heard: a sample that is lost may be the one with the wrong words.
                if self._spoke:
                    words = one_line(line.decode("utf-8", "replace"), 120)
                    reports.append(Failed("bug", f"a report of the worker cannot be read ({error}): {words}"))
                continue
            self._spoke = True
            if isinstance(report, Beat):
                self.stage = report.stage
            reports.append(report)
        return reports, bool(chunk)

    def has_exited(self) -> bool:
        """Whether its process is gone. A process that it left behind may hold its pipes open."""
        return self._process.poll() is not None

    def read_rest(self) -> list[Report]:
        """Reports that are left in the pipe of a worker that has exited."""
        reports: list[Report] = []
        for _ in range(_LINE_LIMIT >> 16):
            if not _readable(self.out):
                break
            found, is_open = self.read()
            reports += found
            if not is_open:
                break
        return reports

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
        """The last line that it printed to standard error, of what is there now."""
        until, left = time.monotonic() + _WORDS_SECONDS, _WORDS_BYTES
        while left > 0 and time.monotonic() < until and _readable(self.err) and self.read_errors():
            left -= 1 << 16
        lines = [line for line in self._errors.decode("utf-8", "replace").splitlines() if line.strip()]
        return one_line(lines[-1])[:300] if lines else ""

    def kill(self) -> None:
        """Ends its session: the process itself and all that it left behind. Does not wait."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(DYING_SECONDS)
        status = self._process.returncode
        self.kill()
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
        self.kill()
        gone = True
        try:
            self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:
            gone = False
        if gone:
            STARTED.discard(self._process.pid)
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
        return gone


def _readable(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))
