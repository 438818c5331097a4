"""Where frames come from: a run that is followed, one that is over, one that is played again. All read stores alone."""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec

from boxcheck.model import Bdf
from boxcheck.profile import Profile
from boxcheck.store.reader import READINGS, RunReader, StoredSample
from boxcheck.store.rebuild import Rows
from boxcheck.store.rows import Phase
from boxcheck.store.samples import Samples
from boxcheck.store.schema import TAIL
from boxcheck.telemetry.readings import Reading
from boxcheck.tui.frame import Frame
from boxcheck.tui.state import TRANSFERS, Expected, State

LONG_SECONDS = 1200.0
"""A phase of transfers that is longer is not read as a whole when it is opened."""


class Feed(Protocol):
    """Gives a frame whenever it is asked. Called by one thread at a time, which need not be the screen's."""

    @property
    def path(self) -> str: ...

    def look(self) -> Frame:
        """What is so now. StoreError when the store can no longer be read."""

    def close(self) -> None: ...


class Later:
    """A run that is opened at the first look, so that a screen stands before anything is read."""

    def __init__(self, path: str, make: Callable[[str], Feed]) -> None:
        self.path, self._make = path, make

    def opened(self) -> Feed:
        """What shows it. StoreError where it cannot be read."""
        return self._make(self.path)

    def look(self) -> Frame:
        feed = self.opened()
        try:
            return feed.look()
        finally:
            feed.close()

    def close(self) -> None:
        """Nothing is open."""


class StoreFeed:
    """A run that goes on, or its end. Begins with all events and marks and the last minute of records, so that a day
    opens as fast as an hour."""

    def __init__(
        self, path: str, want: Profile, *, expected: Expected = lambda sample, info: None,
        clock: Callable[[], float] = time.monotonic, boot: str = "",
    ) -> None:
        self.path = path
        self._reader = RunReader(path)
        self._clock, self._boot = clock, boot
        self._event = self._record = self._of_no_phase = 0
        self._judged: set[int] = set()
        self._seen: tuple[object, ...] = ()
        self._folded: object = None
        self._last: Frame | None = None
        self._has_chains = False
        self._state = State(self._reader.run(), want, expected=expected)
        self._first_links()

    def _first_links(self) -> None:
        """The counters as the run found them: what they grow by is told from there."""
        for minute in self._reader.database.records(("links",)):
            for rows in minute:
                for _, one in self._reader.read_rows(rows)[:64]:
                    self._state.take_reading(one)
            return

    def look(self) -> Frame:
        seen = _changed(self.path)
        if self._last is not None and not self._last.live and seen == self._seen:
            return self._last
        reader = self._reader
        with reader.database.snapshot():
            run, phases = reader.run(), reader.phases()
            events = list(reader.events(after=self._event))
            of_no_phase = list(reader.findings(0))[self._of_no_phase:]
            ended = [one for one in phases if one.end is not None and one.plan.number not in self._judged]
            found = [(one, list(reader.findings(one.plan.number))) for one in ended]
            records = list(self._records())
            numbers = {number for number, _ in records}
            records += [(number, one) for number, one in self._earlier(phases).items() if number not in numbers]
            records.sort(key=lambda pair: pair[0])
        if not self._has_chains and (chains := chains_of(reader)):
            self._state.take_chains(chains)
            self._has_chains = True
        self._event = max((one.number for one in events), default=self._event)
        self._of_no_phase += len(of_no_phase)
        self._state.take_run(run, phases)
        self._state.take_events(events)
        self._state.take_findings(of_no_phase)
        for phase, findings in found:
            self._judged.add(phase.plan.number)
            self._state.take_findings(findings, doctor=is_doctor(phase))
        for number, one in records:
            self._record = max(self._record, number)
            if isinstance(one, StoredSample):
                self._state.take_sample(one)
            else:
                self._state.take_reading(one)
        live = run.state == "running"
        self._last = self._state.frame(self._now(run.end.at.seconds if run.end else None, live), live=live)
        self._seen = seen
        return self._last

    def _earlier(self, phases: Sequence[Phase]) -> dict[int, StoredSample]:
        """At the first look: the last samples of each device, and those of the last transfers, from before the last
        minute. By number."""
        found: dict[int, StoredSample] = {}
        if self._record:
            return found
        begun = [one for one in reversed(phases) if one.plan.module and one.started is not None]
        lacking = {key for one in begun for key in one.plan.devices}
        for phase in begun:
            if lacking & {*phase.plan.devices}:
                taken = self._samples_of(phase, last=True)
                found |= taken
                lacking -= {one.sample.gpu for one in taken.values() if one.sample.value is not None}
        transfer = next((one for one in begun if one.plan.module in TRANSFERS), None)
        if transfer is not None:
            planned = transfer.plan.planned_seconds or 0.0
            found |= self._samples_of(transfer, last=planned > LONG_SECONDS)
        return found

    def _samples_of(self, phase: Phase, *, last: bool) -> dict[int, StoredSample]:
        return {
            number: one for minute in self._reader.database.records(("sample",), phase.plan.number, last=last)
            for rows in minute for number, one in one_by_one(self._reader, rows) if isinstance(one, StoredSample)}

    def _records(self) -> Iterator[tuple[int, StoredSample | Reading]]:
        """New ones, by number. Where nothing was folded since the last look they are all among those that wait for it,
        and only they are read: ten times less."""
        base, kinds = self._reader.database, ("sample", *READINGS)
        folded = next((row[0] for row in base.execute("SELECT max(id) FROM blocks")), None)
        if self._record and folded == self._folded:
            base.sessions()
            wanted = {number for number, one in base.streams().items() if one.kind in kinds}
            new = deque(row for row in base.rows(TAIL, "WHERE id > ?", (self._record,)) if row[3] in wanted)
            minutes = base._of_tail(new, None)
        else:
            minutes = base.records(kinds, last=True)
        self._folded = folded
        found: list[tuple[int, StoredSample | Reading]] = []
        for minute in minutes:
            for rows in minute:
                found += one_by_one(self._reader, rows)
        found.sort(key=lambda pair: pair[0])
        return (pair for pair in found if pair[0] > self._record)

    def _now(self, ended: float | None, live: bool) -> float:
        sessions = self._state.run.sessions
        if live and sessions and (not self._boot or sessions[-1].boot in ("", self._boot)):
            return self._clock() - sessions[-1].monotonic_seconds + sessions[-1].began.seconds
        return ended if ended is not None else self._state.last_seconds

    def close(self) -> None:
        self._reader.close()


