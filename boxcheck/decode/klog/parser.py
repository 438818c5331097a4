"""From the bytes of a kernel log to its events.

Most lines of a log are of no interest, so none is looked at until one of a hundred words (`anchors.ANCHORS`) was found
in it: the words are searched for in whole blocks (`marks`). A family of messages is imported, and its patterns
compiled, when its first word is found. Memory is bounded: blocks of 256 KiB, folded events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, cast

from . import notes
from .asides import Residue
from .assemble import MAX_LINE_CHARACTERS, Assembler
from .bootfacts import BootFacts
from .boots import Boots
from .envelope import Line, clean_line, read_line
from .events import Event, KernelLog
from .family import Family
from .intake import Intake
from .ledger import Ledger
from .marks import (
    ARRAY_BIT,
    BOOT_BIT,
    FAMILY_BITS,
    FAMILY_OF_BIT,
    NOTE_BIT,
    OWN_BITS,
    PART_BIT,
    REPEAT_BIT,
    RESIDUE_BIT,
    Marks,
)
from .sentence import Sentences

if TYPE_CHECKING:
    from .residue import ResidueLines

MAX_LINES = 5_000_000
_BLOCK_BYTES = 256 * 1024
_KEPT_BEFORE, _KEPT_AFTER = 3, 4
"""Lines kept on both sides of a cut between blocks, for lines that a mailer wrapped."""
_MAX_PENDING = 4 * _BLOCK_BYTES
_EDGE_LINES = 200
_EDGE_BYTES = 64 * 1024

class LogParser:
    """Reads a log that comes in pieces. `feed` them in order, then `finish` once.

    `max_lines` bounds what is read, from the top; None reads all. `residue` asks for the lines that no family knows.
    `since` leaves out what was last seen before it: seconds since the last boot, or a wall time. `also` are words that
    are looked for on the way: `on_word` is called with the offset in the text (as UTF-8) and the index of each found,
    in order; of a word that stands several times on one line at least with the first. They must not hold a line end.
    """

    def __init__(
        self, max_lines: int | None = MAX_LINES, *, residue: bool = False, since: float | datetime | None = None,
        also: Sequence[bytes] = (), on_word: Callable[[int, int], None] | None = None,
    ) -> None:
        self._max_lines = max_lines
        self._since = since
        self._on_word = on_word
        self._residue: ResidueLines | None = None
        residue_words: Sequence[bytes] = ()
        if residue:
            from .residue import WORDS, ResidueLines

            self._residue, residue_words = ResidueLines(), WORDS
        self._marks = Marks(residue_words, also)
        self._intake = Intake()
        self._assembler = Assembler()
        self._ledger = Ledger()
        self._families: dict[int, Family] = {}
        self._sentences = Sentences(self._marks.first_word)
        self._readers: dict[int, tuple[tuple[int, Family], ...]] = {}
        """The families of a mask of bits."""
        self._boot_facts = BootFacts()
        self._notes = notes.Notes()
        self._buffer = b""
        self._start = 0
        """Where in the buffer the first unread line begins; before it are lines already read."""
        self._base = 0
        """Where in the text the buffer begins."""
        self._line = 1
        """Number of that line."""
        self._hot: dict[int, int] = {}
        """Family bit -> last line number that it asked for."""
        self._hot_until = 0
        self._hot_mask = 0
        """All families that asked lately."""
        self._previous: tuple[Line, int] | None = None
        """The line that was looked at last, and what for."""
        self._boots = Boots()
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
            self._take(self._intake.feed(data[at:at + _BLOCK_BYTES]))

    def _take(self, piece: bytes) -> None:
        if not piece:
            return
        self._buffer += piece
        self._tail = (self._tail + piece)[-_EDGE_BYTES:] if len(piece) < _EDGE_BYTES else piece[-_EDGE_BYTES:]
        self._read(final=False)

    def finish(self) -> KernelLog:
        """Read what is left and return the log."""
        if not self._truncated:
            self._take(self._intake.finish())
        if not self._truncated:
            self._read(final=True)
        for family in self._families.values():
            family.finish(self._ledger)
        last = self._last_seconds()
        events, left, early, unknown = self._since_then()
        rest = self._residue
        return KernelLog(
            events=events, facts=self._boot_facts.facts(), lines=self._line - 1, first_seconds=self._head,
            last_seconds=last, boots=max(self._boots.count, 1) if self._seen_any else 0, stamped=self._stamped,
            timed=self._timed, truncated=self._truncated or self._ledger.dropped > 0,
            suppressed=self._notes.suppressed(), residue=left, residue_dropped=rest.dropped if rest is not None else 0,
            dump_lines=rest.dump_lines if rest is not None else 0, before_since=early, since_unknown=unknown,
        )

    def _since_then(self) -> tuple[tuple[Event, ...], tuple[Residue, ...], int, int]:
        """Events and residue from the moment asked for on; how many were before it, and of how many nothing tells."""
        folds = self._ledger.folds()
        left = self._residue.entries() if self._residue is not None else []
        since, last_boot = self._since, self._ledger.boot
        if since is None:
            return tuple(fold.event() for fold in folds), tuple(entry for entry, _ in left), 0, 0
        from .since import before

        early = unknown = 0
        events: list[Event] = []
        entries: list[Residue] = []
        for fold in folds:
            was = before(since, fold.last, fold.wall, fold.boot, last_boot)
            early, unknown = early + (was is True), unknown + (was is None)
            if not was:
                events.append(fold.event())
        for entry, wall in left:
            was = before(since, entry.last, wall, entry.boot, last_boot)
            early, unknown = early + (was is True), unknown + (was is None)
            if not was:
                entries.append(entry)
        return tuple(events), tuple(entries), early, unknown

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
        unended = 1 if final and not buffer.endswith(b"\n") else 0
        if self._max_lines is not None:
            left = self._max_lines - self._line + 1
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
        self._base += keep
        self._start = end - keep

    def _look_at_head(self, buffer: bytes, start: int, end: int) -> None:
        """Find the first time since boot, and whether this is a log at all."""
        at = start
        while at < end and self._head_lines < _EDGE_LINES and self._head is None:
            stop = buffer.find(b"\n", at, end)
            stop = end if stop < 0 else stop
            line = read_line(clean_line(buffer[at:min(stop, at + 400)], 400), 0)
            self._stamped = self._stamped or line.headed
            self._timed = self._timed or line.when is not None
            self._head = line.seconds
            self._head_lines += 1
            at = stop + 1

    def _last_seconds(self) -> float | None:
        for raw in reversed(self._tail.split(b"\n")[-_EDGE_LINES:]):
            line = read_line(clean_line(raw[:400], 400), 0)
            self._stamped = self._stamped or line.headed
            self._timed = self._timed or line.when is not None
            if line.seconds is not None:
                return line.seconds
        return None

    def _scan(self, buffer: bytes, start: int, end: int) -> int:
        """Read the lines of interest between `start` and `end`, and those that a family asked for, in order.

        Returns where it stopped, which is past `end` when the last message went on there.
        """
        heads, masks, also = self._marks.lines(buffer, start, self._base)
        count, find = buffer.count, buffer.find
        read = self._assembler.read
        index, position, number = 0, start, self._line
        marked = len(heads)
        while True:
            while index < marked and heads[index] < position:
                # The rest of a line that was joined to the one before.
                index += 1
            here = heads[index] if index < marked else end
            mask = 0
            if self._hot_until >= number and position < end:
                if here != position:
                    # Asked for, and without a word of its own.
                    mask = self._still_hot(buffer, position, number)
                    if not mask:
                        stop = find(b"\n", position, end)
                        if stop >= 0:
                            position, number = stop + 1, number + 1
                            continue
                    here = position
                else:
                    # Most often the family that asked is the one that the line's own word calls.
                    mask = 0 if self._hot_mask & ~masks[index] == 0 else self._still_hot(b"", 0, number)
            elif here >= end:
                break
            else:
                self._hot_mask = 0
            if here != position:
                number += count(b"\n", position, here)
            line, after = read(buffer, here, number)
            while index < marked and heads[index] < after:
                mask |= masks[index]
                index += 1
            self._dispatch(line, mask)
            number += 1 if after - here < 80 else count(b"\n", here, after)
            position = after
        stop = max(position, end)
        if self._on_word is not None:
            for at, word in also:
                if at < stop:
                    self._on_word(self._base + at, word)
        return position

    def _still_hot(self, buffer: bytes, here: int, number: int) -> int:
        """The families that asked for this line; with a buffer, those to which its bytes may be of interest."""
        mask = 0
        for bit, last in self._hot.items():
            if last < number:
                continue
            follow: re.Pattern[bytes] | None = getattr(self._families.get(bit), "follow", None)
            if buffer and follow is not None:
                stop = buffer.find(b"\n", here, here + MAX_LINE_CHARACTERS)
                if stop >= 0 and follow.search(buffer, here, stop) is None:
                    continue
            mask |= bit
        return mask

    # One line

    def _dispatch(self, line: Line, mask: int) -> None:
        if line.boot_id is not None:
            border = self._boots.record(line.boot_id)
            if border is not None:
                self._next_boot(border)
        if mask & OWN_BITS:
            line, mask = self._read_own(line, mask)
        self._previous = (line, mask)
        if line.foreign:
            return
        ledger = self._ledger
        if mask & BOOT_BIT:
            self._read_boot(line)
        if not line.headed and mask & FAMILY_BITS and self._sentences.quotes(line):
            self._sentences.read(line, _classes(mask), ledger)
            return
        readers = self._readers.get(mask)
        if readers is None:
            readers = self._readers[mask] = self._families_of(mask)
        for bit, family in readers:
            more = family.read(line, ledger)
            if more:
                self._hot_mask |= bit
                last = self._hot[bit] = max(self._hot.get(bit, 0), line.number + more)
                if last > self._hot_until:
                    self._hot_until = last
        rest = self._residue
        if rest is not None:
            if ledger.taken == line.number:
                rest.head(line.number)
            elif mask & RESIDUE_BIT:
                rest.read(line, self._ledger.boot, self._stamped)

    def _families_of(self, mask: int) -> tuple[tuple[int, Family], ...]:
        found: list[tuple[int, Family]] = []
        for bit, (module, name) in FAMILY_OF_BIT.items():
            if not mask & bit:
                continue
            family = self._families.get(bit)
            if family is None:
                family = self._families[bit] = _class(module, name)()
            found.append((bit, family))
        return tuple(found)

    def _read_own(self, line: Line, mask: int) -> tuple[Line, int]:
        """What the log says of itself. Returns the line that is to be read on, and for what."""
        if mask & ARRAY_BIT and line.boot_id is None and not line.headed:
            mask &= ~ARRAY_BIT
        elif mask & ARRAY_BIT:
            # Its words were hidden in numbers.
            mask |= self._marks.mask_of(line.message.encode())
        if mask & NOTE_BIT and self._notes.read(line, self._ledger.boot):
            mask &= ~RESIDUE_BIT
        if mask & PART_BIT:
            border = self._boots.part(line)
            if border is not None:
                self._next_boot(border)
        again = notes.repeated(line.message) if mask & REPEAT_BIT else None
        if again is not None:
            line, mask = self._repeat(line, mask, *again)
        return line, mask

    def _repeat(self, line: Line, mask: int, times: int, text: str | None) -> tuple[Line, int]:
        """Read the message of a line that stands for several, so often; nothing is left to be read of it then."""
        previous = self._previous
        if text is not None:
            inner = read_line(text, line.number)
            seconds = inner.seconds if line.seconds is None else line.seconds
            message = Line(line.number, inner.message, seconds, line.stamp, line.level, True)
            message.foreign = line.foreign or inner.foreign
        elif previous is not None and previous[0].number == line.number - 1:
            before_it, mask = previous
            message = Line(line.number, before_it.message, line.seconds, line.stamp, before_it.level, True)
            message.foreign = before_it.foreign
        else:
            return line, 0
        self._ledger.times = times
        self._dispatch(message, mask & ~OWN_BITS)
        self._ledger.times = 0
        return message, 0

    # Boots

    def _read_boot(self, line: Line) -> None:
        border = self._boots.journal_mark(line)
        if border is not None:
            self._next_boot(border)
            return
        if "Linux version " in line.message:
            border = self._boots.first_line(line, self._head, self._boot_facts.facts().from_boot)
            if border is not None:
                self._next_boot(border)
        self._boot_facts.read(line, self._ledger)

    def _next_boot(self, border: bool) -> None:
        """A boot begins; with `border`, one was read before it, and what it left open is closed."""
        self._boots.begin(border)
        if not border:
            return
        for family in self._families.values():
            family.finish(self._ledger)
        self._hot.clear()
        self._hot_until = 0
        self._ledger.boot = self._boots.count - 1
        self._ledger.limits_log = False
        self._boot_facts = BootFacts()


def _class(module: str, name: str) -> type[Family]:
    return cast("type[Family]", getattr(import_module(f"{__package__}.{module}"), name))


def _classes(mask: int) -> list[type[Family]]:
    return [_class(*place) for bit, place in FAMILY_OF_BIT.items() if mask & bit]


def parse_log(text: str | bytes, *, max_lines: int | None = MAX_LINES) -> KernelLog:
    """Read a kernel log, or an excerpt of one in any envelope, into events and facts.

    `max_lines` bounds what is read, from the top; `truncated` says when there was more. Never raises on any content.
    """
    parser = LogParser(max_lines)
    parser.feed(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    return parser.finish()
