"""Every time that a run was cut off, from its store alone: in which phase, on what, at what power.

A session of the engine is the first of a store, or one that says `resumed`; it was cut off when it has no end and
nobody writes it. Other sessions are of whoever looked into the logs afterwards (boxcheck.engine.aftermath) and left
what was found as a document `down-SESSION.json`.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from boxcheck.model import Crash, Finding, Unread
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Phase, Session
from boxcheck.store.schema import BLOCKS, ENDS, EVENTS, MARKS, TAIL
from boxcheck.store.texts import decode_plain, plain_line
from boxcheck.stress.survived_checks import Downtime, Survival
from boxcheck.telemetry.readings import GpuReading, HostReading

RESUMED = "resumed"
"""Kind of the event that a session of the engine begins with that goes on with a run."""
BROKE = "engine-broke"
"""Kind of the event by which the engine says that it fails by a fault of its own."""
LAST_SECONDS = 15.0
"""Power and heat are those of this long before the last reading: a pulse may just have been low."""


def document(session: int) -> str:
    """Name of the document about a session that was cut off."""
    return f"down-{session}.json"


def engine_sessions(reader: RunReader) -> tuple[Session, ...]:
    """Those in which the run itself was worked on."""
    resumed = {row[2] for row in reader.database.rows(EVENTS, "WHERE kind = ?", (RESUMED,))}
    return tuple(one for one in reader.database.sessions() if one.number == 1 or one.number in resumed)


def cut_sessions(reader: RunReader) -> tuple[Session, ...]:
    """Those that have no end, and that nobody works on."""
    ended = {row[1] for row in reader.database.rows(ENDS)}
    mine = engine_sessions(reader)
    run = reader.run()
    live = run.state == "running" and mine and mine[-1].number == run.sessions[-1].number
    return tuple(one for one in mine if one.number not in ended and not (live and one is mine[-1]))


class _Resumed(msgspec.Struct, frozen=True):
    """The part of such an event that is judged."""

    missing: tuple[tuple[str, str], ...] = ()


def survival_of(reader: RunReader) -> Survival:
    """What the store holds on it."""
    mine = engine_sessions(reader)
    downs: list[Downtime] = []
    for session in cut_sessions(reader):
        packed = reader.attachment(document(session.number))
        with reader.guarded(document(session.number)):
            down = told_by_store(reader, session) if packed is None else decode_plain(packed, Downtime)
        downs.append(msgspec.structs.replace(down, resumed=any(one.number > session.number for one in mine)))
    missing: dict[tuple[str, str], None] = {}
    with reader.guarded("what was missing"):
        for event in reader.events():
            if event.kind == RESUMED:
                missing.update((one, None) for one in msgspec.convert(event.data, _Resumed).missing)
    run = reader.run()
    return Survival(downs=tuple(downs), missing=tuple(missing), finished=run.state == "finished", kind=run.info.kind)


def survived(before: Survival | None, finished: bool) -> Survival:
    """That of a run that ends now."""
    return msgspec.structs.replace(before or Survival(), finished=finished)


def findings_of_survival(survival: Survival, want: Profile, crashes: list[Crash]) -> list[Finding]:
    """What the check finds."""
    from boxcheck.engine.inspect import Facts, findings_of
    from boxcheck.engine.stress import decides

    facts = Facts()
    facts.put(Survival, survival)
    found = findings_of(CHECKS["burn.survived"], facts, want, crashes)
    return [msgspec.structs.replace(one, blocker=decides(one, want)) for one in found]


def told_by_store(reader: RunReader, session: Session) -> Downtime:
    """What the run's own records say of the end of a session."""
    phases = cut_phases(reader, session)
    plan = phases[0].plan if phases else None
    watts, watts_of, celsius, celsius_of = _last_shown(reader, [one.plan.number for one in phases])
    gpus = dict.fromkeys(
        _named(key, one) for one in phases for key in (
            [info.key for info in one.start.gpus] if one.start and one.start.gpus else one.plan.devices))
    last = last_seconds(reader, session)
    return Downtime(
        session=session.number, phase=plan.name if plan else "",
        modules=tuple(one.plan.module for one in phases if one.plan.module), gpus=tuple(gpus), watts=watts,
        watts_of=watts_of, celsius=celsius, celsius_of=celsius_of, broke=_broke(reader, session),
        last_record=session.began.wall + last - session.began.seconds)


def _broke(reader: RunReader, session: Session) -> str:
    rows = reader.database.rows(EVENTS, "WHERE kind = ? AND session = ?", (BROKE, session.number))
    return next((plain_line(str(row[8])) for row in rows), "")


def cut_phases(reader: RunReader, session: Session) -> tuple[Phase, ...]:
    """Phases that were said to begin in a session, and have no end in it."""
    last: dict[int, str] = {}
    for row in reader.database.rows(MARKS, "WHERE session = ?", (session.number,)):
        last[row[1]] = row[3]
    return tuple(one for one in reader.phases() if last.get(one.plan.number) in ("about", "started"))


def last_seconds(reader: RunReader, session: Session) -> float:
    """When a session wrote its last record: seconds since the run began."""
    found = [session.began.seconds]
    for table, column in ((MARKS, "at_ms"), (EVENTS, "at_ms"), (TAIL, "at_ms"), (BLOCKS, "ended_ms")):
        for (at_ms,) in reader.database.execute(
                f"SELECT max({column}) FROM {table.name} WHERE session = ?", (session.number,)):
            found += [at_ms / 1000] if at_ms is not None else []
    return max(found)


def _named(key: str, phase: Phase) -> str:
    slot = phase.start.slots.get(key) if phase.start else None
    return f"{key} ({slot})" if slot else key


def _last_shown(reader: RunReader, phases: Collection[int]) -> tuple[float | None, int, float | None, str]:
    """Watts of all GPUs, of how many, the hottest sensor and its name."""
    gpus: list[GpuReading] = []
    hosts: list[HostReading] = []
    for number in phases:
        for minute in reader.database.records(("gpu", "host"), number, last=True):
            for rows in minute:
                for _, one in reader.read_rows(rows):
                    if isinstance(one, GpuReading):
                        gpus.append(one)
                    elif isinstance(one, HostReading):
                        hosts.append(one)
    newest = max([one.monotonic_seconds for one in gpus] + [one.monotonic_seconds for one in hosts], default=0.0)
    watts: dict[str, float] = {}
    hottest: list[tuple[float, str]] = []
    for gpu in gpus:
        if newest - gpu.monotonic_seconds > LAST_SECONDS:
            continue
        for value in (gpu.power_watts, gpu.power_instant_watts):
            if isinstance(value, (int, float)):
                watts[gpu.bdf] = max(watts.get(gpu.bdf, 0.0), value)
        if not isinstance(gpu.temperatures_celsius, Unread):
            hottest += [(one.value, f"{gpu.bdf} {one.name}") for one in gpu.temperatures_celsius
                        if isinstance(one.value, (int, float))]
    for host in hosts:
        if newest - host.monotonic_seconds <= LAST_SECONDS and not isinstance(host.cpu_temperatures_celsius, Unread):
            hottest += [(one.value, f"processor {one.name}") for one in host.cpu_temperatures_celsius
                        if isinstance(one.value, (int, float))]
    heat, of = max(hottest, default=(None, ""))
    return sum(watts.values()) if watts else None, len(watts), heat, of
