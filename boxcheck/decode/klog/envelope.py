"""The envelope of a kernel log line: what stands around the message, in every form that people save or paste.

    [   12.345678] msg                       dmesg, /var/log/dmesg
    [   24.220626][  T511] msg               CONFIG_PRINTK_CALLER
    [Thu Feb 29 13:47:22 2024] msg           dmesg -T
    2025-01-21T04:41:44,283302+00:00 msg     dmesg --time-format iso
    kern  :warn  : [   12.345678] msg        dmesg -x
    10.5.0.3: kern: warning: [2026-..Z]: msg Talos
    6,3964,206764307,-;msg                   /dev/kmsg
    <6>[   12.345678] msg                    printk's own prefix, pstore
    Sep 19 16:18:02 host kernel: [n] msg     syslog, journalctl -o short
    2026-09-19T16:18:02+00:00 host kernel: msg   journalctl -o short-iso, rsyslog
    {"MESSAGE":"msg", ...}                   journalctl -o json
    > [   12.345678] msg                     quoted mail; +/- of a diff; bullets and backticks of a page
    kern.log:12:Sep 19 16:18:02 host kernel: msg     grep -H -n, and node names
    box-1  | msg, ...Z stdout F msg          docker compose logs, a container's log
    host kernel: msg, 16:18:02 msg           a time stamp that somebody cut, all of it or its date

Colours that dmesg and journalctl add are taken out. Where nothing of this fits, a driver with its device is looked for
within the first words.

Read by shape, never by kernel version. A line of a user-space program in a journal is marked `foreign`.
Sources: kernel/printk/printk.c (print_prefix, msg_print_ext_header), dmesg(1), systemd's logs-show.c.
"""

from __future__ import annotations

import re

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

from .words import BDF, Rx, normal_bdf

_QUOTE = Rx(r"[\s>|]*(?:[+-](?=[\[a-z<])|[-*\u2022] (?=\S))?(?P<code>`{0,3})")
_COLOUR = Rx(r"(?:\^\[|#033|\\x1b|\\u001b|\\033|\\e|\u241b)?\[\d{1,3}(?:;\d{1,3}){0,8}[mK]|\^\[\[[mK]")
"""A colour whose escape character was cleaned away, or was spelled out by who saved it."""
_COLOURED = Rx(r"\[\d{1,3}(?:;\d{1,3}){0,8}[mK]")
_ESCAPED_COLOUR = re.compile(rb"\x1b\[[0-9;]{0,40}[mK]")
_LEVEL = Rx(r"<(\d{1,3})>(?:1 (?=\d{4}-))?")
_SECONDS = Rx(r"\[\s*(\d{1,10}\.\d{1,9})(?:[,@]\d{1,3})?(?:\s*<\s*[\d.]+>)?\]:?\s?")
_CALLER = Rx(r"\[\s*[TC]\d+[^\]]{0,40}\]\s?")
_CTIME = Rx(
    r"\[([^\[\]\d]{2,12} +[^\[\]\d]{2,10} +\d{1,2} \d\d:\d\d:\d\d \d{4})(?:\s{0,2}<\s{0,12}[\d.]{1,20}>)?\]:?\s?")
_HUMAN = Rx(r"\[([A-Z][a-z]{2}\d{1,2} \d\d:\d\d|\s*\+\d+\.\d+)\]\s?")
_ISO = Rx(r"(\[?)(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|[+-]\d\d:?\d\d))?)(\]?):?\s?")
_KMSG = Rx(r"(\d{1,4}),(\d+),(\d{1,18}),[-+c][^;]{0,80};")
_SYSLOG = Rx(r"((?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} {1,2}\d{1,2} (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,9})?) ")
_FULL = Rx(r"([A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})? [A-Z][A-Za-z0-9+-]{0,8}) ")
_UNIX = Rx(r"(\d{9,11}\.\d{3,9}) ")
_HOST = Rx(r"[\w.-]{1,80} {1,3}")
_TAG = Rx(r"([\w./@-]{1,60})(?:\[(\d+)\])?: ?")
# Host, program, process id, message id, data. `host kernel: [12.3] [drm] msg` is none: a colon, a bracket.
_RFC5424 = Rx(r"([\w.:-]{1,80}) ([\w./@-]{1,60}) [\w.-]{1,60} \S{1,60} (?:-|\[[^\]]{0,400}\]) ")
_HOST_KERNEL = Rx(r"[\w.-]{1,80} (kernel)(?:\[\d+\])?: ?")
_KERNEL = Rx(r"(?:[\w.-]{1,80} )?kernel(?:(?:\[\d{1,7}\])?: ?| - (?:- - )?)")
"""A syslog's head whose time stamp was cut, with its host or without."""
_SLASHED = Rx(r"(\d{1,4}/\d{1,2}/\d{2,4} \d\d:\d\d:\d\d(?:\.\d{1,9})?) ")
_CLOCK = Rx(
    rf"(\d\d:\d\d:\d\d(?:\.\d{{1,9}})?) {{1,3}}(?=(?:[\w.-]{{1,80}} )?kernel(?:\[\d{{1,7}}\])?: |[\w-]{{2,24}} {BDF}\b"
    r"|NVRM: |nvme nvme\d|\[drm)")
