"""What lies in the folder of an attempt: every file with its size and SHA-256, read as hostile input.

Nothing is unpacked, no link is followed, no device is opened, and a file that changes while it is read is told.
By hand: `sha256sum FILE`, `tar -tvf FILE`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from boxcheck.certify.acceptance import AttemptFile
from boxcheck.store.texts import plain_line

ACCEPTANCE, MANIFEST, SIGNATURE, SUMS = "acceptance.json", "manifest.json", "manifest.json.sig", "SHA256SUMS"
VERDICT = "verdict.json"
RISER = "riser.json"
"""The notebook of a riser experiment, where there was one; its reports show it."""
KEPT_LIMIT_BYTES = 16 << 20
"""Most of each of these four that is held in memory; the manifest of a folder of ten files has 2 kB."""
HASHED_LIMIT_BYTES = 4 << 30
"""Of a file that is larger than its manifest says, no more is read: a file full of holes has no end."""
LARGEST_BYTES = 16 << 30
"""Of any file: a day of eight GPUs has 100 MB in all."""
FILES_LIMIT = 10_000
DEPTH_LIMIT = 8
CHUNK_BYTES = 1 << 20

Kind = Literal["link", "device", "unreadable", "changing", "name", "large", "twice"]


class Trouble(msgspec.Struct, frozen=True):
    """Something that is no plain file, or could not be read as one."""

    name: str
    kind: Kind
    says: str


class ContentsError(Exception):
    """The folder or the tar cannot be read at all."""


class Contents(msgspec.Struct, kw_only=True):
    where: str
    """The folder or the tar."""
    files: list[AttemptFile] = msgspec.field(default_factory=list)
    """All that a manifest lists: but the manifest, its signature and SHA256SUMS. Of what was not hashed, because it is
    not expected, `sha256` is empty."""
    troubles: list[Trouble] = msgspec.field(default_factory=list)
    manifest: bytes | None = None
    signature: bytes | None = None
    sums: bytes | None = None
    acceptance: bytes | None = None

    def trouble(self, name: str, kind: Kind, says: str) -> None:
        self.troubles.append(Trouble(plain_line(name)[:200], kind, says))

    def keep(self, name: str, data: bytes) -> bool:
        """Whether it is one of the files beside the manifest's list."""
        if name == MANIFEST:
            self.manifest = data
        elif name == SIGNATURE:
            self.signature = data
        elif name == SUMS:
            self.sums = data
        else:
            if name == ACCEPTANCE:
                self.acceptance = data
            return False
        return True


KEPT = frozenset((ACCEPTANCE, MANIFEST, SIGNATURE, SUMS))

Expected = Callable[[bytes | None], Mapping[str, int] | None]
"""From the manifest's bytes the sizes that it names; None: hash whatever is there."""


def contents_of_folder(folder: str, expected: Expected = lambda manifest: None) -> Contents:
    """Every file of a folder. ContentsError where the folder cannot be read."""
    made = Contents(where=folder)
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise ContentsError(f"{plain_line(folder)}: {_why(error)}") from None
    try:
        sizes = expected(_first(top))
        names = _names(top)
        for name in names:
            _one(made, top, name, sizes)
        if _names(top) != names:
            made.trouble("the folder", "changing", "changed while it was read: a file came or went; read it again")
    except OSError as error:
        raise ContentsError(f"{plain_line(folder)}: {_why(error)}") from None
    finally:
        os.close(top)
    return made


def _first(top: int) -> bytes | None:
    """The manifest, before all else: it says how much of each file there is to be read."""
    made = Contents(where="")
    _one(made, top, MANIFEST, {})
    return made.manifest


def _names(top: int) -> list[str]:
    """Of everything below that is no directory, sorted."""
    found: list[str] = []
    _walk(top, "", found, 0)
    return sorted(found)


