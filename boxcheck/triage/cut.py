"""Cuts a text into sections: the output of known tools, and all else, which goes to the kernel log's parser.

One text often holds several things: a forum post with a dmesg and an lspci, an nvidia-bug-report.log with twenty
outputs. A section begins at a line that a reader knows as a beginning, and ends at the first line that is not its own.
The log's parser sees the other lines at their own numbers: in place of a section it is given as many empty lines.

Blocks without any reader's word go to the log as they are, so a long log costs one search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Protocol, cast

from boxcheck.decode.klog.scan import Scanner
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Evidence, Section
from boxcheck.triage.tools import TOOLS

MAX_LINE_CHARACTERS = 1 << 16
MAX_SECTION_LINES = 400_000
MAX_SECTION_CHARACTERS = 64 << 20
MANY_BYTES = 1 << 20
"""From here on the search is worth preparing for."""
BLANK_LINES = 3
"""Blank lines within a section that do not end it."""

_QUOTE = re.compile(r"(?:> ?)+")
_TAGS = re.compile(r"(?:</?(?:pre|code|samp|p|div|span|br)\b[^<>]{0,80}>)+")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&nbsp;", " "), ("&#124;", "|"),
             ("&amp;", "&"))
"""Of saved web pages. Those that make control characters are none of them."""


class Reader(Protocol):
    """A module of `boxcheck.triage.tools`."""

    def begins(self, line: str) -> str | None: ...
    def belongs(self, variant: str, line: str) -> bool: ...
    def read(self, section: Section) -> Evidence: ...


Take = Callable[[Reader, Section], None]


class _Anchors:
    """Which readers may begin in a block, and on which lines."""

    def __init__(self) -> None:
        self.words = tuple((word.encode(), tool.module) for tool in TOOLS for word in tool.anchors)
        self._readers: dict[str, Reader] = {}
        self._scanner = Scanner([word for word, _ in self.words])
        self._seen_bytes = 0

    def reader(self, module: str) -> Reader:
        found = self._readers.get(module)
        if found is None:
            found = self._readers[module] = cast(
                Reader, import_module(f"boxcheck.triage.tools.{module}"))
        return found

    def lines(self, block: bytes, start: int) -> list[int]:
        """Where the lines begin that hold a word, in order."""
        self._seen_bytes += len(block) - start
        if self._seen_bytes > MANY_BYTES:
            self._scanner.quicken()
        return sorted({
            block.rfind(b"\n", 0, at) + 1 for at, _ in self._scanner.find(block, start, len(block))})

    def begin(self, raw: bytes, line: str) -> tuple[Reader, str] | None:
        """The reader that begins at a line, with its variant."""
        asked: set[str] = set()
        for word, module in self.words:
            if module in asked or word not in raw:
                continue
            asked.add(module)
            reader = self.reader(module)
            variant = reader.begins(line)
            if variant is not None:
                return reader, variant
        return None


class Cutter:
    """Takes a text in blocks. `feed` them in order, then `finish` once."""

    def __init__(self, log: Callable[[bytes], None], take: Take) -> None:
        """`log` gets the lines that are no tool's, `take` each section with its reader."""
        self._log = log
        self._take = take
        self._anchors = _Anchors()
        self._rest = b""
        self._within_overlong = False
        self._overlong_is_taken = False
        """Whether a section has counted the overlong line already."""
        self._number = 1
        """Of the next line."""
        self._reader: Reader | None = None
        self._variant = ""
        self._first = 0
        self._lines: list[str] = []
        self._numbers: list[int] = []
        self._blanks: list[int] = []
        self._characters = 0
        self._cut_short = False
        self._ends_here = False

    def feed(self, block: bytes) -> None:
        """Take in the next piece, cut anywhere."""
        if self._within_overlong:
            block = self._skip_overlong(block)
        end = block.rfind(b"\n") + 1
        if end:
            self._read(self._rest + block[:end])
            self._rest = block[end:]
        else:
            self._rest += block
        if len(self._rest) > MAX_LINE_CHARACTERS:
            # The log's parser reads such a line in parts; a tool's line is cut.
            before = self._number
            self._read(self._rest)
            self._rest = b""
            self._within_overlong, self._overlong_is_taken = True, self._number > before

    def _skip_overlong(self, block: bytes) -> bytes:
        """Passes the rest of an overlong line on; returns what comes after it."""
        end = block.find(b"\n") + 1
        part = block[:end] if end else block
        if not self._overlong_is_taken:
            self._log(part)
            self._number += 1 if end else 0
        self._within_overlong = not end
        return block[end:] if end else b""

    def finish(self) -> None:
        """The text is over."""
        if self._rest:
            self._read(self._rest)
        if self._reader is not None:
            self._close()

    # Blocks

    def _read(self, block: bytes) -> None:
        at = 0
        while at < len(block):
            if self._reader is not None:
                at = self._read_section(block, at)
                continue
            begun = False
            for head in self._anchors.lines(block, at):
                raw = _raw_line(block, head)
                line = _clean(raw)
                found = self._anchors.begin(raw, line)
                if found is None:
                    continue
                self._number += block.count(b"\n", at, head)
                if head > at:
                    self._log(block[at:head])
                self._open(*found)
                at = head
                begun = True
                break
            if not begun:
                self._log(block[at:])
                self._number += block.count(b"\n", at)
                return

    def _read_section(self, block: bytes, at: int) -> int:
        """Reads lines of the open section from `at`; returns where it stopped."""
        while at < len(block):
            raw = _raw_line(block, at)
            if not self._line(raw):
                return at
            self._number += 1
            at += len(raw) + 1
            if self._ends_here:
                self._close()
                return at
        return at

    def _line(self, raw: bytes) -> bool:
        """Takes one line into the open section; False when it is not its own, and the section is closed."""
        assert self._reader is not None
        first, kept = not self._lines, False
        for line in _parts(raw):
            if not line.strip():
                if len(self._blanks) >= BLANK_LINES:
                    self._close()
                    return False
                if not first:
                    self._blanks.append(self._number)
                continue
            if not first and not self._reader.belongs(self._variant, line):
                if kept:
                    # The line began as the section's own: it is used up, and the section ends with it.
                    self._ends_here = True
                    return True
                self._close()
                return False
            self._keep(line)
            first, kept = False, True
        return True

    def _keep(self, line: str) -> None:
        if len(self._lines) >= MAX_SECTION_LINES or self._characters > MAX_SECTION_CHARACTERS:
            self._cut_short = True
            self._blanks.clear()
            return
        for number in self._blanks:
            self._lines.append("")
            self._numbers.append(number)
        self._blanks.clear()
        self._lines.append(line)
        self._numbers.append(self._number)
        self._characters += len(line) + 1

    def _open(self, reader: Reader, variant: str) -> None:
        self._reader, self._variant, self._first = reader, variant, self._number
        self._lines, self._numbers, self._blanks = [], [], []
        self._characters, self._cut_short, self._ends_here = 0, False, False

    def _close(self) -> None:
        """Hands the section over and gives the log as many empty lines, the blank ones at its end among them."""
        reader = self._reader
        assert reader is not None
        self._reader = None
        self._log(b"\n" * (self._number - self._first))
        if not self._lines:
            return
        numbers = tuple(self._numbers)
        plain = numbers == tuple(range(self._first, self._first + len(numbers)))
        self._take(reader, Section(
            variant=self._variant, lines=tuple(self._lines), first_line=self._first, cut_short=self._cut_short,
            numbers=() if plain else numbers))


