"""Who can write the program that runs as root: whoever can, is root by it.

Root's own files and those of the user who called (behind sudo) are trusted; nobody else's. Without sudo (a root login,
a container) one owner beside root is taken for that user. Modes and groups are looked at, access control lists are not.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator

from boxcheck.host import Who
from boxcheck.host.common import one_line
from boxcheck.model import Unread
from boxcheck.usage import UsageError

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def written_by_others(caller: int | None) -> str | None:
    """Which part of this installation others than root and `caller` can write, and who: one clause, None where none
    can. A part that is not there is nobody's."""
    trusted = {0, caller or 0}
    for path in _parts():
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if not caller and len(trusted) == 1:
            trusted.add(status.st_uid)
        who = _others(status, trusted)
        if who:
            return f"{one_line(path)} can be written by {who}"
    return None


def refuse_shared(who: Who | Unread) -> None:
    """UsageError where this process is root and others than root and who called can write what it runs."""
    if isinstance(who, Unread) or not who.root:
        return
    why = written_by_others(who.invoked_by)
    if why is not None:
        raise UsageError(
            f"not run as root: {why}, and would be root by it",
            "run it without sudo, take that right away, or install boxcheck for root alone: "
            "sudo python3 -m venv /opt/boxcheck && sudo /opt/boxcheck/bin/pip install .")


def _parts() -> Iterator[str]:
    """The package's files, those of all modules at hand, the places that Python imports from, and all that is above."""
    seen: set[str] = set()

    def fresh(path: str) -> Iterator[str]:
        while path not in seen:
            seen.add(path)
            yield path
            path = os.path.dirname(path)

    for folder, _, names in os.walk(PACKAGE):
        for name in names:
            yield from fresh(os.path.join(folder, name))
    for place in imported_from():
        if os.path.isabs(place):
            yield from fresh(place)


def imported_from() -> list[str]:
    """The interpreter, where it looks for modules, and the files of those it has."""
    # The link to the interpreter lies in the installation, what it leads to elsewhere.
    places = [sys.executable, os.path.realpath(sys.executable), *sys.path]
    modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return [place for place in (*places, *modules) if isinstance(place, str)]


def _others(status: os.stat_result, trusted: set[int]) -> str:
    if status.st_uid not in trusted:
        return f"user {_user(status.st_uid)}, who owns it"
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        return ""  # a link has no mode of its own; in a sticky directory nobody replaces what is another's
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        return _members(status.st_gid, trusted)
    return ""


def _members(gid: int, trusted: set[int]) -> str:
    """The group with those of its members who are not trusted; empty where there are none."""
    import grp
    import pwd

    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return ""
    everybody = pwd.getpwall()
    known = {entry.pw_name for entry in everybody if entry.pw_uid in trusted}
    members = {*group.gr_mem, *(entry.pw_name for entry in everybody if entry.pw_gid == gid)} - known
    return f"group {group.gr_name} ({', '.join(sorted(members)[:3])})" if members else ""


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
