"""Lines that a terminal broke at its last column, in the midst of a word, as a copy of its window or of a serial
console has them:

    Nov 29 07:22:15 box kernel: [ 1234.567890] NVRM: Xid (PCI:0000:41:
    00): 79, pid=0, GPU has fallen off the bus.

A mailer breaks between words, which `assemble` mends line by line. Here the width is known: the longest lines all have
it, nearly each goes on below, and no line goes on below a shorter one. What is joined keeps its place, and empty lines
stand for those that were joined to it, so that a line number means the same in the file.
"""

from __future__ import annotations

import itertools
import re

_NARROWEST, _WIDEST = 30, 250
_MAILERS = range(60, 79)
"""Here mailers break, between words: more broken lines must be of one length."""
_SURE_OF_NO_MAILER = 3
_ENDS_THERE = 4
"""Of so many broken lines and more, one may end at the last column by chance."""
_BEFORE_IT = 3
"""Lines before the first of the log: a prompt with the command."""
_USUAL_WIDTHS = (80, 100, 120, 132, 160, 200, 240)
"""Of terminals. One broken line is enough at these; of another width there must be several."""
_TRIMMED = 2
"""Blanks at the end of a line that are lost when it is copied."""
_TRIMMED_COLUMN = 22
"""The same where the line below begins with more of them: a column of a table, as wide as that of the kernel's AER."""
_RECORD_BYTES = 1100
"""printk's records end at 1 KiB."""
_HEAD = re.compile(
    rb"(?:<\d{1,3}>)?(?:\[ {0,12}\d{1,10}\.\d|\[[A-Z][a-z]{2} [A-Z][a-z]{2} |[A-Z][a-z]{2} [ \d]\d \d\d:"
    rb"|\d{4}-\d\d-\d\d[T ]\d\d:|\d{1,4},\d{1,19},\d{1,18},)")
"""How a line of a kernel log begins."""


def width_of(first_lines: list[bytes]) -> int | None:
    """The column at which every long line of a log was broken, in bytes; None where no such column is sure."""
    lines = [line.rstrip(b"\r") for line in first_lines]
    start = next((at for at, line in enumerate(lines[:_BEFORE_IT + 1]) if _HEAD.match(line)), None)
    lines = lines[start:] if start is not None else []
    longest = max(map(len, lines), default=0)
    if not _NARROWEST <= longest <= _WIDEST:
        return None
    full = ends_there = 0
    for before, line in itertools.pairwise(lines):
        goes_on = bool(line) and _HEAD.match(line) is None
        if len(before) == longest:
            full += goes_on
            ends_there += not goes_on
        if goes_on and not _may_go_on(longest - len(before), line):
            return None
    least = _SURE_OF_NO_MAILER if longest in _MAILERS else 1 if longest in _USUAL_WIDTHS else 2
    return longest if full >= least and full >= ends_there * _ENDS_THERE else None


def _may_go_on(short: int, below: bytes) -> bool:
    """Whether a line that lacks so many columns may have been broken before what stands below it."""
    return 0 <= short <= (_TRIMMED_COLUMN if below.startswith(b" ") else _TRIMMED)


class Unwrap:
    """Joins what was broken at one column, from pieces of text that are cut anywhere."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._cut = b""
        """A line whose end has not come."""
        self._open: bytes | None = None
        self._joined = 0
        self._most = _RECORD_BYTES // width
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
        if (self._open is not None and line and _may_go_on(short, line) and self._joined < self._most
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
