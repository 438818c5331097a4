"""Where reports go: standard output for `-`, else a file, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TextIO

from boxcheck.host.owner import as_caller, is_kernels, place_behind
from boxcheck.report.encoding import write_data
from boxcheck.usage import UsageError

HELP = "choose another place to write to"


def write_output(place: str, data: str, mode: int = 0o666) -> None:
    """Writes `data` to a file or, for `-`, to standard output. UsageError when the file cannot be written.

    `mode` is what a new file may have at most; the umask takes from it.
    """
    text = data if data.endswith("\n") else data + "\n"
    try:
        if place == "-":
            write_data(text)
        else:
            _write_file(place, text, mode)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "standard output" if place == "-" else str(error.filename or place)
        raise UsageError(f"{where}: {os.strerror(error.errno or 0).lower()}", HELP) from None


def refuse_place(place: str) -> None:
    """UsageError for a file that cannot be written, before hours of work end in it. Nothing is written yet."""
    folder = os.path.dirname(os.path.abspath(place))
    if not os.path.isdir(folder):
        raise UsageError(f"{folder}: no such directory", HELP)
    if os.path.isdir(place):
        raise UsageError(f"{place}: is a directory", HELP)
    if not os.access(place if os.path.exists(place) else folder, os.W_OK):
        raise UsageError(f"{place}: permission denied", HELP)


def _write_file(place: str, text: str, mode: int) -> None:
    folder = os.path.dirname(os.path.abspath(place))
    if not os.path.isdir(folder):
        raise FileNotFoundError(2, "no such directory", folder)
    if os.path.exists(place) and not os.path.isfile(place):  # /dev/stderr, a named pipe
        with open_grown(place) as stream:
            stream.write(text)
        return
    try:
        write_whole(place, (text.encode("utf-8"),), mode)
    except OSError as error:
        error.filename, error.filename2 = place, None
        raise


def write_whole(place: str, pieces: Iterable[bytes], mode: int = 0o666) -> None:
    """Writes a file whole or not at all; a link to a file stays a link. Behind sudo it is the caller's, but where they
    may not write. OSError where it cannot be written."""
    write_together({place: pieces}, mode)


def write_together(files: Mapping[str, Iterable[bytes]], mode: int = 0o666) -> None:
    """The same for several files, of which none gets its name before all are written."""
    def opened(place: str) -> tuple[str, str, int]:
        real = place_behind(place)
        beside = f"{real}.{os.getpid()}.part"
        return beside, real, os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)

    ready: list[tuple[str, str]] = []
    try:
        for place, pieces in files.items():
            beside, real, file = as_caller(partial(opened, place))
            ready.append((beside, real))
            with os.fdopen(file, "wb") as stream:
                stream.writelines(pieces)
                stream.flush()
                os.fsync(stream.fileno())
        while ready:
            as_caller(partial(os.replace, *ready[0]))
            del ready[0]
    except BaseException:
        for beside, _ in ready:
            if os.path.exists(beside):
                as_caller(partial(os.unlink, beside))
        raise


def open_grown(place: str) -> TextIO:
    """A file that lines are written to as they come, emptied; a pipe or a terminal too. As `write_whole` otherwise."""
    def opened() -> TextIO:
        real = place_behind(place)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | (0 if is_kernels(real) else os.O_NOFOLLOW)
        return open(os.open(real, flags, 0o666), "w", encoding="utf-8", buffering=1)

    return as_caller(opened)