"""A time of day before what only a kernel writes: before other words it is a chat."""
_CONTAINER = Rx(r"(?:stdout|stderr) [FP] ")
# The name of a node, file or container stands before another envelope: `Capabilities: [150 v2]` of lspci is none.
_ENVELOPE = (
    r"(?=\[ {0,12}\d{1,10}\.\d|\[\d{4}-|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:|kern\s{0,4}:|<\d"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:|\d{4}-\d\d-\d\d[T ]\d\d:|\d{1,4},\d{1,19},\d{1,18},)")
_NODE = Rx(rf"[\w./~@+-]{{1,120}}(?:[:-](?:\d{{1,9}}[:-])?\s?| {{1,40}}\| ){_ENVELOPE}")
_FACILITY = Rx(r"(?:kern|user|daemon|syslog|auth)\s{0,4}:\s{0,6}([a-z]{3,7})\s{0,4}:\s?")
_DEVICE = Rx(rf"(?:(\S{{1,40}}) )?({BDF})(?: [\w.-]{{1,24}})?: ?")
_SLOT_WITHIN = Rx(r":[0-9a-fA-F]{2}\.[0-7](?: [\w.-]{1,24})?: ")
_DEVICE_WITHIN = Rx(
    rf"(?:^|[\s\]:|=\"'`(])(?!(?:from|to|of|at|by|for|on|with|and|function|port) )([a-z][\w-]{{1,24}}) "
    rf"({BDF})(?: [\w.-]{{1,24}})?: ")
_FIRST_WORDS = 160
"""So far into a message a driver with its device is looked for, behind words that nobody knows."""
_LEVELS = {
    "emerg": 0, "alert": 1, "crit": 2, "err": 3, "error": 3, "warn": 4, "warning": 4, "notice": 5, "info": 6,
    "debug": 7,
}


Split = tuple[str | None, Bdf | None, str]
"""Driver, device, and the message without them."""


class Line:
    """One message with what its envelope said of it."""

    __slots__ = ("_split", "boot_id", "foreign", "headed", "level", "message", "number", "quoted", "seconds", "stamp")

    def __init__(
        self, number: int, message: str = "", seconds: float | None = None, stamp: str | None = None,
        level: int | None = None, headed: bool = False, split: Split | None = None,
    ) -> None:
        self.number = number
        """Line of the text, from 1."""
        self.message = message
        self.seconds = seconds
        """Seconds since boot."""
        self.stamp = stamp
        """Wall time, as spelled."""
        self.level = level
        """printk level, 0 emergency to 7 debug."""
        self.foreign = False
        """A user-space program wrote it."""
        self.headed = headed
        """An envelope was there. False: a bare message, or the rest of a line that a mailer wrapped."""
        self.quoted = False
        """Somebody quotes the message within a sentence."""
        self.boot_id: str | None = None
        """Which boot the journal says it is of."""
        self._split = split

    @property
    def when(self) -> float | str | None:
        """Seconds since boot, else the wall time as spelled, else None."""
        return self.stamp if self.seconds is None else self.seconds

    def split(self) -> Split:
        """Driver, device and the rest of the message."""
        if self._split is None:
            found = _DEVICE.match(self.message) or _device_within(self.message)
            if found is None:
                self._split = (None, None, self.message)
            else:
                self._split = (found[1], normal_bdf(found[2]), self.message[found.end():])
        return self._split

    @property
    def driver(self) -> str | None:
        """The `pcieport` of `pcieport 0000:00:03.1: ...`."""
        return self.split()[0]

    @property
    def bdf(self) -> Bdf | None:
        """The device that the message is about, as dev_printk puts it in front."""
        return self.split()[1]

    @property
    def rest(self) -> str:
        """The message without driver and device."""
        return self.split()[2]

    def assume_device(self, bdf: Bdf) -> None:
        """Take the device from elsewhere (kmsg's DEVICE= line) when the message names none."""
        driver, own, rest = self.split()
        if own is None:
            self._split = (driver, bdf, rest)


