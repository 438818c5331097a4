"""The containers of a capture, read as hostile input: here the directory, in `boxcheck.host.tar` the archive.

Nothing is unpacked to disk, no link is followed out of the tree (links are text here, and `CaptureHost` walks them),
device nodes and FIFOs are never opened, and sizes are bounded. `CaptureError` is the one error: the capture as a whole
cannot be used. Everything smaller is a complaint and an unread path.
"""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Callable, Iterator, Mapping
from sys import intern
from typing import Literal, NamedTuple, Protocol, TypeVar

from boxcheck.host.common import errno_name, from_errno_name, one_line
from boxcheck.model import Unread

DEPTH_LIMIT = 64
"""Deepest path of sysfs seen in the captures at hand has 17 components."""

ENTRIES_LIMIT = 200_000
"""Names in one directory; /sys/bus/pci/devices of 10 000 functions is the largest that makes sense."""

Kind = Literal["file", "dir", "link", "other"]
T = TypeVar("T")

SURE_ROOTS = frozenset({"sys", "proc", "boxcheck"})
ROOTS = SURE_ROOTS | {"etc", "dev", "var", "run", "boot", "usr", "lib", "opt"}
KFD_TOPOLOGY = "/sys/class/kfd/kfd/topology"


class CaptureError(Exception):
    """The capture cannot be used; the message says why, `help` what to do."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


NAME_ONE = "name a capture that boxcheck capture has written, or its directory"


class Tree(Protocol):
    """Paths are real absolute paths on the machine; the root is `""`."""

    complaints: list[str]
    """What was ignored because it was unsafe or broken."""
    lost: set[str]
    """Paths that the container holds and this reader gives no answer about; nothing below them may be called absent."""

    def listing(self, path: str) -> Mapping[str, Kind] | None:
        """What a directory holds, unprintable names left out; None for anything that is no directory."""

    def link(self, path: str) -> str:
        """Target of a symbolic link, as text of unknown content."""

    def read(self, path: str, limit_bytes: int) -> bytes | Unread:
        """Content of a path that `listing` calls a file. An Unread says why without naming the path."""


class Prefix(NamedTuple):
    """Where in the container the machine's root (or the part of it that was captured) lies."""

    strip: str
    under: str

    def moved(self, table: Mapping[str, T]) -> Iterator[tuple[str, T]]:
        cut = len(self.strip)
        for path, value in table.items():
            if path.startswith(self.strip) and (len(path) == cut or path[cut] == "/"):
                yield intern(self.under + path[cut:]), value


def find_prefix(listing: Callable[[str], Mapping[str, Kind] | None], origin: str) -> Prefix:
    """The machine's root in a container: its top, or below directories that hold nothing but one another, as
    archivers and other tools' test data add them. A bare KFD topology counts as a machine with nothing else."""
    here = ""
    for _ in range(5):
        names = listing(here) or {}
        directories = {name for name, kind in names.items() if kind == "dir"}
        if directories & SURE_ROOTS:
            return Prefix(here, "")
        for place in (here, f"{here}/topology"):
            if {"nodes", "system_properties"} <= (listing(place) or {}).keys():
                return Prefix(place, KFD_TOPOLOGY)
        if len(directories) != 1 or directories & ROOTS:
            break
        here = f"{here}/{directories.pop()}"
    if (listing("") or {}).keys() & ROOTS:
        return Prefix("", "")
    raise CaptureError(f"{one_line(origin)}: holds no sys/, proc/ or boxcheck/, so it is no capture of a machine",
                       NAME_ONE)


def _kind(mode: int) -> Kind:
    if stat_module.S_ISREG(mode):
        return "file"
    if stat_module.S_ISDIR(mode):
        return "dir"
    return "link" if stat_module.S_ISLNK(mode) else "other"


