"""Whose a file is that root makes for somebody, and where a link may lead it.

Behind sudo, what the caller asked for is written as the caller: it is theirs, and a link leads no further than they
could go themselves. Only where that user may not write is it root's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
MOST_LINKS = 40
"""One after another, as the kernel has it (path_resolution(7))."""


def invoker() -> tuple[int, int] | None:
    """User and group behind sudo; None where this process is not root, or no other user called it."""
    ids = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not all(text.isdecimal() and len(text) < 10 for text in ids) or int(ids[0]) == 0:
        return None
    return int(ids[0]), int(ids[1])


@contextlib.contextmanager
def as_user(uid: int | None, gid: int | None) -> Iterator[None]:
    """Opens, makes and renames files as that user while the body runs; as before where either is None."""
    if uid is None or gid is None:
        yield
        return
    groups = os.getgroups()
    os.setgroups(_groups(uid, gid))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _groups(uid: int, gid: int) -> list[int]:
    import pwd

    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]


def as_caller(work: Callable[[], T]) -> T:
    """Behind sudo, does it as the user who called, and as root only where they may not; else simply does it."""
    behind = invoker()
    if behind is not None:
        with contextlib.suppress(PermissionError), as_user(*behind):
            return work()
    return work()


def place_behind(place: str) -> str:
    """Where a place to write to lies: itself, or what a link leads to. PermissionError where that is a link that
    another user may have put there: for root one of anybody else, for others one in a folder where everybody can put
    one, as the kernel has it (fs.protected_symlinks, proc_sys_fs(5)). What it gives is to be opened with O_NOFOLLOW,
    unless `is_kernels`: somebody may put a link there meanwhile."""
    here = place
    for _ in range(MOST_LINKS):
        folder, name = os.path.split(here)
        folder = os.path.realpath(folder)
        here = os.path.join(folder, name)
        target = None if is_kernels(here) else _target(here, folder)
        if target is None:
            return here
        here = os.path.join(folder, target)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), place)


def is_kernels(place: str) -> bool:
    """Whether it lies where the kernel alone makes links, some of which have no path: /proc/self/fd/2."""
    return place.startswith("/proc/")


def _target(place: str, folder: str) -> str | None:
    """Of a link; None for anything else. Owner and target are those of one link, whatever takes its place meanwhile."""
    try:
        link = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found, above = os.fstat(link), os.stat(folder)
        if not stat.S_ISLNK(found.st_mode):
            return None
        shared = above.st_mode & stat.S_ISVTX and above.st_mode & stat.S_IWOTH
        if found.st_uid != os.geteuid() and (os.geteuid() == 0 or (shared and found.st_uid != above.st_uid)):
            raise PermissionError(errno.EACCES, "a link of another user", place)
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)


def give_to_owner(folder: str, file: int) -> None:
    """Gives an open file to the owner of its folder, who could neither read nor remove it otherwise. Does nothing for
    anybody but root, nor for a file of root's that has a second name: it may be one from elsewhere."""
    if os.geteuid() == 0:
        owner, about = os.stat(folder or "."), os.fstat(file)
        second = stat.S_ISREG(about.st_mode) and about.st_nlink > 1
        if owner.st_uid != 0 and about.st_uid == 0 and not second:
            os.fchown(file, owner.st_uid, owner.st_gid)
