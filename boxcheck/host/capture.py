"""A machine that was captured before: by boxcheck, by its shell script, or by somebody else's tool.

What a capture lacks was not read, unless the capture says more: a path in unread.jsonl with its reason, a listing of
its directory without it, or a glob in `covers` that would have found it. Only then is it absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from boxcheck.host import DiskSpace, Phase, ProgramOutput, Stat, Who
from boxcheck.host.common import (
    ABSENT,
    IS_DIRECTORY,
    NO_DIRECTORY,
    NO_LINK,
    NO_PATH,
    NOT_CAPTURED,
    NOT_REGULAR,
    NOWHERE,
    Resolver,
    clean_path,
    from_errno_name,
    not_a_path,
    unread,
)
from boxcheck.host.covers import Covers
from boxcheck.host.readings import Readings
from boxcheck.host.stored import field
from boxcheck.host.tables import EMPTY, Tables
from boxcheck.host.tree import Kind, Tree, open_tree
from boxcheck.model import Unread


class CaptureHost(Readings):
    """See `boxcheck.host.Host`. The capture is hostile input: see `boxcheck.host.tree`."""

    live = False

    def __init__(self, path: str, tree: Tree | None = None) -> None:
        """The capture at `path`, or one that is open already as `tree`."""
        self.origin = path
        self.tree: Tree = open_tree(path) if tree is None else tree
        self._paths = Resolver(self._readlink)
        self._open: dict[str, tuple[str, Mapping[str, Kind]]] = {}
        """Directory as it was asked for -> its real path and what the container holds of it."""
        self._tables = Tables(self.tree, path, self._paths.resolve)
        self.ours = bool(self._tables.meta)
        """Whether a tool that knows this format wrote the capture."""
        self.redacted = field(self._tables.meta, "redacted", bool) is True
        self._unread = self._tables.unread
        self._stats = self._tables.stats
        self._listings = self._tables.listings
        self._aliases: dict[str, list[str]] | None = None
        self._stat_children: dict[str, set[str]] | None = None

    @property
    def complaints(self) -> list[str]:
        """What was ignored in the capture because it was unsafe or broken."""
        return self.tree.complaints

    # Paths

    def _readlink(self, path: str) -> str | None:
        head, _, name = path.rpartition("/")
        return self.tree.link(path) if (self.tree.listing(head) or EMPTY).get(name) == "link" else None

    def _enter(self, head: str) -> tuple[str, Mapping[str, Kind]]:
        real = self._paths.directory(head)
        found = ("\0", EMPTY) if real is None else (real, self.tree.listing(real) or EMPTY)
        self._open[head] = found
        return found

    def _find(self, path: str) -> tuple[str, Kind | None] | Unread:
        """Real path and what the container holds there; Unread (without the path in its words) where there is no such
        place."""
        if not_a_path(path):
            return NO_PATH
        real = self._paths.resolve(path)
        if real is None:
            return NOWHERE
        head, _, name = real.rpartition("/")
        return (real, (self.tree.listing(head) or EMPTY).get(name)) if name else ("/", "dir")

    def _missing(self, path: str, real: str) -> Unread:
        """Why the capture does not hold a path, without the path in the words."""
        known = self._unread.get(real)
        if known is not None:
            return known
        if not self._tables.certain:
            return NOT_CAPTURED
        here, asked = real, clean_path(path)
        missing: list[tuple[str, str]] = []
        while here:
            head, _, name = here.rpartition("/")
            holds = self.tree.listing(head)
            if here in self.tree.lost or head in self.tree.lost:
                return NOT_CAPTURED
            reason = self._unread.get(here)
            if reason is not None:
                return ABSENT if reason.kind == "absent" else reason  # a directory that nobody could look into
            names = self._listings.get(head or "/")
            if names is not None and name not in names and not head.startswith("/proc"):  # /proc hides processes
                return ABSENT
            if name in (holds or EMPTY) or here in self._stats:
                break  # it is there, and what is asked for is below it
            missing.append((here, asked))
            here, asked = head, asked.rpartition("/")[0]
        return ABSENT if any(self._is_covered(*both) for both in missing) else NOT_CAPTURED

    def _is_covered(self, real: str, asked: str) -> bool:
        covers = self._tables.covers
        if covers is None:
            return False
        return covers.match(real) or covers.match(asked) or self._covered_elsewhere(covers, real)

    def _covered_elsewhere(self, covers: Covers, real: str) -> bool:
        """Whether a file of a device was looked for under the device's name in /sys/class or /sys/bus."""
        if not real.startswith("/sys/devices/"):
            return False
        if self._aliases is None:
            self._aliases = {}
            folders = [f"/sys/class/{name}" for name in self.tree.listing("/sys/class") or EMPTY]
            folders += [f"/sys/bus/{name}/devices" for name in self.tree.listing("/sys/bus") or EMPTY]
            for folder in folders:
                for name, kind in (self.tree.listing(folder) or EMPTY).items():
                    target = self._paths.resolve(f"{folder}/{name}") if kind == "link" else None
                    if target is not None:
                        self._aliases.setdefault(target, []).append(f"{folder}/{name}")
        here = real
        while here:
            for alias in self._aliases.get(here, ()):
                if covers.match(alias + real[len(here):]):
                    return True
            here = here.rpartition("/")[0]
        return False

    # Readings

    def _read(self, path: str, limit_bytes: int) -> bytes | Unread:
        head, _, name = path.rpartition("/")
        try:
            directory, holds = self._open[head]
        except KeyError:
            directory, holds = self._enter(head)
        if holds.get(name) == "file":  # nearly every reading ends here
            real = f"{directory}/{name}"
            known = self._unread.get(real)
            return self.tree.read(real, limit_bytes) if known is None or known.kind == "absent" else known
        found = self._find(path)
        if isinstance(found, Unread):
            return found
        real, kind = found
        if kind == "file":
            known = self._unread.get(real)
            return self.tree.read(real, limit_bytes) if known is None or known.kind == "absent" else known
        stat = self._stats.get(real)
        if kind == "dir" or (stat is not None and stat.kind == "dir"):
            return IS_DIRECTORY
        if kind == "other" or (stat is not None and stat.kind != "file"):
            return NOT_REGULAR
        missing = self._missing(path, real)
        if stat is not None and missing is NOT_CAPTURED:
            return Unread("its content is not in the capture", "not-captured")
        return missing

    def entries(self, path: str) -> tuple[str, ...] | Unread:
        found = self._entries(path)
        return unread(path, found.why, found.kind) if isinstance(found, Unread) else tuple(sorted(found))

    def _entries(self, path: str) -> frozenset[str] | set[str] | Unread:
        found = self._find(path)
        if isinstance(found, Unread):
            return found
        real, kind = found
        listed = self._listings.get(real)
        if listed is not None:
            return listed
        stat = self._stats.get(real)
        if kind in ("file", "other") or (kind is None and stat is not None and stat.kind != "dir"):
            return NO_DIRECTORY
        known = self._unread.get(real)
        if known is not None:
            return known
        inner = self._children_by_stat().get(real)
        if kind is None and stat is None and inner is None:
            return self._missing(path, real)
        if self._tables.partial:
            return Unread("the capture holds just some of what is in it", "not-captured")
        names = self.tree.listing(real if real != "/" else "")
        if kind == "dir" and names is None:
            return Unread("this copy of the capture may not be read here", "not-captured")
        return {*(names or ()), *(inner or ())}

    def _children_by_stat(self) -> dict[str, set[str]]:
        if self._stat_children is None:
            self._stat_children = {}
            for path in self._stats:
                head, _, name = path.rpartition("/")
                self._stat_children.setdefault(head or "/", set()).add(name)
        return self._stat_children

    def target(self, path: str) -> str | Unread:
        found = self._target(path)
        return unread(path, found.why, found.kind) if isinstance(found, Unread) else found

    def _target(self, path: str) -> str | Unread:
        if not_a_path(path):
            return NO_PATH
        here = self._paths.place(path)
        if here is None:
            return NOWHERE
        head, _, name = here.rpartition("/")
        kind = (self.tree.listing(head) or EMPTY).get(name)
        if kind == "link":
            return self._paths.end(here) or NOWHERE
        return NO_LINK if kind is not None or here in self._stats or not here else self._missing(path, here)

    def exists(self, path: str) -> bool | Unread:
        found = self._find(path)
        if isinstance(found, Unread):
            return unread(path, found.why, found.kind)
        real, kind = found
        if kind is not None or real in self._stats or real in self._listings:
            return True
        missing = self._missing(path, real)
        head, _, name = real.rpartition("/")
        if missing is NOT_CAPTURED and name in self._listings.get(head or "/", ()):
            return True
        return False if missing.kind == "absent" else unread(path, missing.why, missing.kind)

    def stat(self, path: str) -> Stat | Unread:
        found = self._find(path)
        if isinstance(found, Unread):
            return unread(path, found.why, found.kind)
        real, kind = found
        known = self._stats.get(real)
        if known is not None:
            return known
        if kind == "file" or kind == "dir":
            return Stat(kind)
        missing = self._missing(path, real)
        return unread(path, missing.why, missing.kind)

    def opens(self, path: str) -> Literal[True] | Unread:
        status = self.stat(path)
        if isinstance(status, Unread):
            return status
        found = self._find(path)
        answer = None if isinstance(found, Unread) else self._tables.opened.get(found[0])
        if answer is None:
            return unread(path, "the capture does not say whether it could be opened", "not-captured")
        return True if answer == "ok" else unread(path, *from_errno_name(answer))

    # What is no file

    def run(self, argv: Sequence[str], timeout_seconds: float = 10.0) -> ProgramOutput | Unread:
        return self._tables.program(tuple(argv))

    def answer(self, library: str, request: str, ask: Callable[[], Any] | None = None) -> Any | Unread:
        return self._tables.answer(library, request)

    def disk(self, path: str) -> DiskSpace | Unread:
        value = self.answer("statvfs", path)
        if isinstance(value, Unread):
            return value
        try:
            space = msgspec.convert(value, DiskSpace)
        except (msgspec.ValidationError, RecursionError):
            space = DiskSpace(-1, -1)
        if space.total_bytes < 0 or space.free_bytes < 0:
            return unread(path, "its size in the capture cannot be read", "malformed")
        return space

    def environment(self) -> Mapping[str, str] | Unread:
        found = self._tables.environment()
        return Unread("the environment is not in the capture", "not-captured") if found is None else found

    def who(self) -> Who | Unread:
        return self._tables.who() or Unread("the capture does not say which user made it", "not-captured")

    def again(self, path: str, phase: Phase) -> tuple[bytes, ...] | Unread:
        found = self._tables.again(self._paths.resolve(path), phase)
        return found or unread(path, "read once, there is no later reading", "one-reading")

    def time(self) -> float | Unread:
        return self._tables.start_seconds()
