"""All that triage found, as the reports render it, and the one function that makes it from files."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from boxcheck.model import Bdf
from boxcheck.triage.evidence import Device
from boxcheck.triage.machine import Machine, join
from boxcheck.triage.machines import sort_out
from boxcheck.triage.reading import SourceReading, read_source
from boxcheck.triage.rules import diagnose
from boxcheck.triage.scene import GRAVITY, Diagnosis, Scene, Sighting
from boxcheck.triage.times import moment

MOST_JUDGED = 2000
"""Different events among which causes are looked for, the gravest first. Rules compare events with each other."""

_NVIDIA_KINDS = ("xid", "gpu-lost", "nvidia-init-fail")
_AMD_KINDS = ("ib-test-fail", "ring-test-fail", "psp-fail")
_GPU_DRIVER = re.compile(r"(?:nvidia|amdgpu|nouveau|radeon|xe) [0-9a-fA-F]{2,8}:")
"""A message that one of these drivers' devices is the subject of: `nvidia 0000:07:00.0: AMD-Vi: ...`."""
_GPU_NUMBER = re.compile(r"gpu(\d{1,3})")
_VENDORS = {"nvidia": 0x10DE, "amd": 0x1002}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One source, and what was recognised in it."""

    name: str
    lines: int
    pieces: tuple[str, ...]
    """What it holds, for people: `kernel log of Linux 6.14.0, 0:00:00.0 to 3:12:00.0`, `lspci -vvv: 112 devices`."""
    recognised: bool
    complaints: tuple[str, ...] = ()


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
    for number, members in enumerate(sort_out(readings)):
        seen = list(_sightings(members, number))
        machines.append(_machine(members, seen))
        sightings += _placed(seen, machines[-1])
    sightings.sort(key=lambda sighting: sighting.source)
    wanted = _wanted(sightings, only)
    kept = [msgspec.structs.replace(sighting, index=index) for index, sighting in enumerate(wanted)]
    judged = sorted(kept, key=lambda sighting: GRAVITY.index(sighting.event.severity))[:MOST_JUDGED]
    judged.sort(key=lambda sighting: sighting.index)
    problems = [
        diagnosis for number, machine in enumerate(machines)
        for diagnosis in diagnose(Scene([one for one in judged if one.machine == number], machine))]
    return Triage(
        started=started, elapsed_seconds=time.monotonic() - began, sources=tuple(map(_found, readings)),
        events=tuple(kept), problems=tuple(sorted(
            problems, key=lambda problem: (GRAVITY.index(problem.severity), problem.events[:1]))),
        machines=tuple(machines), residue=tuple(_residue(readings)),
        residue_dropped=sum(reading.log.residue_dropped for reading in readings if reading.log is not None),
        notes=tuple(dict.fromkeys(_notes(readings, machines))), readings=tuple(_measured(readings)),
        before_since=sum(reading.log.before_since for reading in readings if reading.log is not None),
        other_kinds=len(sightings) - len(kept), unjudged=len(kept) - len(judged), only=tuple(only),
    )


def _sightings(readings: Iterable[SourceReading], machine: int) -> Iterable[Sighting]:
    """All events, those of tools with those of logs, each happening once though two sources tell it."""
    seen: set[tuple[object, ...]] = set()
    for reading in readings:
        logged = [(event, True) for event in (reading.log.events if reading.log is not None else ())]
        shown = [(event, False) for piece in reading.evidence for event in piece.events]
        for event, log in (*logged, *shown):
            if log and event.first is not None:
                key = (event.kind, event.bdf, event.labels, event.first, event.last, event.count)
                if key in seen:
                    continue
                seen.add(key)
            yield Sighting(
                index=-1, event=event, source=reading.index, machine=machine, file=reading.name, log=log,
                first=moment(event.first), last=moment(event.last))


def _machine(readings: Sequence[SourceReading], sightings: Iterable[Sighting]) -> Machine:
    pieces = [(piece, reading.index) for reading in readings for piece in reading.evidence]
    pieces += [(reading.machine, reading.index) for reading in readings if reading.machine is not None]
    heard: list[tuple[Bdf, Bdf | None, bool]] = []
    for sighting in sightings:
        event = sighting.event
        if event.bdf is not None:
            gpu = _family(sighting) is not None or _GPU_DRIVER.match(event.text) is not None
            heard.append((event.bdf, event.reporter or event.limited_at, gpu))
    return join(pieces, heard)


def _placed(sightings: Sequence[Sighting], machine: Machine) -> Iterable[Sighting]:
    """The sightings at their links. What a GPU's driver says without an address is about the one GPU that it can mean.
    """
    named = {
        (sighting.source, _family(sighting)): set[Bdf]() for sighting in sightings if _family(sighting) is not None}
    for sighting in sightings:
        if sighting.bdf is not None and _family(sighting) is not None:
            named[sighting.source, _family(sighting)].add(sighting.bdf)
    for sighting in sightings:
        bdf, assumed = sighting.bdf, False
        family = _family(sighting)
        if bdf is None and family is not None:
            known = {gpu for gpu in machine.gpus() if machine.vendor(gpu) in (None, _VENDORS[family])}
            near = sighting.event.near
            candidates = {near} if near is not None else named[sighting.source, family] | known
            if len(candidates) == 1:
                bdf, assumed = next(iter(candidates)), True
        if bdf is None and not sighting.log and sighting.labels:
            bdf = _numbered(sighting.labels[0], machine)
            assumed = bdf is not None
        if bdf is not None:
            event = msgspec.structs.replace(sighting.event, bdf=bdf) if assumed else sighting.event
            sighting = msgspec.structs.replace(sighting, event=event, link=machine.link(bdf), assumed=assumed)
        yield sighting


def _numbered(label: str, machine: Machine) -> Bdf | None:
    """The GPU that a tool calls `gpu3`, where another tool gives the address of GPU 3. Tools may count mixed cards in
    another order, so only cards of one model are taken for each other."""
    found = _GPU_NUMBER.fullmatch(label)
    if found is None:
        return None
    by_index = {known.device.index: bdf for bdf, known in machine.devices.items() if known.device.index is not None}
    models = {machine.model(bdf) for bdf in by_index.values()}
    return by_index.get(int(found[1])) if len(models) == 1 else None


def _family(sighting: Sighting) -> str | None:
    """Whose GPU an event is about, by its kind."""
    if sighting.kind in _NVIDIA_KINDS:
        return "nvidia"
    return "amd" if sighting.kind.startswith("amdgpu-") or sighting.kind in _AMD_KINDS else None


def _wanted(sightings: list[Sighting], only: Sequence[str]) -> list[Sighting]:
    """The events that --only leaves."""
    if not only:
        return sightings
    return [sighting for sighting in sightings if any(fnmatchcase(sighting.kind, pattern) for pattern in only)]


def _found(reading: SourceReading) -> Found:
    return Found(
        name=reading.name, lines=reading.lines, pieces=tuple(reading.pieces), recognised=reading.recognised,
        complaints=tuple(reading.complaints))


def _residue(readings: Iterable[SourceReading]) -> Iterable[Leftover]:
    for reading in readings:
        for item in reading.log.residue if reading.log is not None else ():
            yield Leftover(source=reading.index, line=item.line, text=item.text, count=item.count, level=item.level)


def _notes(readings: Iterable[SourceReading], machines: Sequence[Machine]) -> Iterable[str]:
    if len(machines) > 1:
        yield f"what was given is of {len(machines)} machines, by host, board or cards; nothing is joined between them"
    for machine in machines:
        yield from machine.disputes
    for reading in readings:
        if reading.log is not None and reading.log.since_unknown:
            yield (f"{reading.name}: {reading.log.since_unknown} events or lines carry no time of the kind that --since"
                   " names, and are kept")
        for piece in reading.evidence:
            yield from piece.notes


def _measured(readings: Iterable[SourceReading]) -> Iterable[Mapping[str, Any]]:
    for reading in readings:
        for piece, line in zip(reading.evidence, reading.evidence_lines, strict=True):
            if piece.readings:
                yield {"tool": piece.tool, "file": reading.name, "line": line, **piece.readings}

