"""From a place in the text to the message that begins there: the line, what a mailer wrapped off it, its device.

A log of millions of events has few different ones: what stands behind the time stamp comes again and again. So the
commonest envelopes are taken off the bytes by one pattern each, and what a message is made of is remembered by its
bytes. Every other line takes the way of `envelope.read_line`, and so does the first of its sort: the short way gives
what the long way gave, or is not taken.
"""

from __future__ import annotations

import functools
import re

from .envelope import Line, Split, begins_message, clean_line, read_line, wrapped
from .words import Rx, normal_bdf

MAX_LINE_CHARACTERS = 4096
"""Of one line. printk's own records end at 1 KiB (LOG_LINE_MAX) and a command line at 2 KiB (COMMAND_LINE_SIZE)."""
MAX_RECORD_CHARACTERS = 64 * 1024
"""Of one record of a journal as JSON: the message is one of twenty fields, and a program's may be long."""
_MAX_REMEMBERED = 4096
_MAX_REMEMBERED_BYTES = 512
"""Of one body. Few messages are longer, and 4096 of them stay below 10 MB."""

_KMSG_DEVICE = Rx(r"DEVICE=\+pci:([0-9a-fA-F:.]{10,16})\s*$")


@functools.cache
def _heads() -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Printk's prefix, alone or behind a syslog or journal head; and that of /dev/kmsg. Groups: level, wall, time."""
    return (
        re.compile(
            rb"(?:<(\d{1,3})>)?"
            rb"(?:([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?[+-]\d\d:?\d\d)"
            rb" [\w.-]{1,64} kernel: )?"
            rb"(?:\[ {0,12}(\d{1,10}\.\d{1,9})\](?:\[ {0,12}[TC]\d{1,9}\])? )?"
        ),
        re.compile(rb"(\d{1,4}),()\d{1,19},(\d{1,18}),[-+c][^;\n]{0,80};"),
    )


@functools.cache
def _plain() -> re.Pattern[bytes]:
    """Beginnings of messages that no further envelope has."""
    return re.compile(
        rb"[a-z][\w-]{1,24} [0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]: |NVRM: [A-Z]|DMAR: ?\[[A-Z]{3}"
        rb"|nvme nvme\d{1,3}: I/O|EDAC MC\d{1,3}: \d|mce: \[Hardware|AMD-Vi: [A-Z]")


_BARE_COLOUR = re.compile(rb"\[\d{1,3}(?:;\d{1,3}){0,8}[mK]")
"""A colour whose escape was lost on the way."""
_MORE_TO_PEEL = (b"kernel", b"^[[", b"#033[")
"""What may be of a second envelope, or a colour that somebody spelled out."""


class Assembler:
    """Reads messages out of a block of text."""

    def __init__(self) -> None:
        self._known: tuple[dict[bytes, tuple[str, Split]], ...] = tuple({} for _ in range(9))
        """By the shape of the envelope: body -> what it says."""
        self._remembered = 0

    def read(self, buffer: bytes, here: int, number: int) -> tuple[Line, int]:
        """The message whose line begins at `here`, and where the next line begins."""
        return self._quick(buffer, here, number) or assemble(buffer, here, number)

    def _quick(self, buffer: bytes, here: int, number: int) -> tuple[Line, int] | None:
        """The short way; None for a line that has to take the long one."""
        stop = buffer.find(b"\n", here, here + MAX_LINE_CHARACTERS)
        if stop < 0:
            return None
        printk, kmsg = _heads()
        head = printk.match(buffer, here, stop)
        level: int | None = None
        seconds: float | None = None
        stamp: str | None = None
        if head is not None and head.end() > here:
            level_text, stamp_text, seconds_text = head.groups()
            shape = 0
            if level_text is not None:
                level = int(level_text) & 7
                shape = 1
            if stamp_text is not None:
                stamp = stamp_text.decode()
                shape |= 2
            if seconds_text is not None:
                seconds = float(seconds_text)
                shape |= 4
        else:
            head = kmsg.match(buffer, here, stop)
            if head is None:
                return None
            level, seconds, shape = int(head[1]) & 7, int(head[3]) / 1e6, 8
        body = buffer[head.end():stop]
        after = stop + 1
        known = self._known[shape]
        parts = known.get(body)
        if parts is None:
            if len(body) > _MAX_REMEMBERED_BYTES or (body[:1] in b"[<" and body[1:2] in b" TC0123456789"):
                return None
            if ((shape == 4 or _plain().match(body) is not None) and not any(word in body for word in _MORE_TO_PEEL)
                    and not (b"[" in body and _BARE_COLOUR.search(body))):
                line = Line(number, clean_line(body, MAX_LINE_CHARACTERS).strip())
            else:
                line = read_line(clean_line(buffer[here:stop].rstrip(b"\r"), MAX_LINE_CHARACTERS), number)
                if line.foreign or (line.level, line.seconds, line.stamp) != (level, seconds, stamp):
                    return None
            parts = (line.message, line.split())
            if self._remembered >= _MAX_REMEMBERED:
                self._remembered = 0
                for table in self._known:
                    table.clear()
            self._remembered += 1
            known[body] = parts
        following = buffer[after:after + 3]
        if following and following != buffer[here:here + 3] and not _same_shape(buffer, here, after):
            next_head = (kmsg if shape == 8 else printk).match(buffer, after)
            if next_head is None or next_head.end() == after:
                return None
        return Line(number, parts[0], seconds, stamp, level, True, parts[1]), after


