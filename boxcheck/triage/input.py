"""What somebody hands to triage: files, standard input, archives, folders. Opened one after another, read in blocks.

Text comes out as UTF-8, whatever it was: plain, gzip, bzip2, xz or zstd; UTF-8, UTF-16 or Latin-1 (bytes that are no
UTF-8 pass through; what shows them cleans them). A capture of a machine is told from a folder of texts by what is in
it.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
import tarfile
from collections.abc import Iterator, Sequence
from typing import IO, NoReturn

import msgspec

from boxcheck.host.inflate import CHUNK_BYTES, InflateError, Plain, inflate
from boxcheck.host.tree import SURE_ROOTS
from boxcheck.usage import UsageError

STANDARD_INPUT = "-"
MOST_FILES = 2000
"""Of one folder. A sosreport has more: its captures of single tools are to be given by name."""
INFLATED_LIMIT_BYTES = 16 << 30
"""A log of 16 GiB takes minutes; a bomb takes for ever."""

_PICTURES = (
    (b"\x89PNG\r\n", "a picture (PNG)"), (b"\xff\xd8\xff", "a picture (JPEG)"), (b"GIF8", "a picture (GIF)"),
    (b"RIFF", "a picture or sound"),
)
_OTHERS = (
    (b"%PDF-", "a PDF"), (b"\x7fELF", "a program"), (b"PK\x03\x04", "a zip archive"),
    (b"SQLite format 3\x00", "a database (SQLite)"), (b"LPKSHHRH", "journald's own binary file"),
)
_INSTEAD = {
    "a PDF": "copy its text out and give that", "a zip archive": "unpack it and give the folder or its files",
    "a database (SQLite)": "give the text that a tool printed", "a program": "give the text that it printed",
    "journald's own binary file": "print it first: journalctl --file FILE -k -o short-monotonic > kernel.log",
}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Source(msgspec.Struct, kw_only=True):
    """One file, or standard input."""

    name: str
    """As it was given, `standard input` for `-`."""
    index: int
    complaints: list[str] = []
    """What kept it from being read to its end."""


def gather(places: Sequence[str]) -> list[str]:
    """The files behind what was named on the command line, folders opened up. UsageError for what is not there."""
    found: list[str] = []
    for place in places:
        if place == STANDARD_INPUT:
            found.append(place)
            continue
        try:
            mode = os.stat(place).st_mode
        except OSError as error:
            raise UsageError(f"{place}: {os.strerror(error.errno or 0).lower()}", "name the file that holds the text") \
                from None
        except ValueError:
            raise UsageError("a file's name holds a null character", "name the file that holds the text") from None
        _refuse_endless(place, mode)
        try:
            folder = stat.S_ISDIR(mode) and not is_capture(place)
        except OSError as error:
            _refuse_closed(error)
        if folder:
            inside = sorted(_files_below(place))
            if not inside:
                raise UsageError(f"{place}: no file in this folder", "name a folder or file that holds the text")
            if len(inside) > MOST_FILES:
                # Those left out may hold the fault.
                raise UsageError(f"{place}: more than {MOST_FILES} files in this folder",
                                 "name the files that hold a log or a tool's output, or a folder of fewer")
            found += inside
        else:
            found.append(place)
    return list(dict.fromkeys(found))


def _refuse_endless(place: str, mode: int) -> None:
    """UsageError for what never ends. A pipe is waited for, and said to be."""
    if os.path.realpath(place) in ("/proc/kmsg", "/dev/kmsg"):
        raise UsageError(f"{place} is read for ever", "give what it holds now: sudo dmesg | boxcheck triage -")
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        if os.path.realpath(place).startswith(("/dev/pts/", "/dev/tty")) or place in ("/dev/stdin", "/dev/fd/0"):
            return
        raise UsageError(f"{place} is no file of text but a device", "name the file that holds the text")
    if stat.S_ISFIFO(mode) and place not in ("/dev/stdin", "/dev/fd/0"):
        print(f"waiting for {place} to be written", file=sys.stderr)


def _files_below(folder: str) -> Iterator[str]:
    """Regular files, no links followed, hidden ones left out."""
    seen = 0
    for here, folders, names in os.walk(folder, onerror=_refuse_closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(here, name)
            if name.startswith(".") or not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            yield path
            seen += 1
            if seen > MOST_FILES:
                return


def _refuse_closed(error: OSError) -> NoReturn:
    """A folder that may not be listed: what is in it would be missing without a word."""
    raise UsageError(f"{error.filename}: {os.strerror(error.errno or 0).lower()}", _how(error)) from None


def is_capture(place: str) -> bool:
    """Whether it is a tree of a machine's own files (sys, proc, boxcheck): a folder, or a tar of it, packed or not."""
    if place == STANDARD_INPUT or not (os.path.isdir(place) or os.path.isfile(place)):
        return False
    if os.path.isdir(place):
        names = set(os.listdir(place))
        inner = next(iter(names)) if len(names) == 1 else None
        deeper = os.path.join(place, inner) if inner is not None else ""
        return bool(SURE_ROOTS & names) or (os.path.isdir(deeper) and bool(SURE_ROOTS & set(os.listdir(deeper))))
    try:
        with open(place, "rb") as raw:
            head = inflate(raw, CHUNK_BYTES * 4).read(512)
    except (OSError, InflateError):
        return False
    try:
        return len(head) == 512 and bool(tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape").name)
    except tarfile.TarError:
        return False


class _Ahead:
    """A stream that cannot seek, able to go back to its start once: what `inflate` needs of standard input."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._head = raw.read(6)
        self._left = self._head

    def read(self, size: int = -1) -> bytes:
        if self._left:
            out, self._left = self._left[:size], self._left[size:]
            return out
        return self._raw.read(size)

    def seek(self, position: int) -> int:
        if position:
            raise OSError("only back to the start")
        self._left = self._head
        return 0


def blocks(source: Source, place: str) -> Iterator[bytes]:
    """The text of a source as UTF-8, in blocks. What ends it early is a complaint of the source, and what was read
    before stands. UsageError when it cannot be opened or is no text."""
    yield from _plain_spaces(_blocks(source, place))


def _blocks(source: Source, place: str) -> Iterator[bytes]:
    if place == STANDARD_INPUT:
        yield from _text(source, inflate(_Ahead(sys.stdin.buffer), INFLATED_LIMIT_BYTES))  # type: ignore[arg-type]
        return
    try:
        raw = open(place, "rb", opener=_open_plain)  # noqa: SIM115  closed below; opening has errors of its own
    except OSError as error:
        raise UsageError(f"{place}: {os.strerror(error.errno or 0).lower()}", _how(error)) from None
    with raw:
        yield from _text(source, inflate(raw, INFLATED_LIMIT_BYTES) if raw.seekable() else
                         inflate(_Ahead(raw), INFLATED_LIMIT_BYTES))  # type: ignore[arg-type]


_SPACES = re.compile(b"\xc2\xa0|\xe2\x80[\x87\xaf]")
_NOTHINGS = re.compile(b"\xe2\x80[\x8b-\x8f]|\xef\xbb\xbf")
_BEGINNINGS = (b"\xc2", b"\xe2", b"\xe2\x80", b"\xef", b"\xef\xbb")
"""Of these characters, where a block ends within one."""
_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]{0,24}[ -/]{0,4}[@-~]|[()][0-9A-Z]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\))")
"""What colours a terminal, moves its cursor or names its window."""
_LONGEST_ESCAPE = 32
"""Of those that colour; a window's longer name may stay where a block ends within it."""


def _plain_spaces(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Blanks that do not break, as web pages and chats put in place of others, as plain ones; invisible marks and the
    colours of a terminal left out. A text with them reads as well as without."""
    rest = b""
    for block in stream:
        block = rest + block
        rest = next((end for end in reversed(_BEGINNINGS) if block.endswith(end)), b"")
        escape = block.rfind(b"\x1b", max(0, len(block) - _LONGEST_ESCAPE))
        if escape >= 0 and _ESCAPE.match(block, escape) is None:
            rest = block[escape:]
        block = block[: len(block) - len(rest)]
        if b"\xc2\xa0" in block or b"\xe2\x80" in block or b"\xef\xbb\xbf" in block:
            block = _NOTHINGS.sub(b"", _SPACES.sub(b" ", block))
        if b"\x1b" in block:
            block = _ESCAPE.sub(b"", block)
        yield block
    if rest:
        yield rest


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY | os.O_CLOEXEC)


def _how(error: OSError) -> str:
    return "sudo, or a copy of the file, lets you read it" if isinstance(error, PermissionError) else \
        "name the file that holds the text"


def _text(source: Source, stream: Plain) -> Iterator[bytes]:
    try:
        head = stream.read(CHUNK_BYTES)
        _refuse_other_files(source, head)
        wide = "utf-16" if head[:2] in _UTF16 else _unmarked_utf16(head)
        if wide is not None:
            decode = codecs.getincrementaldecoder(wide)("replace").decode
            while head:
                yield decode(head).encode("utf-8", "replace")
                head = stream.read(CHUNK_BYTES)
            return
        if head.startswith(codecs.BOM_UTF8):
            head = head[len(codecs.BOM_UTF8):]
        while head:
            yield head
            head = stream.read(CHUNK_BYTES)
    except (InflateError, EOFError) as error:
        source.complaints.append(f"{error}; what came before was read")
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        source.complaints.append(f"reading it failed ({why}); what came before was read")


def _unmarked_utf16(head: bytes) -> str | None:
    """The byte order of UTF-16 without its mark: half of the bytes of English text are zero, all on one side."""
    sample = head[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    most = len(sample) // 2 * 0.8
    if len(sample) < 8 or b"\n" not in sample or (even < most and odd < most) or min(even, odd) > len(sample) * 0.05:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _refuse_other_files(source: Source, head: bytes) -> None:
    for magic, name in _PICTURES:
        if head.startswith(magic):
            raise UsageError(f"{source.name} is {name}, and only text can be read",
                             "copy the text out of the terminal and give that")
    for magic, name in _OTHERS:
        if head.startswith(magic):
            raise UsageError(f"{source.name} is {name}, and only text can be read", _INSTEAD[name])
