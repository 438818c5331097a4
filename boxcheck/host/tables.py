"""What a capture holds under `boxcheck/`, for what is no file: see docs/reference/captures.md. Hostile input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

import msgspec

from boxcheck.host import LOG_LIMIT_BYTES, ProgramOutput, Stat, Who
from boxcheck.host.common import clean, clean_path, not_a_path, one_line
from boxcheck.host.covers import Covers
from boxcheck.host.stored import Fields, decode, field, fields, number, plain, stat_of, unread_as, unread_of, words
from boxcheck.host.tree import CaptureError, Kind, Tree
from boxcheck.model import Unread

SCHEMA = "boxcheck.capture/1"
JSON_LIMIT_BYTES = 16 << 20
PROGRAM_LIMIT_BYTES = 64 << 20
ANSWER_LIMIT_BYTES = 4 << 20
LINES_LIMIT = 1_000_000
GROUPS_LIMIT = 65536  # NGROUPS_MAX of Linux

EMPTY: Mapping[str, Kind] = {}


class _Named(msgspec.Struct):
    path: str
    why: str = "not read"
    kind: str = "error"


class _Listed(msgspec.Struct):
    path: str
    names: list[str]


class Tables:
    """The tables of one capture, by real path. `complaints` of the tree gains what is damaged here."""

    def __init__(self, tree: Tree, origin: str, resolve: Callable[[str], str | None]) -> None:
        self._tree = tree
        self._origin = origin
        self._resolve = resolve
        self.certain = True
        """Whether what is missing may be called absent. Not where the record of what was unread is damaged."""
        self.meta: Fields = self._read_meta()
        self.partial = words(self.meta, "kind") in ("recorded", "script")
        """Whether the capture holds just what was asked for, so that its directories are no listings."""
        globs = field(self.meta, "covers", list[msgspec.Raw])
        self.covers = Covers(decode(glob, str) for glob in globs) if globs else None
        self.stats: dict[str, Stat] = {}
        self.opened: dict[str, str] = {}
        self._read_stats()
        self.unread = self._read_unread()
        self.listings = self._read_listings()
        self._programs: dict[tuple[str, ...], Fields] | None = None
        self._answers: dict[tuple[str, str], Fields] | None = None
        self._again: dict[tuple[str, str], list[str]] | None = None
        """Real path and phase -> where the later readings lie, oldest first."""

    # Files

    def _stored(self, path: str, limit_bytes: int = JSON_LIMIT_BYTES) -> bytes | None:
        """Content of a file under boxcheck/, None when there is none, what is no JSON when it cannot be read."""
        head, _, name = path.rpartition("/")
        if (self._tree.listing(head) or EMPTY).get(name) != "file":
            return None
        data = self._tree.read(path, limit_bytes)
        if isinstance(data, Unread):
            self._complain(f"{path[1:]}: {data.why}")
            return b"?"
        return data

    def _complain(self, words: str) -> None:
        if len(self._tree.complaints) < 100:
            self._tree.complaints.append(words)

    def _damaged(self, path: str) -> None:
        self._complain(f"{path[1:]} in the capture is damaged")

    def _key(self, path: str) -> str | None:
        """Real path for a path in the capture's own tables; a capture of our own holds real paths already."""
        if not_a_path(path):
            return None
        return clean_path(path) if self.partial else self._resolve(clean_path(path)) or "/"

    def _read_meta(self) -> Fields:
        data = self._stored("/boxcheck/capture.json")
        if data is None:
            self.certain = "boxcheck" not in (self._tree.listing("") or EMPTY)
            return {}
        meta = fields(data)
        schema = None if meta is None else field(meta, "schema", str)
        if not meta or schema is None:
            raise CaptureError(
                f"{one_line(self._origin)}: boxcheck/capture.json is damaged; the capture has to be made again")
        if schema != SCHEMA:
            raise CaptureError(
                f"{one_line(self._origin)}: capture schema {one_line(schema, 40)!r} is not known to this boxcheck")
        return meta

    def _read_stats(self) -> None:
        data = self._stored("/boxcheck/stat.json")
        table = {} if data is None else fields(data)
        if table is None:
            self._damaged("/boxcheck/stat.json")
            self.certain = False
        for path, raw in (table or {}).items():
            entry, real = fields(raw), self._key(path)
            if entry is None or real is None:
                self._damaged("/boxcheck/stat.json")
                continue
            self.stats[real] = stat_of(entry)
            answer = field(entry, "open", str)
            if answer is not None:
                self.opened[real] = answer

    def _lines(self, path: str) -> list[bytes]:
        data = self._stored(path, LOG_LIMIT_BYTES)
        if data is None:
            return []
        if data.count(b"\n") > LINES_LIMIT:
            raise CaptureError(f"{one_line(self._origin)}: {path[1:]} holds more than {LINES_LIMIT} lines")
        return [line for line in data.split(b"\n") if line]

    def _read_unread(self) -> dict[str, Unread]:
        found: dict[str, Unread] = {}
        for line in self._lines("/boxcheck/unread.jsonl"):
            entry = decode(line, _Named)
            if entry is not None:
                path, reason = entry.path, unread_as(entry.why, entry.kind)
            else:
                loose = fields(line) or {}
                path, reason = field(loose, "path", str) or "", unread_of(loose)
            real = self._key(path)
            if real is None:
                self._damaged("/boxcheck/unread.jsonl")
                self.certain = False
            else:
                found[real] = reason
        return found

    def _read_listings(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for line in self._lines("/boxcheck/list.jsonl"):
            entry = decode(line, _Listed)
            real = None if entry is None else self._key(entry.path)
            if entry is None or real is None:
                self._damaged("/boxcheck/list.jsonl")
            else:
                found[real] = frozenset(filter(_is_name, entry.names))
        return found

    def _numbered(self, folder: str, limit_bytes: int) -> list[Fields]:
        return [
            entry
            for name, kind in sorted((self._tree.listing(folder) or EMPTY).items())
            if kind == "file" and name.endswith(".json")
            and (entry := fields(self._stored(f"{folder}/{name}", limit_bytes) or b"")) is not None
        ]

    # Programs and libraries

    def program(self, argv: tuple[str, ...]) -> ProgramOutput | Unread:
        if self._programs is None:
            self._programs = {}
            for entry in self._numbered("/boxcheck/run", PROGRAM_LIMIT_BYTES):
                self._programs.setdefault(tuple(field(entry, "argv", list[str]) or ()), entry)
        found = self._programs.get(argv)
        if found is None:
            return Unread(f"{one_line(' '.join(argv))}: not in the capture", "not-captured")
        reason = field(found, "unread", dict[str, msgspec.Raw])
        if reason is not None:
            return unread_of(reason)
        status, out, err = field(found, "exit", int), field(found, "stdout", str), field(found, "stderr", str)
        if status is None or out is None:
            return Unread(f"{one_line(' '.join(argv))}: its output in the capture cannot be read", "malformed")
        return ProgramOutput(argv, status, clean(out).strip(), clean(err or "").strip(), number(found, "ms") or 0)

    def answer(self, library: str, request: str) -> Any | Unread:
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

    # The rest

    def again(self, real: str | None, phase: str) -> tuple[bytes, ...]:
        """Later readings of a real path in a phase, oldest first."""
        if self._again is None:
            self._again = {}
            for line in self._lines("/boxcheck/again/index.jsonl"):
                entry = fields(line) or {}
                later, sequence = self._key(field(entry, "path", str) or ""), number(entry, "sequence")
                if later is None or sequence is None:
                    self._damaged("/boxcheck/again/index.jsonl")
                else:
                    places = self._again.setdefault((later, words(entry, "phase")), [])
                    places.append(f"/boxcheck/again/{sequence:04d}{later}")
        places = [] if real is None else self._again.get((real, phase), [])
        return tuple(data for place in places if (data := self._stored(place)) is not None)

    def environment(self) -> Mapping[str, str] | None:
        env = field(self.meta, "env", dict[str, msgspec.Raw])
        if env is None:
            return None
        return {clean(name): clean(value) for name in env if (value := field(env, name, str)) is not None}

    def who(self) -> Who | None:
        user = field(self.meta, "user", dict[str, msgspec.Raw])
        uid = None if user is None else number(user, "uid")
        if user is None or uid is None:
            return None
        groups = field(user, "groups", list[int]) or []
        return Who(
            name=words(user, "name", str(uid), 64), uid=uid, gid=number(user, "gid"),
            groups=tuple(group for group in groups[:GROUPS_LIMIT] if 0 <= group < 1 << 32), root=uid == 0,
            invoked_by=number(user, "invoked_by"),
        )

    def start_seconds(self) -> float | Unread:
        stamp = field(self.meta, "start", str)
        if stamp is None:
            return Unread("the capture does not say when it was made", "not-captured")
        from datetime import MAXYEAR, datetime

        try:
            parsed = datetime.fromisoformat(stamp)
            moment = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
            if moment.year == MAXYEAR:  # what is some seconds later no calendar may have
                raise OverflowError
            return moment.timestamp()
        except (ValueError, OverflowError):
            return Unread("the capture's time cannot be read", "malformed")


def _is_name(name: str) -> bool:
    return name.isprintable() and "/" not in name and name not in ("", ".", "..")
