"""`boxcheck watch` on the whole screen: the watch is a process of its own, which outlives the screen."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from boxcheck.judge import ExitCode
from boxcheck.usage import UsageError

if TYPE_CHECKING:
    from boxcheck.commands.watch import Options

START_SECONDS = 60.0
END_SECONDS = 30.0
"""For what is said after the store has its end."""


def watch_on_screen(options: Options, says: str) -> int:
    """Starts the watch and shows it. Its account, and its exit code, where it is over; else how to come back."""
    from boxcheck.commands.runs import runs_folder
    from boxcheck.commands.tui import show
    from boxcheck.store.schema import SUFFIX

    print(f"the watch of {says} begins ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "boxcheck", "watch", *_words(options)], stdin=subprocess.DEVNULL, stdout=out,
            stderr=told, start_new_session=True, close_fds=True)
        id = _begun(process, told)
        if id is None:
            print(_text(told), end="", file=sys.stderr)
            return process.wait()
        path = os.path.join(runs_folder(), f"{id}{SUFFIX}")
        broke = show(path, options)
        if _is_over(path):
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
        if process.poll() is None:
            shown = "the screen could not be shown; " if broke else ""
            print(f"{shown}watch {id} goes on: boxcheck attach {id} shows it again; s there ends it", file=sys.stderr)
            return int(ExitCode.INCOMPLETE)
        print(_text(out), end="")
        return process.returncode


def _is_over(path: str) -> bool:
    from boxcheck.store.reader import RunReader

    with RunReader(path) as reader:
        return reader.run().state != "running"


def _begun(process: subprocess.Popen[bytes], told: IO[bytes]) -> str | None:
    """Its run, once it says so; None where it ended instead."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        for line in _text(told).splitlines():
            if line.startswith("run ") and ":" in line:
                return line.removeprefix("run ").partition(":")[0]
        if process.poll() is not None:
            return None
        time.sleep(0.05)
    process.terminate()
    raise UsageError("the watch did not begin", "boxcheck watch --no-tui shows where it stays")


def _text(stream: IO[bytes]) -> str:
    """All that was written; the writer's place in the file is left as it is."""
    size = os.fstat(stream.fileno()).st_size
    return os.pread(stream.fileno(), size, 0).decode("utf-8", "replace")


def _words(options: Options) -> list[str]:
    words = ["--no-tui"]
    for name, value in (
            ("--pid", options.pid), ("--for", options.lasting), ("--profile", options.profile),
            ("--json", options.json), ("--jsonl", options.jsonl)):
        if value is not None:
            words += [name, str(value)]
    colored = options.color == "auto" and not os.environ.get("NO_COLOR")
    words += ["--color", "always" if colored else options.color]
    words += ["--force-profile"] * options.force_profile
    words += ["--ascii"] * options.ascii + ["--strict"] * options.strict + ["-v"] * options.verbose
    return words
