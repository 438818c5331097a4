"""Compiled kernels on disk, so that a GPU's own compiler runs once for each source, device and version.

Where: `$BOXCHECK_CACHE_DIR/kernels`, else `$XDG_CACHE_HOME/boxcheck/kernels`, else `~/.cache/boxcheck/kernels`. One
file an entry, named by the SHA-256 of everything that the code depends on: text, defines, options, architecture,
compiler with version, boxcheck's version. A file is one line of JSON (key, digest of what follows, sizes), the
compiler's words, the code.

Code from here runs on a GPU, so a folder or a file that another user owns or may write is not used; an entry that does
not match its digest is dropped. Nothing about the cache is an error: without it kernels are compiled each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from boxcheck import __version__
from boxcheck.kernels import Source

FORMAT = 1
LIMIT_BYTES = 256 << 20
"""Oldest entries go when all together are larger."""
ENTRY_LIMIT_BYTES = 32 << 20
HEAD_LIMIT_BYTES = 4096
ABANDONED_SECONDS = 3600.0
"""A temporary file this old belongs to a process that died while it wrote."""
SUFFIX = ".bin"
UNFINISHED = ".part"
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A link is refused, and a pipe put in the place of an entry does not hold the opener up."""


class Compiled(msgspec.Struct, frozen=True):
    """What a compiler made: code for the driver, and its words."""

    code: bytes
    log: str = ""


class _Head(msgspec.Struct):
    format: int
    key: str
    digest: str
    log_bytes: int
    code_bytes: int


def key_of(source: Source, arch: str, options: Sequence[str], compiler: str) -> str:
    """The name of an entry: 64 hexadecimal digits. `compiler` is its name with version."""
    everything = (FORMAT, source.text, source.defines, source.language, arch, tuple(options), compiler, __version__)
    return hashlib.sha256(msgspec.json.encode(everything)).hexdigest()


def cached(
    source: Source, arch: str, options: Sequence[str], compiler: str, compile: Callable[[], Compiled]
) -> Compiled:
    """From the cache where it is there, else compiled and kept. Only `compile` raises."""
    key = key_of(source, arch, options, compiler)
    found = load(key)
    if found is None:
        found = compile()
        store(key, found)
    return found


def folder() -> Path | None:
    """Where entries are kept; None where there is no home directory."""
    given = os.environ.get("BOXCHECK_CACHE_DIR")
    if given:
        return Path(given) / "kernels"
    base = os.environ.get("XDG_CACHE_HOME")
    if base and os.path.isabs(base):  # the XDG Base Directory Specification says to ignore relative paths
        return Path(base) / "boxcheck" / "kernels"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "boxcheck" / "kernels" if os.path.isabs(home) else None


def load(key: str) -> Compiled | None:
    """An entry; None when there is none, or none that can be trusted. A damaged one is removed."""
    with _opened_folder(create=False) as directory:
        if directory is None:
            return None
        try:
            file = os.open(key + SUFFIX, READ, dir_fd=directory)
        except OSError:
            return None
        with os.fdopen(file, "rb") as opened:
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode) or not _only_ours(file):
                    return None
                content = opened.read(ENTRY_LIMIT_BYTES + 1)
            except OSError:
                return None
        found = _decoded(key, content)
        with contextlib.suppress(OSError):
            if found is None:
                os.unlink(key + SUFFIX, dir_fd=directory)
            else:
                os.utime(key + SUFFIX, dir_fd=directory, follow_symlinks=False)  # the last to go are those last used
        return found


def store(key: str, compiled: Compiled) -> bool:
    """Keeps an entry; False where it cannot be kept."""
    content = _encoded(key, compiled)
    if len(content) > ENTRY_LIMIT_BYTES:
        return False
    with _opened_folder(create=True) as directory:
        if directory is None:
            return False
        temporary = f"{key[:16]}.{os.getpid()}.{time.monotonic_ns()}{UNFINISHED}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as opened:
                opened.write(content)
            os.rename(temporary, key + SUFFIX, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:  # a full disk, a quota, a folder that went away
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            return False
        with contextlib.suppress(OSError):
            _prune(directory)
        return True


def _encoded(key: str, compiled: Compiled) -> bytes:
    log = compiled.log.encode("utf-8", "replace")
    body = log + compiled.code
    head = _Head(FORMAT, key, hashlib.sha256(body).hexdigest(), len(log), len(compiled.code))
    return msgspec.json.encode(head) + b"\n" + body


def _decoded(key: str, content: bytes) -> Compiled | None:
    end = content.find(b"\n", 0, HEAD_LIMIT_BYTES)
    try:
        head = msgspec.json.decode(content[:max(end, 0)], type=_Head)
    except msgspec.DecodeError:
        return None
    body = content[end + 1:]
    if (head.format, head.key, head.log_bytes + head.code_bytes) != (FORMAT, key, len(body)):
        return None
    if hashlib.sha256(body).hexdigest() != head.digest or not head.code_bytes or head.log_bytes < 0:
        return None
    return Compiled(body[head.log_bytes:], body[:head.log_bytes].decode("utf-8", "replace"))


@contextlib.contextmanager
def _opened_folder(create: bool) -> Iterator[int | None]:
    """The folder as a descriptor, so that nobody can put another in its place between looking and using."""
    path = folder()
    descriptor: int | None = None
    try:
        if path is not None:
            if create:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if not _only_ours(descriptor):
                os.close(descriptor)
                descriptor = None
    except (OSError, ValueError):
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _only_ours(descriptor: int) -> bool:
    """Whether this user owns it and nobody else may write it."""
    status = os.fstat(descriptor)
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _prune(directory: int) -> None:
    """Removes what was longest not used, until the rest is within the limit; and what writers that died left."""
    entries: list[tuple[float, int, str]] = []
    now = time.time()
    with os.scandir(directory) as found:
        for entry in found:
            status = entry.stat(follow_symlinks=False)
            if entry.name.endswith(SUFFIX):
                entries.append((status.st_mtime, status.st_size, entry.name))
            elif entry.name.endswith(UNFINISHED) and now - status.st_mtime > ABANDONED_SECONDS:
                os.unlink(entry.name, dir_fd=directory)
    total = sum(size for _, size, _ in entries)
    for _, size, name in sorted(entries):
        if total <= LIMIT_BYTES:
            break
        with contextlib.suppress(FileNotFoundError):  # another process prunes as well
            os.unlink(name, dir_fd=directory)
        total -= size
