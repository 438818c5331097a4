"""Programs that tell what no file tells (nvidia-smi, journalctl ...), run with bounds on time and output."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from boxcheck.host import ProgramOutput
from boxcheck.host.common import errno_name, from_errno_name, one_line, to_text
from boxcheck.model import Unread

if TYPE_CHECKING:
    import subprocess

OUTPUT_LIMIT_BYTES = 16 << 20
ERROR_LIMIT_BYTES = 64 << 10
STARTED: set[int] = set()
"""Sessions of programs that were started and have not been ended: no signal of a terminal reaches them."""
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/rocm/bin"


class _Starting(threading.local):
    """Per thread: whether a program is being started, and what a signal asked for meanwhile."""

    now = False
    late: Callable[[], None] | None = None


_starting = _Starting()
_ending = threading.Event()


def wait_for_start(end: Callable[[], None]) -> bool:
    """For a signal's handler: whether this thread is just starting a program, which nobody could end as long as it is
    not in `STARTED`. `end` is called when it is."""
    if _starting.now:
        _starting.late = end
    return _starting.now


def start_session(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A program in a session of its own that is ended with boxcheck, whatever moment a signal comes at. It is the
    caller's to take it out of `STARTED`."""
    import subprocess

    _starting.now = True
    try:
        process = subprocess.Popen(argv, start_new_session=True, close_fds=True, **options)
        STARTED.add(process.pid)
    finally:
        _starting.now = False
        late, _starting.late = _starting.late, None
        if late is not None:
            late()
    if _ending.is_set():  # in another thread than the one that ends boxcheck
        _kill(process.pid)
    return process


def run_program(
    argv: Sequence[str], timeout_seconds: float, limit_bytes: int = OUTPUT_LIMIT_BYTES
) -> ProgramOutput | Unread:
    """The output of a program; Unread when it is not installed, does not end in time or prints too much.

    It gets a fixed PATH, no standard input, the C locale and a session of its own, which is killed as a whole.
    """
    import shutil
    import subprocess

    program = shutil.which(argv[0], path=SEARCH_PATH)
    if program is None:
        return Unread(f"{argv[0]} is not installed", "absent")
    began = time.monotonic()
    environment = {"PATH": SEARCH_PATH, "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")}
    try:
        process = start_session(
            [program, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment)
    except (OSError, ValueError) as error:
        words, kind = from_errno_name(errno_name(getattr(error, "errno", None)))
        return Unread(f"{one_line(program)}: {words}", kind)
    try:
        out, err, why = _drain(process, began + timeout_seconds, limit_bytes)
    finally:
        _kill(process.pid)
        STARTED.discard(process.pid)
    with process:
        if why == "time":
            return Unread(f"{argv[0]} did not end within {timeout_seconds:g} s", "timeout")
        if why == "size":
            return Unread(f"{argv[0]} printed more than {limit_bytes >> 20} MiB", "malformed")
        status = process.wait()
    return ProgramOutput(tuple(argv), status, to_text(out), to_text(err), round((time.monotonic() - began) * 1000))


def _drain(process: subprocess.Popen[bytes], deadline: float, limit_bytes: int) -> tuple[bytes, bytes, str]:
    """Output and errors until the program ends; the third is `time` or `size` when it broke a bound, else empty."""
    import selectors

    assert process.stdout is not None
    assert process.stderr is not None
    kept: dict[int, bytearray] = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    out, err = kept.values()
    why = ""
    with selectors.DefaultSelector() as selector:
        for descriptor in kept:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                # A child that it left behind may hold the pipe open; what the program itself said is whole then.
                why = "" if process.poll() is not None else "time"
                break
            ready = selector.select(min(left, 0.2))
            if not ready and process.poll() is not None:
                break
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fd)
                kept[key.fd] += chunk
            del err[ERROR_LIMIT_BYTES:]
            if len(out) > limit_bytes:
                why = "size"
                break
        if not why and process.poll() is None:
            why = _ends(process, deadline)
    return bytes(out), bytes(err), why


def _ends(process: subprocess.Popen[bytes], deadline: float) -> str:
    import subprocess

    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "time"
    return ""


def end_started() -> None:
    """Ends what is still running, when boxcheck itself is told to end."""
    _ending.set()
    while STARTED:
        _kill(STARTED.pop())


def _kill(group: int) -> None:
    import contextlib
    import signal

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
