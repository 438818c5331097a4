"""What a log says of itself: messages left out, by whom and how many, and lines that stand for several.

    aer_ratelimit: 8156 callbacks suppressed                          lib/ratelimit.c
    printk: systemd: 24 output lines suppressed due to ratelimiting   kernel/printk/printk.c (devkmsg)
    ** 12 printk messages dropped **                                  kernel/printk/printk.c (console)
    printk: 45 messages suppressed.                                   before 2.6.32
    Suppressed 123 messages from kernel.service                       journald-rate-limit.c
    Missed 12 kernel messages                                         journald-kmsg.c
    imjournal: 45 messages lost due to rate-limiting                  rsyslog
    message repeated 3 times: [ msg ]    last message repeated 3 times         rsyslog, syslogd
"""

from __future__ import annotations

from .asides import Suppressed
from .envelope import Line
from .words import Rx

WORDS = (b"uppress", b"messages dropped", b"Missed ", b"lost due to rate")
REPEAT_WORD = b"message repeated "

_COUNTED = (
    Rx(r"([\w.]{1,64}): (\d{1,12}) callbacks suppressed"),
    Rx(r"(?:printk: )?([\w.-]{1,64}): (\d{1,12}) (?:output lines|messages) suppressed"),
    Rx(r"\*\* (?P<n>\d{1,12}) (?P<who>printk) messages dropped"),
    Rx(r"^Suppressed (?P<n>\d{1,12}) messages from (?P<who>\S{1,120})"),
    Rx(r"^Missed (?P<n>\d{1,12}) (?P<who>kernel) messages"),
    Rx(r"(?:^|[: ])(?P<who>\w{1,32}): (?:begin to drop messages|(?P<n>\d{1,12}) messages lost) due to rate"),
)
_REPEATED = Rx(r"(?:^|: )message repeated (\d{1,9}) times: \[ ?(.*?) ?\]?$")
_LAST_REPEATED = Rx(r"(?:^|[: ])last message repeated (\d{1,9}) times")
_MANY = 256
"""Different sources kept."""


class Notes:
    """Counts what was left out, by who left it out."""

    def __init__(self) -> None:
        self._sources: dict[tuple[int, str], Suppressed] = {}

    def read(self, line: Line, boot: int) -> bool:
        """Take in one line; False when it is none of these."""
        for pattern in _COUNTED:
            found = pattern.search(line.message)
            if found is None:
                continue
            named = found.groupdict()
            who, digits = (named["who"], named["n"]) if named else (found[1], found[2])
            self._add(who, int(digits or 0), line, boot)
            return True
        return False

    def _add(self, who: str, count: int, line: Line, boot: int) -> None:
        key = (boot, who)
        before = self._sources.get(key)
        if before is None:
            if len(self._sources) < _MANY:
                self._sources[key] = Suppressed(source=who, count=count, notes=1, first=line.when, last=line.when,
                                                line=line.number, boot=boot)
            return
        self._sources[key] = Suppressed(
            source=who, count=before.count + count, notes=before.notes + 1, first=before.first,
            last=line.when if line.when is not None else before.last, line=before.line, boot=boot,
        )

    def suppressed(self) -> tuple[Suppressed, ...]:
        """By the line where each first shows."""
        return tuple(self._sources.values())


def repeated(message: str) -> tuple[int, str | None] | None:
    """How often a message was repeated and which, None for it when it is the one before; None for another line."""
    found = _REPEATED.search(message)
    if found is not None:
        return int(found[1]), found[2]
    found = _LAST_REPEATED.search(message)
    return (int(found[1]), None) if found is not None else None
