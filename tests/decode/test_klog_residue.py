"""Lines that nobody knows are listed and never judged; lines of what was understood are not among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.decode.klog import KernelLog, LogParser, parse_log
from boxcheck.decode.klog.envelope import read_line
from boxcheck.decode.klog.residue import MAX_ENTRIES
from boxcheck.decode.text import clean_text

CORPUS = Path(__file__).parents[1] / "corpus" / "klog"

AER = (
    "pcieport 0000:00:03.1: AER: Correctable error message received from 0000:00:00.0",
    "pcieport 0000:00:03.1: PCIe Bus Error: severity=Correctable, type=Data Link Layer, (Receiver ID)",
    "pcieport 0000:00:03.1:   device [1022:1453] error status/mask=00000040/00006000",
    "pcieport 0000:00:03.1:    [ 6] BadTLP                ",
)
GHES = (
    "{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 5",
    "{1}[Hardware Error]: event severity: recoverable",
    "{1}[Hardware Error]:  Error 0, type: fatal",
    "{1}[Hardware Error]:   section_type: PCIe error",
    "{1}[Hardware Error]:   device_id: 0000:04:00.0",
    "{1}[Hardware Error]:   aer_uncor_status: 0x00100000, aer_uncor_mask: 0x00010000",
)
UNKNOWN = "frobnicator 0000:41:00.0: phase lock was lost on lane 3 (0xdeadbeef)"


def read(text: str, size: int = 1_000_000) -> KernelLog:
    parser = LogParser(None, residue=True)
    data = text.encode()
    for at in range(0, len(data), size):
        parser.feed(data[at:at + size])
    return parser.finish()


def found(log: KernelLog) -> list[tuple[str, int, int | None, int]]:
    return [(entry.text, entry.count, entry.level, entry.line) for entry in log.residue]


# An envelope with a level, for level 4 and for level 5.
LEVELS = {
    "kmsg": ("4,{n},{n}000001,-;{}", "5,{n},{n}000001,-;{}"),
    "prefix": ("<4>[{n:5d}.000001] {}", "<5>[{n:5d}.000001] {}"),
    "dmesg -x": ("kern  :warn  : [{n:5d}.000001] {}", "kern  :notice: [{n:5d}.000001] {}"),
    "dmesg -x error": ("kern  :err   : [{n:5d}.000001] {}", "kern  :info  : [{n:5d}.000001] {}"),
    "Talos": ("10.5.0.3: kern: warning: [2026-02-06T01:31:{n}.774557243Z]: {}",
              "10.5.0.3: kern:    info: [2026-02-06T01:31:{n}.774557243Z]: {}"),
    "Talos error": ("kern:     err: [2026-02-06T01:31:{n}.774557243Z]: {}", "kern:  notice: [2026-02-06T01:31:{n}.774557243Z]: {}"),
    "json": ('{{"PRIORITY":"4","_TRANSPORT":"kernel","_SOURCE_MONOTONIC_TIMESTAMP":"{n}000001","MESSAGE":"{}"}}',
             '{{"PRIORITY":"5","_TRANSPORT":"kernel","_SOURCE_MONOTONIC_TIMESTAMP":"{n}000001","MESSAGE":"{}"}}'),
}


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("size", [50, 1_000_000])
def test_a_level_decides_where_there_is_one(name: str, size: int) -> None:
    warning, notice = LEVELS[name]
    lines = [warning.format(UNKNOWN, n=11), notice.format("usb 1-1: failed with fatal error", n=12),
             warning.format(UNKNOWN.replace("lane 3", "lane 14"), n=13), *(warning.format(line, n=20) for line in (*AER, *GHES))]
    log = read("\n".join(lines) + "\n", size)
    ((text, count, level, line),) = found(log)
    assert (text, count, line) == (UNKNOWN, 2, 1)
    assert level == (3 if "err" in name else 4)
    assert [event.kind for event in log.events] == ["aer-correctable", "ghes-pcie"]
    (entry,) = log.residue
    assert entry.first != entry.last


@pytest.mark.parametrize("line", [
    "[drm:frob] *ERROR* dmub lost", "nvme nvme0: frobnication failed: -110", "foo: fatal trouble", "foo: request timed out",
    "bar 0000:41:00.0: error -5 while reading", "foo: Unable to find it", "foo: cannot do it", "BUG: frob in foo",
])
def test_a_word_decides_where_there_is_no_level(line: str) -> None:
    log = read(f"[   10.000000] usb 1-1: an ordinary line\n[   11.000000] {line}\n")
    assert found(log) == [(line, 1, None, 2)]


@pytest.mark.parametrize("line", [
    "EXT4-fs (nvme0n1p2): re-mounted. Opts: errors=remount-ro", "usb 1-1: an ordinary line", "foo: terrorist",
    "PCI: errors-only mode", "foo: failsafe clock",
])
def test_other_lines_are_none(line: str) -> None:
    assert found(read(f"[   11.000000] {line}\n")) == []


def test_it_is_asked_for() -> None:
    assert parse_log(f"<3>[   11.000000] {UNKNOWN}\n").residue == ()


def test_prose_around_a_log_is_none() -> None:
    log = read("Hi, the GPU failed with an error today:\n[   10.000000] usb 1-1: an ordinary line\nfatal error, help!\n")
    assert found(log) == []
    assert found(read("my GPU failed with an error\n")) == []
    assert len(read("amdgpu 0000:03:00.0: failed to frob\n").residue) == 1


def test_a_program_of_user_space_is_none() -> None:
    assert found(read("Sep 19 16:18:02 box gpu-watch[312]: failed: fatal error\n")) == []


def test_the_dump_of_a_crash_is_counted_with_its_head() -> None:
    dump = ("CPU: 3 PID: 99 Comm: foo Not tainted 6.8.0 #1", "Hardware name: box", "RIP: 0010:frob+0x12/0x40",
            "RAX: 0000000000000000 RBX: 0000000000000063", "Call Trace:", " <TASK>", " ? __die+0x1f/0x70",
            " page_fault_oops+0x15c/0x4f0", " </TASK>", "---[ end trace 0000000000000000 ]---")
    lines = ["BUG: unable to handle page fault for address: 0000000000001234", *dump]
    log = read("".join(f"<4>[   11.000000] {line}\n" for line in lines))
    assert [event.kind for event in log.events] == ["oops"]
    assert (found(log), log.dump_lines) == ([], len(dump))
    alone = read("".join(f"<4>[   11.000000] {line}\n" for line in ("frob: something new happened", *dump)))
    assert [entry.text for entry in alone.residue] == ["frob: something new happened"]
    # Far from any head they belong to nothing, and are listed.
    assert len(read("<4>[   11.000000] Call Trace:\n").residue) == 1


def test_chatter_is_listed_last_and_makes_room() -> None:
    names = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrstuvwxy"]
    chatter = "".join(f"<4>[   11.000000] Bluetooth: {name} unexpected\n" for name in names)
    log = read(chatter)
    assert (len(log.residue), log.residue_dropped) == (MAX_ENTRIES, len(names) - MAX_ENTRIES)
    assert all(entry.common for entry in log.residue)
    log = read(chatter + f"<4>[   12.000000] {UNKNOWN}\n")
    assert (log.residue[0].text, log.residue[0].common) == (UNKNOWN, False)
    assert log.residue_dropped == len(names) - MAX_ENTRIES + 1
    assert sum(entry.count for entry in log.residue) + log.residue_dropped == len(names) + 1


def test_what_it_says_cannot_steer_a_terminal() -> None:
    (entry,) = read("<3>[   11.000000] foo: \x1b[31mfailed\u202e\n").residue
    assert entry.text.isprintable()


# Notes on what was left out

NOTES = {
    "[   24.264089][  T511] aer_ratelimit: 8156 callbacks suppressed": ("aer_ratelimit", 8156),
    "[   24.264089] net_ratelimit: 12 callbacks suppressed": ("net_ratelimit", 12),
    "[   24.264089] printk: systemd: 24 output lines suppressed due to ratelimiting": ("systemd", 24),
    "[   24.264089] printk: 45 messages suppressed.": ("printk", 45),
    "** 17 printk messages dropped **": ("printk", 17),
    "** 17 printk messages dropped ** [   24.264089] usb 1-1: an ordinary line": ("printk", 17),
    "Sep 19 16:18:02 box systemd-journald[312]: Suppressed 123 messages from kernel.service": ("kernel.service", 123),
    "Sep 19 16:18:02 box systemd-journald[312]: Missed 12 kernel messages": ("kernel", 12),
    "Sep 19 16:18:02 box rsyslogd: imjournal: 45 messages lost due to rate-limiting (20000 allowed within 600 seconds)": ("imjournal", 45),
}


@pytest.mark.parametrize("line", NOTES)
def test_what_was_left_out_is_counted_apart(line: str) -> None:
    log = read(f"{line}\n" * 2)
    (note,) = log.suppressed
    assert (note.source, note.count, note.notes, note.line) == (NOTES[line][0], 2 * NOTES[line][1], 2, 1)
    assert (log.events, log.residue) == ((), ())


@pytest.mark.parametrize("line", [
    "[   24.264089] foo: suppressed the noise", "[   24.264089] Missed the bus", "Sep 19 16:18:02 box foo[3]: Suppressed messages",
])
def test_other_words_are_no_note(line: str) -> None:
    assert read(f"{line}\n").suppressed == ()


XID = "NVRM: Xid (PCI:0000:41:00): 31, pid=99, name=python3, MMU Fault"


@pytest.mark.parametrize(("text", "count"), [
    (f"Sep 19 16:18:02 box kernel: {XID}\nSep 19 16:18:09 box kernel: message repeated 3 times: [ {XID}]\n", 4),
    (f"Sep 19 16:18:02 box kernel: message repeated 3 times: [ [   12.345678] {XID}]\n", 3),
    (f"Sep 19 16:18:02 box kernel: [   12.345678] {XID}\n"
     f"Sep 19 16:18:09 box kernel: message repeated 2 times: [ [   12.345678] {XID}]\n", 3),
    (f"Sep 19 16:18:02 box kernel: {XID}\nSep 19 16:18:09 box last message repeated 5 times\n", 6),
    (f"Sep 19 16:18:02 box kernel: {XID}\nSep 19 16:18:03 box kernel: usb 1-1: x\nSep 19 16:18:09 box last message repeated 5 times\n", 1),
])
def test_a_line_that_stands_for_several_counts_so(text: str, count: int) -> None:
    (event,) = read(text).events
    assert (event.kind, event.count, event.line) == ("xid", count, 1)


def test_a_program_that_repeats_itself_is_no_kernel() -> None:
    assert read(f"Sep 19 16:18:02 box foo[4]: message repeated 3 times: [ {XID}]\n").events == ()


COMPANIONS = {
    "KGQ disable failed": ("amdgpu 0000:0b:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=1, emitted seq=2",
                           "[drm:gfx_v10_0_hw_fini [amdgpu]] *ERROR* KGQ disable failed"),
    "------------[ cut here ]------------": ("WARNING: CPU: 3 PID: 99 at drivers/foo/bar.c:120 frob+0x12/0x40 [foo]",
                                             "------------[ cut here ]------------"),
}


@pytest.mark.parametrize("words", COMPANIONS)
def test_a_line_that_only_goes_with_an_event_is_listed_when_it_stands_alone(words: str) -> None:
    event, companion = (f"<4>[   11.000000] {line}\n" for line in COMPANIONS[words])
    between = "".join(f"<6>[   11.000000] usb 1-1: ordinary {n}\n" for n in range(60))
    for text, listed in ((event + companion, 0), (companion + event, 0), (companion, 1), (companion + between + event, 1),
                         (event + between + companion, 1), (companion * 100, 100)):
        log = read(text)
        assert sum(entry.count for entry in log.residue) == listed
        assert log.dump_lines == (text.count(companion) if not listed else 0)


def test_little_of_what_the_corpus_holds_is_left_over() -> None:
    """Every line of it put at warning level: the families tell what they took, of records of several lines too."""
    lines = left = 0
    for path in sorted(CORPUS.glob("*.log")):
        if path.name.startswith("benign"):
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        raised = []
        for raw in text.splitlines():
            line = read_line(clean_text(raw, 2000), 1)
            raised.append(f"<4>[{line.seconds or 5.0:12.6f}] {line.message}" if line.headed and not line.foreign else raw)
        lines += len(raised)
        left += sum(entry.count for entry in read("\n".join(raised) + "\n").residue)
    if not lines:
        pytest.skip("no corpus beside this test")
    assert left < 0.05 * lines, (left, lines)
