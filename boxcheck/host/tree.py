"""The two containers of a capture, a directory and a tar, read as hostile input.

Nothing is unpacked to disk, no link is followed out of the tree, device nodes and FIFOs are never opened, and sizes
are bounded. `CaptureError` is the one error: the capture as a whole cannot be used. Everything smaller is a complaint
and an unread path.
"""

from __future__ import annotations

import os
import stat as stat_module
import tarfile
import zlib
from typing import IO, Literal, Protocol

from boxcheck.host.common import clean_path
from boxcheck.model import Unread

UNPACKED_LIMIT_BYTES = 1 << 30
MEMBER_LIMIT = 2_000_000
DEPTH_LIMIT = 64
"""Deepest path of sysfs seen in the captures at hand has 17 components."""

Kind = Literal["file", "dir", "link", "other"]
ROOTS = frozenset({"sys", "proc", "etc", "dev", "var", "boxcheck", "run", "boot", "usr", "lib", "opt"})


class CaptureError(Exception):
    """The capture cannot be used; the message says why and what to do."""


class Tree(Protocol):
    complaints: list[str]

    def kind(self, path: str) -> Kind | None: ...
    def link(self, path: str) -> str: ...
    def read(self, path: str, limit_bytes: int) -> bytes | Unread: ...
    def names(self, path: str) -> tuple[str, ...]: ...


def _is_root(names: frozenset[str]) -> bool:
    return bool(names & {"sys", "proc", "boxcheck"})


