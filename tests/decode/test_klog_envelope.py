"""One message in every envelope that people save or paste is one and the same event."""

from __future__ import annotations

import pytest

from boxcheck.decode.klog import LogParser, parse_log
from boxcheck.decode.klog.envelope import begins_message, clean_line, read_line, wrapped

MESSAGE = "NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus."

# envelope around MESSAGE -> (seconds since boot, wall time)
ENVELOPES: dict[str, tuple[float | None, str | None]] = {
    "[   12.345678] {}": (12.345678, None),
    "[354561.777034] {}": (354561.777034, None),
    "[   24.220626][  T511] {}": (24.220626, None),
    "[  333.338334] [     T10] {}": (333.338334, None),
    "[    0.000000][    C3] {}": (0.0, None),
    "[   12.345678 <    0.000120>] {}": (12.345678, None),
    "[   12.345678,3] {}": (12.345678, None),
    "[Thu Feb 29 13:47:22 2024] {}": (None, "Thu Feb 29 13:47:22 2024"),
    "[Feb29 13:47] {}": (None, "Feb29 13:47"),
    "[  +0.000019] {}": (None, "+0.000019"),
    "<3>[   12.345678] {}": (12.345678, None),
    "<3>{}": (None, None),
    "3,3964,206764307,-;{}": (206.764307, None),
    "3,3964,206764307,c,caller=T1;{}": (206.764307, None),
    "kern  :err   : [   12.345678] {}": (12.345678, None),
    "kern  :warn  : 2025-01-21T04:41:44,283302+00:00 {}": (None, "2025-01-21T04:41:44,283302+00:00"),
    "2025-01-21T04:41:44,283302+00:00 {}": (None, "2025-01-21T04:41:44,283302+00:00"),
    "kern: warning: [2026-02-06T01:31:33.774557243Z]: {}": (None, "2026-02-06T01:31:33.774557243Z"),
    "10.5.0.3: kern:    info: [2026-02-06T01:31:33.774557243Z]: {}": (None, "2026-02-06T01:31:33.774557243Z"),
    "node7: [   12.345678] {}": (12.345678, None),
    "Sep 19 16:18:02 box kernel: [68183.615790] {}": (68183.61579, "Sep 19 16:18:02"),
    "Sep  9 16:18:02 box kernel: {}": (None, "Sep  9 16:18:02"),
    "Sep 09 16:18:02.123456 box kernel: {}": (None, "Sep 09 16:18:02.123456"),
    "Sep 19 16:18:02 box {}": (None, "Sep 19 16:18:02"),
    "Mon 2026-09-01 22:25:29 UTC box kernel: {}": (None, "Mon 2026-09-01 22:25:29 UTC"),
    "2026-09-01T22:25:29+0000 box kernel: {}": (None, "2026-09-01T22:25:29+0000"),
    "2026-09-01T22:25:29.123456+02:00 box kernel: [   12.345678] {}": (12.345678, "2026-09-01T22:25:29.123456+02:00"),
    "2026-09-01T22:25:29.123456+02:00 box kernel: [ T1772] {}": (None, "2026-09-01T22:25:29.123456+02:00"),
    "<6>1 2026-09-01T22:25:29.123456+02:00 box kernel - - - {}": (None, "2026-09-01T22:25:29.123456+02:00"),
    "1756765529.123456 box kernel: {}": (None, "1756765529.123456"),
    "[   12.345678] box kernel: {}": (12.345678, None),
    "[Thu Feb 29 13:47:22 2024 <    0.000120>] {}": (None, "Thu Feb 29 13:47:22 2024"),
    "[   12.345678]<3> {}": (12.345678, None),
    "kernel: {}": (None, None),
    "box kernel: {}": (None, None),
    "box kernel - {}": (None, None),
    "02/29/24 13:47:22 box kernel: {}": (None, "02/29/24 13:47:22"),
    "13:47:22 {}": (None, "13:47:22"),
    "13:47:22.123456 kernel: {}": (None, "13:47:22.123456"),
    "kern.log:Sep 19 16:18:02 box kernel: {}": (None, "Sep 19 16:18:02"),
    "/var/log/kern.log.1:12:2026-09-01T22:25:29.123456+02:00 box kernel: [   12.345678] {}": (
        12.345678, "2026-09-01T22:25:29.123456+02:00"),
    "./a/dmesg.txt-[   12.345678] {}": (12.345678, None),
    "17:[   12.345678] {}": (12.345678, None),
    "box-1  | [   12.345678] {}": (12.345678, None),
    "2026-09-01T22:25:29.123456789Z stdout F [   12.345678] {}": (12.345678, "2026-09-01T22:25:29.123456789Z"),
    "- [   12.345678] {}": (12.345678, None),
    "* [   12.345678] {}": (12.345678, None),
    "`[   12.345678] {}`": (12.345678, None),
    "\x1b[32m[   12.345678] \x1b[0m\x1b[33m{}\x1b[0m": (12.345678, None),
    "[32m[   12.345678] [0m[33m{}[0m": (12.345678, None),
    "^[[32m[   12.345678] ^[[0m{}^[[m": (12.345678, None),
    "Sep 19 16:18:02 box kernel: \x1b[0;1;31m\x1b[0;1;38;5;185m{}\x1b[0m": (None, "Sep 19 16:18:02"),
    "[2026-06-22 21:55:31.352444][5975153.869131] {}": (5975153.869131, "2026-06-22 21:55:31.352444"),
    "> > [   12.345678] {}": (12.345678, None),
    "   [   12.345678] {}": (12.345678, None),
    "+[   12.345678] {}": (12.345678, None),
    "{}": (None, None),
}


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_the_message_is_found_in_its_envelope(envelope: str) -> None:
    text = envelope.format(MESSAGE)
    line = read_line(clean_line(text.encode(), 4096), 1)
    assert (line.seconds, line.stamp, line.foreign) == (*ENVELOPES[envelope], False)
    for ending in ("", "\n", "\r\n"):
        log = parse_log(text + ending)
        (event,) = log.events
        assert (event.kind, event.bdf, event.xid, event.line, log.lines) == ("xid", "0000:41:00.0", 79, 1, 1)
        assert event.first == (line.stamp if line.seconds is None else line.seconds)
        assert log.stamped == (envelope != "{}")


