"""Reading costs the same memory whatever the length, and little time: whole logs in `tests.bench.triage_speed`.

The limits are a third of what a two-core machine does under load, in processor time, so that they fail for a mistake and
not for a busy machine.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from boxcheck.decode.klog import KernelLog, LogParser
from tests.bench.triage_speed import Clock, flood, mixed

MEGABYTE = 1 << 20
MOST_BYTES = 60 * MEGABYTE
"""Of Python's objects; a process of it adds some 15 MB."""


def times(piece: bytes, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield piece


def junk() -> Iterator[bytes]:
    chance = random.Random(1)
    pieces = [chance.randbytes(MEGABYTE) for _ in range(3)]
    for index in range(24):
        yield pieces[index % 3]


def devices() -> Iterator[bytes]:
    for n in range(0, 25_000, 1000):
        yield b"".join(b"[%9d.000000] NVRM: Xid (PCI:%04x:%02x:%02x): 79, x\n" % (m, m >> 13, m >> 5 & 255, m & 31)
                       for m in range(n, n + 1000))


# name -> (pieces, lines, seconds of processor that it may take)
STREAMS: dict[str, tuple[Callable[[], Iterator[bytes]], int | None, float]] = {
    "one line": (lambda: times(b"x" * MEGABYTE, 64), 1, 2.0),
    "one line of words": (lambda: times((b"NVRM: AER: error failed " * 50_000)[:MEGABYTE], 2), 1, 4.0),
    "NUL": (lambda: times(b"\0" * MEGABYTE, 64), 1, 2.0),
    "junk": (junk, None, 4.0),
    "line ends": (lambda: times(b"\n" * MEGABYTE, 24), 24 * MEGABYTE, 2.0),
    "CR": (lambda: times(b"\r" * MEGABYTE, 24), 24 * MEGABYTE, 2.0),
    "UTF-16": (lambda: times(b"\xff\xfe" + ("[    1.000000] usb 1-1: ordinary\n" * 10_000).encode("utf-16-le"), 1), 10_000, 2.0),
    "a record without an end": (lambda: times(b"__CURSOR=a\nPRIORITY=4\nMESSAGE=" + b"x" * MEGABYTE, 24), None, 2.0),
    "an array without an end": (lambda: times(b'{\n\t"MESSAGE" : [\n' + b"\t1,\n" * 50_000, 2), None, 4.0),
    "25 000 devices": (devices, 25_000, 4.0),
}


def read(pieces: Iterator[bytes]) -> KernelLog:
    parser = LogParser(None, residue=True)
    for piece in pieces:
        parser.feed(piece)
    return parser.finish()


@pytest.mark.parametrize("name", STREAMS)
def test_memory_stays(name: str) -> None:
    make, lines, _ = STREAMS[name]
    tracemalloc.start()
    try:
        log = read(make())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES
    assert lines is None or log.lines == lines
    assert log.truncated == (name == "25 000 devices")


@pytest.mark.parametrize("name", STREAMS)
def test_time_stays(name: str) -> None:
    make, _, limit = STREAMS[name]
    pieces = list(make())
    start = time.process_time()
    read(iter(pieces))
    assert time.process_time() - start < limit


@pytest.mark.parametrize(("make", "least"), [(mixed, 40.0), (flood, 6.0)])
def test_megabytes_a_second(make: Callable[[Clock, random.Random], Iterator[str]], least: float) -> None:
    lines = make(Clock(), random.Random(1))
    data = "".join(line + "\n" for _, line in zip(range(50_000 if make is mixed else 20_000), lines, strict=False)).encode()
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        log = read(iter([data]))
        best = min(best, time.process_time() - start)
    assert len(log.events) > 2
    assert len(data) / 1e6 / best > least


def test_a_boot_of_many_lines_is_read_to_its_end() -> None:
    """Without a bound, five million lines are no end."""
    parser = LogParser(None)
    for _ in range(110):
        parser.feed(b"x\n" * 50_000)
    parser.feed(b"[    1.000000] NVRM: Xid (PCI:0000:41:00): 79, x\n")
    log = parser.finish()
    assert (log.lines, len(log.events), log.truncated) == (5_500_001, 1, False)
