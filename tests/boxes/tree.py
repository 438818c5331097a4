"""A machine as bytes: absolute path -> file content or symbolic link, plus what is no file.

The format is that of docs/reference/captures.md, written out here a second time on purpose: the builder must not share
code with the package that reads it.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import posixpath
import tarfile
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

Phase = Literal["idle", "load", "after"]

BUILDER_VERSION = "1"
START_SECONDS = 1_788_271_200.0
"""2026-09-01T14:00:00Z: every built capture was read at this moment, so that the bytes never change."""
FINISH_SECONDS = START_SECONDS + 11.0
MONOTONIC_AT_START_SECONDS = 11_520.0
"""The machines were booted 3 h 12 min before they were read."""


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Symlink:
    target: str


Node = bytes | Symlink


@dataclass
class Reading:
    """A later reading of a path."""

    path: str
    data: bytes
    phase: Phase
    seconds: float
    """Seconds after the start of the capture."""


@dataclass
class Login:
    """Who read the machine; `invoked_by` is the uid behind sudo."""

    name: str = "root"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = (0,)
    invoked_by: int | None = None


@dataclass
class Tree(MutableMapping[str, Node]):
    """Paths are absolute paths on the machine; parents are made as needed."""

    nodes: dict[str, Node] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    """Directories that exist even when empty."""
    stats: dict[str, dict[str, Any]] = field(default_factory=dict)
    programs: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    unread: list[dict[str, str]] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    login: Login = field(default_factory=Login)
    covers: list[str] = field(default_factory=lambda: ["/*"])

    # Mapping

    def __getitem__(self, path: str) -> Node:
        return self.nodes[path]

    def __setitem__(self, path: str, node: Node) -> None:
        if not path.startswith("/") or posixpath.normpath(path) != path:
            raise ValueError(f"not a clean absolute path: {path}")
        self.nodes[path] = node

    def __delitem__(self, path: str) -> None:
        del self.nodes[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    # Convenience

    def copy(self) -> Tree:
        return Tree(
            dict(self.nodes),
            set(self.directories),
            {path: dict(entry) for path, entry in self.stats.items()},
            [dict(item) for item in self.programs],
            [dict(item) for item in self.answers],
            [dict(item) for item in self.unread],
            [replace(reading) for reading in self.readings],
            dict(self.environment),
            replace(self.login),
            list(self.covers),
        )

    def put(self, path: str, text: str | bytes | int) -> None:
        """Writes a file; text and numbers get the line feed that a sysfs attribute ends in."""
        self[path] = text if isinstance(text, bytes) else f"{text}\n".encode()

    def link(self, path: str, target: str) -> None:
        """A symbolic link to an absolute path, stored relative as sysfs does."""
        self[path] = Symlink(
            posixpath.relpath(target, posixpath.dirname(path)) if target.startswith("/sys/") else target
        )

    def directory(self, path: str) -> None:
        self.directories.add(path)

    def resolve(self, path: str) -> str:
        """The path with all symbolic links of the tree followed."""
        real = ""
        parts = [part for part in path.split("/") if part]
        hops = 0
        while parts:
            here = f"{real}/{parts.pop(0)}"
            node = self.nodes.get(here)
            if isinstance(node, Symlink):
                hops += 1
                if hops > 64:
                    raise ValueError(f"too many links: {path}")
                joined = posixpath.normpath(posixpath.join(real or "/", node.target))
                parts = [part for part in joined.split("/") if part] + parts
                real = ""
            else:
                real = here
        return real or "/"

    def text(self, path: str) -> str:
        node = self.nodes[self.resolve(path)]
        if isinstance(node, Symlink):
            raise ValueError(f"a symbolic link: {path}")
        return node.decode()

    def edit(self, path: str, old: str, new: str, count: int = -1) -> None:
        """Replaces text in a file; refuses to do nothing, so that a mutation cannot become a healthy box."""
        real = self.resolve(path)
        before = self.text(real)
        if old not in before:
            raise ValueError(f"{path} does not hold {old!r}")
        self.nodes[real] = before.replace(old, new, count).encode()

    def append(self, path: str, text: str) -> None:
        real = self.resolve(path)
        self.nodes[real] = self.text(real).encode() + text.encode()

    def remove(self, path: str) -> None:
        """Removes a file or a whole directory, with permissions and later readings."""
        gone = [known for known in self.nodes if known == path or known.startswith(path + "/")]
        stats = [known for known in self.stats if known == path or known.startswith(path + "/")]
        empties = {known for known in self.directories if known == path or known.startswith(path + "/")}
        if not gone and not stats and not empties:
            raise ValueError(f"{path} is not in the tree")
        for known in gone:
            del self.nodes[known]
        for known in stats:
            del self.stats[known]
        self.directories -= empties
        self.readings = [
            reading for reading in self.readings if reading.path != path and not reading.path.startswith(path + "/")
        ]

    def listing(self, path: str) -> list[str]:
        """Names in a directory."""
        prefix = path.rstrip("/") + "/"
        known = (*self.nodes, *self.directories, *self.stats)
        return sorted({one[len(prefix) :].split("/", 1)[0] for one in known if one.startswith(prefix)})

    def stat(
        self, path: str, mode: int, uid: int = 0, gid: int = 0, kind: str = "char", opens: str | None = "ok"
    ) -> None:
        """Type and permissions of a path; `opens` is `ok` or the name of the error that opening it gave."""
        entry: dict[str, Any] = {"mode": mode, "uid": uid, "gid": gid, "type": kind}
        if opens is not None:
            entry["open"] = opens
        self.stats[path] = entry

    def again(self, path: str, data: bytes | str, phase: Phase = "load", seconds: float = 3.0) -> None:
        """A later reading of a path."""
        real = self.resolve(path)
        self.readings.append(Reading(real, data.encode() if isinstance(data, str) else data, phase, seconds))

    def run(self, argv: list[str], stdout: str, stderr: str = "", exit_status: int = 0, milliseconds: int = 20) -> None:
        """What a program printed on this machine."""
        self.programs.append(
            {"argv": argv, "exit": exit_status, "stdout": stdout, "stderr": stderr, "ms": milliseconds}
        )

    def answer(self, library: str, request: str, value: Any) -> None:
        """What a library (NVML, statvfs) answered."""
        self.answers.append({"library": library, "request": request, "value": value})

    def denied(self, path: str, why: str, kind: str = "permission") -> None:
        """A path that exists and could not be read."""
        self.unread.append({"path": path, "why": why, "kind": kind})

    # Writing

    def extras(self) -> dict[str, bytes]:
        """What lies under boxcheck/, by path relative to the capture."""

        def encode(value: Any) -> bytes:
            return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()

        def lines(values: list[Any]) -> bytes:
            return "".join(json.dumps(value, sort_keys=True) + "\n" for value in values).encode()

        out = {
            "boxcheck/capture.json": encode(
                {
                    "schema": "boxcheck.capture/1",
                    "tool": {"name": "boxcheck tests/boxes", "version": BUILDER_VERSION},
                    "start": _utc(START_SECONDS),
                    "end": _utc(FINISH_SECONDS),
                    "user": {
                        "name": self.login.name,
                        "uid": self.login.uid,
                        "gid": self.login.gid,
                        "groups": list(self.login.groups),
                        "invoked_by": self.login.invoked_by,
                    },
                    "root": self.login.uid == 0,
                    "redacted": False,
                    "env": self.environment,
                    "kind": "built",
                    "covers": self.covers,
                }
            ),
            "boxcheck/stat.json": encode(self.stats),
        }
        for number, program in enumerate(self.programs):
            out[f"boxcheck/run/{number:04d}.json"] = encode(program)
        for number, answer in enumerate(self.answers):
            out[f"boxcheck/lib/{number:04d}.json"] = encode(answer)
        if self.unread:
            out["boxcheck/unread.jsonl"] = lines(self.unread)
        index = []
        for number, reading in enumerate(self.readings):
            out[f"boxcheck/again/{number:04d}{reading.path}"] = reading.data
            index.append(
                {
                    "sequence": number,
                    "path": reading.path,
                    "phase": reading.phase,
                    "monotonic": MONOTONIC_AT_START_SECONDS + reading.seconds,
                    "wall": START_SECONDS + reading.seconds,
                }
            )
        if index:
            out["boxcheck/again/index.jsonl"] = lines(index)
        return out

    def members(self) -> Iterator[tuple[str, Node | None]]:
        """Relative path and content in a fixed order; None is a directory."""
        everything: dict[str, Node | None] = {path[1:]: None for path in self.directories}
        everything.update({path[1:]: node for path, node in self.nodes.items()})
        everything.update(self.extras())
        parents: set[str] = set()
        for path in everything:
            while path := posixpath.dirname(path):
                if path in parents:
                    break
                parents.add(path)
        for path in parents:
            if everything.setdefault(path, None) is not None:
                raise ValueError(f"{path} is both a file and a directory")
        yield from sorted(everything.items())

    def write_dir(self, path: str | Path) -> Path:
        root = Path(path)
        root.mkdir(parents=True, exist_ok=True)
        for name, node in self.members():
            here = f"{root}/{name}"
            if node is None:
                os.makedirs(here, exist_ok=True)
            elif isinstance(node, Symlink):
                os.symlink(node.target, here)
            else:
                with open(here, "wb") as file:
                    file.write(node)
        return root

    def to_tar(self) -> bytes:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, node in self.members():
                entry = tarfile.TarInfo(name)
                entry.mtime = int(START_SECONDS)
                entry.mode = 0o755 if node is None else 0o644
                if node is None:
                    entry.type = tarfile.DIRTYPE
                    archive.addfile(entry)
                elif isinstance(node, Symlink):
                    entry.type = tarfile.SYMTYPE
                    entry.linkname = node.target
                    entry.mode = 0o777
                    archive.addfile(entry)
                else:
                    entry.size = len(node)
                    archive.addfile(entry, io.BytesIO(node))
        return raw.getvalue()

    def write_tar(self, path: str | Path) -> Path:
        """Writes a .tar.gz whose bytes depend on the tree alone."""
        out = Path(path)
        with open(out, "wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            packed.write(self.to_tar())
        return out
