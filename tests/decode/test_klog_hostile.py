"""Whatever is in a log: no exception, no control character, no endless search; and an ordinary log costs little.

More mutated lines than a test run has time for (a minute for each 300 000):

    BOXCHECK_FUZZ_EXAMPLES=1000000 .venv/bin/python -m pytest tests/decode/test_klog_hostile.py -k fuzz
"""

from __future__ import annotations

import functools
import os
import random
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcheck.decode.klog import KernelLog, LogParser, parse_log
from boxcheck.decode.klog.anchors import ANCHORS
from boxcheck.decode.klog.assemble import MAX_LINE_CHARACTERS, Assembler, assemble
from boxcheck.decode.klog.envelope import Line
from boxcheck.decode.klog.ledger import MAX_EVENTS
from boxcheck.decode.text import clean_text

from .klog_lines import aer
from .test_klog_envelope import ENVELOPES
from .test_klog_events import HARMLESS, SINGLE

WORDS = sorted({word for _, words in ANCHORS for word in words})
MESSAGES = [*SINGLE, *HARMLESS, *aer("Correctable", 0x1040), *aer("Uncorrected (Fatal)", 0x20)]
FRAGMENTS = [
    *WORDS, *MESSAGES, "0000:41:00.0", "pcieport 0000:40:01.1: ", "[ 6] BadTLP", "status/mask=00000040/00006000",
    "GPU reset begin!", "{1}[Hardware Error]: ", "event severity: fatal", "section_type: PCIe error", "\n", "\r\n", " ",
    "\x1b[31m", "\x00", "\u202e", "é", "\udcff", "9" * 40, "0x" + "f" * 40, "> ", "<6>", "[    1.000000] ", "6,1,2,-;",
]


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from strings(msgspec.structs.astuple(value))
    elif isinstance(value, tuple):
        for part in value:
            yield from strings(part)


def check(log: KernelLog) -> None:
    for text in strings(log):
        assert clean_text(text, 10_000) == text
        assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)
        text.encode()
    for event in log.events:
        assert 1 <= event.line <= max(log.lines, 1)
        assert event.count >= 0
        assert event.says
        assert len(event.text) <= 300
        assert all(len(label) <= 96 for label in event.labels)
    msgspec.json.encode(log)


@given(st.text(max_size=400) | st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_text(text: str | bytes) -> None:
    check(parse_log(text))


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=12), max_size=40).map("".join))
@settings(max_examples=400, deadline=None)
def test_any_mix_of_kernel_words(text: str) -> None:
    check(parse_log(text))


FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
CORPUS = Path(__file__).parents[1] / "corpus" / "klog"


@functools.cache
def seeds() -> tuple[str, ...]:
    """All lines that the mutations start from: the messages of the tests in all envelopes, our corpus, the fixtures."""
    lines = [envelope.replace("{}", message) for message in MESSAGES for envelope in list(ENVELOPES)[::3]]
    for root, endings in ((CORPUS, (".log",)), (FIXTURES, (".log", ".txt"))):
        for path in sorted(root.rglob("*")) if root.is_dir() else ():
            if path.suffix in endings and path.is_file():
                lines += path.read_bytes().decode("utf-8", "replace").splitlines()[:3000]
    return tuple(dict.fromkeys(line for line in lines if line.strip()))


def mutated(seed: int, count: int) -> Iterator[str]:
    """Real lines, then cut, doubled, spliced, swapped and with characters changed."""
    chance = random.Random(seed)
    lines = seeds()
    for _ in range(count):
        line = chance.choice(lines)
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(line) + 1)
            match chance.randrange(8):
                case 0:
                    line = line[:at]
                case 1:
                    line = line[at:]
                case 2:
                    line = line[:at] + chance.choice(FRAGMENTS) + line[at:]
                case 3:
                    line = line[:at] + chr(chance.randrange(0x300)) + line[at + 1:]
                case 4:
                    line = line[:at] + line[max(0, at - chance.randrange(30)):]
                case 5:
                    line = line[:at] + chance.choice(lines)[at:]
                case 6:
                    line = line[:at] + line[at:at + 5] * chance.randrange(40)
                case _:
                    line = line[:at] + "\n" + line[at:]
        yield line


SLOWEST_BATCH_SECONDS = 5.0
"""For 2 000 lines. An ordinary batch takes a tenth of a second."""


def fuzz(seed: int, count: int, batch: int = 2000) -> int:
    done = 0
    lines = mutated(seed, count)
    while done < count:
        part = [line for _, line in zip(range(min(batch, count - done)), lines, strict=False)]
        text = ("\n" if done % 3 else "\r\n").join(part)
        before = time.process_time()
        parser = LogParser(None, residue=True, since=float(done % 7) if done % 2 else None)
        parser.feed(text.encode("utf-8", "replace"))
        log = parser.finish()
        assert time.process_time() - before < SLOWEST_BATCH_SECONDS, (seed, done)
        check(log)
        done += len(part)
    return done


