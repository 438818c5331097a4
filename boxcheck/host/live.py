"""The machine that boxcheck runs on. Reads, never writes, and records all that it reads.

A sysfs attribute of a dying device can block for minutes inside the kernel, where no signal arrives. Reads therefore
run on a worker thread that is abandoned when it does not answer in time.
"""

from __future__ import annotations

import errno
import os
import stat as stat_module
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

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
from boxcheck.host.common import clean_path, from_errno, to_text
from boxcheck.host.record import Again, Recording
from boxcheck.model import Unread

READ_TIMEOUT_SECONDS = 2.0
PROGRAM_OUTPUT_LIMIT_BYTES = 16 << 20
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/rocm/bin"

T = TypeVar("T")

_KINDS: tuple[tuple[Callable[[int], bool], StatKind], ...] = (
    (stat_module.S_ISREG, "file"), (stat_module.S_ISDIR, "dir"), (stat_module.S_ISLNK, "link"),
    (stat_module.S_ISCHR, "char"), (stat_module.S_ISBLK, "block"), (stat_module.S_ISFIFO, "fifo"),
)


def _stat_of(status: os.stat_result) -> Stat:
    kind: StatKind = next((name for test, name in _KINDS if test(status.st_mode)), "socket")
    return Stat(kind, stat_module.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


class _Worker:
    """Runs one blocking call at a time with a time limit; a call that hangs costs its thread and nothing else."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._questions: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        thread = threading.Thread(target=self._serve, args=(self._questions, self._answers), daemon=True)
        thread.start()

    @staticmethod
    def _serve(questions: SimpleQueue[Callable[[], Any]], answers: SimpleQueue[tuple[Any, BaseException | None]]) -> None:
        while True:
            call = questions.get()
            try:
                answers.put((call(), None))
            except BaseException as error:  # noqa: BLE001  handed to the caller, who catches narrowly
                answers.put((None, error))

    def call(self, question: Callable[[], T], timeout_seconds: float) -> T:
        """The answer; raises what the call raised, or TimeoutError."""
        from queue import Empty

        self._questions.put(question)
        try:
            value, error = self._answers.get(timeout=timeout_seconds)
        except Empty:
            self._start()
            raise TimeoutError from None
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]


class LiveHost:
    """See `boxcheck.host.Host`."""

    live = True
    origin = "this machine"

    def __init__(self) -> None:
        self.recording = Recording()
        self.recording.started_seconds = time.time()
        self._worker = _Worker()
        self._resolved: dict[str, str] = {"/": "/"}

    # Paths

    def _resolve_directory(self, path: str) -> str:
        """Real path of a directory; every symbolic link met on the way is recorded."""
        known = self._resolved.get(path)
        if known is not None:
            return known
        head, _, name = path.rpartition("/")
        real = self._follow(self._resolve_directory(head or "/"), name)
        self._resolved[path] = real
        return real

    def _follow(self, directory: str, name: str, hops: int = 0) -> str:
        here = f"{directory.rstrip('/')}/{name}"
        if here == "/proc/self":  # a link to a process id; recorded under its own name
            return here
        try:
            target = os.readlink(here)
        except OSError:
            return here
        self.recording.links[here] = target
        if hops > 40:
            return here
        joined = target if target.startswith("/") else f"{directory}/{target}"
        head, _, last = clean_path(joined).rpartition("/")
        return self._follow(self._resolve_directory(head or "/"), last, hops + 1) if last else "/"

    def _resolve(self, path: str) -> str:
        head, _, name = clean_path(path).rpartition("/")
        return self._follow(self._resolve_directory(head or "/"), name) if name else "/"

    def _note(self, path: str, unread: Unread) -> Unread:
        self.recording.unread[path] = unread
        return unread

    # Readings

    def read(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> bytes | Unread:
        real = self._resolve(path)
        known = self.recording.files.get(real)
        if known is not None:
            return known
        before = self.recording.unread.get(real)
        if before is not None:
            return before
        try:
            data = self._worker.call(lambda: _read_regular(real, limit_bytes), READ_TIMEOUT_SECONDS)
        except TimeoutError:
            return self._note(real, Unread(f"{path}: no answer within {READ_TIMEOUT_SECONDS:g} s", "timeout"))
        except OSError as error:
            return self._note(real, from_errno(error.errno, path))
        if isinstance(data, Unread):
            return self._note(real, data)
        self.recording.files[real] = data
        return data

    def text(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> str | Unread:
        data = self.read(path, limit_bytes)
        return data if isinstance(data, Unread) else to_text(data)

    def entries(self, path: str) -> tuple[str, ...] | Unread:
        real = self._resolve(path)
        try:
            with os.scandir(real) as found:
                listed = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            return self._note(real, from_errno(error.errno, path))
        self.recording.directories.add(real)
        for entry in listed:
            here = f"{real.rstrip('/')}/{entry.name}"
            if entry.is_symlink():
                self._follow(real, entry.name)
            elif here not in self.recording.files and here not in self.recording.stats:
                try:
                    self.recording.stats[here] = _stat_of(entry.stat(follow_symlinks=False))
                except OSError:  # vanished since the listing
                    continue
        return tuple(entry.name for entry in listed)

    def target(self, path: str) -> str | Unread:
        cleaned = clean_path(path)
        head, _, name = cleaned.rpartition("/")
        directory = self._resolve_directory(head or "/")
        here = f"{directory.rstrip('/')}/{name}"
        try:
            os.readlink(here)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return Unread(f"{path}: not a symbolic link", "absent")
            return self._note(here, from_errno(error.errno, path))
        return self._follow(directory, name)

    def exists(self, path: str) -> bool | Unread:
        found = self.stat(path)
        if not isinstance(found, Unread):
            return True
        return False if found.kind == "absent" else found

    def stat(self, path: str) -> Stat | Unread:
        real = self._resolve(path)
        try:
            found = _stat_of(os.lstat(real))
        except OSError as error:
            return self._note(real, from_errno(error.errno, path))
        self.recording.stats[real] = found
        return found

    def opens(self, path: str) -> Literal[True] | Unread:
        real = self._resolve(path)
        status = self.stat(path)
        if isinstance(status, Unread):
            return status

        def try_open() -> None:
            os.close(os.open(real, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))

        try:
            self._worker.call(try_open, READ_TIMEOUT_SECONDS)
        except TimeoutError:
            self.recording.opened[real] = "ETIMEDOUT"
            return Unread(f"{path}: opening it took longer than {READ_TIMEOUT_SECONDS:g} s", "timeout")
        except OSError as error:
            self.recording.opened[real] = errno.errorcode.get(error.errno or 0, "EIO")
            return from_errno(error.errno, path)
        self.recording.opened[real] = "ok"
        return True

    # What is no file

    def run(self, argv: Sequence[str], timeout_seconds: float = 10.0) -> ProgramOutput | Unread:
        for done in self.recording.programs:
            if isinstance(done, tuple):
                if done[0] == tuple(argv):
                    return done[1]
            elif done.argv == tuple(argv):
                return done
        answer = run_program(argv, timeout_seconds)
        self.recording.programs.append((tuple(argv), answer) if isinstance(answer, Unread) else answer)
        return answer

    def answer(self, library: str, request: str, ask: Callable[[], Any] | None = None) -> Any | Unread:
        for known_library, known_request, known in self.recording.answers:
            if (known_library, known_request) == (library, request):
                return known
        if ask is None:
            return Unread(f"{library}: not asked", "not-captured")
        try:
            value = self._worker.call(ask, READ_TIMEOUT_SECONDS * 5)
        except TimeoutError:
            value = Unread(f"{library}: no answer within {READ_TIMEOUT_SECONDS * 5:g} s", "timeout")
        except OSError as error:
            value = from_errno(error.errno, request)
        self.recording.answers.append((library, request, value))
        return value

    def disk(self, path: str) -> DiskSpace | Unread:
        def ask() -> dict[str, int]:
            found = os.statvfs(path)
            return {"total_bytes": found.f_blocks * found.f_frsize, "free_bytes": found.f_bavail * found.f_frsize}

        value = self.answer("statvfs", path, ask)
        return value if isinstance(value, Unread) else DiskSpace(**value)

    def environment(self) -> Mapping[str, str] | Unread:
        found = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        self.recording.environment = found
        return found

    def who(self) -> Who | Unread:
        if self.recording.who is None:
            uid = os.geteuid()
            invoked_by = os.environ.get("SUDO_UID", "")
            self.recording.who = Who(
                name=_user_name(uid), uid=uid, gid=os.getegid(), groups=tuple(sorted({*os.getgroups(), os.getegid()})),
                root=uid == 0, invoked_by=int(invoked_by) if uid == 0 and invoked_by.isdecimal() else None,
            )
        return self.recording.who

    def kernel_log(self, boot: Literal[0, -1] = 0) -> str | Unread:
        path = "/var/log/dmesg" if boot == 0 else "/var/log/dmesg.0"
        key = f"kernel log {boot}"
        if key in self.recording.unread:
            return self.recording.unread[key]
        if path not in self.recording.files:
            data = _read_kmsg() if boot == 0 else Unread("the log of the previous boot is kept by journald only")
            if isinstance(data, Unread):
                journal = self.run(["journalctl", "-k", "-b", str(boot), "-o", "short-monotonic", "--no-pager", "-q"])
                if isinstance(journal, Unread) or journal.exit != 0 or not journal.stdout:
                    why = data.why if boot == 0 else "journald keeps no log of the previous boot, or this user may not read it"
                    return self._note(key, Unread(f"kernel log: {why}", data.kind if boot == 0 else "permission"))
                data = journal.stdout.encode()
            self.recording.files[path] = data
        return to_text(self.recording.files[path])

    def again(self, path: str, phase: Phase) -> tuple[bytes, ...] | Unread:
        real = self._resolve(path)
        found = tuple(item.data for item in self.recording.again if item.path == real and item.phase == phase)
        return found or Unread(f"{path}: read once, there is no reading under load", "one-reading")

    def read_again(self, path: str, phase: Phase) -> bytes | Unread:
        """Reads a path once more and records it as a later reading. Live only."""
        real = self._resolve(path)
        try:
            data = self._worker.call(lambda: _read_regular(real, FILE_LIMIT_BYTES), READ_TIMEOUT_SECONDS)
        except TimeoutError:
            return Unread(f"{path}: no answer within {READ_TIMEOUT_SECONDS:g} s", "timeout")
        except OSError as error:
            return from_errno(error.errno, path)
        if not isinstance(data, Unread):
            self.recording.again.append(Again(real, phase, time.monotonic(), time.time(), data))
        return data

    def time(self) -> float | Unread:
        return self.recording.started_seconds


def _read_regular(path: str, limit_bytes: int) -> bytes | Unread:
    """The bytes of a regular file; a FIFO, socket or device is refused, since reading one can block or change it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat_module.S_ISREG(mode):
            if stat_module.S_ISDIR(mode):
                return Unread(f"{path}: is a directory", "error")
            return Unread(f"{path}: not a regular file", "error")
        chunks: list[bytes] = []
        size = 0
        while True:
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
            size += len(chunk)
            if size > limit_bytes:
                return Unread(f"{path}: larger than {limit_bytes} bytes", "malformed")
    finally:
        os.close(descriptor)


def _read_kmsg() -> bytes | Unread:
    """The kernel's ring buffer as `[seconds] message` lines. Needs root where kernel.dmesg_restrict is 1."""
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return from_errno(error.errno, "/dev/kmsg")
    lines: list[bytes] = []
    size = 0
    try:
        while size < LOG_LIMIT_BYTES:
            try:
                record = os.read(descriptor, 16384)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while reading; the next record follows
                    continue
                if error.errno == errno.EINVAL:
                    break
                return from_errno(error.errno, "/dev/kmsg")
            if not record:
                break
            head, _, message = record.partition(b";")
            microseconds = head.split(b",")[2] if head.count(b",") >= 2 else b"0"
            stamp = int(microseconds) if microseconds.isdigit() else 0
            first = message.split(b"\n", 1)[0]
            lines.append(b"[%5d.%06d] %s" % (stamp // 1_000_000, stamp % 1_000_000, first))
            size += len(record)
    finally:
        os.close(descriptor)
    if not lines:
        return Unread("/dev/kmsg: empty", "unsupported")
    return b"\n".join(lines) + b"\n"


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def run_program(argv: Sequence[str], timeout_seconds: float) -> ProgramOutput | Unread:
    """Runs a program with a fixed PATH, no standard input, the C locale and a time limit; its whole process group is
    killed when it does not end."""
    import shutil
    import signal
    import subprocess

    program = shutil.which(argv[0], path=PROGRAM_PATH)
    if program is None:
        return Unread(f"{argv[0]} is not installed", "absent")
    began = time.monotonic()
    environment = {"PATH": PROGRAM_PATH, "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")}
    try:
        process = subprocess.Popen(
            [program, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, start_new_session=True, close_fds=True,
        )
    except OSError as error:
        return from_errno(error.errno, program)
    try:
        out, err = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        import contextlib

        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return Unread(f"{argv[0]} did not end within {timeout_seconds:g} s", "timeout")
    if len(out) > PROGRAM_OUTPUT_LIMIT_BYTES:
        return Unread(f"{argv[0]} printed more than {PROGRAM_OUTPUT_LIMIT_BYTES >> 20} MiB", "malformed")
    return ProgramOutput(
        tuple(argv), process.returncode, to_text(out), to_text(err[:65536]), round((time.monotonic() - began) * 1000)
    )