def _device_within(message: str) -> re.Match[str] | None:
    """A driver with its device behind other words."""
    if _SLOT_WITHIN.pattern.search(message, 0, _FIRST_WORDS) is None:
        return None
    return _DEVICE_WITHIN.pattern.search(message, 0, _FIRST_WORDS)


def clean_line(raw: bytes, limit: int) -> str:
    """Bytes of a log as clean text, without the colours that dmesg and journalctl give a terminal."""
    return clean_text(_ESCAPED_COLOUR.sub(b"", raw) if b"\x1b" in raw else raw, limit)


def read_line(text: str, number: int) -> Line:
    """Take one line of clean text apart. Never fails: a line without an envelope is all message."""
    line = Line(number)
    if _COLOURED.search(text) is not None or "^[[" in text:
        text = _COLOUR.pattern.sub("", text)
    at = 0
    # The commonest shape first, without looking for anything else.
    found = _SECONDS.match(text)
    if found is not None:
        line.seconds = float(found[1])
        line.headed = True
        at = found.end()
        if text.startswith("[", at):
            caller = _CALLER.match(text, at)
            at = caller.end() if caller is not None else at
        elif text.startswith("<", at):
            at = _peel(text, at, line)
        inner = _HOST_KERNEL.match(text, at)
        line.message = text[inner.end() if inner is not None else at:].strip()
        return line
    if text.startswith("{") and _read_json(text, line):
        return line
    quote = _QUOTE.match(text)
    at = quote.end() if quote is not None else 0
    # A line may wear several envelopes: syslog around dmesg, a node's name around dmesg -x.
    for _ in range(6):
        after = _peel(text, at, line)
        if after == at:
            break
        at = after
        line.headed = True
    line.message = text[at:].strip()
    if quote is not None and quote["code"]:
        line.message = line.message.rstrip("`")
    return line


def _peel(text: str, at: int, line: Line) -> int:
    """Take one envelope off at `at`; returns where the next begins, `at` when there is none."""
    first = text[at:at + 1]
    if first == "[":
        return _peel_bracket(text, at, line)
    if first == "<":
        found = _LEVEL.match(text, at)
        if found is not None:
            line.level = int(found[1]) & 7
            return found.end()
        return at
    if first.isdigit():
        return _peel_digits(text, at, line)
    if first.isalpha():
        return _peel_word(text, at, line)
    return _end_of(_NODE, text, at) if first in _PATH else at


_PATH = frozenset("/.~")


def _end_of(shape: Rx, text: str, at: int) -> int:
    found = shape.match(text, at)
    return found.end() if found is not None else at


def _peel_bracket(text: str, at: int, line: Line) -> int:
    found = _SECONDS.match(text, at)
    if found is not None:
        line.seconds = float(found[1])
        inner = _HOST_KERNEL.match(text, found.end())
        return inner.end() if inner is not None else found.end()
    for shape in (_CALLER, _CTIME, _HUMAN):
        found = shape.match(text, at)
        if found is not None:
            if shape is not _CALLER:
                line.stamp = found[1].strip()
            return found.end()
    found = _ISO.match(text, at)
    if found is not None and found[3]:
        line.stamp = found[2]
        return found.end()
    return at


def _peel_digits(text: str, at: int, line: Line) -> int:
    found = _KMSG.match(text, at)
    if found is not None:
        line.level = int(found[1]) & 7
        line.seconds = int(found[3]) / 1e6
        return found.end()
    found = _ISO.match(text, at)
    if found is not None and not found[3]:
        line.stamp = found[2]
        # A decimal comma is util-linux's: dmesg names no host.
        return found.end() if "," in found[2] else _peel_host(text, found.end(), line)
    for shape in (_UNIX, _SLASHED):
        found = shape.match(text, at)
        if found is not None:
            line.stamp = found[1]
            return _peel_host(text, found.end(), line)
    found = _CLOCK.match(text, at)
    if found is not None:
        line.stamp = found[1]
        return found.end()
    return _end_of(_NODE, text, at)


def _peel_word(text: str, at: int, line: Line) -> int:
    for shape in (_SYSLOG, _FULL):
        found = shape.match(text, at)
        if found is not None:
            line.stamp = found[1]
            return _peel_host(text, found.end(), line)
    found = _FACILITY.match(text, at)
    if found is not None and found[1] in _LEVELS:
        line.level = _LEVELS[found[1]]
        return found.end()
    after = _end_of(_KERNEL, text, at)
    return after if after > at else _end_of(_NODE, text, at)


