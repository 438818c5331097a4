"""What the logs of a boot hold of its last minutes, for a run that went down in it.

Reads   journalctl -k -b BOOT (that very boot by its id, never just "the one before"), else /var/log/kern.log and its
        like by the clock; of the rest of that journal only lines that tell of a shutdown; /sys/fs/pstore and
        /var/lib/systemd/pstore; ipmitool sel elist (root); the kernel's log of the boot after, which tells why the
        processor was reset (Linux 6.16, AMD) and what machine checks were left over
By hand sudo journalctl -b -1 -e; sudo ls -R /sys/fs/pstore /var/lib/systemd/pstore; sudo ipmitool sel elist
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from boxcheck.decode.klog import Event, KernelLog, parse_log
from boxcheck.decode.klog.since import wall_time
from boxcheck.decode.text import clean_text
from boxcheck.engine.down_words import UNCLEAN, of_bmc, orderly_line, reset_reasons
from boxcheck.host import LOG_LIMIT_BYTES, ProgramOutput
from boxcheck.host.programs import run_program
from boxcheck.model import Unread
from boxcheck.probes.bmc import EVENTS, NODES, BmcEvent, parse_events
from boxcheck.stress.survived_checks import Trace

JOURNAL_SECONDS, BMC_SECONDS = 30.0, 30.0
LAST_MINUTES_SECONDS = 300.0
"""What a log holds of this long before the end may have to do with it."""
CLOCK_TIME = ("ipmitool", "sel", "time", "get")
LOGS = ("var/log/kern.log", "var/log/kern.log.1", "var/log/messages", "var/log/syslog", "var/log/syslog.1")
PSTORE = ("sys/fs/pstore", "var/lib/systemd/pstore")
TAIL_BYTES = 8 << 20
KEPT_BYTES = 256 << 10
"""Of each text that is kept in the store: its end."""
FIRST_MINUTES_SECONDS = 120.0
"""What the kernel says so soon after its start of machine checks was left over from before."""
NEXT_BOOT_WITHIN_SECONDS = 3600.0

OFF_THE_BUS = 79
"""The Xid of a GPU that answers no more (NVIDIA, "XID errors")."""

Run = Callable[[Sequence[str], float], ProgramOutput | Unread]


def run_here(argv: Sequence[str], timeout_seconds: float) -> ProgramOutput | Unread:
    return run_program(list(argv), timeout_seconds, LOG_LIMIT_BYTES)


class End(msgspec.Struct, frozen=True, kw_only=True):
    """When and in which boot a session went down."""

    boot: str
    """Its boot id; empty where it is not known."""
    rebooted: bool
    began_seconds: float
    """When the session began, by the monotonic clock of that boot."""
    last_seconds: float
    """When it wrote its last record."""
    began: float
    """The same by the wall clock: seconds since the epoch."""
    last: float


class Found(msgspec.Struct, frozen=True, kw_only=True):
    log: str = ""
    """Where the kernel's log of that boot was read; empty where it was not."""
    unread: tuple[str, ...] = ()
    orderly: str = ""
    traces: tuple[Trace, ...] = ()
    hints: tuple[str, ...] = ()
    texts: dict[str, bytes] = {}
    """By name: what is kept."""
    kernel: bytes = b""
    """All of the kernel's log of that boot."""
    end: End | None = None