def _walk(here: int, before: str, found: list[str], depth: int) -> None:
    with os.scandir(here) as entries:
        for entry in entries:
            name = before + entry.name
            if len(found) >= FILES_LIMIT:
                raise ContentsError(f"there are more than {FILES_LIMIT} files in the folder")
            if not entry.is_dir(follow_symlinks=False):
                found.append(name)
                continue
            if depth >= DEPTH_LIMIT:
                raise ContentsError(f"there are folders within folders, more than {DEPTH_LIMIT} deep")
            below = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            try:
                _walk(below, f"{name}/", found, depth + 1)
            finally:
                os.close(below)


def _one(made: Contents, top: int, name: str, sizes: Mapping[str, int] | None) -> None:
    """Reads one file into `made`. Nothing happens where it is not there (any more)."""
    if not good_name(name):
        made.trouble(name, "name", "is no name that a file of an attempt may have")
        return
    below = top
    try:
        *folders, last = name.split("/")
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=below)
            if below != top:
                os.close(below)
            below = inner
        found = os.stat(last, dir_fd=below, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            _regular(made, below, last, name, sizes)
        elif stat.S_ISLNK(found.st_mode):
            made.trouble(name, "link", "is a symbolic link, not a file")
        else:
            made.trouble(name, "device", "is a device, a pipe or a socket, not a file")
    except FileNotFoundError:
        return
    except OSError as error:
        made.trouble(name, "unreadable", f"cannot be read: {_why(error)}")
    finally:
        if below != top:
            os.close(below)


def _regular(made: Contents, below: int, last: str, name: str, sizes: Mapping[str, int] | None) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(os.open(last, flags, dir_fd=below), "rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        if not stat.S_ISREG(before.st_mode):
            made.trouble(name, "changing", "became something else while it was read")
            return
        enter(made, name, before.st_size, stream.read, sizes)
        after = os.fstat(stream.fileno())
    if _mark(before) != _mark(after):
        made.trouble(name, "changing", "was written to while it was read; read it again when nothing writes")


def _mark(of: os.stat_result) -> tuple[int, int, int]:
    return of.st_size, of.st_mtime_ns, of.st_ctime_ns


def enter(
    made: Contents, name: str, size: int, read: Callable[[int], bytes], sizes: Mapping[str, int] | None,
) -> None:
    """Hashes what is read of a file of that size, and keeps what is to be kept."""
    if name in KEPT and size > KEPT_LIMIT_BYTES:
        made.trouble(name, "large", f"is larger than {KEPT_LIMIT_BYTES >> 20} MiB")
        return
    if size > LARGEST_BYTES:
        made.trouble(name, "large", f"has {size} bytes, of which none was read")
        return
    if name not in KEPT and sizes is not None:
        if name not in sizes:
            made.files.append(AttemptFile(name=name, size_bytes=size, sha256=""))
            return
        if size > max(sizes[name], HASHED_LIMIT_BYTES):
            made.trouble(name, "large", f"has {size} bytes instead of {sizes[name]}, of which none was read")
            return
    summing, kept, left = hashlib.sha256(), bytearray(), size
    while left > 0 and (chunk := read(min(left, CHUNK_BYTES))):
        summing.update(chunk)
        left -= len(chunk)
        if name in KEPT:
            kept += chunk
    if left:
        made.trouble(name, "changing", "became shorter while it was read")
        return
    if not made.keep(name, bytes(kept)):
        made.files.append(AttemptFile(name=name, size_bytes=size, sha256=summing.hexdigest()))


def good_name(name: str) -> bool:
    """Whether a file of a folder may be called so: relative, below it, printable, and without the two marks that JSON
    or another system reads in another way."""
    return bool(name) and len(name) < 1024 and name.isprintable() and not set(name) & {"\\", '"'} and not any(
        part in ("", ".", "..") for part in name.split("/"))


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return "is no folder" if number == errno.ENOTDIR else os.strerror(number).lower() if number else "is no path"
