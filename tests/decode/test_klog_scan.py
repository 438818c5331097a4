"""Two ways to look for words give the same lines; the words that triage adds come with their offsets."""

from __future__ import annotations

import random
import sys

import pytest

from boxcheck.decode.klog import LogParser
from boxcheck.decode.klog.scan import Scanner

WORDS = (b"GPU reset", b" reset", b"NVRM: ", b"AER: ", b"\n<4>", b"e", b"x")


def text(seed: int, size: int) -> bytes:
    chance = random.Random(seed)
    pieces = [*WORDS, b"\n", b"abc", b" ", b"GPU", b"\xff\x00", b"<4>"]
    return b"".join(chance.choice(pieces) for _ in range(size))


def lines_of(block: bytes, hits: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """The line (its number, that of a word's own end) and word of each hit."""
    return {(block.count(b"\n", 0, at + len(WORDS[index]) - 1), index) for at, index in hits}


@pytest.mark.parametrize("seed", range(30))
def test_both_ways_find_the_same(seed: int) -> None:
    pytest.importorskip("ahocorasick_rs")
    block = text(seed, 300)
    slow, fast = Scanner(WORDS), Scanner(WORDS)
    assert fast.quicken()
    for start, end in ((0, len(block)), (7, len(block) - 5), (50, 51), (9, 9)):
        plain, quick = slow.find(block, start, end), fast.find(block, start, end)
        assert lines_of(block, plain) == lines_of(block, quick)
        for hits in (plain, quick):
            ends = [at + len(WORDS[index]) for at, index in hits]
            assert ends == sorted(ends)
            assert all(start <= at and block[at:at + len(WORDS[index])] == WORDS[index] for at, index in hits)
            assert all(last <= end for last in ends)


def test_a_word_inside_another_is_found_too() -> None:
    for quick in (False, True):
        scanner = Scanner((b"GPU reset", b" reset"))
        assert not quick or scanner.quicken()
        assert scanner.find(b"amdgpu: GPU reset begin", 0, 23) == [(8, 0), (11, 1)]


def test_without_the_wheel_the_slow_way_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)
    # Words of its own: an automaton that was made before is kept.
    scanner = Scanner((*WORDS, b"of no other test"))
    assert not scanner.quicken()
    assert scanner.find(b"a NVRM: b", 0, 9) == [(2, 2)]


def test_no_words() -> None:
    scanner = Scanner(())
    assert not scanner.quicken()
    assert scanner.find(b"abc", 0, 3) == []


LINE = b"[    1.000000] usb 1-1: an ordinary line of no interest\n"
ALSO = (b"NVSMI LOG", b"nvbandwidth Version", b"reset")


@pytest.mark.parametrize("size", [1, 13, 1000, 300_000, 10_000_000])
def test_words_asked_for_come_with_their_offsets(size: int) -> None:
    data = (LINE * 3 + b"==============NVSMI LOG==============\n" + LINE * 30_000
            + b"nvbandwidth Version: v0.4\n[    2.000000] amdgpu 0000:03:00.0: amdgpu: GPU reset begin!\n" + LINE * 9)
    if size < 1000:
        data = data[:400] + data[-1000:]
    found: list[tuple[int, int]] = []
    parser = LogParser(None, also=ALSO, on_word=lambda at, index: found.append((at, index)))
    for at in range(0, len(data), size):
        parser.feed(data[at:at + size])
    log = parser.finish()
    assert found == [(data.index(word), index) for index, word in enumerate(ALSO) if index < 2] + [
        (data.index(b"reset"), 2)]
    assert [event.kind for event in log.events] == ["amdgpu-reset"]
    assert log.lines == data.count(b"\n")


def test_the_quick_way_reads_the_same_events() -> None:
    """In a long text the automaton looks; in a short one the same lines are found word by word."""
    events = b"".join(
        b"[%5d.000001] pcieport 0000:00:03.1: AER: Correctable error message received from 0000:00:00.0\n"
        b"[%5d.000002] pcieport 0000:00:03.1: PCIe Bus Error: severity=Correctable, type=Data Link Layer, (Receiver ID)\n"
        b"[%5d.000003] pcieport 0000:00:03.1:   device [1022:1453] error status/mask=00000040/00006000\n"
        b"[%5d.000004] pcieport 0000:00:03.1:    [ 6] BadTLP\n" % (at, at, at, at) for at in range(100, 200))
    small, large = LogParser(None), LogParser(None)
    small.feed(events)
    large.feed(LINE * 40_000 + events)
    one, two = small.finish().events, large.finish().events
    assert [(event.kind, event.labels, event.count, event.first, event.last) for event in one] == [
        ("aer-correctable", ("BadTLP",), 100, 100.000002, 199.000002)]
    assert [(event.kind, event.labels, event.count, event.first, event.last) for event in two] == [
        ("aer-correctable", ("BadTLP",), 100, 100.000002, 199.000002)]
    assert two[0].line == 40_002
