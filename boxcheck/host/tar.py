"""A tar, read as hostile input and held in memory. Nothing is unpacked to disk.

Read with a reader of our own: the standard library's keeps every member (gigabytes for a tar of a million empty files),
takes a hundred microseconds for each, and its sparse and link handling is more than a capture needs.
Format: POSIX.1-2017, pax, "pax Interchange Format" (ustar header block) and the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import os
import stat as stat_module
import struct
import zlib
from collections.abc import Iterator, Mapping
from sys import intern
from typing import NamedTuple

from boxcheck.host import LOG_LIMIT_BYTES
from boxcheck.host.common import not_a_path, one_line
from boxcheck.host.inflate import CHUNK_BYTES, InflateError, Plain, inflate
from boxcheck.host.tree import DEPTH_LIMIT, CaptureError, Kind, Prefix, find_prefix
from boxcheck.model import Unread

UNPACKED_LIMIT_BYTES = 1 << 30
"""Most that is decompressed at all."""

KEPT_LIMIT_BYTES = 256 << 20
"""Most that is held in memory. The largest captures at hand hold 40 MB."""

MEMBER_LIMIT = 600_000
"""A machine of 10 000 PCI functions has 300 000 files that doctor may read."""

DIRECTORY_LIMIT = 300_000
"""One member of 62 components makes as many directories, so that members alone bound nothing."""

NAME_LIMIT_BYTES = 8192
COMPLAINT_LIMIT = 100
BLOCK = 512
_END = bytes(BLOCK)

_HEADER = struct.Struct("100s24x12s12x8sB100s6s82x155s12x")
"""name, (mode, uid, gid), size, (mtime), checksum, type, link, magic, (version, names, device), prefix"""

REGULAR = frozenset(b"0\x007")
LINK, HARD, DIRECTORY = ord("2"), ord("1"), ord("5")
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = ord("L"), ord("K"), ord("x"), ord("g")
_OTHERS = frozenset(b"346")
_NAMED_FOR_ALL = frozenset((b"path", b"linkpath", b"size"))


class Member(NamedTuple):
    name: bytes
    type: int
    link: bytes
    size: int


class TarTree:
    """See `boxcheck.host.tree.Tree`. The last of several members of one name counts, as for tar itself."""

    def __init__(self, path: str) -> None:
        self.complaints: list[str] = []
        self.lost: set[str] = set()
        self._files: dict[str, bytes | Unread] = {}
        self._links: dict[str, str] = {}
        self._listings: dict[str, dict[str, Kind]] = {"": {}}
        self._kept = 0
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as raw:
                if not stat_module.S_ISREG(os.fstat(descriptor).st_mode):
                    raise CaptureError(f"{one_line(path)}: neither a file nor a directory")
                self._load(inflate(raw, UNPACKED_LIMIT_BYTES))
        except OSError as error:
            raise CaptureError(f"{one_line(path)}: {(error.strerror or str(error)).lower()}") from None
        except InflateError as error:
            raise CaptureError(f"{one_line(path)}: {one_line(str(error))}") from None
        self._strip(path)

    # Loading

    def _load(self, source: Plain) -> None:
        number = 0
        hard: list[tuple[str, str]] = []
        for member in members(source):
            number += 1
            if number > MEMBER_LIMIT:
                raise InflateError(f"holds more than {MEMBER_LIMIT} files")
            here = self._place(member.name)
            if here is None or not here:
                continue
            if member.type in REGULAR:
                self._put_file(here, self._content(here, member.size, source))
            elif member.type == LINK:
                if self._adopt(here, "link"):
                    self._links[here] = member.link.decode("utf-8", "surrogateescape")
            elif member.type == HARD:
                original = self._place(member.link)
                if original:
                    hard.append((here, original))
            elif member.type == DIRECTORY:
                if self._directory(here) is None:
                    self._complain("ignored a directory in the place of a file or a link", here)
            elif member.type in _OTHERS:
                self._adopt(here, "other")
            else:
                self._lose(f"ignored a member of type {chr(member.type)!r}", here)
        for here, original in hard:
            data = self._files.get(original)
            if data is None:
                self._lose("ignored a hard link to what the capture does not hold", here)
            else:
                self._put_file(here, data)

    def _place(self, name: bytes) -> str | None:
        """Clean path of a member, `""` for the top; None where it would leave the capture or is unprintable."""
        if b"/." in name or b"//" in name or name[:1] in b"./" or name[-1:] == b"/":
            parts = [part for part in name.split(b"/") if part not in (b"", b".")]
            bad = b".." in parts
            name = b"/".join(parts)
        else:
            bad = False
        if bad or name.count(b"/") >= DEPTH_LIMIT:
            self._complain("ignored a path that leaves the capture or is too deep", name.decode("utf-8", "replace"))
            return None
        path = f"/{name.decode('utf-8', 'surrogateescape')}" if name else ""
        if path and not_a_path(path):
            self._complain("ignored an unprintable path", path)
            return None
        return path

    def _content(self, here: str, size: int, source: Plain) -> bytes | Unread:
        if size > LOG_LIMIT_BYTES:
            return Unread(f"larger than {LOG_LIMIT_BYTES} bytes", "malformed")
        self._kept += size
        if self._kept > KEPT_LIMIT_BYTES:
            raise InflateError(f"holds more than {KEPT_LIMIT_BYTES >> 20} MiB of files")
        data = source.read(size)
        if len(data) < size:
            raise InflateError("ends in the middle of a file; the capture is truncated")
        return data

    def _put_file(self, here: str, data: bytes | Unread) -> None:
        if self._adopt(here, "file"):
            self._files[here] = data

    def _directory(self, path: str) -> dict[str, Kind] | None:
        """The listing of a directory, made with all its parents; None where a file or link stands in the way."""
        known = self._listings.get(path)
        if known is None:
            head, _, name = path.rpartition("/")
            above = self._directory(head)
            if above is None or above.setdefault(intern(name), "dir") != "dir":
                return None
            if len(self._listings) >= DIRECTORY_LIMIT:
                raise InflateError(f"holds more than {DIRECTORY_LIMIT} directories")
            known = self._listings[intern(path)] = {}
        return known

    def _adopt(self, path: str, kind: Kind) -> bool:
        head, _, name = path.rpartition("/")
        siblings = self._directory(head)
        if siblings is None:
            self._lose("ignored what lies below a file or a link", path)
            return False
        before = siblings.get(name)
        if before is not None and before != kind:
            if before == "dir":
                self._complain("ignored a second member that is no directory", path)
                return False
            self._files.pop(path, None)
            self._links.pop(path, None)
        siblings[intern(name)] = kind
        return True

    def _complain(self, what: str, path: str) -> None:
        if len(self.complaints) < COMPLAINT_LIMIT:
            self.complaints.append(f"{what}: {one_line(path)}")

    def _lose(self, what: str, path: str) -> None:
        self._complain(what, path)
        self.lost.add(path)

    def _strip(self, path: str) -> None:
        prefix = find_prefix(self.listing, path)
        if prefix == Prefix("", ""):
            return
        self._files = dict(prefix.moved(self._files))
        self._links = dict(prefix.moved(self._links))
        self.lost = {lost for lost, _ in prefix.moved(dict.fromkeys(self.lost))}
        self._listings = dict(prefix.moved(self._listings))
        self._listings.setdefault("", {})
        above = prefix.under
        while above:  # the directories that the prefix adds above
            above, _, name = above.rpartition("/")
            self._listings.setdefault(above, {})[name] = "dir"

    # Tree

    def listing(self, path: str) -> Mapping[str, Kind] | None:
        return self._listings.get(path)

    def link(self, path: str) -> str:
        return self._links[path]

    def read(self, path: str, limit_bytes: int) -> bytes | Unread:
        data = self._files[path]
        if isinstance(data, bytes) and len(data) > limit_bytes:
            return Unread(f"larger than {limit_bytes} bytes", "malformed")
        return data


def members(source: Plain, *, alone: bool = False) -> Iterator[Member]:
    """The members, long names and pax headers resolved. What the caller leaves of a member's content is skipped.

    `alone`: InflateError where anything but zeros is behind the end mark, which `tar -i` and other readers unpack, and
    where a global header gives names or sizes, which readers take in different ways.
    """
    long_name: bytes | None = None
    long_link: bytes | None = None
    pax: dict[bytes, bytes] = {}
    first = True
    while True:
        block = source.read(BLOCK)
        if len(block) < BLOCK:
            if first:
                raise InflateError("is no tar archive")
            raise InflateError("has no end mark; the capture is truncated")
        if block == _END:
            if first:
                empty = not source.read(64 * BLOCK).strip(b"\0")
                raise InflateError("is an empty archive" if empty else "is no tar archive")
            if alone:
                _refuse_more(source)
            else:
                source.skip(UNPACKED_LIMIT_BYTES)  # to the end, where the decompressor checks its sum
            return
        member = _header(block)
        if member is None:
            raise InflateError("is no tar archive" if first else "is damaged: a header's checksum is wrong")
        first = False
        if member.type in (_LONG_NAME, _LONG_LINK, _PAX):
            data = _header_data(source, member.size)
            if member.type == _LONG_NAME:
                long_name = data.rstrip(b"\0")
            elif member.type == _LONG_LINK:
                long_link = data.rstrip(b"\0")
            else:
                pax = _pax_records(data)
            continue
        if member.type == _PAX_GLOBAL:
            told = _header_data(source, member.size)  # comments and defaults; of these none is taken
            if alone and any(
                    key in _NAMED_FOR_ALL or key.startswith(b"GNU.sparse.") for key in _pax_records(told)):
                raise InflateError("has a header that gives all its files another name or size, as tar unpacks them")
            continue
        size = _pax_size(pax) if b"size" in pax else member.size
        sparse = member.type == ord("S") or any(key.startswith(b"GNU.sparse.") for key in pax)
        whole = Member(
            pax.get(b"path", long_name if long_name is not None else member.name),
            ord("S") if sparse else member.type,
            pax.get(b"linkpath", long_link if long_link is not None else member.link),
            size if member.type not in (LINK, HARD, DIRECTORY) and member.type not in _OTHERS else 0,
        )
        before = source.given
        yield whole
        left = -(-whole.size // BLOCK) * BLOCK - (source.given - before)
        if not source.skip(left):
            raise InflateError("ends in the middle of a file; the capture is truncated")
        long_name, long_link, pax = None, None, {}


def _refuse_more(source: Plain) -> None:
    more = False
    while data := source.read(CHUNK_BYTES):
        more = more or bool(data.strip(b"\0"))
    if more or source.left_over():
        raise InflateError("holds something behind its end mark")


def _header(block: bytes) -> Member | None:
    """A ustar, GNU or old header; None when its checksum or its size is wrong."""
    name, size_field, checksum, kind, link, magic, prefix = _HEADER.unpack(block)
    # Adler-32 (RFC 1950) begins with 1 + the sum of the bytes, modulo 65 521: exact for 256 bytes, and in C.
    total = (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2
    size = _octal(size_field)
    if size is None or _octal(checksum) != total - sum(checksum) + 8 * 32:
        return None
    name = name.split(b"\0", 1)[0]
    if prefix[0] and magic == b"ustar\0":
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    if kind == 0 and name.endswith(b"/"):  # how tars before 1988 wrote directories
        kind = DIRECTORY
    return Member(name, kind, link.split(b"\0", 1)[0], size)


def _octal(field: bytes) -> int | None:
    """Octal text, or GNU's base 256 for sizes above 8 GiB. None for anything else and for negative numbers."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b"\0 ")
    if not text:
        return 0
    return int(text, 8) if text.isdigit() and b"8" not in text and b"9" not in text else None


def _header_data(source: Plain, size: int) -> bytes:
    if size > NAME_LIMIT_BYTES * 4:
        raise InflateError(f"holds a header of {size} bytes")
    padded = -(-size // BLOCK) * BLOCK
    data = source.read(padded)
    if len(data) < padded:
        raise InflateError("ends in the middle of a header; the capture is truncated")
    return data[:size]


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """`length key=value\\n` records. InflateError where one is malformed."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        digits = data[at : at + 6].split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() else 0
        record = data[at + len(digits) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if length <= len(digits) + 1 or not equals or not value.endswith(b"\n") or at + length > len(data):
            raise InflateError("is damaged: a pax header cannot be read")
        found[key] = value[:-1]
        at += length
    return found


def _pax_size(pax: Mapping[bytes, bytes]) -> int:
    digits = pax[b"size"]
    if not digits.isdigit() or len(digits) > 18:
        raise InflateError("is damaged: a pax header gives an impossible size")
    return int(digits)