def look_around(
    end: End, *, root: str = "/", run: Run = run_here, this_boot: str | Unread | None = None,
    uptime_seconds: float | None = None, now: Callable[[], float] = time.time,
) -> Found:
    """Everything that is left. `this_boot`: the kernel's log since this start. Raises nothing for what it finds."""
    unread: list[str] = []
    texts: dict[str, bytes] = {}
    traces: list[Trace] = []
    hints: list[str] = []
    text, where = _kernel_log(end, root, run, this_boot, unread)
    if where:
        traces += _traces(parse_log(text).events, end, "kernel log")
        texts["kernel-log"] = text[-KEPT_BYTES:]
    for name, record in _crash_records(end, Path(root), unread, hints):
        traces += _traces(parse_log(record).events, end, "crash record")
        texts[f"pstore-{name}"] = record[-KEPT_BYTES:]
    bmc = _bmc(end, root, run, now, unread) if end.rebooted else []
    if bmc:
        texts["bmc"] = "\n".join(f"{one.when} {one.sensor} {one.event}" for one in bmc).encode()
        traces += filter(None, map(of_bmc, bmc))
    if end.rebooted and isinstance(this_boot, str):
        traces += _left_over(this_boot, end, uptime_seconds, now(), hints)
    return Found(
        log=where, unread=tuple(unread), orderly=_orderly(end, run) if end.rebooted else "",
        traces=tuple(dict.fromkeys(traces)), hints=tuple(dict.fromkeys(hints)), texts=texts, kernel=text, end=end)


# The kernel's log of that boot.


def _kernel_log(
    end: End, root: str, run: Run, this_boot: str | Unread | None, unread: list[str]
) -> tuple[bytes, str]:
    if not end.rebooted:
        if isinstance(this_boot, str):
            return this_boot.encode("utf-8", "replace"), "the kernel's log of this boot"
        unread.append(f"the kernel's log: {this_boot.why if isinstance(this_boot, Unread) else 'not asked'}")
        return b"", ""
    journal = _journal(end, run, "-k")
    if isinstance(journal, str) and journal.strip():
        return journal.encode(), "the journal of that boot"
    for name in LOGS:
        text = _window(Path(root, name), end)
        if text:
            return text, f"/{name}"
    why = journal.why if isinstance(journal, Unread) else "the journal holds nothing of that boot"
    unread.append(f"the kernel's log of that boot: {why}, and no file in /var/log reaches that far")
    return b"", ""


def _journal(end: End, run: Run, *words: str) -> str | Unread:
    boot = end.boot.replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{32}", boot):
        return Unread("which boot it was is not known", "absent")
    answer = run(
        ("journalctl", *words, "-b", boot, "-o", "short-monotonic", "--no-pager", "-q", "--no-hostname"),
        JOURNAL_SECONDS)
    if isinstance(answer, Unread):
        return answer
    if answer.exit != 0:
        why = clean_text(answer.stderr.strip().split("\n", 1)[0], 120)
        return Unread(why or "the journal has no such boot", "absent")
    return answer.stdout


