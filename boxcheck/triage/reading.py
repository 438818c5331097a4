"""One source, read: its kernel log and the outputs of tools in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib import import_module
from itertools import chain

import msgspec

from boxcheck.decode.klog import KernelLog, LogParser
from boxcheck.decode.klog.envelope import read_line
from boxcheck.decode.text import clean_text
from boxcheck.triage.cut import Cutter, Reader
from boxcheck.triage.documents import may_hold, take_out, texts_in
from boxcheck.triage.evidence import Evidence, Section
from boxcheck.triage.hosts import MOST_HOSTS, Feed, Hosts
from boxcheck.triage.input import STANDARD_INPUT, Source, blocks, is_capture
from boxcheck.triage.logdevices import LogDevices
from boxcheck.triage.times import clock_text
from boxcheck.triage.tools import JSON_READERS

JSON_LIMIT_BYTES = 64 << 20
LONG_TEXT_BYTES = 4096
"""A line of a log is read so far."""
FURTHER_HOSTS = "and further ones"
"""In place of the name of those beyond the last host that is told apart."""
MOST_PIECES = 2000
"""Outputs of tools in one source. An nvidia-bug-report has some dozens."""
_SAMPLE_LINES = 400
_JSON = re.compile(rb"\s*(?:\{|\[\s*[\[{])")
_X_SERVER = ("(II) ", "(WW) ", "(EE) ", "(==) ", "(--) ", "(**) ", "(!!) ", "(++) ", "X.Org ")
"""Xorg.0.log has seconds in brackets, too."""
_TAG_ALONE = re.compile(r"kernel: (?![ \d])")
"""Syslog's tag where somebody cut the host's name off; `kernel:   6.1.0` in a table of facts is none."""
_REFUSED = (
    (re.compile(rb"^dmesg: (?!invalid |unrec|unknown |option |bad )[^\n]+", re.MULTILINE), b"dmesg: ", "sudo dmesg"),
    (re.compile(rb"^No journal files were opened due to insufficient permissions", re.MULTILINE),
     b"No journal files were opened", "sudo journalctl -k -b"),
)
"""What a program says that was not let to read the kernel's log, a word of it, and what reads it."""
_JOURNAL_KEYS = frozenset(("MESSAGE", "__CURSOR", "__REALTIME_TIMESTAMP", "_TRANSPORT"))


class SourceReading(msgspec.Struct, kw_only=True):
    """What one source holds."""

    name: str
    index: int
    host: str | None = None
    """The host that syslog's envelopes name."""
    lines: int = 0
    log: KernelLog | None = None
    """None where no line of a kernel log was in it."""
    evidence: list[Evidence] = []
    evidence_lines: list[int] = []
    """Line of the file at which each piece begins."""
    machine: Evidence | None = None
    """What its kernel log tells of the machine."""
    complaints: list[str] = []
    pieces: list[str] = []
    """What was recognised, for people."""
    refused: list[str] = []
    """Commands that would have read the log which a program was not let to read."""
    texts: bytes = b""
    """Those of several lines in a JSON document that no reader knows, until they are read."""
    crowded: bool = False
    """It holds more outputs of tools than are kept."""

    @property
    def recognised(self) -> bool:
        return self.log is not None or bool(self.evidence)

    def take(self, piece: Evidence, line: int) -> None:
        self.evidence.append(piece)
        self.evidence_lines.append(line)


def read_source(place: str, since: float | datetime | None = None) -> list[SourceReading]:
    """Reads a file, standard input (`-`) or a capture to its end. Several readings for a log of several hosts; their
    `index` is for the caller to set."""
    if is_capture(place):
        from boxcheck.triage.capture import read_capture

        return [read_capture(place, since)]
    source = Source(name="standard input" if place == STANDARD_INPUT else clean_text(place, 200), index=0)
    reading = SourceReading(name=source.name, index=0, complaints=source.complaints)
    stream = blocks(source, place)
    first = next(stream, b"")
    if _JSON.match(first) and not _is_journal(first):
        first, complete = _gathered(first, stream)
        if complete and _read_json(first, reading):
            return [reading]
    if may_hold(first):
        first = _without_documents(first, stream, reading)
    texts, lines, reading.texts, reading.lines = reading.texts, reading.lines, b"", 0
    read = [reading, *_read_text(chain((first,), stream), reading, since)]
    if not texts or any(one.evidence or (one.log is not None and one.log.events) for one in read):
        if len(texts) > LONG_TEXT_BYTES:
            reading.complaints.append("it is JSON with texts of many lines in it, which may not be read to their ends; "
                                      "give them as files of their own")
        return read
    inner = SourceReading(name=source.name, index=0, complaints=source.complaints)
    read = [inner, *_read_text(iter((texts,)), inner, since)]
    if any(one.recognised for one in read):
        inner.complaints.append("a text within JSON: lines are counted within it, not in the file")
    else:
        inner.lines = lines
    return read


