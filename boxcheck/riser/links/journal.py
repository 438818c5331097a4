"""What a link was set to, on the disk before the first write, so that a killed program's next start restores it.

One file a link, named after its port and the boot: `0000:40:01.1.<boot id>.link.json`. It is there from before the
first write until both ends were read back as they were. After a restart of the machine all registers are fresh, and the
file is only closed. A file that cannot be written or put on the disk means that nothing is written to the link.

The file lies in a folder of the user who called sudo, who might have changed it. So it is believed in what values the
settings had, and in nothing else: which registers there are, where they are and which of their bits may be written is
found anew.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from typing import Literal

import msgspec

from boxcheck.engine.record import runs_directory
from boxcheck.host import Host
from boxcheck.host.common import one_line
from boxcheck.host.left_changed import LOCK, name_of, parse_name
from boxcheck.host.marks import Mark, mark, unmark
from boxcheck.host.on_disk import sync_folder, write_kept
from boxcheck.host.owner import give_to_owner
from boxcheck.host.refused import Refused
from boxcheck.model import Bdf
from boxcheck.riser.links.link_pair import Identity
from boxcheck.riser.links.ports import LinkPair
from boxcheck.riser.links.snapshot import Snapshot
from boxcheck.store.errors import StoreError
from boxcheck.store.lock import RunLock

BOOT_ID = "/proc/sys/kernel/random/boot_id"
LARGEST_BYTES = 256 << 10


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a link, and of which link."""

    schema: Literal["boxcheck.link-journal/1"] = "boxcheck.link-journal/1"
    boot: str
    started: float
    """Seconds since the epoch."""
    pid: int
    what: str = ""
    """The experiment, in words."""
    pair: LinkPair
    port: Identity
    card: Identity | None
    before: Snapshot


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A journal that was not closed."""

    path: str
    port: Bdf
    boot: str
    journal: Journal | None
    """None where the file cannot be read: `trouble` says why."""
    trouble: str = ""


def boot_id() -> str:
    """The kernel's id of this boot; empty where /proc does not tell."""
    try:
        with open(BOOT_ID, encoding="ascii") as stream:
            return stream.read(64).strip()
    except (OSError, ValueError):
        return ""


def journal_path(folder: str, port: Bdf, boot: str) -> str:
    return os.path.join(folder, name_of("link", port, boot))


def write_journal(folder: str, journal: Journal) -> str:
    """Its path, once it and its name are on the disk. Refused where they are not: then nothing may be changed."""
    path = journal_path(folder, journal.pair.port.bdf, journal.boot)
    data = msgspec.json.format(msgspec.json.encode(journal), indent=1) + b"\n"
    name = os.path.basename(path)
    try:
        mark(name, Mark(what=journal.what, folder=os.path.abspath(folder)))
        write_kept(path, data)
    except OSError as error:
        unmark(name)
        words = os.strerror(error.errno or errno.EIO).lower()
        raise Refused(
            "error", f"nothing was changed: the settings of the link cannot be saved in {one_line(folder)} first"
            f" ({words})", "make room there, or choose another directory with XDG_STATE_HOME") from None
    return path


def close_journal(path: str) -> None:
    """Removes it. A name that a power cut brings back does no harm: registers are fresh then."""
    with suppress(OSError):
        os.unlink(path)
    with suppress(OSError):
        sync_folder(os.path.dirname(path))
    unmark(os.path.basename(path))


def pending_journals(folder: str) -> tuple[Pending, ...]:
    """Journals that were not closed, the oldest name first; none where there is no such folder. Refused where it cannot
    be listed: a link may then be in a state that nobody knows of."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return ()
    except OSError as error:
        words = os.strerror(error.errno or errno.EIO).lower()
        says = f"whether a link waits to be restored is not known: {one_line(folder)}: {words}"
        raise Refused("error", says) from None
    found = []
    for name in names:
        parsed = parse_name("link", name)
        if parsed is not None:
            path = os.path.join(folder, name)
            journal, trouble = _read(path, parsed[0])
            found.append(Pending(path=path, port=parsed[0], boot=parsed[1], journal=journal, trouble=trouble))
    return tuple(found)


def _read(path: str, port: Bdf) -> tuple[Journal | None, str]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None, "it is no regular file"
            data = os.read(file, LARGEST_BYTES)
        finally:
            os.close(file)
        journal = msgspec.json.decode(data, type=Journal)
    except OSError as error:
        return None, os.strerror(error.errno or errno.EIO).lower()
    except (msgspec.MsgspecError, ValueError):
        return None, "it is damaged"
    if journal.pair.port.bdf != port:
        return None, "it is about another link than its name says"
    return journal, ""


def lock_links(folder: str, *, must: bool = True) -> RunLock | None:
    """The right to write to links, one process at a time. Refused while another one works. Where the lock's file cannot
    be made (a full disk): Refused if it must be, else None, since what was changed has to be put back all the same."""
    try:
        return RunLock(os.path.join(folder, LOCK))
    except StoreError as error:
        if error.kind == "busy":
            raise Refused("busy", f"another boxcheck works on a link now{_process(str(error))}",
                          "wait until it is done: one link at a time") from None
        if not must:
            return None
        raise Refused("error", f"nothing was changed: {error}", error.help) from None


def _process(says: str) -> str:
    found = re.search(r" \(process \d+\)", says)
    return found[0] if found else ""


def journal_directory(host: Host) -> str:
    """Where this user's journals lie, beside the runs; made for its owner alone where it is not there. Refused where it
    cannot be, or is a link to somewhere else."""
    try:
        folder = os.path.join(os.path.dirname(runs_directory(host)), "links")
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            give_to_owner(os.path.dirname(folder), file)
        finally:
            os.close(file)
    except OSError as error:
        words = os.strerror(error.errno or errno.EIO).lower()
        raise Refused("error", f"there is no place to save the settings of a link in: {one_line(str(error.filename))}:"
                      f" {words}", "choose another directory with XDG_STATE_HOME") from None
    return folder