def _window(path: Path, end: End) -> bytes:
    """Lines of a log with wall times from the run's beginning until the machine started again."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
            data = stream.read(TAIL_BYTES)
    except OSError:
        return b""
    near, found, inside = datetime.fromtimestamp(end.last, UTC).astimezone(), list[bytes](), False
    for line in data.splitlines():
        at = wall_time(line[:40].decode("utf-8", "replace"), near) or wall_time(
            line[:15].decode("utf-8", "replace"), near)
        if at is not None:
            seconds = at.timestamp()
            inside = end.began - 1 <= seconds <= end.last + LAST_MINUTES_SECONDS
            if inside and seconds >= end.last - 1 and b"Linux version " in line:
                break
        if inside:
            found.append(line)
    return b"\n".join(found)


def _traces(events: Iterable[Event], end: End, source: str) -> Iterator[Trace]:
    """Those of the last minutes. One without a time that counts from the start is not blamed."""
    for event in events:
        if event.severity == "benign" or not isinstance(event.last, float):
            continue
        if end.began_seconds - 1 <= event.last and event.last >= end.last_seconds - LAST_MINUTES_SECONDS and (
                end.rebooted or event.last <= end.last_seconds + 60):
            grave = event.severity == "fail" or (event.kind == "lockup" and "hard lockup" in event.labels) or (
                event.kind == "undervoltage")
            grave = grave and event.blame != "application"
            kind = "gpu-lost" if event.xid == OFF_THE_BUS else event.kind
            yield Trace(kind=kind, says=event.says, source=source, bdf=event.bdf, grave=grave)


# What a dying kernel and the BMC kept.


def _crash_records(end: End, root: Path, unread: list[str], hints: list[str]) -> Iterator[tuple[str, bytes]]:
    """Records made since the run began. Older ones stay until somebody removes them, and prove nothing."""
    old = 0
    for folder in PSTORE:
        place = root / folder
        try:
            paths = sorted(place.rglob("*"))[:64] if place.is_dir() else []
        except OSError as error:
            unread.append(f"/{folder}: {os.strerror(error.errno or 0).lower()}")
            continue
        if place.is_dir() and not os.access(place, os.R_OK | os.X_OK):
            unread.append(f"/{folder}: permission denied")
        for path in paths:
            try:
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                if status.st_mtime < end.began - 60:
                    old += 1
                    continue
                with open(path, "rb") as stream:
                    yield path.name, stream.read(TAIL_BYTES)
            except OSError as error:
                unread.append(f"/{folder}/{path.name}: {os.strerror(error.errno or 0).lower()}")
    if old:
        hints.append(f"{old} crash record{'s are' if old > 1 else ' is'} older than the run")


def _bmc(end: End, root: str, run: Run, now: Callable[[], float], unread: list[str]) -> list[BmcEvent]:
    """Rows of the event log since the last record, by this machine's clock: that of a BMC is often in another zone."""
    if not any(os.path.exists(f"{root.rstrip('/')}{node}") for node in NODES):
        return []
    answer, clock = run(EVENTS, BMC_SECONDS), run(CLOCK_TIME, BMC_SECONDS)
    for one in (answer, clock):
        if isinstance(one, Unread) or one.exit != 0:
            why = one.why if isinstance(one, Unread) else clean_text(one.stderr.strip().split("\n", 1)[0], 120)
            unread.append(f"the BMC's event log: {why or 'ipmitool failed'}")
            return []
    assert isinstance(answer, ProgramOutput)
    assert isinstance(clock, ProgramOutput)
    here = _bmc_time(clock.stdout.strip())
    if here is None:
        unread.append("the BMC's event log: its clock does not say the time")
        return []
    ahead = here - now()
    return [one for one in parse_events(answer.stdout) if one.asserted and (at := _bmc_time(one.when)) is not None
            and end.last - 60 <= at - ahead <= end.last + NEXT_BOOT_WITHIN_SECONDS]


def _bmc_time(text: str) -> float | None:
    """`11/28/2026 14:00:01`, with a zone behind it or none; two digits of the year in older versions."""
    for form in ("%m/%d/%Y %H:%M:%S", "%m/%d/%y %H:%M:%S"):
        with suppress(ValueError):
            return datetime.strptime(" ".join(text.split()[:2]), form).replace(tzinfo=UTC).timestamp()
    return None


# The boot after.

def _left_over(text: str, end: End, uptime: float | None, now: float, hints: list[str]) -> Iterator[Trace]:
    """Of the log of this boot, where it began soon after the end: else others may have gone down in between."""
    if uptime is None or not -60 <= now - uptime - end.last <= NEXT_BOOT_WITHIN_SECONDS:
        hints.append("this start was not soon after: what it says is not held against that end")
        return
    yield from reset_reasons(text)
    if UNCLEAN.search(text):
        hints.append("a file system was not closed: nobody shut the machine down in order")
    log: KernelLog = parse_log(text)
    for event in log.events:
        if event.kind in ("mce", "ghes-other", "ghes-memory", "ghes-pcie") and isinstance(event.first, float) and (
                event.first < FIRST_MINUTES_SECONDS and event.severity == "fail"):
            yield Trace(kind=event.kind, says=event.says, source="next start", bdf=event.bdf)


def _orderly(end: End, run: Run) -> str:
    """The line of the journal's end that tells of a shutdown; nothing else of it is kept."""
    journal = _journal(end, run, "-n", "500")
    return "" if isinstance(journal, Unread) else orderly_line(journal, end.began_seconds - 1)
