"""Who can write the program that runs as root: whoever can, is root by it.

Root's own files and those of the user who called (behind sudo) are trusted; nobody else's. Without sudo (a root login,
a container) one owner beside root is taken for that user. Modes and groups are looked at, access control lists are not.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

from boxcheck.host import Who
from boxcheck.host.common import one_line
from boxcheck.model import Unread
from boxcheck.usage import UsageError

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOADED_LATER = (
    "PIL", "ahocorasick_rs", "attr", "attrs", "cryptography", "cuda", "defusedxml", "fontTools", "fpdf", "hip",
    "markdown_it", "mdurl", "numpy", "numpy.libs", "nvidia", "pillow.libs", "platformdirs", "pocl_binary_distribution",
    "pygments", "pynvml.py", "pyopencl", "pyopencl.libs", "pytools", "pyudev", "rich", "rocm", "textual", "zstandard",
)
"""What boxcheck or a worker of its loads from beside it after this was asked. A test holds it to be whole."""
_NAMESPACE = "/proc/self/uid_map"
_OVERFLOW = "/proc/sys/kernel/overflowuid"


def written_by_others(caller: int | None) -> str | None:
    """Which part of this installation others than root and `caller` can write, and who: one clause, None where none
    can. A part that is not there is nobody's."""
    return _first(_parts(), caller)


def cache_written_by_others(caller: int | None) -> str | None:
    """The same for the folder of compiled kernels, and all that is above it."""
    from boxcheck.gpu.cache import folder

    place = folder()
    return None if place is None else _first(_above(str(place)), caller)


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
    why = cache_written_by_others(who.invoked_by)
    if why is not None:
        raise UsageError(
            f"not run as root: {why}, and kernels that are kept there run on the GPUs",
            "take that right away, or unset BOXCHECK_CACHE_DIR and XDG_CACHE_HOME: root then keeps them in its home")


def _first(paths: Iterable[str], caller: int | None) -> str | None:
    trusted = {0, caller or 0, *_unmapped()}
    open_to_one = not caller
    for path in paths:
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if open_to_one and status.st_uid not in trusted:
            trusted.add(status.st_uid)
            open_to_one = False
        who = _others(status, trusted)
        if who:
            return f"{one_line(path)} can be written by {who}"
    return None


def _unmapped() -> set[int]:
    """In a user namespace (user_namespaces(7)), as rootless containers have, the number that stands for all users who
    are not in it: nobody inside is one of them."""
    with suppress(OSError, ValueError), open(_NAMESPACE) as map_of, open(_OVERFLOW) as overflow:
        first, _, length = map_of.read().split()[:3]
        if (first, length) != ("0", str(2**32 - 1)):
            return {int(overflow.read())}
    return set()


def _parts() -> Iterator[str]:
    """The package's files, those of the libraries, the places that Python imports from, and all that is above."""
    seen: set[str] = set()
    for place in (PACKAGE, *imported_from()):
        if os.path.isabs(place):
            yield from _above(place, seen)
    yield from _below(PACKAGE)
    for folder in list(dict.fromkeys(sys.path)):
        for name in LOADED_LATER if os.path.isabs(folder) else ():
            yield from _below(os.path.join(folder, name))
        for name in _names(folder):
            if name.endswith(".pth"):  # lines of it that begin with import are run at each start: site
                yield os.path.join(folder, name)


def _names(folder: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder) if os.path.isabs(folder) else []
    return []


def _above(path: str, seen: set[str] | None = None) -> Iterator[str]:
    """A path and all that is above it, as it is named and where links lead."""
    known = set() if seen is None else seen
    for here in (path, os.path.realpath(path)):
        while here not in known:
            known.add(here)
            yield here
            here = os.path.dirname(here)


def _below(path: str) -> Iterator[str]:
    """A file, or a folder with all that is in it; nothing where there is none."""
    if not os.path.lexists(path):
        return
    yield path
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            yield f"{folder}/{name}"


def imported_from() -> list[str]:
    """The interpreter, the script and the settings it was started by, where it looks for modules, and the files of the
    modules that it has."""
    # The link to the interpreter lies in the installation, what it leads to elsewhere.
    places = [sys.executable, sys.argv[0], os.path.join(sys.prefix, "pyvenv.cfg"), *sys.path]
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
