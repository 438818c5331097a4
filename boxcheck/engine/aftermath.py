"""After a crash: looks into the logs of that time once, and puts what they hold into the run's store.

The judgement is that of `burn.survived`, from the store, so `boxcheck judge` repeats it. A store that cannot be written
costs nothing but that: what was found is told all the same.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from boxcheck import __version__
from boxcheck.engine.leftovers import End, Found, Run, look_around, run_here
from boxcheck.engine.surroundings import keep
from boxcheck.engine.survival import cut_sessions, document, last_seconds, told_by_store
from boxcheck.host.live import LiveHost
from boxcheck.model import Unread
from boxcheck.store.creating import reopen_run
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Session
from boxcheck.store.writer import RunWriter
from boxcheck.stress.happenings import Happening
from boxcheck.stress.survived_checks import Downtime, situation

TOLD = "went-down"
"""Kind of the event that says that the logs of a session that was cut off were looked into."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of this machine. Tests put in their own."""

    boot: str
    uptime_seconds: float | None
    kernel_log: Callable[[], str | Unread]
    root: str = "/"
    run: Run = run_here
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    """Of this boot: what a session's `monotonic_seconds` and the stamps of the kernel's log count by."""


def this_machine() -> Machine:
    uptime: float | None = None
    with suppress(OSError, ValueError, IndexError):
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    return Machine(boot=boot_id(), uptime_seconds=uptime, kernel_log=lambda: LiveHost().kernel_log(0))


def boot_id() -> str:
    """Of this boot; empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of looking after a run."""

    downs: tuple[Downtime, ...]
    """Those that were not looked into before."""
    trouble: str = ""
    """Why it is not in the store; empty where it is."""


def take_in(path: str, machine: Machine | None = None) -> Taken:
    """Looks after every session of a run that was cut off and that nobody has looked after yet. StoreError where the
    store cannot be read."""
    with RunReader(path) as reader:
        known = reader.attachments()
        fresh = [one for one in cut_sessions(reader) if document(one.number) not in known]
        if not fresh:
            return Taken(downs=(), trouble=_mark_as_told(path))
        machine = machine or this_machine()
        found = [_look(reader, session, machine) for session in fresh]
    try:
        store = reopen_run(path, version=__version__, boot=machine.boot)
    except StoreError as error:
        return Taken(downs=tuple(down for down, _ in found), trouble=str(error))
    try:
        troubles = [trouble for down, left in found for trouble in _put(store, down, left)]
    finally:
        last = store.close()
    says = troubles[0] if troubles else last.says if last else ""
    return Taken(downs=tuple(down for down, _ in found), trouble=says)


def look_after(path: str) -> None:
    """Before a run is judged: takes in what is left, once, where it is a run of this machine that was cut off. What
    keeps it from being stored is said on standard error."""
    from boxcheck.engine.resume import is_this_machine
    from boxcheck.store.lock import is_held, lock_path

    if is_held(path):
        return
    try:
        with RunReader(path) as reader:
            if reader.run().state != "crashed":
                return
            mine = is_this_machine(reader)
            if mine is False or (mine is None and not os.path.exists(lock_path(path))):
                return
        trouble = take_in(path).trouble
    except StoreError:
        return  # whoever opens it next says what is wrong with it
    if trouble:
        print(f"what the logs of that time hold was not stored: {trouble}", file=sys.stderr)


class Left(msgspec.Struct, frozen=True):
    """What was found of one session that was cut off."""

    found: Found
    bridged: list[Happening] = []
    """What the kernel's log told of the time after its last record."""


def _look(reader: RunReader, session: Session, machine: Machine) -> tuple[Downtime, Left]:
    down = told_by_store(reader, session)
    if not session.boot or not machine.boot:
        return msgspec.structs.replace(
            down, looked=True, unread=("which boot the run was in is not known",)), Left(Found())
    rebooted = session.boot != machine.boot
    now = machine.now()
    up = now - machine.uptime_seconds if rebooted and machine.uptime_seconds is not None else None
    quiet = (up if up is not None else now) - down.last_record
    read_at = machine.monotonic()  # before it is read: what comes while it is read may be missing
    found = look_around(
        end_of(session, last_seconds(reader, session), rebooted), root=machine.root, run=machine.run,
        this_boot=machine.kernel_log(), uptime_seconds=machine.uptime_seconds, now=machine.now)
    from boxcheck.engine.bridging import AFTER_SECONDS, bridge_log

    assert found.end is not None
    passed = rebooted or read_at >= found.end.last_seconds + AFTER_SECONDS
    bridged = bridge_log(
        reader, found.kernel, found.end, found.log, found.orderly, machine.root, session=session.number,
    ) if passed else []  # else it is left to whoever goes on with the run (late_bridging.py)
    return msgspec.structs.replace(
        down, rebooted=rebooted, looked=True, log=found.log, unread=found.unread, orderly=found.orderly,
        traces=found.traces, hints=found.hints, quiet_seconds=quiet if quiet >= 0 else None), Left(found, bridged)


def end_of(session: Session, last_seconds: float, rebooted: bool) -> End:
    """When a session went down. `last_seconds`: of its last record, since the run began."""
    since = last_seconds - session.began.seconds
    return End(
        boot=session.boot, rebooted=rebooted, began_seconds=session.monotonic_seconds,
        last_seconds=session.monotonic_seconds + since, began=session.began.wall, last=session.began.wall + since)


def _put(store: RunWriter, down: Downtime, left: Left) -> list[str]:
    """The texts first: with the document all is said to be there."""
    done = [store.attach(f"down-{down.session}-{name}", text, "text/plain") for name, text in left.found.texts.items()]
    for one in left.bridged:
        keep(store, one)
    done += [store.event(
        "log-left", f"{one.source}: {one.says}", severity="fail" if one.grave else "warn", subject=one.bdf or "",
        data={"kind": one.kind, "session": down.session}) for one in down.traces]
    done.append(store.event(TOLD, situation(down), severity="warn", data={"session": down.session}))
    done.append(store.attach(document(down.session), msgspec.json.encode(down)))
    return [trouble.says for trouble in done if trouble is not None]


def _mark_as_told(path: str) -> str:
    """A crash leaves the file of the lock, by which the next command finds it; whoever has looked takes it away."""
    from boxcheck.store.lock import RunLock, lock_path

    if not os.path.exists(lock_path(path)):
        return ""
    try:
        RunLock(path).release()
    except StoreError as error:
        return str(error)
    return ""
