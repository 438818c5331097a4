"""Encodings, line ends, records of a journal and of a crash: each gives the same events, in whatever pieces it comes."""

from __future__ import annotations

import json
import textwrap

import pytest

from boxcheck.decode.klog import KernelLog, LogParser, parse_log

XID = "NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus."
PLAIN = (
    "[    0.500000] usb 1-1: an ordinary line\n"
    f"[   12.345678] {XID}\n"
    "[   13.000000] usb 1-2: an ordinary line, Größe 5 µs\n"
)


def read(data: bytes, size: int = 10_000) -> KernelLog:
    parser = LogParser(None)
    for at in range(0, len(data), size):
        parser.feed(data[at:at + size])
    return parser.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("data", [
    PLAIN.encode(), PLAIN.encode("utf-16"), b"\xfe\xff" + PLAIN.encode("utf-16-be"), b"\xff\xfe" + PLAIN.encode("utf-16-le"),
    b"\xef\xbb\xbf" + PLAIN.encode(), PLAIN.encode("latin-1"), PLAIN.replace("\n", "\r\n").encode(),
    PLAIN.replace("\n", "\r").encode(), PLAIN.rstrip("\n").encode(), PLAIN.replace("\n", "\r").rstrip("\r").encode(),
    ("\0" * 50 + PLAIN).encode(),
], ids=["utf-8", "utf-16", "utf-16-be", "utf-16-le", "marked", "latin-1", "crlf", "cr", "unended", "cr-unended", "nul"])
def test_encodings_and_line_ends(data: bytes, size: int) -> None:
    log = read(data, size)
    (event,) = log.events
    assert (event.kind, event.xid, event.line, event.first, log.lines) == ("xid", 79, 2, 12.345678, 3)
    assert log == read(data)


def test_half_a_character_at_the_end() -> None:
    assert len(read(PLAIN.encode("utf-16") + b"\x0a", 7).events) == 1


def test_a_lone_cr_in_a_log_with_lf_ends_no_line() -> None:
    log = read(b"[    1.000000] a\rb\n[    2.000000] " + XID.encode() + b"\r\r\n")
    assert (log.lines, log.events[0].line) == (2, 2)


def test_cr_alone_after_much_text() -> None:
    data = (b"[    1.000000] usb 1-1: an ordinary line\r" * 5_000) + b"[    2.000000] " + XID.encode() + b"\r"
    log = read(data, 4096)
    assert (log.lines, log.events[0].line) == (5_001, 5_001)


RECORD = {
    "__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1756765529123456", "__MONOTONIC_TIMESTAMP": "12345679",
    "_BOOT_ID": "a" * 32, "PRIORITY": "3", "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel",
    "_TRANSPORT": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": "12345678", "_HOSTNAME": "box", "MESSAGE": XID,
}
OTHER = {**RECORD, "PRIORITY": "6", "_SOURCE_MONOTONIC_TIMESTAMP": "400000", "MESSAGE": "usb 1-1: an ordinary line"}
PROGRAM = {**RECORD, "_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": "gpu-watch"}


