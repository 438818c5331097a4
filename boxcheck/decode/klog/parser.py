"""From the bytes of a kernel log to its events.

Most lines of a log are of no interest, so none is looked at until one of a few dozen words (`anchors.ANCHORS`) was
found in it: the words are searched for in whole blocks, which costs a fraction of a nanosecond a byte and word. A family of
messages is imported, and its patterns compiled, when its first word is found. Memory is bounded: blocks of 256 KiB,
folded events.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from boxcheck.decode.text import clean_text

from .anchors import ANCHORS, BOOT, FAMILIES
from .bootfacts import BootFacts
from .envelope import Line, begins_message, read_line, wrapped
from .events import KernelLog
from .family import Family
from .ledger import Ledger
from .words import Rx, normal_bdf

MAX_LINES = 5_000_000
MAX_LINE_CHARACTERS = 4096
"""Of one line. printk's own records end at 1 KiB (LOG_LINE_MAX) and a command line at 2 KiB (COMMAND_LINE_SIZE)."""
_BLOCK_BYTES = 256 * 1024
_KEPT_BEFORE, _KEPT_AFTER = 3, 4
"""Lines kept on both sides of a cut between blocks, for lines that a mailer wrapped."""
_MAX_PENDING = 4 * _BLOCK_BYTES
_EDGE_LINES = 200
_HEADER_LINES = 20
_EDGE_BYTES = 64 * 1024

_NAMES = (*FAMILIES, BOOT)
_BITS = {name: 1 << index for index, name in enumerate(_NAMES)}
_MARKS = tuple(
    (word.encode(), sum(_BITS[name] for name, words in ANCHORS if word in words))
    for word in dict.fromkeys(word for _, words in ANCHORS for word in words)
)
_BOOT_BIT = _BITS[BOOT]
_BOOT_MARK = Rx(r"-- (?:Boot [0-9a-f]{32}|Reboot) --")
_KMSG_DEVICE = Rx(r"DEVICE=\+pci:([0-9a-fA-F:.]{10,16})\s*$")