def _raw_line(block: bytes, at: int) -> bytes:
    end = block.find(b"\n", at)
    return block[at:end] if end >= 0 else block[at:]


def _parts(raw: bytes) -> Iterator[str]:
    """The clean lines of a raw one: progress that overwrites itself with carriage returns is several."""
    if b"\r" in raw:
        pieces = [piece for piece in raw.split(b"\r") if piece.strip()]
        for piece in pieces or [b""]:
            yield _clean(piece)
    else:
        yield _clean(raw)


def _clean(raw: bytes) -> str:
    """Without control characters, quote marks, what a page adds (tags, entities) and trailing blanks; tabs stay, and
    no-break spaces become spaces."""
    raw = raw[:MAX_LINE_CHARACTERS]
    if b"\t" in raw:
        text = "\t".join(clean_text(piece, MAX_LINE_CHARACTERS) for piece in raw.split(b"\t"))
    else:
        text = clean_text(raw, MAX_LINE_CHARACTERS)
    if text.startswith(">"):
        quote = _QUOTE.match(text)
        text = text[quote.end():] if quote is not None else text
    if text.startswith("<") and (tags := _TAGS.match(text)) is not None:
        text = text[tags.end():]
    if "&" in text:
        for name, character in _ENTITIES:
            text = text.replace(name, character)
    return text.replace("\xa0", " ").rstrip()


def cut(text: str | bytes) -> tuple[list[tuple[Reader, Section]], bytes]:
    """A whole text at once: its sections, and what is left for the log's parser."""
    sections: list[tuple[Reader, Section]] = []
    log: list[bytes] = []
    cutter = Cutter(log.append, lambda reader, section: sections.append((reader, section)))
    cutter.feed(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    cutter.finish()
    return sections, b"".join(log)
