"""A machine that was captured before: by boxcheck, by its shell script, or by somebody else's tool."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from fnmatch import translate
from re import Pattern
from typing import Any, Literal

from boxcheck.host import (
    FILE_LIMIT_BYTES,
    LOG_LIMIT_BYTES,
    DiskSpace,
    Phase,
    ProgramOutput,
    Stat,
    Who,
)
from boxcheck.host.common import clean_path, to_text
from boxcheck.host.tree import CaptureError, Tree, open_tree
from boxcheck.model import Unread, UnreadKind

_ERRNO_KINDS: dict[str, UnreadKind] = {
    "EACCES": "permission", "EPERM": "permission", "ENOENT": "absent", "ENXIO": "absent", "ENODEV": "absent",
    "ETIMEDOUT": "timeout",
}
_KINDS = {"absent", "permission", "not-captured", "error", "timeout", "malformed", "unsupported", "one-reading"}
_STAT_KINDS = {"file", "dir", "link", "char", "block", "fifo", "socket"}
LINK_LIMIT = 40


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32 else None


class CaptureHost:
    """See `boxcheck.host.Host`. The capture is hostile input: see `boxcheck.host.tree`."""

    live = False

    def __init__(self, path: str) -> None:
        self.origin = path
        self._tree: Tree = open_tree(path)
        self._directories: dict[str, str | None] = {"/": "/"}
        meta = self._json("/boxcheck/capture.json")
        self._meta: dict[str, Any] = meta if isinstance(meta, dict) else {}
        self.ours = bool(self._meta)
        """Whether the capture was written by boxcheck, so that what it lacks by name did not exist."""
        if self.ours and not str(self._meta.get("schema", "")).startswith("boxcheck.capture/1"):
            raise CaptureError(f"{path}: capture schema {self._meta.get('schema')!r:.40} is not known to this boxcheck")
        covers = self._meta.get("covers", [])
        globs = [glob for glob in covers if isinstance(glob, str)] if isinstance(covers, list) else []
        self._covers: Pattern[str] | None = _any_of(globs)
        self._stats = self._read_stats()
        self._stat_children: dict[str, set[str]] | None = None
        self._unread = self._read_unread()
        self._programs: dict[tuple[str, ...], ProgramOutput | Unread] | None = None
        self._answers: dict[tuple[str, str], Any] | None = None
        self._again: list[tuple[str, str, str]] | None = None

    @property
    def complaints(self) -> list[str]:
        """What was ignored in the capture because it was unsafe or broken."""
        return self._tree.complaints

    # What lies under boxcheck/

    def _json(self, path: str) -> Any:
        if self._tree.kind(path) != "file":
            return None
        data = self._tree.read(path, LOG_LIMIT_BYTES)
        if isinstance(data, Unread):
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            self._tree.complaints.append(f"{path.lstrip('/')} in the capture is not JSON")
            return None

    def _read_stats(self) -> dict[str, tuple[Stat, str | None]]:
        found: dict[str, tuple[Stat, str | None]] = {}
        table = self._json("/boxcheck/stat.json")
        for path, entry in (table.items() if isinstance(table, dict) else ()):
            if not isinstance(entry, dict):
                continue
            kind = entry.get("type", "file")
            mode = entry.get("mode")
            if isinstance(mode, str):
                try:
                    mode = int(mode, 8)
                except ValueError:
                    mode = None
            opened = entry.get("open")
            found[clean_path(path)] = (
                Stat(kind if kind in _STAT_KINDS else "file", _number(mode), _number(entry.get("uid")), _number(entry.get("gid"))),
                opened if isinstance(opened, str) else None,
            )
        return found

    def _read_unread(self) -> dict[str, Unread]:
        found: dict[str, Unread] = {}
        if self._tree.kind("/boxcheck/unread.jsonl") != "file":
            return found
        data = self._tree.read("/boxcheck/unread.jsonl", LOG_LIMIT_BYTES)
        for line in data.splitlines() if isinstance(data, bytes) else ():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict) and isinstance(entry.get("path"), str):
                kind = entry.get("kind", "error")
                why = to_text(str(entry.get("why", "not read")).encode("utf-8", "replace"))[:300]
                found[entry["path"]] = Unread(why, kind if kind in _KINDS else "error")
        return found

    def _numbered(self, folder: str) -> list[Any]:
        return [
            entry
            for name in self._tree.names(folder)
            if name.endswith(".json") and isinstance(entry := self._json(f"{folder}/{name}"), dict)
        ]

    # Paths

    def _directory(self, path: str, hops: int) -> str | None:
        """Real path of a directory inside the tree, None when a link leads nowhere."""
        if path in self._directories:
            return self._directories[path]
        head, _, name = path.rpartition("/")
        parent = self._directory(head or "/", hops)
        real = None if parent is None else self._step(parent, name, hops)
        self._directories[path] = real
        return real

    def _step(self, directory: str, name: str, hops: int) -> str | None:
        here = f"{directory}/{name}" if directory != "/" else f"/{name}"
        if self._tree.kind(here) != "link":
            return here
        if hops >= LINK_LIMIT:
            return None
        target = self._tree.link(here)
        cleaned = clean_path(target if target.startswith("/") else f"{directory}/{target}")
        head, _, last = cleaned.rpartition("/")
        if not last:
            return "/"
        parent = self._directory(head or "/", hops + 1)
        return None if parent is None else self._step(parent, last, hops + 1)

    def _resolve(self, path: str) -> str:
        cleaned = clean_path(path)
        head, _, name = cleaned.rpartition("/")
        if not name:
            return "/"
        parent = self._directory(head or "/", 0)
        real = None if parent is None else self._step(parent, name, 0)
        return cleaned if real is None else real

    def _missing(self, path: str, real: str) -> Unread:
        known = self._unread.get(real) or self._unread.get(path)
        if known is not None:
            return known
        if self._covers is not None and (self._covers.match(real) or self._covers.match(path)):
            return Unread(f"{path}: no such file", "absent")
        return Unread(f"{path}: not in the capture", "not-captured")

    # Readings

    def read(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> bytes | Unread:
        real = self._resolve(path)
        kind = self._tree.kind(real)
        if kind == "file":
            known = self._unread.get(real)
            return known if known is not None and not known.kind == "absent" else self._tree.read(real, limit_bytes)
        if kind == "dir":
            return Unread(f"{path}: is a directory", "error")
        if kind == "other":
            return Unread(f"{path}: not a regular file in the capture", "malformed")
        if real in self._stats and real not in self._unread:
            return Unread(f"{path}: its content is not in the capture", "not-captured")
        return self._missing(path, real)

    def text(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> str | Unread:
        data = self.read(path, limit_bytes)
        return data if isinstance(data, Unread) else to_text(data)

    def entries(self, path: str) -> tuple[str, ...] | Unread:
        real = self._resolve(path)
        names = self._tree.names(real) if self._tree.kind(real) == "dir" else ()
        known = self._listed().get(real)
        if not names and known is None:
            return () if self._tree.kind(real) == "dir" else self._missing(path, real)
        return names if known is None else tuple(sorted({*names, *known}))

    def _listed(self) -> dict[str, set[str]]:
        if self._stat_children is None:
            self._stat_children = {}
            for path, (stat, _) in self._stats.items():
                head, _, name = path.rpartition("/")
                self._stat_children.setdefault(head or "/", set()).add(name)
                if stat.kind == "dir":
                    self._stat_children.setdefault(path, set())
        return self._stat_children

    def target(self, path: str) -> str | Unread:
        cleaned = clean_path(path)
        head, _, name = cleaned.rpartition("/")
        parent = self._directory(head or "/", 0)
        here = cleaned if parent is None else f"{parent.rstrip('/')}/{name}"
        kind = self._tree.kind(here)
        if kind is None:
            return self._missing(path, here)
        if kind != "link":
            return Unread(f"{path}: not a symbolic link", "absent")
        return self._resolve(path)

    def exists(self, path: str) -> bool | Unread:
        real = self._resolve(path)
        if self._tree.kind(real) is not None or real in self._stats:
            return True
        missing = self._missing(path, real)
        if missing.kind == "permission":
            return True if real in self._unread else missing
        return False if missing.kind == "absent" else missing

    def stat(self, path: str) -> Stat | Unread:
        real = self._resolve(path)
        if real in self._stats:
            return self._stats[real][0]
        kind = self._tree.kind(real)
        if kind in ("file", "dir", "link"):
            return Stat(kind)
        return self._missing(path, real)

    def opens(self, path: str) -> Literal[True] | Unread:
        real = self._resolve(path)
        if real not in self._stats:
            return self._missing(path, real)
        opened = self._stats[real][1]
        if opened is None:
            return Unread(f"{path}: the capture does not say whether it could be opened", "not-captured")
        if opened == "ok":
            return True
        words = to_text(opened.encode("utf-8", "replace"))[:80]
        return Unread(f"{path}: {_WORDS.get(words, words)}", _ERRNO_KINDS.get(words, "error"))

    # What is no file

    def run(self, argv: Sequence[str], timeout_seconds: float = 10.0) -> ProgramOutput | Unread:
        if self._programs is None:
            self._programs = {}
            for entry in self._numbered("/boxcheck/run"):
                known = entry.get("argv")
                if not isinstance(known, list):
                    continue
                key = tuple(str(word) for word in known)
                if isinstance(entry.get("unread"), dict):
                    kind = entry["unread"].get("kind", "error")
                    why = to_text(str(entry["unread"].get("why", "")).encode("utf-8", "replace"))[:300]
                    self._programs[key] = Unread(why, kind if kind in _KINDS else "error")
                elif isinstance(entry.get("exit"), int):
                    self._programs[key] = ProgramOutput(
                        key, entry["exit"],
                        to_text(str(entry.get("stdout", "")).encode("utf-8", "replace")),
                        to_text(str(entry.get("stderr", "")).encode("utf-8", "replace")),
                    )
        return self._programs.get(tuple(argv), Unread(f"{' '.join(argv)}: not in the capture", "not-captured"))

    def answer(self, library: str, request: str, ask: Callable[[], Any] | None = None) -> Any | Unread:
        if self._answers is None:
            self._answers = {}
            for entry in self._numbered("/boxcheck/lib"):
                value = entry.get("value")
                if isinstance(entry.get("unread"), dict):
                    kind = entry["unread"].get("kind", "error")
                    why = to_text(str(entry["unread"].get("why", "")).encode("utf-8", "replace"))[:300]
                    value = Unread(why, kind if kind in _KINDS else "error")
                self._answers[str(entry.get("library")), str(entry.get("request"))] = value
        try:
            return self._answers[library, request]
        except KeyError:
            return Unread(f"{library} {request}: not in the capture", "not-captured")

    def disk(self, path: str) -> DiskSpace | Unread:
        value = self.answer("statvfs", path)
        if isinstance(value, Unread):
            return value
        if not isinstance(value, dict) or _natural(value.get("total_bytes")) is None or _natural(value.get("free_bytes")) is None:
            return Unread(f"{path}: its size in the capture cannot be read", "malformed")
        return DiskSpace(value["total_bytes"], value["free_bytes"])

    def environment(self) -> Mapping[str, str] | Unread:
        env = self._meta.get("env")
        if not isinstance(env, dict):
            return Unread("the environment is not in the capture", "not-captured")
        return {str(name): to_text(str(value).encode("utf-8", "replace")) for name, value in env.items()}

    def who(self) -> Who | Unread:
        user = self._meta.get("user")
        if not isinstance(user, dict) or _number(user.get("uid")) is None:
            return Unread("the capture does not say which user made it", "not-captured")
        groups = user.get("groups", [])
        return Who(
            name=to_text(str(user.get("name", user["uid"])).encode("utf-8", "replace"))[:64], uid=user["uid"],
            gid=_number(user.get("gid")) or 0,
            groups=tuple(group for group in groups if _number(group) is not None) if isinstance(groups, list) else (),
            root=user["uid"] == 0, invoked_by=_number(user.get("invoked_by")),
        )

    def kernel_log(self, boot: Literal[0, -1] = 0) -> str | Unread:
        path = "/var/log/dmesg" if boot == 0 else "/var/log/dmesg.0"
        found = self.text(path, LOG_LIMIT_BYTES)
        if isinstance(found, Unread):
            return self._unread.get(f"kernel log {boot}", found)
        return found

    def again(self, path: str, phase: Phase) -> tuple[bytes, ...] | Unread:
        if self._again is None:
            self._again = []
            index = self._tree.read("/boxcheck/again/index.jsonl", LOG_LIMIT_BYTES) if (
                self._tree.kind("/boxcheck/again/index.jsonl") == "file") else b""
            for line in index.splitlines() if isinstance(index, bytes) else ():
                try:
                    entry = json.loads(line)
                    folder = f"{int(entry['sequence']):04d}"
                    self._again.append((clean_path(str(entry["path"])), str(entry["phase"]), folder))
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
        real = self._resolve(path)
        found: list[bytes] = []
        for again_path, again_phase, folder in self._again:
            if again_phase != phase or again_path not in (real, clean_path(path)):
                continue
            place = f"/boxcheck/again/{folder}{again_path}"
            data = self._tree.read(place, FILE_LIMIT_BYTES) if self._tree.kind(place) == "file" else None
            if isinstance(data, bytes):
                found.append(data)
        return tuple(found) or Unread(f"{path}: read once, there is no reading under load", "one-reading")

    def time(self) -> float | Unread:
        stamp = self._meta.get("start")
        if not isinstance(stamp, str):
            return Unread("the capture does not say when it was made", "not-captured")
        from datetime import datetime

        try:
            parsed = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
        except ValueError:
            return Unread("the capture's time cannot be read", "malformed")
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


_WORDS = {
    "EACCES": "permission denied", "EPERM": "permission denied", "ENOENT": "no such file", "ENODEV": "no such device",
    "EBUSY": "device or resource busy", "EINVAL": "invalid argument", "ENOMEM": "cannot allocate memory",
    "EIO": "input/output error", "ENXIO": "no such device or address", "ETIMEDOUT": "no answer in time",
}


def _natural(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _any_of(globs: Sequence[str]) -> Pattern[str] | None:
    """One pattern for all globs; `*` matches across slashes, so `/sys/*` covers all of sysfs."""
    import re

    return re.compile("|".join(translate(glob) for glob in globs[:2000])) if globs else None
