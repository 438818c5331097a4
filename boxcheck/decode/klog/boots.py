"""Where one boot of a log ends and the next begins.

    [    0.000000] Linux version 6.8.0 ...          the first line of a kernel
    -- Boot 0123... --    -- Reboot --              journalctl, newer and older
    "_BOOT_ID":"0123..."                            each record of a journal's export
    Panic#2 Part1                                   pstore: of one crash the parts come last one first
"""

from __future__ import annotations

from .envelope import Line
from .words import Rx

_BOOT_MARK = Rx(r"-- (?:Boot [0-9a-f]{32}|Reboot) --")
_PART = Rx(r"^(?:Panic|Oops|Emergency|Shutdown|Restart|Halt|Poweroff|Unknown)#(\d{1,6}) Part(\d{1,6})\b")
PART_WORD = b" Part"
_HEADER_LINES = 20


class Boots:
    """Counts boots. Its questions are answered by whether a boot begins: None for no, else whether one was before."""

    def __init__(self) -> None:
        self.count = 0
        """Boots that are known of; 0 while none has shown its beginning."""
        self._id: str | None = None
        self._part: tuple[int, int] | None = None
        """Crash number and part of the pstore record that is being read."""

    def begin(self, border: bool) -> None:
        """A boot begins; with `border` after another one."""
        self.count = max(self.count, 1) + border

    def journal_mark(self, line: Line) -> bool | None:
        """What journalctl puts between boots; `-- Boot` stands before the first, too, `-- Reboot --` does not."""
        if _BOOT_MARK.search(line.message) is None:
            return None
        return "Reboot" in line.message or self.count > 0 or line.number > 2

    def first_line(self, line: Line, head: float | None, again: bool) -> bool | None:
        """A kernel's first line. `head` is the text's first time since boot; `again`: this boot had such a line."""
        if line.boot_id is not None or not line.message.startswith("Linux version "):
            return None
        # The first boot's own beginning is no border, nor is the line after a journal's border.
        return self._part is None and (again or self._ran_before(line, head))

    def record(self, boot_id: str) -> bool | None:
        """A record of a journal names its boot."""
        if boot_id == self._id:
            return None
        border = self._id is not None
        self._id = boot_id
        return border

    def part(self, line: Line) -> bool | None:
        """A part of a crash's record begins; a crash of its own boot starts anew."""
        found = _PART.search(line.message)
        if found is None:
            return None
        crash, part = int(found[1]), int(found[2])
        before, self._part = self._part, (crash, part)
        return True if before is not None and crash <= before[0] and part <= before[1] else None

    def _ran_before(self, line: Line, head: float | None) -> bool:
        """Whether lines of an earlier boot came before this "Linux version" line: time ran there already."""
        if self.count > 0:
            return False
        if head is None or line.seconds is None:
            # Wall time only: a journal of one boot begins with this line, after a header at most.
            return line.number > _HEADER_LINES
        return head > line.seconds + 1.0
