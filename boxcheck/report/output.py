"""Where reports go: standard output for `-`, else a file, written whole or not at all."""

from __future__ import annotations

import os
import sys

from boxcheck.usage import UsageError

HELP = "choose another place to write to"


def write_output(place: str, data: str, mode: int = 0o666) -> None:
    """Writes `data` to a file or, for `-`, to standard output. UsageError when the file cannot be written.

    `mode` is what a new file may have at most; the umask takes from it.
    """
    text = data if data.endswith("\n") else data + "\n"
    try:
        if place == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
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
        with open(place, "w", encoding="utf-8") as stream:
            stream.write(text)
        return
    real = os.path.realpath(place)  # a link to a file stays a link
    beside = f"{real}.{os.getpid()}.part"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(beside, flags, mode), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, real)
    except BaseException as error:
        if os.path.exists(beside):
            os.unlink(beside)
        if isinstance(error, OSError):
            error.filename, error.filename2 = place, None
        raise
