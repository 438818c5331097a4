"""Where frames come from: a run that is followed, or is over; one that is played again is in replay.py. All read stores
alone."""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Protocol

from boxcheck.host.common import one_line
from boxcheck.model import Bdf
from boxcheck.profile import Profile
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import READINGS, RunReader, StoredSample
from boxcheck.store.rows import Phase
from boxcheck.store.schema import TAIL
from boxcheck.tui.frame import Frame
from boxcheck.tui.rates import TRANSFERS
from boxcheck.tui.state import Expected, State
from boxcheck.tui.tape import Numbered, changes_of_links, one_by_one

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
        self._file = _file_of(path)
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
                for _, at, one in changes_of_links(self._reader, rows):
                    if not isinstance(one, StoredSample):
                        self._state.take_reading(one, at)
            return

    def look(self) -> Frame:
        seen = _changed(self.path)
        if self._last is not None and not self._last.live and seen == self._seen:
            return self._last
        if _file_of(self.path) != self._file:  # what is open would go on to be read, and nobody writes it any more
            raise StoreError("absent", f"{one_line(self.path)} was deleted, or another file lies in its place")
        reader = self._reader
        with reader.database.snapshot():
            run, phases = reader.run(), reader.phases()
            events = list(reader.events(after=self._event))
            of_no_phase = list(reader.findings(0))[self._of_no_phase:]
            ended = [one for one in phases if one.end is not None and one.plan.number not in self._judged]
            found = [(one, list(reader.findings(one.plan.number))) for one in ended]
            records = list(self._records())
            numbers = {one[0] for one in records}
            earlier = self._earlier(phases).items()
            records += [(number, one.seconds, one) for number, one in earlier if number not in numbers]
            records.sort(key=itemgetter(0))
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
        for number, at, one in records:
            self._record = max(self._record, number)
            if isinstance(one, StoredSample):
                self._state.take_sample(one)
            else:
                self._state.take_reading(one, at)
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
            for rows in minute for number, _, one in one_by_one(self._reader, rows) if isinstance(one, StoredSample)}

    def _records(self) -> Iterator[Numbered]:
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
        found: list[Numbered] = []
        for minute in minutes:
            for rows in minute:
                found += one_by_one(self._reader, rows)
        found.sort(key=itemgetter(0))
        return (one for one in found if one[0] > self._record)

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


def _file_of(path: str) -> tuple[int, int] | None:
    """Which file has that name; None where none has."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
