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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import msgspec

from boxcheck.store.blocks import Stored
from boxcheck.store.cells import Record, Records, text_of
from boxcheck.store.clocks import Stamp, Timeline
from boxcheck.store.errors import StoreTrouble
from boxcheck.store.folding import Tailed
from boxcheck.store.journal import (
    ANY_BYTES,
    OTHER_BYTES,
    PATIENCE_SECONDS,
    SAMPLE_BYTES,
    TELEMETRY_BYTES,
    Entry,
    Journal,
    Outage,
)
from boxcheck.store.lock import RunLock
from boxcheck.store.rows import EndState, PhaseEnd, PhasePlan, PhaseStart, Severity, bare
from boxcheck.store.schema import (
    ATTACHMENTS,
    BLOB_LIMIT,
    COPIED,
    COPIES,
    ENDS,
    EVENTS,
    FINDINGS,
    MARKS,
    META,
    PHASES,
    SESSIONS,
    STREAMS,
    TABLES,
    TAIL,
    WORDS,
    Table,
    Value,
    summed,
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
MOST_WORDS = 20_000
"""Texts that are numbered; more are kept where they stand, so that nothing grows without bound."""
_pack = msgspec.msgpack.Encoder().encode

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


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rows of a session begin: numbers that are used, and texts that are numbered already."""

    rows: Mapping[str, int] = {}
    session: int = 1
    counted: Mapping[str, int] = {}
    """Rows of each table that there are."""
    written: Sequence[tuple[str, tuple[Value, ...]]] = ()
    """Rows that the session began with, by table."""


class RunWriter:
    """A store that is written; made by `create_run` or `reopen_run`. The lock and the connection are its own."""

    def __init__(
        self, path: str, connection: sqlite3.Connection, lock: RunLock, timeline: Timeline, numbers: Numbers, *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.path = path
        self.bugs: list[str] = []
        """Tracebacks of boxcheck's own errors while writing."""
        self._lock, self._timeline, self._patience = lock, timeline, patience
        self._numbers = {name: count(numbers.rows.get(name, 0) + 1) for name in TABLES}
        self._session = numbers.session
        self._counts = dict.fromkeys(TABLES, 0) | dict(numbers.counted)
        self._records = Records()
        self._words: dict[str, int] = {}
        self._streams: dict[tuple[str, str, tuple[str, ...]], int] = {}
        self._to_copy = list(numbers.written)
        self._copied_ms = timeline.at_ms
        self._in_phase: dict[int, list[int]] = {}
        """Samples and readings of a phase."""
        self._host_at: float | None = None
        self._journal = Journal(
            path, connection, numbers.rows.get("blocks", 0) + 1, self._outage, timeline.monotonic)

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
        return self._write([self._row(PHASES, row)])

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
        data: Any = None,
    ) -> StoreTrouble | None:
        """Something that happened, as a row of its own; `data` is anything that is JSON."""
        stamp, entries = self._now()
        return self._write([*entries, self._event(stamp, kind, says, severity, subject, phase, data)])

    @_survives
    def sample(self, phase: int, sample: Sample, *, worker: int = 0, wait: bool = False) -> StoreTrouble | None:
        """A sample, committed at once. `worker` is the number of the worker that it came from: results come back in
        the order of workers. `wait`: until it is on the disk."""
        stamp, entries = self._now()
        record = self._records.of_sample(sample, worker, 0.0)
        entries += self._records_of(phase, [(record, stamp.at_ms)], durable=True, room=SAMPLE_BYTES)
        self._count(phase)[0] += 1
        return self._journal.put(entries, wait=wait, patience=self._patience)

    @_survives
    def watched(self, phase: int, readings: Sequence[Reading]) -> StoreTrouble | None:
        """What the instruments showed. Committed within a second."""
        stamp, entries = self._now()
        kept = [one for one in readings if not isinstance(one, HostReading) or self._host_is_due(one)]
        records = self._records.of_readings(kept)
        placed = [(one, self._timeline.at(one.monotonic_seconds)) for one in records]
        entries += self._records_of(phase, placed, durable=False, room=TELEMETRY_BYTES)
        self._count(phase)[1] += len(records)
        if self._to_copy and stamp.at_ms - self._copied_ms > COPY_MS:
            self._copy()
        return self._journal.put(entries, wait=False)

    @_survives
    def findings(self, phase: int, findings: Iterable[Finding]) -> StoreTrouble | None:
        """What the checks found when a phase was over; 0: of no phase."""
        return self._write([
            self._row(FINDINGS, (phase, one.check, one.outcome.value, str(one.subject), one.says, text_of(one)))
            for one in findings])

    @_survives
    def attach(self, name: str, data: bytes, media: str = "application/json") -> StoreTrouble | None:
        """A document as a whole, packed: an account of doctor before and after."""
        if len(data) > BLOB_LIMIT:
            return StoreTrouble(kind="bug", says=f"{name} has {len(data)} bytes, more than a store takes")
        stamp, entries = self._now()
        packed = zlib.compress(data, 6)
        row = self._row(ATTACHMENTS, (name, media, stamp.at_ms, stamp.wall_ms, len(data), packed))
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
        row = self._row(ENDS, (
            self._session, stamp.at_ms, stamp.wall_ms, state, verdict.outcome.value if verdict else outcome,
            reason or (verdict.reason if verdict else ""), text_of({"counts": self._counts}),
            text_of(verdict) if verdict else None))
        trouble = self._write([*entries, row]) or flushed
        return self._close(finish=True) or trouble

    def close(self) -> StoreTrouble | None:
        """Closes the store without an end: the run can be gone on with. Twice is harmless."""
        return self._close(finish=False)

    def _close(self, *, finish: bool) -> StoreTrouble | None:
        trouble = self._journal.close(finish=finish, patience=self._patience)
        if trouble is None or trouble.kind != "slow":  # its thread may come back and write
            self._lock.release()
        return trouble

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # How it becomes rows.

    def _row(self, table: Table, values: tuple[Value, ...], *, room: int = OTHER_BYTES) -> Entry:
        whole = summed(table, (next(self._numbers[table.name]), *map(_plain, values)))
        self._counts[table.name] += 1
        if table.name in COPIED:
            self._to_copy.append((table.name, whole))
        return Entry(table, whole, durable=True, room=room)

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
        return self._row(EVENTS, (
            phase, self._session, stamp.at_ms, stamp.wall_ms, kind, severity, subject, says, text))

    def _mark(self, phase: int, mark: str, data: object) -> StoreTrouble | None:
        stamp, entries = self._now()
        row = (phase, self._session, mark, stamp.at_ms, stamp.wall_ms, text_of(data))
        return self._write([*entries, self._row(MARKS, row)])

    def _records_of(
        self, phase: int, records: Sequence[tuple[Record, int]], *, durable: bool, room: int
    ) -> list[Entry]:
        entries: list[Entry] = []
        for record, at_ms in records:
            stream = self._stream(record)
            cells = [self._word(cell) if isinstance(cell, str) else cell for cell in record.cells]
            number = next(self._numbers["tail"])
            values = summed(TAIL, (number, phase, self._session, stream, at_ms, _pack(cells)))
            entries.append(Entry(TAIL, values, durable, room, Tailed(
                number, phase, self._session, stream, at_ms, cells)))
        return entries

    def _stream(self, record: Record) -> int:
        """Its number. A new one is handed on before anything refers to it."""
        key = (record.kind, record.subject, record.columns)
        number = self._streams.get(key)
        if number is None:
            row = self._row(STREAMS, (record.kind, record.subject, text_of(record.columns)), room=ANY_BYTES)
            self._journal.put([row], wait=False)
            number = self._streams[key] = int(row.values[0])  # type: ignore[arg-type]
        return number

    def _word(self, text: str) -> Stored:
        number = self._words.get(text)
        if number is None:
            if len(self._words) >= MOST_WORDS:
                return text
            row = self._row(WORDS, (text,), room=ANY_BYTES)
            self._journal.put([row], wait=False)
            number = self._words[text] = int(row.values[0])  # type: ignore[arg-type]
        return [number]

    def _copy(self) -> None:
        """Writes rows that much hangs on a second time, on another page."""
        rows, self._to_copy = self._to_copy, []
        self._copied_ms = self._timeline.now_ms()
        if rows:
            self._journal.put([self._row(COPIES, (zlib.compress(_pack(rows), 6),))], wait=False)

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


def _plain(value: Value) -> Value:
    """As SQLite gives it back: it knows neither NaN nor a negative zero, and UTF-8 no lone surrogate."""
    if isinstance(value, float):
        return None if value != value else value + 0.0
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value


def opening_rows(
    session: int, timeline: Timeline, boot: str, version: str, meta: Mapping[str, object]
) -> list[tuple[Table, tuple[Value, ...]]]:
    """Rows that a session begins with."""
    began = (session, boot, os.getpid(), version, timeline.monotonic_ms, timeline.at_ms, timeline.wall_ms)
    return [(SESSIONS, summed(SESSIONS, began)), *(
        (META, summed(META, (number, key, text_of(value)))) for number, (key, value) in enumerate(meta.items(), 1))]