def is_doctor(phase: Phase) -> bool:
    """Whether doctor read the machine in it."""
    return not phase.plan.module and phase.plan.name.startswith("doctor")


def _changed(path: str) -> tuple[object, ...]:
    """What changes when anything is written; a store that is gone on with is written again."""
    found: list[object] = []
    for place in (path, f"{path}-wal"):
        try:
            told = os.stat(place)
            found += [told.st_mtime_ns, told.st_size]
        except OSError:
            found.append(None)
    return tuple(found)


def one_by_one(reader: RunReader, rows: Rows) -> Sequence[tuple[int, StoredSample | Reading]]:
    """Records of a stream with their numbers."""
    if rows.stream.kind != "sample":
        return reader.read_rows(rows)
    made = Samples()
    with reader.guarded("samples"):
        worker = made.head(rows.stream).worker
        return [
            (number, StoredSample(number, rows.phase, at_ms / 1000, worker, sample))
            for number, at_ms, sample in zip(rows.numbers, rows.ats_ms, made.of(rows), strict=True)]


def chains_of(reader: RunReader) -> dict[Bdf, tuple[Bdf, ...]]:
    """The way to each function when the run began, root port first and itself last, by the capture in the store; empty
    where that holds none."""
    from boxcheck.engine.begin import CAPTURE

    packed = reader.attachment(CAPTURE)
    return {} if packed is None else _chains(packed)


@lru_cache(2)
def _chains(packed: bytes) -> dict[Bdf, tuple[Bdf, ...]]:
    """Of a capture, which is not unpacked again when the same run is opened again, or played."""
    from boxcheck.engine.begin import CAPTURE
    from boxcheck.host.capture import CaptureHost
    from boxcheck.probes.pci import pci

    with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
        path = os.path.join(folder, CAPTURE)
        with open(path, "wb") as stream:
            stream.write(packed)
        found = pci(CaptureHost(path))
    return {
        bdf: (*(one.bdf for one in reversed(list(found.ancestors(bdf)))), bdf) for bdf in found.functions}