DEVICE = "amdgpu 0000:0b:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=12345, emitted seq=12347"


@pytest.mark.parametrize("envelope", [*ENVELOPES, "[   12.345678] [drm] {}", "(nobody: knows this) {}", "log | x={}"])
def test_the_device_is_found_behind_any_prefix(envelope: str) -> None:
    (event,) = parse_log(envelope.format(DEVICE)).events
    assert (event.kind, event.bdf, event.labels) == ("amdgpu-ring-timeout", "0000:0b:00.0", ("gfx_0.0.0",))


@pytest.mark.parametrize("text", [
    "AER: error message received from 0000:41:00.0: no driver", "x" * 200 + " amdgpu 0000:0b:00.0: late",
    "Capabilities: [150 v2] for 0000:41:00.0: x", "iommu: Adding device 0000:0b:00.0 to group 1",
])
def test_an_address_that_is_no_devices_own_is_none(text: str) -> None:
    assert read_line(text, 1).bdf is None


def test_a_name_before_no_envelope_stays() -> None:
    for text in ("kern.log: nothing", "box | nothing", "13:47:22 hello there", "11/20/24 nothing", "- nothing"):
        assert not read_line(text, 1).headed


def test_levels_are_read() -> None:
    levels = {"<3>x": 3, "<12>x": 4, "6,1,2,-;x": 6, "kern  :warn  : [ 1.0] x": 4, "[ 1.0] x": None}
    for text, level in levels.items():
        assert read_line(text, 1).level == level


def test_a_json_record_of_the_journal() -> None:
    text = (
        '{"__REALTIME_TIMESTAMP":"1756765529123456","_SOURCE_MONOTONIC_TIMESTAMP":"12345678","PRIORITY":"3",'
        '"_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel","MESSAGE":"' + MESSAGE + '"}\n'
    )
    (event,) = parse_log(text).events
    assert (event.kind, event.first) == ("xid", 12.345678)
    assert parse_log(text.replace('"kernel"', '"myapp"')).events == ()
    assert len(parse_log('{"MESSAGE": broken NVRM: Xid (PCI:0000:41:00): 79,\n').events) == 1


@pytest.mark.parametrize("program", ["gpu-watch[4242]", "systemd[1]"])
def test_programs_that_repeat_kernel_messages_are_no_kernel(program: str) -> None:
    assert parse_log(f"Sep 19 16:18:02 box {program}: {MESSAGE}\n").events == ()


def test_lines_that_a_mailer_wrapped_are_joined() -> None:
    log = parse_log(
        "> [   50.947829] pcieport 0000:00:1b.0: PCIe Bus Error: severity=Uncorrected\n"
        "> (Non-Fatal), type=Transaction Layer, (Receiver ID)\n"
        "> [   50.947830] pcieport 0000:00:1b.0:   device [8086:06ac] error\n"
        "> status/mask=00200000/00010000\n"
        "> [   50.947831] pcieport 0000:00:1b.0:    [21] ACSViol                (First)\n"
        "\npci 0030:02:01.0: bridge window [mem size 0x400000000 64bit pref]: can't \n"
        "assign; no space\n"
    )
    assert [(event.kind, event.bdf, event.labels, event.line) for event in log.events] == [
        ("aer-nonfatal", "0000:00:1b.0", ("ACSViol",), 1), ("bar-assign-fail", "0030:02:01.0", ("window mem pref",), 7),
    ]