def test_mutated_lines_by_fuzz() -> None:
    """`BOXCHECK_FUZZ_EXAMPLES` lines without an exception and without one that takes long."""
    count = int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "10000"))
    assert fuzz(seed=20260101, count=count) == count
    assert len(seeds()) > 500


def test_the_short_way_of_reading_a_line_is_the_long_one() -> None:
    """Whatever the quick patterns take off is what `read_line` takes off, also where a body was seen before."""
    def parts(line: Line, after: int) -> tuple[object, ...]:
        return (line.number, line.message, line.seconds, line.stamp, line.level, line.foreign, line.headed,
                line.split(), after)

    quick_ones = 0
    assembler = Assembler()
    chance = random.Random(1)
    lines = [line for line in mutated(4, 12_000) if "\n" not in line]
    for line in lines:
        second = line[:30] + "x" if chance.random() < 0.9 else chance.choice(lines)
        buffer = f"{line}\n{second}\n[    1.000000] x\n".encode("utf-8", "replace")
        for _ in range(2):
            quick = assembler._quick(buffer, 0, 7)
            if quick is not None:
                quick_ones += 1
                assert parts(*quick) == parts(*assemble(buffer, 0, 7)), buffer
    assert quick_ones > len(lines) // 4


def seconds_for(data: bytes, tries: int = 3) -> float:
    """Processor time, so that a busy machine does not fail the test; the best of some tries."""
    best = float("inf")
    for _ in range(tries):
        start = time.process_time()
        parse_log(data)
        best = min(best, time.process_time() - start)
    return best


HARD = [
    *WORDS, *(word + " " for word in WORDS), *MESSAGES, "DMI: , BIOS ", "NVRM: loading NVIDIA UNIX    ", "[[[[",
    "((((", "    ",
    "Machine check events logged [Hardware Error]", "acpi PNP0A08:00: _OSC: [", "EDAC MC0: 1 CE on on on on ",
    "[gfxhub] page fault page fault process ", "ring ring ring timeout ", "GPU GPU GPU fallen off the bus NVRM: ",
    "0000:00:00.0 AER enabled with IRQ ", "{1}{1}[Hardware Error]: Error 0, type:", "task blocked for more than ",
    "[drm:[drm:[drm:aaaaaaaaaaaaaaaa_ring_test_ib IB test", "thermal_zone1 critical temperature ",
    "PCIe Bus Error: serverity= type=AAAA AAAA AAAA", "API mismatch NVRM: has the version 1.2.3.4.5.6.7.8, ",
]


@pytest.mark.parametrize("piece", HARD)
def test_no_message_takes_long(piece: str) -> None:
    """A line filled with the words that a pattern looks for: no pattern may try them in all their combinations."""
    line = (piece * (2 * MAX_LINE_CHARACTERS // len(piece) + 1)).replace("\n", " ")[:2 * MAX_LINE_CHARACTERS]
    assert seconds_for(f"[    1.000000] {line}\n".encode() * 20, tries=2) < 1.0


def test_time_grows_with_length() -> None:
    """One line without an end, full of words: twice the length takes twice the time, not four times."""
    unit = b"AER: PCIe Bus Error NVRM: Xid (PCI:0000:41:00): 79, GPU reset begin! EDAC MC0: 1 CE on x ("
    short, long = seconds_for(unit * 5_000), seconds_for(unit * 20_000)
    assert long < 10 * short + 0.05


def test_a_flood_of_different_devices_is_bounded() -> None:
    lines = (f"[ {n}.000000] NVRM: Xid (PCI:{n >> 13:04x}:{n >> 5 & 255:02x}:{n & 31:02x}): 79, x\n"
             for n in range(MAX_EVENTS + 500))
    log = parse_log("".join(lines))
    assert len(log.events) == MAX_EVENTS
    assert log.truncated


ORDINARY = "".join(
    f"[{n / 100:12.6f}] usb 1-{n % 9}: new high-speed USB device number {n % 99} using xhci_hcd, ordinary text\n"
    for n in range(100_000)
).encode()


def test_an_ordinary_log_costs_little() -> None:
    """100 000 lines in half a second, 3 000 in 15 ms (after the modules are loaded)."""
    assert parse_log(ORDINARY).events == ()
    assert seconds_for(ORDINARY, tries=5) < 0.5
    boot = "".join(f"[{n / 100:12.6f}] {HARMLESS[n % len(HARMLESS)]}\n" for n in range(300)).encode()
    # A tenth of the lines are ones that must be looked at, as in the log of a real boot.
    assert seconds_for(boot + ORDINARY[:len(ORDINARY) * 27 // 1000], tries=9) < 0.015