class DirectoryTree:
    """A capture in a directory. Every path component is looked at without following links."""

    def __init__(self, root: str) -> None:
        self.complaints: list[str] = []
        self.root = root.rstrip("/") or "/"
        try:
            names = frozenset(os.listdir(self.root))
        except OSError as error:
            raise CaptureError(f"{root}: {os.strerror(error.errno or 0).lower()}") from None
        if not _is_root(names) and len(names) == 1:
            inner = os.path.join(self.root, next(iter(names)))
            if os.path.isdir(inner) and not os.path.islink(inner) and _is_root(frozenset(os.listdir(inner))):
                self.root, names = inner, frozenset(os.listdir(inner))
        if not names & ROOTS:
            raise CaptureError(f"{root}: holds no sys/, proc/ or boxcheck/, so it is no capture of a machine")

    def kind(self, path: str) -> Kind | None:
        try:
            mode = os.lstat(self.root + path).st_mode
        except (OSError, ValueError):
            return None
        if stat_module.S_ISREG(mode):
            return "file"
        if stat_module.S_ISDIR(mode):
            return "dir"
        return "link" if stat_module.S_ISLNK(mode) else "other"

    def link(self, path: str) -> str:
        return os.readlink(self.root + path)

    def read(self, path: str, limit_bytes: int) -> bytes | Unread:
        try:
            descriptor = os.open(self.root + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            return Unread(f"{path}: this copy of the capture may not be read here", "not-captured")
        except (OSError, ValueError) as error:
            return Unread(f"{path}: {error.__class__.__name__} while reading the capture", "error")
        try:
            if not stat_module.S_ISREG(os.fstat(descriptor).st_mode):
                return Unread(f"{path}: not a regular file in the capture", "malformed")
            data = os.read(descriptor, min(limit_bytes + 1, 65536))
            if len(data) >= 65536 or len(data) == limit_bytes + 1:
                chunks = [data]
                size = len(data)
                while data and size <= limit_bytes:
                    data = os.read(descriptor, 1 << 20)
                    chunks.append(data)
                    size += len(data)
                if size > limit_bytes:
                    return Unread(f"{path}: larger than {limit_bytes} bytes", "malformed")
                data = b"".join(chunks)
            return data
        except OSError as error:
            return Unread(f"{path}: {os.strerror(error.errno or 0).lower()} while reading the capture", "error")
        finally:
            os.close(descriptor)

    def names(self, path: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(os.listdir(self.root + path)))
        except (OSError, ValueError):
            return ()


class TarTree:
    """A capture in a tar (plain, gzip, bzip2, xz, zstd), held in memory."""

    def __init__(self, path: str) -> None:
        self.complaints: list[str] = []
        self._files: dict[str, bytes] = {}
        self._links: dict[str, str] = {}
        self._others: set[str] = set()
        self._children: dict[str, set[str]] = {"/": set()}
        self._names: dict[str, tuple[str, ...]] = {}
        try:
            with open(path, "rb") as raw:
                self._load(raw, path)
        except OSError as error:
            raise CaptureError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise CaptureError(f"{path}: not a readable tar archive ({clean_message(error)})") from None
        self._strip_prefix()
        if not self._children["/"] & ROOTS:
            raise CaptureError(f"{path}: holds no sys/, proc/ or boxcheck/, so it is no capture of a machine")

    def _load(self, raw: IO[bytes], path: str) -> None:
        stream = _decompressed(raw, path)
        members = 0
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            hard: list[tuple[str, str]] = []
            for member in archive:
                members += 1
                if members > MEMBER_LIMIT:
                    raise CaptureError(f"{path}: more than {MEMBER_LIMIT} files")
                name = member.name
                parts = name.split("/")
                if ".." in parts or "\x00" in name or len(parts) > DEPTH_LIMIT:
                    self.complaints.append(f"ignored a path that leaves the capture: {clean_message(name)}")
                    continue
                here = clean_path(name)
                if here == "/":
                    continue
                if member.isreg():
                    handle = archive.extractfile(member)
                    data = handle.read() if handle else b""
                    self._files[here] = data
                    self._links.pop(here, None)
                elif member.issym():
                    self._links[here] = member.linkname
                    self._files.pop(here, None)
                elif member.islnk():
                    hard.append((here, clean_path(member.linkname)))
                elif not member.isdir():
                    self._others.add(here)
                self._adopt(here)
            for here, original in hard:
                if original in self._files:
                    self._files[here] = self._files[original]

    def _adopt(self, path: str) -> None:
        while path != "/":
            head, _, name = path.rpartition("/")
            head = head or "/"
            siblings = self._children.get(head)
            if siblings is None:
                siblings = self._children[head] = set()
            elif name in siblings:
                return
            siblings.add(name)
            path = head
        return

    def _strip_prefix(self) -> None:
        top = self._children["/"]
        if _is_root(frozenset(top)) or len(top) != 1:
            return
        prefix = "/" + next(iter(top))
        if not _is_root(frozenset(self._children.get(prefix, ()))):
            return
        cut = len(prefix)
        self._files = {path[cut:]: data for path, data in self._files.items() if path.startswith(prefix + "/")}
        self._links = {path[cut:]: link for path, link in self._links.items() if path.startswith(prefix + "/")}
        self._others = {path[cut:] for path in self._others if path.startswith(prefix + "/")}
        self._children = {path[cut:] or "/": names for path, names in self._children.items() if path.startswith(prefix)}

    def kind(self, path: str) -> Kind | None:
        if path in self._files:
            return "file"
        if path in self._links:
            return "link"
        if path in self._children:
            return "dir"
        if path in self._others:
            return "other"
        # an empty directory is a child that has no children of its own
        head, _, name = path.rpartition("/")
        return "dir" if name in self._children.get(head or "/", ()) else None

    def link(self, path: str) -> str:
        return self._links[path]

    def read(self, path: str, limit_bytes: int) -> bytes | Unread:
        data = self._files[path]
        return data if len(data) <= limit_bytes else Unread(f"{path}: larger than {limit_bytes} bytes", "malformed")

    def names(self, path: str) -> tuple[str, ...]:
        known = self._names.get(path)
        if known is None:
            known = self._names[path] = tuple(sorted(self._children.get(path, ())))
        return known


class _Bounded:
    """A reader that refuses to hand out more than `limit` bytes, so that a bomb ends as an error."""

    def __init__(self, stream: IO[bytes], path: str) -> None:
        self._stream = stream
        self._left = UNPACKED_LIMIT_BYTES
        self._path = path

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise CaptureError(f"{self._path}: unpacks to more than {UNPACKED_LIMIT_BYTES >> 30} GiB")
        return data


def _decompressed(raw: IO[bytes], path: str) -> IO[bytes]:
    magic = raw.read(6)
    raw.seek(0)
    stream: IO[bytes] = raw
    if magic[:2] == b"\x1f\x8b":
        import gzip

        stream = gzip.GzipFile(fileobj=raw)  # type: ignore[assignment]
    elif magic[:3] == b"BZh":
        import bz2

        stream = bz2.BZ2File(raw)
    elif magic == b"\xfd7zXZ\x00":
        import lzma

        stream = lzma.LZMAFile(raw)
    elif magic[:4] == b"\x28\xb5\x2f\xfd":
        import zstandard

        stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(raw)
    return _Bounded(stream, path)  # type: ignore[return-value]


def clean_message(error: object) -> str:
    """Text of an error that came from hostile input: printable, short, one line."""
    return "".join(character if character.isprintable() else "?" for character in str(error))[:160]


def open_tree(path: str) -> Tree:
    """The capture at `path`; CaptureError when it is none."""
    if os.path.isdir(path):
        return DirectoryTree(path)
    if not os.path.exists(path):
        raise CaptureError(f"{path}: no such file or directory")
    return TarTree(path)