class ReplayFeed:
    """A run that is over, as it went, at any speed."""

    def __init__(
        self, path: str, want: Profile, *, speed: float = 1.0, expected: Expected = lambda sample, info: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self._want, self._expected, self._clock = path, want, expected, clock
        self._reader = RunReader(path)
        self._run, self._phases = self._reader.run(), self._reader.phases()
        self._events = list(self._reader.events())
        self._chains = chains_of(self._reader)
        last = [
            rows.ats_ms[-1] / 1000 for minute in self._reader.database.records(("sample", *READINGS), last=True)
            for rows in minute]
        self.ended_seconds = max(
            [self._run.end.at.seconds if self._run.end else 0.0, *(one.at.seconds for one in self._events), *last])
        self.speed, self.paused = speed, False
        self._wanted = 0.0
        """Seconds to go on or back by at the next look."""
        self._begin(0.0)

    def _begin(self, at: float) -> None:
        self._end_reading()
        self._state = State(self._run, self._want, chains=self._chains, expected=self._expected)
        self._minutes: Iterator[list[Rows]] = self._reader.database.records(("sample", *READINGS))
        self._waiting: list[tuple[int, float, StoredSample | Reading]] = []
        self._told = 0
        self._judged: set[int] = set()
        self._took_rest = False
        """Whether findings of no phase were taken, which are those on the run as a whole."""
        self._at, self._looked = at, self._clock()

    def _end_reading(self) -> None:
        """Ends what is being read, which holds the store open, before the store is closed."""
        minutes = getattr(self, "_minutes", None)
        if isinstance(minutes, Generator):
            minutes.close()

    def by(self, seconds: float) -> None:
        """Goes on or back at the next look; several times add up."""
        self._wanted += seconds

    def _seek(self, seconds: float) -> None:
        """Goes to a moment. Backwards it is summed up anew from the start."""
        seconds = min(max(0.0, seconds), self.ended_seconds)
        if seconds < self._at:
            self._begin(seconds)
        self._at, self._looked = seconds, self._clock()

    def look(self) -> Frame:
        by, self._wanted = self._wanted, 0.0
        if by:
            self._seek(self._at + by)
        now = self._clock()
        if not self.paused:
            self._at = min(self.ended_seconds, self._at + (now - self._looked) * self.speed)
        self._looked = now
        at = self._at
        ended = at >= self.ended_seconds
        self._state.play("paused" if self.paused else f"{self.speed:g}x", ended=ended)
        phases = [one for one in (_as_of(phase, at, self._cut_at(phase)) for phase in self._phases) if one is not None]
        self._state.take_run(self._run, phases)
        until = next((place for place, one in enumerate(self._events) if one.at.seconds > at), len(self._events))
        self._state.take_events(self._events[self._told:until])
        self._told = max(self._told, until)
        for one in phases:
            if one.ended is not None and one.plan.number not in self._judged:
                self._judged.add(one.plan.number)
                self._state.take_findings(self._reader.findings(one.plan.number), doctor=is_doctor(one))
        if ended and not self._took_rest:
            self._took_rest = True
            self._state.take_findings(self._reader.findings(0))
        for record in self._due(at):
            if isinstance(record, StoredSample):
                self._state.take_sample(record)
            else:
                self._state.take_reading(record)
        return self._state.frame(at, live=not ended)

    def _cut_at(self, phase: Phase) -> float:
        """When a phase that did not come to its end was cut off at the latest: when another began, or at the end."""
        begun = [
            one.about.seconds for one in self._phases if one.about is not None and phase.about is not None
            and one.about.seconds > phase.about.seconds]
        return min(begun, default=self.ended_seconds)

    def _due(self, at: float) -> Iterator[StoredSample | Reading]:
        while not self._waiting or self._waiting[-1][1] <= at:
            minute = next(self._minutes, None)
            if minute is None:
                break
            for rows in minute:
                at_ms = dict(zip(rows.numbers, rows.ats_ms, strict=True))  # one record tells of several links
                self._waiting += ((number, at_ms[number] / 1000, one) for number, one in one_by_one(self._reader, rows))
            self._waiting.sort(key=lambda one: one[0])
        due = next((place for place, one in enumerate(self._waiting) if one[1] > at), len(self._waiting))
        taken, self._waiting = self._waiting[:due], self._waiting[due:]
        return (one for _, _, one in taken)

    def close(self) -> None:
        self._end_reading()
        self._reader.close()


def _as_of(phase: Phase, at: float, cut_at: float) -> Phase | None:
    """A phase as it was at a moment."""
    replace = msgspec.structs.replace
    if phase.about is not None and phase.about.seconds > at:
        return replace(phase, state="planned", about=None, started=None, start=None, ended=None, end=None, doing="")
    if phase.started is not None and phase.started.seconds > at:
        return replace(phase, state="about", started=None, start=None, ended=None, end=None)
    if phase.state == "cut" and phase.started is not None and at < cut_at:
        return replace(phase, state="running")
    if phase.ended is not None and phase.ended.seconds > at:
        return replace(phase, state="running", ended=None, end=None)
    return phase
