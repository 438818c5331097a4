"""The kernel's log while a run goes on: each event once, with how many are new."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from boxcheck.engine.logwatch import KEPT_BYTES, LogWatch
from boxcheck.host.kmsg import KmsgFollower
from boxcheck.model import Unread

XID = b"[  100.000000] NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
AER = (
    b"[  %d.000000] pcieport 0000:40:01.1: AER: Corrected error received: 0000:41:00.0\n"
    b"[  %d.000010] nvidia 0000:41:00.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer, (Receiver ID)\n"
    b"[  %d.000020] nvidia 0000:41:00.0:   device [10de:2684] error status/mask=00000080/0000a000\n"
    b"[  %d.000030] nvidia 0000:41:00.0:    [ 7] BadDLLP\n")


class Fed(KmsgFollower):
    """A follower that is given its lines."""

    def __init__(self) -> None:
        self.unread: Unread | None = None
        self.lines: list[bytes] = []

    def read(self) -> bytes:
        found, self.lines = b"".join(self.lines), []
        return found

    def close(self) -> None:
        pass


@pytest.fixture
def fed() -> tuple[LogWatch, Callable[[bytes], list[tuple[str, int]]]]:
    follower = Fed()
    watch = LogWatch(follower)

    def feed(text: bytes) -> list[tuple[str, int]]:
        follower.lines.append(text)
        return [(event.kind, more) for event, more in watch.news()]

    return watch, feed


def test_an_event_is_told_once(fed: tuple[LogWatch, Callable[[bytes], list[tuple[str, int]]]]) -> None:
    _, feed = fed
    assert ("xid", 1) in feed(XID)
    assert feed(b"[  101.000000] usb 1-1: new high-speed USB device number 5\n") == []
    assert feed(b"") == []


def test_what_happens_again_is_told_with_how_often_it_is_new(
    fed: tuple[LogWatch, Callable[[bytes], list[tuple[str, int]]]]
) -> None:
    _, feed = fed
    assert feed(AER % (1, 1, 1, 1)) == [("aer-correctable", 1)]
    assert feed(AER % (2, 2, 2, 2) + AER % (3, 3, 3, 3)) == [("aer-correctable", 2)]


def test_a_message_that_comes_in_two_pieces_is_one_event(
    fed: tuple[LogWatch, Callable[[bytes], list[tuple[str, int]]]]
) -> None:
    _, feed = fed
    lines = (AER % (1, 1, 1, 1)).splitlines(keepends=True)
    told = feed(b"".join(lines[:2])) + feed(b"".join(lines[2:]))
    assert {kind for kind, _ in told} == {"aer-correctable"}


def test_a_flood_is_bounded_and_goes_on_being_told(
    fed: tuple[LogWatch, Callable[[bytes], list[tuple[str, int]]]]
) -> None:
    watch, feed = fed
    total = 0
    for round in range(8):
        more = feed(b"".join(AER % ((1000 * round + at,) * 4) for at in range(600)))
        total += sum(number for kind, number in more if kind == "aer-correctable")
    assert len(watch._text) <= KEPT_BYTES + 400_000
    assert total >= 8 * 600 * 0.9


def test_a_log_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    watch = LogWatch(KmsgFollower(str(tmp_path / "none")))
    assert watch.unread is not None
    assert list(watch.news()) == []
    watch.close()


@pytest.mark.skipif(os.geteuid() != 0 or not os.access("/dev/kmsg", os.W_OK), reason="needs root and a writable /dev/kmsg")
def test_the_running_kernels_log_is_followed() -> None:
    follower = KmsgFollower()
    if follower.unread is not None:
        pytest.skip(follower.unread.why)
    watch = LogWatch(follower)
    word = f"boxcheck test {os.getpid()}"
    Path("/dev/kmsg").write_text(f"{word}\n")
    assert word.encode() in follower.read()
    watch.close()
