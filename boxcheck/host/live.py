"""The machine that boxcheck runs on. Reads, never writes, and records all that it reads.

What was answered once is answered the same way again, so that one inspection judges one state of the machine, and the
recording, written as a capture, gives the same answers elsewhere (`boxcheck.host.capture` answers in the same words).
"""

from __future__ import annotations

import os
import re
import stat as stat_module
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from boxcheck.host import (
    ENVIRONMENT,
    FILE_LIMIT_BYTES,
    LOG_LIMIT_BYTES,
    DiskSpace,
    Phase,
    ProgramOutput,
    Stat,
    StatKind,
    Who,
)
from boxcheck.host.common import (
    IS_DIRECTORY,
    NO_DIRECTORY,
    NO_LINK,
    NO_PATH,
    NOT_REGULAR,
    NOWHERE,
    Resolver,
    clean,
    errno_name,
    from_errno_name,
    not_a_path,
    unread,
)
from boxcheck.host.kmsg import read_kmsg
from boxcheck.host.programs import run_program
from boxcheck.host.readings import Readings
from boxcheck.host.record import LOG_PATHS, Again, Recording
from boxcheck.host.stored import answered
from boxcheck.host.worker import Worker
from boxcheck.model import Unread

READ_TIMEOUT_SECONDS = 2.0
ANSWER_TIMEOUT_SECONDS = 10.0
JOURNAL_TIMEOUT_SECONDS = 30.0
JOURNAL_FOLDER = "/var/log/journal"
"""Where journald keeps what outlives a boot, a folder a machine (systemd-journald.service, FILES)."""
STRIKES = 2
"""Readings of one device that may hang before the rest of its files is left alone: each costs READ_TIMEOUT_SECONDS."""

_MAY_BLOCK = ("/sys/devices/", "/sys/kernel/", "/sys/firmware/", "/proc/driver/", "/dev/")
_FROM_MEMORY = frozenset({
    "vendor", "device", "class", "revision", "subsystem_vendor", "subsystem_device", "numa_node", "resource", "irq",
    "enable", "modalias", "local_cpulist", "local_cpus", "boot_vga", "uevent", "ari_enabled", "msi_bus", "power_state",
    "aer_dev_correctable", "aer_dev_nonfatal", "aer_dev_fatal", "aer_rootport_total_err_cor",
    "aer_rootport_total_err_nonfatal", "aer_rootport_total_err_fatal",
})
"""Attributes of a PCI function that the PCI core answers from its own memory (drivers/pci/pci-sysfs.c, pcie/aer.c): no
device can make them hang, so they are spared the way through the worker thread, which takes ten times as long."""

_BDF = re.compile(r"/[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](?=/)")
_KINDS: tuple[tuple[Callable[[int], bool], StatKind], ...] = (
    (stat_module.S_ISREG, "file"), (stat_module.S_ISDIR, "dir"), (stat_module.S_ISLNK, "link"),
    (stat_module.S_ISCHR, "char"), (stat_module.S_ISBLK, "block"), (stat_module.S_ISFIFO, "fifo"),
)


