"""Lines that a terminal broke at its last column, in the midst of a word, as a copy of its window or of a serial
console has them:

    Nov 29 07:22:15 box kernel: [ 1234.567890] NVRM: Xid (PCI:0000:41:
    00): 79, pid=0, GPU has fallen off the bus.

A mailer breaks between words, which `assemble` mends line by line. Here the width is known: the longest lines all have
it, each goes on below, and no line goes on below a shorter one. What is joined keeps its place, and empty lines stand
for those that were joined to it, so that a line number means the same in the file.
"""

from __future__ import annotations

import itertools
import re

_NARROWEST, _WIDEST = 79, 250
"""Mailers break below 79, and between words."""
_USUAL_WIDTHS = (80, 100, 120, 132, 160, 200, 240)
"""Of terminals. One broken line is enough at these; of another width there must be several."""
_TRIMMED = 2
"""Blanks at the end of a line that are lost when it is copied."""
_MOST_LINES = 12
"""That make one message: printk's records end at 1 KiB."""
_HEAD = re.compile(
    rb"(?:<\d{1,3}>)?(?:\[ {0,12}\d{1,10}\.\d|\[[A-Z][a-z]{2} [A-Z][a-z]{2} |[A-Z][a-z]{2} [ \d]\d \d\d:"
    rb"|\d{4}-\d\d-\d\d[T ]\d\d:|\d{1,4},\d{1,19},\d{1,18},)")
"""How a line of a kernel log begins."""


def width_of(first_lines: list[bytes]) -> int | None:
    """The column at which every long line of a log was broken, in bytes; None where no such column is sure."""
    lines = [line.rstrip(b"\r") for line in first_lines]
    longest = max(map(len, lines), default=0)
    if not _NARROWEST <= longest <= _WIDEST or _HEAD.match(lines[0]) is None:
        return None
    full = 0
    for before, line in itertools.pairwise(lines):
        goes_on = bool(line) and _HEAD.match(line) is None
        if len(before) == longest:
            full += 1
            if not goes_on:
                return None
        if goes_on and len(before) < longest - _TRIMMED:
            return None
    return longest if full > 1 or (full and longest in _USUAL_WIDTHS) else None


class Unwrap:
    """Joins what was broken at one column, from pieces of text that are cut anywhere."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._cut = b""
        """A line whose end has not come."""
        self._open: bytes | None = None
        self._joined = 0
        self._last = 0
        """Length of the last line that went into the open one."""

    def feed(self, data: bytes) -> bytes:
        """What is complete after this piece."""
        *lines, self._cut = (self._cut + data).split(b"\n")
        return b"".join(map(self._line, lines))

    def finish(self) -> bytes:
        """What is still open."""
        last = self._line(self._cut) if self._cut else b""
        self._cut = b""
        return last + self._close()

    def _line(self, line: bytes) -> bytes:
        line = line.rstrip(b"\r")
        short = self._width - self._last
        if (self._open is not None and 0 <= short <= _TRIMMED and line and self._joined < _MOST_LINES
                and _HEAD.match(line) is None):
            self._open += (b" " if short else b"") + line
            self._joined += 1
            self._last = len(line)
            return b""
        done = self._close()
        self._open, self._last = line, len(line)
        return done

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        done = self._open + b"\n" * (1 + self._joined)
        self._open, self._joined = None, 0
        return done