class LogParser:
    """Reads a log that comes in pieces. `feed` them in order, then `finish` once."""

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._max_lines = max_lines
        self._ledger = Ledger()
        self._families: dict[int, Family] = {}
        self._boot_facts = BootFacts()
        self._buffer = b""
        self._start = 0
        """Where in the buffer the first unread line begins; before it are lines already read."""
        self._line = 1
        """Number of that line."""
        self._hot: dict[int, int] = {}
        """Family bit -> last line number that it asked for."""
        self._hot_until = 0
        self._boots = 0
        self._seen_any = False
        self._truncated = False
        self._stamped = False
        self._timed = False
        self._head: float | None = None
        self._head_lines = 0
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Take in the next piece, cut anywhere."""
        for at in range(0, len(data), _BLOCK_BYTES):
            if self._truncated:
                return
            piece = data[at:at + _BLOCK_BYTES]
            self._buffer += piece
            self._tail = (self._tail + piece)[-_EDGE_BYTES:] if len(piece) < _EDGE_BYTES else piece[-_EDGE_BYTES:]
            self._read(final=False)

    def finish(self) -> KernelLog:
        """Read what is left and return the log."""
        if not self._truncated:
            self._read(final=True)
        for family in self._families.values():
            family.finish(self._ledger)
        last = self._last_seconds()
        events = self._ledger.events()
        return KernelLog(
            events=events, facts=self._boot_facts.facts(), lines=self._line - 1, first_seconds=self._head,
            last_seconds=last, boots=max(self._boots, 1) if self._seen_any else 0, stamped=self._stamped,
            timed=self._timed, truncated=self._truncated or self._ledger.dropped > 0,
        )

    # Blocks and lines

    def _read(self, final: bool) -> None:
        """Read the whole lines of the buffer; the last few wait for what follows them unless this is the end."""
        buffer, start = self._buffer, self._start
        end = len(buffer)
        if not final:
            for _ in range(_KEPT_AFTER + 1):
                end = buffer.rfind(b"\n", start, max(end, 0))
                if end < 0:
                    # A line longer than any buffer is read in parts.
                    if len(buffer) - start <= _MAX_PENDING:
                        return
                    end = len(buffer) - 1
                    break
            end += 1
        if end <= start:
            return
        left = self._max_lines - self._line + 1
        unended = 1 if final and not buffer.endswith(b"\n") else 0
        if buffer.count(b"\n", start, end) + unended > left:
            self._truncated = True
            end = start
            for _ in range(left):
                end = buffer.index(b"\n", end) + 1
        if self._head_lines < _EDGE_LINES and self._head is None:
            self._look_at_head(buffer, start, end)
        if not self._seen_any:
            self._seen_any = bool(buffer[start:end].strip())
        # A message whose last piece a mailer put on a line after the cut is read with it.
        end = max(end, self._scan(buffer, start, end))
        self._line += buffer.count(b"\n", start, end)
        if end == len(buffer):
            self._line += unended
        keep = end
        for _ in range(_KEPT_BEFORE + 1):
            keep = buffer.rfind(b"\n", max(0, end - 2 * MAX_LINE_CHARACTERS), max(keep, 0))
            if keep < 0:
                break
        keep = keep + 1 if keep >= 0 else max(0, end - 2 * MAX_LINE_CHARACTERS)
        self._buffer = buffer[keep:]
        self._start = end - keep

    def _look_at_head(self, buffer: bytes, start: int, end: int) -> None:
        """Find the first time since boot, and whether this is a log at all."""
        at = start
        while at < end and self._head_lines < _EDGE_LINES and self._head is None:
            stop = buffer.find(b"\n", at, end)
            stop = end if stop < 0 else stop
            line = read_line(clean_text(buffer[at:min(stop, at + 400)], 400), 0)
            self._stamped = self._stamped or line.headed
            self._timed = self._timed or line.when is not None
            self._head = line.seconds
            self._head_lines += 1
            at = stop + 1

    def _last_seconds(self) -> float | None:
        for raw in reversed(self._tail.split(b"\n")[-_EDGE_LINES:]):
            line = read_line(clean_text(raw[:400], 400), 0)
            self._stamped = self._stamped or line.headed
            self._timed = self._timed or line.when is not None
            if line.seconds is not None:
                return line.seconds
        return None

    def _scan(self, buffer: bytes, start: int, end: int) -> int:
        """Read the lines of interest between `start` and `end`, and those that a family asked for, in order.

        Returns where it stopped, which is past `end` when the last message went on there.
        """
        marks: dict[int, int] = {}
        find = buffer.find
        for anchor, bit in _MARKS:
            at = find(anchor, start, end)
            while at >= 0:
                floor = max(start, at - MAX_LINE_CHARACTERS)
                head = buffer.rfind(b"\n", floor, at)
                head = floor if head < 0 else head + 1
                marks[head] = marks.get(head, 0) | bit
                tail = find(b"\n", at, at + MAX_LINE_CHARACTERS)
                at = find(anchor, tail if tail >= 0 else at + MAX_LINE_CHARACTERS, end)
        order = sorted(marks)
        index, position, number = 0, start, self._line
        while True:
            if self._hot_until >= number and position < end:
                here = position
            elif index < len(order):
                here = order[index]
                if here < position:
                    # The rest of a line that was joined to the one before.
                    index += 1
                    continue
            else:
                return position
            number += buffer.count(b"\n", position, here)
            mask = 0
            if self._hot_until >= number:
                for bit, last in self._hot.items():
                    if last >= number:
                        mask |= bit
            line, after = self._assemble(buffer, here, number)
            while index < len(order) and order[index] < after:
                mask |= marks[order[index]]
                index += 1
            self._dispatch(line, mask)
            number += buffer.count(b"\n", here, after)
            position = after

    def _assemble(self, buffer: bytes, here: int, number: int) -> tuple[Line, int]:
        """The message whose line begins at `here`, with the pieces that a mailer wrapped; and where the next begins."""
        text, after = _line_at(buffer, here)
        line = read_line(text, number)
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
            number_kept = line.number
            joined = f"{line.message} {following.strip(' >|')}"[:MAX_LINE_CHARACTERS]
            whole = Line(number_kept)
            whole.message, whole.seconds, whole.stamp = joined, line.seconds, line.stamp
            whole.level, whole.foreign, whole.headed = line.level, line.foreign, line.headed
            line, last, after = whole, following, next_after
        if line.level is not None and line.bdf is None and buffer[after:after + 1] == b" ":
            self._device_of_record(buffer, after, line)
        return line, after

    def _device_of_record(self, buffer: bytes, after: int, line: Line) -> None:
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

    def _dispatch(self, line: Line, mask: int) -> None:
        if line.foreign:
            return
        if mask & _BOOT_BIT:
            self._read_boot(line)
        for bit in _FAMILY_BITS:
            if not mask & bit:
                continue
            family = self._families.get(bit)
            if family is None:
                module, name = FAMILIES[_NAMES[bit.bit_length() - 1]]
                factory = getattr(import_module(f"{__package__}.{module}"), name)
                family = self._families[bit] = cast(Family, factory())
            more = family.read(line, self._ledger)
            if more:
                last = self._hot[bit] = max(self._hot.get(bit, 0), line.number + more)
                self._hot_until = max(self._hot_until, last)

    def _read_boot(self, line: Line) -> None:
        message = line.message
        if _BOOT_MARK.search(message) is not None:
            # `-- Boot` stands before every boot, also the first, `-- Reboot --` (older) between two.
            self._next_boot("Reboot" in message or self._boots > 0 or line.number > 2)
            return
        if "Linux version " in message and message.startswith("Linux version "):
            # The first boot's own beginning is no border, nor is the line after a journal's border.
            self._next_boot(self._boot_facts.facts().from_boot or self._before_boot(line))
        self._boot_facts.read(line, self._ledger)

    def _before_boot(self, line: Line) -> bool:
        """Whether lines of an earlier boot came before this "Linux version" line: time ran there already."""
        if self._boots > 0:
            return False
        if self._head is None or line.seconds is None:
            # Wall time only: a journal of one boot begins with this line, after a header at most.
            return line.number > _HEADER_LINES
        return self._head > line.seconds + 1.0

    def _next_boot(self, border: bool) -> None:
        """A boot begins; with `border`, one was read before it, and what it left open is closed."""
        if not border:
            self._boots = max(self._boots, 1)
            return
        for family in self._families.values():
            family.finish(self._ledger)
        self._hot.clear()
        self._hot_until = 0
        self._boots = max(self._boots, 1) + 1
        self._ledger.boot = self._boots - 1
        self._boot_facts = BootFacts()


_FAMILY_BITS = tuple(_BITS[name] for name in FAMILIES)


def _same_shape(buffer: bytes, one: int, two: int) -> bool:
    """Whether the line at `two` plainly wears the envelope of the one at `one`. Cheap; False decides nothing."""
    if buffer[one] == 0x5B:
        return buffer[two] == 0x5B and buffer[two + 1:two + 2].strip(b" 0123456789") == b""
    return buffer[one:one + 3] == buffer[two:two + 3]


def _line_at(buffer: bytes, at: int) -> tuple[str, int]:
    """The clean text of the line at `at`, without its end, and where the next line begins."""
    end = buffer.find(b"\n", at, at + MAX_LINE_CHARACTERS)
    if end < 0:
        end = min(len(buffer), at + MAX_LINE_CHARACTERS)
        return clean_text(buffer[at:end].rstrip(b"\r"), MAX_LINE_CHARACTERS), end
    return clean_text(buffer[at:end].rstrip(b"\r"), MAX_LINE_CHARACTERS), end + 1


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


def parse_log(text: str | bytes, *, max_lines: int = MAX_LINES) -> KernelLog:
    """Read a kernel log, or an excerpt of one in any envelope, into events and facts.

    `max_lines` bounds what is read, from the top; `truncated` says when there was more. Never raises on any content.
    """
    if isinstance(text, str):
        data = text.encode("utf-8", "replace")
    elif text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = text.decode("utf-16", "replace").encode("utf-8", "replace")
    else:
        data = text
    parser = LogParser(max_lines)
    parser.feed(data)
    return parser.finish()