class DirectoryTree:
    """A capture in a directory. Each directory is listed once, so that a missing file costs no system call."""

    def __init__(self, root: str) -> None:
        self.complaints: list[str] = []
        self.lost: set[str] = set()
        self._root = root.rstrip("/")
        self._under = ""
        self._listings: dict[str, dict[str, Kind] | None] = {}
        try:
            os.listdir(root)
        except OSError as error:
            words, _ = from_errno_name(errno_name(error.errno))
            raise CaptureError(f"{one_line(root)}: {words}", NAME_ONE) from None
        prefix = find_prefix(self.listing, root)
        if prefix != Prefix("", ""):
            self._root += prefix.strip
            self._under = prefix.under
            self._listings = {}

    def _physical(self, path: str) -> str:
        return self._root + path[len(self._under):] if self._under else self._root + path

    def listing(self, path: str) -> Mapping[str, Kind] | None:
        """Gives no answer about a directory whose parent does not list it as one: so no link is ever followed."""
        try:
            return self._listings[path]
        except KeyError:
            found = self._listings[intern(path)] = self._list(path)
            return found

    def _list(self, path: str) -> dict[str, Kind] | None:
        if path:
            head, _, name = path.rpartition("/")
            above = self.listing(head) if path.count("/") <= DEPTH_LIMIT else None
            if above is None or above.get(name) != "dir":
                return None
        if self._under and not path.startswith(self._under):
            rest = self._under[len(path) + 1:] if self._under.startswith(f"{path}/") else ""
            return {rest.split("/", 1)[0]: "dir"} if rest else None
        found: dict[str, Kind] = {}
        try:
            with os.scandir(self._physical(path) or "/") as entries:
                for entry in entries:
                    name = entry.name
                    if not name.isprintable():
                        self._complain("ignored an unprintable name", f"{path}/{name}")
                    elif entry.is_file(follow_symlinks=False):
                        found[intern(name)] = "file"
                    elif entry.is_symlink():
                        found[intern(name)] = "link"
                    else:
                        found[intern(name)] = "dir" if entry.is_dir(follow_symlinks=False) else "other"
                    if len(found) > ENTRIES_LIMIT:
                        raise ValueError(f"more than {ENTRIES_LIMIT} names")
        except (OSError, ValueError) as error:
            why = from_errno_name(errno_name(error.errno))[0] if isinstance(error, OSError) else str(error)
            self._complain(f"ignored a directory ({why})", path)
            self.lost.add(path)
            return None
        return found

    def _complain(self, what: str, path: str) -> None:
        if len(self.complaints) < 100:
            self.complaints.append(f"{what}: {one_line(path)}")

    def link(self, path: str) -> str:
        try:
            return os.readlink(self._physical(path))
        except OSError:
            return ""

    def read(self, path: str, limit_bytes: int) -> bytes | Unread:
        try:
            descriptor = os.open(self._physical(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            return Unread("this copy of the capture may not be read here", "not-captured")
        except (OSError, ValueError) as error:
            return Unread(f"{error.__class__.__name__} while reading the capture", "error")
        try:
            data = os.read(descriptor, 65536)
            chunks = [data]
            size = len(data)
            while data and size <= limit_bytes:  # to the end: /proc, read through `--sysroot /`, hands out pieces
                data = os.read(descriptor, 1 << 20)
                chunks.append(data)
                size += len(data)
            if size > limit_bytes:
                return Unread(f"larger than {limit_bytes} bytes", "malformed")
            return b"".join(chunks)
        except OSError as error:
            words, _ = from_errno_name(errno_name(error.errno))
            return Unread(f"{words} while reading the capture", "error")
        finally:
            os.close(descriptor)


def open_tree(path: str) -> Tree:
    """The capture at `path`; CaptureError when it is none."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        words, _ = from_errno_name(errno_name(getattr(error, "errno", None)))
        raise CaptureError(f"{one_line(path)}: {words}", NAME_ONE) from None
    if stat_module.S_ISDIR(mode):
        return DirectoryTree(path)
    from boxcheck.host.tar import TarTree

    try:
        return TarTree(path)
    except CaptureError as error:
        if stat_module.S_ISREG(mode) and _is_text(path):
            raise CaptureError(str(error), "boxcheck triage FILE reads logs and what tools printed") from None
        raise


def _is_text(path: str) -> bool:
    """Whether it begins with lines to be read."""
    try:
        with open(path, "rb") as file:
            begins = file.read(512).decode("ascii")
    except (OSError, ValueError):
        return False
    return bool(begins) and all(letter.isprintable() or letter in "\t\r\n\x1b" for letter in begins)
