"""A machine that was captured before: by boxcheck, by its shell script, or by somebody else's tool.

What a capture lacks was not read, unless the capture says more: a path in unread.jsonl with its reason, a listing of its
directory without it, or a glob in `covers` that would have found it. Only then is it absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any, Literal

import msgspec

from boxcheck.host import FILE_LIMIT_BYTES, LOG_LIMIT_BYTES, DiskSpace, Phase, ProgramOutput, Stat, Who
from boxcheck.host.common import Resolver, clean, clean_path, from_errno_name, not_a_path, one_line, to_text, unread
from boxcheck.host.covers import Covers
from boxcheck.host.record import LOG_PATHS
from boxcheck.host.stored import Fields, decode, field, fields, number, plain, stat_of, unread_as, unread_of, words
from boxcheck.host.tree import CaptureError, Kind, Tree, open_tree
from boxcheck.model import Unread

SCHEMA = "boxcheck.capture/1"
JSON_LIMIT_BYTES = 16 << 20
PROGRAM_LIMIT_BYTES = 64 << 20
ANSWER_LIMIT_BYTES = 4 << 20
LINES_LIMIT = 1_000_000

ABSENT = Unread("no such file", "absent")
NOT_CAPTURED = Unread("not in the capture", "not-captured")
NOWHERE = Unread("its symbolic links lead nowhere", "error")
NO_PATH = Unread("not a path", "malformed")
NOT_REGULAR = Unread("not a regular file", "error")
IS_DIRECTORY = Unread("is a directory", "error")
NO_DIRECTORY = Unread("not a directory", "error")
NO_LINK = Unread("not a symbolic link", "absent")
BOOTS = {0: "kernel log of this boot", -1: "kernel log of the previous boot"}
_EMPTY: Mapping[str, Kind] = {}


class _Named(msgspec.Struct):
    path: str
    why: str = "not read"
    kind: str = "error"


class _Listed(msgspec.Struct):
    path: str
    names: list[str]


class CaptureHost:
    """See `boxcheck.host.Host`. The capture is hostile input: see `boxcheck.host.tree`."""

    live = False

    def __init__(self, path: str) -> None:
        self.origin = path
        self._tree: Tree = open_tree(path)
        self._paths = Resolver(self._readlink)
        self._open: dict[str, tuple[str, Mapping[str, Kind]]] = {}
        """Directory as it was asked for -> its real path and what the container holds of it."""
        self._certain = True
        """Whether what is missing may be called absent. Not where the record of what was unread is damaged."""
        self._meta = self._read_meta(path)
        self.ours = bool(self._meta)
        """Whether a tool that knows this format wrote the capture."""
        self.redacted = field(self._meta, "redacted", bool) is True
        self._partial = words(self._meta, "kind") in ("recorded", "script")
        """Whether the capture holds just what was asked for, so that its directories are no listings."""
        globs = field(self._meta, "covers", list[msgspec.Raw])
        self._covers = Covers(decode(glob, str) for glob in globs) if globs else None
        self._aliases: dict[str, list[str]] | None = None
        self._stats, self._opened = self._read_stats()
        self._unread = self._read_unread()
        self._listings = self._read_listings()
        self._stat_children: dict[str, set[str]] | None = None
        self._programs: dict[tuple[str, ...], Fields] | None = None
        self._answers: dict[tuple[str, str], Fields] | None = None
        self._again: list[tuple[str, str, str]] | None = None

    @property
    def complaints(self) -> list[str]:
        """What was ignored in the capture because it was unsafe or broken."""
        return self._tree.complaints

    # What lies under boxcheck/

    def _stored(self, path: str, limit_bytes: int = JSON_LIMIT_BYTES) -> bytes | None:
        """Content of a file under boxcheck/, None when there is none."""
        head, _, name = path.rpartition("/")
        if (self._tree.listing(head) or _EMPTY).get(name) != "file":
            return None
        data = self._tree.read(path, limit_bytes)
        if isinstance(data, Unread):
            self.complaints.append(f"{path[1:]}: {data.why}")
            return b""
        return data

    def _damaged(self, path: str) -> None:
        self.complaints.append(f"{path[1:]} in the capture is damaged")

    def _read_meta(self, origin: str) -> Fields:
        data = self._stored("/boxcheck/capture.json")
        if data is None:
            if "boxcheck" in (self._tree.listing("") or _EMPTY):
                self._certain = False
            return {}
        meta = fields(data)
        schema = None if meta is None else field(meta, "schema", str)
        if not meta or schema is None:
            raise CaptureError(f"{one_line(origin)}: boxcheck/capture.json is damaged; make the capture again")
        if schema != SCHEMA:
            raise CaptureError(f"{one_line(origin)}: capture schema {one_line(schema, 40)!r} is not known to this boxcheck")
        return meta

    def _read_stats(self) -> tuple[dict[str, Stat], dict[str, str]]:
        stats: dict[str, Stat] = {}
        opened: dict[str, str] = {}
        data = self._stored("/boxcheck/stat.json")
        table = {} if data is None else fields(data)
        if table is None:
            self._damaged("/boxcheck/stat.json")
            self._certain = False
        for path, raw in (table or {}).items():
            entry, real = fields(raw), self._key(path)
            if entry is None or real is None:
                self._damaged("/boxcheck/stat.json")
                continue
            stats[real] = stat_of(entry)
            answer = field(entry, "open", str)
            if answer is not None:
                opened[real] = answer
        return stats, opened

    def _lines(self, path: str) -> list[bytes]:
        data = self._stored(path, LOG_LIMIT_BYTES)
        if data is None:
            return []
        if data.count(b"\n") > LINES_LIMIT:
            raise CaptureError(f"{one_line(self.origin)}: {path[1:]} holds more than {LINES_LIMIT} lines")
        return data.split(b"\n")

    def _read_unread(self) -> dict[str, Unread]:
        found: dict[str, Unread] = {}
        for line in self._lines("/boxcheck/unread.jsonl"):
            if not line:
                continue
            entry = decode(line, _Named)
            if entry is not None:
                path, reason = entry.path, unread_as(entry.why, entry.kind)
            else:
                loose = fields(line) or {}
                path, reason = field(loose, "path", str) or "", unread_of(loose)
            real = self._key(path)
            if real is None:
                self._damaged("/boxcheck/unread.jsonl")
                self._certain = False
            else:
                found[real] = reason
        return found

    def _read_listings(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for line in self._lines("/boxcheck/list.jsonl"):
            entry = decode(line, _Listed) if line else None
            real = None if entry is None else self._key(entry.path)
            if entry is not None and real is not None:
                found[real] = frozenset(
                    name for name in entry.names if name.isprintable() and "/" not in name and name not in ("", ".", "..")
                )
            elif line:
                self._damaged("/boxcheck/list.jsonl")
        return found

    def _key(self, path: str) -> str | None:
        """Real path for a path in the capture's own tables; a capture of our own holds real paths already."""
        if not_a_path(path):
            return None
        return clean_path(path) if self._partial else self._paths.resolve(clean_path(path)) or "/"

    def _numbered(self, folder: str, limit_bytes: int) -> list[Fields]:
        return [
            entry
            for name, kind in sorted((self._tree.listing(folder) or _EMPTY).items())
            if kind == "file" and name.endswith(".json")
            and (entry := fields(self._stored(f"{folder}/{name}", limit_bytes) or b"")) is not None
        ]

    # Paths

    def _readlink(self, path: str) -> str | None:
        head, _, name = path.rpartition("/")
        return self._tree.link(path) if (self._tree.listing(head) or _EMPTY).get(name) == "link" else None

    def _enter(self, head: str) -> tuple[str, Mapping[str, Kind]]:
        real = self._paths.directory(head)
        found = ("\0", _EMPTY) if real is None else (real, self._tree.listing(real) or _EMPTY)
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
        return (real, (self._tree.listing(head) or _EMPTY).get(name)) if name else ("/", "dir")

    def _missing(self, path: str, real: str) -> Unread:
        """Why the capture does not hold a path, without the path in the words."""
        known = self._unread.get(real)
        if known is not None:
            return known
        return ABSENT if self._certain and self._is_absent(path, real) else NOT_CAPTURED

    def _is_absent(self, path: str, real: str) -> bool:
        here = real
        while here:
            if here in self._tree.lost:
                return False
            head, _, name = here.rpartition("/")
            reason = self._unread.get(here)
            if reason is not None and reason.kind == "absent":
                return True
            names = self._listings.get(head or "/")
            if names is not None and name not in names and not head.startswith("/proc"):  # /proc hides processes
                return True
            here = head
        if self._covers is None:
            return False
        return self._covers.match(real) or self._covers.match(clean_path(path)) or self._covered_elsewhere(real)

    def _covered_elsewhere(self, real: str) -> bool:
        """Whether a file of a device was looked for under the device's name in /sys/class or /sys/bus."""
        if self._covers is None or not real.startswith("/sys/devices/"):
            return False
        if self._aliases is None:
            self._aliases = {}
            folders = [f"/sys/class/{name}" for name in self._tree.listing("/sys/class") or _EMPTY]
            folders += [f"/sys/bus/{name}/devices" for name in self._tree.listing("/sys/bus") or _EMPTY]
            for folder in folders:
                for name, kind in (self._tree.listing(folder) or _EMPTY).items():
                    target = self._paths.resolve(f"{folder}/{name}") if kind == "link" else None
                    if target is not None:
                        self._aliases.setdefault(target, []).append(f"{folder}/{name}")
        here = real
        while here:
            for alias in self._aliases.get(here, ()):
                if self._covers.match(alias + real[len(here):]):
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
            return self._tree.read(real, limit_bytes) if known is None or known.kind == "absent" else known
        found = self._find(path)
        if isinstance(found, Unread):
            return found
        real, kind = found
        if kind == "file":
            known = self._unread.get(real)
            return self._tree.read(real, limit_bytes) if known is None or known.kind == "absent" else known
        stat = self._stats.get(real)
        if kind == "dir" or (stat is not None and stat.kind == "dir"):
            return IS_DIRECTORY
        if kind == "other" or (stat is not None and stat.kind != "file"):
            return NOT_REGULAR
        missing = self._missing(path, real)
        if stat is not None and missing is NOT_CAPTURED:
            return Unread("its content is not in the capture", "not-captured")
        return missing

    def read(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> bytes | Unread:
        data = self._read(path, limit_bytes)
        return data if isinstance(data, bytes) else unread(path, data.why, data.kind)

    def text(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> str | Unread:
        data = self._read(path, limit_bytes)
        return to_text(data) if isinstance(data, bytes) else unread(path, data.why, data.kind)

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
        if self._partial:
            return Unread("the capture holds just some of what is in it", "not-captured")
        names = self._tree.listing(real if real != "/" else "")
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
        kind = (self._tree.listing(head) or _EMPTY).get(name)
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
        if missing is NOT_CAPTURED and real.rpartition("/")[2] in self._listings.get(real.rpartition("/")[0], ()):
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
        answer = None if isinstance(found, Unread) else self._opened.get(found[0])
        if answer is None:
            return unread(path, "the capture does not say whether it could be opened", "not-captured")
        return True if answer == "ok" else unread(path, *from_errno_name(answer))

    # What is no file

    def run(self, argv: Sequence[str], timeout_seconds: float = 10.0) -> ProgramOutput | Unread:
        if self._programs is None:
            self._programs = {}
            for entry in self._numbered("/boxcheck/run", PROGRAM_LIMIT_BYTES):
                self._programs.setdefault(tuple(field(entry, "argv", list[str]) or ()), entry)
        key = tuple(argv)
        found = self._programs.get(key)
        if found is None:
            return Unread(f"{one_line(' '.join(argv))}: not in the capture", "not-captured")
        reason = field(found, "unread", dict[str, msgspec.Raw])
        status = field(found, "exit", int)
        if reason is not None or status is None:
            return Unread("its output in the capture cannot be read", "malformed") if reason is None else unread_of(reason)
        out, err = (clean(field(found, name, str) or "").strip() for name in ("stdout", "stderr"))
        return ProgramOutput(key, status, out, err, number(found, "ms") or 0)

    def answer(self, library: str, request: str, ask: Callable[[], Any] | None = None) -> Any | Unread:
        if self._answers is None:
            self._answers = {}
            for entry in self._numbered("/boxcheck/lib", ANSWER_LIMIT_BYTES):
                key = (field(entry, "library", str) or "", field(entry, "request", str) or "")
                self._answers.setdefault(key, entry)
        found = self._answers.get((library, request))
        if found is None:
            return Unread(f"{library} {request}: was not asked", "not-captured")
        reason = field(found, "unread", dict[str, msgspec.Raw])
        if reason is not None:
            return unread_of(reason)
        try:
            return plain(msgspec.json.decode(found["value"]))
        except (KeyError, msgspec.MsgspecError, ValueError, RecursionError):
            return Unread(f"{library} {request}: the answer in the capture cannot be read", "malformed")

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
        env = field(self._meta, "env", dict[str, msgspec.Raw])
        if env is None:
            return Unread("the environment is not in the capture", "not-captured")
        return {clean(name): clean(value) for name in env if (value := field(env, name, str)) is not None}

    def who(self) -> Who | Unread:
        user = field(self._meta, "user", dict[str, msgspec.Raw])
        uid = None if user is None else number(user, "uid")
        if user is None or uid is None:
            return Unread("the capture does not say which user made it", "not-captured")
        groups = field(user, "groups", list[int]) or []
        return Who(
            name=words(user, "name", str(uid), 64), uid=uid, gid=number(user, "gid") or 0,
            groups=tuple(group for group in groups if 0 <= group < 1 << 32), root=uid == 0,
            invoked_by=number(user, "invoked_by"),
        )

    def kernel_log(self, boot: Literal[0, -1] = 0) -> str | Unread:
        data = self._read(LOG_PATHS[boot], LOG_LIMIT_BYTES)
        return to_text(data) if isinstance(data, bytes) else Unread(f"{BOOTS[boot]}: {data.why}", data.kind)

    def again(self, path: str, phase: Phase) -> tuple[bytes, ...] | Unread:
        if self._again is None:
            self._again = []
            for line in self._lines("/boxcheck/again/index.jsonl"):
                entry = fields(line) if line else None
                if entry is None:
                    continue
                later, sequence = self._key(field(entry, "path", str) or ""), number(entry, "sequence")
                if later is not None and sequence is not None:
                    self._again.append((later, words(entry, "phase"), f"/boxcheck/again/{sequence:04d}{later}"))
        real = self._paths.resolve(path)
        found = [
            data for later, kind, place in self._again
            if kind == phase and later == real and (data := self._stored(place, FILE_LIMIT_BYTES)) is not None
        ]
        return tuple(found) or unread(path, "read once, there is no later reading", "one-reading")

    def time(self) -> float | Unread:
        stamp = field(self._meta, "start", str)
        if stamp is None:
            return Unread("the capture does not say when it was made", "not-captured")
        from datetime import datetime

        try:
            parsed = datetime.fromisoformat(stamp)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return Unread("the capture's time cannot be read", "malformed")