def assemble(buffer: bytes, here: int, number: int) -> tuple[Line, int]:
    """The message whose line begins at `here`, with the pieces that a mailer wrapped; and where the next begins."""
    text, after = _line_at(buffer, here)
    line = read_line(text, number)
    if not line.headed and len(text) > MAX_LINE_CHARACTERS:
        # A record that was cut, or text that looks like one. The kernel's are short.
        line.message = line.message[:MAX_LINE_CHARACTERS]
        line.foreign = True
        return line, after
    first_number = number
    if not line.headed and text:
        # The beginning may be on the lines before, which had no word of interest.
        pieces, at = [text], here
        for _ in range(2):
            before_at = _line_before(buffer, at)
            if before_at is None:
                break
            before, _ = _line_at(buffer, before_at)
            if not wrapped(before, pieces[0]) or begins_message(pieces[0], _headed(before)):
                break
            pieces.insert(0, before)
            first_number -= 1
            at = before_at
            if _headed(before):
                break
        if len(pieces) > 1:
            joined = " ".join(piece.strip() for piece in pieces)
            line = read_line(joined[:MAX_LINE_CHARACTERS], max(first_number, 1))
    last = text
    for _ in range(3):
        if after >= len(buffer) or (line.headed and _same_shape(buffer, here, after)):
            break
        following, next_after = _line_at(buffer, after)
        if not following or not wrapped(last, following) or begins_message(following, line.headed):
            break
        joined = f"{line.message} {following.strip(' >|')}"[:MAX_LINE_CHARACTERS]
        whole = Line(line.number, joined, line.seconds, line.stamp, line.level, line.headed)
        whole.foreign = line.foreign
        line, last, after = whole, following, next_after
    if line.level is not None and line.bdf is None and buffer[after:after + 1] == b" ":
        _device_of_record(buffer, after, line)
    return line, after


def _device_of_record(buffer: bytes, after: int, line: Line) -> None:
    """A /dev/kmsg record names its device on the lines ` SUBSYSTEM=` and ` DEVICE=` after the message."""
    for _ in range(3):
        text, following = _line_at(buffer, after)
        if not text.startswith(" "):
            return
        found = _KMSG_DEVICE.search(text)
        bdf = normal_bdf(found[1]) if found is not None else None
        if bdf is not None:
            line.assume_device(bdf)
            return
        after = following


def _same_shape(buffer: bytes, one: int, two: int) -> bool:
    """Whether the line at `two` plainly wears the envelope of the one at `one`. Cheap; False decides nothing."""
    if buffer[one] == 0x5B:
        return buffer[two] == 0x5B and buffer[two + 1:two + 2].strip(b" 0123456789") == b""
    return buffer[one:one + 3] == buffer[two:two + 3]


def _line_at(buffer: bytes, at: int) -> tuple[str, int]:
    """The clean text of the line at `at`, without its end, and where the next line begins."""
    limit = MAX_RECORD_CHARACTERS if buffer.startswith(b'{"', at) else MAX_LINE_CHARACTERS
    end = buffer.find(b"\n", at, at + limit)
    if end < 0:
        end = min(len(buffer), at + limit)
        return clean_line(buffer[at:end].rstrip(b"\r"), limit), end
    return clean_line(buffer[at:end].rstrip(b"\r"), limit), end + 1


def head_of_long_line(buffer: bytes, floor: int, at: int) -> int | None:
    """Where to read on in a line that has no end within reach of the word at `at`: a record of a journal from its
    beginning, other text from `floor`. None where a program of user space wrote the line."""
    before = buffer.rfind(b"\n", max(0, at - MAX_RECORD_CHARACTERS), at)
    if before < 0 and at > MAX_RECORD_CHARACTERS:
        return floor
    if buffer.startswith(b'{"', before + 1):
        return before + 1
    line = read_line(clean_line(buffer[before + 1:before + 200], 200), 0)
    return None if line.foreign else floor


def _line_before(buffer: bytes, at: int) -> int | None:
    """Where the line before the one at `at` begins, None at the top of the buffer or after an overlong one."""
    if at <= 0 or buffer[at - 1:at] != b"\n":
        return None
    head = buffer.rfind(b"\n", max(0, at - MAX_LINE_CHARACTERS), at - 1)
    if head < 0 and at > MAX_LINE_CHARACTERS:
        return None
    return head + 1


def _headed(text: str) -> bool:
    return read_line(text, 0).headed