def test_what_is_no_wrapped_line_stays_apart() -> None:
    head = "[   50.947829] pcieport 0000:00:1b.0: PCIe Bus Error: severity=Uncorrected"
    assert not wrapped(head[:30], "(Non-Fatal)")
    assert wrapped(head, "(Non-Fatal), type=...")
    assert not wrapped(head, "")
    assert not begins_message("(Non-Fatal), type=...", stamped=True)
    assert not begins_message("assign; no space", stamped=False)
    for text in ("[   50.947829] x", "pci 0000:41:00.0: x", "[12] Timeout", "", "   "):
        assert begins_message(text, stamped=False)


def test_a_continued_record_of_kmsg_names_its_device() -> None:
    log = parse_log("3,900,206764307,-;[drm] *ERROR* ring sdma0 timeout, signaled seq=1, emitted seq=2\n"
                    " SUBSYSTEM=pci\n DEVICE=+pci:0000:03:00.0\n6,901,206764308,-;amdgpu: other\n")
    (event,) = log.events
    assert (event.kind, event.bdf, event.first) == ("amdgpu-ring-timeout", "0000:03:00.0", 206.764307)


LONG = "".join(
    f"[{second:5d}.000001] pcieport 0000:00:03.1: AER: Correctable error message received from 0000:00:00.0\n"
    f"[{second:5d}.000002] pcieport 0000:00:03.1: PCIe Bus Error: severity=Correctable, type=Data Link Layer,\n"
    f"(Receiver ID)\n"
    f"[{second:5d}.000003] pcieport 0000:00:03.1:   device [1022:1453] error status/mask=00000040/00006000\n"
    f"[{second:5d}.000004] usb 1-1: an ordinary line\n"
    for second in range(10, 60)
)


@pytest.mark.parametrize("size", [1, 7, 80, 333, 100_000])
def test_pieces_of_any_size_read_the_same(size: int) -> None:
    data = LONG.encode()
    parser = LogParser()
    for at in range(0, len(data), size):
        parser.feed(data[at:at + size])
    log = parser.finish()
    assert log == parse_log(data)
    (event,) = log.events
    assert (event.labels, event.count, event.line) == (("BadTLP",), 50, 2)
    assert (event.first, event.last) == (10.000002, 59.000002)
    assert (log.lines, log.first_seconds, log.last_seconds) == (250, 10.000001, 59.000004)


def test_reading_stops_at_the_bound_and_says_so() -> None:
    text = "[    1.0] x\n" * 10 + f"[    2.0] {MESSAGE}\n"
    assert (parse_log(text).lines, parse_log(text).truncated, len(parse_log(text).events)) == (11, False, 1)
    assert not parse_log(text, max_lines=11).truncated
    short = parse_log(text, max_lines=10)
    assert (short.lines, short.truncated, short.events) == (10, True, ())
    assert parse_log("x", max_lines=0).truncated
    assert parse_log(text.rstrip("\n"), max_lines=10).truncated


def test_an_empty_text_is_no_log() -> None:
    for text in ("", "\n\n", b""):
        log = parse_log(text)
        assert (log.events, log.boots, log.stamped, log.first_seconds) == ((), 0, False, None)


def test_utf16_as_windows_saves_it() -> None:
    assert len(parse_log(f"[    2.0] {MESSAGE}\n".encode("utf-16")).events) == 1


BOOT = "[    0.000000] Linux version 6.8.0 (gcc)\n[    0.000000] Command line: ro quiet{}\n"
XID = "[   {}.000000] NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus.\n"


def test_boots_are_told_apart_and_facts_are_the_last_ones() -> None:
    log = parse_log(BOOT.format(" a") + XID.format(10) + BOOT.format(" b") + XID.format(20) + XID.format(21))
    assert [(event.boot, event.count, event.first) for event in log.events] == [(0, 1, 10.0), (1, 2, 20.0)]
    assert (log.boots, log.facts.command_line) == (2, "ro quiet b")


def test_a_log_that_begins_in_an_earlier_boot() -> None:
    log = parse_log(XID.format(90) + BOOT.format(""))
    assert (log.boots, log.events[0].boot, log.facts.from_boot) == (2, 0, True)


def test_the_borders_of_a_journal() -> None:
    first, second = "-- Boot " + "a" * 32 + " --\n", "-- Boot " + "b" * 32 + " --\n"
    text = first + BOOT.format("") + XID.format(10) + second + BOOT.format("") + XID.format(20)
    assert [event.boot for event in parse_log(text).events] == [0, 1]
    assert parse_log(text).boots == 2
    assert parse_log(XID.format(10) + "-- Reboot --\n" + BOOT.format("") + XID.format(20)).boots == 2


def test_the_wall_clock_alone_orders_boots_too() -> None:
    line = "Sep 19 16:18:02 box kernel: usb 1-1: an ordinary line\n"
    assert parse_log("Sep 19 16:18:02 box kernel: Linux version 6.8.0 (gcc)\n" + line * 30).boots == 1
    assert parse_log(line * 30 + "Sep 19 16:18:02 box kernel: Linux version 6.8.0 (gcc)\n").boots == 2
