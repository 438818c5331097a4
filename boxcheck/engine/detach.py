"""Starts a burn-in in a process of its own, which outlives this one and its terminal; and follows it by its store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from boxcheck.engine.job import Job
from boxcheck.engine.progress import age_of
from boxcheck.host.owner import give_to_owner
from boxcheck.store.lock import is_held
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Event, Phase, Run
from boxcheck.usage import UsageError

START_SECONDS = 60.0


def start(job: Job) -> str:
    """The path of the store of a run that has begun. UsageError says why none could."""
    log = os.path.join(job.folder, "engine.log")
    with _log(log, job.folder) as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "boxcheck.engine.burn"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, start_new_session=True, close_fds=True)
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(msgspec.json.encode(job))
        process.stdin.close()
    line = _line(process)
    if line.startswith("error: "):
        help = process.stdout.read().decode("utf-8", "replace").strip().removeprefix("help:").strip()
        raise UsageError(line.removeprefix("error: "), help)
    if not line:
        raise UsageError("the engine did not start", f"{log} says why")
    return line


@contextmanager
def _log(path: str, folder: str) -> Iterator[int]:
    """What the engine prints goes there. Root follows no link in somebody's folder, and leaves the file to them."""
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, how, 0o600)
    except OSError as error:
        says = f"{path}: {os.strerror(error.errno or 0).lower()}"
        raise UsageError(says, "remove it, or set XDG_STATE_HOME to another directory") from None
    try:
        give_to_owner(folder, file)
        yield file
    finally:
        os.close(file)


def _line(process: subprocess.Popen[bytes]) -> str:
    import selectors

    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(START_SECONDS):
            process.kill()
            return ""
    return process.stdout.readline().decode("utf-8", "replace").strip()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is, at one moment."""

    run: Run
    phases: tuple[Phase, ...]
    news: tuple[Event, ...]
    """Events since the moment before."""
    seconds: float
    """Since it began."""


def follow(
    path: str, every_seconds: float, *, sleep: Callable[[float], None] = time.sleep,
    look: Callable[[RunReader, Progress], None] = lambda reader, progress: None,
) -> Iterator[Progress]:
    """Looks at a run again and again until it has ended. The last look shows the end. `look` may read more of the store
    at each."""
    last = 0
    while True:
        with RunReader(path) as reader:
            run, phases = reader.run(), reader.phases()
            news = tuple(reader.events(after=last))
            progress = Progress(run=run, phases=phases, news=news, seconds=age_of(run, time.monotonic()))
            look(reader, progress)
        last = max((event.number for event in news), default=last)
        yield progress
        if run.state != "running":
            return
        until = time.monotonic() + every_seconds
        while time.monotonic() < until and is_held(path):
            sleep(min(0.5, every_seconds))


ToldToStop = Literal["told", "nobody", "not permitted"]


def tell_to_stop(path: str) -> ToldToStop:
    """Asks the engine of a run to come to an end. `nobody`: none works on it; `not permitted`: it is another user's.
    StoreError where the run cannot be read."""
    with RunReader(path) as reader:
        run = reader.run()
    if run.state != "running" or not run.sessions or not _is_engine(run.sessions[-1].pid):
        return "nobody"
    try:
        os.kill(run.sessions[-1].pid, signal.SIGINT)  # what Ctrl-C is; the engine tells it from a machine's SIGTERM
    except ProcessLookupError:
        return "nobody"
    except PermissionError:
        return "not permitted"
    return "told"


def _is_engine(pid: int) -> bool:
    """Whether a number from a store, which may be from anywhere, is a process of boxcheck."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return pid > 1 and any(word == b"boxcheck.engine.burn" or os.path.basename(word) == b"boxcheck" for word in words)


def running(folder: str) -> str | None:
    """The store that is being written now, None when there is none. One run at a time on a box."""
    from boxcheck.store.listing import list_runs

    return next((entry.path for entry in list_runs(folder) if entry.state == "running" and entry.kind != "watch"), None)


