"""A run summed up as its records come, in any order of kinds; `frame(now)` is what a screen shows at a moment.

It judges nothing: outcomes are those of findings that the engine wrote, and the verdict so far is `boxcheck.judge` over
them. Errors, wrong results and losses that were told as events count before a phase is judged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from boxcheck.engine.failing_events import fails
from boxcheck.engine.progress import place_of
from boxcheck.engine.wholeness import no_gpu
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Finding, Outcome, worst
from boxcheck.profile import Profile
from boxcheck.report.matrices import Matrix, matrices
from boxcheck.store.reader import StoredSample
from boxcheck.store.rows import Event, Phase, Run, steps_of
from boxcheck.stress import Sample, StressResults
from boxcheck.telemetry.readings import GpuReading, GpuSilent, LinkReading, Reading, named
from boxcheck.tui.ends import planned_again, planned_seconds, until
from boxcheck.tui.found import NO_WORK, Found
from boxcheck.tui.frame import (
    GRAVE_HOLDS,
    EventRow,
    Frame,
    GpuRow,
    GpuState,
    Held,
    HostRow,
    LinkView,
    PhaseView,
    is_old,
)
from boxcheck.tui.host import HostState, numbers
from boxcheck.tui.link_state import LinkState
from boxcheck.tui.matrix import beside
from boxcheck.tui.rates import TRANSFERS, kind_of, leads
from boxcheck.tui.unheard import unheard

STILL_SECONDS, STILL_UNREAD_SECONDS = 10.0, 20.0
"""Without anything new in the store while load runs, from which nothing is known any more: instruments are read once a
second, and work alone is told of in pieces of up to some seconds."""
BETWEEN_SECONDS = 120.0
"""The same while no load runs: doctor reads for as long as that at most, and says nothing on the way."""
HISTORY_SECONDS = 120.0
HISTORY_CELLS = 16
EVENTS_KEPT = 2000
Expected = Callable[[Sample, GpuInfo], float | None]


class State:
    """One run, as far as it was taken in."""

    def __init__(
        self, run: Run, want: Profile, *, chains: Mapping[Bdf, tuple[Bdf, ...]] | None = None,
        expected: Expected = lambda sample, info: None,
    ) -> None:
        self.run, self._want, self._expected = run, want, expected
        self._chains = dict(chains or {})
        self.phases: tuple[Phase, ...] = ()
        self._infos: dict[str, GpuInfo] = {}
        self._slots: dict[str, str] = {}
        self._gpu: dict[str, tuple[float, GpuReading]] = {}
        """By address: when it was read last, and what."""
        self._silent: dict[str, GpuSilent] = {}
        """By address: that its instruments told nothing, where that is newer."""
        self._links: dict[Bdf, LinkState] = {}
        self._host = HostState()
        self._rates: dict[tuple[str, str], deque[tuple[float, float]]] = {}
        """By device and kind of sample."""
        self._last: dict[str, tuple[float, Sample]] = {}
        """By device: the last sample of the kind that its row shows."""
        self._checked: dict[str, int] = {}
        self._wrong: dict[str, int] = {}
        self._events: deque[EventRow] = deque(maxlen=EVENTS_KEPT)
        self._event_count = 0
        self._event_faults: dict[str, str] = {}
        self._plan: Mapping[str, Any] = run.info.plan if isinstance(run.info.plan, dict) else {}
        self._found = Found(want, certain=bool(self._plan.get("certain", True)))
        self._played, self._ended = "", False
        self.last_seconds = 0.0
        """Of the newest record."""
        self._read_seconds = 0.0
        """Of the newest reading."""
        self._transfers: list[Sample] = []
        self._transfer_phase = 0
        self._matrices: tuple[Matrix, ...] = ()

    # What is taken in.

    def take_run(self, run: Run, phases: Sequence[Phase]) -> None:
        self.run, self.phases = run, tuple(phases)
        for phase in phases:
            if phase.start is not None:
                self._infos.update({info.key: info for info in phase.start.gpus})
                self._slots.update(phase.start.slots)

    def take_events(self, events: Iterable[Event]) -> None:
        for one in events:
            self._event_count += 1
            self._events.append(EventRow(
                number=one.number, seconds=one.at.seconds, severity=one.severity, kind=one.kind, subject=one.subject,
                says=one.says))
            if fails(one, self._want):
                for subject in one.subject.split(", "):
                    self._event_faults.setdefault(subject, one.says)
            if one.kind == "wrong-result" and isinstance(one.data, dict):
                self._wrong[one.subject] = self._wrong.get(one.subject, 0) + int(one.data.get("wrong", 0))

    def take_findings(self, findings: Iterable[Finding], *, doctor: bool = False) -> None:
        self._found.take(findings, doctor=doctor)

    def take_chains(self, chains: Mapping[Bdf, tuple[Bdf, ...]]) -> None:
        """The way to each function, root port first."""
        self._chains = dict(chains)

    def take_sample(self, stored: StoredSample) -> None:
        one = stored.sample
        self.last_seconds = max(self.last_seconds, stored.seconds)
        if one.what.endswith("self-test"):
            return
        self._checked[one.gpu] = self._checked.get(one.gpu, 0) + one.checked
        if one.value is not None:
            last = self._last.get(one.gpu)
            if leads(one, last[1] if last else None):
                self._last[one.gpu] = (stored.seconds, one)
            kept = self._rates.setdefault((one.gpu, kind_of(one)), deque())
            kept.append((stored.seconds, one.value))
            while kept and kept[0][0] < stored.seconds - HISTORY_SECONDS:
                kept.popleft()
        phase = self._phase(stored.phase)
        if phase is not None and phase.plan.module in TRANSFERS:
            if stored.phase != self._transfer_phase:
                self._transfers, self._transfer_phase = [], stored.phase
            self._transfers.append(one)
            self._matrices = ()

    def take_reading(self, one: Reading, at: float | None = None) -> None:
        """`at`: when it was read, in seconds since the run began; None: by the clock of the last session."""
        at = one.monotonic_seconds - self._base() if at is None else at
        self.last_seconds = max(self.last_seconds, at)
        self._read_seconds = max(self._read_seconds, at)
        if isinstance(one, GpuReading):
            self._gpu[one.bdf] = (at, one)
            self._silent.pop(one.bdf, None)
        elif isinstance(one, GpuSilent):
            self._silent[one.bdf] = one
        elif isinstance(one, LinkReading):
            self._links.setdefault(one.bdf, LinkState()).take(one, at)
        else:
            self._host.take(one, at)

    def _base(self) -> float:
        """What the monotonic clock of the last session showed when the run was at zero."""
        last = self.run.sessions[-1] if self.run.sessions else None
        return last.monotonic_seconds - last.began.seconds if last else 0.0

    def _phase(self, number: int) -> Phase | None:
        return next((one for one in self.phases if one.plan.number == number), None)

    # What is shown.

    def frame(self, now: float, *, live: bool) -> Frame:
        """`now`: seconds since the run began."""
        outcome, reason = self._verdict()
        # Nothing is read while doctor looks once more: what is over is as old as it was when the last record came.
        read = now if live else min(now, self.last_seconds)
        gpus = tuple(self._row(number, info, now, read, live) for number, info in enumerate(self._infos.values()))
        names = [str(one.get("name", "")) for one in steps_of(self._plan)]
        at = place_of(self.phases, names)[0] if names else -1
        powered = [row.watts for row in gpus if row.watts is not None and not row.is_stale]
        name = self.run.info.profile
        frame = Frame(
            run=self.run.info.id or self.run.path.rpartition("/")[2].rpartition(".")[0], kind=self.run.info.kind,
            box=self.run.info.box, profile=f"{name.name} r{name.revision}" if name else "no profile",
            state=self.run.state, live=live, seconds=max(0.0, now),
            planned_seconds=self._planned_seconds(now), until=until(self._plan), outcome=outcome,
            over=self._over,
            reason=reason, phases=tuple(self._phase_view(one, now) for one in self.phases), doing=self._doing(),
            step=at + 1, steps=len(names),
            total_watts=sum(powered) if powered else None, watts_of=len(powered), gpus=gpus, host=self._host_row(read),
            matrices=self._transfer_matrices(), events=tuple(self._events),
            events_before=self._event_count - len(self._events), problems=self._found.problems(),
            link_says=self._found.link_says(), judged=len(self._found.every), playing=self._played)
        still = self._still_seconds(now) if live and not self._over else 0.0
        return unheard(frame, still, later=0.0) if still else frame

    def _planned_seconds(self, now: float) -> float | None:
        began = [one.began.seconds for one in self.run.sessions if one.began.seconds <= now]
        if len(began) > 1:  # the time in which nobody worked on it counts as well
            return planned_again(self._plan, self.phases, now)
        return planned_seconds(self._plan, self.phases)

    def _still_seconds(self, now: float) -> float:
        """For how long nothing new has come, where that is too long; 0 where it is not. Whoever reads the store is
        answered also when nobody writes it any more."""
        moments = [moment for one in self.phases for moment in (one.about, one.started, one.ended) if moment]
        moments += [one.began for one in self.run.sessions if one.began.seconds <= now]
        last = self._events[-1].seconds if self._events else 0.0
        still = now - max([self.last_seconds, last, *(one.seconds for one in moments)])
        loads = [one for one in self.phases if one.plan.module and one.state == "running"]
        begun = min((one.started.seconds for one in loads if one.started), default=None)
        if begun is None:
            most = BETWEEN_SECONDS
        else:
            most = STILL_SECONDS if self._read_seconds >= begun else STILL_UNREAD_SECONDS
        return still if still > most else 0.0

    def _verdict(self) -> tuple[Outcome, str]:
        """By the engine's own judge, over what it wrote so far; the run's own where it ended."""
        if self._over and self.run.end is not None and self.run.end.outcome is not None:
            return self._ended_with(Outcome(self.run.end.outcome), self.run.end.reason)
        outcome, reason = self._found.verdict()
        if outcome is Outcome.PASS and not self._over and not self._judged_work:
            outcome, reason = Outcome.UNKNOWN, "no load was judged yet; doctor found nothing"
        elif outcome is Outcome.PASS and not self._over and self.run.info.kind == "burn":
            # What it will end with for want of a GPU is no pass so far either.
            for why in no_gpu(self.phases, self._want):
                outcome, reason = Outcome.UNKNOWN, why
        if outcome is not Outcome.FAIL and self._event_faults:
            subject, says = next(iter(self._event_faults.items()))
            outcome, reason = Outcome.FAIL, f"{self._place(subject) or 'box'}: {says}"
        if not self._over:
            return outcome, reason
        cut = next((one.plan.name for one in reversed(self.phases) if one.state == "cut"), "")
        died = f"cut off{f' in {cut}' if cut else ''}; nobody works on it"
        if outcome is Outcome.FAIL:
            return outcome, f"{reason}; {died}"
        return Outcome.UNKNOWN, died

    @property
    def _judged_work(self) -> list[Finding]:
        """What was judged of what the run is for. A watch puts load on nothing."""
        return self._found.every if self.run.info.kind == "watch" else self._found.of_work

    @property
    def _over(self) -> bool:
        """Whether its last word is known: it is over, and is not being played or was played to its end."""
        return self.run.state != "running" and (not self._played or self._ended)

    def _ended_with(self, outcome: Outcome, reason: str) -> tuple[Outcome, str]:
        """The run's own verdict, led by what decided it where that is a part of the box and not that nobody looked."""
        judged = outcome in (Outcome.FAIL, Outcome.MARGINAL) or self.run.state == "finished"
        leading = self._found.leading(outcome) if judged and outcome is not Outcome.PASS else ""
        return outcome, "; ".join(dict.fromkeys(filter(None, (leading, reason))))

    def _place(self, subject: str) -> str:
        """What a person calls the part of an event: its slot where that is known."""
        ways = [
            info.key for info in self._infos.values()
            if info.bdf and (subject == info.bdf or subject in self._chains.get(Bdf(info.bdf), ()))]
        return self._slots.get(ways[0] if len(ways) == 1 else subject, subject)  # a bridge may be above several

    def play(self, says: str, *, ended: bool = False) -> None:
        """It is judged as it was at the time, and by the run's end when it is there. `says`: how it is played."""
        self._played, self._ended = says, ended

    def _doing(self) -> str:
        running = [one for one in self.phases if one.state in ("about", "running")]
        return ", ".join(dict.fromkeys(one.doing or one.plan.name for one in running))

    def _phase_view(self, one: Phase, now: float) -> PhaseView:
        end = one.ended.seconds if one.ended else now
        return PhaseView(
            number=one.plan.number, name=one.plan.name, module=one.plan.module, state=one.state,
            outcome=Outcome(one.end.outcome) if one.end and one.end.outcome else None,
            planned_seconds=one.plan.planned_seconds, seconds=end - one.started.seconds if one.started else None)

    def _row(self, number: int, info: GpuInfo, now: float, read: float, live: bool) -> GpuRow:
        """`read`: the moment that readings are as old at as is shown."""
        at, reading = self._gpu.get(info.bdf or info.key, (None, None))
        silent = self._silent.get(info.bdf or info.key)
        told = None if silent else reading
        age = None if at is None else max(0.0, read - at)
        heat = {name: value for name, value in numbers(told.temperatures_celsius)} if told else {}
        last = self._last.get(info.key)
        state, why = self._state_of(info, silent, age, live)
        power = told.power_instant_watts if told and isinstance(told.power_instant_watts, float) else (
            told.power_watts if told else None)
        return GpuRow(
            key=info.key, number=number, name=info.name, is_gpu=info.is_gpu, arch=info.arch, serial=info.serial,
            uuid=info.uuid, slot=self._slots.get(info.key),
            bdf=Bdf(info.bdf) if info.bdf else None, state=state, why=why,
            sample=last[1].what if last else "",
            what=kind_of(last[1]) if last else "", rate=last[1].value if last else None,
            unit=last[1].unit if last else "", rate_age_seconds=now - last[0] if last else None,
            expected=self._expected(last[1], info) if last else None,
            history=self._history(info.key, kind_of(last[1]) if last else "", now),
            core_celsius=heat.get("core", heat.get("edge")), junction_celsius=heat.get("junction"),
            memory_celsius=heat.get("mem"), watts=_number(power),
            limit_watts=_number(told.power_limit_watts) if told else None,
            clock_mhz=_number(named(told.clocks_mhz, "gfx")) if told else None, fan=_fan(told),
            held=_held(told), chain=self._chain(info, read), wrong=self._wrong.get(info.key, 0),
            checked=self._checked.get(info.key, 0), told_seconds=age)

    def _state_of(
        self, info: GpuInfo, silent: GpuSilent | None, age: float | None, live: bool
    ) -> tuple[GpuState, str]:
        if silent is not None and silent.state in ("lost", "reset-required"):
            return "lost", silent.why.why
        if any(link.gone for link in self._chain(info, 0.0)):
            return "lost", "its link reads all ones"
        mine = [one for one in self._found.every if one.blocker and self._is_of(one, info)]  # as the verdict
        gravest = worst(one.outcome for one in mine)
        fault = self._event_faults.get(info.key) or self._event_faults.get(info.bdf or "")
        if gravest is Outcome.FAIL or fault:
            return "fail", next((one.says for one in mine if one.outcome is Outcome.FAIL), fault or "")
        working = self._works(info, live)
        if working and info.bdf and info.is_gpu and (is_old(age) or (silent is not None and silent.state == "unread")):
            return "silent", _silence(silent, age, live)
        if gravest in (Outcome.MARGINAL, Outcome.UNKNOWN):
            grave = next(one for one in mine if one.outcome is gravest)
            return ("marginal" if gravest is Outcome.MARGINAL else "unknown"), grave.says
        if not any(
                one.blocker and one.outcome is not Outcome.SKIP and one.check not in NO_WORK and self._is_of(one, info)
                for one in self._judged_work):
            if not live:
                return "unknown", "nothing that is required of it was judged"
            return ("working" if working else "waiting"), ""
        if not live and self.run.state != "finished":
            return "unknown", "the run did not come to its end"
        return "ok", ""

    def _works(self, info: GpuInfo, live: bool) -> bool:
        """Whether it is at work; when the run is over: whether it was in the last phase that put load on anything."""
        loads = [one for one in self.phases if one.plan.module and one.started is not None]
        running = [one for one in loads if one.state == "running"]
        return any(info.key in (one.plan.devices or (info.key,)) for one in (running if live else loads[-1:]))

    def _is_of(self, one: Finding, info: GpuInfo) -> bool:
        if info.bdf is not None and one.subject.bdf is not None:
            return one.subject.bdf == info.bdf or one.subject.bdf in self._chains.get(Bdf(info.bdf), ())
        if one.subject.name in (info.key, f"{info.name} ({info.key})"):
            return True
        return one.subject.slot is not None and one.subject.slot == self._slots.get(info.key)

    def _chain(self, info: GpuInfo, now: float) -> tuple[LinkView, ...]:
        if info.bdf is None:
            return ()
        bdf = Bdf(info.bdf)
        return tuple(
            self._links[port].view(port, now) for port in self._chains.get(bdf, (bdf,)) if port in self._links)

    def _history(self, key: str, what: str, now: float) -> tuple[float | None, ...]:
        cells: list[list[float]] = [[] for _ in range(HISTORY_CELLS)]
        step = HISTORY_SECONDS / HISTORY_CELLS
        for at, value in self._rates.get((key, what), ()):
            place = HISTORY_CELLS - 1 - int((now - at) / step)
            if 0 <= place < HISTORY_CELLS:
                cells[place].append(value)
        return tuple(min(cell) if cell else None for cell in cells)  # the least: a dip must show

    def _host_row(self, now: float) -> HostRow | None:
        infos = set(self._infos)
        rates = tuple(
            (sample.what, sample.value, sample.unit, max(0.0, now - at)) for key, (at, sample) in self._last.items()
            if key not in infos and sample.value is not None)
        return self._host.row(now, rates)

    def _transfer_matrices(self) -> tuple[Matrix, ...]:
        if not self._matrices and self._transfers:
            phase = self._phase(self._transfer_phase)
            start = phase.start if phase else None
            if phase is not None and start is not None:
                made = matrices(StressResults(
                    module=phase.plan.module, gpus=start.gpus, slots=start.slots, samples=tuple(self._transfers),
                    troubles=(), ended=(), full_size=start.full_size))
                asked = start.full_size and all(info.is_gpu for info in start.gpus)
                self._matrices = tuple(beside(one, self._want) if asked else one for one in made)
        return self._matrices


def _silence(silent: GpuSilent | None, age: float | None, live: bool) -> str:
    """How long nothing was read of a GPU at work, and why."""
    since = "no reading yet" if age is None and live else "no reading" if age is None else f"no reading for {age:.0f} s"
    why = f": {silent.why.why}" if silent is not None else ""
    return f"{'' if live else 'silent at the end, '}{since}{why}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _fan(told: GpuReading | None) -> str:
    if told is None:
        return ""
    parts = []
    if isinstance(told.fan_rpm, int):
        parts.append(f"{told.fan_rpm} rpm")
    if isinstance(told.fan_percent, (int, float)):
        parts.append(f"{told.fan_percent:.0f} %")
    return ", ".join(parts)


def _held(told: GpuReading | None) -> tuple[Held, ...] | None:
    if told is None or not isinstance(told.throttle, tuple):
        return None
    return tuple(Held(one.says, one.kind in GRAVE_HOLDS) for one in told.throttle)
