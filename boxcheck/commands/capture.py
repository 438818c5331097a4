"""`boxcheck capture`."""

from __future__ import annotations

import sys
import time

from boxcheck.host.write import Members, WriteError, write_capture
from boxcheck.judge import ExitCode


def capture(out: str, redact: bool, sysroot: str | None) -> int:
    """Records this machine, or packs a capture anew, into `out`. Gives the exit code."""
    print("reading the capture" if sysroot else "reading this machine; nothing is changed", file=sys.stderr)
    members, notes, code = _packed(sysroot) if sysroot else _recorded()
    if redact:
        from boxcheck.redact import redact_members

        members = redact_members(members)
        notes.append("serials, UUIDs, addresses and names are replaced by hashes of this capture only")
    else:
        notes.append("it holds serial numbers, addresses and user names; --redact replaces them")
    try:
        size = write_capture(members, out)
    except WriteError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(ExitCode.USAGE)
    print(f"{out}: {len(members.files)} files, {size / 1e6:.1f} MB")
    for note in notes:
        print(note)
    return int(code)


def _recorded() -> tuple[Members, list[str], ExitCode]:
    from boxcheck.engine.inspect import read_facts
    from boxcheck.engine.installation import refuse_shared
    from boxcheck.engine.wake import read_under_load
    from boxcheck.host.evidence import collect
    from boxcheck.host.live import LiveHost
    from boxcheck.host.write import members_of

    host = LiveHost()
    refuse_shared(host.who())
    unloaded = read_under_load(host)
    if unloaded is not None and unloaded.kind != "absent":
        print(f"links were not all read under load: {unloaded.why}", file=sys.stderr)
    facts = read_facts(host)
    collect(host)
    who = host.who()
    host.environment()
    host.kernel_log(0)
    host.kernel_log(-1)
    host.recording.finished_seconds = round(time.time(), 3)
    for crash in facts.crashes:
        print(f"boxcheck itself broke in {crash.where}; the capture is good all the same", file=sys.stderr)
    notes = []
    denied = sum(why.kind == "permission" for why in host.recording.unread.values())
    if denied and getattr(who, "root", False) is False:
        notes.append(f"{denied} paths are root's alone: with sudo the capture holds them too")
    return members_of(host.recording), notes, ExitCode.BROKEN if facts.crashes else ExitCode.PASSED


def _packed(sysroot: str) -> tuple[Members, list[str], ExitCode]:
    from boxcheck.host.capture import CaptureHost
    from boxcheck.host.write import members_from

    host = CaptureHost(sysroot)
    members = members_from(host)
    return members, [f"left out: {complaint}" for complaint in host.complaints[:5]], ExitCode.PASSED


def print_script() -> int:
    """Prints `boxcheck-capture.sh`, which writes the same capture without Python."""
    from boxcheck.host.evidence import script_text

    sys.stdout.write(script_text())
    return int(ExitCode.PASSED)
