"""From the bytes of a file to lines of UTF-8: marks and encodings of other systems, line ends, a journal's records.

    FF FE, FE FF         UTF-16, as Windows' PowerShell saves it          read as text
    EF BB BF             UTF-8 with a mark                                mark taken off
    CR without any LF    line ends of a serial console's capture          read as line ends
    lines broken at a terminal's last column         joined (`unwrap.Unwrap`)
    journalctl -o export, -o verbose, -o json-pretty                      each record made one line (`journal.Records`)

Whatever is done here keeps the number of lines, so that a line number means the same in the file.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from .unwrap import Unwrap, width_of

if TYPE_CHECKING:
    from .journal import Records

_UNDECIDED_BYTES = 64 * 1024
"""So much is looked at before a text without any LF counts as one whose lines end in CR."""
_DECIDING_LINES = 40
"""So many lines tell whether a text is a journal's export, and whether its lines were broken at one column."""


class Intake:
    """Takes a file in pieces, cut anywhere, and gives back what the parser reads."""

    def __init__(self) -> None:
        self._held = b""
        """Bytes that came before it was decided what the file is."""
        self._decided = False
        self._utf16: codecs.IncrementalDecoder | None = None
        self._marked = False
        self._cr = False
        self._unwrap: Unwrap | None = None
        self._records: Records | None = None

    def feed(self, data: bytes) -> bytes:
        """What can be read after this piece; empty while it is not decided what the file is."""
        if self._decided:
            return self._convert(data)
        if not self._marked:
            self._held += data
            if len(self._held) < 3:
                return b""
            self._take_mark(final=False)
            data, self._held = self._held, b""
        self._held += self._utf8(data)
        if self._decide(final=False):
            held, self._held = self._held, b""
            return self._as_lines(held)
        return b""

    def finish(self) -> bytes:
        """What was held back, or is still open."""
        last = b""
        if not self._decided:
            if not self._marked:
                self._take_mark(final=True)
                self._held = self._utf8(self._held)
            self._decide(final=True)
            last, self._held = self._as_lines(self._held), b""
        if self._utf16 is not None:
            last += self._as_lines(self._utf16.decode(b"", True).encode("utf-8", "replace"))
        if self._unwrap is not None:
            last += self._unwrap.finish()
        return last + self._records.finish() if self._records is not None else last

    def _take_mark(self, final: bool) -> None:
        self._marked = True
        head = self._held[:3]
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            self._utf16 = codecs.getincrementaldecoder("utf-16")("replace")
        elif head == b"\xef\xbb\xbf":
            self._held = self._held[3:]

    def _decide(self, final: bool) -> bool:
        held = self._held
        lines = held.count(b"\n")
        if not lines and b"\r" in held and (final or len(held) >= _UNDECIDED_BYTES):
            self._cr = True
        elif lines < _DECIDING_LINES and len(held) < _UNDECIDED_BYTES and not final:
            return False
        self._decided = True
        first = held.lstrip()[:2]
        if first[:1].isupper() or first[:1] in (b"_", b"{", b'"', b"\t"):
            from .journal import Records, looks_like_records

            if looks_like_records(held if not self._cr else held.replace(b"\r", b"\n")):
                self._records = Records()
        if self._records is None:
            # Of the same lines, in whatever pieces they come.
            first_lines = (held if not self._cr else held.replace(b"\r", b"\n")).split(b"\n", _DECIDING_LINES)
            width = width_of(first_lines[:_DECIDING_LINES])
            self._unwrap = Unwrap(width) if width is not None else None
        return True

    def _utf8(self, data: bytes) -> bytes:
        return data if self._utf16 is None else self._utf16.decode(data).encode("utf-8", "replace")

    def _convert(self, data: bytes) -> bytes:
        if self._utf16 is None and not self._cr and self._records is None and self._unwrap is None:
            return data
        return self._as_lines(self._utf8(data))

    def _as_lines(self, data: bytes) -> bytes:
        if self._cr:
            data = data.replace(b"\r", b"\n")
        if self._unwrap is not None:
            return self._unwrap.feed(data)
        return data if self._records is None else self._records.feed(data)
