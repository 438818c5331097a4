"""All that triage found, as the reports render it, and the one function that makes it from files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from boxcheck.decode.klog import KernelLog
from boxcheck.triage.evidence import Device
from boxcheck.triage.machine import Machine
from boxcheck.triage.machines import sort_out
from boxcheck.triage.placing import place
from boxcheck.triage.reading import SourceReading, read_source
from boxcheck.triage.rules import diagnose
from boxcheck.triage.scene import GRAVITY, Diagnosis, Scene, Sighting
from boxcheck.triage.stretches import notes as stretch_notes
from boxcheck.triage.stretches import stretches
from boxcheck.triage.times import clock_text

MOST_JUDGED = 2000
"""Different events among which causes are looked for, the gravest first. Rules compare events with each other."""
EARLY_SECONDS = 60.0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One source, and what was recognised in it."""

    name: str
    lines: int
    pieces: tuple[str, ...]
    """What it holds, for people: `kernel log of Linux 6.14.0, 0:00:00.0 to 3:12:00.0`, `lspci -vvv: 112 devices`."""
    recognised: bool
    complaints: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    """Commands that would have read the log which a program was not let to read."""


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """A line at warning level or worse that nothing here knows. Listed, never judged."""

    source: int
    line: int
    text: str
    count: int
    level: int | None