def as_json(*records: dict[str, str]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def as_pretty(*records: dict[str, str]) -> str:
    return "".join("{\n" + ",\n".join(f'\t"{name}" : {json.dumps(value)}' for name, value in record.items()) + "\n}\n"
                   for record in records)


def as_export(*records: dict[str, str]) -> str:
    return "".join("".join(f"{name}={value}\n" for name, value in record.items()) + "\n" for record in records)


def as_verbose(*records: dict[str, str]) -> str:
    return "".join(
        "Mon 2025-09-01 22:25:29.123456 UTC [s=1f;i=2;b=aa;m=bc614e;t=63dbf;x=2b]\n"
        + "".join(f"    {name}={value}\n" for name, value in record.items() if not name.startswith("__"))
        for record in records)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("form", [as_json, as_pretty, as_export, as_verbose])
def test_a_journal_in_each_of_its_forms(form: object, size: int) -> None:
    text = form(OTHER, RECORD, PROGRAM)  # type: ignore[operator]
    log = read(text.encode(), size)
    (event,) = log.events
    assert (event.kind, event.xid, event.count, event.first) == ("xid", 79, 1, 12.345678)
    assert text.splitlines()[event.line - 1].find(XID) >= 0
    assert log.lines == len(text.splitlines())
    assert (log.boots, log.stamped, log.timed) == (1, True, True)


@pytest.mark.parametrize("form", [as_json, as_pretty, as_export])
def test_several_boots_of_one_journal(form: object) -> None:
    later = {**RECORD, "_BOOT_ID": "b" * 32}
    first = {**RECORD, "_SOURCE_MONOTONIC_TIMESTAMP": "1", "MESSAGE": "Linux version 6.8.0 (gcc)"}
    log = read(form(first, RECORD, {**first, "_BOOT_ID": "b" * 32}, later, later).encode())  # type: ignore[operator]
    assert [(event.boot, event.count) for event in log.events] == [(0, 1), (1, 1)]
    assert log.boots == 2


def test_a_message_as_a_list_of_bytes() -> None:
    """What a journal does with a message that is no text: here a line with an escape and a byte of Latin-1."""
    raw = b"\x1b[31m" + XID.encode() + b" \xfc"
    line = json.dumps({**RECORD, "MESSAGE": list(raw)}, separators=(",", ":")) + "\n"
    (event,) = read(line.encode()).events
    assert event.xid == 79
    assert "\x1b" not in event.text
    pretty = as_pretty(RECORD).replace(json.dumps(XID), "[\n" + ",\n".join(f"\t\t{code}" for code in raw) + "\n\t]")
    (event,) = read(pretty.encode()).events
    assert event.xid == 79
    export = as_export({name: value for name, value in RECORD.items() if name != "MESSAGE"}).rstrip("\n").encode()
    export += b"\nMESSAGE\n" + len(raw).to_bytes(8, "little") + raw + b"\n\n" + as_export(OTHER).encode()
    for size in (1, 10_000):
        (event,) = read(export, size).events
        assert event.xid == 79


def test_an_escape_inside_json_does_not_come_through() -> None:
    (event,) = parse_log(json.dumps({**RECORD, "MESSAGE": "\x1b[31m" + XID + "\u202e"}) + "\n").events
    assert event.text.isprintable()


LONG = "words of no interest " * 400
"""More than a line of the kernel may have."""


@pytest.mark.parametrize("size", [333, 1_000_000])
def test_a_long_record_is_read_whole(size: int) -> None:
    """A program's long message that repeats the kernel's is not the kernel's; the kernel's behind a long field is."""
    before, after = {"CMDLINE": LONG, **RECORD}, {**RECORD, "CMDLINE": LONG}
    assert [event.first for event in read(as_json(before, OTHER).encode(), size).events] == [12.345678]
    assert [event.first for event in read(as_json(OTHER, after).encode(), size).events] == [12.345678]
    assert read(as_json(OTHER, {**PROGRAM, "MESSAGE": LONG + XID}, {"CMDLINE": LONG + XID, **PROGRAM}).encode(), size).events == ()
    assert read(as_json(OTHER, {**PROGRAM, "MESSAGE": (LONG + XID) * 20}).encode(), size).events == ()
    cut = as_json(OTHER, {**PROGRAM, "MESSAGE": LONG + XID, "REST": LONG})
    assert read(cut[:-1000].encode(), size).events == ()


@pytest.mark.parametrize("size", [333, 1_000_000])
def test_a_long_line_of_a_program_is_the_programs(size: int) -> None:
    head = "Sep 19 16:18:02 box gpu-watch[4242]: "
    other = "Sep 19 16:18:02 box kernel: usb 1-1: an ordinary line\n"
    assert read((other + head + LONG + XID + "\n" + other).encode(), size).events == ()
    assert read((other + head + (LONG + XID) * 3 + "\n" + other).encode(), size).events == ()
    (event,) = read((other + head + LONG + XID + "\n" + other.replace("usb 1-1: an ordinary line", XID)).encode(), size).events
    assert (event.count, event.line) == (1, 3)


def test_what_is_cut_or_broken_between_records_is_no_end() -> None:
    text = as_export(OTHER, RECORD)
    assert len(read(text[30:].encode()).events) == 1
    assert len(read(text[:-20].encode()).events) == 1
    assert len(read((text + "$ journalctl -k\n" + PLAIN).encode()).events) == 1
    assert read(as_export({**OTHER, "MESSAGE": ""}).encode()).events == ()
    # A length that no message has is none.
    assert len(read(b"__CURSOR=a\nPRIORITY=3\nMESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff\n" + text.encode()).events) == 1


PSTORE = (
    "Panic#2 Part2\n"
    "<6>[    0.000000] Linux version 6.8.0 (gcc)\n"
    f"<4>[   50.000000] {XID}\n"
    "<6>[   51.000000] usb 1-1: an ordinary line\n"
)
NEWEST = (
    "Panic#2 Part1\n"
    f"<4>[  100.000000] {XID}\n"
    "<0>[  101.000000] Kernel panic - not syncing: Fatal exception\n"
)


def test_the_parts_of_a_crash_come_last_one_first_and_are_one_boot() -> None:
    log = read((NEWEST + PSTORE).encode())
    assert [(event.kind, event.boot, event.count, event.first, event.last) for event in log.events] == [
        ("xid", 0, 2, 50.0, 100.0), ("kernel-panic", 0, 1, 101.0, 101.0)]
    assert (log.boots, log.facts.from_boot) == (1, True)


def test_two_crashes_are_two_boots() -> None:
    log = read((NEWEST + PSTORE + NEWEST + PSTORE).encode())
    assert [(event.kind, event.boot) for event in log.events] == [
        ("xid", 0), ("kernel-panic", 0), ("xid", 1), ("kernel-panic", 1)]
    later = NEWEST.replace("Panic#2", "Oops#1")
    assert read((later + NEWEST).encode()).boots == 1


def test_a_syslog_line_with_two_brackets_is_the_kernels() -> None:
    """It has the shape of RFC 5424: host, program, process, message id, data."""
    text = "Sep 19 16:18:02 box kernel: [68183.615790] [drm:amdgpu_job_timedout] *ERROR* ring sdma0 timeout, signaled\n"
    assert [event.kind for event in parse_log(text).events] == ["amdgpu-ring-timeout"]


def test_lspci_text_is_no_stamped_log() -> None:
    assert not parse_log("01:00.0 VGA compatible controller\n\tCapabilities: [150 v2] Advanced Error Reporting\n").stamped


def at_column(text: str, width: int) -> str:
    """As a terminal shows it: broken at its last column, wherever that is."""
    return "".join(f"{line[at:at + width]}\n" for line in text.splitlines() for at in range(0, max(len(line), 1), width))


BROKEN = (
    f"Nov 29 07:22:15 bench-17 kernel: [ 1234.567890] {XID}\n"
    "Nov 29 07:22:16 bench-17 kernel: [ 1235.000001] pcieport 0000:40:01.1: AER: Multiple Correctable error message"
    " received from 0000:41:00.0\n"
    "Nov 29 07:22:16 bench-17 kernel: [ 1235.000002] nvidia 0000:41:00.0: PCIe Bus Error: severity=Correctable,"
    " type=Data Link Layer, (Receiver ID)\n"
    "Nov 29 07:22:16 bench-17 kernel: [ 1235.000003] nvidia 0000:41:00.0:   device [10de:2684] error"
    " status/mask=00000040/0000a000\n"
)


@pytest.mark.parametrize("width", [32, 40, 51, 59, 64, 72, 80, 91, 100, 111, 120])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_lines_broken_at_a_terminals_last_column_are_one(width: int, end: str, size: int) -> None:
    broken = at_column(BROKEN, width)
    wanted = [(event.kind, event.bdf, event.labels, event.count, event.says) for event in parse_log(BROKEN).events]
    log = read(broken.replace("\n", end).encode(), size)
    assert [(event.kind, event.bdf, event.labels, event.count, event.says) for event in log.events] == wanted
    assert len(wanted) == 2
    lines = broken.splitlines()
    assert all(lines[event.line - 1].startswith("Nov 29") for event in log.events)


def test_a_single_line_is_joined_at_a_width_that_terminals_have() -> None:
    line = "Nov 29 07:22:15 bench-17 kernel: [ 1234.567890] NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x62:0x56:2477)"
    (event,) = parse_log(at_column(line, 80)).events
    assert (event.bdf, event.labels) == ("0000:41:00.0", ("0x62:0x56:2477",))


def test_lines_as_long_as_each_other_are_not_joined_to_those_that_begin_a_message() -> None:
    lines = [f"[ {number}.000000] NVRM: Xid (PCI:0000:41:00): 13, pid=7, {'x' * 60}" for number in range(10, 16)]
    assert len({len(line) for line in lines}) == 1
    (event,) = parse_log("\n".join(lines)).events
    assert event.count == 6


@pytest.mark.parametrize("width", [40, 60])
def test_a_prompt_before_a_broken_log_a_table_in_it_and_a_line_that_ends_at_the_column_hide_nothing(width: int) -> None:
    line = "[   40.928045] pci 0000:41:00.0:   [ 6] BadTLP                | Receiver    | Data Link Layer"
    ends = "[   41.000001] nvidia 0000:41:00.0: loading"
    log = "\n".join((BROKEN, line, ends + "x" * (width - len(ends) % width), ""))
    broken = "\n".join(one.rstrip() for one in at_column(log, width).splitlines())
    wanted = [(event.kind, event.bdf, event.labels, event.count) for event in parse_log(log).events]
    found = parse_log("bench-17:~$ sudo dmesg\n" + broken).events
    assert [(event.kind, event.bdf, event.labels, event.count) for event in found] == wanted


def test_what_a_mailer_broke_between_words_keeps_its_blanks() -> None:
    log = "".join(textwrap.fill(line, 72) + "\n" for line in BROKEN.splitlines())
    assert [(event.kind, event.bdf) for event in parse_log(log).events] == [
        (event.kind, event.bdf) for event in parse_log(BROKEN).events]