class _HostLog:
    """The log of one host, while it is read."""

    def __init__(self, since: float | datetime | None) -> None:
        self.parser = LogParser(None, residue=True, since=since)
        self.sample, self.devices = Sample(), LogDevices()

    def feed(self, data: bytes) -> None:
        self.sample.see(data)
        self.devices.see(data)
        self.parser.feed(data)

    def close(self, reading: SourceReading) -> None:
        """Puts what was found into the reading."""
        found = self.parser.finish()
        if self.sample.kernel_lines or found.events or found.facts.kernel_release or found.facts.command_line:
            reading.log = found
            reading.pieces.append(log_text(found))
            reading.machine = self.devices.evidence(found)
        if self.devices.moved:
            reading.complaints.append(
                "boots of this log have different cards at one address; names are those of the last boot")


def _read_text(
    stream: Iterable[bytes], reading: SourceReading, since: float | datetime | None
) -> list[SourceReading]:
    """Reads a text into `reading`; further readings are those of other hosts in it."""
    logs: list[_HostLog] = []
    ended = True

    def make() -> Feed:
        logs.append(_HostLog(since))
        return logs[-1].feed

    hosts = Hosts(make)

    def take(reader: Reader, section: Section) -> None:
        if len(reading.evidence) >= MOST_PIECES:
            reading.crowded = True
            return
        piece = reader.read(section)
        reading.take(piece, section.first_line)
        if section.cut_short:
            reading.complaints.append(
                f"line {section.first_line}: the output of {piece.tool} is too long, and its end was not read")

    cutter = Cutter(hosts.feed, take)
    for block in stream:
        _see_refusals(block, reading)
        reading.lines += block.count(b"\n")
        ended = block.endswith(b"\n") if block else ended
        cutter.feed(block)
    cutter.finish()
    if reading.refused:
        reading.pieces.append("a refusal in place of the kernel's log")
    if reading.crowded:
        reading.complaints.append(f"more than {MOST_PIECES} outputs of tools; the rest was left out")
    if hosts.crowded:
        reading.complaints.append(f"lines of more than {MOST_HOSTS} hosts: what further ones logged is read as if it "
                                  "were one machine's; give each host's log by itself")
    reading.lines += 0 if ended else 1
    others = []
    for number, (host, log) in enumerate(zip(hosts, logs, strict=True)):
        mine = reading if number == 0 else SourceReading(name="", index=0, lines=reading.lines)
        mine.host = host if host is not None or number == 0 else FURTHER_HOSTS
        log.close(mine)
        others += [mine] if number else []
    reading.pieces += list(dict.fromkeys(piece.tool for piece in reading.evidence))
    if others:
        name = reading.name
        for mine in (reading, *others):
            mine.name = f"{name} (host {clean_text(mine.host or '?', 60)})"
    return others


def _see_refusals(block: bytes, reading: SourceReading) -> None:
    """Notes a program's own words in place of a log."""
    for words, anchor, command in _REFUSED:
        found = words.search(block) if anchor in block else None
        if found is not None and command not in reading.refused:
            reading.refused.append(command)
            reading.complaints.append(f"{clean_text(found[0], 100)!r}: root may read it, with {command}")


# JSON as a whole

def _is_journal(first: bytes) -> bool:
    """Whether it is `journalctl -o json`: records one after another, which the log's parser reads."""
    line = first.lstrip().split(b"\n", 1)[0]
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        # json-pretty has one key a line.
        return any(b'"' + key.encode() + b'"' in first[:4096] for key in _JOURNAL_KEYS)
    return isinstance(record, dict) and bool(_JOURNAL_KEYS & set(record))


