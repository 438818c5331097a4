"""A run as it happens, one JSON object a line: what `--jsonl` writes. Read from the store, so that it can be followed
at any time, by any number of readers, and from its beginning.

Each line stands alone and has `schema` (`boxcheck.stream/1`, docs/reference/stream.schema.json) and `type`:

    start     the run: `run`, `kind`, `box`, `tool`, `started`, `profile`, `plan`
    phase     a phase that begins or ends: `number`, `name`, `module`, `state`, `at`, `doing`, `outcome`
    event     what happened: `number`, `at`, `kind`, `severity`, `subject`, `says`, `phase`, `data`
    samples   what one device did of one kind since the line before: `phase`, `what`, `gpu`, `unit`, `count`, `checked`,
              `of`, `wrong`, `median`, `least`, `most`, `at`
    finding   as in doctor's lines, with `phase`: judged when that phase was over
    history   how the run is beside earlier runs of the box
    problem   findings of the verdict that have one cause, with what to do
    disposition   of an acceptance that the run is the load of (report/certified_stream.py)
    end       `finished`, `state`, `reason`, `verdict`

`at` is the age of the run in seconds by the monotonic clock, `time` the wall clock's word for it. Additions come within
/1: readers ignore what they do not know.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

import msgspec

from boxcheck.model import Finding, Verdict
from boxcheck.report.json import finding_object
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Event, Moment, Phase, Run
from boxcheck.store.samples import Samples
from boxcheck.store.schema import FINDINGS
from boxcheck.stress import Sample

STREAM_SCHEMA = "boxcheck.stream/1"
SAMPLES_SECONDS = 10.0
"""Between two summaries of samples."""
MINUTE_SECONDS = 40.0
"""Within so long what is new of a phase is in its last block and behind it (boxcheck.store.folding: a minute each)."""


def _iso(seconds: float) -> str | None:
    try:
        found = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return None
    return found.replace("+00:00", "Z")


def _second(seconds: float) -> str | None:
    """As in doctor's lines, whole seconds."""
    found = _iso(seconds)
    return None if found is None else f"{found[:19]}Z"


def _at(moment: Moment | None) -> dict[str, Any]:
    if moment is None:
        return {"at": None, "time": None}
    return {"at": round(moment.seconds, 3), "time": _iso(moment.wall)}


def line(type: str, fields: dict[str, Any]) -> str:
    return msgspec.json.encode({"schema": STREAM_SCHEMA, "type": type, **fields}).decode()


