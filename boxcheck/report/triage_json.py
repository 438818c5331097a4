"""The account of a triage as JSON: docs/reference/triage.schema.json."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from boxcheck import __version__
from boxcheck.decode.klog import Event
from boxcheck.report.facts import plain
from boxcheck.report.triage import CAUSES
from boxcheck.triage.account import Triage
from boxcheck.triage.evidence import Device
from boxcheck.triage.scene import Diagnosis, Sighting
from boxcheck.version import source_commit

SCHEMA = "boxcheck.triage/1"
_ALWAYS = frozenset((
    "kind", "bdf", "labels", "count", "suppressed", "cause", "severity", "says", "help", "first", "last", "line"))
"""Fields of an event that scripts may rely on; others are left out where they say nothing."""


def triage_json(triage: Triage) -> str:
    """One object, indented."""
    return msgspec.json.format(msgspec.json.encode(triage_object(triage)), indent=1).decode()


def triage_object(triage: Triage) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "tool": {"name": "boxcheck", "version": __version__, "commit": source_commit()},
        "started": datetime.fromtimestamp(triage.started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "elapsed_seconds": round(triage.elapsed_seconds, 3),
        "outcome": outcome(triage),
        "sources": [
            {"name": source.name, "lines": source.lines, "recognised": source.recognised,
             "holds": list(source.pieces), "complaints": list(source.complaints)} for source in triage.sources],
        "events": [_event(sighting, triage) for sighting in triage.events],
        "problems": [_problem(problem) for problem in triage.problems],
        "devices": [
            {**_device(device), "machine": number}
            for number, machine in enumerate(triage.machines) for device in machine.all_devices()],
        "machine": dict(triage.machines[0].box) if triage.machines else {},
        "machines": [dict(machine.box) for machine in triage.machines],
        "readings": [dict(reading) for reading in triage.readings],
        "residue": [
            {"file": triage.sources[item.source].name, "line": item.line, "text": item.text, "count": item.count,
             "level": item.level} for item in triage.residue],
        "residue_dropped": triage.residue_dropped,
        "notes": list(triage.notes),
        "before_since": triage.before_since,
        "other_kinds": triage.other_kinds,
        "other_faults": triage.other_faults,
    }


def outcome(triage: Triage) -> str:
    """`fail`, `warn`, `nothing` (no event that is a fault) or `unrecognised`."""
    if not triage.recognised:
        return "unrecognised"
    return "fail" if triage.failed else "warn" if triage.warned else "nothing"


def _event(sighting: Sighting, triage: Triage) -> dict[str, Any]:
    event: Event = sighting.event
    fields = {name: plain(getattr(event, name)) for name in Event.__struct_fields__}
    kept = {name: value for name, value in fields.items() if name in _ALWAYS or value not in (None, "", [], 0, False)}
    slot = triage.machine_of(sighting).slot(event.bdf) if event.bdf is not None else None
    return {**kept, "file": sighting.file, "slot": slot, "link": sighting.link, "assumed": sighting.assumed,
            "machine": sighting.machine}


def _problem(problem: Diagnosis) -> dict[str, Any]:
    return {
        "id": problem.key, "rule": problem.rule, "title": problem.title, "where": problem.where,
        "severity": problem.severity, "cause": problem.cause, "part": problem.part or CAUSES[problem.cause],
        "sure": problem.sure, "because": list(problem.because),
        "events": list(problem.events), "help": list(problem.help), "not": list(problem.not_),
    }


def _hex(value: int | None, digits: int) -> str | None:
    return None if value is None else f"{value:0{digits}x}"


def _device(device: Device) -> dict[str, Any]:
    """The shape of `pci` in `boxcheck facts --json`, as far as this evidence goes."""
    found = {
        "bdf": device.bdf, "name": device.name, "vendor": _hex(device.vendor, 4), "device": _hex(device.device, 4),
        "revision": _hex(device.revision, 2), "class": _hex(device.class_code, 6), "driver": device.driver,
        "slot": device.slot, "numa_node": device.numa_node, "iommu_group": device.iommu_group,
        "bars": [{"index": bar.index, "bytes": bar.size_bytes, "assigned": bar.assigned} for bar in device.bars],
        "link": None if device.link is None else plain(device.link), "aer": plain(device.aer), "parent": device.parent,
    }
    more = {
        "index": device.index, "serial": device.serial, "uuid": device.uuid, "vram_bytes": device.vram_bytes,
        "port_type": device.port_type, "secondary_bus": device.secondary_bus,
        "subordinate_bus": device.subordinate_bus, **device.more,
    }
    return {**found, **{name: plain(value) for name, value in more.items() if value is not None}}
