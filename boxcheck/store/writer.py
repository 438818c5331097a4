"""Writes one run as it goes. No method raises for what the disk does: each says by its value what is wrong.

    store = create_run(folder, RunInfo(kind="burn", version=__version__))
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul"))
    store.about(1, "matmul on 7 GPUs")         # on the disk when it comes back
    store.begin_phase(1, PhaseStart(gpus=gpus))
    store.sample(1, sample, worker=0)          # on the disk soon; so is what `watched` takes, within a second
    store.end_phase(1, results, outcome="pass")
    store.end("finished", verdict)

For one thread. It writes through a thread of its own, so a disk that hangs does not hang the caller (journal.py).
"""

from __future__ import annotations

import os
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from boxcheck.store.cells import Records, text_of
from boxcheck.store.clocks import Stamp, Timeline
from boxcheck.store.errors import StoreTrouble
from boxcheck.store.journal import PATIENCE_SECONDS, Journal, Outage
from boxcheck.store.lock import RunLock
from boxcheck.store.making import Beginning, RecordMaker, RowMaker
from boxcheck.store.pending import SAMPLE_BYTES, TELEMETRY_BYTES, Entry
from boxcheck.store.rows import Counts, EndState, PhaseEnd, PhasePlan, PhaseStart, Severity, bare
from boxcheck.store.schema import (
    ATTACHMENTS,
    BLOB_LIMIT,
    ENDS,
    EVENTS,
    FINDINGS,
    MARKS,
    PHASES,
)
from boxcheck.stress import Sample, StressResults
from boxcheck.telemetry.readings import HostReading, Reading

if TYPE_CHECKING:
    import sqlite3

    from boxcheck.model import Finding, Verdict

HOST_SECONDS = 0.75
"""Every worker reads the host; one reading in so long is kept."""
COPY_MS = 60_000
"""Between copies of new texts and columns."""

P = ParamSpec("P")


def _survives(
    method: Callable[Concatenate[RunWriter, P], StoreTrouble | None],
) -> Callable[Concatenate[RunWriter, P], StoreTrouble | None]:
    """Turns whatever boxcheck's own code raises into a trouble: a run does not end for its store."""

    @wraps(method)
    def survive(self: RunWriter, *args: P.args, **kwargs: P.kwargs) -> StoreTrouble | None:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  told to the caller, and kept in `bugs`
            if len(self.bugs) < 100:
                self.bugs.append(traceback.format_exc())
            return StoreTrouble(kind="bug", says=f"{method.__name__}: {type(error).__name__}: {error}")

    return survive  # type: ignore[return-value]


