"""Reads a run: while it is written, when it is over, and after a crash. It never writes to the store.

    with RunReader(path) as run:
        for phase in run.phases():
            results, watching = results_of(run, phase.plan.number), watching_of(run, phase.plan.number)

Everything raises StoreError and nothing else: for what is no store, one of a later version, a damaged row. Texts are
plain (texts.py), so that a store from elsewhere drives no terminal.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from boxcheck.store.database import Database, moment
from boxcheck.store.errors import StoreError
from boxcheck.store.lock import is_held
from boxcheck.store.rebuild import Rows, readings_of
from boxcheck.store.rows import (
    Counts,
    End,
    EndState,
    Event,
    Phase,
    PhaseEnd,
    PhasePlan,
    PhaseStart,
    Run,
    RunInfo,
    RunState,
    Severity,
)
from boxcheck.store.samples import Samples
from boxcheck.store.schema import ATTACHMENTS, BLOB_LIMIT, ENDS, EVENTS, FINDINGS, MARKS, META, PHASES
from boxcheck.store.texts import plain_line
from boxcheck.stress import Sample
from boxcheck.telemetry.readings import Reading

if TYPE_CHECKING:
    from boxcheck.model import Finding, Verdict

READINGS = ("gpu", "silent", "links", "host", "box")


class StoredSample(msgspec.Struct, frozen=True):
    number: int
    """Order of arrival, over samples and readings."""
    phase: int
    seconds: float
    """Since the run began."""
    worker: int
    sample: Sample


class RunReader:
    """One run."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.database = Database(path)
        self._run: tuple[int, Run] | None = None
        self._phases: tuple[int, RunState, dict[int, Phase]] | None = None
        """As the store had them in that version: whoever judges asks for both with each phase."""

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> RunReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The run.

    def run(self) -> Run:
        """The run in short."""
        base = self.database
        with base.snapshot():
            # Before the end is looked for: a writer that ends in between has left one.
            held, version = is_held(self.path), base.version()
            if self._run is not None and self._run[0] == version:
                return msgspec.structs.replace(self._run[1], state=_state(self._run[1].end, held))
            known = {key: base.decoded(value, Any) for _, key, value in base.rows(META)}
            salvaged = known.pop("salvaged", None)
            sessions, end = base.sessions(), self._end()
        with self.guarded("what the run is"):
            info = msgspec.convert(
                {"kind": "", "version": ""} | {name: value for name, value in known.items()
                                               if name in RunInfo.__struct_fields__}, RunInfo)
        found = Run(
            path=self.path, info=info, state=_state(end, held), sessions=sessions, end=end, salvaged=salvaged)
        self._run = version, found
        return found

    def _end(self) -> End | None:
        """The end of the last session; none where it was gone on with after an end."""
        last = max((one.number for one in self.database.sessions()), default=0)
        for _, _, at_ms, wall_ms, state, outcome, reason, data, _ in self.database.rows(
                ENDS, "WHERE session = ?", (last,)):
            return End(
                at=moment(at_ms, wall_ms), state=self.database.converted(state, EndState),
                outcome=None if outcome is None else plain_line(outcome), reason=plain_line(reason),
                counts=self.database.decoded(data, Counts).counts)
        return None

    def phases(self) -> tuple[Phase, ...]:
        """All phases by number, as far as they have come."""
        return tuple(self._by_number().values())

    def _by_number(self) -> dict[int, Phase]:
        base = self.database
        with base.snapshot():
            run, version = self.run(), base.version()
            if self._phases is not None and self._phases[:2] == (version, run.state):
                return self._phases[2]
            found = {
                number: Phase(plan=PhasePlan(
                    number=number, name=plain_line(name), module=plain_line(module),
                    devices=base.decoded(devices, tuple[str, ...]), planned_seconds=seconds))
                for _, number, name, module, devices, seconds in base.rows(PHASES)}
            last: dict[int, int] = {}
            for _, number, session, mark, at_ms, wall_ms, data in base.rows(MARKS):
                phase = found.get(number) or Phase(plan=PhasePlan(number=number, name=f"phase {number}", module=""))
                found[number] = self._marked(phase, mark, at_ms, wall_ms, data)
                last[number] = session
        current = run.sessions[-1].number if run.sessions else 0
        whole = {
            number: msgspec.structs.replace(phase, state="cut") if phase.state in ("about", "running") and (
                run.state != "running" or last[number] != current) else phase
            for number, phase in sorted(found.items())}
        self._phases = version, run.state, whole
        return whole

    def _marked(self, phase: Phase, mark: str, at_ms: int, wall_ms: int, data: str) -> Phase:
        at, decoded = moment(at_ms, wall_ms), self.database.decoded
        replace = msgspec.structs.replace
        if mark == "about":
            state = phase.state if phase.state == "running" else "about"
            return replace(phase, state=state, about=phase.about or at, doing=decoded(data, str))
        if mark == "started":
            return replace(phase, state="running", started=at, start=decoded(data, PhaseStart), ended=None, end=None)
        if mark != "ended":
            raise self.database.damaged(f"a phase is marked {mark!r}")
        return replace(phase, state="ended", ended=at, end=decoded(data, PhaseEnd))

    def phase(self, number: int) -> Phase:
        found = self._by_number().get(number)
        if found is None:
            raise StoreError("absent", f"the run has no phase {number}")
        return found

    def interrupted(self) -> Phase | None:
        """What was being run when the process or the machine went down; None where it came to an end."""
        return next((one for one in reversed(self.phases()) if one.state == "cut"), None)

    def events(self, after: int = 0, phase: int | None = None) -> Iterator[Event]:
        """Events by number, those after a number alone: whoever follows a run asks again with the last."""
        where = "WHERE id > ?" + ("" if phase is None else " AND phase = ?")
        for row in self.database.rows(EVENTS, where, (after,) if phase is None else (after, phase)):
            number, in_phase, _, at_ms, wall_ms, kind, severity, subject, says, data = row
            yield Event(
                number=number, phase=in_phase, at=moment(at_ms, wall_ms), kind=plain_line(kind),
                severity=self.database.converted(severity, Severity), subject=plain_line(subject),
                says=plain_line(says),
                data=self.database.decoded(data, Any))

    # What was judged.

    def findings(self, phase: int | None = None) -> Iterator[Finding]:
        """What was found when phases were over; the verdict has its own."""
        from boxcheck.model import Finding

        where, parameters = ("", ()) if phase is None else ("WHERE phase = ?", (phase,))
        for row in self.database.rows(FINDINGS, where, parameters):
            yield self.database.decoded(row[-1], Finding)

    def verdict(self) -> Verdict | None:
        """The verdict that the run ended with."""
        from boxcheck.model import Verdict

        found: Verdict | None = None
        for row in self.database.rows(ENDS):
            found = self.database.decoded(row[-1], Verdict)
        return found

    def attachments(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(plain_line(row[1]) for row in self.database.rows(ATTACHMENTS)))

    def attachment(self, name: str) -> bytes | None:
        """The last document of that name."""
        found: bytes | None = None
        for _, _, _, _, _, size, data in self.database.rows(ATTACHMENTS, "WHERE name = ?", (name,)):
            with self.guarded(name):
                found = zlib.decompressobj().decompress(data, BLOB_LIMIT)
            if len(found) != size:
                raise self.database.damaged(f"{name} has {len(found)} of {size} bytes")
        return found

    # Records.

    def samples(self, phase: int | None = None) -> Iterator[StoredSample]:
        """Samples in the order in which they came."""
        made = Samples()
        for minute in self.database.records(("sample",), phase):
            found: list[StoredSample] = []
            for rows in minute:
                with self.guarded("samples"):
                    worker = made.head(rows.stream).worker
                    found += (
                        StoredSample(number, rows.phase, at_ms / 1000, worker, sample)
                        for number, at_ms, sample in zip(rows.numbers, rows.ats_ms, made.of(rows), strict=True))
            found.sort(key=lambda one: one.number)
            yield from found

    def readings(self, phase: int | None = None) -> Iterator[Reading]:
        """Readings in the order in which they came."""
        for minute in self.database.records(READINGS, phase):
            found: list[tuple[int, Reading]] = []
            for rows in minute:
                found += self.read_rows(rows)
            found.sort(key=lambda one: one[0])
            for _, reading in found:
                yield reading

    def latest(self) -> tuple[Reading, ...]:
        """The newest reading of each GPU, function and of the host, of the last minute."""
        newest: dict[tuple[str, str], tuple[int, Reading]] = {}
        for minute in self.database.records(READINGS, last=True):
            for rows in minute:
                for number, reading in self.read_rows(rows)[-1:] if rows.stream.kind != "links" else (
                        self.read_rows(rows)):
                    key = (rows.stream.kind.replace("silent", "gpu"), getattr(reading, "bdf", ""))
                    if key not in newest or newest[key][0] <= number:
                        newest[key] = (number, reading)
        return tuple(reading for _, reading in newest.values())

    def read_rows(self, rows: Rows, only: Collection[str] | None = None) -> list[tuple[int, Reading]]:
        """Readings of a stream with their numbers, in its order; with all their fields or with some."""
        with self.guarded("readings"):
            return readings_of(rows, only)

    def guarded(self, what: str) -> _Guard:
        """What was written by an own version is proven by its sum; this is for files from elsewhere."""
        return _Guard(self.database, what)


def _state(end: End | None, held: bool) -> RunState:
    return end.state if end else "running" if held else "crashed"


class _Guard:
    """Entered for each block of a store: a generator as context takes three times as long."""

    __slots__ = ("_database", "_what")

    def __init__(self, database: Database, what: str) -> None:
        self._database, self._what = database, what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (
                msgspec.MsgspecError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError, zlib.error)):
            raise self._database.damaged(f"{self._what}: {type(error).__name__}: {error}") from None
