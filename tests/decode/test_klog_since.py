"""What was before a moment is left out, and what nothing tells of is kept and counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from boxcheck.decode.klog import KernelLog, LogParser
from boxcheck.decode.klog.since import wall_time

XID = "NVRM: Xid (PCI:0000:{:02x}:00): 79, pid=0, GPU has fallen off the bus."


def read(text: str, since: float | datetime | None, residue: bool = False) -> KernelLog:
    parser = LogParser(None, since=since, residue=residue)
    parser.feed(text.encode())
    return parser.finish()


def kept(log: KernelLog) -> list[str | None]:
    return [event.bdf for event in log.events]


SECONDS = "".join(f"[{at:5d}.000000] {XID.format(bus)}\n" for at, bus in ((10, 1), (20, 2), (30, 1)))


def test_seconds_since_boot() -> None:
    assert kept(read(SECONDS, None)) == ["0000:01:00.0", "0000:02:00.0"]
    for since, buses in ((20.0, ["0000:01:00.0", "0000:02:00.0"]), (20.1, ["0000:01:00.0"]), (30.1, [])):
        log = read(SECONDS, since)
        assert (kept(log), log.before_since, log.since_unknown) == (buses, 2 - len(buses), 0)
    # An event that goes on keeps its beginning.
    (event,) = read(SECONDS, 25.0).events
    assert (event.first, event.last, event.count) == (10.0, 30.0, 2)


def test_seconds_count_from_the_last_boot() -> None:
    boot = "[    0.000000] Linux version 6.8.0 (gcc)\n"
    log = read(boot + f"[  900.000000] {XID.format(1)}\n" + boot + f"[    5.000000] {XID.format(2)}\n", 1.0)
    assert (kept(log), log.before_since) == (["0000:02:00.0"], 1)


def test_a_log_without_that_sort_of_time_keeps_and_says_so() -> None:
    wall = f"[Thu Feb 29 13:47:22 2024] {XID.format(1)}\n"
    log = read(wall, 100.0)
    assert (kept(log), log.before_since, log.since_unknown) == (["0000:01:00.0"], 0, 1)
    for text in (SECONDS, XID.format(1) + "\n", f"[  +0.000019] {XID.format(1)}\n"):
        log = read(text, datetime(2024, 3, 1, tzinfo=UTC))
        assert (log.before_since, log.since_unknown) == (0, len(log.events))


@pytest.mark.parametrize("stamp", [
    "[Thu Feb 29 13:47:22 2024] ", "2024-02-29T13:47:22,500000+00:00 ", "2024-02-29T13:47:22+0000 box kernel: ",
    "kern: warning: [2024-02-29T13:47:22.774557243Z]: ", "Feb 29 13:47:22 box kernel: ", "1709214442.123456 box kernel: ",
    "Thu 2024-02-29 13:47:22 UTC box kernel: ", "2024-02-29T14:47:22.123456+01:00 box kernel: [   12.345678] ",
    "[Feb29 13:47] ",
])
def test_wall_times_in_each_spelling(stamp: str) -> None:
    text = f"{stamp}{XID.format(1)}\n"
    early, late = datetime(2024, 2, 29, 13, 47, 0, tzinfo=UTC), datetime(2024, 2, 29, 13, 48, 0, tzinfo=UTC)
    assert (kept(read(text, early)), read(text, early).since_unknown) == (["0000:01:00.0"], 0)
    log = read(text, late)
    assert (kept(log), log.before_since, log.since_unknown) == ([], 1, 0)
    # Told in another zone, the moment is the same for a stamp that has its zone; another clock for one that has none.
    west = late.astimezone(timezone(timedelta(hours=-9)))
    zoned = any(mark in stamp for mark in ("+0", "Z]", "UTC", "1709"))
    assert read(text, west).before_since == (1 if zoned else 0)


def test_a_year_that_is_not_there_is_the_nearest_one() -> None:
    near = datetime(2026, 1, 5, tzinfo=UTC)
    assert wall_time("Dec 31 23:00:00", near) == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert wall_time("Jan  6 01:00:00", near) == datetime(2026, 1, 6, 1, tzinfo=UTC)
    assert wall_time("Feb 29 01:00:00", datetime(2023, 12, 1, tzinfo=UTC)) == datetime(2024, 2, 29, 1, tzinfo=UTC)
    assert wall_time("Dec 31 23:00:00", near.replace(tzinfo=None)) == datetime(2025, 12, 31, 23, tzinfo=UTC)


def test_the_same_moment_in_two_zones() -> None:
    zone = timezone(timedelta(hours=2))
    assert wall_time("2024-02-29T13:47:22Z", datetime(2024, 1, 1, tzinfo=zone)) == datetime(2024, 2, 29, 13, 47, 22, tzinfo=UTC)
    # A question without a zone is about the clock as the log spells it.
    naive = wall_time("2024-02-29T13:47:22+05:00", datetime(2024, 1, 1))
    assert naive is not None
    assert (naive.hour, naive.minute) == (13, 47)


@pytest.mark.parametrize("text", [
    "", "x", "+0.000019", "Foo 31 12:00:00", "Feb 31 12:00:00", "2024-13-01T00:00:00Z", "Feb 29 12:00:00 2023",
    "2024-02-29T25:00:00Z", "2024-02-29T13:47:22+99:99", "0000-00-00 00:00:00",
])
def test_what_is_no_time(text: str) -> None:
    assert wall_time(text, datetime(2024, 1, 1, tzinfo=UTC)) is None


def test_residue_is_left_out_too() -> None:
    text = "<3>[   10.000000] foo: it failed\n<3>[   20.000000] bar: it failed\n"
    log = read(text, 15.0, residue=True)
    assert ([entry.text for entry in log.residue], log.before_since) == (["bar: it failed"], 1)