class Triage(msgspec.Struct, frozen=True, kw_only=True):
    """The whole account."""

    started: float
    """Seconds since the epoch, UTC."""
    elapsed_seconds: float
    sources: tuple[Found, ...]
    events: tuple[Sighting, ...]
    """In the order of the evidence; `Sighting.index` is the position here."""
    problems: tuple[Diagnosis, ...]
    """Gravest first."""
    machines: tuple[Machine, ...]
    """Usually one. `Sighting.machine` is the position here."""
    residue: tuple[Leftover, ...]
    residue_dropped: int
    notes: tuple[str, ...]
    """What the evidence cannot tell."""
    readings: tuple[Mapping[str, Any], ...]
    """What tools measured: `{"tool", "file", "line", ...}`."""
    before_since: int
    """Events and residue that --since left out."""
    other_kinds: int
    """Events that --only left out."""
    other_faults: int = 0
    """Those of them that fail."""
    unjudged: int = 0
    """Events beyond those among which causes were looked for."""
    only: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices with an address, in order, then those without."""
        return tuple(device for machine in self.machines for device in machine.all_devices())

    def machine_of(self, sighting: Sighting) -> Machine:
        """The machine that an event is of."""
        return self.machines[sighting.machine]

    @property
    def faults(self) -> tuple[Diagnosis, ...]:
        """The problems, without those that explain harmless events."""
        return tuple(problem for problem in self.problems if problem.severity in ("fail", "warn"))

    @property
    def recognised(self) -> bool:
        return any(source.recognised for source in self.sources)

    @property
    def failed(self) -> bool:
        """An event that fails is in it."""
        return any(sighting.event.severity == "fail" for sighting in self.events)

    @property
    def warned(self) -> bool:
        return any(sighting.event.severity == "warn" for sighting in self.events)


def triage(places: Sequence[str], *, since: float | datetime | None = None, only: Sequence[str] = ()) -> Triage:
    """Reads all sources, joins them and looks for causes. UsageError for a source that cannot be read as text."""
    began, started = time.monotonic(), time.time()
    readings = [reading for place in places for reading in read_source(place, since)]
    for index, reading in enumerate(readings):
        reading.index = index
    machines: list[Machine] = []
    sightings: list[Sighting] = []
    logs: list[dict[int, KernelLog]] = []
    wholes: dict[int, KernelLog] = {}
    said: list[str] = []
    for number, members in enumerate(sort_out(readings)):
        machine, seen = place(members, number)
        machines.append(machine)
        sightings += seen
        found = {source: stretch.whole for source, stretch in stretches(members).items()}
        wholes.update(found)
        said += stretch_notes(members)
        # Where --only leaves events out, no log shows what is absent.
        logs.append({} if only else found)
    sightings.sort(key=lambda sighting: sighting.source)
    wanted = _wanted(sightings, only)
    kept = [msgspec.structs.replace(sighting, index=index) for index, sighting in enumerate(wanted)]
    judged = sorted(kept, key=lambda sighting: GRAVITY.index(sighting.event.severity))[:MOST_JUDGED]
    judged.sort(key=lambda sighting: sighting.index)
    problems = [
        diagnosis for number, machine in enumerate(machines)
        for diagnosis in diagnose(Scene([one for one in judged if one.machine == number], machine, logs[number]))]
    return Triage(
        started=started, elapsed_seconds=time.monotonic() - began, sources=tuple(map(_found, readings)),
        events=tuple(kept), problems=tuple(sorted(
            problems, key=lambda problem: (GRAVITY.index(problem.severity), problem.events[:1]))),
        machines=tuple(machines), residue=tuple(_residue(readings)),
        residue_dropped=sum(reading.log.residue_dropped for reading in readings if reading.log is not None),
        notes=tuple(dict.fromkeys((*said, *_notes(readings, machines, since, wholes)))),
        readings=tuple(_measured(readings)),
        before_since=sum(reading.log.before_since for reading in readings if reading.log is not None),
        other_kinds=len(sightings) - len(kept),
        other_faults=sum(one.event.severity == "fail" for one in sightings) - sum(
            one.event.severity == "fail" for one in kept),
        unjudged=len(kept) - len(judged), only=tuple(only),
    )


def _wanted(sightings: list[Sighting], only: Sequence[str]) -> list[Sighting]:
    """The events that --only leaves."""
    if not only:
        return sightings
    return [sighting for sighting in sightings if any(fnmatchcase(sighting.kind, pattern) for pattern in only)]


def _found(reading: SourceReading) -> Found:
    return Found(
        name=reading.name, lines=reading.lines, pieces=tuple(reading.pieces), recognised=reading.recognised,
        complaints=tuple(reading.complaints), refused=tuple(reading.refused))


def _residue(readings: Iterable[SourceReading]) -> Iterable[Leftover]:
    for reading in readings:
        for item in reading.log.residue if reading.log is not None else ():
            yield Leftover(source=reading.index, line=item.line, text=item.text, count=item.count, level=item.level)


def _notes(
    readings: Iterable[SourceReading], machines: Sequence[Machine], since: float | datetime | None,
    wholes: Mapping[int, KernelLog],
) -> Iterable[str]:
    if len(machines) > 1:
        yield f"what was given is of {len(machines)} machines, by host, board or cards; nothing is joined between them"
    for machine in machines:
        yield from machine.disputes
    for reading in readings:
        if reading.log is not None and _lost_its_start(whole := wholes.get(reading.index, reading.log)):
            yield (f"{reading.name}: the log begins {clock_text(whole.first_seconds)} after boot; counts are of"
                   " what is in it, and what came before may hold the cause")
        if reading.log is not None and _ends_before(reading.log, since):
            yield f"{reading.name}: the log ends before the time that --since names"
        if reading.log is not None and reading.log.since_unknown:
            yield (f"{reading.name}: {reading.log.since_unknown} events or lines carry no time of the kind that --since"
                   " names, and are kept")
        for piece in reading.evidence:
            yield from piece.notes


def _lost_its_start(log: KernelLog) -> bool:
    """Whether events of this log may have others before them that it no longer holds."""
    late = log.first_seconds is not None and log.first_seconds > EARLY_SECONDS
    return late and not log.facts.from_boot and any(event.severity in ("fail", "warn") for event in log.events)


def _ends_before(log: KernelLog, since: float | datetime | None) -> bool:
    return isinstance(since, float) and log.last_seconds is not None and log.last_seconds < since


def _measured(readings: Iterable[SourceReading]) -> Iterable[Mapping[str, Any]]:
    for reading in readings:
        for piece, line in zip(reading.evidence, reading.evidence_lines, strict=True):
            if piece.readings:
                yield {"tool": piece.tool, "file": reading.name, "line": line, **piece.readings}