def _stat_of(status: os.stat_result) -> Stat:
    kind: StatKind = next((name for test, name in _KINDS if test(status.st_mode)), "socket")
    return Stat(kind, stat_module.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _words(error: OSError) -> Unread:
    return Unread(*from_errno_name(errno_name(error.errno)))


BOOT_LINE = b"Linux version "
BOOT_LINE_WITHIN_BYTES = 16384
"""The kernel's first line; firmware tables are printed before it on some machines."""


class LiveHost(Readings):
    """See `boxcheck.host.Host`."""

    live = True
    origin = "this machine"

    def __init__(self) -> None:
        self.recording = Recording()
        self.recording.started_seconds = round(time.time(), 3)
        self._worker = Worker()
        self._paths = Resolver(self._readlink)
        self._strikes: dict[str, int] = {}
        """Device directory -> readings of it that hung."""
        self._limits: dict[str, int] = {}
        """Path -> limit that its content exceeded."""

    # Paths

    def _readlink(self, path: str) -> str | None:
        if path in ("/proc/self", "/proc/thread-self"):  # links to a process id; recorded under their own names
            return None
        known = self.recording.links.get(path)
        if known is not None:
            return known
        try:
            target = os.readlink(path)
        except OSError:
            return None
        self.recording.links[path] = target
        return target

    def _find(self, path: str) -> str | Unread:
        """Real path; Unread (without the path in its words) where there can be none."""
        if not_a_path(path):
            return NO_PATH
        real = self._paths.resolve(path)
        return NOWHERE if real is None else real or "/"

    def _status(self, real: str) -> Stat | Unread:
        """Type and permissions of a real path, asked once."""
        known = self.recording.stats.get(real)
        if known is not None:
            return known
        try:
            found = _stat_of(os.lstat(real))
        except OSError as error:
            return _words(error)
        self.recording.stats[real] = found
        return found

    # Readings

    def _read(self, path: str, limit_bytes: int) -> bytes | Unread:
        real = self._find(path)
        if isinstance(real, Unread):
            return real
        known = self.recording.files.get(real)
        if known is not None:
            return known if len(known) <= limit_bytes else Unread(f"larger than {limit_bytes} bytes", "malformed")
        before = self._before(real, limit_bytes)
        if before is not None:
            return before
        if real in LOG_PATHS.values():
            data = self._log(0 if real == LOG_PATHS[0] else -1)
        else:
            data = self._ask(real, limit_bytes)
        if isinstance(data, bytes):
            self.recording.files[real] = data
            self.recording.unread.pop(real, None)
        return data

    def _before(self, real: str, limit_bytes: int) -> Unread | None:
        """What is known without another look: not a file, or not read before. None where a look may help."""
        stat = self.recording.stats.get(real)
        if stat is not None and stat.kind != "file":
            return IS_DIRECTORY if stat.kind == "dir" else NOT_REGULAR
        before = self.recording.unread.get(real)
        return None if before is None or limit_bytes > self._limits.get(real, limit_bytes) else before

    def _ask(self, real: str, limit_bytes: int) -> bytes | Unread:
        """Reads a file, and notes what went wrong in such a way that a replay comes to the same answer."""
        if real.startswith("/dev/"):
            self._status(real)  # opening a node can do things; only a regular file is opened
            before = self._before(real, limit_bytes)
            if before is not None:
                return before
        try:
            data = self._bounded(real, limit_bytes)
        except OSError as error:
            found, data = self._status(real), _words(error)
            if not isinstance(found, Unread):
                if found.kind != "file":
                    return IS_DIRECTORY if found.kind == "dir" else NOT_REGULAR
                if data.kind == "absent":  # the file is there, its driver says so about the device
                    data = Unread(f"its driver answers {errno_name(error.errno)}", "error")
        if isinstance(data, Stat):
            self.recording.stats[real] = data
            return IS_DIRECTORY if data.kind == "dir" else NOT_REGULAR
        if isinstance(data, Unread):
            self.recording.unread[real] = data
            if data.kind == "malformed":
                self._limits[real] = limit_bytes
        return data

    def _bounded(self, real: str, limit_bytes: int) -> bytes | Stat | Unread:
        name = real.rpartition("/")[2]
        if name in _FROM_MEMORY or not real.startswith(_MAY_BLOCK):
            return _read_regular(real, limit_bytes)
        device = _device_of(real)
        if self._strikes.get(device, 0) >= STRIKES:
            return Unread("not read, since other files of its device gave no answer", "timeout")
        try:
            return self._worker.call(lambda: _read_regular(real, limit_bytes), READ_TIMEOUT_SECONDS)
        except TimeoutError:
            self._strikes[device] = self._strikes.get(device, 0) + 1
            self._status(real)
            return Unread(f"no answer within {READ_TIMEOUT_SECONDS:g} s", "timeout")

    def entries(self, path: str) -> tuple[str, ...] | Unread:
        found = self._entries(path)
        return unread(path, found.why, found.kind) if isinstance(found, Unread) else found

    def _entries(self, path: str) -> tuple[str, ...] | Unread:
        real = self._find(path)
        if isinstance(real, Unread):
            return real
        known = self.recording.listings.get(real)
        if known is not None:
            return known
        stat = self.recording.stats.get(real)
        if real in self.recording.files or (stat is not None and stat.kind != "dir"):
            return NO_DIRECTORY
        before = self.recording.unread.get(real)
        if before is not None:
            return before
        try:
            with os.scandir(real) as found:
                listed = sorted((entry.name, entry.is_symlink()) for entry in found if entry.name.isprintable())
        except OSError as error:
            status = self._status(real)
            if not isinstance(status, Unread) and status.kind != "dir":
                return NO_DIRECTORY
            self.recording.unread[real] = _words(error)
            return self.recording.unread[real]
        for name, is_link in listed:
            if is_link:
                self._readlink(f"{real.rstrip('/')}/{name}")
        self.recording.listings[real] = tuple(name for name, _ in listed)
        return self.recording.listings[real]

    def target(self, path: str) -> str | Unread:
        found = self._target(path)
        return unread(path, found.why, found.kind) if isinstance(found, Unread) else found

    def _target(self, path: str) -> str | Unread:
        if not_a_path(path):
            return NO_PATH
        here = self._paths.place(path)
        if here is None:
            return NOWHERE
        if here and self._readlink(here) is not None:
            return self._paths.end(here) or NOWHERE
        found = self._known(here or "/")
        return found if isinstance(found, Unread) else NO_LINK

    def _known(self, real: str) -> Stat | Unread:
        """Stat of a real path, with a failure noted."""
        if real in self.recording.unread and real not in self.recording.stats:
            return self.recording.unread[real]
        found = self._status(real)
        if isinstance(found, Unread):
            if real in self.recording.files:  # read before, gone since
                return Stat("file")
            if real in self.recording.listings:
                return Stat("dir")
            self.recording.unread[real] = found
        return found

    def exists(self, path: str) -> bool | Unread:
        found = self.stat(path)
        if not isinstance(found, Unread):
            return True
        return False if found.kind == "absent" else found

    def stat(self, path: str) -> Stat | Unread:
        real = self._find(path)
        found = real if isinstance(real, Unread) else self._known(real)
        return unread(path, found.why, found.kind) if isinstance(found, Unread) else found

    def opens(self, path: str) -> Literal[True] | Unread:
        real, status = self._find(path), self.stat(path)
        if isinstance(real, Unread) or isinstance(status, Unread):
            return status if isinstance(status, Unread) else unread(path, NOWHERE.why, NOWHERE.kind)
        answer = self.recording.opened.get(real)
        if answer is None:
            answer = self.recording.opened[real] = self._try_open(real)
        return True if answer == "ok" else unread(path, *from_errno_name(answer))

    def _try_open(self, real: str) -> str:
        def attempt() -> None:
            os.close(os.open(real, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))

        try:
            self._worker.call(attempt, READ_TIMEOUT_SECONDS)
        except TimeoutError:
            return "ETIMEDOUT"
        except OSError as error:
            return errno_name(error.errno)
        return "ok"

    # What is no file

    def run(self, argv: Sequence[str], timeout_seconds: float = 10.0) -> ProgramOutput | Unread:
        key = tuple(argv)
        if key not in self.recording.programs:
            self.recording.programs[key] = run_program(argv, timeout_seconds)
        return self.recording.programs[key]

    def answer(self, library: str, request: str, ask: Callable[[], Any] | None = None) -> Any | Unread:
        key = (library, request)
        if key in self.recording.answers:
            return self.recording.answers[key]
        if ask is None:
            return Unread(f"{library} {request}: was not asked", "not-captured")
        try:
            value = answered(self._worker.call(ask, ANSWER_TIMEOUT_SECONDS))
        except TimeoutError:
            value = Unread(f"{library} {request}: no answer within {ANSWER_TIMEOUT_SECONDS:g} s", "timeout")
        except OSError as error:
            value = unread(f"{library} {request}", *from_errno_name(errno_name(error.errno)))
        self.recording.answers[key] = value
        return value

    def disk(self, path: str) -> DiskSpace | Unread:
        def ask() -> dict[str, int]:
            found = os.statvfs(path)
            return {"total_bytes": found.f_blocks * found.f_frsize, "free_bytes": found.f_bavail * found.f_frsize}

        value = self.answer("statvfs", path, ask)
        return value if isinstance(value, Unread) else DiskSpace(**value)

    def environment(self) -> Mapping[str, str] | Unread:
        found = {name: clean(os.environ[name]) for name in ENVIRONMENT if name in os.environ}
        self.recording.environment = found
        return found

    def who(self) -> Who | Unread:
        if self.recording.who is None:
            uid = os.geteuid()
            invoked_by = os.environ.get("SUDO_UID", "")
            self.recording.who = Who(
                name=clean(_user_name(uid))[:64], uid=uid, gid=os.getegid(),
                groups=tuple(sorted({*os.getgroups(), os.getegid()})), root=uid == 0,
                invoked_by=int(invoked_by) if uid == 0 and invoked_by.isdecimal() and len(invoked_by) < 10 else None,
            )
        return self.recording.who

    def _log(self, boot: Literal[0, -1]) -> bytes | Unread:
        """The log of a boot: this one from the ring buffer, else from the journal, which also reaches further back
        where the buffer has been overwritten since boot."""
        data = read_kmsg() if boot == 0 else Unread("no journal", "absent")
        wrapped = not isinstance(data, Unread) and BOOT_LINE not in data[:BOOT_LINE_WITHIN_BYTES]
        if isinstance(data, Unread) or wrapped:
            argv = ["journalctl", "-k", "-b", str(boot), "-o", "short-monotonic", "--no-pager", "-q", "--no-hostname"]
            journal = run_program(argv, JOURNAL_TIMEOUT_SECONDS, LOG_LIMIT_BYTES)
            if not isinstance(journal, Unread) and journal.exit == 0 and journal.stdout:
                text = journal.stdout.encode() + b"\n"
                if not wrapped or BOOT_LINE in text[:BOOT_LINE_WITHIN_BYTES]:
                    return text
        if isinstance(data, Unread):
            if boot == -1:
                data = self._no_journal(journal)
            self.recording.unread[LOG_PATHS[boot]] = data
        return data

    def _no_journal(self, journal: ProgramOutput | Unread) -> Unread:
        if isinstance(journal, Unread):
            return journal
        if os.geteuid() == 0 or not _outlives_a_boot(JOURNAL_FOLDER):
            return Unread("the journal holds none", "absent")
        return Unread("the journal holds none that this user may read", "permission")

    def again(self, path: str, phase: Phase) -> tuple[bytes, ...] | Unread:
        real = self._find(path)
        found = tuple(item.data for item in self.recording.again if item.path == real and item.phase == phase)
        return found or unread(path, "read once, there is no later reading", "one-reading")

    def read_again(self, path: str, phase: Phase) -> bytes | Unread:
        """Reads a path once more and records it as a later reading. Live only."""
        real = self._find(path)
        if isinstance(real, Unread):
            return unread(path, real.why, real.kind)
        try:
            data = self._bounded(real, FILE_LIMIT_BYTES)
        except OSError as error:
            data = _words(error)
        if isinstance(data, Stat):
            data = NOT_REGULAR
        if isinstance(data, Unread):
            return unread(path, data.why, data.kind)
        self.recording.again.append(Again(real, phase, time.monotonic(), time.time(), data))
        return data

    def time(self) -> float | Unread:
        return self.recording.started_seconds


def _device_of(real: str) -> str:
    """The PCI function that a file belongs to, else its directory: what hangs together."""
    functions = list(_BDF.finditer(real))
    return real[: functions[-1].end()] if functions else real.rpartition("/")[0]


def _read_regular(path: str, limit_bytes: int) -> bytes | Stat | Unread:
    """The bytes of a regular file; the Stat of anything else, since reading a FIFO, socket or device can block or
    change it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat_module.S_ISREG(status.st_mode):
            return _stat_of(status)
        chunks: list[bytes] = []
        size = 0
        while True:
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
            size += len(chunk)
            if size > limit_bytes:
                return Unread(f"larger than {limit_bytes} bytes", "malformed")
    finally:
        os.close(descriptor)


def _outlives_a_boot(folder: str) -> bool:
    """Whether journald keeps logs on disk here, as far as this user can tell: True where he may not look."""
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