class Stream:
    """Makes the lines of a run. `look` reads what is new; nothing is written while the store is open, since a reader
    that hangs there would keep the writer from moving its log into the store."""

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._began = False
        self._states: dict[int, tuple[str, str]] = {}
        self._finding = 0
        self._samples_of: dict[int, tuple[int, float]] = {}
        """Of each phase the last sample that was told, and when (CLOCK_MONOTONIC)."""
        self._next = 0.0
        self._summed: set[int] = set()
        """Phases whose samples have all been told."""

    def look(self, reader: RunReader, run: Run, phases: Sequence[Phase], news: Sequence[Event]) -> list[str]:
        """The lines that are new, in the order of what they tell."""
        lines: list[str] = []
        if not self._began:
            self._began = True
            lines.append(self._start(run))
        changed = [phase for phase in phases if self._states.get(phase.plan.number) != (phase.state, phase.doing)]
        told = [(event.at.seconds, event.phase, 1, _event(event)) for event in news]
        for phase in changed:
            self._states[phase.plan.number] = (phase.state, phase.doing)
            at, text = _phase(phase)
            told.append((at, phase.plan.number, 3 if phase.state in ("ended", "cut") else 0, text))
        over = run.state != "running"
        if over or changed or time.monotonic() >= self._next:
            self._next = time.monotonic() + SAMPLES_SECONDS
            told += ((at, number, 2, text) for number, (at, text) in self._samples(reader, phases))
        # Of one moment: a phase begins, things happen in it, it ends.
        lines += (text for *_, text in sorted(told, key=lambda one: one[:3]))
        return lines + list(self._findings(reader))

    def _start(self, run: Run) -> str:
        plan = run.info.plan if isinstance(run.info.plan, dict) else {}
        profile, job = run.info.profile, plan.get("job")
        attempt = job.get("attempt") if isinstance(job, dict) else ""
        return line("start", {
            "run": run.path.rpartition("/")[2].rpartition(".")[0], "kind": run.info.kind,
            **({"attempt": str(attempt)} if attempt else {}), "box": run.info.box,
            "tool": {"name": "boxcheck", "version": run.info.version, "commit": run.info.commit},
            "started": _second(run.started), "origin": "this machine", "strict": self._strict,
            "profile": None if profile is None else {
                "name": profile.name, "revision": profile.revision, "sha256": profile.sha256,
                "why": str(plan.get("profile_why", ""))},
            "plan": {"name": plan.get("name"), "steps": plan.get("steps", []), "left_out": plan.get("left_out", {})}})

    def _findings(self, reader: RunReader) -> Iterator[str]:
        for number, phase, *_, data in reader.database.rows(FINDINGS, "WHERE id > ?", (self._finding,)):
            self._finding = number
            finding: Finding = reader.database.decoded(data, Finding)
            yield line("finding", {"phase": phase, **finding_object(finding)})

    def _samples(self, reader: RunReader, phases: Sequence[Phase]) -> list[tuple[int, tuple[float, str]]]:
        """A line for each kind of work of each device. A phase is read whole when it is first seen and when it has
        ended, and by its last minute in between."""
        lines: list[tuple[int, tuple[float, str]]] = []
        for phase in phases:
            number = phase.plan.number
            if not phase.plan.module or phase.state in ("planned", "about") or number in self._summed:
                continue
            over = phase.state in ("ended", "cut")
            told, when = self._samples_of.get(number, (0, float("-inf")))
            now = time.monotonic()
            newest = told
            kinds: dict[tuple[str, str, str], list[tuple[int, int, Sample]]] = {}
            for row, at_ms, one in _records(reader, number, last=not over and now - when < MINUTE_SECONDS):
                if row > told:
                    kinds.setdefault((one.what, one.gpu, one.unit), []).append((row, at_ms, one))
                    newest = max(newest, row)
            self._samples_of[number] = (newest, now)
            lines += ((number, _summary(number, some)) for some in kinds.values())
            if over:
                self._summed.add(number)
        return lines

    def end(self, run: Run, verdict: Verdict, history: Any = None) -> list[str]:
        """The last lines: what was compared, the problems, the verdict."""
        lines = [] if history is None else [line("history", history)]
        for problem in verdict.problems:
            lines.append(line("problem", {
                "id": problem.id, "title": problem.title, "where": problem.where, "outcome": problem.outcome.value,
                "findings": [
                    {"check": verdict.findings[at].check, "subject": str(verdict.findings[at].subject),
                     "says": verdict.findings[at].says} for at in problem.findings],
                "help": list(problem.help), "not": list(problem.not_)}))
        lines.append(line("end", {
            "finished": _second(run.end.at.wall) if run.end else None, "state": run.state,
            "reason": run.end.reason if run.end else "", "verdict": {
                "outcome": verdict.outcome.value, "reason": verdict.reason, "counts": dict(verdict.counts),
                "crashed": verdict.crashed, "device_lost": verdict.device_lost, "partial": verdict.partial,
                "not_run": verdict.not_run}}))
        return lines


def _event(event: Event) -> str:
    return line("event", {
        "number": event.number, **_at(event.at), "kind": event.kind, "severity": event.severity,
        "subject": event.subject, "says": event.says, "phase": event.phase, "data": event.data})


def _phase(phase: Phase) -> tuple[float, str]:
    moment = phase.ended if phase.state in ("ended", "cut") and phase.ended else phase.started or phase.about
    return moment.seconds if moment else 0.0, line("phase", {
        "number": phase.plan.number, "name": phase.plan.name, "module": phase.plan.module, "state": phase.state,
        **_at(moment), "doing": phase.doing, "devices": list(phase.plan.devices),
        "planned_seconds": phase.plan.planned_seconds, "outcome": phase.end.outcome if phase.end else None})


def _records(reader: RunReader, phase: int, *, last: bool) -> Iterator[tuple[int, int, Sample]]:
    """Number, age in milliseconds and sample, of a phase."""
    made = Samples()
    for minute in reader.database.records(("sample",), phase, last=last):
        for rows in minute:
            with reader.guarded("samples"):
                found = list(zip(rows.numbers, rows.ats_ms, made.of(rows), strict=True))
            yield from found


def _summary(phase: int, some: Sequence[tuple[int, int, Sample]]) -> tuple[float, str]:
    at_ms, (_, _, first) = max(at for _, at, _ in some), some[0]
    values = [one.value for _, _, one in some if one.value is not None]
    return at_ms / 1000, line("samples", {
        "phase": phase, "at": at_ms / 1000, "what": first.what, "gpu": first.gpu, "unit": first.unit,
        "count": len(some), "checked": sum(one.checked for _, _, one in some), "of": first.of,
        "wrong": sum(one.wrong for _, _, one in some), "median": median(values) if values else None,
        "least": min(values, default=None), "most": max(values, default=None)})