class RunWriter:
    """A store that is written; made by `create_run` or `reopen_run`. The lock and the connection are its own."""

    def __init__(
        self, path: str, connection: sqlite3.Connection, lock: RunLock, timeline: Timeline, beginning: Beginning, *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.path = path
        self.bugs: list[str] = []
        """Tracebacks of boxcheck's own errors while writing."""
        self._lock, self._timeline, self._patience = lock, timeline, patience
        self._session = beginning.session
        self._rows = RowMaker(beginning)
        self._journal = Journal(
            path, connection, beginning.numbers.get("blocks", 0) + 1, self._outage, timeline.monotonic)
        self._parts = Records()
        self._records = RecordMaker(self._rows, self._session, lambda row: self._journal.put([row], wait=False))
        self._copied_ms = timeline.at_ms
        self._in_phase: dict[int, list[int]] = {}
        """Samples and readings of a phase."""
        self._host_at: float | None = None

    @property
    def id(self) -> str:
        return os.path.basename(self.path).rpartition(".")[0]

    @property
    def trouble(self) -> StoreTrouble | None:
        """Why the store is behind; None where it is not."""
        return self._journal.trouble

    # What happens.

    @_survives
    def plan_phase(self, plan: PhasePlan) -> StoreTrouble | None:
        """Says what will be run. Phases are numbered from 1."""
        row = (plan.number, plan.name, plan.module, text_of(plan.devices), plan.planned_seconds)
        return self._write([self._rows.row(PHASES, row)])

    @_survives
    def about(self, phase: int, says: str) -> StoreTrouble | None:
        """Says that something begins next. On the disk when it comes back, unless it says why not."""
        return self._mark(phase, "about", says)

    @_survives
    def begin_phase(self, phase: int, start: PhaseStart | None = None) -> StoreTrouble | None:
        trouble = self._mark(phase, "started", start or PhaseStart())
        self._copy()
        return trouble

    @_survives
    def end_phase(
        self, phase: int, results: StressResults | None = None, outcome: str | None = None
    ) -> StoreTrouble | None:
        """Results without their samples are kept; those must have come one by one."""
        samples, readings = self._in_phase.pop(phase, [0, 0])
        end = PhaseEnd(
            outcome=outcome, results=bare(results) if results else None, readings=readings,
            samples=max(samples, len(results.samples) if results else 0))
        trouble = self._mark(phase, "ended", end)
        self._copy()
        self._journal.fold()
        return trouble

    @_survives
    def event(
        self, kind: str, says: str, *, severity: Severity = "info", subject: str = "", phase: int = 0,
        data: Any = None, wait: bool = True,
    ) -> StoreTrouble | None:
        """Something that happened, as a row of its own; `data` is anything that is JSON. Without `wait` it is committed
        as soon, and whoever tells it does not stand still for a disk that hangs."""
        stamp, entries = self._now()
        row = self._event(stamp, kind, says, severity, subject, phase, data)
        return self._journal.put([*entries, row], wait=wait, patience=self._patience)

    @_survives
    def sample(self, phase: int, sample: Sample, *, worker: int = 0, wait: bool = False) -> StoreTrouble | None:
        """A sample, committed at once. `worker` is the number of the worker that it came from: results come back in
        the order of workers. `wait`: until it is on the disk."""
        stamp, entries = self._now()
        record = self._parts.of_sample(sample, worker, 0.0)
        entries.append(self._records.entry(phase, record, stamp.at_ms, durable=True, room=SAMPLE_BYTES))
        self._count(phase)[0] += 1
        return self._journal.put(entries, wait=wait, patience=self._patience)

    @_survives
    def watched(self, phase: int, readings: Sequence[Reading]) -> StoreTrouble | None:
        """What the instruments showed. Committed within a second."""
        stamp, entries = self._now()
        kept = [one for one in readings if not isinstance(one, HostReading) or self._host_is_due(one)]
        records = self._parts.of_readings(kept)
        entries += (
            self._records.entry(
                phase, one, self._timeline.at(one.monotonic_seconds), durable=False, room=TELEMETRY_BYTES)
            for one in records)
        self._count(phase)[1] += len(records)
        if self._rows.has_new and stamp.at_ms - self._copied_ms > COPY_MS:
            self._copy()
        return self._journal.put(entries, wait=False)

    @_survives
    def findings(self, phase: int, findings: Iterable[Finding]) -> StoreTrouble | None:
        """What the checks found when a phase was over; 0: of no phase."""
        return self._write([
            self._rows.row(FINDINGS, (phase, one.check, one.outcome.value, str(one.subject), one.says, text_of(one)))
            for one in findings])

    @_survives
    def attach(self, name: str, data: bytes, media: str = "application/json") -> StoreTrouble | None:
        """A document as a whole, packed: an account of doctor before and after."""
        if len(data) > BLOB_LIMIT:
            return StoreTrouble(kind="bug", says=f"{name} has {len(data)} bytes, more than a store takes")
        stamp, entries = self._now()
        packed = zlib.compress(data, 6)
        row = self._rows.row(ATTACHMENTS, (name, media, stamp.at_ms, stamp.wall_ms, len(data), packed))
        return self._write([*entries, row])

    @_survives
    def flush(self) -> StoreTrouble | None:
        """Waits until all is committed."""
        return self._journal.flush(self._patience)

    @_survives
    def end(
        self, state: EndState, verdict: Verdict | None = None, *, outcome: str | None = None, reason: str = ""
    ) -> StoreTrouble | None:
        """Ends the run and closes the store. Without it the run counts as crashed."""
        self._copy()
        stamp, entries = self._now()
        flushed = self._journal.flush(self._patience)
        row = self._rows.row(ENDS, (
            self._session, stamp.at_ms, stamp.wall_ms, state, verdict.outcome.value if verdict else outcome,
            reason or (verdict.reason if verdict else ""), text_of(Counts(self._rows.counts)),
            text_of(verdict) if verdict else None))
        trouble = self._write([*entries, row]) or flushed
        return self._close(finish=True) or trouble

    def close(self) -> StoreTrouble | None:
        """Closes the store without an end: the run can be gone on with. Twice is harmless."""
        return self._close(finish=False)

    def _close(self, *, finish: bool) -> StoreTrouble | None:
        trouble = self._journal.close(finish=finish, patience=self._patience)
        if self._journal.ended:  # else its thread may come back and write
            self._lock.release()
        return trouble

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # How it becomes rows.

    def _write(self, entries: Sequence[Entry]) -> StoreTrouble | None:
        return self._journal.put(entries, wait=True, patience=self._patience)

    def _now(self) -> tuple[Stamp, list[Entry]]:
        """The time, and an event where the wall clock was set."""
        stamp, set_by = self._timeline.now()
        if set_by is None:
            return stamp, []
        way = "forward" if set_by > 0 else "back"
        says = f"the wall clock was set {way} by {abs(set_by):.1f} s, or the machine slept"
        return stamp, [self._event(stamp, "clock-set", says, "warn", "", 0, {"seconds": set_by})]

    def _event(
        self, stamp: Stamp, kind: str, says: str, severity: Severity, subject: str, phase: int, data: Any
    ) -> Entry:
        text = None if data is None else text_of(data)
        return self._rows.row(EVENTS, (
            phase, self._session, stamp.at_ms, stamp.wall_ms, kind, severity, subject, says, text))

    def _mark(self, phase: int, mark: str, data: object) -> StoreTrouble | None:
        stamp, entries = self._now()
        row = (phase, self._session, mark, stamp.at_ms, stamp.wall_ms, text_of(data))
        return self._write([*entries, self._rows.row(MARKS, row)])

    def _copy(self) -> None:
        self._copied_ms = self._timeline.now_ms()
        self._journal.put(self._rows.copies(), wait=False)

    def _count(self, phase: int) -> list[int]:
        return self._in_phase.setdefault(phase, [0, 0])

    def _host_is_due(self, reading: HostReading) -> bool:
        if self._host_at is not None and 0 <= reading.monotonic_seconds - self._host_at < HOST_SECONDS:
            return False
        self._host_at = reading.monotonic_seconds
        return True

    def _outage(self, outage: Outage) -> Iterator[Entry]:
        """Called by the journal's thread."""
        began, ended = self._timeline.at(outage.began), self._timeline.at(outage.ended)
        lost = f"{outage.lost} records were lost" if outage.lost else "nothing was lost"
        says = f"the store could not be written for {(ended - began) / 1000:.1f} s: {outage.says}; {lost}"
        stamp = Stamp(ended, self._timeline.wall_ms_now())
        yield self._event(stamp, "store-gap", says, "warn", "", 0, {
            "kind": outage.kind, "began_ms": began, "ended_ms": ended, "lost": outage.lost})
