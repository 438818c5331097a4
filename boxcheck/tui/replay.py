"""A run that is over, as it went, at any speed, and from any moment."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from boxcheck.profile import Profile
from boxcheck.store.reader import RunReader, StoredSample
from boxcheck.store.rows import Phase
from boxcheck.tui.feed import chains_of, is_doctor
from boxcheck.tui.frame import Frame
from boxcheck.tui.kept import Moments
from boxcheck.tui.state import Expected, State
from boxcheck.tui.tape import KINDS, Numbered, Place, Tape


class ReplayFeed:
    """What is shown at a moment is the same however one came there. What it has gone through it remembers every two
    minutes (kept.py), so that a jump reads a few minutes of records, and not all before it."""

    def __init__(
        self, path: str, want: Profile, *, speed: float = 1.0, expected: Expected = lambda sample, info: None,
        clock: Callable[[], float] = time.monotonic, moments: Moments | None = None, label: str = "",
    ) -> None:
        """`label`: what is said of it wherever its speed is."""
        self._label = label
        self.path, self._want, self._expected, self._clock = path, want, expected, clock
        self._reader = RunReader(path)
        self._run, self._phases = self._reader.run(), self._reader.phases()
        self._events = list(self._reader.events())
        self._chains = chains_of(self._reader)
        last = [
            rows.ats_ms[-1] / 1000 for minute in self._reader.database.records(KINDS, last=True) for rows in minute]
        self.ended_seconds = max(
            [self._run.end.at.seconds if self._run.end else 0.0, *(one.at.seconds for one in self._events), *last])
        self._cut_at = {one.plan.number: self._cut(one) for one in self._phases}
        self.speed, self.paused = speed, False
        self._wanted = 0.0
        """Seconds to go on or back by at the next look."""
        self._moments = moments or Moments()
        self._at, self._looked = 0.0, self._clock()
        self._tape: Tape | None = None
        self._begin()

    def _begin(self) -> None:
        """From the start."""
        self._go_on(self._fresh(), Place(), 0, set(), 0.0)

    def _fresh(self) -> State:
        return State(self._run, self._want, chains=self._chains, expected=self._expected)

    def _go_on(self, state: State, place: Place, told: int, judged: set[int], taken: float) -> None:
        if self._tape is not None:
            self._tape.close()
        self._tape = Tape(self._reader, place)
        self._state, self._told, self._judged, self._taken = state, told, judged, taken
        """`_taken`: of when the newest is that was taken in."""
        self._took_rest = False
        """Whether findings of no phase were taken, which are those on the run as a whole."""

    def by(self, seconds: float) -> None:
        """Goes on or back at the next look; several times add up."""
        self._wanted += seconds

    def _seek(self, seconds: float) -> None:
        """Goes to a moment, from the nearest one before it of which it is known what was so."""
        seconds = min(max(0.0, seconds), self.ended_seconds)
        kept = self._moments.before(seconds)
        if kept is not None and (seconds < self._at or kept.at > self._at):
            self._go_on(self._moments.again(kept, self._fresh()), kept.place, kept.told, set(kept.judged), kept.at)
        elif seconds < self._at:
            self._begin()
        self._at, self._looked = seconds, self._clock()

    def look(self) -> Frame:
        by, self._wanted = self._wanted, 0.0
        if by:
            self._seek(self._at + by)
        now = self._clock()
        if not self.paused:
            self._at = min(self.ended_seconds, self._at + (now - self._looked) * self.speed)
        at = self._at
        ended = at >= self.ended_seconds
        says = "paused" if self.paused else f"{self.speed:g}x"
        self._state.play(", ".join(filter(None, (says, self._label))), ended=ended)
        tape = self._tape
        assert tape is not None
        for due in tape.until(at):
            self._taken = max(self._taken, *(one[1] for one in due))
            self._take(self._taken, due)
            if self._moments.wants(self._taken):
                self._moments.keep(self._taken, tape.place, self._told, self._judged, self._state)
        self._take(at, [])
        self._looked = self._clock()  # what reading takes is no time in which it is played: it would never catch up
        if ended and not self._took_rest:
            self._took_rest = True
            self._state.take_findings(self._reader.findings(0))
        return self._state.frame(at, live=not ended)

    def _take(self, at: float, records: list[Numbered]) -> None:
        """Takes records in, and what was so at that moment."""
        phases = [_as_of(phase, at, self._cut_at[phase.plan.number]) for phase in self._phases]
        self._state.take_run(self._run, phases)
        until = next((place for place, one in enumerate(self._events) if one.at.seconds > at), len(self._events))
        self._state.take_events(self._events[self._told:until])
        self._told = max(self._told, until)
        ended = [(one.ended.seconds, one) for one in phases if one.ended is not None]
        for _, one in sorted(ended, key=lambda pair: (pair[0], pair[1].plan.number)):
            if one.plan.number not in self._judged:
                self._judged.add(one.plan.number)
                self._state.take_findings(self._reader.findings(one.plan.number), doctor=is_doctor(one))
        for _, taken_at, record in records:
            if isinstance(record, StoredSample):
                self._state.take_sample(record)
            else:
                self._state.take_reading(record, taken_at)

    def _cut(self, phase: Phase) -> float:
        """When a phase that did not come to its end was cut off at the latest: when another began, or at the end."""
        begun = [
            one.about.seconds for one in self._phases if one.about is not None and phase.about is not None
            and one.about.seconds > phase.about.seconds]
        return min(begun, default=self.ended_seconds)

    def close(self) -> None:
        if self._tape is not None:
            self._tape.close()
        self._reader.close()


def _as_of(phase: Phase, at: float, cut_at: float) -> Phase:
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
