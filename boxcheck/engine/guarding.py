"""Safety while modules run, from the engine's side: the guard's process, and what the workers themselves told."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO

import msgspec

from boxcheck.engine.attention import Account, HeatWatch
from boxcheck.engine.guard import Order
from boxcheck.engine.safety import SENSORS, Guard, Limits, nearness
from boxcheck.engine.watch import vendor_of
from boxcheck.gpu import GpuInfo
from boxcheck.host.common import one_line
from boxcheck.host.programs import STARTED
from boxcheck.model import Unread
from boxcheck.stress.safety import Blind, BlindStop, Near, Safety, SafetyStop
from boxcheck.telemetry.readings import BoxReading, GpuReading, GpuSilent, Reading

SILENT_SECONDS = 10.0
"""The guard gives more than one account a second; this long without one, it says nothing of the box any more."""
STARTS = 3
"""Times that it is started when it dies."""
WORDS_BYTES = 4096
"""Kept of what it writes to its standard error, from the end."""
FIRST_SECONDS = 3.0
"""What a run that ends sooner waits for its first account: it starts in less than one, on a machine without load."""


class Guarding:
    """Watches while it is entered. `halted` turns true when load must end, and calls `crossed` the first time."""

    def __init__(
        self, gpus: Sequence[GpuInfo], limits: Limits, *, root: str = "/",
        crossed: Callable[[SafetyStop | BlindStop], None] = lambda stop: None,
    ) -> None:
        known = tuple(dict.fromkeys(
            (info.bdf, vendor) for info in gpus if info.bdf is not None and (vendor := vendor_of(info))))
        self._order = msgspec.json.encode(Order(gpus=known, root=root, limits=limits)) + b"\n"
        self._own = Guard(limits)
        self._crossed = crossed
        self._told = Safety()
        self._before = Safety()
        """What processes told that ended and were started anew."""
        self._account: Account | None = None
        self._box: BoxReading | None = None
        """Not taken yet."""
        self._blinds: dict[tuple[str, str, str], Blind] = {}
        self._heard = time.monotonic()
        self._longest = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._died = ""
        self._stop: SafetyStop | None = None
        self._heat = HeatWatch()
        self._blind: BlindStop | None = None
        self._entered = False
        self._given_up = False
        """Whether the process is gone and is not started anew."""
        self._settled = threading.Event()
        """Set by its first account, and when no account will come any more."""
        self._ended_after: float | None = None

    def __enter__(self) -> Guarding:
        self._entered = True
        threading.Thread(target=self._listen, daemon=True, name="guard").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._stop is None and self._blind is None:
            self._settled.wait(FIRST_SECONDS)
        self._longest = max(self._longest, time.monotonic() - self._heard)
        self._closing.set()
        process = self._process
        if process is not None:
            with suppress(OSError):
                process.kill()

    def _listen(self) -> None:
        """Only waits for a pipe: a driver that hangs, hangs the process at its other end."""
        for _ in range(STARTS):
            if self._closing.is_set():
                return
            self._run()
        self._given_up = not self._closing.is_set()  # else the last one was ended with the run
        self._settled.set()

    def _run(self) -> None:
        try:
            process = self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "boxcheck.engine.guard"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True, close_fds=True)
        except OSError as error:
            self._died = f"it could not be started: {error.strerror}"
            return
        STARTED.add(process.pid)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if self._closing.is_set():
            process.kill()
        words = bytearray()
        errors = threading.Thread(target=_keep_end, args=(process.stderr, words), daemon=True, name="guard's errors")
        errors.start()
        with suppress(OSError):
            process.stdin.write(self._order)
            process.stdin.flush()
        for line in process.stdout:
            with suppress(msgspec.DecodeError):
                account = msgspec.json.decode(line, type=Account)
                now = time.monotonic()
                self._told, self._account = account.safety, account
                self._box = account.box or self._box
                for one in account.safety.blind:
                    self._blinds[(one.limit, one.subject, one.sensor)] = one
                self._longest, self._heard = max(self._longest, now - self._heard), now
                self._settled.set()
        self._before = Safety(
            stop=self._told.stop or self._before.stop, nearest=_nearest(self._before, self._told),
            watched=_watched(self._before, self._told))
        if not self._closing.is_set():
            errors.join(1.0)
            last = words.decode("utf-8", "replace").strip().splitlines()[-1:]
            self._died = f"it ended{f': {one_line(last[0])[:200]}' if last else ''}"
        with suppress(subprocess.TimeoutExpired):  # one that hangs in a driver ends when that lets go of it
            process.wait(2)
            STARTED.discard(process.pid)
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()

    def see(self, worker: int, readings: Sequence[Reading]) -> None:
        """What a worker read of its devices; a second pair of eyes."""
        self._own.see(f"worker {worker}", readings)
        for one in readings:
            if isinstance(one, GpuReading):
                values = one.temperatures_celsius
                if not isinstance(values, Unread) and any(
                        named.name in SENSORS and not isinstance(named.value, Unread) for named in values):
                    self._heat.read(one.bdf, one.monotonic_seconds)
            elif isinstance(one, GpuSilent) and one.state in ("lost", "reset-required"):
                self._heat.lost(one.bdf)

    def box(self) -> BoxReading | None:
        """What was read of drives, supplies and fans since it was asked last; told once."""
        box, self._box = self._box, None
        return box

    def halted(self) -> bool:
        """Asked ten times a second."""
        if self._stop is None and self._blind is None:
            self._stop = self._told.stop or self._before.stop or self._own.stop
            if self._stop is None:
                self._blind = self._silent()
            stop = self._stop or self._blind
            if stop is not None:
                self._crossed(stop)
        return self._stop is not None or self._blind is not None

    def _silent(self) -> BlindStop | None:
        """A GPU that tells no temperature any more, neither to the guard nor to its worker."""
        now = time.monotonic()
        if self._account is not None:
            self._heat.told(self._account)
        found = self._heat.silent(now)
        if found is None:
            return None
        gone = f"the process that looks beside the workers is gone ({self._died})" if self._given_up else ""
        return BlindStop(
            subject=found[0], silent_seconds=round(found[1], 1), asked=not gone, why=gone, monotonic_seconds=now)

    def load_ended(self) -> None:
        """Says that no worker works any more."""
        stop = self._stop or self._blind
        if stop is not None and self._ended_after is None:
            self._ended_after = round(max(0.0, time.monotonic() - stop.monotonic_seconds), 3)

    def result(self) -> Safety:
        """What was seen, by the guard and by the workers."""
        every = (self._own.account(), self._told, self._before)
        return Safety(
            stop=self._stop, ended_after_seconds=self._ended_after, silent=self._untold(),
            blind=tuple(self._blinds.values()), blind_stop=self._blind, nearest=_nearest(*every),
            watched=_watched(*every))

    def _untold(self) -> str:
        """Why the process told nothing, or nothing any more, however short the run was; empty where it told."""
        if not self._entered:  # no module had anything to work on
            return ""
        why = f" ({self._died})" if self._died else ""
        if self._longest > SILENT_SECONDS:
            return f"the process that looks beside the workers told nothing for {self._longest:.0f} s{why}"
        if self._account is None:
            return f"the process that looks beside the workers told nothing at all{why}"
        if self._given_up:
            return f"the process that looks beside the workers is gone, and was started {STARTS} times{why}"
        return ""


def _keep_end(pipe: IO[bytes], words: bytearray) -> None:
    """Reads a pipe to its end, which else would fill and hold up who writes to it; keeps the last that was said."""
    with pipe, suppress(OSError):
        while piece := os.read(pipe.fileno(), 4096):
            words += piece
            del words[:-WORDS_BYTES]


def _nearest(*told: Safety) -> dict[str, Near]:
    """Of each limit the reading that came nearest, of all that were told."""
    found: dict[str, Near] = {}
    for one in told:
        for name, near in one.nearest.items():
            known = found.get(name)
            if known is None or nearness(name, near.value, near.bound) > nearness(name, known.value, known.bound):
                found[name] = near
    return found


def _watched(*told: Safety) -> tuple[str, ...]:
    return tuple(sorted({gpu for one in told for gpu in one.watched}))