def _gathered(first: bytes, stream: Iterator[bytes]) -> tuple[bytes, bool]:
    """The text so far, and whether it is all of it; a text beyond the limit is no document of a tool."""
    parts, size = [first], len(first)
    for block in stream:
        parts.append(block)
        size += len(block)
        if size > JSON_LIMIT_BYTES:
            return b"".join(parts), False
    return b"".join(parts), True


def _read_json(whole: bytes, reading: SourceReading) -> bool:
    try:
        value = msgspec.json.decode(whole)
    except (msgspec.DecodeError, RecursionError):
        return False
    reading.lines = whole.count(b"\n") + (0 if whole.endswith(b"\n") else 1)
    schema = value.get("schema") if isinstance(value, dict) else None
    if isinstance(schema, str) and schema.startswith("boxcheck."):
        reading.complaints.append(
            f"this is a record that boxcheck wrote ({clean_text(schema, 60)}); give the evidence it was made from")
        return True
    if not _take_document(value, 1, reading):
        reading.texts = texts_in(value)
        return False
    reading.pieces += [piece.tool for piece in reading.evidence]
    return True


def _take_document(value: object, line: int, reading: SourceReading) -> bool:
    """Whether a reader knows the document; what it says is of the document's first line."""
    if len(reading.evidence) >= MOST_PIECES:
        return False
    for module in JSON_READERS:
        piece = import_module(f"boxcheck.triage.tools.{module}").read_json(value)
        if piece is not None:
            reading.take(_at(piece, line), line)
            return True
    return False


def _at(piece: Evidence, line: int) -> Evidence:
    replace = msgspec.structs.replace
    return piece if line == 1 else replace(
        piece, events=tuple(replace(event, line=line) for event in piece.events),
        devices=tuple(replace(device, line=line) for device in piece.devices))


def _without_documents(first: bytes, stream: Iterator[bytes], reading: SourceReading) -> bytes:
    """The text without the JSON documents of tools in it, which are read."""
    whole, complete = _gathered(first, stream)
    if not complete:
        return whole
    rest, open_at = take_out(whole, lambda value, line: _take_document(value, line, reading))
    if open_at is not None:
        reading.complaints.append(f"line {open_at}: a JSON document that is cut off or damaged; it was not read")
    return rest


# Whether it is a kernel log

class Sample:
    """Looks at the first lines of what is no tool's: a kernel log is told by its envelopes, also one without a single
    event. A log of a web server has time stamps too; it is none."""

    def __init__(self) -> None:
        self._left = _SAMPLE_LINES
        self.kernel_lines = 0

    def see(self, data: bytes) -> None:
        if self._left <= 0:
            return
        for raw in data[:1 << 17].split(b"\n", self._left)[:self._left]:
            if not raw.strip():
                continue
            self._left -= 1
            self.kernel_lines += is_kernel_line(clean_text(raw[:600], 600))


def is_kernel_line(text: str) -> bool:
    """Whether the envelope of a line is one that only kernel logs wear."""
    line = read_line(text, 0)
    if not line.headed or line.foreign or not line.message:
        return False
    if line.seconds is not None or line.level is not None:
        return not line.message.startswith(_X_SERVER)
    if " kernel: " in text[:160] or _TAG_ALONE.match(text):
        return True
    if line.stamp is None:
        return False
    # dmesg -T and its relatives name a month in brackets; `dmesg --time-format iso` has a decimal comma.
    return "," in line.stamp or (text.lstrip("> ").startswith("[") and not line.stamp[:1].isdigit())


def log_text(log: KernelLog) -> str:
    """`kernel log of Linux 6.14.0, 2 boots, from its start to 3:12:00.0`."""
    facts = log.facts
    words = ["kernel log" + (f" of Linux {facts.kernel_release}" if facts.kernel_release else "")]
    if log.boots > 1:
        words.append(f"{log.boots} boots")
    if log.first_seconds is not None and log.last_seconds is not None:
        start = "the start of the boot" if facts.from_boot else clock_text(log.first_seconds)
        # Pastes after one another may run backwards.
        until = f" to {clock_text(log.last_seconds)}" if log.last_seconds >= log.first_seconds else ""
        words.append(f"from {start}{until}")
    elif facts.from_boot:
        words.append("from the start of the boot")
    if log.truncated:
        words.append("not read whole")
    return ", ".join(words)
