"""As a run is gone on with: the gap that the cut before left open is closed, as far as what is left reaches.

Whoever looks after a run right when its engine has died (aftermath.py) looks too early: a driver may say what went
wrong many seconds later, and a log that was read before that proves nothing. So the log is read once more here, when
the new follower of it has begun, and nothing lies between both.
"""

from __future__ import annotations

from boxcheck.engine.aftermath import Machine, end_of, this_machine
from boxcheck.engine.bridging import bridge_devices, bridge_log, bridged_sessions
from boxcheck.engine.leftovers import look_around
from boxcheck.engine.survival import cut_sessions, document, engine_sessions, last_seconds
from boxcheck.model import Unread
from boxcheck.probes.pci import PciInventory
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Session
from boxcheck.store.texts import decode_plain
from boxcheck.stress.happenings import Happening
from boxcheck.stress.survived_checks import Downtime


def bridge_gap(
    path: str, machine: Machine | None = None, devices: PciInventory | Unread | None = None
) -> list[Happening]:
    """What log and devices tell of the time since the session before, and which gaps are closed. Called when the new
    session follows both. `devices`: those of now, which are read by default."""
    machine = machine or this_machine()
    try:
        with RunReader(path) as reader:
            cut = _cut_before(reader)
            of_log = [] if cut is None else _log(reader, cut, machine)
            closed = cut is not None and (bool(of_log) or cut.number in bridged_sessions(reader))
    except StoreError:
        return []
    # A restart gives every device anew, so that a list tells nothing of one that was away; a log tells of that.
    seen = closed and cut is not None and bool(cut.boot) and cut.boot == machine.boot
    return [*of_log, *bridge_devices(path, devices, closes=seen)]


def _cut_before(reader: RunReader) -> Session | None:
    """The session of the engine before the one that has just begun, where it was cut off: one that ended in order left
    no gap, and gaps of those before it are not of this time."""
    mine, run = engine_sessions(reader), reader.run()
    if run.state == "running" and mine and mine[-1].number == run.sessions[-1].number:
        mine = mine[:-1]
    return mine[-1] if mine and mine[-1] in cut_sessions(reader) else None


def _log(reader: RunReader, cut: Session, machine: Machine) -> list[Happening]:
    if not cut.boot or not machine.boot or {cut.number, None} & bridged_sessions(reader):
        return []  # None: closed by a version that did not say which
    rebooted = cut.boot != machine.boot
    if rebooted and _was_looked_into_after_the_restart(reader, cut):
        return []  # what the journal of that boot holds was taken then
    end = end_of(cut, last_seconds(reader, cut), rebooted)
    found = look_around(
        end, root=machine.root, run=machine.run, this_boot=machine.kernel_log(), uptime_seconds=machine.uptime_seconds,
        now=machine.now)
    return bridge_log(
        reader, found.kernel, end, found.log, found.orderly, machine.root, session=cut.number, until=float("inf"))


def _was_looked_into_after_the_restart(reader: RunReader, cut: Session) -> bool:
    packed = reader.attachment(document(cut.number))
    with reader.guarded(document(cut.number)):
        return packed is not None and bool(decode_plain(packed, Downtime).rebooted)