def _peel_host(text: str, at: int, line: Line) -> int:
    """Take off host and program after a wall time.

    A program with a process id that is not the kernel is user space. Where no program follows the host, somebody cut
    `kernel:` out, or there is no host either: the words stay with the message, unless a device follows the first.
    """
    structured = _RFC5424.match(text, at)
    if structured is not None:
        line.foreign = structured[2] not in ("kernel", "-")
        return structured.end()
    container = _CONTAINER.match(text, at)
    if container is not None:
        return container.end()
    tag = _TAG.match(text, at)
    if tag is not None and tag[1] == "kernel":
        return tag.end()
    host = _HOST.match(text, at)
    if host is None:
        return at
    tag = _TAG.match(text, host.end())
    if tag is not None and tag[1] == "kernel":
        return tag.end()
    if tag is not None and tag[2] is not None:
        line.foreign = True
        return tag.end()
    return host.end() if _DEVICE.match(text, at) is None and _DEVICE.match(text, host.end()) is not None else at


def _read_json(text: str, line: Line) -> bool:
    """One record of `journalctl -o json`; False when it is none."""
    try:
        record = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    message = record.get("MESSAGE") if isinstance(record, dict) else None
    if isinstance(message, list):
        # The bytes of a message that is no text.
        message = text_of_bytes(message)
    if not isinstance(message, str):
        return False
    # Its escapes may stand for what was cleaned out of the text itself.
    line.message = clean_text(" ".join(message.split()), 4096)
    boot = record.get("_BOOT_ID")
    line.boot_id = clean_text(boot, 64) if isinstance(boot, str) else None
    line.headed = True
    program = record.get("SYSLOG_IDENTIFIER")
    line.foreign = record.get("_TRANSPORT") != "kernel" and program not in (None, "kernel")
    priority, monotonic = record.get("PRIORITY"), record.get("_SOURCE_MONOTONIC_TIMESTAMP")
    wall = record.get("__REALTIME_TIMESTAMP")
    if isinstance(priority, str) and priority.isascii() and priority.isdigit():
        line.level = int(priority[:3]) & 7
    if isinstance(monotonic, str) and monotonic.isascii() and monotonic.isdigit() and len(monotonic) < 19:
        line.seconds = int(monotonic) / 1e6
    if isinstance(wall, str) and wall.isascii() and wall.isdigit() and len(wall) < 19:
        line.stamp = f"{int(wall) / 1e6:.6f}"
    return True


def text_of_bytes(numbers: list[object]) -> str | None:
    """The text whose bytes a journal's record lists, None when they are no bytes."""
    codes = [number for number in numbers if isinstance(number, int) and 0 <= number < 256]
    return clean_text(bytes(codes), 4096) if len(codes) == len(numbers) else None


_OWN = Rx(rf"\S{{1,40}} {BDF}: |-- (?:Boot|Reboot)")
_BARE = Rx(
    rf"(?:\S{{1,40}} )?{BDF}[: ]|\[|\{{\d{{1,6}}\}}\[|device \["
    r"|NVRM: |nvidia|amdgpu|kfd |drm|EDAC |AER: |DMAR|AMD-Vi|mce: |nvme |pci"
    r"|-- (?:Boot|Reboot)|(?:Kernel c|C)ommand line|Unable to determine|watchdog|INFO: |BUG: |rcu: |Linux version"
    r"|WARNING: |\*\* \d"
)


def begins_message(text: str, stamped: bool) -> bool:
    """Whether `text` starts a message of its own, rather than the rest of the one before.

    In a log with time stamps an envelope starts one, or a driver with its device where two pastes meet; without them
    (`stamped` False) every known beginning does.
    """
    if not text or text.isspace():
        return True
    if read_line(text, 0).headed:
        return True
    quote = _QUOTE.match(text)
    return (_OWN if stamped else _BARE).match(text, quote.end() if quote is not None else 0) is not None


_NARROWEST_WRAP, _WIDEST_WRAP = 40, 100
_WRAP_COLUMN = 68


def wrapped(before: str, after: str) -> bool:
    """Whether a mailer may have broken one line into `before` and `after`, by their lengths.

    Mailers break at the word that would cross column 72 to 78; format=flowed leaves a blank at the break (RFC 3676).
    """
    trimmed = before.rstrip()
    if not _NARROWEST_WRAP <= len(trimmed) <= _WIDEST_WRAP:
        return False
    quote = _QUOTE.match(after)
    words = after[quote.end() if quote is not None else 0:].split(None, 1)
    if not words:
        return False
    return before != trimmed or len(trimmed) + 1 + len(words[0]) > _WRAP_COLUMN
