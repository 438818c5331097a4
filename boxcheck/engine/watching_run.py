"""A watch: the instruments of a burn-in beside the owner's own work, with no load of its own. Kept as a run.

What is read comes from a process of its own (instruments_child.py) once a second; the kernel's log, the devices and
the host's memory are looked at here. A notice is told at once, a line each minute, and at the end what has changed.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import msgspec

from boxcheck.engine.begin import packed
from boxcheck.engine.command import Command, Watched
from boxcheck.engine.heard import Heard
from boxcheck.engine.identities import identified
from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.engine.instruments_child import Asked, InstrumentsChild
from boxcheck.engine.notices import Notice, Notices
from boxcheck.engine.stress import decides
from boxcheck.engine.surroundings import Surroundings, keep
from boxcheck.engine.watch_judging import AFTER, BEFORE, MODULE, compare, judge_phase, judge_watch
from boxcheck.gpu import Backend, GpuInfo
from boxcheck.host.live import LiveHost
from boxcheck.judge import judge
from boxcheck.model import Crash, Finding, Outcome, Unread, Verdict, worst
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.profile import Profile
from boxcheck.store.rows import PhasePlan, PhaseStart
from boxcheck.store.writer import RunWriter
from boxcheck.stress import StressResults
from boxcheck.stress.happenings import Detail, Happening, Severity
from boxcheck.stress.tally import Tally, Watching
from boxcheck.stress.watch_checks import Changes, Looked
from boxcheck.telemetry.readings import GpuSilent, Reading

PHASE = 1
TICK_SECONDS = 1.0
LINE_SECONDS = 60.0
FIRST_SECONDS = 10.0
"""For the first reading, before a command is started: counters are judged by their growth from then on. A driver
without persistence mode starts the GPU first."""
SILENT_SECONDS = 5.0
"""Without a reading, from which the time in between counts as not watched."""
HUNG_SECONDS = 60.0
"""Without a reading, from which its process is given up and another one started."""
STARTS = 3
BACKENDS: Mapping[str, Backend] = {"10de": "cuda", "1002": "hip", "8086": "opencl"}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Something for who looks on."""

    seconds: float
    """Since the watch began."""
    kind: str
    """Of an event; `line` for the line of a minute."""
    says: str
    severity: Severity = "info"
    subject: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What a watch came to."""

    verdict: Verdict
    watching: Watching
    results: StressResults
    changes: Changes
    ledger: Mapping[str, Any]
    events: tuple[Told, ...]
    """Those that are more than information; the first thousand."""
    events_in_all: int
    seconds: float
    status: int | None
    """Exit code of the command; None where there was none, or nobody knows."""
    reason: str = ""
    """Why it ended before what was watched did."""
    trouble: str = ""
    """Why the store does not hold all of it."""


def gpus_of(facts: Facts) -> tuple[tuple[GpuInfo, ...], tuple[str, ...], Mapping[str, str]]:
    """The GPUs of the machine from what the PCI bus shows, since no runtime is asked; their vendors; slots by key.
    One that a virtual machine has (vfio-pci) is left out, and so is the graphics of the processor beside cards."""
    found = facts.of(Gpus)
    every = () if isinstance(found, Unread) else tuple(
        gpu for gpu in found.gpus if gpu.driver != "vfio-pci" and gpu.vendor in BACKENDS)
    cards = tuple(gpu for gpu in every if not gpu.integrated) or every
    counts = dict.fromkeys(BACKENDS, 0)
    infos: list[GpuInfo] = []
    for gpu in cards:
        infos.append(_info(gpu, counts[gpu.vendor]))
        counts[gpu.vendor] += 1
    slots = {info.key: gpu.slot for info, gpu in zip(infos, cards, strict=True) if gpu.slot}
    return tuple(infos), tuple(gpu.vendor for gpu in cards), slots


def _info(gpu: Gpu, index: int) -> GpuInfo:
    part = gpu.part
    memory = round((part.vram_gib or 0) * 2**30) if part else 0
    return GpuInfo(
        backend=BACKENDS[gpu.vendor], index=index, name=gpu.name, arch=part.arch if part else "", bdf=gpu.bdf,
        memory_bytes=memory, free_bytes=0, compute_units=(part.compute_units or 0) if part else 0, unified=False,
        is_gpu=True, driver=gpu.driver if isinstance(gpu.driver, str) else "")


class WatchRun:
    """One watch."""

    def __init__(
        self, store: RunWriter, want: Profile, *, certain: bool, host: LiveHost, facts: Facts,
        start: Callable[[], Watched], told: Callable[[Told], None], root: str = "/",
        around: Surroundings | None = None, doctor: Callable[[], tuple[LiveHost, Facts]] | None = None,
    ) -> None:
        """`start` begins what is watched, when the instruments have been read once. `told` shows something."""
        self._store, self._want, self._certain = store, want, certain
        self._host, self._facts, self._start, self._told = host, facts, start, told
        self._root = root
        self._doctor = doctor or _look
        found, self._vendors, self._slots = gpus_of(facts)
        self.gpus = identified(found, facts)
        self._around = around or Surroundings(root)
        self._tally, self._notices = Tally(self.gpus), Notices(self.gpus, self._slots)
        self._heard_of = Heard(self.gpus, self._slots)
        self._began = time.monotonic()
        self._child: InstrumentsChild | None = None
        self._starts = 0
        self._heard = self._began
        self._readings = 0
        self._is_silent = False
        self._line_at = self._began + LINE_SECONDS
        self._events: list[Told] = []
        self._number = 0
        self._target: Watched | None = None
        self._asked = 0
        """Signals that asked for the end of the watching."""
        self._signal_number = 0
        self._ending = False
        self._reason = ""
        self._before: dict[int, Any] = {}

    def run(self) -> Ended:
        """Watches to the end, and judges. What is watched is started after the machine was read."""
        store = self._store
        store.attach(BEFORE, packed(self._host), "application/gzip")
        store.plan_phase(PhasePlan(
            number=PHASE, name="watch", module=MODULE, devices=tuple(info.key for info in self.gpus)))
        store.about(PHASE, "watch")
        store.begin_phase(PHASE, PhaseStart(gpus=self.gpus, slots=self._slots))
        self._around.follow(self.gpus, self._slots)
        with self._signals() as woken:
            try:
                self._open_instruments()
                self._look_around()
                self._await_first_reading()
                if not self._asked:
                    self._target = self._start()
                    self._catch_up()
                    self._follow(woken)
            except Exception:  # boxcheck's own error ends no work of the owner's, and is told when that is over
                while self._target is not None and not self._target.ended() and not self._asked:
                    time.sleep(0.1)
                raise
            finally:
                if self._child is not None:
                    self._child.close()
                if self._target is not None:
                    self._target.close()
            return self._finish()

    # While it goes on.

    def _catch_up(self) -> None:
        """A signal that came while the command was being started was meant for it."""
        assert self._target is not None
        if self._asked and self._target.pass_on(self._signal_number):
            self._asked, self._reason = 0, ""

    def _follow(self, woken: int) -> None:
        target = self._target
        assert target is not None
        next_tick = time.monotonic()
        while not target.ended() and not self._asked:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = max(next_tick + TICK_SECONDS, now)
                self._tick(now)
            self._wait(woken, next_tick)
        if isinstance(target, Command) and target.left_behind():
            self._notice(Notice("left-behind", "the command left processes behind, which are not watched any more: "
                                "boxcheck watch --pid PID", "warn", ""))

    def _wait(self, woken: int, until: float) -> None:
        """Until the next reading, signal, or tick."""
        files = [woken, *([self._child.out] if self._child is not None and self._child.alive else [])]
        ready = select.select(files, [], [], max(0.0, until - time.monotonic()))[0]
        if woken in ready:
            with suppress(BlockingIOError):
                os.read(woken, 512)
        self._read_instruments()

    def _tick(self, now: float) -> None:
        self._read_instruments()
        self._look_around()
        self._mind_silence(now)
        if now >= self._line_at:
            self._line_at = max(self._line_at + LINE_SECONDS, now)
            self._show("line", f"{self._notices.line()}  events {self._number}")

    def _look_around(self) -> None:
        for one in self._around.look():
            self._keep(one)

    def _keep(self, one: Happening) -> None:
        keep(self._store, one, PHASE)
        self._show(one.kind, one.says, one.severity, one.subject)

    def _notice(self, one: Notice) -> None:
        self._store.event(one.kind, one.says, severity=one.severity, subject=one.subject, phase=PHASE)
        self._show(one.kind, one.says, one.severity, one.subject)

    def _show(self, kind: str, says: str, severity: Severity = "info", subject: str = "") -> None:
        told = Told(
            seconds=time.monotonic() - self._began, kind=kind, says=says, severity=severity, subject=subject)
        if severity != "info":
            self._number += 1
            if len(self._events) < 1000:
                self._events.append(told)
        self._told(told)

    # Instruments.

    def _open_instruments(self) -> None:
        gpus = tuple((info.bdf, vendor) for info, vendor in zip(self.gpus, self._vendors, strict=True)
                     if info.bdf is not None)
        self._child = InstrumentsChild(Asked(gpus, self._root))
        self._starts += 1
        if self._starts == 1:
            self._keep(self._around.tell(Happening(
                kind="instruments-followed", says="the instruments are read once a second",
                detail=Detail(source="instruments", state="began"))))

    def _await_first_reading(self) -> None:
        until = time.monotonic() + FIRST_SECONDS
        while self._child is not None and self._child.alive and not self._readings and not self._asked:
            left = until - time.monotonic()
            if left <= 0:
                break
            select.select([self._child.out], [], [], min(left, 0.2))
            self._read_instruments()

    def _read_instruments(self) -> None:
        for readings in self._child.read() if self._child is not None else ():
            self._heard, self._is_silent = time.monotonic(), False
            self._readings += 1
            self._take(readings)

    def _take(self, readings: tuple[Reading, ...]) -> None:
        self._tally.add(readings)
        self._heard_of.add(readings)
        self._store.watched(PHASE, readings)
        for notice in self._notices.feed(readings):
            self._notice(notice)
        for one in readings:
            if isinstance(one, GpuSilent) and one.state in ("lost", "reset-required"):
                for told in self._around.tell_lost(one.bdf, one.why.why):
                    self._keep(told)

    def _mind_silence(self, now: float) -> None:
        """A driver that hangs, or a process that died: from then on nothing is known, and that is told and kept."""
        quiet = now - self._heard
        if quiet < SILENT_SECONDS:
            return
        assert self._child is not None
        died = not self._child.alive
        if not self._is_silent:
            self._is_silent = True
            says = "the process that reads the instruments died" if died else (
                f"the instruments have not answered for {quiet:.0f} s: a driver may hang")
            self._keep(self._around.tell(Happening(
                kind="instruments-silent", says=says, severity="warn",
                detail=Detail(source="instruments", state="gap"))))
        why = Unread("the instruments do not answer", "timeout")
        silent = tuple(GpuSilent(bdf=info.bdf, monotonic_seconds=now, state="unread", why=why)
                       for info in self.gpus if info.bdf is not None)
        self._tally.add(silent)
        self._store.watched(PHASE, silent)
        if (died or quiet > HUNG_SECONDS) and self._starts < STARTS:
            self._child.close()
            self._heard = now
            self._open_instruments()

    # Signals.

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Handlers that pass signals on to a command, or end the watching; gives a file that wakes the loop."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {
            number: signal.signal(number, self._signal) for number in numbers
            if signal.getsignal(number) is not signal.SIG_IGN}  # nohup has SIGHUP ignored, and wants it so
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        waking = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(waking)
            for number, handler in self._before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)

    def _signal(self, number: int, frame: FrameType | None) -> None:
        if self._target is not None and not self._ending and self._target.pass_on(number):
            return
        self._asked += 1
        self._signal_number = number
        self._reason = self._reason or f"ended by {signal.Signals(number).name}"
        before = self._before.get(number)
        if self._ending and self._asked > 2 and callable(before):
            before(number, frame)

    # The end.

    def _finish(self) -> Ended:
        self._ending = True
        asked_before = self._asked
        self._read_instruments()
        for notice in self._notices.rest():
            self._notice(notice)
        seconds = time.monotonic() - self._began
        if self._readings and not self._is_silent:
            self._keep(self._around.tell(Happening(
                kind="instruments-followed", says=f"{self._readings} readings in {seconds:.0f} s",
                detail=Detail(source="instruments", state="ended"))))
        elif not self._readings:
            self._keep(self._around.tell(Happening(
                kind="instruments-silent", says="the instruments were not read once", severity="warn",
                detail=Detail(source="instruments", state="gap"))))
        if self._readings and (gap := self._heard_of.gap()) is not None:
            self._keep(self._around.tell(Happening(
                kind="instruments-unread", says=gap, severity="warn",
                detail=Detail(source="instruments", state="gap"))))
        results = StressResults(
            module=MODULE, gpus=self.gpus, slots=self._slots, samples=(), troubles=(),
            ended=tuple(info.key for info in self.gpus))
        watching = self._tally.result()
        found, crashes = judge_phase(results, watching, self._facts, self._want)
        placed = [msgspec.structs.replace(one, blocker=decides(one, self._want)) for one in found]
        self._store.findings(PHASE, placed)
        outcome = worst(one.outcome for one in placed if one.outcome is not Outcome.SKIP) or Outcome.UNKNOWN
        self._store.end_phase(PHASE, results, outcome=outcome.value)
        changes = self._changes() if self._asked == asked_before else Changes((), 0, 0, "it was to end at once")
        for one in self._around.close():
            self._keep(one)
        whole = judge_watch(
            self._around.happened(), changes, Looked(len(self.gpus)), self._want, crashes)
        self._store.findings(0, whole)
        return self._kept(results, watching, changes, [*placed, *whole], crashes, seconds)

    def _changes(self) -> Changes:
        host, facts = self._doctor()
        self._store.attach(AFTER, packed(host), "application/gzip")
        return compare(self._facts, facts, self._want)

    def _kept(
        self, results: StressResults, watching: Watching, changes: Changes, findings: list[Finding],
        crashes: list[Crash], seconds: float,
    ) -> Ended:
        verdict = judge(findings, self._want, crashes=crashes, profile_certain=self._certain)
        ledger = self._notices.ledger(self.gpus, self._slots)
        status = self._target.status if self._target is not None else None
        self._store.attach("ledger.json", msgspec.json.encode(ledger))
        self._store.attach("command.json", msgspec.json.encode({
            "says": self._target.says if self._target is not None else "", "status": status}))
        trouble = self._store.end("finished", verdict, reason=self._reason)
        return Ended(
            verdict=verdict, watching=watching, results=results, changes=changes, ledger=ledger,
            events=tuple(self._events), events_in_all=self._number, seconds=seconds, status=status,
            reason=self._reason, trouble=trouble.says if trouble is not None else "")


def _look() -> tuple[LiveHost, Facts]:
    """The machine once more, as it is now; nothing is woken and no load put on it."""
    host = LiveHost()
    return host, read_facts(host)
